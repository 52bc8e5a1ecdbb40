//! Which RAM is free, by NUMA node. Pure: it answers which piece of which capability to retype, and merges what comes
//! back with its free neighbours.
//!
//! Taking never allocates, so that the heap can take RAM while it grows. Adding and giving back may lengthen a list:
//! [`Pool::room`] says whether there is room for that, [`Pool::make_room`] makes some.

use alloc::vec::Vec;
use core::fmt;
use skerry_abi::{CPtr, PAGE_SIZE, PhysRange};

/// A piece of RAM: `offset` bytes into the capability `ram`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Piece {
    /// The capability to retype.
    pub ram: CPtr,
    /// Where in it.
    pub offset: u64,
    /// Physical address.
    pub base: u64,
    /// Bytes.
    pub len: u64,
    /// NUMA node.
    pub node: u32,
    /// Whether it is all of `ram`.
    pub whole: bool,
}

/// A RAM capability, or the part of one that lies on one node.
#[derive(Clone, Copy, Debug)]
struct Source {
    ram: CPtr,
    /// Where and how long the capability is.
    cap: (u64, u64),
    base: u64,
    len: u64,
    node: u32,
}

impl Source {
    const fn end(&self) -> u64 {
        self.base + self.len
    }
}

/// Free RAM, all of one source.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Extent {
    base: u64,
    len: u64,
}

/// Why RAM was not taken back.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum GiveError {
    /// It is no part of what was added.
    NotOurs,
    /// It is free already, or a part of it is.
    Twice,
}

impl fmt::Display for GiveError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotOurs => "the RAM did not come from here",
            Self::Twice => "the RAM is free already",
        })
    }
}

/// Free RAM. Both lists are in order of addresses.
#[derive(Debug, Default)]
pub struct Pool {
    sources: Vec<Source>,
    extents: Vec<Extent>,
    total: u64,
}

impl Pool {
    /// An empty pool.
    pub const fn new() -> Self {
        Self { sources: Vec::new(), extents: Vec::new(), total: 0 }
    }

    /// Whether RAM can be added, given back and taken at any alignment without allocation.
    pub const fn room(&self) -> bool {
        self.sources.capacity() - self.sources.len() >= 2 && self.extents.capacity() - self.extents.len() >= 2
    }

    /// How long lists should be for [`make_room`](Self::make_room).
    pub const fn wanted(&self) -> (usize, usize) {
        (2 * self.sources.len() + 16, 2 * self.extents.len() + 64)
    }

    /// Goes on in `lists`, which are empty, if they are longer; answers the old ones, to be dropped elsewhere.
    pub(crate) fn make_room(&mut self, mut lists: Lists) -> Lists {
        if lists.0.capacity() > self.sources.capacity() {
            lists.0.extend_from_slice(&self.sources);
            core::mem::swap(&mut self.sources, &mut lists.0);
        }
        if lists.1.capacity() > self.extents.capacity() {
            lists.1.extend_from_slice(&self.extents);
            core::mem::swap(&mut self.extents, &mut lists.1);
        }
        lists
    }

    /// Adds all of a RAM capability. What was known of its addresses before is forgotten.
    pub fn add(&mut self, ram: CPtr, base: u64, len: u64, node: u32) {
        let end = base + len;
        self.extents.retain(|e| e.base + e.len <= base || e.base >= end);
        self.sources.retain(|s| s.end() <= base || s.base >= end);
        let at = self.sources.partition_point(|s| s.base < base);
        self.sources.insert(at, Source { ram, cap: (base, len), base, len, node });
        self.total += len;
        // It cannot be refused: the source is there, and nothing of it is free.
        let _taken = self.give(base, len);
    }

    fn source(&self, base: u64) -> Option<&Source> {
        let at = self.sources.partition_point(|s| s.base <= base);
        self.sources[..at].last().filter(|s| base < s.end())
    }

    fn piece(&self, base: u64, len: u64) -> Option<Piece> {
        let source = self.source(base)?;
        let whole = (base, len) == source.cap;
        Some(Piece { ram: source.ram, offset: base - source.cap.0, base, len, node: source.node, whole })
    }

    /// Takes `len` bytes at a multiple of `align` (a power of two) in physical memory: on `node` if given, else where
    /// it fits best. Small pieces are taken from small extents, so that large ones stay whole.
    pub fn take(&mut self, len: u64, align: u64, node: Option<u32>) -> Option<Piece> {
        let len = len.max(1).checked_next_multiple_of(PAGE_SIZE)?;
        let gap = |e: &Extent| e.base.wrapping_neg() & (align - 1);
        let splits = self.extents.capacity() > self.extents.len();
        let fits = |e: &Extent| {
            let left = gap(e).checked_add(len).and_then(|need| e.len.checked_sub(need));
            left.is_some_and(|left| splits || gap(e) == 0 || left == 0)
        };
        let on_node =
            |e: &Extent| node.is_none_or(|want| self.source(e.base).is_some_and(|s| s.node == want));
        let best = self.extents.iter().enumerate().filter(|(_, e)| fits(e) && on_node(e));
        let (at, extent) = best.min_by_key(|(_, e)| e.len).map(|(at, e)| (at, *e))?;
        let before = gap(&extent);
        let after = Extent { base: extent.base + before + len, len: extent.len - before - len };
        match (before > 0, after.len > 0) {
            (false, false) => {
                self.extents.remove(at);
            }
            (false, true) => self.extents[at] = after,
            (true, more) => {
                self.extents[at].len = before;
                if more {
                    self.extents.insert(at + 1, after);
                }
            }
        }
        self.piece(extent.base + before, len)
    }

    /// Takes the largest free piece.
    pub fn take_largest(&mut self) -> Option<Piece> {
        let at = (0..self.extents.len()).max_by_key(|&n| self.extents[n].len)?;
        let extent = self.extents.remove(at);
        self.piece(extent.base, extent.len)
    }

    /// `len` bytes at `base` are free again: nothing that was made of them is left.
    ///
    /// # Errors
    /// [`GiveError`].
    pub fn give(&mut self, base: u64, len: u64) -> Result<(), GiveError> {
        let end = base.checked_add(len).ok_or(GiveError::NotOurs)?;
        let source = *self.source(base).filter(|s| end <= s.end()).ok_or(GiveError::NotOurs)?;
        let at = self.extents.partition_point(|e| e.base < base);
        let before = at.checked_sub(1).map(|n| self.extents[n]).filter(|e| e.base + e.len >= base);
        let after = self.extents.get(at).copied();
        if before.is_some_and(|e| e.base + e.len > base) || after.is_some_and(|e| e.base < end) || len == 0 {
            return Err(GiveError::Twice);
        }
        let left = before.is_some_and(|e| e.base >= source.base);
        let right = after.is_some_and(|e| e.base == end && e.base < source.end());
        match (left, right) {
            (false, false) => self.extents.insert(at, Extent { base, len }),
            (true, false) => self.extents[at - 1].len += len,
            (false, true) => self.extents[at] = Extent { base, len: len + self.extents[at].len },
            (true, true) => {
                let gone = self.extents.remove(at);
                self.extents[at - 1].len += len + gone.len;
            }
        }
        Ok(())
    }

    /// What lies in `range` belongs to `node`: boot glue does not know nodes, the firmware's tables do.
    pub fn set_node(&mut self, range: PhysRange, node: u32) {
        let (first, last) = (range.base.0, range.end().0);
        for edge in [first, last] {
            if let Some(at) = self.sources.iter().position(|s| s.base < edge && edge < s.end()) {
                let source = self.sources[at];
                self.sources[at].len = edge - source.base;
                self.sources.insert(at + 1, Source { base: edge, len: source.end() - edge, ..source });
            }
            if let Some(at) = self.extents.iter().position(|e| e.base < edge && edge < e.base + e.len) {
                let extent = self.extents[at];
                self.extents[at].len = edge - extent.base;
                let rest = Extent { base: edge, len: extent.base + extent.len - edge };
                self.extents.insert(at + 1, rest);
            }
        }
        for source in self.sources.iter_mut().filter(|s| s.base >= first && s.end() <= last) {
            source.node = node;
        }
    }

    /// The capability that `base` is part of, and whether `base..base + len` is all of it.
    pub fn origin(&self, base: u64, len: u64) -> Option<(CPtr, bool)> {
        self.source(base).map(|s| (s.ram, (base, len) == s.cap))
    }

    /// Bytes free.
    pub fn free(&self) -> u64 {
        self.extents.iter().map(|e| e.len).sum()
    }

    /// Bytes free on one node.
    pub fn free_on(&self, node: u32) -> u64 {
        let on_node = |e: &&Extent| self.source(e.base).is_some_and(|s| s.node == node);
        self.extents.iter().filter(on_node).map(|e| e.len).sum()
    }

    /// Bytes that were taken now belong to another core.
    pub fn gave_away(&mut self, len: u64) {
        self.total = self.total.saturating_sub(len);
    }

    /// Bytes added, without those that were given away.
    pub const fn total(&self) -> u64 {
        self.total
    }

    /// The first node from `node` on that has free RAM.
    pub fn node_from(&self, node: u32) -> Option<u32> {
        let nodes = self.extents.iter().filter_map(|e| self.source(e.base)).map(|s| s.node);
        nodes.filter(|have| *have >= node).min()
    }

    /// Pieces that the free RAM is in.
    pub const fn pieces(&self) -> usize {
        self.extents.len()
    }
}

/// Room for a pool's lists.
#[derive(Debug)]
pub(crate) struct Lists(Vec<Source>, Vec<Extent>);

impl Lists {
    /// Room for so many entries.
    pub fn new((sources, extents): (usize, usize)) -> Self {
        Self(Vec::with_capacity(sources), Vec::with_capacity(extents))
    }
}

#[cfg(test)]
mod tests;
