//! What a new core's CPU driver is told. Boot glue fills it in for the first core of an island, the first core's
//! monitor for every other. It lies in the core's own slice.

use crate::{CoreId, HwId, PhysAddr, PhysRange};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// What a range of physical memory is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u32)]
pub enum RegionKind {
    /// Unused entry.
    None = 0,
    /// RAM for the first domain on this core.
    Ram = 1,
    /// Device registers; first core only.
    Device = 2,
    /// The bundle, which every core of the island may read.
    Bundle = 3,
    /// Firmware tables (ACPI, or a flattened device tree); first core only.
    Firmware = 4,
    /// Channel to the core that started this one; every other core.
    Channel = 5,
}

/// A range of physical memory and what it is.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Region {
    /// Where; page-aligned for all kinds but `Firmware`.
    pub range: PhysRange,
    /// A [`RegionKind`].
    pub kind: u32,
    /// NUMA node, where known; else 0.
    pub node: u32,
}

impl Region {
    /// The unused entry.
    pub const NONE: Self = Self { range: PhysRange::new(PhysAddr(0), 0), kind: 0, node: 0 };
}

/// How the firmware describes the machine.
pub mod firmware {
    /// It does not.
    pub const NONE: u32 = 0;
    /// ACPI; the address is that of the RSDP.
    pub const ACPI: u32 = 1;
    /// A flattened device tree; the address is that of its header.
    pub const FDT: u32 = 2;
}

/// Regions in a [`CoreBoot`].
pub const MAX_REGIONS: usize = 48;
/// Bytes of command line.
pub const MAX_CMDLINE: usize = 512;
/// First word of a [`CoreBoot`]: "SKERBOOT".
pub const MAGIC: u64 = u64::from_le_bytes(*b"SKERBOOT");
/// Version of this layout.
pub const VERSION: u32 = 1;

/// A part of a first domain that is mapped in one way, in whole pages.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Segment {
    /// Offset of its first page from the load address.
    pub start: u64,
    /// Its length; 0: unused.
    pub len: u64,
    /// Where its bytes are, counted from the beginning of the [`Program`].
    pub offset: u64,
    /// How many; what follows them is zero.
    pub bytes: u64,
    /// How it is mapped: [`MapFlags`](skerry_hal::MapFlags) bits.
    pub flags: u64,
}

/// Segments of a [`Program`] at most.
pub const MAX_SEGMENTS: usize = 8;
/// Largest first domain, in bytes of memory.
pub const MAX_IMAGE: u64 = 64 << 20;
/// First word of a [`Program`]: "SKERPROG".
pub const PROGRAM_MAGIC: u64 = u64::from_le_bytes(*b"SKERPROG");

/// The beginning of a core's first domain as the bundle has it: laid out by whoever packed it, so that a CPU driver reads no
/// executables. It relocates itself.
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Program {
    /// [`PROGRAM_MAGIC`].
    pub magic: u64,
    /// The [`Isa`](skerry_hal::Isa) that it is for.
    pub isa: u64,
    /// Offset of the entry point from the load address.
    pub entry: u64,
    /// What is mapped, in the order of addresses.
    pub segments: [Segment; MAX_SEGMENTS],
}

/// What a new core's CPU driver is told.
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct CoreBoot {
    /// [`MAGIC`].
    pub magic: u64,
    /// [`VERSION`].
    pub version: u32,
    /// Who this core is.
    pub core: CoreId,
    /// Its name on the bus.
    pub hw_id: HwId,
    /// The core's own slice; [`SLICE`](skerry_hal::addr::SLICE) bytes, aligned to as much.
    pub slice: PhysAddr,
    /// The first domain (`init` on an island's first core, `monitor` elsewhere), which a [`Program`] begins, in memory
    /// that only this core reads.
    pub first_domain: PhysRange,
    /// See [`firmware`].
    pub firmware_kind: u32,
    /// Bytes used of `cmdline`.
    pub cmdline_len: u32,
    /// See [`firmware`].
    pub firmware_addr: PhysAddr,
    /// Ticks per second of the clock if the starter measured it, else 0.
    pub frequency: u64,
    /// One word for the ISA's own code (x86: ticks of the local APIC timer per second; ARM: unused).
    pub arch_word: u64,
    /// The command line: `key=value` words separated by spaces, UTF-8.
    pub cmdline: [u8; MAX_CMDLINE],
    /// What physical memory is.
    pub regions: [Region; MAX_REGIONS],
}

const _: () = assert!(size_of::<CoreBoot>() <= 4096);

impl CoreBoot {
    /// The used part of the command line.
    pub fn cmdline(&self) -> &[u8] {
        self.cmdline.get(..self.cmdline_len as usize).unwrap_or(&self.cmdline)
    }

    /// Sets the command line, cut at [`MAX_CMDLINE`]. Answers whether all of it fitted.
    pub fn set_cmdline(&mut self, text: &[u8]) -> bool {
        let len = text.len().min(MAX_CMDLINE);
        self.cmdline[..len].copy_from_slice(&text[..len]);
        self.cmdline_len = len as u32;
        len == text.len()
    }

    /// Adds a region in the first unused entry. Answers `false` if there is none left.
    #[must_use]
    #[inline(never)]
    pub fn add(&mut self, kind: RegionKind, range: PhysRange, node: u32) -> bool {
        match self.regions.iter_mut().find(|r| r.kind == RegionKind::None as u32) {
            Some(entry) => {
                *entry = Region { range, kind: kind as u32, node };
                true
            }
            None => false,
        }
    }

    /// The regions of one kind.
    pub fn of_kind(&self, kind: RegionKind) -> impl Iterator<Item = &Region> {
        self.regions.iter().filter(move |r| r.kind == kind as u32)
    }
}
