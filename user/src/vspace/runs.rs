//! Runs: pages in one table, mapped by one invocation. Pure.

use crate::cap::VNode;
use alloc::collections::BTreeMap;
use skerry_abi::{CPtr, PAGE_SIZE};
use skerry_hal::addr::LARGE_PAGE;
use skerry_hal::paging::{ENTRIES, span};

/// Pages that one invocation maps executable at most: the CPU driver must make each fetchable.
pub const MAX_EXECUTABLE: u64 = 32;

/// Whose the capability is that a run is mapped with.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Hold {
    /// A copy that the library made: deleted when the run goes, which takes the entries away as well.
    Copy,
    /// The caller's: stays when the run goes.
    Lent,
    /// A frame that the library made: freed when the run goes.
    Own,
}

/// Pages in one table.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Run {
    /// First address after it.
    pub end: u64,
    /// The table.
    pub table: VNode,
    /// What is mapped.
    pub cap: CPtr,
    /// Whose that is.
    pub hold: Hold,
    /// [`Hold::Own`]: where the frame lies.
    pub base: u64,
    /// Level of the table: 0, or 1 for large pages.
    pub level: u8,
}

impl Run {
    /// Entries of the table from `from` up to `to`.
    pub const fn entries(&self, from: u64, to: u64) -> u32 {
        ((to - from) >> (12 + 9 * self.level as u64)) as u32
    }
}

/// The run that holds `va`, or the first one after it.
pub fn at_or_after(runs: &BTreeMap<u64, Run>, va: u64) -> Option<(u64, Run)> {
    let before = runs.range(..=va).next_back().filter(|(_, run)| run.end > va);
    before.or_else(|| runs.range(va..).next()).map(|(at, run)| (*at, *run))
}

/// Whether any run has pages in `from..to`.
#[inline]
pub fn any_in(runs: &BTreeMap<u64, Run>, from: u64, to: u64) -> bool {
    runs.range(..to).next_back().is_some_and(|(_, run)| run.end > from)
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
