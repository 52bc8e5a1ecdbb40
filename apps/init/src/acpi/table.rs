//! One table: copied, its length and checksum verified.

use crate::phys::copy;
use crate::{PhysMem, Problem, TableError, limit};
use alloc::vec::Vec;
use skerry_hal::PhysAddr;
use zerocopy::little_endian::{U32, U64};
use zerocopy::{FromBytes, Immutable, KnownLayout, Unaligned};

/// What every table begins with (§5.2.6).
#[derive(FromBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct Header {
    signature: [u8; 4],
    length: U32,
    revision: u8,
    checksum: u8,
    oem: [u8; 14],
    oem_revision: U32,
    creator: [u8; 8],
}

/// Bytes of a [`Header`].
pub const HEADER: usize = size_of::<Header>();
const _: () = assert!(HEADER == 36);

/// An address in some address space (§5.2.3.2).
#[derive(FromBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct GenericAddress {
    /// 0: memory, 1: I/O ports.
    pub space: u8,
    bit_width: u8,
    bit_offset: u8,
    access_size: u8,
    /// The address.
    pub address: U64,
}

/// A table.
pub struct Table {
    /// Its signature.
    pub name: &'static str,
    /// Its revision.
    pub revision: u8,
    bytes: Vec<u8>,
}

impl Table {
    /// Copies and verifies the table at `at`, which the root table lists as `name`.
    pub fn read(memory: &mut dyn PhysMem, at: PhysAddr, name: &'static str) -> Result<Self, TableError> {
        let error = |field, problem| TableError::new(name, field, problem);
        let unreadable = || error("header", Problem::Unreadable(at));
        let head = copy(memory, at, HEADER).ok_or_else(unreadable)?;
        let head = Header::ref_from_bytes(&head).map_err(|_| unreadable())?;
        if head.signature != name.as_bytes() {
            return Err(error("signature", Problem::Signature));
        }
        let len = head.length.get() as usize;
        if len < HEADER {
            return Err(error("length", Problem::Value(len as u64)));
        }
        if len > limit::TABLE_BYTES {
            return Err(error("length", Problem::TooLong(limit::TABLE_BYTES)));
        }
        let bytes = copy(memory, at, len).ok_or_else(|| error("length", Problem::Unreadable(at)))?;
        if sum(&bytes) != 0 {
            return Err(error("checksum", Problem::Checksum));
        }
        Ok(Self { name, revision: head.revision, bytes })
    }

    /// `field` of this table has `problem`.
    pub fn error(&self, field: &'static str, problem: Problem) -> TableError {
        TableError::new(self.name, field, problem)
    }

    /// What lies at byte `at`, counted from the table's first.
    pub fn at<T>(&self, at: usize, field: &'static str) -> Result<&T, TableError>
    where
        T: FromBytes + Immutable + KnownLayout + Unaligned,
    {
        let found = self.bytes.get(at..).and_then(|rest| T::ref_from_prefix(rest).ok());
        found.map(|(it, _)| it).ok_or_else(|| self.error(field, Problem::Short))
    }

    /// All bytes from `at`.
    pub fn rest(&self, at: usize, field: &'static str) -> Result<&[u8], TableError> {
        self.bytes.get(at..).ok_or_else(|| self.error(field, Problem::Short))
    }

    /// The entries from `at` on, which each begin with a type and their own length.
    pub fn entries(&self, at: usize) -> Result<Entries<'_>, TableError> {
        Ok(Entries { table: self, rest: self.rest(at, "entries")? })
    }
}

/// Entries of a table that have a type and a length in their first two bytes.
pub struct Entries<'a> {
    table: &'a Table,
    rest: &'a [u8],
}

impl<'a> Iterator for Entries<'a> {
    type Item = Result<(u8, Entry<'a>), TableError>;

    /// Advances by at least two bytes or ends, so that an entry of length 0 does not stand for ever.
    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let rest = core::mem::take(&mut self.rest);
        let [kind, len, ..] = *rest else {
            return Some(Err(self.table.error("entry", Problem::Short)));
        };
        if len < 2 {
            return Some(Err(self.table.error("entry length", Problem::Value(len.into()))));
        }
        let Some((bytes, rest)) = rest.split_at_checked(len.into()) else {
            return Some(Err(self.table.error("entry length", Problem::Short)));
        };
        self.rest = rest;
        Some(Ok((kind, Entry { table: self.table, bytes })))
    }
}

/// One entry of a table.
pub struct Entry<'a> {
    table: &'a Table,
    bytes: &'a [u8],
}

impl<'a> Entry<'a> {
    /// The entry as a `T`, which may be shorter than the entry but not longer.
    pub fn view<T>(&self, field: &'static str) -> Result<&'a T, TableError>
    where
        T: FromBytes + Immutable + KnownLayout + Unaligned,
    {
        T::ref_from_prefix(self.bytes).map(|(it, _)| it).map_err(|_| self.table.error(field, Problem::Short))
    }
}

/// The sum of all bytes, modulo 256: 0 for a table that is whole.
pub fn sum(bytes: &[u8]) -> u8 {
    bytes.iter().fold(0, |sum, byte| sum.wrapping_add(*byte))
}
