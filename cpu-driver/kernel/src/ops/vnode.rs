//! Page tables. User code builds them, entry by entry; the CPU driver checks that each entry is authorised, and
//! remembers in the mapped capability where it is mapped, so that deleting the capability takes the mapping away.

use crate::invoke::Call;
use crate::kernel::{Kernel, Outcome};
use skerry_abi::{CapType, Error, PAGE_SIZE, PhysAddr, Rights, VirtAddr};
use skerry_caps::{Cap, SlotRef, Store};
use skerry_hal::paging::{ENTRIES, ROOT_LEVEL, span};
use skerry_hal::{Machine, MapFlags, PageFormat, Pte};

/// Entries above which a flush forgets everything at once.
const FLUSH_ALL_ABOVE: u32 = 32;
/// Pages of instructions that one mapping may make fetchable: bounds the cache maintenance.
const MAX_EXECUTABLE: u32 = 64;

/// Where a capability is mapped: what its own word holds. 0: nowhere.
#[derive(Clone, Copy)]
struct Mapping {
    table: PhysAddr,
    entry: u32,
    count: u32,
}

impl Mapping {
    const fn pack(self) -> u64 {
        // A table is page-aligned and below 2^48, an entry has 9 bits, a count 10: (count - 1) fits 9.
        self.table.0 | self.entry as u64 | (self.count as u64 - 1) << 48
    }

    const fn unpack(word: u64) -> Option<Self> {
        if word == 0 {
            return None;
        }
        let table = PhysAddr(word & 0x0000_ffff_ffff_f000);
        Some(Self { table, entry: word as u32 & 0x1ff, count: (word >> 48) as u32 + 1 })
    }
}

impl<M: Machine> Kernel<M> {
    /// The entries an invocation names: first and number.
    fn entries(call: &Call) -> Result<(u32, u32), Error> {
        let (first, count) = (call.lo(1), call.hi(1));
        let user = if call.cap.level == ROOT_LEVEL { M::Pages::USER_ROOT_ENTRIES } else { ENTRIES };
        match first.checked_add(count) {
            Some(end) if count > 0 && end as usize <= user => Ok((first, count)),
            _ => Err(Error::BadArgument),
        }
    }

    pub(crate) fn map(&mut self, call: &Call) -> Result<Outcome, Error> {
        call.need(Rights::WRITE)?;
        let (first, count) = Self::entries(call)?;
        let table = PhysAddr(call.cap.base);
        let (from, cap) = self.lookup(call.cptr_lo(2))?;
        if self.mapping(&cap).is_some() {
            return Err(Error::Mapped);
        }
        if (first..first + count).any(|n| self.memory.entry(table, n as usize) != 0) {
            return Err(Error::Mapped);
        }
        if cap.ty == CapType::VNode {
            if count != 1 || call.cap.level == 0 || cap.level != call.cap.level - 1 {
                return Err(Error::BadArgument);
            }
            self.memory.set_entry(table, first as usize, M::Pages::table(PhysAddr(cap.base)));
        } else {
            let flags = Self::flags_for(&cap, call.w[3])?;
            let page = span(call.cap.level);
            let base = cap.base.checked_add(call.w[4]).ok_or(Error::BadArgument)?;
            let len = u64::from(count) * page;
            let inside = call.w[4].checked_add(len).is_some_and(|end| end <= cap.len);
            if call.cap.level > 1 || !inside || !base.is_multiple_of(page) {
                return Err(Error::BadArgument);
            }
            if flags.contains(MapFlags::EXECUTE) {
                if count > MAX_EXECUTABLE || call.cap.level != 0 {
                    return Err(Error::BadArgument);
                }
                self.memory.machine().sync_instructions(PhysAddr(base), len);
            }
            for n in 0..count {
                let pte = M::Pages::page(PhysAddr(base + u64::from(n) * page), flags, call.cap.level);
                self.memory.set_entry(table, (first + n) as usize, pte);
            }
        }
        self.memory.slot_mut(from).set_extra(Mapping { table, entry: first, count }.pack());
        self.memory.machine().sync_tables();
        Ok(Outcome::Value(0))
    }

    /// The flags to map `cap` with when the user asks for `bits`.
    fn flags_for(cap: &Cap, bits: u64) -> Result<MapFlags, Error> {
        let asked = u8::try_from(bits).ok().and_then(MapFlags::from_bits).ok_or(Error::BadArgument)?;
        let mut flags = (asked & !MapFlags::DEVICE) | MapFlags::READ | MapFlags::USER;
        match cap.ty {
            CapType::Frame | CapType::WindowFrame => {}
            CapType::DeviceFrame => flags |= MapFlags::DEVICE,
            _ => return Err(Error::WrongType),
        }
        if !flags.is_sound() {
            return Err(Error::WriteExecute);
        }
        let needs = [
            (MapFlags::READ, Rights::READ),
            (MapFlags::WRITE, Rights::WRITE),
            (MapFlags::EXECUTE, Rights::EXECUTE),
        ];
        if needs.iter().any(|(flag, right)| flags.contains(*flag) && !cap.rights.contains(*right)) {
            return Err(Error::NoRight);
        }
        Ok(flags)
    }

    pub(crate) fn unmap(&mut self, call: &Call) -> Result<Outcome, Error> {
        call.need(Rights::WRITE)?;
        let (first, count) = Self::entries(call)?;
        let table = PhysAddr(call.cap.base);
        if self.memory.entry(table, first as usize) == 0 {
            return Err(Error::NotMapped);
        }
        for n in first..first + count {
            self.memory.set_entry(table, n as usize, 0);
        }
        self.flush(call, count);
        Ok(Outcome::Value(0))
    }

    pub(crate) fn protect(&mut self, call: &Call) -> Result<Outcome, Error> {
        call.need(Rights::WRITE)?;
        let (first, count) = Self::entries(call)?;
        let (table, level) = (PhysAddr(call.cap.base), call.cap.level);
        let proof = if call.w[4] == 0 { None } else { Some(self.lookup(call.cptr_lo(4))?.1) };
        for n in first..first + count {
            let Pte::Page(pa, old) = M::Pages::decode(self.memory.entry(table, n as usize), level) else {
                return Err(Error::NotMapped);
            };
            Self::reflag(proof.as_ref(), pa, span(level), old, call.w[3])?;
        }
        for n in first..first + count {
            if let Pte::Page(pa, old) = M::Pages::decode(self.memory.entry(table, n as usize), level) {
                let flags = Self::reflag(proof.as_ref(), pa, span(level), old, call.w[3])?;
                self.memory.set_entry(table, n as usize, M::Pages::page(pa, flags, level));
                if flags.contains(MapFlags::EXECUTE) && !old.contains(MapFlags::EXECUTE) {
                    if count > MAX_EXECUTABLE {
                        return Err(Error::BadArgument);
                    }
                    self.memory.machine().sync_instructions(pa, span(level));
                }
            }
        }
        self.flush(call, count);
        Ok(Outcome::Value(0))
    }

    /// The new flags of a page at `pa` that has `old`: fewer, or what `proof`, a capability for it, allows.
    fn reflag(
        proof: Option<&Cap>,
        pa: PhysAddr,
        len: u64,
        old: MapFlags,
        bits: u64,
    ) -> Result<MapFlags, Error> {
        if let Some(cap) = proof {
            if pa.0 < cap.base || pa.0 + len > cap.end() {
                return Err(Error::BadArgument);
            }
            return Self::flags_for(cap, bits);
        }
        let asked = u8::try_from(bits).ok().and_then(MapFlags::from_bits).ok_or(Error::BadArgument)?;
        let keep = MapFlags::DEVICE | MapFlags::READ | MapFlags::USER;
        let flags = (asked & !MapFlags::DEVICE) | (old & keep);
        if old.contains(flags) { Ok(flags) } else { Err(Error::NoRight) }
    }

    fn flush(&mut self, call: &Call, count: u32) {
        let page = span(call.cap.level);
        let machine = self.memory.machine();
        machine.sync_tables();
        if count > FLUSH_ALL_ABOVE || call.cap.level != 0 {
            machine.flush_all();
        } else {
            for n in 0..u64::from(count) {
                machine.flush_page(VirtAddr(call.w[2].wrapping_add(n * page) & !(PAGE_SIZE - 1)));
            }
        }
    }

    /// Where `cap` is mapped, if its table still exists and still says so.
    fn mapping(&self, cap: &Cap) -> Option<Mapping> {
        if !matches!(cap.ty, CapType::Frame | CapType::DeviceFrame | CapType::WindowFrame | CapType::VNode) {
            return None;
        }
        let mapping = Mapping::unpack(cap.extra)?;
        let at = self.caps.find(&self.memory, CapType::VNode, mapping.table.0, PAGE_SIZE)?;
        let level = self.memory.slot(at).cap()?.level;
        match M::Pages::decode(self.memory.entry(mapping.table, mapping.entry as usize), level) {
            Pte::Table(next) if cap.ty == CapType::VNode && next.0 == cap.base => Some(mapping),
            Pte::Page(pa, _) if cap.ty != CapType::VNode && pa.0 >= cap.base && pa.0 < cap.end() => {
                Some(mapping)
            }
            _ => None,
        }
    }

    /// Takes away the mapping that the capability in slot `at` made, if it still stands.
    pub(crate) fn unmap_slot(&mut self, at: SlotRef, cap: &Cap) {
        if let Some(mapping) = self.mapping(cap) {
            for n in mapping.entry..mapping.entry + mapping.count {
                self.memory.set_entry(mapping.table, n as usize, 0);
            }
            self.memory.slot_mut(at).set_extra(0);
            let machine = self.memory.machine();
            machine.sync_tables();
            machine.flush_all();
        }
    }
}
