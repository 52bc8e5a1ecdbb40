//! The atomics that the rings use: those of `core`, or loom's under `--cfg loom`, which explores every interleaving
//! and every value that the memory model lets a load return.

#[cfg(not(loom))]
pub use core::sync::atomic::{AtomicU64, Ordering, fence};
#[cfg(loom)]
pub use loom::sync::atomic::{AtomicU64, Ordering, fence};

#[cfg(all(test, loom))]
pub(crate) use mutable::{full_fence, publish_order};
#[cfg(not(all(test, loom)))]
pub(crate) use shipped::{full_fence, publish_order};

/// The two places that everything rests on.
#[cfg(not(all(test, loom)))]
mod shipped {
    use super::{Ordering, fence};

    /// How a slot's last word is stored: after the payload, for whoever sees it.
    #[inline(always)]
    pub(crate) const fn publish_order() -> Ordering {
        Ordering::Release
    }

    /// Between one's own store and the load of what the other side stores (see [`port`](crate::port)).
    #[inline(always)]
    pub(crate) fn full_fence() {
        fence(Ordering::SeqCst);
    }
}

/// The same, but a test can break them, to show that loom would notice.
#[cfg(all(test, loom))]
pub(crate) mod mutable {
    use super::{Ordering, fence};
    use std::cell::Cell;

    /// What is broken.
    #[derive(Clone, Copy, PartialEq, Eq)]
    pub(crate) enum Mutant {
        None,
        RelaxedPublish,
        NoFence,
    }

    // Loom runs all threads of a model on the thread that called it.
    std::thread_local! {
        pub(crate) static MUTANT: Cell<Mutant> = const { Cell::new(Mutant::None) };
    }

    pub(crate) fn publish_order() -> Ordering {
        if MUTANT.get() == Mutant::RelaxedPublish { Ordering::Relaxed } else { Ordering::Release }
    }

    pub(crate) fn full_fence() {
        if MUTANT.get() != Mutant::NoFence {
            fence(Ordering::SeqCst);
        }
    }
}
