//! Barriers.

use super::sched;
use crate::dispatch::Off;
use core::sync::atomic::{AtomicU32, Ordering};

/// A place where threads wait until so many are there; then it can be used again.
#[derive(Debug)]
pub struct Barrier {
    all: u32,
    here: AtomicU32,
}

/// Counts one more of `all` in: how many are there now, from 0 again once all are; and whether that was the last.
const fn arrive(all: u32, here: u32) -> (u32, bool) {
    if here + 1 >= all { (0, true) } else { (here + 1, false) }
}

impl Barrier {
    /// For `all` threads.
    pub const fn new(all: u32) -> Self {
        Self { all, here: AtomicU32::new(0) }
    }

    /// Waits until all are there. Answers whether this thread was the last.
    pub fn wait(&self) -> bool {
        let off = Off::enter();
        let (here, last) = arrive(self.all, self.here.load(Ordering::Relaxed));
        self.here.store(here, Ordering::Relaxed);
        let key = core::ptr::from_ref(self).addr() as u64;
        if last {
            // Nobody of the next round can be waiting yet: they come by way of this one.
            sched::wake(&off, key, usize::MAX);
        } else {
            sched::block(&off, key, 0);
        }
        last
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_of_each_round_is_the_last() {
        for all in 0..5u32 {
            let (mut here, mut lasts) = (0, 0);
            for n in 1..=20 {
                let last;
                (here, last) = arrive(all, here);
                assert_eq!(last, n % all.max(1) == 0, "{n} of {all}");
                lasts += u32::from(last);
            }
            assert_eq!(lasts, 20 / all.max(1));
        }
    }
}
