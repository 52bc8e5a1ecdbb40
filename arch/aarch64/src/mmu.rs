//! The MMU itself: making tables effective, forgetting translations, cache maintenance, and the window through which
//! the CPU driver reaches device registers.

use crate::space::{SpaceError, Table, Tables};
use aarch64_cpu::asm::barrier::{self, isb};
use aarch64_cpu::registers::{
    CPACR_EL1, ID_AA64MMFR0_EL1, ID_AA64MMFR1_EL1, Readable, SCTLR_EL1, TTBR0_EL1, Writeable,
};
use core::arch::asm;
use core::mem::MaybeUninit;
use core::ptr::NonNull;
use skerry_hal::addr::{DEVICES, KERNEL, LARGE_PAGE, PHYSMAP};
use skerry_hal::{MapFlags, PAGE_SIZE, PhysAddr, VirtAddr};

/// `SCTLR_EL1.WXN`: what may be written is never executed, at either level, whatever its entry says.
const WXN: u64 = 1 << 19;

/// Leaves the early tables for `tables`; user space is empty (`no_user`) from here on. Sets WXN, and PAN where the core has it.
///
/// # Safety
/// `tables` maps the image from `slice` at `KERNEL` as the linker script says, and what the caller still holds
/// pointers to. The early tables are effective and map the slice one to one.
pub unsafe fn switch_to(tables: &Tables<'_>, slice: PhysAddr, no_user: PhysAddr) {
    unsafe extern "C" {
        fn skerry_switch_tables(root: u64);
    }
    let routine = skerry_switch_tables as *const () as u64 - KERNEL + slice.0;
    barrier::dsb(barrier::ISHST);
    // SAFETY: the routine at its one-to-one address does what its comment says; it clobbers nothing else.
    unsafe { asm!("blr {routine}", routine = in(reg) routine, in("x0") tables.root().0, out("x30") _) };
    set_user_root(no_user);
    SCTLR_EL1.set(SCTLR_EL1.get() | WXN);
    isb(barrier::SY);
    if ID_AA64MMFR1_EL1.read(ID_AA64MMFR1_EL1::PAN) != 0 {
        // SAFETY: the CPU driver reaches user memory through PHYSMAP only. `msr pan, #1`, spelt for assemblers of Armv8.0.
        unsafe { asm!(".inst 0xd500419f", options(nostack)) };
    }
    // Floating point is the user's alone: the CPU driver is compiled without. SVE and SME stay trapped.
    CPACR_EL1.write(CPACR_EL1::FPEN::TrapNothing);
    isb(barrier::SY);
}

/// Makes `root` the user half; the return to EL0 is what synchronises.
pub fn set_user_root(root: PhysAddr) {
    barrier::dsb(barrier::ISHST);
    TTBR0_EL1.set(root.0);
    isb(barrier::SY);
    // SAFETY: as in `flush_user`.
    unsafe { asm!("tlbi aside1, xzr", "dsb nsh", options(nostack)) };
}

/// Forgets all translations of user addresses on this core. They carry ASID 0 and nG; the CPU driver's own are global.
pub fn flush_user() {
    // SAFETY: forgetting a translation never changes what is mapped.
    unsafe { asm!("dsb nshst", "tlbi aside1, xzr", "dsb nsh", "isb", options(nostack)) };
}

/// Forgets the translation of one page on this core.
pub fn flush_page(va: VirtAddr) {
    let operand = va.0 >> 12 & ((1 << 44) - 1);
    // SAFETY: forgetting a translation never changes what is mapped.
    unsafe {
        asm!("dsb nshst", "tlbi vaae1, {va}", "dsb nsh", "isb", va = in(reg) operand, options(nostack));
    };
}

/// Makes instructions that were written as data at physical address `pa` fetchable: cleans the data cache to the point of
/// unification, then drops the whole instruction cache, which works for aliases too (Arm ARM B2.4.4, D7.5.9). On every core
/// of the island: a program over several cores fetches through the tables of one, and another's cache may still have what
/// the memory held before.
pub fn sync_instructions(pa: PhysAddr, len: u64) {
    // SAFETY: cleaning writes back what the cache holds anyway; the caller vouches that `pa` is RAM.
    each_line(PHYSMAP + pa.0, len, |at| unsafe { asm!("dc cvau, {at}", at = in(reg) at, options(nostack)) });
    // SAFETY: instructions are fetched anew.
    unsafe { asm!("dsb ish", "ic ialluis", "dsb ish", "isb", options(nostack)) };
}

/// Does `what` with each line of the data cache that has a part of `start..start + len`.
#[inline]
pub fn each_line(start: u64, len: u64, what: impl Fn(u64)) {
    let sizes: u64;
    // SAFETY: reads CTR_EL0.
    unsafe { asm!("mrs {}, ctr_el0", out(reg) sizes, options(nomem, nostack, preserves_flags)) };
    let line = 4u64 << (sizes >> 16 & 0xf);
    let mut at = start & !(line - 1);
    while at < start + len {
        what(at);
        at += line;
    }
}

/// How the registers spell the size of a physical address on this core; no more than the 4 KiB granule can name.
pub fn physical_range() -> u64 {
    ID_AA64MMFR0_EL1.read(ID_AA64MMFR0_EL1::PARange).min(5)
}

/// Bits of a physical address on this core.
pub fn physical_bits() -> u32 {
    [32, 36, 40, 42, 44, 48][physical_range() as usize]
}

/// Hands out the pages at `DEVICES`.
pub struct Devices {
    tables: Tables<'static>,
    next: u64,
}

impl Devices {
    /// The window in `tables`, which are effective, with `console` mapped as its first page, where the early tables
    /// had it.
    ///
    /// # Errors
    /// [`SpaceError::NoRoom`] if there is no table left for it.
    pub fn new(mut tables: Tables<'static>, console: PhysAddr) -> Result<Self, SpaceError> {
        let flags = MapFlags::READ | MapFlags::WRITE | MapFlags::DEVICE;
        tables.map(DEVICES, console, PAGE_SIZE, flags)?;
        Ok(Self { tables, next: DEVICES + PAGE_SIZE })
    }

    /// The tables, to make them effective.
    pub fn tables(&self) -> &Tables<'static> {
        &self.tables
    }

    /// Maps `pages` pages of registers.
    ///
    /// # Errors
    /// [`SpaceError::NoRoom`] if the window is full.
    pub fn map(&mut self, pa: PhysAddr, pages: u64) -> Result<NonNull<u8>, SpaceError> {
        let va = self.next;
        let len = pages * PAGE_SIZE;
        if va + len > DEVICES + LARGE_PAGE {
            return Err(SpaceError::NoRoom);
        }
        self.tables.map(va, pa, len, MapFlags::READ | MapFlags::WRITE | MapFlags::DEVICE)?;
        self.next += len;
        barrier::dsb(barrier::ISHST);
        isb(barrier::SY);
        NonNull::new(va as *mut u8).ok_or(SpaceError::NoRoom)
    }

    /// Takes back the last page that was mapped.
    pub fn unmap_last(&mut self) {
        self.next -= PAGE_SIZE;
        self.tables.unmap(self.next);
        flush_page(VirtAddr(self.next));
    }
}

/// Cuts consecutive, aligned pieces off the unused end of the slice.
pub struct Pieces {
    next: u64,
    end: u64,
}

impl Pieces {
    /// Pieces of the link addresses `start..end`.
    ///
    /// # Safety
    /// Nothing else uses that memory, it is mapped read-write, and this is called once.
    pub unsafe fn new(start: u64, end: u64) -> Self {
        Self { next: start, end }
    }

    /// `count` tables, and their link address.
    pub fn tables(&mut self, count: usize) -> Option<(&'static mut [Table], u64)> {
        let start = self.take(size_of::<Table>() * count, PAGE_SIZE)?;
        // SAFETY: `take` gives this memory out once, aligned; `new` vouches for it; `MaybeUninit` holds any bytes.
        let room = unsafe { core::slice::from_raw_parts_mut(start as *mut MaybeUninit<Table>, count) };
        for table in room.iter_mut() {
            table.write(Table::EMPTY);
        }
        // SAFETY: every one was just written.
        let tables = unsafe { room.assume_init_mut() };
        Some((tables, start))
    }

    /// Room for one `T`.
    pub fn place<T>(&mut self) -> Option<&'static mut MaybeUninit<T>> {
        let at = self.take(size_of::<T>(), align_of::<T>() as u64)?;
        // SAFETY: `take` gives this memory out once, aligned for `T`; `MaybeUninit` holds any bytes.
        Some(unsafe { &mut *(at as *mut MaybeUninit<T>) })
    }

    fn take(&mut self, bytes: usize, align: u64) -> Option<u64> {
        let at = VirtAddr(self.next).align_up(align)?.0;
        let end = at.checked_add(bytes as u64).filter(|&end| end <= self.end)?;
        self.next = end;
        Some(at)
    }
}
