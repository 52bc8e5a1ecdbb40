//! What can be wrong with a firmware's description.

use alloc::string::String;
use core::fmt;
use skerry_hal::{HwId, PhysAddr};
use skerry_skb::StoreError;

/// What is wrong with a field.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Problem {
    /// The memory it should lie in cannot be read.
    Unreadable(PhysAddr),
    /// The table ends before it, or in it.
    Short,
    /// It claims more bytes than are believed.
    TooLong(usize),
    /// There are more of it than are believed.
    TooMany(usize),
    /// It is nested deeper than is believed.
    TooDeep(usize),
    /// The table's bytes do not add up to zero.
    Checksum,
    /// It does not begin as it must.
    Signature,
    /// It is not there.
    Missing,
    /// It is no text.
    NotText,
    /// It stands where it must not.
    Misplaced,
    /// It has this value, which makes no sense.
    Value(u64),
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreadable(at) => write!(f, "memory at {at} cannot be read"),
            Self::Short => f.write_str("cut short"),
            Self::TooLong(limit) => write!(f, "longer than {limit} bytes"),
            Self::TooMany(limit) => write!(f, "more than {limit}"),
            Self::TooDeep(limit) => write!(f, "nested deeper than {limit}"),
            Self::Checksum => f.write_str("wrong checksum"),
            Self::Signature => f.write_str("wrong signature"),
            Self::Missing => f.write_str("missing"),
            Self::NotText => f.write_str("not text"),
            Self::Misplaced => f.write_str("in the wrong place"),
            Self::Value(value) => write!(f, "makes no sense with value {value:#x}"),
        }
    }
}

/// A table that is wrong: which, where and how.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TableError {
    /// An ACPI signature, or `FDT` and the path of a node.
    pub table: String,
    /// The field or property.
    pub field: &'static str,
    /// What is wrong with it.
    pub problem: Problem,
}

impl TableError {
    /// `field` of `table` has `problem`.
    pub fn new(table: &str, field: &'static str, problem: Problem) -> Self {
        Self { table: table.into(), field, problem }
    }
}

impl fmt::Display for TableError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}: {}", self.table, self.field, self.problem)
    }
}

impl core::error::Error for TableError {}

/// Why the machine could not be discovered.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum DiscoverError {
    /// A kind of firmware nobody knows.
    UnknownFirmware(u32),
    /// A table is wrong.
    Table(TableError),
    /// The firmware does not list the core that this code runs on.
    NoBootCore(HwId),
    /// There are more facts than a store takes.
    Store(StoreError),
}

impl fmt::Display for DiscoverError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnknownFirmware(kind) => write!(f, "firmware of unknown kind {kind}"),
            Self::Table(error) => write!(f, "firmware table {error}"),
            Self::NoBootCore(hw) => {
                write!(f, "the firmware does not list the core this runs on, {:#x}", hw.0)
            }
            Self::Store(error) => error.fmt(f),
        }
    }
}

impl core::error::Error for DiscoverError {}

impl From<TableError> for DiscoverError {
    fn from(error: TableError) -> Self {
        Self::Table(error)
    }
}

impl From<StoreError> for DiscoverError {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}
