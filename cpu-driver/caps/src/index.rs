//! Capabilities of one core, ordered by address: an AVL tree threaded through the slots themselves. Deterministic bounds
//! matter here: no user may choose addresses that make a kernel entry long (rule `bounded`), which is why it is not a treap.
//! Where ranges nest deeply each node knows the highest end below it, which every change must carry up to the root.
//!
//! Ranges are *laminar*: two either nest or are disjoint, since objects are only ever made by taking sub-ranges. So what
//! was made of a range follows it in order, as far as it reaches.

use crate::slot::{Class, Slot, SlotRef, Store};

/// The tree's root. The nodes are in the [`Store`].
#[derive(Clone, Copy, Debug)]
pub struct Index {
    root: SlotRef,
    /// Whether nodes know the highest end below them.
    nests: bool,
}

/// `(class, slot address)`: unique for every slot.
type Key = (Class, SlotRef);

/// Where a key belongs: the neighbours on either side. One of them has room for it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Gap {
    pub before: SlotRef,
    pub after: SlotRef,
}

impl Gap {
    /// Whether a neighbour reaches into `start..stop`. It tells for all where ranges are disjoint.
    #[inline(always)]
    pub fn touches<S: Store>(&self, store: &S, start: u64, stop: u64) -> bool {
        (!self.after.is_none() && store.slot(self.after).place < stop)
            || (!self.before.is_none() && store.slot(self.before).far() > start)
    }
}

/// Below a node: to the left or to the right.
const SIDES: [usize; 2] = [0, 1];

fn key<S: Store>(store: &S, at: SlotRef) -> Key {
    (store.slot(at).class(), at)
}

/// Whether `slot`, which lies at `at`, comes before `key`. Mostly the places tell.
#[inline(always)]
fn precedes(slot: &Slot, at: SlotRef, key: &Key) -> bool {
    if slot.place == key.0.place() { (slot.class(), at) < *key } else { slot.place < key.0.place() }
}

/// Height of the subtree at `at`.
#[inline(always)]
fn height<S: Store>(store: &S, at: SlotRef) -> u8 {
    if at.is_none() { 0 } else { store.slot(at).height }
}

/// Highest end in the subtree at `at`, where nodes know it.
fn max_end<S: Store>(store: &S, at: SlotRef) -> u64 {
    if at.is_none() { 0 } else { store.slot(at).max_end }
}

impl Index {
    /// An empty index; `nests`: [`overlap_after`](Self::overlap_after) will be asked.
    pub const fn new(nests: bool) -> Self {
        Self { root: SlotRef::NONE, nests }
    }

    /// The neighbours of `key` in order.
    pub(crate) fn gap<S: Store>(&self, store: &S, key: &Key) -> Gap {
        let mut gap = Gap { before: SlotRef::NONE, after: SlotRef::NONE };
        let mut here = self.root;
        while !here.is_none() {
            let slot = store.slot(here);
            if precedes(slot, here, key) {
                (gap.before, here) = (here, slot.child[1]);
            } else {
                (gap.after, here) = (here, slot.child[0]);
            }
        }
        gap
    }

    /// Puts in a slot that was just filled.
    pub(crate) fn insert<S: Store>(&mut self, store: &mut S, at: SlotRef) {
        let gap = self.gap(store, &key(store, at));
        self.insert_at(store, at, gap);
    }

    /// The same, where the slot's gap is known.
    pub(crate) fn insert_at<S: Store>(&mut self, store: &mut S, at: SlotRef, gap: Gap) {
        let behind = !gap.before.is_none() && store.slot(gap.before).child[1].is_none();
        let parent = if behind { gap.before } else { gap.after };
        let slot = store.slot_mut(at);
        (slot.child, slot.parent, slot.height) = ([SlotRef::NONE; 2], parent, 1);
        slot.max_end = if self.nests { slot.far() } else { 0 };
        if parent.is_none() {
            self.root = at;
            return;
        }
        let slot = store.slot_mut(parent);
        slot.child[usize::from(behind)] = at;
        // Beside another child, it changes no height.
        if slot.height == 1 || self.nests {
            self.retrace(store, parent);
        }
    }

    /// Takes a slot out. It keeps its capability.
    pub(crate) fn remove<S: Store>(&mut self, store: &mut S, at: SlotRef) {
        let Slot { child: [left, right], parent, height, .. } = *store.slot(at);
        if left.is_none() || right.is_none() {
            let child = if left.is_none() { right } else { left };
            self.replace_child(store, parent, at, child);
            self.retrace(store, parent);
            return;
        }
        // Two children: the successor takes the place. It has no left child.
        let next = Self::outermost(store, right, 0);
        let (next_parent, next_right) = (store.slot(next).parent, store.slot(next).child[1]);
        let from = if next_parent == at {
            next
        } else {
            self.replace_child(store, next_parent, next, next_right);
            store.slot_mut(next).child[1] = right;
            store.slot_mut(right).parent = next;
            next_parent
        };
        let slot = store.slot_mut(next);
        (slot.child[0], slot.height) = (left, height);
        store.slot_mut(left).parent = next;
        self.replace_child(store, parent, at, next);
        self.retrace(store, from);
    }

    /// The last node on `side` of the subtree at `at`.
    fn outermost<S: Store>(store: &S, mut at: SlotRef, side: usize) -> SlotRef {
        loop {
            let next = store.slot(at).child[side];
            if next.is_none() {
                return at;
            }
            at = next;
        }
    }

    /// The slot beside `at` in order: before it for side 0, after it for side 1.
    pub(crate) fn beside<S: Store>(&self, store: &S, at: SlotRef, side: usize) -> SlotRef {
        let below = store.slot(at).child[side];
        if !below.is_none() {
            return Self::outermost(store, below, 1 - side);
        }
        let (mut child, mut up) = (at, store.slot(at).parent);
        while !up.is_none() && store.slot(up).child[side] == child {
            (child, up) = (up, store.slot(up).parent);
        }
        up
    }

    /// Another slot of the same class as `at`. Copies are neighbours.
    pub(crate) fn copy_of<S: Store>(&self, store: &S, at: SlotRef) -> Option<SlotRef> {
        let class = store.slot(at).class();
        let is_copy = |other: &SlotRef| !other.is_none() && store.slot(*other).is_of(&class);
        SIDES.into_iter().map(|side| self.beside(store, at, side)).find(is_copy)
    }

    /// The first slot of `class` that lies at `at` or after it, or else the first of another class.
    #[inline(never)]
    pub(crate) fn from<S: Store>(&self, store: &S, class: Class, at: SlotRef) -> SlotRef {
        self.gap(store, &(class, at)).after
    }

    /// The first slot of `class` or after it.
    pub(crate) fn lower_bound<S: Store>(&self, store: &S, class: Class) -> SlotRef {
        self.from(store, class, SlotRef::NONE)
    }

    /// The first slot after every slot of `class`.
    pub(crate) fn upper_bound<S: Store>(&self, store: &S, class: Class) -> SlotRef {
        self.from(store, class, SlotRef(u64::MAX))
    }

    /// The first slot after every slot of `class` whose range touches `start..end` (in the numbering of
    /// [`Class::place`]).
    pub(crate) fn overlap_after<S: Store>(&self, store: &S, class: Class, start: u64, end: u64) -> SlotRef {
        self.search(store, self.root, class, start, end)
    }

    fn search<S: Store>(&self, store: &S, at: SlotRef, after: Class, start: u64, stop: u64) -> SlotRef {
        if max_end(store, at) <= start {
            return SlotRef::NONE;
        }
        let slot = store.slot(at);
        let (class, [left, right], far) = (slot.class(), slot.child, slot.far());
        if class > after {
            let found = self.search(store, left, after, start, stop);
            if !found.is_none() {
                return found;
            }
            if class.place() >= stop {
                return SlotRef::NONE;
            }
            if far > start {
                return at;
            }
        }
        self.search(store, right, after, start, stop)
    }

    fn replace_child<S: Store>(&mut self, store: &mut S, parent: SlotRef, old: SlotRef, new: SlotRef) {
        if parent.is_none() {
            self.root = new;
        } else {
            let side = usize::from(store.slot(parent).child[1] == old);
            store.slot_mut(parent).child[side] = new;
        }
        if !new.is_none() {
            store.slot_mut(new).parent = parent;
        }
    }

    /// Restores height and balance from `at` upwards, until nothing changes any more.
    fn retrace<S: Store>(&mut self, store: &mut S, mut at: SlotRef) {
        while !at.is_none() {
            let Slot { child: [left, right], parent: up, height: before, .. } = *store.slot(at);
            let (hl, hr) = (height(store, left), height(store, right));
            let now = hl.max(hr) + 1;
            if hl.abs_diff(hr) > 1 {
                self.rebalance(store, at, usize::from(hr > hl));
            } else if self.nests {
                self.refresh(store, at);
            } else if before != now {
                store.slot_mut(at).height = now;
            } else {
                return;
            }
            at = up;
        }
    }

    /// Height, and highest end, of the subtree at `at`, from its children's.
    fn refresh<S: Store>(&self, store: &mut S, at: SlotRef) {
        let [left, right] = store.slot(at).child;
        let height = height(store, left).max(height(store, right)) + 1;
        store.slot_mut(at).height = height;
        if self.nests {
            let end = store.slot(at).far().max(max_end(store, left)).max(max_end(store, right));
            store.slot_mut(at).max_end = end;
        }
    }

    /// Lowers a node whose subtree on `side` is two higher than the other.
    fn rebalance<S: Store>(&mut self, store: &mut S, at: SlotRef, side: usize) {
        let heavy = store.slot(at).child[side];
        let child = store.slot(heavy).child;
        if height(store, child[1 - side]) > height(store, child[side]) {
            self.rotate(store, heavy, 1 - side);
        }
        self.rotate(store, at, side);
    }

    /// Lifts the child on `side` over its parent `at`.
    fn rotate<S: Store>(&mut self, store: &mut S, at: SlotRef, side: usize) {
        let (parent, child) = (store.slot(at).parent, store.slot(at).child[side]);
        let moved = store.slot(child).child[1 - side];
        store.slot_mut(at).child[side] = moved;
        store.slot_mut(child).child[1 - side] = at;
        if !moved.is_none() {
            store.slot_mut(moved).parent = at;
        }
        self.replace_child(store, parent, at, child);
        store.slot_mut(at).parent = child;
        self.refresh(store, at);
        self.refresh(store, child);
    }

    /// Checks every invariant, and panics if one does not hold; the number of slots in the index. For tests.
    pub(crate) fn check<S: Store>(&self, store: &S) -> usize {
        fn walk<S: Store>(
            index: &Index,
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
            let (hl, el, nl) = walk(index, store, slot.child[0], at, last);
            assert!(last.replace(key(store, at)) < Some(key(store, at)), "order");
            let (hr, er, nr) = walk(index, store, slot.child[1], at, last);
            assert!(hl.abs_diff(hr) <= 1, "balance");
            assert_eq!(slot.height, hl.max(hr) + 1, "height");
            let end = if index.nests { slot.far().max(el).max(er) } else { 0 };
            assert_eq!(slot.max_end, end, "max_end");
            (slot.height, slot.max_end, nl + nr + 1)
        }
        walk(self, store, self.root, SlotRef::NONE, &mut None).2
    }
}
