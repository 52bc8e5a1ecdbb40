//! The CPU driver's own address space: what `TTBR1_EL1` points to. Building it is pure (tables are values in a pool
//! that knows its physical address), so that W^X and the hole for the slice are tested on the host; only
//! `mmu` touches the machine.

use crate::paging::Pages;
use skerry_hal::addr::{DEVICES, KERNEL, PHYSMAP, SLICE};
use skerry_hal::paging::{ENTRIES, ROOT_LEVEL, index, span};
use skerry_hal::{MapFlags, PAGE_SIZE, PageFormat, PhysAddr, PhysRange, Pte};

/// One table.
#[repr(C, align(4096))]
pub struct Table([u64; ENTRIES]);

impl Table {
    /// A table that maps nothing.
    pub const EMPTY: Self = Self([0; ENTRIES]);
}

skerry_hal::reasons! {
    /// Why the address space could not be built.
    pub enum SpaceError {
        /// The slice has no room for another table.
        NoRoom: "the slice has no room for another page table",
        /// An address is not page-aligned, or a range wraps.
        Misaligned: "a range that is not page-aligned, or wraps",
        /// Something else is mapped there.
        InUse: "two ranges map the same address",
        /// The flags are not sound (W^X).
        WriteExecute: "a range that is writable and executable",
    }
}

/// Where the parts of the CPU driver's image lie, in bytes from the start of the slice. All page-aligned.
#[derive(Clone, Copy, Debug)]
pub struct Image {
    /// First byte after the text, which starts the slice.
    pub text_end: u64,
    /// First byte after the read-only data, which follows.
    pub rodata_end: u64,
    /// Pages that stay unmapped, below a stack each.
    pub guards: [u64; 2],
}

/// Page tables in a pool of consecutive physical pages, of which the first is the root.
pub struct Tables<'a> {
    pool: &'a mut [Table],
    base: PhysAddr,
    used: usize,
}

impl<'a> Tables<'a> {
    /// Tables in `pool`, which lies at physical address `base`.
    ///
    /// # Errors
    /// [`SpaceError::NoRoom`] if the pool is empty.
    pub fn new(pool: &'a mut [Table], base: PhysAddr) -> Result<Self, SpaceError> {
        let mut tables = Self { pool, base, used: 0 };
        tables.add()?;
        Ok(tables)
    }

    /// What a core runs in until its board has replaced it: the slice at `KERNEL`, the GiB of the slice and that of `arg` both
    /// one to one and at `PHYSMAP`, all to be written and executed, and the console as the first page of `DEVICES`.
    ///
    /// # Errors
    /// See [`SpaceError`].
    pub fn early(
        pool: &'a mut [Table],
        base: PhysAddr,
        slice: PhysAddr,
        arg: PhysAddr,
        console: PhysAddr,
    ) -> Result<Self, SpaceError> {
        const GIB: u64 = span(2);
        let data = MapFlags::READ | MapFlags::WRITE;
        if !slice.is_aligned(SLICE) {
            return Err(SpaceError::Misaligned);
        }
        let mut tables = Self::new(pool, base)?;
        for at in [slice, arg].map(|at| at.align_down(GIB).0) {
            tables.map_one(at, at, GIB, data | MapFlags::EXECUTE)?;
            tables.map_one(PHYSMAP + at, at, GIB, data | MapFlags::EXECUTE)?;
        }
        tables.map_one(KERNEL, slice.0, SLICE, data | MapFlags::EXECUTE)?;
        tables.map(DEVICES, console, PAGE_SIZE, data | MapFlags::DEVICE)?;
        Ok(tables)
    }

    /// The CPU driver's space: its image with W^X from `slice`, and `memory` at `PHYSMAP`, without the slice.
    ///
    /// # Errors
    /// See [`SpaceError`].
    pub fn kernel(
        pool: &'a mut [Table],
        base: PhysAddr,
        slice: PhysAddr,
        image: &Image,
        memory: impl Iterator<Item = PhysRange>,
    ) -> Result<Self, SpaceError> {
        let mut tables = Self::new(pool, base)?;
        for offset in (0..SLICE).step_by(PAGE_SIZE as usize) {
            let flags = match offset {
                _ if offset < image.text_end => MapFlags::READ | MapFlags::EXECUTE,
                _ if offset < image.rodata_end => MapFlags::READ,
                _ if image.guards.contains(&offset) => continue,
                _ => MapFlags::READ | MapFlags::WRITE,
            };
            tables.map(KERNEL + offset, PhysAddr(slice.0 + offset), PAGE_SIZE, flags)?;
        }
        for range in memory {
            // Whole pages: a firmware table's last page may hold other things, RAM as well.
            let start = range.base.align_down(PAGE_SIZE).0;
            let end = range.end().align_up(PAGE_SIZE).ok_or(SpaceError::Misaligned)?.0;
            tables.map_physical(start, end.min(slice.0))?;
            tables.map_physical(start.max(slice.0 + SLICE), end)?;
        }
        Ok(tables)
    }

    /// Where the root lies.
    pub fn root(&self) -> PhysAddr {
        self.base
    }

    /// Tables in use.
    pub fn used(&self) -> usize {
        self.used
    }

    /// Maps `len` bytes with the largest blocks that fit. What maps the same memory already is left as it is.
    ///
    /// # Errors
    /// See [`SpaceError`].
    pub fn map(&mut self, va: u64, pa: PhysAddr, len: u64, flags: MapFlags) -> Result<(), SpaceError> {
        if !flags.is_sound() {
            return Err(SpaceError::WriteExecute);
        }
        if (va | pa.0 | len) & (PAGE_SIZE - 1) != 0 {
            return Err(SpaceError::Misaligned);
        }
        let mut done = 0;
        while done < len {
            done += self.map_one(va + done, pa.0 + done, len - done, flags)?;
        }
        Ok(())
    }

    /// Takes a page out of the space again. The caller forgets the translation.
    pub fn unmap(&mut self, va: u64) {
        let mut table = 0;
        for level in (1..=ROOT_LEVEL).rev() {
            match self.child(table, va, level) {
                Some(child) => table = child,
                None => return,
            }
        }
        if let Some(table) = self.pool.get_mut(table) {
            table.0[index(va, 0)] = 0;
        }
    }

    fn map_physical(&mut self, start: u64, end: u64) -> Result<(), SpaceError> {
        let len = end.saturating_sub(start);
        self.map(PHYSMAP + start, PhysAddr(start), len, MapFlags::READ | MapFlags::WRITE)
    }

    /// Maps one page or block, answers its size.
    fn map_one(&mut self, va: u64, pa: u64, len: u64, flags: MapFlags) -> Result<u64, SpaceError> {
        let mut table = 0;
        for level in (0..=ROOT_LEVEL).rev() {
            let size = span(level);
            let entry = &mut self.pool.get_mut(table).ok_or(SpaceError::NoRoom)?.0[index(va, level)];
            let fits = level < ROOT_LEVEL && (va | pa) & (size - 1) == 0 && len >= size;
            match Pages::decode(*entry, level) {
                Pte::Empty if fits => {
                    *entry = Pages::page(PhysAddr(pa), flags, level);
                    return Ok(size);
                }
                Pte::Empty => {
                    // The next one is the first that is not in use.
                    *entry = Pages::table(PhysAddr(self.base.0 + self.used as u64 * PAGE_SIZE));
                    table = self.add()?;
                }
                Pte::Table(_) => table = self.child(table, va, level).ok_or(SpaceError::InUse)?,
                Pte::Page(at, old) => {
                    let within = va & (size - 1);
                    let same = at.0 + within == pa && old == flags;
                    return if same { Ok((size - within).min(len)) } else { Err(SpaceError::InUse) };
                }
            }
        }
        Err(SpaceError::InUse)
    }

    fn child(&self, table: usize, va: u64, level: u8) -> Option<usize> {
        match Pages::decode(self.pool.get(table)?.0[index(va, level)], level) {
            Pte::Table(at) => Some(((at.0 - self.base.0) / PAGE_SIZE) as usize),
            _ => None,
        }
    }

    fn add(&mut self) -> Result<usize, SpaceError> {
        let table = self.used;
        self.pool.get_mut(table).ok_or(SpaceError::NoRoom)?.0.fill(0);
        self.used += 1;
        Ok(table)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SLICE_AT: PhysAddr = PhysAddr(0x4020_0000);
    const POOL_AT: PhysAddr = PhysAddr(0x4028_0000);
    const IMAGE: Image = Image { text_end: 0x9000, rodata_end: 0xc000, guards: [0xe000, 0x1_8000] };
    const RAM: PhysRange = PhysRange::new(PhysAddr(0x4000_0000), 0x1000_0000);

    fn pool(n: usize) -> Vec<Table> {
        (0..n).map(|_| Table::EMPTY).collect()
    }

    /// What the hardware would find.
    fn walk(tables: &Tables<'_>, va: u64) -> Option<(u64, MapFlags)> {
        let mut table = 0;
        for level in (0..=ROOT_LEVEL).rev() {
            match Pages::decode(tables.pool[table].0[index(va, level)], level) {
                Pte::Empty => return None,
                Pte::Page(at, flags) => return Some((at.0 + (va & (span(level) - 1)), flags)),
                Pte::Table(_) => table = tables.child(table, va, level)?,
            }
        }
        None
    }

    #[test]
    fn early_tables_map_what_boot_code_touches() {
        const GIB: u64 = 1 << 30;
        let (console, all) = (PhysAddr(0x0900_0000), MapFlags::READ | MapFlags::WRITE | MapFlags::EXECUTE);
        // The tree beside the slice, in a GiB of its own, and in other 512 GiB.
        for arg in [0x4800_0000, 0xc000_0000, 600 * GIB] {
            let mut pool = pool(9);
            let tables = Tables::early(&mut pool, POOL_AT, SLICE_AT, PhysAddr(arg), console).unwrap();
            for pa in [SLICE_AT.0, SLICE_AT.0 + SLICE - 1, GIB, 2 * GIB - 1, arg] {
                assert_eq!(walk(&tables, pa), Some((pa, all)), "one to one, {pa:#x}");
                assert_eq!(walk(&tables, PHYSMAP + pa), Some((pa, all)), "{pa:#x}");
            }
            assert_eq!(walk(&tables, KERNEL + 0x1234), Some((SLICE_AT.0 + 0x1234, all)));
            assert_eq!(walk(&tables, KERNEL + SLICE), None);
            let device = MapFlags::READ | MapFlags::WRITE | MapFlags::DEVICE;
            assert_eq!(walk(&tables, DEVICES), Some((console.0, device)));
            assert_eq!(walk(&tables, DEVICES + PAGE_SIZE), None);
        }
        let misplaced = PhysAddr(SLICE_AT.0 + PAGE_SIZE);
        let mut pool = pool(9);
        let made = Tables::early(&mut pool, POOL_AT, misplaced, SLICE_AT, console);
        assert_eq!(made.err(), Some(SpaceError::Misaligned));
    }

    #[test]
    fn the_image_is_mapped_with_w_xor_x() {
        let mut pool = pool(16);
        let tables = Tables::kernel(&mut pool, POOL_AT, SLICE_AT, &IMAGE, [RAM].into_iter()).unwrap();
        for offset in (0..SLICE).step_by(0x1000) {
            let found = walk(&tables, KERNEL + offset);
            if IMAGE.guards.contains(&offset) {
                assert_eq!(found, None, "guard");
                continue;
            }
            let (pa, flags) = found.unwrap();
            assert_eq!(pa, SLICE_AT.0 + offset);
            assert!(!flags.contains(MapFlags::USER));
            assert_eq!(flags.contains(MapFlags::EXECUTE), offset < IMAGE.text_end);
            assert_eq!(flags.contains(MapFlags::WRITE), offset >= IMAGE.rodata_end);
        }
    }

    #[test]
    fn memory_is_mapped_one_to_one_except_the_slice_and_never_executable() {
        let mut pool = pool(16);
        let tables = Tables::kernel(&mut pool, POOL_AT, SLICE_AT, &IMAGE, [RAM].into_iter()).unwrap();
        for pa in (RAM.base.0..RAM.end().0).step_by(0x1000) {
            let found = walk(&tables, PHYSMAP + pa);
            if PhysRange::new(SLICE_AT, SLICE).contains(PhysAddr(pa)) {
                assert_eq!(found, None, "slice {pa:#x}");
            } else {
                assert_eq!(found, Some((pa, MapFlags::READ | MapFlags::WRITE)));
            }
        }
        assert_eq!(walk(&tables, PHYSMAP + RAM.end().0), None);
        assert_eq!(walk(&tables, PHYSMAP + RAM.base.0 - 0x1000), None);
    }

    #[test]
    fn a_range_listed_twice_is_mapped_once_and_ragged_ends_are_mapped_whole() {
        let mut pool = pool(16);
        let ranges =
            [RAM, PhysRange::new(PhysAddr(0x4800_0123), 0x456), PhysRange::new(PhysAddr(0x5000_0ff0), 0x20)];
        let tables = Tables::kernel(&mut pool, POOL_AT, SLICE_AT, &IMAGE, ranges.into_iter()).unwrap();
        assert!(walk(&tables, PHYSMAP + 0x4800_0000).is_some());
        assert!(walk(&tables, PHYSMAP + 0x5000_0000).is_some());
        assert!(walk(&tables, PHYSMAP + 0x5000_1000).is_some());
        assert_eq!(walk(&tables, PHYSMAP + 0x5000_2000), None);
    }

    #[test]
    fn a_large_memory_costs_few_tables() {
        let mut pool = pool(16);
        let ranges = [PhysRange::new(PhysAddr(0x4000_0000), 255 << 30)];
        let tables = Tables::kernel(&mut pool, POOL_AT, SLICE_AT, &IMAGE, ranges.into_iter()).unwrap();
        assert!(tables.used() < 10, "{}", tables.used());
        assert!(walk(&tables, PHYSMAP + (200 << 30)).is_some());
    }

    #[test]
    fn a_full_pool_and_a_clash_are_errors() {
        let mut small = pool(3);
        let built = Tables::kernel(&mut small, POOL_AT, SLICE_AT, &IMAGE, [RAM].into_iter());
        assert_eq!(built.err(), Some(SpaceError::NoRoom));
        assert_eq!(Tables::new(&mut [], POOL_AT).err(), Some(SpaceError::NoRoom));

        let mut pool = pool(16);
        let mut tables = Tables::new(&mut pool, POOL_AT).unwrap();
        let rw = MapFlags::READ | MapFlags::WRITE;
        assert_eq!(tables.map(KERNEL, SLICE_AT, PAGE_SIZE, rw), Ok(()));
        assert_eq!(tables.map(KERNEL, SLICE_AT, PAGE_SIZE, rw), Ok(()));
        assert_eq!(tables.map(KERNEL, SLICE_AT, PAGE_SIZE, MapFlags::READ), Err(SpaceError::InUse));
        assert_eq!(tables.map(KERNEL, POOL_AT, PAGE_SIZE, rw), Err(SpaceError::InUse));
        assert_eq!(tables.map(KERNEL, SLICE_AT, 12, rw), Err(SpaceError::Misaligned));
        assert_eq!(tables.map(KERNEL, SLICE_AT, 0, rw | MapFlags::EXECUTE), Err(SpaceError::WriteExecute));
        tables.unmap(KERNEL);
        assert_eq!(walk(&tables, KERNEL), None);
    }
}
