//! Between the dispatchers of one domain, each on a core of its own (paper §4.8). Kinds 0x0axx.
//!
//! What they say names places in the memory that the domain has on all its cores at the same addresses: so these are the one
//! protocol whose words are addresses. Both ends are one program; nobody else has the channel.

interface! {
    /// What a dispatcher takes from another of its domain.
    trait Dispatcher as ToDispatcher {
        /// The receiver owns this thread from now on, and the sender does not touch it any more.
        fn thread(Thread) = 0x0a00 {
            /// Where its state is, which nobody else names.
            at: u64,
        }
        /// At most so many of the receiver's threads that wait under a key go on.
        fn wake(Wake) = 0x0a01 {
            /// The key.
            key: u64,
            /// How many.
            most: u64,
        }
        /// The same, for one thread alone.
        fn wake_thread(WakeThread) = 0x0a02 {
            /// The key.
            key: u64,
            /// Its number at the receiver.
            number: u32,
        }
        /// A lock is the receiver's: for the first of its threads that waits for it, or to be passed on.
        fn grant(Grant) = 0x0a03 {
            /// Where it is.
            lock: u64,
        }
        /// The receiver maps part of the domain's common memory, where that has its place. Answered with [`Changed`].
        fn map(Map) = 0x0a04 {
            /// Where in the common memory.
            offset: u64,
            /// Bytes.
            len: u64,
            /// Number of the change.
            change: u32,
        }
        /// The receiver takes it away again. Answered with [`Changed`].
        fn unmap(Unmap) = 0x0a05 {
            /// Where in the common memory.
            offset: u64,
            /// Bytes.
            len: u64,
            /// Number of the change.
            change: u32,
        }
        /// A change was made.
        fn changed(Changed) = 0x0a06 {
            /// Its number.
            change: u32,
            /// 0, or the code of the error for which it was not.
            error: u32,
        }
        /// To the first dispatcher: why the program ends.
        fn last_words(LastWords) = 0x0a07 {
            /// Where the text is.
            at: u64,
            /// Its bytes.
            len: u64,
            /// 1: by a panic, which the receiver is to end it for; 0: by a fault, which the sender dies of.
            panicked: u32,
        }
    }
}
