//! What tests ask of an index: whether every invariant holds. The CPU driver is built without it.

use crate::db::Db;
use crate::index::{Index, Key, key};
use crate::slot::{SlotRef, Store};

impl Db {
    /// Checks every invariant of both indices, and panics if one does not hold; the number of capabilities.
    pub fn check<S: Store>(&self, store: &S) -> usize {
        self.ram.check(store) + self.rest.check(store)
    }
}

impl Index {
    /// Checks every invariant, and panics if one does not hold; the number of slots in the index.
    fn check<S: Store>(&self, store: &S) -> usize {
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
            assert_eq!(slot.lean, hr as i8 - hl as i8, "lean");
            let end = slot.far().max(el).max(er);
            assert!(!index.nests || slot.max_end == end, "max_end");
            (hl.max(hr) + 1, end, nl + nr + 1)
        }
        walk(self, store, self.root, SlotRef::NONE, &mut None).2
    }
}
