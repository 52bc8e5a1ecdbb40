//! Memory that is filled when a thread touches it first: the ranges of [`vspace::demand`](crate::vspace::demand) behind the
//! domain's faults.
//!
//! The page comes out of the domain's RAM, or from the memory server when that is used up. It is made by the pager
//! ([`fault`](super::fault)), which needs the domain for that: whoever has that ([`domain`]) must not be the first to touch
//! such a page, nor must anybody with upcalls off. Either is the end of the program, with a line that says so.
//!
//! In a domain over several cores it is common memory ([`Lazy`]), which whoever touches it first gets on all of them.

use super::common::Lazy;
use super::fault::{self, Fault};
use super::mutex::Mutex;
use super::span;
use super::stack::{domain, has_domain};
use crate::vspace::VmError;
use crate::vspace::demand::{Demand, DemandError};
use alloc::vec::Vec;
use core::fmt;
use skerry_abi::PAGE_SIZE;
use skerry_hal::MapFlags;

static RANGES: Mutex<Vec<Range>> = Mutex::new(Vec::new());

/// A range.
enum Range {
    /// Of the domain's RAM.
    Own(Demand),
    /// Of the memory that several cores have.
    Common(Lazy),
}

impl Range {
    fn bounds(&self) -> (u64, u64) {
        match self {
            Self::Own(range) => (range.addr(), range.addr() + range.len()),
            Self::Common(range) => range.bounds(),
        }
    }
}

/// Why a thread that touched a page, or one beside it, cannot go on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Why {
    /// It ran over an end.
    Guard,
    /// It has the domain.
    HasDomain,
    /// The page was not made.
    Page(DemandError),
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Guard => f.write_str("next to memory on demand, past its end"),
            Self::HasDomain => f.write_str("memory on demand, touched by who holds what it is made of"),
            Self::Page(error) => error.fmt(f),
        }
    }
}

/// Reserves `len` bytes, with a guard page before and behind, of which `step` (a power of two, 4 KiB to 2 MiB) are made of
/// zeros whenever a thread touches some that are not there; their first address.
///
/// # Errors
/// [`VmError`]; [`VmError::Refused`] without a thread that could make them.
pub fn reserve(len: u64, step: u64, flags: MapFlags) -> Result<u64, VmError> {
    fault::start_pager().map_err(|error| VmError::Refused("starting the pager", error.into()))?;
    let range = if span::count() > 1 {
        Range::Common(Lazy::new(len, step, flags)?)
    } else {
        Range::Own(Demand::new(&mut domain().space, len, step, flags)?)
    };
    let (addr, _) = range.bounds();
    RANGES.lock().push(range);
    Ok(addr)
}

/// Gives back what [`reserve`] answered with `addr`, and all that was made there.
///
/// # Errors
/// [`VmError::NotReserved`]; what the CPU driver answers.
pub fn release(addr: u64) -> Result<(), VmError> {
    let range = {
        let mut ranges = RANGES.lock();
        let at =
            ranges.iter().position(|range| range.bounds().0 == addr).ok_or(VmError::NotReserved(addr))?;
        ranges.swap_remove(at)
    };
    match range {
        Range::Common(range) => range.release(),
        Range::Own(demand) => {
            let mut domain = domain();
            let domain = &mut *domain;
            demand.release(&mut domain.space, &mut domain.mem)
        }
    }
}

/// Makes what a thread lacked; `None` if it is no matter of these ranges.
pub(super) fn serve(fault: &Fault) -> Option<Result<(), Why>> {
    let mut ranges = RANGES.lock();
    let guards = |range: &&mut Range| {
        let (start, end) = range.bounds();
        (start - PAGE_SIZE..end + PAGE_SIZE).contains(&fault.addr)
    };
    let range = ranges.iter_mut().find(guards)?;
    if has_domain(fault.thread) {
        return Some(Err(Why::HasDomain));
    }
    let range = match range {
        Range::Common(range) => return Some(range.serve(fault.addr).map_err(Why::Page)),
        Range::Own(range) => range,
    };
    let mut domain = domain();
    let domain = &mut *domain;
    Some(match range.serve(&mut domain.space, &mut domain.mem, fault.kind, fault.addr) {
        Ok(_) => Ok(()),
        Err(DemandError::Outside) => Err(Why::Guard),
        Err(error) => Err(Why::Page(error)),
    })
}
