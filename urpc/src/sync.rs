//! The atomics that the rings use: those of `core`, or loom's under `--cfg loom`, which explores every interleaving
//! and every value that the memory model lets a load return.

#[cfg(not(loom))]
pub use core::sync::atomic::{AtomicU64, Ordering, fence};
#[cfg(loom)]
pub use loom::sync::atomic::{AtomicU64, Ordering, fence};
