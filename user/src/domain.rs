//! This domain: what it was given, and its own memory.

use crate::cap::VNode;
use crate::info::Info;
use crate::mem::{Memory, OWN, Object, Store};
use crate::spawn::Places;
use crate::vspace::{DEVICE, Mapping, RW, Space};
use skerry_abi::domain::{ListedCap, Purpose, slot};
use skerry_abi::{CPtr, CapType, Error, PAGE_SIZE, PhysAddr, PhysRange};
use skerry_hal::MapFlags;

/// All that a domain has.
pub struct Domain {
    /// What it was told.
    pub info: &'static Info,
    /// Its slots and RAM.
    pub mem: Memory,
    /// Its address space.
    pub space: Space,
    /// Where what its children are made of hangs.
    pub rooms: Places,
}

impl Domain {
    /// What `info` says is there. The runtime calls it once.
    pub(crate) fn take(info: &'static Info) -> Self {
        Self::take_into(info, &OWN)
    }

    /// The same, with what it has kept in `store`.
    pub(crate) fn take_into(info: &'static Info, store: &'static Store) -> Self {
        store.begin(info.first_free);
        let mut mem = Memory::new(store);
        for cap in info.caps_for(Purpose::Ram) {
            mem.add_ram(cap.cptr, PhysRange::new(PhysAddr(cap.base), cap.len), cap.detail as u32);
        }
        Self { info, mem, space: Space::new(VNode(slot::VSPACE)), rooms: Places::new() }
    }

    /// Its name.
    pub fn name(&self) -> &'static str {
        self.info.name()
    }

    /// The listed capability for a purpose with this detail.
    pub fn listed(&self, purpose: Purpose, detail: u64) -> Option<&'static ListedCap> {
        self.info.caps_for(purpose).find(|cap| cap.detail == detail)
    }

    /// Maps all of a listed or own frame.
    pub fn map(&mut self, frame: CPtr, len: u64, flags: MapFlags) -> Result<Mapping, Error> {
        let len = len.checked_next_multiple_of(PAGE_SIZE).ok_or(Error::BadArgument)?;
        Ok(self.space.map(&mut self.mem, frame, 0, len, flags)?)
    }

    /// Takes a mapping away.
    pub fn unmap(&mut self, mapping: Mapping) {
        self.space.unmap(&mut self.mem, mapping);
    }

    /// A fresh frame of zeros, mapped.
    pub fn zeroed(&mut self, len: u64, node: Option<u32>) -> Result<(Object, Mapping), Error> {
        let frame = self.mem.make(CapType::Frame, 0, len, PAGE_SIZE, node)?;
        match self.map(frame.cap, frame.len, RW) {
            Ok(mapping) => {
                mapping.zero();
                Ok((frame, mapping))
            }
            Err(error) => {
                self.mem.free(frame)?;
                Err(error)
            }
        }
    }

    /// Undoes what [`zeroed`](Self::zeroed) did, if nobody has a copy of the frame.
    ///
    /// # Errors
    /// What the CPU driver answers.
    pub fn free(&mut self, frame: Object, mapping: Mapping) -> Result<(), Error> {
        self.unmap(mapping);
        Ok(self.mem.free(frame)?)
    }

    /// A capability for device memory `base..base + len`, cut out of a listed device range.
    ///
    /// # Errors
    /// [`Error::EmptySlot`] if no listed range covers it; what the CPU driver answers.
    pub fn device(&mut self, base: u64, len: u64) -> Result<CPtr, Error> {
        let end = base.checked_add(len).ok_or(Error::BadArgument)?;
        let covers = |cap: &&ListedCap| cap.base <= base && end - cap.base <= cap.len;
        let cap = self.info.caps_for(Purpose::Device).find(covers).ok_or(Error::EmptySlot)?;
        if (cap.base, cap.len) == (base, len) {
            return Ok(cap.cptr);
        }
        Ok(self.mem.part_of(cap.cptr, CapType::DeviceFrame, base - cap.base, len)?)
    }

    /// Maps device registers (whole pages around `base..base + len`); the mapping and the offset of `base` in it.
    pub fn map_device(&mut self, base: u64, len: u64) -> Result<(Mapping, u64), Error> {
        let first = base & !(PAGE_SIZE - 1);
        let end = base.checked_add(len).and_then(|end| end.checked_next_multiple_of(PAGE_SIZE));
        let bytes = end.ok_or(Error::BadArgument)? - first;
        let frame = self.device(first, bytes)?;
        Ok((self.map(frame, bytes, DEVICE)?, base - first))
    }
}
