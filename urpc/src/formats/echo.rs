//! What tests and benchmarks send.

interface! {
    /// What the other end takes, and sends.
    trait Peer as ToPeer {
        /// A number, and a second one that follows from it.
        fn echo(Echo) = 0x7f01 {
            /// Counts up.
            number: u64,
            /// [`check`] of the number.
            check: u64,
        }
    }
}

/// A number that is unlikely to be found beside `number` by chance.
pub const fn check(number: u64) -> u64 {
    (number ^ 0x5bd1_e995_9e37_79b9).wrapping_mul(0xff51_afd7_ed55_8ccd)
}
