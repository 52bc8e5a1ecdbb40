//! Address spaces: page tables made and filled through capabilities, the domain's own or a child's.
//!
//! | module | what it holds |
//! | --- | --- |
//! | [`Space`], here and in `change` | map, unmap, protect; reservations; fresh memory |
//! | [`runs`] | what is mapped: runs of pages in one table; how a range is cut into them |
//! | [`tables`] | the page tables, each with its runs |
//! | [`ranges`] | which addresses are reserved |
//! | [`column`] | memory that only grows, for the heap: without allocation |
//! | [`demand`] | memory that is made when it is touched |
//!
//! A mapped capability remembers in its slot where it is mapped, in one place, so each run of entries in one table has a
//! capability to itself: mostly a copy, and deleting the copy unmaps the run. A range costs one invocation for each
//! table it has a part in. Pages are large (2 MiB) where the addresses on both sides allow it.
//!
//! Every range is checked before anything is changed: aligned, not empty, inside user space, free (or mapped, for those
//! that change what is there), and never writable and executable at once.

mod change;
pub mod column;
pub mod demand;
mod error;
pub mod ranges;
pub mod runs;
pub mod tables;

pub use error::VmError;
pub use runs::Hold;

use crate::cap::{VNode, identify};
use crate::mem::{Memory, Object};
use alloc::collections::BTreeMap;
use change::Holed;
use ranges::Ranges;
use skerry_abi::{CPtr, PAGE_SIZE};
use skerry_hal::MapFlags;
use skerry_hal::addr::{LARGE_PAGE, USER_END, USER_START};
use skerry_hal::paging::{ROOT_LEVEL, span};
use tables::Tables;

/// First address that [`Space::reserve`] hands out: root entry 1, where no spawner maps anything.
const OWN_FIRST: u64 = span(ROOT_LEVEL);
/// First address past what it hands out: root entry 254, where the heap grows.
const OWN_END: u64 = column::HEAP;

/// Flags of ordinary private memory.
pub const RW: MapFlags = MapFlags::READ.union(MapFlags::WRITE).union(MapFlags::USER);
/// Flags of memory to look at.
pub const R: MapFlags = MapFlags::READ.union(MapFlags::USER);
/// Flags of program text.
pub const RX: MapFlags = MapFlags::READ.union(MapFlags::EXECUTE).union(MapFlags::USER);
/// Flags of device registers.
pub const DEVICE: MapFlags = RW.union(MapFlags::DEVICE);

/// Something that is mapped.
#[derive(PartialEq, Eq, Debug)]
pub struct Mapping {
    /// First address.
    pub addr: u64,
    /// Bytes, whole pages.
    pub len: u64,
    /// Its addresses go with it.
    reserved: bool,
}

/// What is to be mapped.
#[derive(Clone, Copy, Debug)]
pub struct Backing {
    /// A frame, device frame or window frame.
    pub frame: CPtr,
    /// Where in it the range begins.
    pub offset: u64,
    /// Whose it is: [`Hold::Lent`] maps `frame` itself where it can, which is quicker, and then keeps it from being mapped
    /// elsewhere; [`Hold::Copy`] maps copies of it.
    pub hold: Hold,
    /// Whether pages may be large: then they change as a whole.
    pub large: bool,
}

impl Backing {
    /// All or part of `frame`, from `offset` on, by copies, in pages as large as can be.
    pub const fn of(frame: CPtr, offset: u64) -> Self {
        Self { frame, offset, hold: Hold::Copy, large: true }
    }
}

/// An address space.
#[derive(Debug)]
pub struct Space {
    tables: Tables,
    ranges: Ranges,
    /// Capabilities whose run was cut up.
    holed: BTreeMap<CPtr, Holed>,
}

/// Checks a range; the first address after it.
fn range(va: u64, len: u64) -> Result<u64, VmError> {
    if len == 0 {
        return Err(VmError::Empty);
    }
    if !(va | len).is_multiple_of(PAGE_SIZE) {
        return Err(VmError::Unaligned(if va.is_multiple_of(PAGE_SIZE) { len } else { va }));
    }
    va.checked_add(len).filter(|end| *end <= USER_END && va >= USER_START).ok_or(VmError::NotUser(va))
}

fn sound(flags: MapFlags) -> Result<(), VmError> {
    if flags.union(MapFlags::READ).is_sound() { Ok(()) } else { Err(VmError::WriteExecute) }
}

impl Space {
    /// The space whose root table is `root`. What is mapped there already must lie under root entries 0, 254 and 255.
    pub const fn new(root: VNode) -> Self {
        Self { tables: Tables::new(root), ranges: Ranges::new(OWN_FIRST, OWN_END), holed: BTreeMap::new() }
    }

    /// The same, for who is told where to map: nothing is handed out by reservation.
    pub const fn told(root: VNode) -> Self {
        Self { tables: Tables::new(root), ranges: Ranges::new(0, 0), holed: BTreeMap::new() }
    }

    /// Its root table.
    pub const fn root(&self) -> VNode {
        self.tables.root()
    }

    /// Reserves addresses for `len` bytes, aligned to `align`, with an unmapped guard page before and behind.
    ///
    /// # Errors
    /// [`VmError::Addresses`].
    pub fn reserve(&mut self, len: u64, align: u64) -> Result<u64, VmError> {
        self.ranges.take(len, align).ok_or(VmError::Addresses(len))
    }

    /// Gives the reservation that begins at `at` back, and unmaps what is mapped there.
    ///
    /// # Errors
    /// [`VmError::NotReserved`]; what the CPU driver answers.
    pub fn release(&mut self, mem: &mut Memory, at: u64) -> Result<(), VmError> {
        let len = self.ranges.length(at).ok_or(VmError::NotReserved(at))?;
        self.clear(mem, at, at + len)?;
        self.ranges.give(at);
        Ok(())
    }

    /// Maps `len` bytes of `frame` from `offset` at `va`, by copies.
    ///
    /// # Errors
    /// [`VmError`]; then nothing is mapped.
    pub fn map_at(
        &mut self,
        mem: &mut Memory,
        va: u64,
        frame: CPtr,
        offset: u64,
        len: u64,
        flags: MapFlags,
    ) -> Result<Mapping, VmError> {
        self.map_backing(mem, va, len, &Backing::of(frame, offset), flags)
    }

    /// Maps all of what [`map_at`](Self::map_at) does, at an address of its own choice.
    ///
    /// # Errors
    /// [`VmError`]; then nothing is mapped.
    pub fn map(
        &mut self,
        mem: &mut Memory,
        frame: CPtr,
        offset: u64,
        len: u64,
        flags: MapFlags,
    ) -> Result<Mapping, VmError> {
        self.reserved(len, |space, va| space.map_at(mem, va, frame, offset, len, flags))
    }

    /// Maps `len` bytes of `backing` at `va`.
    ///
    /// # Errors
    /// [`VmError`]; then nothing is mapped.
    #[inline]
    pub fn map_backing(
        &mut self,
        mem: &mut Memory,
        va: u64,
        len: u64,
        backing: &Backing,
        flags: MapFlags,
    ) -> Result<Mapping, VmError> {
        let end = self.vacant(va, len, flags)?;
        if !backing.offset.is_multiple_of(PAGE_SIZE) {
            return Err(VmError::Unaligned(backing.offset));
        }
        let mut pa = None;
        if backing.large && len >= LARGE_PAGE && !flags.contains(MapFlags::EXECUTE) {
            let id =
                identify(backing.frame).map_err(|error| VmError::Refused("looking at a frame", error))?;
            pa = id.base.checked_add(backing.offset);
        }
        self.place(mem, (va, end), backing, pa, flags)?;
        Ok(Mapping { addr: va, len, reserved: false })
    }

    /// Maps `len` bytes of new frames at `va`. They hold whatever was there before, and go with the mapping.
    ///
    /// # Errors
    /// [`VmError`]; then nothing is mapped.
    pub fn fresh_at(
        &mut self,
        mem: &mut Memory,
        va: u64,
        len: u64,
        flags: MapFlags,
    ) -> Result<Mapping, VmError> {
        self.made_at(mem, va, len, flags, false)
    }

    /// As [`fresh_at`](Self::fresh_at), of zeros from the first moment.
    ///
    /// # Errors
    /// [`VmError`]; then nothing is mapped.
    pub fn zeroed_at(
        &mut self,
        mem: &mut Memory,
        va: u64,
        len: u64,
        flags: MapFlags,
    ) -> Result<Mapping, VmError> {
        self.made_at(mem, va, len, flags, true)
    }

    fn made_at(
        &mut self,
        mem: &mut Memory,
        va: u64,
        len: u64,
        flags: MapFlags,
        zero: bool,
    ) -> Result<Mapping, VmError> {
        let end = self.vacant(va, len, flags)?;
        self.fill(mem, (va, end), flags, zero)?;
        Ok(Mapping { addr: va, len, reserved: false })
    }

    /// Maps `len` bytes of new frames at an address of its own choice, a guard page before and behind: a stack, say.
    ///
    /// # Errors
    /// [`VmError`]; then nothing is mapped.
    pub fn fresh(&mut self, mem: &mut Memory, len: u64, flags: MapFlags) -> Result<Mapping, VmError> {
        let len = len.checked_next_multiple_of(PAGE_SIZE).ok_or(VmError::Addresses(len))?;
        self.reserved(len, |space, va| space.fresh_at(mem, va, len, flags))
    }

    /// What `map` maps at an address that is reserved for it.
    fn reserved(
        &mut self,
        len: u64,
        map: impl FnOnce(&mut Self, u64) -> Result<Mapping, VmError>,
    ) -> Result<Mapping, VmError> {
        if len == 0 {
            return Err(VmError::Empty);
        }
        let va = self.reserve(len, if len >= LARGE_PAGE { LARGE_PAGE } else { PAGE_SIZE })?;
        match map(self, va) {
            Ok(mapping) => Ok(Mapping { reserved: true, ..mapping }),
            Err(error) => {
                self.ranges.give(va);
                Err(error)
            }
        }
    }

    /// Takes a mapping away, with whatever was made for it.
    pub fn unmap(&mut self, mem: &mut Memory, mapping: Mapping) {
        let done = self.clear(mem, mapping.addr, mapping.addr + mapping.len);
        match done {
            Ok(()) if mapping.reserved => drop(self.ranges.give(mapping.addr)),
            Ok(()) => {}
            Err(error) => ::log::warn!("a mapping at {:#x} could not be undone: {error}", mapping.addr),
        }
    }

    /// Changes what the pages of a range allow.
    ///
    /// # Errors
    /// [`VmError`]; then nothing has changed, except if the CPU driver refused a later part of the range because the
    /// capability that is mapped there lacks a right.
    pub fn protect(&mut self, va: u64, len: u64, flags: MapFlags) -> Result<(), VmError> {
        sound(flags)?;
        let end = range(va, len)?;
        self.reflag(va, end, flags)
    }

    /// Takes the pages of a range away, which may be part of a mapping or of several.
    ///
    /// # Errors
    /// [`VmError`]; then nothing has changed.
    pub fn unmap_range(&mut self, mem: &mut Memory, va: u64, len: u64) -> Result<(), VmError> {
        let end = range(va, len)?;
        if let Some((at, run)) = self.in_one_run(va, end) {
            return self.remove_one(mem, at, &run, va, end);
        }
        self.covered(va, end)?;
        self.remove(mem, va, end)
    }

    /// The first mapped address in `va..end`.
    pub fn first_mapped(&self, va: u64, end: u64) -> Option<u64> {
        self.tables.first_in(va, end)
    }

    /// Gives back page tables that nothing hangs in.
    pub fn trim(&mut self, mem: &mut Memory) {
        self.tables.trim(mem);
    }

    /// Runs of pages, page tables below the root, reservations: what the space is made of.
    pub fn census(&self) -> (usize, usize, usize) {
        let (runs, tables) = self.tables.count();
        (runs, tables, self.ranges.count())
    }
}

/// The frame that a run owns.
const fn object(cap: CPtr, base: u64, len: u64) -> Object {
    Object { cap, base, len }
}

#[cfg(test)]
mod tests;
