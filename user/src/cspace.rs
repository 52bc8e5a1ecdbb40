//! Which slots of the own capability space are free. Pure; [`Memory`](crate::mem::Memory) makes the CNodes.

use alloc::vec::Vec;
use skerry_abi::CPtr;
use skerry_abi::cap::CNODE_SLOTS;

/// Below so many free slots a new CNode is due: making one takes a slot itself.
const RESERVE: u32 = 8;

/// The slot allocator.
#[derive(Debug)]
pub struct Slots {
    node: u32,
    next: u32,
    /// Index in the root for the next CNode.
    next_node: u32,
    free: Vec<CPtr>,
}

impl Slots {
    /// Slots from `first` to the end of its CNode are free, and so is every later index of the root.
    pub fn new(first: CPtr) -> Self {
        Self { node: first.node(), next: first.slot(), next_node: first.node() + 1, free: Vec::new() }
    }

    /// A free slot.
    pub fn take(&mut self) -> Option<CPtr> {
        if let Some(slot) = self.free.pop() {
            return Some(slot);
        }
        if self.next >= CNODE_SLOTS {
            return None;
        }
        self.next += 1;
        Some(CPtr::new(self.node, self.next - 1))
    }

    /// `count` free slots in one CNode; the first.
    pub fn take_run(&mut self, count: u32) -> Option<CPtr> {
        if count > CNODE_SLOTS - self.next {
            return None;
        }
        self.next += count;
        Some(CPtr::new(self.node, self.next - count))
    }

    /// `slot` is empty again.
    pub fn give(&mut self, slot: CPtr) {
        self.free.push(slot);
    }

    /// Where in the root a new CNode is due, if one is.
    pub fn wants_node(&self) -> Option<u32> {
        let low = self.next + RESERVE > CNODE_SLOTS && self.free.len() < RESERVE as usize;
        (low && self.next_node < CNODE_SLOTS).then_some(self.next_node)
    }

    /// A CNode hangs at that index now. What was left of the old one stays in use.
    pub fn node_added(&mut self) {
        for slot in self.next..CNODE_SLOTS {
            self.free.push(CPtr::new(self.node, slot));
        }
        (self.node, self.next) = (self.next_node, 0);
        self.next_node += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn no_slot_is_given_twice_and_a_node_is_asked_for_in_time() {
        let mut slots = Slots::new(CPtr::new(0, 250));
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
        let mut slots = Slots::new(CPtr::new(255, 254));
        assert_eq!(slots.wants_node(), None);
        assert_eq!(slots.take(), Some(CPtr::new(255, 254)));
        assert_eq!(slots.take(), Some(CPtr::new(255, 255)));
        assert_eq!(slots.take(), None);
        slots.give(CPtr::new(255, 254));
        assert_eq!(slots.take(), Some(CPtr::new(255, 254)));
    }

    #[test]
    fn a_run_stays_in_one_node() {
        let mut slots = Slots::new(CPtr::new(0, 240));
        assert_eq!(slots.take_run(17), None);
        assert_eq!(slots.take_run(16), Some(CPtr::new(0, 240)));
    }
}
