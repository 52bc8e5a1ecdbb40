//! A bounded set of records.

use crate::rules::hash;
use crate::{Epoch, Fact, IslandId, Origin, Record, View, WireError, WireRecord};
use alloc::vec::Vec;
use core::fmt;
use hashbrown::HashTable;
use zerocopy::{FromBytes, IntoBytes};

/// Records a store holds unless told otherwise: enough for 256 cores in 32 nodes with all their distances.
pub const DEFAULT_LIMIT: usize = 4096;

/// Why a store did not take a record.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum StoreError {
    /// The limit is reached.
    Full {
        /// The limit.
        limit: usize,
    },
    /// The record means nothing.
    Wire(WireError),
    /// The bytes are no whole number of records.
    Length(usize),
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Full { limit } => write!(f, "the fact store is full ({limit} facts)"),
            Self::Wire(error) => error.fmt(f),
            Self::Length(bytes) => write!(f, "{bytes} bytes are no whole number of fact records"),
        }
    }
}

impl core::error::Error for StoreError {}

/// A bounded set of records, in the order in which they came.
#[derive(Clone, Debug)]
pub struct Store {
    records: Vec<Record>,
    /// Where each record is, so that none is there twice.
    places: HashTable<u32>,
    limit: usize,
}

impl PartialEq for Store {
    fn eq(&self, other: &Self) -> bool {
        self.limit == other.limit && self.records == other.records
    }
}

impl Default for Store {
    fn default() -> Self {
        Self::new(DEFAULT_LIMIT)
    }
}

impl Store {
    /// An empty store for at most `limit` records.
    pub const fn new(limit: usize) -> Self {
        Self { records: Vec::new(), places: HashTable::new(), limit }
    }

    /// Adds a record; answers whether it is new. At the limit a new record is refused and nothing changes.
    pub fn insert(&mut self, record: Record) -> Result<bool, StoreError> {
        let Self { records, places, limit } = self;
        let hash = hash::of(&record);
        if places.find(hash, |&place| records[place as usize] == record).is_some() {
            return Ok(false);
        }
        if records.len() >= *limit {
            return Err(StoreError::Full { limit: *limit });
        }
        places.insert_unique(hash, records.len() as u32, |&place| hash::of(&records[place as usize]));
        records.push(record);
        Ok(true)
    }

    /// Removes what does not fit; answers how many records went.
    fn retain(&mut self, fits: impl Fn(&Record) -> bool) -> usize {
        let before = self.records.len();
        self.records.retain(fits);
        let Self { records, places, .. } = self;
        if records.len() != before {
            places.clear();
            for (place, record) in (0..).zip(&*records) {
                places.insert_unique(hash::of(record), place, |&place: &u32| {
                    hash::of(&records[place as usize])
                });
            }
        }
        before - records.len()
    }

    /// Adds a fact of this origin; answers whether it is new.
    pub fn add(&mut self, origin: Origin, fact: impl Into<Fact>) -> Result<bool, StoreError> {
        self.insert(Record { fact: fact.into(), origin })
    }

    /// Removes a record; answers whether it was there.
    pub fn remove(&mut self, record: &Record) -> bool {
        self.retain(|r| r != record) > 0
    }

    /// Removes all that an island learnt: it was given up. Answers how many records went.
    pub fn forget(&mut self, island: IslandId) -> usize {
        self.retain(|r| r.origin.island != island)
    }

    /// What an island learnt counts in another epoch from now on: it was given up, and is back with all that it knows.
    pub fn carry_over(&mut self, island: IslandId, epoch: Epoch) {
        let records = core::mem::take(&mut self.records);
        self.places.clear();
        for mut record in records {
            if record.origin.island == island {
                record.origin.epoch = epoch;
            }
            // There is room: there were at least as many.
            let _new = self.insert(record);
        }
    }

    /// All records.
    pub fn iter(&self) -> impl Iterator<Item = &Record> {
        self.records.iter()
    }

    /// How many records there are.
    pub const fn len(&self) -> usize {
        self.records.len()
    }

    /// Whether there is none.
    pub const fn is_empty(&self) -> bool {
        self.records.is_empty()
    }

    /// Questions about one island.
    pub fn island(&self, island: IslandId) -> View<'_> {
        View::new(&self.records, island)
    }

    /// All records, spelt one after another into `out`. Answers the bytes written; `None`, with `out` in disarray, if
    /// they do not fit.
    pub fn write_to(&self, out: &mut [u8]) -> Option<usize> {
        const RECORD: usize = size_of::<WireRecord>();
        for (n, record) in self.records.iter().enumerate() {
            let room = out.get_mut(n * RECORD..(n + 1) * RECORD)?;
            room.copy_from_slice(WireRecord::encode(record).as_bytes());
        }
        Some(self.records.len() * RECORD)
    }

    /// Adds all records in `bytes`, which somebody else wrote. Stops at the first that is refused.
    pub fn read_from(&mut self, bytes: &[u8]) -> Result<(), StoreError> {
        let wire = <[WireRecord]>::ref_from_bytes(bytes).map_err(|_| StoreError::Length(bytes.len()))?;
        for record in wire {
            self.insert(record.decode().map_err(StoreError::Wire)?)?;
        }
        Ok(())
    }
}
