//! Why an address space was not changed.

use crate::mem::MemError;
use core::fmt;
use skerry_abi::Error;

/// Why an address space was not changed. Addresses name the first page that is to blame.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum VmError {
    /// Address, offset or length is no multiple of a page.
    Unaligned(u64),
    /// No bytes at all.
    Empty,
    /// The range wraps, or leaves what user code may map.
    NotUser(u64),
    /// Pages may not be writable and executable.
    WriteExecute,
    /// Something is mapped there.
    Occupied(u64),
    /// Nothing is mapped there.
    NotMapped(u64),
    /// In the part of the address space that is handed out by reservation, and not reserved.
    NotReserved(u64),
    /// Part of a large page, which changes as a whole.
    InLargePage(u64),
    /// No range of so many bytes is left.
    Addresses(u64),
    /// No memory for frames, tables or slots.
    Memory(MemError),
    /// The CPU driver refused while doing this.
    Refused(&'static str, Error),
}

impl fmt::Display for VmError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unaligned(at) => write!(f, "{at:#x} is no multiple of a page"),
            Self::Empty => f.write_str("a range of no bytes"),
            Self::NotUser(at) => write!(f, "the range at {at:#x} leaves user space"),
            Self::WriteExecute => Error::WriteExecute.fmt(f),
            Self::Occupied(at) => write!(f, "something is mapped at {at:#x}"),
            Self::NotMapped(at) => write!(f, "nothing is mapped at {at:#x}"),
            Self::NotReserved(at) => write!(f, "{at:#x} is not reserved"),
            Self::InLargePage(at) => write!(f, "{at:#x} lies inside a large page"),
            Self::Addresses(len) => write!(f, "no {len} bytes of addresses are left"),
            Self::Memory(error) => error.fmt(f),
            Self::Refused(doing, error) => write!(f, "{doing}: {error}"),
        }
    }
}

impl core::error::Error for VmError {}

impl From<MemError> for VmError {
    fn from(error: MemError) -> Self {
        Self::Memory(error)
    }
}

/// For whoever has one kind of error for all.
impl From<VmError> for Error {
    fn from(error: VmError) -> Self {
        match error {
            VmError::Unaligned(_) | VmError::Empty | VmError::NotUser(_) | VmError::NotReserved(_) => {
                Self::BadArgument
            }
            VmError::InLargePage(_) => Self::BadArgument,
            VmError::WriteExecute => Self::WriteExecute,
            VmError::Occupied(_) => Self::Mapped,
            VmError::NotMapped(_) => Self::NotMapped,
            VmError::Addresses(_) => Self::Full,
            VmError::Memory(error) => error.into(),
            VmError::Refused(_, error) => error,
        }
    }
}
