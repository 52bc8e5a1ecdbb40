//! Between the PCI scan and `init`. Headers are not used.

interface! {
    /// What `init` takes from the scan.
    trait Init as ToInit {
        /// Scan to `init`: memory shared with another island.
        fn window_found(WindowFound) = 0x0500 {
            /// Number of the link among the island's.
            link: u32,
            /// The window frame's capability, in the space of the scan.
            cptr: u32,
            /// Physical address.
            base: u64,
            /// Bytes.
            len: u64,
        }
        /// Scan to `init`: all is done.
        fn scan_done(ScanDone) = 0x0501 {
            /// Bytes of fact records that the scan left in its facts frame.
            facts: u64,
            /// Windows reported before.
            windows: u32,
            /// Functions found.
            functions: u32,
        }
    }
}
