//! A relation: distinct tuples in the order in which they came, and indexes on the columns that rules bind.
//!
//! A tuple's number is its place, so "what was new in the last round" is a range of numbers. Tuples with an equal key
//! form a chain from the latest to the first: one word for each tuple and one entry for each key is all that an index
//! takes.

use super::hash;
use super::value::Value;
use alloc::boxed::Box;
use alloc::vec::Vec;
use hashbrown::HashTable;

/// The end of a chain.
pub(super) const END: u32 = u32::MAX;

/// A set of tuples.
#[derive(Clone, Debug)]
pub(super) struct Relation {
    columns: usize,
    values: Vec<Value>,
    len: u32,
    set: HashTable<u32>,
    indexes: Vec<Index>,
}

#[derive(Clone, Debug)]
struct Index {
    columns: Box<[u8]>,
    /// The latest tuple with each key.
    heads: HashTable<u32>,
    /// The one before it with the same key, for each tuple that is indexed.
    before: Vec<u32>,
}

fn hash_of(row: &[Value]) -> u64 {
    hash::words(row.iter().map(|value| value.bits()))
}

fn hash_at(row: &[Value], columns: &[u8]) -> u64 {
    hash::words(columns.iter().map(|&column| row[usize::from(column)].bits()))
}

impl Relation {
    /// An empty relation.
    pub fn new(columns: usize) -> Self {
        Self { columns, values: Vec::new(), len: 0, set: HashTable::new(), indexes: Vec::new() }
    }

    /// How many tuples there are.
    pub const fn len(&self) -> u32 {
        self.len
    }

    /// Tuple number `row`.
    pub fn row(&self, row: u32) -> &[Value] {
        row_of(&self.values, self.columns, row)
    }

    /// All tuples, in the order in which they came.
    pub fn rows(&self) -> impl Iterator<Item = &[Value]> {
        (0..self.len).map(|row| self.row(row))
    }

    /// Adds a tuple; answers whether it is new.
    pub fn insert(&mut self, tuple: &[Value]) -> bool {
        let Self { columns, values, set, .. } = self;
        let hash = hash_of(tuple);
        if set.find(hash, |&row| row_of(values, *columns, row) == tuple).is_some() {
            return false;
        }
        set.insert_unique(hash, self.len, |&row| hash_of(row_of(values, *columns, row)));
        values.extend_from_slice(tuple);
        self.len += 1;
        true
    }

    /// The number of this tuple, if there is such.
    pub fn number(&self, tuple: &[Value]) -> Option<u32> {
        self.set.find(hash_of(tuple), |&row| self.row(row) == tuple).copied()
    }

    /// The number of the index on these columns, which is made if there is none.
    pub fn index(&mut self, columns: &[u8]) -> usize {
        if let Some(found) = self.indexes.iter().position(|index| *index.columns == *columns) {
            return found;
        }
        let (columns, heads) = (columns.into(), HashTable::new());
        self.indexes.push(Index { columns, heads, before: Vec::new() });
        self.indexes.len() - 1
    }

    /// Brings all indexes up to date. Between two calls a chain holds what there was at the first.
    pub fn catch_up(&mut self) {
        let Self { columns, values, len, indexes, .. } = self;
        let row = |number: u32| row_of(values, *columns, number);
        for Index { columns, heads, before } in indexes {
            for number in before.len() as u32..*len {
                let this = row(number);
                let hash = hash_at(this, columns);
                let same = |&other: &u32| {
                    columns.iter().all(|&c| row(other)[usize::from(c)] == this[usize::from(c)])
                };
                if let Some(head) = heads.find_mut(hash, same) {
                    before.push(core::mem::replace(head, number));
                } else {
                    heads.insert_unique(hash, number, |&other| hash_at(row(other), columns));
                    before.push(END);
                }
            }
        }
    }

    /// The latest tuple whose values in the index's columns are `key`; [`END`] if there is none.
    pub fn latest(&self, index: usize, key: &[Value]) -> u32 {
        let Index { columns, heads, .. } = &self.indexes[index];
        let same = |&row: &u32| {
            let row = self.row(row);
            columns.iter().zip(key).all(|(&column, value)| row[usize::from(column)] == *value)
        };
        heads.find(hash_of(key), same).copied().unwrap_or(END)
    }

    /// The tuple before `row` with the same key.
    pub fn before(&self, index: usize, row: u32) -> u32 {
        self.indexes[index].before[row as usize]
    }

    /// Bytes of memory that it takes.
    pub fn bytes(&self) -> usize {
        let indexes = self.indexes.iter().map(|i| i.heads.allocation_size() + i.before.capacity() * 4);
        self.values.capacity() * 4 + self.set.allocation_size() + indexes.sum::<usize>()
    }
}

fn row_of(values: &[Value], columns: usize, row: u32) -> &[Value] {
    &values[row as usize * columns..][..columns]
}

#[cfg(test)]
mod tests {
    use super::super::value::{Datum, Values};
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn an_index_finds_what_a_search_finds(rows in prop::collection::vec([0..4i128, 0..4, 0..4], 0..60), cut in 0..60usize) {
            let mut values = Values::default();
            let mut relation = Relation::new(3);
            let index = relation.index(&[0, 2]);
            let mut kept: Vec<[Value; 3]> = Vec::new();
            for (n, row) in rows.iter().enumerate() {
                let row = row.map(|number| values.intern(Datum::Int(number)));
                prop_assert_eq!(relation.insert(&row), !kept.contains(&row));
                if !kept.contains(&row) {
                    kept.push(row);
                }
                if n == cut {
                    relation.catch_up();
                }
            }
            relation.catch_up();
            for a in 0..4 {
                for c in 0..4 {
                    let key = [a, c].map(|number| values.intern(Datum::Int(number)));
                    let mut found = Vec::new();
                    let mut row = relation.latest(index, &key);
                    while row != END {
                        found.insert(0, relation.row(row).to_vec());
                        row = relation.before(index, row);
                    }
                    let want: Vec<_> = kept.iter().filter(|r| [r[0], r[2]] == key).map(|r| r.to_vec()).collect();
                    prop_assert_eq!(found, want);
                }
            }
        }
    }

    #[test]
    fn a_relation_without_columns_holds_at_most_one_tuple() {
        let mut relation = Relation::new(0);
        assert_eq!(relation.number(&[]), None);
        assert!(relation.insert(&[]) && !relation.insert(&[]));
        assert_eq!(relation.number(&[]), Some(0));
        assert_eq!(relation.rows().count(), 1);
    }
}
