//! How a page-table entry is spelt. Both ISAs, with a 4 KiB granule and 48-bit addresses, have one shape: four
//! levels of 512 eight-byte entries (Intel SDM vol. 3 §4.5; Arm ARM D8.2). Level 3 is the root, level 0 holds 4 KiB
//! pages; level 1 may also hold 2 MiB pages.

use crate::PhysAddr;
use bitflags::bitflags;

bitflags! {
    /// What a mapping allows. Write and execute together are refused (W^X).
    #[derive(Clone, Copy, PartialEq, Eq, Debug)]
    pub struct MapFlags: u8 {
        /// Loads. Always granted: neither ISA has a write-only page.
        const READ = 1;
        /// Stores.
        const WRITE = 2;
        /// Instruction fetch.
        const EXECUTE = 4;
        /// Reachable from user mode.
        const USER = 8;
        /// Device memory: uncached, unordered with nothing (x86 UC, ARM Device-nGnRE).
        const DEVICE = 16;
    }
}

impl MapFlags {
    /// Whether the combination is one a table may hold: readable, and not both writable and executable.
    pub const fn is_sound(self) -> bool {
        self.contains(Self::READ)
            && !(self.contains(Self::WRITE) && self.contains(Self::EXECUTE))
            && !(self.contains(Self::DEVICE) && self.contains(Self::EXECUTE))
    }
}

/// One decoded page-table entry.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Pte {
    /// Nothing is mapped.
    Empty,
    /// A table of the next lower level.
    Table(PhysAddr),
    /// A page of this level's size.
    Page(PhysAddr, MapFlags),
}

/// Entries in a table, at every level.
pub const ENTRIES: usize = 512;
/// Level of a root table.
pub const ROOT_LEVEL: u8 = 3;

/// The bits of an entry that are an address, at every level of either ISA.
pub const ADDRESS: u64 = 0x0000_ffff_ffff_f000;

/// An entry's bits from here on are software's on either ISA, four at least (Intel SDM vol. 3, table 4-20; Arm ARM D8.3.1):
/// what the capability that it was mapped with allows, the bits of [`MapFlags`] from [`MapFlags::WRITE`] on.
const ALLOWED: u32 = 55;

/// `flags` as an entry keeps them.
pub const fn allowing(flags: MapFlags) -> u64 {
    (flags.bits() as u64 >> 1 & 3) << ALLOWED
}

/// The flags that an entry keeps.
pub const fn allowed(entry: u64) -> MapFlags {
    MapFlags::from_bits_truncate((entry >> ALLOWED & 3) as u8 * MapFlags::WRITE.bits())
}

/// Bytes that one entry of a level-`level` table spans.
pub const fn span(level: u8) -> u64 {
    1 << (12 + 9 * level as u64)
}

/// The index into a level-`level` table for a virtual address.
pub const fn index(va: u64, level: u8) -> usize {
    (va >> (12 + 9 * level as u64)) as usize & (ENTRIES - 1)
}

/// The spelling of one ISA. Pure: no state, no hardware.
pub trait PageFormat {
    /// Entries of a root table that a user may fill: `0..USER_ROOT_ENTRIES`.
    const USER_ROOT_ENTRIES: usize = 256;
    /// An entry that points to a table one level down.
    fn table(next: PhysAddr) -> u64;
    /// An entry that maps a page (level 0) or a large page (level 1). Accessed and dirty bits are preset: no core
    /// ever writes into a table that another core owns.
    fn page(pa: PhysAddr, flags: MapFlags, level: u8) -> u64;
    /// Reads an entry of a level-`level` table back.
    fn decode(entry: u64, level: u8) -> Pte;
}
