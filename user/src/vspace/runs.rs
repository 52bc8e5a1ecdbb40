//! Runs: pages in one table, mapped by one invocation. Pure.

use crate::cap::VNode;
use crate::mem::Object;
use alloc::vec::Vec;
use skerry_abi::{CPtr, PAGE_SIZE};
use skerry_hal::addr::LARGE_PAGE;
use skerry_hal::paging::{ENTRIES, index, span};

/// Pages that one invocation maps executable at most: the CPU driver must make each fetchable.
pub const MAX_EXECUTABLE: u64 = 32;

/// Whose the capability is that a run is mapped with.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u64)]
pub enum Hold {
    /// A copy that the library made: deleted when the run goes, which takes the entries away as well.
    Copy = 0,
    /// The caller's: stays when the run goes.
    Lent = 1,
    /// A frame that the library made: freed when the run goes.
    Own = 2,
}

/// Pages in one table. Small, since runs are kept in order: putting one in its place moves those behind it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Run {
    /// What is mapped.
    pub cap: CPtr,
    /// First entry.
    pub first: u16,
    /// First entry after it.
    pub end: u16,
    /// Where the frame lies, if it is the library's; in the lowest bits a [`Hold`].
    origin: u64,
}

impl Run {
    /// Entries `first..end`, mapped with `cap`; `base` is where the frame lies if it is [`Hold::Own`].
    pub const fn new((first, end): (u16, u16), cap: CPtr, hold: Hold, base: u64) -> Self {
        Self { cap, first, end, origin: base | hold as u64 }
    }

    /// The part of it from entry `first` up to `end`.
    pub const fn part(self, first: u16, end: u16) -> Self {
        Self { first, end, ..self }
    }

    /// Whose `cap` is.
    #[inline]
    pub const fn hold(&self) -> Hold {
        match self.origin & 3 {
            0 => Hold::Copy,
            1 => Hold::Lent,
            _ => Hold::Own,
        }
    }

    /// [`Hold::Own`]: where the frame lies.
    pub const fn base(&self) -> u64 {
        self.origin & !(PAGE_SIZE - 1)
    }
}

/// A table, and the runs in it.
#[derive(Debug)]
pub struct Node {
    /// The table.
    pub object: Object,
    /// Its level: 0 for leaves; at 1, runs are of large pages.
    pub level: u8,
    /// First address that it translates.
    pub start: u64,
    /// In order of addresses.
    pub runs: Vec<Run>,
    /// The run put in last, which is often asked for next.
    pub last: usize,
}

impl Node {
    /// Its capability.
    #[inline]
    pub const fn table(&self) -> VNode {
        VNode(self.object.cap)
    }

    /// First entry and first entry after `from..to`, which lies in this table.
    #[inline]
    pub const fn entries(&self, from: u64, to: u64) -> (u16, u16) {
        let shift = 12 + 9 * self.level as u64;
        (((from - self.start) >> shift) as u16, ((to - self.start) >> shift) as u16)
    }

    /// The addresses of entries.
    #[inline]
    pub const fn addresses(&self, first: u16, end: u16) -> (u64, u64) {
        (self.start + first as u64 * span(self.level), self.start + end as u64 * span(self.level))
    }

    /// The run that holds `va`.
    #[inline]
    pub fn position(&self, va: u64) -> Option<usize> {
        let entry = index(va, self.level) as u16;
        let holds = |at: usize| self.runs.get(at).is_some_and(|run| run.first <= entry && entry < run.end);
        let at = if holds(self.last) { self.last } else { self.runs.partition_point(|run| run.end <= entry) };
        holds(at).then_some(at)
    }

    /// The first mapped address in `va..end`.
    #[inline]
    pub fn first_in(&self, va: u64, end: u64) -> Option<u64> {
        let entry = self.entries(va.max(self.start), end).0;
        let at = self.runs.partition_point(|run| run.end <= entry);
        let start = self.runs.get(at).map(|run| self.addresses(run.first, run.end).0.max(va));
        start.filter(|at| *at < end)
    }

    /// Adds a run, where there is none.
    #[inline]
    pub fn insert(&mut self, run: Run) {
        self.last = self.runs.partition_point(|other| other.first < run.first);
        self.runs.insert(self.last, run);
    }
}

/// A piece of a range to be mapped.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Cut {
    /// First address.
    pub va: u64,
    /// First address after it.
    pub end: u64,
    /// Level of the table: 0, or 1 for large pages.
    pub level: u8,
}

/// Cuts the page-aligned range `va..end` at the borders of tables, and after `most` pages. Where `pa`, the physical
/// address of its first page, allows it, pages are large.
pub fn cuts(va: u64, end: u64, most: u64, pa: Option<u64>) -> impl Iterator<Item = Cut> {
    let large = pa.is_some_and(|pa| (va ^ pa).is_multiple_of(LARGE_PAGE));
    let mut at = va;
    core::iter::from_fn(move || {
        if at >= end {
            return None;
        }
        let whole = end & !(LARGE_PAGE - 1);
        let (level, stop) = if large && at.is_multiple_of(LARGE_PAGE) && at < whole {
            (1, whole.min((at & !(span(2) - 1)) + span(2)))
        } else {
            (0, end.min((at & !(LARGE_PAGE - 1)) + LARGE_PAGE).min(at + most.min(ENTRIES as u64) * PAGE_SIZE))
        };
        let cut = Cut { va: at, end: stop, level };
        at = stop;
        Some(cut)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cuts_cover_the_range_and_never_cross_a_table() {
        for (va, len) in
            [(0x40_0000, 0x1000), (0x3f_f000, 0x2000), (0x20_0000, 0x60_0000), (0x5f_e000, 0x40_3000)]
        {
            for most in [512, 2] {
                let mut at = va;
                for cut in cuts(va, va + len, most, None) {
                    assert_eq!((cut.va, cut.level), (at, 0));
                    assert_eq!(cut.va / span(1), (cut.end - 1) / span(1));
                    assert!((cut.end - cut.va) / PAGE_SIZE <= most);
                    at = cut.end;
                }
                assert_eq!(at, va + len);
            }
        }
    }

    #[test]
    fn pages_are_large_where_both_addresses_allow_it() {
        let shape = |va: u64, len, pa| {
            cuts(va, va + len, 512, Some(pa)).map(|c| (c.level, (c.end - c.va) >> 12)).collect::<Vec<_>>()
        };
        assert_eq!(shape(0x40_0000, 0x40_0000, 0x60_0000), [(1, 1024)]);
        assert_eq!(shape(0x40_0000, 0x1f_f000, 0x60_0000), [(0, 511)]);
        assert_eq!(shape(0x3f_f000, 0x40_2000, 0x5f_f000), [(0, 1), (1, 1024), (0, 1)]);
        assert_eq!(shape(0x40_0000, 0x40_0000, 0x60_1000), [(0, 512), (0, 512)]);
        // At the border of a level-1 table.
        assert_eq!(shape(0x3fe0_0000, 0x40_0000, 0x20_0000), [(1, 512), (1, 512)]);
    }
}
