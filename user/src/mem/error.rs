//! Why there is no memory.

use crate::ram::GiveError;
use core::fmt;
use skerry_abi::Error;

/// Why an object could not be made, or not be taken back.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum MemError {
    /// The domain has not so many bytes of RAM in one piece, and nobody to ask for more.
    Ram(u64),
    /// So many bytes of RAM were asked for; the memory server refused.
    Server(u64, Error),
    /// The capability space is full.
    Slots,
    /// The store is being used: a bug of this library, or of a [`MoreRam`](super::MoreRam).
    Busy,
    /// RAM does not come back here.
    Back(GiveError),
    /// The CPU driver refused.
    Refused(Error),
}

impl MemError {
    /// Whether less might have been had.
    pub const fn is_lack(&self) -> bool {
        matches!(self, Self::Ram(_) | Self::Server(..))
    }
}

impl fmt::Display for MemError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ram(len) => write!(f, "out of memory: no {len} bytes of RAM in one piece"),
            Self::Server(len, error) => write!(f, "out of memory: asked for {len} bytes of RAM: {error}"),
            Self::Slots => f.write_str("the capability space is full"),
            Self::Busy => f.write_str("the domain's memory is in use"),
            Self::Back(error) => error.fmt(f),
            Self::Refused(error) => error.fmt(f),
        }
    }
}

impl core::error::Error for MemError {}

impl From<Error> for MemError {
    fn from(error: Error) -> Self {
        Self::Refused(error)
    }
}

/// For whoever has one kind of error for all: a lack is [`Error::Full`].
impl From<MemError> for Error {
    fn from(error: MemError) -> Self {
        match error {
            MemError::Ram(_) | MemError::Slots => Self::Full,
            MemError::Busy => Self::Busy,
            MemError::Back(_) => Self::BadArgument,
            MemError::Server(_, error) | MemError::Refused(error) => error,
        }
    }
}
