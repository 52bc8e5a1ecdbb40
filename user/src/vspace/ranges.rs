//! Which addresses are reserved, and for how long a range. Pure.
//!
//! A reservation has an unmapped page before and behind it, so that what runs over its end faults instead of meeting its
//! neighbour (stacks), and says how far something may grow (heaps).

use alloc::collections::BTreeMap;
use skerry_abi::PAGE_SIZE;

/// Free and reserved ranges of addresses.
#[derive(Debug)]
pub struct Ranges {
    bounds: (u64, u64),
    /// First address to first address after it. Empty until something is taken.
    free: BTreeMap<u64, u64>,
    /// What is reserved, without guards, and how much was taken for it.
    reserved: BTreeMap<u64, Reserved>,
    /// The reservation asked about last.
    last: (u64, u64),
}

#[derive(Clone, Copy, Debug)]
struct Reserved {
    end: u64,
    /// From where to where it was taken, guards included.
    taken: (u64, u64),
}

impl Ranges {
    /// All of `first..end` is free.
    pub const fn new(first: u64, end: u64) -> Self {
        Self { bounds: (first, end), free: BTreeMap::new(), reserved: BTreeMap::new(), last: (0, 0) }
    }

    /// Whether `at` is handed out here.
    pub const fn covers(&self, at: u64) -> bool {
        at >= self.bounds.0 && at < self.bounds.1
    }

    /// Reserves `len` bytes at a multiple of `align` (a power of two, at least a page), guards around them.
    pub fn take(&mut self, len: u64, align: u64) -> Option<u64> {
        if self.free.is_empty() && self.reserved.is_empty() {
            self.free.insert(self.bounds.0, self.bounds.1);
        }
        let len = len.checked_next_multiple_of(PAGE_SIZE).filter(|len| *len > 0)?;
        let (start, end, at) = self.free.iter().find_map(|(&start, &end)| {
            let at = (start + PAGE_SIZE).checked_next_multiple_of(align.max(PAGE_SIZE))?;
            let fits = at.checked_add(len)?.checked_add(PAGE_SIZE)? <= end;
            fits.then_some((start, end, at))
        })?;
        let taken = (at - PAGE_SIZE, at + len + PAGE_SIZE);
        if start < taken.0 {
            self.free.insert(start, taken.0);
        } else {
            self.free.remove(&start);
        }
        if taken.1 < end {
            self.free.insert(taken.1, end);
        }
        self.reserved.insert(at, Reserved { end: at + len, taken });
        Some(at)
    }

    /// Gives the reservation that begins at `at` back. Answers its length, or `None` if there is none.
    pub fn give(&mut self, at: u64) -> Option<u64> {
        self.last = (0, 0);
        let Reserved { end: last, taken: (mut start, mut end) } = self.reserved.remove(&at)?;
        if let Some((&before, &stop)) = self.free.range(..start).next_back()
            && stop == start
        {
            start = before;
        }
        if let Some(after) = self.free.remove(&end) {
            end = after;
        }
        self.free.insert(start, end);
        Some(last - at)
    }

    /// Whether all of `at..end` lies in one reservation, or where none is needed.
    #[inline]
    pub fn allows(&mut self, at: u64, end: u64) -> bool {
        if at >= self.last.0 && end <= self.last.1 {
            return true;
        }
        let (first, last) = self.bounds;
        if end <= first || at >= last {
            return true;
        }
        match self.reserved.range(..=at).next_back() {
            Some((start, reserved)) if end <= reserved.end => {
                self.last = (*start, reserved.end);
                true
            }
            _ => false,
        }
    }

    /// The length of the reservation that begins at `at`.
    pub fn length(&self, at: u64) -> Option<u64> {
        self.reserved.get(&at).map(|r| r.end - at)
    }

    /// Reservations.
    pub fn count(&self) -> usize {
        self.reserved.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const P: u64 = PAGE_SIZE;

    #[test]
    fn a_reservation_has_guards_and_comes_back() {
        let mut ranges = Ranges::new(16 * P, 32 * P);
        let a = ranges.take(4 * P, P).unwrap();
        let b = ranges.take(1, 8 * P).unwrap();
        assert_eq!((a, b), (17 * P, 24 * P));
        assert!(ranges.allows(a, a + 4 * P) && !ranges.allows(a, a + 5 * P) && !ranges.allows(a - P, a + P));
        assert!(ranges.allows(0, 16 * P) && !ranges.allows(0, 17 * P) && ranges.allows(32 * P, 33 * P));
        assert_eq!(ranges.take(16 * P, P), None);
        assert_eq!(
            (ranges.take(0, P), ranges.take(u64::MAX, P), ranges.take(P, 1 << 63)),
            (None, None, None)
        );
        assert_eq!((ranges.give(a), ranges.give(a), ranges.give(b + P)), (Some(4 * P), None, None));
        assert_eq!(ranges.give(b), Some(P));
        assert_eq!((ranges.take(14 * P, P), ranges.count()), (Some(17 * P), 1));
    }

    proptest! {
        #[test]
        fn all_of_it_comes_back_in_one_piece(
            steps in proptest::collection::vec((any::<bool>(), 1u64..30, 0u32..5, any::<prop::sample::Index>()), 1..100)
        ) {
            let (first, last) = (512 * P, 1024 * P);
            let mut ranges = Ranges::new(first, last);
            let mut held: Vec<(u64, u64)> = Vec::new();
            for (take, pages, align, which) in steps {
                if take || held.is_empty() {
                    if let Some(at) = ranges.take(pages * P, P << align) {
                        let end = at + pages * P;
                        prop_assert!(at % (P << align) == 0 && at > first && end < last);
                        prop_assert!(held.iter().all(|(a, e)| end < *a || *e < at), "no guard between");
                        prop_assert!(ranges.allows(at, end));
                        held.push((at, end));
                    }
                } else {
                    let (at, end) = held.swap_remove(which.index(held.len()));
                    prop_assert_eq!(ranges.give(at), Some(end - at));
                    prop_assert!(!ranges.allows(at, end));
                }
            }
            for (at, _) in held {
                ranges.give(at);
            }
            prop_assert_eq!(ranges.take(510 * P, P), Some(first + P));
        }
    }
}
