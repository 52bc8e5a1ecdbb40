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
    pub(crate) root: SlotRef,
    /// Whether nodes know the highest end below them.
    pub(crate) nests: bool,
}

/// `(class, slot address)`: unique for every slot.
pub(crate) type Key = (Class, SlotRef);

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

/// Where a child is: before its parent, or after it. Also how a node leans whose subtree there is higher by one.
const LEFT: i8 = -1;
const RIGHT: i8 = 1;

/// The place of the child on `side`.
const fn at(side: i8) -> usize {
    (side > 0) as usize
}

pub(crate) fn key<S: Store>(store: &S, at: SlotRef) -> Key {
    (store.slot(at).class(), at)
}

/// Whether `slot`, which lies at `at`, comes before `key`. Mostly the places tell.
#[inline(always)]
fn precedes(slot: &Slot, at: SlotRef, key: &Key) -> bool {
    if slot.place == key.0.place() { (slot.class(), at) < *key } else { slot.place < key.0.place() }
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
        (slot.child, slot.parent, slot.lean) = ([SlotRef::NONE; 2], parent, 0);
        if parent.is_none() {
            self.root = at;
        } else {
            store.slot_mut(parent).child[usize::from(behind)] = at;
            self.grown(store, parent, if behind { RIGHT } else { LEFT });
        }
        self.refresh_from(store, at);
    }

    /// Takes a slot out. It keeps its capability.
    pub(crate) fn remove<S: Store>(&mut self, store: &mut S, at: SlotRef) {
        let Slot { child: [left, right], parent, lean, .. } = *store.slot(at);
        if left.is_none() || right.is_none() {
            let child = if left.is_none() { right } else { left };
            let side = self.replace_child(store, parent, at, child);
            return self.shrunk(store, parent, side);
        }
        // Two children: the successor takes the place. It has no left child.
        let next = Self::outermost(store, right, 0);
        let (next_parent, next_right) = (store.slot(next).parent, store.slot(next).child[1]);
        let (from, side) = if next_parent == at {
            (next, RIGHT)
        } else {
            store.slot_mut(next_parent).child[0] = next_right;
            if !next_right.is_none() {
                store.slot_mut(next_right).parent = next_parent;
            }
            store.slot_mut(next).child[1] = right;
            store.slot_mut(right).parent = next;
            (next_parent, LEFT)
        };
        let slot = store.slot_mut(next);
        (slot.child[0], slot.lean) = (left, lean);
        store.slot_mut(left).parent = next;
        self.replace_child(store, parent, at, next);
        self.shrunk(store, from, side);
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
        [0, 1].into_iter().map(|side| self.beside(store, at, side)).find(is_copy)
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

    /// Puts `new` where `old` was below `parent`; answers which side that is.
    fn replace_child<S: Store>(&mut self, store: &mut S, parent: SlotRef, old: SlotRef, new: SlotRef) -> i8 {
        if !new.is_none() {
            store.slot_mut(new).parent = parent;
        }
        if parent.is_none() {
            self.root = new;
            return LEFT;
        }
        let side = Self::side(store, parent, old);
        store.slot_mut(parent).child[at(side)] = new;
        side
    }

    /// On which side of `parent` its child `node` is.
    fn side<S: Store>(store: &S, parent: SlotRef, node: SlotRef) -> i8 {
        if store.slot(parent).child[1] == node { RIGHT } else { LEFT }
    }

    /// Restores balance from `node` upwards: its subtree on `side` is one higher than it was.
    fn grown<S: Store>(&mut self, store: &mut S, mut node: SlotRef, mut side: i8) {
        while !node.is_none() {
            let slot = store.slot_mut(node);
            slot.lean += side;
            if slot.lean & 1 == 0 {
                // Even, or two to one side: either way it will be as high as it was.
                if slot.lean != 0 {
                    self.rebalance(store, node);
                }
                break;
            }
            (node, side) = Self::above(store, node);
        }
    }

    /// The same where it is one lower; and restores the highest ends.
    fn shrunk<S: Store>(&mut self, store: &mut S, from: SlotRef, mut side: i8) {
        let mut node = from;
        while !node.is_none() {
            let slot = store.slot_mut(node);
            slot.lean -= side;
            if slot.lean & 1 == 0 && slot.lean != 0 {
                node = self.rebalance(store, node);
            }
            // What leans now is as high as it was.
            if store.slot(node).lean != 0 {
                break;
            }
            (node, side) = Self::above(store, node);
        }
        self.refresh_from(store, from);
    }

    /// Who is above `node`, and on which side of it that is.
    #[inline(always)]
    fn above<S: Store>(store: &S, node: SlotRef) -> (SlotRef, i8) {
        let up = store.slot(node).parent;
        (up, if up.is_none() { LEFT } else { Self::side(store, up, node) })
    }

    /// Where ranges nest: the highest ends from `at` upwards.
    fn refresh_from<S: Store>(&self, store: &mut S, mut at: SlotRef) {
        while self.nests && !at.is_none() {
            Self::refresh(store, at);
            at = store.slot(at).parent;
        }
    }

    /// Where ranges nest: the highest end of the subtree at `at`, from its children's.
    #[inline(never)]
    fn refresh<S: Store>(store: &mut S, at: SlotRef) {
        let [left, right] = store.slot(at).child;
        let end = store.slot(at).far().max(max_end(store, left)).max(max_end(store, right));
        store.slot_mut(at).max_end = end;
    }

    /// Lowers a node that leans by two; answers who takes its place.
    #[inline(never)]
    fn rebalance<S: Store>(&mut self, store: &mut S, node: SlotRef) -> SlotRef {
        let side = store.slot(node).lean / 2;
        let child = store.slot(node).child[at(side)];
        if store.slot(child).lean == -side {
            self.lift(store, child, -side);
        }
        self.lift(store, node, side)
    }

    /// Lifts the child on `side` over its parent `node`; answers it.
    fn lift<S: Store>(&mut self, store: &mut S, node: SlotRef, side: i8) -> SlotRef {
        let (parent, child) = (store.slot(node).parent, store.slot(node).child[at(side)]);
        let moved = store.slot(child).child[at(-side)];
        store.slot_mut(node).child[at(side)] = moved;
        store.slot_mut(child).child[at(-side)] = node;
        if !moved.is_none() {
            store.slot_mut(moved).parent = node;
        }
        self.replace_child(store, parent, node, child);
        // How the two lean follows from how they did: towards `side` is more.
        let (low, high) = (store.slot(node).lean * side, store.slot(child).lean * side);
        let low = low - 1 - high.max(0);
        store.slot_mut(child).lean = (high - 1 + low.min(0)) * side;
        let slot = store.slot_mut(node);
        (slot.parent, slot.lean) = (child, low * side);
        // The child is on the way up.
        Self::refresh(store, node);
        child
    }
}
