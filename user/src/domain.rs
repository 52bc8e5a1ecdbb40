//! This domain: what it was given, and its own memory.

use crate::cap::VNode;
use crate::cspace::Slots;
use crate::mem::{Memory, Object};
use crate::ram::Pool;
use crate::vspace::{DEVICE, Mapping, RW, Space};
use skerry_abi::domain::{DomainInfo, ListedCap, Purpose, slot};
use skerry_abi::{CPtr, CapType, Error, PAGE_SIZE};
use skerry_hal::MapFlags;

/// All that a domain has.
pub struct Domain {
    /// What it was told.
    pub info: &'static DomainInfo,
    /// Its slots and RAM.
    pub mem: Memory,
    /// Its address space.
    pub space: Space,
}

impl Domain {
    /// What `info` says is there. The runtime calls it once.
    pub(crate) fn take(info: &'static DomainInfo) -> Self {
        let mut ram = Pool::new();
        for cap in info.caps_for(Purpose::Ram) {
            ram.add(cap.cptr, cap.base, cap.len, cap.detail as u32);
        }
        let mem = Memory { slots: Slots::new(info.first_free), ram };
        Self { info, mem, space: Space::new(VNode(slot::VSPACE)) }
    }

    /// Its name.
    pub fn name(&self) -> &'static str {
        name_of(self.info)
    }

    /// The listed capability for a purpose with this detail.
    pub fn listed(&self, purpose: Purpose, detail: u64) -> Option<&'static ListedCap> {
        self.info.caps_for(purpose).find(|cap| cap.detail == detail)
    }

    /// Maps all of a listed or own frame.
    pub fn map(&mut self, frame: CPtr, len: u64, flags: MapFlags) -> Result<Mapping, Error> {
        self.space.map(&mut self.mem, frame, 0, len.next_multiple_of(PAGE_SIZE), flags)
    }

    /// Takes a mapping away.
    pub fn unmap(&mut self, mapping: Mapping) {
        self.space.unmap(&mut self.mem, mapping);
    }

    /// A fresh frame of zeros, mapped.
    pub fn zeroed(&mut self, len: u64, node: Option<u32>) -> Result<(Object, Mapping), Error> {
        let frame = self.mem.make(CapType::Frame, 0, len, PAGE_SIZE, node)?;
        let mapping = self.map(frame.cap, frame.len, RW)?;
        mapping.zero();
        Ok((frame, mapping))
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
        self.mem.part_of(cap.cptr, CapType::DeviceFrame, base - cap.base, len)
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

/// The name in a [`DomainInfo`].
pub fn name_of(info: &DomainInfo) -> &str {
    let len = info.name.iter().position(|b| *b == 0).unwrap_or(info.name.len());
    core::str::from_utf8(&info.name[..len]).unwrap_or("?")
}
