//! Page tables. User code builds them, entry by entry; the CPU driver checks that each entry is authorised, and
//! remembers in the mapped capability where it is mapped, so that deleting the capability takes the mapping away.

use crate::invoke::Call;
use crate::kernel::{Kernel, Outcome};
use core::sync::atomic::Ordering::Relaxed;
use skerry_abi::{CapType, CoreId, Error, PAGE_SIZE, PhysAddr, Rights};
use skerry_caps::{Cap, SlotRef, Store};
use skerry_hal::paging::{ADDRESS, ENTRIES, ROOT_LEVEL, allowed, allowing, span};
use skerry_hal::{Machine, MapFlags, PageFormat, Pte};

/// What a capability's rights decide, with the same bits in both.
const RIGHTS: MapFlags = MapFlags::READ.union(MapFlags::WRITE).union(MapFlags::EXECUTE);

/// Pages of instructions that one mapping may make fetchable: bounds the cache maintenance, on ARM five instructions a line.
const MAX_EXECUTABLE: u32 = 32;

/// Where a capability is mapped: what its own word holds. 0: nowhere.
#[derive(Clone, Copy)]
pub(crate) struct Mapping {
    pub table: PhysAddr,
    pub entry: u32,
    pub count: u32,
}

impl Mapping {
    pub const fn pack(self) -> u64 {
        // A table is page-aligned and below 2^48, an entry has 9 bits, a count 10: (count - 1) fits 9.
        self.table.0 | self.entry as u64 | (self.count as u64 - 1) << 48
    }

    const fn unpack(word: u64) -> Option<Self> {
        if word == 0 {
            return None;
        }
        let table = PhysAddr(word & ADDRESS);
        Some(Self { table, entry: word as u32 & 0x1ff, count: (word >> 48) as u32 + 1 })
    }
}

impl<M: Machine> Kernel<M> {
    /// The entries an invocation names: first and number. A table that another core owns, that one alone changes.
    fn entries(&self, call: &Call) -> Result<(u32, u32), Error> {
        if call.cap.owner != self.core {
            return Err(Error::Remote);
        }
        let (first, count) = (call.lo(1), call.hi(1));
        let user = if call.cap.level == ROOT_LEVEL { M::Pages::USER_ROOT_ENTRIES } else { ENTRIES };
        let inside = count > 0 && u64::from(first) + u64::from(count) <= user as u64;
        if inside { Ok((first, count)) } else { Err(Error::BadArgument) }
    }

    pub(crate) fn map(&mut self, call: &Call) -> Result<Outcome, Error> {
        let (first, count) = self.entries(call)?;
        let table = PhysAddr(call.cap.base);
        let (from, cap) = self.lookup(call.cptr_lo(2))?;
        if self.caps.is_locked(&self.memory, from) {
            return Err(Error::Busy);
        }
        if self.mapping(&cap, false) {
            return Err(Error::Mapped);
        }
        let entries = self.memory.entries(table, first as usize, count as usize);
        if entries.iter().fold(0, |any, entry| any | entry.load(Relaxed)) != 0 {
            return Err(Error::Mapped);
        }
        if cap.ty == CapType::VNode {
            if count != 1 || call.cap.level == 0 || cap.level != call.cap.level - 1 {
                return Err(Error::BadArgument);
            }
            self.memory.set_entry(table, first as usize, M::Pages::table(PhysAddr(cap.base)));
        } else {
            let level = call.cap.level;
            let (flags, may) = Self::flags_for(&cap, self.core, call.w[3])?;
            let base = cap.base.checked_add(call.w[4]).ok_or(Error::BadArgument)?;
            let len = u64::from(count) * span(level);
            let inside = call.w[4].checked_add(len).is_some_and(|end| end <= cap.len);
            if level > 1 || !inside || !base.is_multiple_of(span(level)) {
                return Err(Error::BadArgument);
            }
            let mut pte = M::Pages::page(PhysAddr(base), flags, level) | allowing(may);
            Self::executable(flags, level, count)?;
            for entry in self.memory.entries(table, first as usize, count as usize) {
                entry.store(pte, Relaxed);
                // The address lies in an entry as it is (`ADDRESS`), and the range ends below 2^48.
                pte += span(level);
            }
            self.make_fetchable(flags, table, first, count);
        }
        self.memory.slot_mut(from).set_extra(Mapping { table, entry: first, count }.pack());
        self.memory.machine().sync_tables();
        Ok(Outcome::Value(0))
    }

    /// The flags that a word means.
    fn asked(bits: u64) -> Result<MapFlags, Error> {
        if bits & !u64::from(MapFlags::all().bits()) != 0 {
            return Err(Error::BadArgument);
        }
        Ok(MapFlags::from_bits_truncate(bits as u8))
    }

    /// The flags to map `cap` with when the user asks for `bits`, and what may be asked for later.
    #[inline(always)]
    fn flags_for(cap: &Cap, core: CoreId, bits: u64) -> Result<(MapFlags, MapFlags), Error> {
        let mut flags = (Self::asked(bits)? & !MapFlags::DEVICE) | MapFlags::READ | MapFlags::USER;
        match cap.ty {
            CapType::Frame | CapType::WindowFrame => {}
            CapType::DeviceFrame => flags |= MapFlags::DEVICE,
            _ => return Err(Error::WrongType),
        }
        if !flags.is_sound() {
            return Err(Error::WriteExecute);
        }
        const { assert!(RIGHTS.bits() == Rights::READ.union(Rights::WRITE).union(Rights::EXECUTE).bits()) };
        let mut may = MapFlags::from_bits_truncate(cap.rights.bits()) & RIGHTS;
        // Instructions are made fetchable through the CPU driver's own view of RAM, where it has no other memory.
        if cap.ty != CapType::Frame || cap.owner != core {
            if flags.contains(MapFlags::EXECUTE) {
                return Err(Error::Remote);
            }
            may -= MapFlags::EXECUTE;
        }
        if may.contains(flags & RIGHTS) { Ok((flags, may)) } else { Err(Error::NoRight) }
    }

    /// Whether so many pages may be made fetchable at once: none that are large.
    fn executable(flags: MapFlags, level: u8, count: u32) -> Result<(), Error> {
        let most = if level > 0 { 0 } else { MAX_EXECUTABLE };
        if flags.contains(MapFlags::EXECUTE) && count > most { Err(Error::BadArgument) } else { Ok(()) }
    }

    /// Makes what these entries map fetchable, if their flags say so.
    fn make_fetchable(&mut self, flags: MapFlags, table: PhysAddr, first: u32, count: u32) {
        if flags.contains(MapFlags::EXECUTE) {
            for n in first..first + count {
                let pa = PhysAddr(self.memory.entry(table, n as usize) & ADDRESS);
                self.memory.machine().sync_instructions(pa, PAGE_SIZE);
            }
        }
    }

    pub(crate) fn unmap(&mut self, call: &Call) -> Result<Outcome, Error> {
        let (first, count) = self.entries(call)?;
        let table = PhysAddr(call.cap.base);
        let mut any = 0;
        for entry in self.memory.entries(table, first as usize, count as usize) {
            any |= entry.load(Relaxed);
            entry.store(0, Relaxed);
        }
        if any == 0 {
            return Err(Error::NotMapped);
        }
        self.flush();
        Ok(Outcome::Value(0))
    }

    pub(crate) fn protect(&mut self, call: &Call) -> Result<Outcome, Error> {
        let (first, count) = self.entries(call)?;
        let (table, level) = (PhysAddr(call.cap.base), call.cap.level);
        let asked = Self::asked(call.w[3])?;
        let entries = self.memory.entries(table, first as usize, count as usize);
        let bits = entries[0].load(Relaxed) & !ADDRESS;
        let Pte::Page(_, old) = M::Pages::decode(bits, level) else { return Err(Error::NotMapped) };
        let may = allowed(bits);
        // Device memory is never executable: nothing allows that.
        let flags = (asked & RIGHTS) | (old & MapFlags::all().difference(RIGHTS)) | MapFlags::READ;
        if flags.contains(MapFlags::WRITE | MapFlags::EXECUTE) {
            return Err(Error::WriteExecute);
        }
        if !(old | may).contains(flags) {
            return Err(Error::NoRight);
        }
        Self::executable(flags, level, count)?;
        let change = bits ^ (M::Pages::page(PhysAddr(0), flags, level) | allowing(may));
        // As long as entries have the same bits.
        let mut done = 0;
        for entry in entries {
            let old = entry.load(Relaxed);
            if old & !ADDRESS != bits {
                break;
            }
            entry.store(old ^ change, Relaxed);
            done += 1;
        }
        self.make_fetchable(flags, table, first, done);
        self.flush();
        Ok(Outcome::Value(u64::from(done)))
    }

    /// Forgets all translations of user addresses. Not only those of the addresses that a caller could name: it might
    /// name others, or have the table mapped twice, and go on using memory that has become something else.
    fn flush(&mut self) {
        let machine = self.memory.machine();
        machine.sync_tables();
        machine.flush_all();
    }

    /// Whether any entry that the capability `cap` filled still maps it; takes those entries away if `remove`. Each entry
    /// is asked: a user may have unmapped some of them, and mapped other things there.
    fn mapping(&mut self, cap: &Cap, remove: bool) -> bool {
        if !matches!(cap.ty, CapType::Frame | CapType::DeviceFrame | CapType::WindowFrame | CapType::VNode) {
            return false;
        }
        let Some(mapping) = Mapping::unpack(cap.extra) else { return false };
        // The table's page may be another table by now, and another core's.
        let table = self.caps.find(&self.memory, CapType::VNode, mapping.table.0, PAGE_SIZE);
        if table.is_none_or(|table| self.memory.slot(table).owner() != self.core) {
            return false;
        }
        let mut any = false;
        for slot in self.memory.entries(mapping.table, mapping.entry as usize, mapping.count as usize) {
            let entry = slot.load(Relaxed);
            if (entry & ADDRESS).wrapping_sub(cap.base) < cap.len && entry != 0 {
                if !remove {
                    return true;
                }
                slot.store(0, Relaxed);
                any = true;
            }
        }
        any
    }

    /// Takes away the mapping that the capability in slot `at` made, as far as it still stands. Answers how many entries
    /// it looked at.
    pub(crate) fn unmap_slot(&mut self, at: SlotRef, cap: &Cap) -> u32 {
        if !self.mapping(cap, true) {
            return 0;
        }
        self.memory.slot_mut(at).set_extra(0);
        self.flush();
        Mapping::unpack(cap.extra).map_or(0, |mapping| mapping.count)
    }
}
