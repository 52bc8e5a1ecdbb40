//! A fact with its origin, and its 64 bytes (rule `wire-is-neutral`).

use crate::Fact;
use core::fmt;
use skerry_hal::{Epoch, IslandId};
use zerocopy::little_endian::{U16, U32};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// Bytes of a record that hold the fact's fields.
pub const PAYLOAD: usize = 48;
/// Version of the record's layout.
pub const VERSION: u8 = 1;

/// How a fact was learnt.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[repr(u8)]
pub enum Source {
    /// The firmware or the device said so.
    Discovered = 1,
    /// It was measured.
    Measured = 2,
    /// Somebody said so: a board, a fleet file.
    Asserted = 3,
}

impl Source {
    /// What rules call it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Discovered => "discovered",
            Self::Measured => "measured",
            Self::Asserted => "asserted",
        }
    }
}

/// Who learnt a fact, when and how.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Origin {
    /// The island that it is about and that learnt it.
    pub island: IslandId,
    /// That island's epoch.
    pub epoch: Epoch,
    /// How.
    pub source: Source,
}

/// A fact with its origin.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Record {
    /// The fact.
    pub fact: Fact,
    /// Its origin.
    pub origin: Origin,
}

/// A [`Record`], as it crosses channels and lies in frames. Any 64 bytes are one; [`WireRecord::decode`] says whether
/// it means something.
#[derive(Clone, Copy, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct WireRecord {
    kind: U16,
    version: u8,
    source: u8,
    island: U16,
    reserved: U16,
    epoch: U32,
    reserved2: U32,
    payload: [u8; PAYLOAD],
}

const _: () = assert!(size_of::<WireRecord>() == 64 && align_of::<WireRecord>() == 1);

/// A record that means nothing: which kind of fact, and which field is at fault.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct WireError {
    /// The kind of fact; `record` if the fault lies in what all kinds share.
    pub kind: &'static str,
    /// The field.
    pub field: &'static str,
}

impl fmt::Display for WireError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "fact record: {}.{} has no valid value", self.kind, self.field)
    }
}

impl core::error::Error for WireError {}

impl WireRecord {
    /// The record of a fact.
    pub fn encode(record: &Record) -> Self {
        let mut payload = [0; PAYLOAD];
        record.fact.put(&mut Writer(&mut payload));
        Self {
            kind: record.fact.number().into(),
            version: VERSION,
            source: record.origin.source as u8,
            island: record.origin.island.0.into(),
            reserved: 0.into(),
            epoch: record.origin.epoch.0.into(),
            reserved2: 0.into(),
            payload,
        }
    }

    /// The fact in this record, every field checked. Accepts only what [`encode`](Self::encode) writes, so that the
    /// way there and back changes no bit.
    pub fn decode(&self) -> Result<Record, WireError> {
        let fail = |field| Err(WireError { kind: "record", field });
        if self.version != VERSION {
            return fail("version");
        }
        if self.reserved.get() != 0 || self.reserved2.get() != 0 {
            return fail("reserved");
        }
        let source = match self.source {
            1 => Source::Discovered,
            2 => Source::Measured,
            3 => Source::Asserted,
            _ => return fail("source"),
        };
        let mut rest = Reader(&self.payload);
        let fact = Fact::get(self.kind.get(), &mut rest)?;
        if rest.0.iter().any(|&b| b != 0) {
            return Err(WireError { kind: fact.kind(), field: "padding" });
        }
        let origin = Origin { island: IslandId(self.island.get()), epoch: Epoch(self.epoch.get()), source };
        Ok(Record { fact, origin })
    }
}

/// Where a field is written. The table of facts asserts that all of a kind's fields fit.
pub struct Writer<'a>(&'a mut [u8]);

impl Writer<'_> {
    /// Writes `bytes`, as far as there is room.
    pub fn bytes(&mut self, bytes: &[u8]) {
        let room = core::mem::take(&mut self.0);
        let (now, later) = room.split_at_mut(bytes.len().min(room.len()));
        now.copy_from_slice(&bytes[..now.len()]);
        self.0 = later;
    }
}

/// Where a field is read from.
pub struct Reader<'a>(&'a [u8]);

impl Reader<'_> {
    /// The next `N` bytes.
    pub fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (now, later) = self.0.split_first_chunk()?;
        self.0 = later;
        Some(*now)
    }
}
