//! Which RAM is free, by NUMA node. Pure: it answers which piece of which capability to retype.
//!
//! Memory comes back only as whole pieces that were never retyped; the capability rules would let a deleted object's
//! memory be used again, but nothing here keeps count of that yet.

use alloc::vec::Vec;
use skerry_abi::{CPtr, PAGE_SIZE, PhysRange};

/// Free extents that a pool holds at most; smaller ones are forgotten first.
pub const MAX_EXTENTS: usize = 128;

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

/// Free RAM.
#[derive(Debug, Default)]
pub struct Pool {
    extents: Vec<Piece>,
    total: u64,
}

impl Pool {
    /// An empty pool.
    pub const fn new() -> Self {
        Self { extents: Vec::new(), total: 0 }
    }

    /// Adds all of a RAM capability.
    pub fn add(&mut self, ram: CPtr, base: u64, len: u64, node: u32) {
        self.total += len;
        self.put(Piece { ram, offset: 0, base, len, node, whole: true });
    }

    fn put(&mut self, piece: Piece) {
        if piece.len == 0 {
            return;
        }
        if self.extents.len() == MAX_EXTENTS {
            let Some(smallest) = (0..MAX_EXTENTS).min_by_key(|&n| self.extents[n].len) else { return };
            if self.extents[smallest].len >= piece.len {
                return;
            }
            self.extents.swap_remove(smallest);
        }
        self.extents.push(piece);
    }

    /// Takes `len` bytes at a multiple of `align` (a power of two) in physical memory: on `node` if given, else where
    /// it fits best. Small pieces are taken from small extents, so that large ones stay whole.
    pub fn take(&mut self, len: u64, align: u64, node: Option<u32>) -> Option<Piece> {
        let len = len.checked_next_multiple_of(PAGE_SIZE)?;
        let gap = |e: &Piece| e.base.wrapping_neg() & (align - 1);
        let index = (0..self.extents.len())
            .filter(|&n| node.is_none_or(|want| self.extents[n].node == want))
            .filter(|&n| {
                gap(&self.extents[n]).checked_add(len).is_some_and(|need| need <= self.extents[n].len)
            })
            .min_by_key(|&n| self.extents[n].len)?;
        let extent = self.extents.swap_remove(index);
        let (before, whole) = (gap(&extent), extent.whole && extent.len == len);
        let part = |skip: u64, len: u64, whole| Piece {
            offset: extent.offset + skip,
            base: extent.base + skip,
            len,
            whole,
            ..extent
        };
        self.put(part(0, before, false));
        self.put(part(before + len, extent.len - before - len, false));
        Some(part(before, len, whole))
    }

    /// What is free in `range` belongs to `node`: boot glue does not know nodes, the firmware's tables do.
    pub fn set_node(&mut self, range: PhysRange, node: u32) {
        for extent in core::mem::take(&mut self.extents) {
            let end = extent.base + extent.len;
            let first = range.base.0.clamp(extent.base, end);
            let last = range.end().0.clamp(first, end);
            for (from, to, node) in
                [(extent.base, first, extent.node), (first, last, node), (last, end, extent.node)]
            {
                let whole = extent.whole && to - from == extent.len;
                let offset = extent.offset + (from - extent.base);
                self.put(Piece { offset, base: from, len: to - from, node, whole, ..extent });
            }
        }
    }

    /// Takes everything that is left, largest first.
    pub fn take_all(&mut self) -> Vec<Piece> {
        let mut all = core::mem::take(&mut self.extents);
        all.sort_by_key(|piece| core::cmp::Reverse(piece.len));
        all
    }

    /// Gives a piece back that was never retyped.
    pub fn give_back(&mut self, piece: Piece) {
        self.put(piece);
    }

    /// Bytes free.
    pub fn free(&self) -> u64 {
        self.extents.iter().map(|e| e.len).sum()
    }

    /// Bytes free on one node.
    pub fn free_on(&self, node: u32) -> u64 {
        self.extents.iter().filter(|e| e.node == node).map(|e| e.len).sum()
    }

    /// Bytes that were taken now belong to another core.
    pub fn gave_away(&mut self, len: u64) {
        self.total = self.total.saturating_sub(len);
    }

    /// Bytes added, without those that were given away.
    pub fn total(&self) -> u64 {
        self.total
    }

    /// Nodes that have free RAM.
    pub fn nodes(&self) -> Vec<u32> {
        let mut nodes: Vec<u32> = self.extents.iter().map(|e| e.node).collect();
        nodes.sort_unstable();
        nodes.dedup();
        nodes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    fn pool() -> Pool {
        let mut pool = Pool::new();
        pool.add(CPtr(20), 0x10_0000, 7 * MIB, 0);
        pool.add(CPtr(21), 0x4000_0000, 16 * MIB, 1);
        pool
    }

    #[test]
    fn pieces_are_aligned_disjoint_and_inside() {
        let mut pool = pool();
        let mut taken: Vec<Piece> = Vec::new();
        while let Some(piece) = pool.take(3 * PAGE_SIZE, 4 * PAGE_SIZE, None) {
            assert_eq!(piece.base % (4 * PAGE_SIZE), 0);
            assert!(taken.iter().all(|o| o.base + o.len <= piece.base || piece.base + piece.len <= o.base));
            let start = if piece.ram == CPtr(20) { 0x10_0000 } else { 0x4000_0000 };
            assert_eq!(start + piece.offset, piece.base);
            taken.push(piece);
        }
        assert!(taken.len() > 1000, "{}", taken.len());
    }

    #[test]
    fn the_node_is_respected() {
        let mut pool = pool();
        assert_eq!(pool.nodes(), [0, 1]);
        let before = pool.total();
        let slice = pool.take(2 * MIB, 2 * MIB, Some(1)).unwrap();
        assert_eq!((slice.base, slice.node, slice.whole), (0x4000_0000, 1, false));
        assert_eq!(pool.take(8 * MIB, PAGE_SIZE, Some(0)), None);
        assert_eq!(pool.take(PAGE_SIZE, PAGE_SIZE, Some(2)), None);
        assert_eq!((pool.free(), pool.total()), (21 * MIB, before));
        pool.gave_away(slice.len);
        assert_eq!(pool.total(), before - 2 * MIB);
    }

    #[test]
    fn nodes_are_cut_out_of_extents() {
        let mut pool = Pool::new();
        pool.add(CPtr(1), 0x10_0000, 15 * MIB, 0);
        pool.add(CPtr(2), 0x4000_0000, MIB, 0);
        pool.set_node(PhysRange::new(skerry_abi::PhysAddr(4 * MIB), 8 * MIB), 1);
        assert_eq!(pool.free(), 16 * MIB);
        let piece = pool.take(8 * MIB, PAGE_SIZE, Some(1)).unwrap();
        assert_eq!((piece.base, piece.offset, piece.whole), (4 * MIB, 3 * MIB, false));
        assert_eq!(pool.take(PAGE_SIZE, PAGE_SIZE, Some(1)), None);
        assert!(pool.take(MIB, PAGE_SIZE, Some(0)).unwrap().whole);
    }

    #[test]
    fn all_of_a_capability_is_known_as_such() {
        let mut pool = pool();
        assert!(pool.take(16 * MIB, PAGE_SIZE, Some(1)).unwrap().whole);
        assert_eq!(pool.take(u64::MAX, PAGE_SIZE, None), None);
    }

    #[test]
    fn extents_are_bounded() {
        let mut pool = Pool::new();
        for n in 0..2 * MAX_EXTENTS as u64 {
            pool.add(CPtr(1), n << 32, PAGE_SIZE * (1 + n), 0);
        }
        assert_eq!(pool.extents.len(), MAX_EXTENTS);
        assert!(pool.extents.iter().all(|e| e.len > PAGE_SIZE * MAX_EXTENTS as u64));
    }
}
