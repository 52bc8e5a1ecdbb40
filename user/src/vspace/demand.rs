//! Memory that is made when it is touched: a reserved range that a fault handler fills, a step at a time, with frames of
//! zeros.
//!
//! The CPU driver turns the fault of a thread into an upcall; the domain's pager ([`thread::demand`](crate::thread::demand))
//! asks [`Demand::serve`], and lets the thread try again if that is `Ok`. Whatever is not served is an error of the program:
//! it names why.

use super::{Space, VmError, sound};
use crate::mem::Memory;
use core::fmt;
use skerry_abi::PAGE_SIZE;
use skerry_hal::addr::LARGE_PAGE;
use skerry_hal::{FaultKind, MapFlags};

/// A range that is filled on demand.
#[derive(Debug)]
pub struct Demand {
    addr: u64,
    len: u64,
    flags: MapFlags,
    step: u64,
}

/// What a fault led to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Served {
    /// So many bytes are there now.
    Made(u64),
    /// The page is there, and allows it: somebody else's fault was served first.
    There,
}

/// Why a fault was not served.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum DemandError {
    /// It was somewhere else: ask the next range.
    Outside,
    /// The range does not allow what the thread did, or it did not touch memory.
    Forbidden(FaultKind),
    /// The page could not be made.
    Vm(VmError),
}

impl fmt::Display for DemandError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Outside => f.write_str("not an address of this range"),
            Self::Forbidden(kind) => write!(f, "the range does not allow it: {}", kind.name()),
            Self::Vm(error) => error.fmt(f),
        }
    }
}

impl Demand {
    /// Reserves `len` bytes of which `step` (a power of two, 4 KiB to 2 MiB) are made at a time.
    ///
    /// # Errors
    /// [`VmError`].
    pub fn new(space: &mut Space, len: u64, step: u64, flags: MapFlags) -> Result<Self, VmError> {
        sound(flags)?;
        if !step.is_power_of_two() || !(PAGE_SIZE..=LARGE_PAGE).contains(&step) {
            return Err(VmError::Unaligned(step));
        }
        let len = len.checked_next_multiple_of(PAGE_SIZE).ok_or(VmError::Addresses(len))?;
        Ok(Self { addr: space.reserve(len, step)?, len, flags, step })
    }

    /// First address.
    pub const fn addr(&self) -> u64 {
        self.addr
    }

    /// Bytes.
    pub const fn len(&self) -> u64 {
        self.len
    }

    /// Never: a reservation has a page at least.
    pub const fn is_empty(&self) -> bool {
        false
    }

    /// A thread did `kind` at `at` and faulted: makes what it lacked.
    ///
    /// # Errors
    /// [`DemandError`]; then nothing has changed.
    pub fn serve(
        &self,
        space: &mut Space,
        mem: &mut Memory,
        kind: FaultKind,
        at: u64,
    ) -> Result<Served, DemandError> {
        let end = self.addr + self.len;
        if !(self.addr..end).contains(&at) {
            return Err(DemandError::Outside);
        }
        let needs = match kind {
            FaultKind::Read => MapFlags::READ,
            FaultKind::Write => MapFlags::WRITE,
            FaultKind::Execute => MapFlags::EXECUTE,
            _ => return Err(DemandError::Forbidden(kind)),
        };
        if !self.flags.contains(needs) {
            return Err(DemandError::Forbidden(kind));
        }
        let page = at & !(PAGE_SIZE - 1);
        if space.first_mapped(page, page + PAGE_SIZE).is_some() {
            return Ok(Served::There);
        }
        // Around it, as far as nothing is there yet.
        let mut first = at & !(self.step - 1);
        while let Some(mapped) = space.first_mapped(first, page) {
            first = mapped + PAGE_SIZE;
        }
        let last = end.min((at & !(self.step - 1)) + self.step);
        let last = space.first_mapped(page, last).unwrap_or(last);
        let made = match space.zeroed_at(mem, first, last - first, self.flags) {
            // What is there may do for the page itself.
            Err(VmError::Memory(error)) if error.is_lack() && last - first > PAGE_SIZE => {
                space.zeroed_at(mem, page, PAGE_SIZE, self.flags)
            }
            made => made,
        };
        made.map(|made| Served::Made(made.len)).map_err(DemandError::Vm)
    }

    /// Gives everything back, the addresses too.
    ///
    /// # Errors
    /// What the CPU driver answers.
    pub fn release(self, space: &mut Space, mem: &mut Memory) -> Result<(), VmError> {
        space.release(mem, self.addr)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{boot, read, walk, write};
    use crate::vspace::{R, RW};
    use crate::{Domain, mem::MemError};
    use skerry_hal::Pte;

    const P: u64 = PAGE_SIZE;

    #[test]
    fn what_is_touched_is_made_once_and_zero_and_comes_back() {
        let Domain { mut mem, mut space, .. } = boot();
        let before = (mem.free_ram(), mem.free_slots());
        // Whatever RAM held before.
        let dirty = space.fresh(&mut mem, 64 * P, RW).unwrap();
        (0..64).for_each(|n| write(dirty.addr + n * P + 8, 7));
        space.unmap(&mut mem, dirty);

        let demand = Demand::new(&mut space, 40 * P, 16 * P, RW).unwrap();
        let at = demand.addr();
        let mut serve = |kind, addr| demand.serve(&mut space, &mut mem, kind, addr);
        assert_eq!(serve(FaultKind::Write, at + 17 * P + 5), Ok(Served::Made(16 * P)));
        assert_eq!(serve(FaultKind::Read, at + 31 * P), Ok(Served::There));
        assert_eq!(serve(FaultKind::Read, at + 39 * P), Ok(Served::Made(8 * P)));
        assert_eq!(serve(FaultKind::Read, at - 1), Err(DemandError::Outside));
        assert_eq!(serve(FaultKind::Read, at + 40 * P), Err(DemandError::Outside));
        assert_eq!(serve(FaultKind::Execute, at), Err(DemandError::Forbidden(FaultKind::Execute)));
        assert_eq!(serve(FaultKind::Other, at), Err(DemandError::Forbidden(FaultKind::Other)));
        for n in 0..40 {
            assert_eq!(matches!(walk(at + n * P), Pte::Page(_, RW)), n >= 16, "page {n}");
            assert!(n < 16 || read(at + n * P + 8) == 0, "page {n} is not zero");
        }
        demand.release(&mut space, &mut mem).unwrap();
        space.trim(&mut mem);
        assert_eq!((mem.free_ram(), mem.free_slots(), space.census()), (before.0, before.1, (0, 0, 0)));
    }

    #[test]
    fn holes_are_filled_and_what_is_there_stays() {
        let Domain { mut mem, mut space, .. } = boot();
        let demand = Demand::new(&mut space, 16 * P, 16 * P, RW).unwrap();
        let at = demand.addr();
        let frame = mem.frame(P).unwrap();
        for page in [2, 9] {
            assert!(space.map_at(&mut mem, at + page * P, frame.cap, 0, P, R).is_ok());
        }
        assert_eq!(demand.serve(&mut space, &mut mem, FaultKind::Read, at + 5 * P), Ok(Served::Made(6 * P)));
        assert!(matches!(walk(at + 9 * P), Pte::Page(pa, R) if pa.0 == frame.base));
        assert_eq!((walk(at + P), walk(at + 10 * P)), (Pte::Empty, Pte::Empty));
    }

    #[test]
    fn without_ram_it_says_so() {
        let Domain { mut mem, mut space, .. } = boot();
        let demand = Demand::new(&mut space, 64 * P, 16 * P, RW).unwrap();
        let at = demand.addr();
        let mut serve =
            |mem: &mut Memory, page: u64| demand.serve(&mut space, mem, FaultKind::Write, at + page * P);
        assert_eq!(serve(&mut mem, 0), Ok(Served::Made(16 * P)));
        while mem.free_ram() > P {
            let most = mem.free_ram() - P;
            assert!(mem.take(most, P, None).or_else(|| mem.take(P, P, None)).is_some());
        }
        assert_eq!(serve(&mut mem, 20), Ok(Served::Made(P)), "a page is all there is");
        let lack = MemError::Ram(P);
        assert_eq!(serve(&mut mem, 21), Err(DemandError::Vm(VmError::Memory(lack))));
    }

    #[test]
    fn steps_and_flags_are_checked() {
        let Domain { mut space, .. } = boot();
        for step in [0, 1, P + 1, 3 * P, 2 * LARGE_PAGE] {
            assert_eq!(Demand::new(&mut space, P, step, RW).map(drop), Err(VmError::Unaligned(step)));
        }
        let both = RW | MapFlags::EXECUTE;
        assert_eq!(Demand::new(&mut space, P, P, both).map(drop), Err(VmError::WriteExecute));
        assert_eq!(Demand::new(&mut space, u64::MAX, P, RW).map(drop), Err(VmError::Addresses(u64::MAX)));
    }
}
