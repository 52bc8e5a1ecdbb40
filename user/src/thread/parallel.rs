//! A loop whose rounds run on all cores of the domain.
#![expect(unsafe_code, reason = "threads that borrow, and are joined before what they borrow goes")]

use super::span::{count, here};
use super::spawn::Builder;
use alloc::vec::Vec;
use core::ops::Range;
use core::sync::atomic::AtomicU64;
use core::sync::atomic::Ordering::Relaxed;

/// What is left of a loop.
struct Left {
    next: AtomicU64,
    end: u64,
    grain: u64,
}

impl Left {
    /// The next part, of at most `grain` rounds.
    fn take(&self) -> Option<Range<u64>> {
        let after = |start: u64| (start < self.end).then(|| start.saturating_add(self.grain).min(self.end));
        let start = self.next.fetch_update(Relaxed, Relaxed, after).ok()?;
        Some(start..after(start)?)
    }
}

/// Calls `body` for parts of `range` of at most `grain` rounds, on all cores of the domain at once; returns when all are done.
/// Where a thread cannot be made, the others do its part.
pub fn parallel_for(range: Range<u64>, grain: u64, body: impl Fn(Range<u64>) + Sync) {
    let left = Left { next: AtomicU64::new(range.start), end: range.end, grain: grain.max(1) };
    let run = || {
        while let Some(part) = left.take() {
            body(part);
        }
    };
    let borrowed: &(dyn Fn() + Sync) = &run;
    // SAFETY: whoever gets it is joined below, before `run` goes; a panic ends the program, so nobody leaves earlier.
    let lent = unsafe { core::mem::transmute::<&(dyn Fn() + Sync), &'static (dyn Fn() + Sync)>(borrowed) };
    let others = (0..count()).filter(|other| *other != here());
    let helpers: Vec<_> =
        others.filter_map(|other| Builder::new("parallel").on(other).spawn(lent).ok()).collect();
    run();
    helpers.into_iter().for_each(|helper| helper.join());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_parts_are_the_whole_once() {
        for (range, grain) in [(0..10, 3), (5..5, 1), (u64::MAX - 5..u64::MAX, 4)] {
            let left = Left { next: AtomicU64::new(range.start), end: range.end, grain };
            let mut at = range.start;
            while let Some(part) = left.take() {
                assert_eq!(part.start, at);
                assert!(part.end > part.start && part.end - part.start <= grain);
                at = part.end;
            }
            assert_eq!(at, range.end.max(range.start));
        }
    }
}
