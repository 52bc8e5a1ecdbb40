//! All capabilities of one core, ordered by address: an AVL tree threaded through the slots themselves, each node
//! knowing the highest end below it. Deterministic bounds matter here: no user may choose addresses that make a kernel
//! entry long (rule `bounded`), which is why it is not a treap.
//!
//! Ranges are *laminar*: two either nest or are disjoint, since objects are only ever made by taking sub-ranges.

use crate::slot::{Class, SlotRef, Store};

/// The tree's root. The nodes are in the [`Store`].
#[derive(Clone, Copy, Debug, Default)]
pub struct Index {
    root: SlotRef,
}

/// `(class, slot address)`: unique for every slot.
type Key = (Class, SlotRef);

fn key<S: Store>(store: &S, at: SlotRef) -> Key {
    (store.slot(at).class(), at)
}

fn height<S: Store>(store: &S, at: SlotRef) -> u8 {
    if at.is_none() { 0 } else { store.slot(at).height }
}

fn end<S: Store>(store: &S, at: SlotRef) -> u64 {
    store.slot(at).far()
}

fn max_end<S: Store>(store: &S, at: SlotRef) -> u64 {
    if at.is_none() { 0 } else { store.slot(at).max_end }
}

impl Index {
    /// An empty index.
    pub const fn new() -> Self {
        Self { root: SlotRef::NONE }
    }

    /// Puts in a slot that was just filled.
    pub(crate) fn insert<S: Store>(&mut self, store: &mut S, at: SlotRef) {
        let new = key(store, at);
        let (mut parent, mut here) = (SlotRef::NONE, self.root);
        let mut to_left = false;
        while !here.is_none() {
            parent = here;
            to_left = new < key(store, here);
            here = if to_left { store.slot(here).left } else { store.slot(here).right };
        }
        let own_end = end(store, at);
        let slot = store.slot_mut(at);
        (slot.left, slot.right, slot.parent) = (SlotRef::NONE, SlotRef::NONE, parent);
        (slot.height, slot.max_end) = (1, own_end);
        if parent.is_none() {
            self.root = at;
        } else if to_left {
            store.slot_mut(parent).left = at;
        } else {
            store.slot_mut(parent).right = at;
        }
        self.retrace(store, parent, SlotRef::NONE);
    }

    /// Takes a slot out. It keeps its capability.
    pub(crate) fn remove<S: Store>(&mut self, store: &mut S, at: SlotRef) {
        let (left, right, parent) = {
            let slot = store.slot(at);
            (slot.left, slot.right, slot.parent)
        };
        if left.is_none() || right.is_none() {
            let child = if left.is_none() { right } else { left };
            self.replace_child(store, parent, at, child);
            self.retrace(store, parent, SlotRef::NONE);
            return;
        }
        // Two children: the successor takes the place. It has no left child.
        let mut next = right;
        while !store.slot(next).left.is_none() {
            next = store.slot(next).left;
        }
        let (next_parent, next_right) = (store.slot(next).parent, store.slot(next).right);
        let from = if next_parent == at {
            next
        } else {
            self.replace_child(store, next_parent, next, next_right);
            store.slot_mut(next).right = right;
            store.slot_mut(right).parent = next;
            next_parent
        };
        store.slot_mut(next).left = left;
        store.slot_mut(left).parent = next;
        self.replace_child(store, parent, at, next);
        // The successor stands where it never stood: what it says of its subtree is stale until it is reached.
        self.retrace(store, from, next);
    }

    /// The slot that follows `at` in order.
    pub(crate) fn next<S: Store>(&self, store: &S, at: SlotRef) -> SlotRef {
        let mut here = store.slot(at).right;
        if !here.is_none() {
            while !store.slot(here).left.is_none() {
                here = store.slot(here).left;
            }
            return here;
        }
        let (mut child, mut up) = (at, store.slot(at).parent);
        while !up.is_none() && store.slot(up).right == child {
            (child, up) = (up, store.slot(up).parent);
        }
        up
    }

    /// The first slot of `class` or after it.
    pub(crate) fn lower_bound<S: Store>(&self, store: &S, class: Class) -> SlotRef {
        let (mut here, mut found) = (self.root, SlotRef::NONE);
        while !here.is_none() {
            if store.slot(here).class() < class {
                here = store.slot(here).right;
            } else {
                (found, here) = (here, store.slot(here).left);
            }
        }
        found
    }

    /// The first slot after every slot of `class` whose range touches `start..end` (in the numbering of
    /// [`Class::place`]).
    pub(crate) fn overlap_after<S: Store>(&self, store: &S, class: Class, start: u64, end: u64) -> SlotRef {
        self.search(store, self.root, class, start, end)
    }

    fn search<S: Store>(&self, store: &S, at: SlotRef, after: Class, start: u64, stop: u64) -> SlotRef {
        if at.is_none() || max_end(store, at) <= start {
            return SlotRef::NONE;
        }
        let (class, left, right) = {
            let slot = store.slot(at);
            (slot.class(), slot.left, slot.right)
        };
        if class > after {
            let found = self.search(store, left, after, start, stop);
            if !found.is_none() {
                return found;
            }
            if class.place() >= stop {
                return SlotRef::NONE;
            }
            if end(store, at) > start {
                return at;
            }
        }
        self.search(store, right, after, start, stop)
    }

    fn replace_child<S: Store>(&mut self, store: &mut S, parent: SlotRef, old: SlotRef, new: SlotRef) {
        if parent.is_none() {
            self.root = new;
        } else if store.slot(parent).left == old {
            store.slot_mut(parent).left = new;
        } else {
            store.slot_mut(parent).right = new;
        }
        if !new.is_none() {
            store.slot_mut(new).parent = parent;
        }
    }

    fn update<S: Store>(store: &mut S, at: SlotRef) {
        let (left, right) = (store.slot(at).left, store.slot(at).right);
        let tall = height(store, left).max(height(store, right)) + 1;
        let far = end(store, at).max(max_end(store, left)).max(max_end(store, right));
        let slot = store.slot_mut(at);
        (slot.height, slot.max_end) = (tall, far);
    }

    /// Restores height, balance and `max_end` from `at` upwards, until nothing changes any more; never stops below or at
    /// `stale`.
    fn retrace<S: Store>(&mut self, store: &mut S, mut at: SlotRef, mut stale: SlotRef) {
        while !at.is_none() {
            let before = (store.slot(at).height, store.slot(at).max_end);
            let top = self.rebalance(store, at);
            let slot = store.slot(top);
            let up = slot.parent;
            if at == stale {
                stale = SlotRef::NONE;
            } else if stale.is_none() && top == at && (slot.height, slot.max_end) == before {
                return;
            }
            at = up;
        }
    }

    /// Rebalances one node whose children are balanced; answers the subtree's new root.
    fn rebalance<S: Store>(&mut self, store: &mut S, at: SlotRef) -> SlotRef {
        let (left, right) = (store.slot(at).left, store.slot(at).right);
        let (hl, hr) = (height(store, left), height(store, right));
        if hl > hr + 1 {
            let (outer, inner) = (store.slot(left).left, store.slot(left).right);
            if height(store, inner) > height(store, outer) {
                self.rotate(store, left, inner);
            }
            self.rotate(store, at, store.slot(at).left)
        } else if hr > hl + 1 {
            let (inner, outer) = (store.slot(right).left, store.slot(right).right);
            if height(store, inner) > height(store, outer) {
                self.rotate(store, right, inner);
            }
            self.rotate(store, at, store.slot(at).right)
        } else {
            Self::update(store, at);
            at
        }
    }

    /// Lifts `child` over its parent `at`; answers `child`.
    fn rotate<S: Store>(&mut self, store: &mut S, at: SlotRef, child: SlotRef) -> SlotRef {
        let parent = store.slot(at).parent;
        let was_left = store.slot(at).left == child;
        let moved = if was_left { store.slot(child).right } else { store.slot(child).left };
        if was_left {
            store.slot_mut(at).left = moved;
            store.slot_mut(child).right = at;
        } else {
            store.slot_mut(at).right = moved;
            store.slot_mut(child).left = at;
        }
        if !moved.is_none() {
            store.slot_mut(moved).parent = at;
        }
        self.replace_child(store, parent, at, child);
        store.slot_mut(at).parent = child;
        Self::update(store, at);
        Self::update(store, child);
        child
    }

    /// Checks every invariant, and panics if one does not hold; the number of slots in the index. For tests.
    pub(crate) fn check<S: Store>(&self, store: &S) -> usize {
        fn walk<S: Store>(
            store: &S,
            at: SlotRef,
            parent: SlotRef,
            last: &mut Option<Key>,
        ) -> (u8, u64, usize) {
            if at.is_none() {
                return (0, 0, 0);
            }
            let slot = store.slot(at);
            assert_eq!(slot.parent, parent, "parent link");
            let (hl, el, nl) = walk(store, slot.left, at, last);
            assert!(last.replace(key(store, at)) < Some(key(store, at)), "order");
            let (hr, er, nr) = walk(store, slot.right, at, last);
            assert!(hl.abs_diff(hr) <= 1, "balance");
            assert_eq!(slot.height, hl.max(hr) + 1, "height");
            assert_eq!(slot.max_end, end(store, at).max(el).max(er), "max_end");
            (slot.height, slot.max_end, nl + nr + 1)
        }
        walk(store, self.root, SlotRef::NONE, &mut None).2
    }
}
