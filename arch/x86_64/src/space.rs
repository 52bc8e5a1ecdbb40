//! The CPU driver's own page tables, made once at boot from the part of the core's slice that lies behind the image.
//!
//! The slice at [`KERNEL`] with each section's own rights (W^X), the core's RAM at [`PHYSMAP`] read-write and never
//! executable, device registers at [`DEVICES`]. The slice itself is not in [`PHYSMAP`]: no capability covers it, and
//! so nothing there can be reached by way of one.

use crate::X86Pages;
use core::mem::MaybeUninit;
use skerry_hal::addr::{DEVICES, KERNEL, LARGE_PAGE, PAGE_SIZE, PHYSMAP, SLICE};
use skerry_hal::paging::{ENTRIES, ROOT_LEVEL, index, span};
use skerry_hal::{MapFlags, PageFormat, PhysAddr, PhysRange, Pte};
use x86_64::structures::paging::PhysFrame;

unsafe extern "C" {
    static __image_start: u8;
    static __text_end: u8;
    static __rodata_start: u8;
    static __data_start: u8;
    static __stack_guard: u8;
    static __fatal_guard: u8;
    static __image_end: u8;
}

/// Memory of a slice that is not in use: from behind the image to the last page, which holds the `CoreBoot`.
#[derive(Debug)]
pub struct Pool {
    next: u64,
    end: u64,
}

/// The slice has no room left: the machine has more RAM than page tables in a slice can map.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OutOfSlice;

impl Pool {
    /// All that is free in this core's slice.
    ///
    /// # Safety
    /// Called once; nothing else uses that memory.
    pub unsafe fn new() -> Self {
        let image_end = (&raw const __image_end) as u64;
        Self { next: image_end.next_multiple_of(PAGE_SIZE), end: KERNEL + SLICE - PAGE_SIZE }
    }

    /// Takes room for a `T`, in whole pages, zeroed.
    ///
    /// # Errors
    /// If there is too little left.
    pub fn place<T>(&mut self) -> Result<&'static mut MaybeUninit<T>, OutOfSlice> {
        const { assert!(align_of::<T>() <= PAGE_SIZE as usize) };
        let bytes = (size_of::<T>() as u64).next_multiple_of(PAGE_SIZE);
        if self.end - self.next < bytes {
            return Err(OutOfSlice);
        }
        let at = self.next as *mut MaybeUninit<T>;
        self.next += bytes;
        // SAFETY: the pool owns this memory, which is mapped and aligned; it has `bytes`, at least one `T`.
        unsafe { at.cast::<u8>().write_bytes(0, bytes as usize) };
        // SAFETY: as above; the pool gives each address out once.
        Ok(unsafe { &mut *at })
    }
}

/// Tables under construction.
#[derive(Debug)]
pub struct Space {
    root: PhysAddr,
    slice: PhysAddr,
}

impl Space {
    /// Tables with the slice in them, and nothing else.
    ///
    /// # Errors
    /// If the pool is empty.
    pub fn new(slice: PhysAddr, pool: &mut Pool) -> Result<Self, OutOfSlice> {
        let mut space = Self { root: table(slice, pool)?, slice };
        let text = KERNEL..((&raw const __text_end) as u64).next_multiple_of(PAGE_SIZE);
        let rodata = (&raw const __rodata_start) as u64..(&raw const __data_start) as u64;
        let guards = [(&raw const __stack_guard) as u64, (&raw const __fatal_guard) as u64];
        debug_assert!(text.end <= rodata.start && (&raw const __image_start) as u64 == KERNEL);
        for va in (KERNEL..KERNEL + SLICE).step_by(PAGE_SIZE as usize) {
            let flags = match va {
                _ if guards.contains(&va) => continue,
                _ if text.contains(&va) => MapFlags::READ | MapFlags::EXECUTE,
                _ if rodata.contains(&va) => MapFlags::READ,
                _ => MapFlags::READ | MapFlags::WRITE,
            };
            space.map(va, PhysRange::new(PhysAddr(slice.0 + va - KERNEL), PAGE_SIZE), flags, pool)?;
        }
        Ok(space)
    }

    /// Maps RAM at [`PHYSMAP`]. The part in this core's own slice is left out.
    ///
    /// # Errors
    /// If the pool is used up.
    pub fn add_ram(&mut self, ram: PhysRange, pool: &mut Pool) -> Result<(), OutOfSlice> {
        let base = ram.base.align_down(PAGE_SIZE);
        let end = ram.end().0.next_multiple_of(PAGE_SIZE);
        let slice = PhysRange::new(self.slice, SLICE);
        for (from, to) in [(base.0, end.min(slice.base.0)), (base.0.max(slice.end().0), end)] {
            if from < to {
                let piece = PhysRange::new(PhysAddr(from), to - from);
                self.map(PHYSMAP + from, piece, MapFlags::READ | MapFlags::WRITE, pool)?;
            }
        }
        Ok(())
    }

    /// Maps one page of device registers, the `index`th at [`DEVICES`].
    ///
    /// # Errors
    /// If the pool is used up.
    pub fn add_device(&mut self, index: u64, pa: PhysAddr, pool: &mut Pool) -> Result<(), OutOfSlice> {
        let flags = MapFlags::READ | MapFlags::WRITE | MapFlags::DEVICE;
        self.map(DEVICES + index * PAGE_SIZE, PhysRange::new(pa, PAGE_SIZE), flags, pool)
    }

    /// Makes these tables effective and forgets the temporary ones. Answers their root.
    pub fn switch(self) -> PhysAddr {
        let (_, flags) = x86_64::registers::control::Cr3::read();
        let root = PhysFrame::containing_address(x86_64::PhysAddr::new(self.root.0));
        // SAFETY: the new tables map the running image, its stack and all else in the slice as the temporary ones do.
        unsafe { x86_64::registers::control::Cr3::write(root, flags) };
        self.root
    }

    /// Maps `range` at `va`, in large pages where it can.
    fn map(&mut self, va: u64, range: PhysRange, flags: MapFlags, pool: &mut Pool) -> Result<(), OutOfSlice> {
        let (mut done, start) = (0, va);
        'pages: while done < range.len {
            let (va, pa) = (start + done, range.base.0 + done);
            let large = (va | pa) & (LARGE_PAGE - 1) == 0 && range.len - done >= LARGE_PAGE;
            let leaf = u8::from(large);
            done += span(leaf);
            let mut at = self.root;
            for level in (leaf + 1..=ROOT_LEVEL).rev() {
                let entry = self.entry(at, index(va, level));
                // SAFETY: `entry` points into a table of ours.
                at = match X86Pages::decode(unsafe { entry.read() }, level) {
                    Pte::Table(next) => next,
                    // A large page is in the way only if two ranges overlap: the first one stays.
                    Pte::Page(..) => continue 'pages,
                    Pte::Empty => {
                        let next = table(self.slice, pool)?;
                        // SAFETY: as above.
                        unsafe { entry.write(X86Pages::table(next)) };
                        next
                    }
                };
            }
            let entry = self.entry(at, index(va, leaf));
            // SAFETY: as above.
            unsafe { entry.write(X86Pages::page(PhysAddr(pa), flags, leaf)) };
        }
        Ok(())
    }

    /// Where an entry of a table in the slice is.
    fn entry(&self, table: PhysAddr, index: usize) -> *mut u64 {
        debug_assert!(index < ENTRIES);
        in_slice(self.slice, table).cast::<u64>().wrapping_add(index)
    }
}

/// A fresh table.
fn table(slice: PhysAddr, pool: &mut Pool) -> Result<PhysAddr, OutOfSlice> {
    let table = pool.place::<[u64; ENTRIES]>()?;
    Ok(PhysAddr(slice.0 + table.as_ptr() as u64 - KERNEL))
}

/// Where an address in the core's own slice is seen.
pub fn in_slice(slice: PhysAddr, pa: PhysAddr) -> *mut u8 {
    (KERNEL + (pa.0 - slice.0)) as *mut u8
}
