//! Configuration space, mapped bus by bus when it is first looked at: most of 256 MiB is never needed.

use alloc::collections::BTreeMap;
use core::cell::RefCell;
use skerry_abi::domain::Purpose;
use skerry_app_pci::{ConfigSpace, Width, ecam_offset};
use skerry_skb::{PciAddress, PciHost};
use skerry_user::Domain;
use skerry_user::vspace::{DEVICE, Mapping};

/// Bytes of configuration space of one bus.
const BUS: u64 = 1 << 20;

/// One host's configuration space.
pub struct Ecam<'a> {
    domain: &'a RefCell<Domain>,
    host: PciHost,
    cap: skerry_abi::CPtr,
    buses: BTreeMap<u64, Mapping>,
}

impl<'a> Ecam<'a> {
    /// That of `host`, if it is among the listed capabilities.
    pub fn open(domain: &'a RefCell<Domain>, host: &PciHost) -> Option<Self> {
        let base = host.ecam.base.0;
        let info = domain.borrow().info;
        let cap = info.caps_for(Purpose::Device).find(|c| c.base == base && c.len >= host.ecam.len)?;
        Some(Self { domain, host: *host, cap: cap.cptr, buses: BTreeMap::new() })
    }

    fn at(&mut self, at: PciAddress, offset: u16) -> Option<(&Mapping, u64)> {
        let place = ecam_offset(&self.host, at, offset)?;
        let bus = place / BUS;
        if !self.buses.contains_key(&bus) {
            let domain = &mut *self.domain.borrow_mut();
            let len = BUS.min(self.host.ecam.len.checked_sub(bus * BUS)?);
            let view = domain.space.map(&mut domain.mem, self.cap, bus * BUS, len, DEVICE).ok()?;
            self.buses.insert(bus, view);
        }
        let view = self.buses.get(&bus).filter(|view| place % BUS + 4 <= view.len)?;
        Some((view, place % BUS))
    }
}

impl ConfigSpace for Ecam<'_> {
    fn read(&mut self, at: PciAddress, offset: u16, width: Width) -> u32 {
        // What is not there reads as ones, on a real bus too.
        let Some((view, place)) = self.at(at, offset) else { return u32::MAX };
        match width {
            Width::Byte => view.read8(place).into(),
            Width::Half => view.read16(place).into(),
            Width::Word => view.read32(place),
        }
    }

    fn write(&mut self, at: PciAddress, offset: u16, width: Width, value: u32) {
        let Some((view, place)) = self.at(at, offset) else { return };
        match width {
            Width::Byte => view.write8(place, value as u8),
            Width::Half => view.write16(place, value as u16),
            Width::Word => view.write32(place, value),
        }
    }
}
