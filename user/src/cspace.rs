//! Which slots of the own capability space are free. Pure; [`Memory`](crate::mem::Memory) makes the CNodes.
//!
//! A bit a slot, set while it is free, for all the slots that a root can have: no allocation, so that the heap can take
//! slots while it grows. A slot that is given back is the next to be taken.

use core::fmt;
use skerry_abi::CPtr;
use skerry_abi::cap::CNODE_SLOTS;

/// Indices of the root that CNodes of slots hang at; those behind are the parents' of domains (`spawn`).
pub const NODES: u32 = 192;
/// Below so many free slots a new CNode is due: making one takes a slot itself.
const RESERVE: u32 = 8;
/// Words of bits in a CNode.
const NODE_WORDS: usize = CNODE_SLOTS as usize / 64;
/// Words of bits in all.
const WORDS: usize = NODES as usize * NODE_WORDS;

/// The slot allocator.
pub struct Slots {
    free: [u64; WORDS],
    count: u32,
    /// No word below this one has a free slot.
    lowest: usize,
    /// Index in the root for the next CNode.
    next_node: u32,
}

impl Slots {
    /// No slots at all.
    pub const fn empty() -> Self {
        Self { free: [0; WORDS], count: 0, lowest: 0, next_node: NODES }
    }

    /// From now on slots from `first` to the end of its CNode are free, and so is every later index of the root.
    pub fn begin(&mut self, first: CPtr) {
        *self = Self::empty();
        self.next_node = first.node() + 1;
        for slot in first.slot()..CNODE_SLOTS {
            self.give(CPtr::new(first.node(), slot));
        }
    }

    /// A free slot.
    pub fn take(&mut self) -> Option<CPtr> {
        let word =
            (self.lowest..WORDS.min(self.next_node as usize * NODE_WORDS)).find(|&n| self.free[n] != 0)?;
        let bit = self.free[word].trailing_zeros();
        self.free[word] &= self.free[word] - 1;
        self.lowest = word;
        self.count -= 1;
        Some(CPtr(word as u32 * 64 + bit))
    }

    /// `slot` is empty again. What is no slot, or was free, changes nothing.
    pub fn give(&mut self, slot: CPtr) {
        let (word, bit) = (slot.0 as usize / 64, 1 << (slot.0 % 64));
        if slot != CPtr::NULL && slot.node() < self.next_node && self.free[word] & bit == 0 {
            self.free[word] |= bit;
            self.lowest = self.lowest.min(word);
            self.count += 1;
        }
    }

    /// Where in the root a new CNode is due, if one is.
    pub fn wants_node(&self) -> Option<u32> {
        (self.count < RESERVE && self.next_node < NODES).then_some(self.next_node)
    }

    /// A CNode hangs at that index now.
    pub fn node_added(&mut self) {
        let node = self.next_node as usize;
        self.next_node += 1;
        self.free[node * NODE_WORDS..(node + 1) * NODE_WORDS].fill(u64::MAX);
        self.count += CNODE_SLOTS;
    }

    /// Slots free, in the CNodes that are there.
    pub const fn count(&self) -> u32 {
        self.count
    }
}

impl fmt::Debug for Slots {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} slots free, {} nodes", self.count, self.next_node)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    fn slots(first: CPtr) -> Slots {
        let mut slots = Slots::empty();
        slots.begin(first);
        slots
    }

    #[test]
    fn no_slot_is_given_twice_and_a_node_is_asked_for_in_time() {
        let mut slots = slots(CPtr::new(0, 250));
        let mut seen = BTreeSet::new();
        for _ in 0..1000 {
            if slots.wants_node().is_some() {
                let for_node = slots.take().expect("a slot for the new node is in reserve");
                assert!(seen.insert(for_node));
                slots.node_added();
            }
            assert!(seen.insert(slots.take().expect("a node was added in time")));
        }
    }

    #[test]
    fn the_end_of_the_root_is_the_end() {
        let mut slots = slots(CPtr::new(NODES - 1, 254));
        assert_eq!(slots.wants_node(), None);
        assert_eq!(slots.take(), Some(CPtr::new(NODES - 1, 254)));
        assert_eq!(slots.take(), Some(CPtr::new(NODES - 1, 255)));
        assert_eq!(slots.take(), None);
        slots.give(CPtr::new(NODES - 1, 254));
        assert_eq!(slots.take(), Some(CPtr::new(NODES - 1, 254)));
    }

    #[test]
    fn what_is_given_back_is_taken_again_and_once() {
        let mut slots = slots(CPtr::new(0, 100));
        let all = slots.count();
        let taken: Vec<CPtr> = (0..50).filter_map(|_| slots.take()).collect();
        for slot in &taken {
            slots.give(*slot);
            slots.give(*slot);
        }
        slots.give(CPtr::NULL);
        slots.give(CPtr::new(7, 0));
        slots.give(CPtr(u32::MAX));
        assert_eq!(slots.count(), all);
        assert_eq!(slots.take(), Some(taken[0]));
    }
}
