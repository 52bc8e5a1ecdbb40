//! Barriers.

use super::sched;
use crate::dispatch::Off;
use core::sync::atomic::{AtomicU64, Ordering};

/// A place where threads wait until so many are there; then it can be used again.
#[derive(Debug)]
pub struct Barrier {
    all: u32,
    /// How many are there; in the high half, how many rounds are over.
    here: AtomicU64,
}

/// Counts one more of `all` in: a new round when all are there.
const fn arrive(all: u32, here: u64) -> u64 {
    let (count, round) = (here as u32, (here >> 32) as u32);
    if count + 1 >= all { (round.wrapping_add(1) as u64) << 32 } else { here + 1 }
}

const fn round(here: u64) -> u32 {
    (here >> 32) as u32
}

impl Barrier {
    /// For `all` threads.
    pub const fn new(all: u32) -> Self {
        Self { all, here: AtomicU64::new(0) }
    }

    /// Waits until all are there. Answers whether this thread was the last.
    pub fn wait(&self) -> bool {
        let off = Off::enter();
        let key = core::ptr::from_ref(self).addr() as u64;
        let count = |here| Some(arrive(self.all, here));
        let before = self.here.fetch_update(Ordering::AcqRel, Ordering::Relaxed, count).unwrap_or(0);
        let last = round(arrive(self.all, before)) != round(before);
        if last {
            sched::wake(&off, key, usize::MAX);
            return true;
        }
        loop {
            // Whoever comes from another dispatcher may find threads of the next round here: they stay.
            sched::announce(&off, key);
            if round(self.here.load(Ordering::Acquire)) != round(before) {
                return false;
            }
            sched::block(&off, key, 0);
        }
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
                let after = arrive(all, here);
                let last = round(after) != round(here);
                assert_eq!(last, n % all.max(1) == 0, "{n} of {all}");
                (here, lasts) = (after, lasts + u32::from(last));
            }
            assert_eq!(lasts, 20 / all.max(1));
        }
        assert_eq!(arrive(2, u64::from(u32::MAX) << 32 | 1), 0, "rounds begin anew");
    }
}
