//! Values, kept in 32 bits each: a small number itself, or the place of anything else in a table ([`Values`]). Equal
//! values have equal bits, so that joins compare words and a tuple of eight columns takes 32 bytes.

use super::hash;
use crate::CoreId;
use alloc::boxed::Box;
use alloc::vec::Vec;
use core::fmt;
use hashbrown::HashTable;

/// A value, to look at. Their order, in which answers come and ties are broken: numbers, cores, texts.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Datum<'a> {
    /// A number.
    Int(i128),
    /// A core, spelt `0.3`.
    Core(CoreId),
    /// A symbol or a string: `discovered` is the same value as `"discovered"`.
    Text(&'a str),
}

/// A value, to keep.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Const {
    /// A number.
    Int(i128),
    /// A core.
    Core(CoreId),
    /// A symbol or a string.
    Text(Box<str>),
}

impl Const {
    /// The value, to look at.
    pub fn datum(&self) -> Datum<'_> {
        match self {
            Self::Int(number) => Datum::Int(*number),
            Self::Core(core) => Datum::Core(*core),
            Self::Text(text) => Datum::Text(text),
        }
    }
}

impl fmt::Display for Const {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.datum().fmt(f)
    }
}

impl Datum<'_> {
    /// The value, to keep.
    pub fn keep(self) -> Const {
        match self {
            Self::Int(number) => Const::Int(number),
            Self::Core(core) => Const::Core(core),
            Self::Text(text) => Const::Text(text.into()),
        }
    }
}

impl fmt::Display for Datum<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Int(number) => number.fmt(f),
            Self::Core(core) => core.fmt(f),
            Self::Text(text) => f.write_str(text),
        }
    }
}

/// A value in 32 bits, which mean something to the [`Values`] they are from.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(super) struct Value(u32);

/// Set where the rest is a place in the table, clear where it is a number.
const TABLED: u32 = 1 << 31;
/// What is added to a small number, so that none is negative.
const BIAS: i128 = 1 << 30;

impl Value {
    /// What stands in a register before anything is bound to it.
    pub const NONE: Self = Self(0);

    /// The bits, to hash.
    pub const fn bits(self) -> u32 {
        self.0
    }
}

/// All values that are no small numbers.
#[derive(Clone, Debug, Default)]
pub(super) struct Values {
    table: Vec<Const>,
    places: HashTable<u32>,
    text_bytes: usize,
}

impl Values {
    /// The value's 32 bits. The table holds fewer than 2³¹: what it may hold is bounded long before that.
    pub fn intern(&mut self, datum: Datum<'_>) -> Value {
        if let Some(small) = small(datum) {
            return small;
        }
        let Self { table, places, text_bytes } = self;
        let hash = hash::of(&datum);
        let found = places.find(hash, |&place| table[place as usize].datum() == datum);
        if let Some(&place) = found {
            return Value(TABLED | place);
        }
        let place = table.len() as u32;
        places.insert_unique(hash, place, |&place| hash::of(&table[place as usize].datum()));
        if let Datum::Text(text) = datum {
            *text_bytes += text.len();
        }
        table.push(datum.keep());
        Value(TABLED | place)
    }

    /// The value, to look at.
    pub fn get(&self, value: Value) -> Datum<'_> {
        if value.0 & TABLED == 0 {
            return Datum::Int(i128::from(value.0) - BIAS);
        }
        self.table[(value.0 & !TABLED) as usize].datum()
    }

    /// How many values there are in the table.
    pub fn len(&self) -> usize {
        self.table.len()
    }

    /// Bytes of memory that the table takes.
    pub fn bytes(&self) -> usize {
        self.table.capacity() * size_of::<Const>() + self.places.allocation_size() + self.text_bytes
    }
}

fn small(datum: Datum<'_>) -> Option<Value> {
    let Datum::Int(number) = datum else { return None };
    u32::try_from(number.checked_add(BIAS)?).ok().filter(|bits| bits & TABLED == 0).map(Value)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn numbers_about_the_bounds_of_the_small_come_back() {
        let mut values = Values::default();
        for edge in [0, -BIAS, BIAS, i128::from(u64::MAX), i128::MAX, i128::MIN + 1] {
            for number in [edge - 1, edge, edge.saturating_add(1)] {
                let value = values.intern(Datum::Int(number));
                assert_eq!(values.get(value), Datum::Int(number));
                assert_eq!(values.intern(Datum::Int(number)), value, "equal values have equal bits");
            }
        }
        assert_eq!(values.len(), 11, "small numbers take no place");
    }

    proptest! {
        #[test]
        fn texts_and_cores_come_back_and_have_one_place(texts in prop::collection::vec("[a-c]{0,3}", 0..80)) {
            let mut values = Values::default();
            let places: Vec<Value> = texts.iter().map(|text| values.intern(Datum::Text(text))).collect();
            for (a, &at) in texts.iter().zip(&places) {
                prop_assert_eq!(values.get(at), Datum::Text(a));
                for (b, &other) in texts.iter().zip(&places) {
                    prop_assert_eq!(a == b, at == other);
                }
            }
        }
    }
}
