//! Addresses, and the layout of the address space, which both ISAs share.
//!
//! | from | to | what |
//! | --- | --- | --- |
//! | [`USER_START`] | [`USER_END`] | the running domain |
//! | [`PHYSMAP`] | + 64 TiB | the island's RAM, one to one, read-write, never executable |
//! | [`DEVICES`] | + 2 MiB | device registers the CPU driver itself uses |
//! | [`KERNEL`] | + [`SLICE`] | this core's CPU driver: its own copy, mapped with W^X |
//!
//! Every core maps its *own* slice of RAM at [`KERNEL`]: the CPU driver is linked once and needs no relocation,
//! and no core can name another's kernel data by its link address (rule `own-core-only`).

use core::fmt;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// Bytes in the smallest page. Both ISAs are used with a 4 KiB granule.
pub const PAGE_SIZE: u64 = 4096;
/// Bytes in a large page (one entry of a level-1 table).
pub const LARGE_PAGE: u64 = 2 << 20;
/// Lowest user address: what lies below is never mapped, so that null pointers fault.
pub const USER_START: u64 = 0x20_0000;
/// First address above user space.
pub const USER_END: u64 = 0x0000_7fff_ffff_f000;
/// Where the CPU driver sees physical memory: `PHYSMAP + physical address`.
pub const PHYSMAP: u64 = 0xffff_8000_0000_0000;
/// Where the CPU driver maps the device registers it uses itself, one page after another.
pub const DEVICES: u64 = 0xffff_ffff_4000_0000;
/// Where the CPU driver is linked.
pub const KERNEL: u64 = 0xffff_ffff_8000_0000;
/// Bytes of RAM, aligned to as much, that belong to one core's CPU driver: image, stack, page tables.
pub const SLICE: u64 = LARGE_PAGE;

macro_rules! address {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
        #[derive(FromBytes, IntoBytes, Immutable, KnownLayout)]
        #[repr(transparent)]
        pub struct $name(pub u64);

        impl $name {
            /// Whether the address is a multiple of `align`, a power of two.
            pub const fn is_aligned(self, align: u64) -> bool {
                self.0 & (align - 1) == 0
            }
            /// The nearest multiple of `align` at or below.
            pub const fn align_down(self, align: u64) -> Self {
                Self(self.0 & !(align - 1))
            }
            /// The nearest multiple of `align` at or above; `None` past the end of the address space.
            pub const fn align_up(self, align: u64) -> Option<Self> {
                match self.0.checked_add(align - 1) {
                    Some(sum) => Some(Self(sum & !(align - 1))),
                    None => None,
                }
            }
            /// `self + bytes`, unless that overflows.
            pub const fn checked_add(self, bytes: u64) -> Option<Self> {
                match self.0.checked_add(bytes) {
                    Some(sum) => Some(Self(sum)),
                    None => None,
                }
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{:#x}", self.0)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{:#x}", self.0)
            }
        }
    };
}

address! {
    /// A physical address on its own island.
    PhysAddr
}
address! {
    /// A virtual address.
    VirtAddr
}

/// A range of physical memory, in bytes.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct PhysRange {
    /// First byte.
    pub base: PhysAddr,
    /// Length in bytes.
    pub len: u64,
}

impl PhysRange {
    /// `len` bytes from `base`.
    pub const fn new(base: PhysAddr, len: u64) -> Self {
        Self { base, len }
    }
    /// The first address after the range; saturates.
    pub const fn end(self) -> PhysAddr {
        PhysAddr(self.base.0.saturating_add(self.len))
    }
    /// Whether `addr` lies inside.
    pub const fn contains(self, addr: PhysAddr) -> bool {
        addr.0 >= self.base.0 && addr.0 - self.base.0 < self.len
    }
    /// Whether the two ranges share a byte.
    pub const fn overlaps(self, other: Self) -> bool {
        self.base.0 < other.end().0 && other.base.0 < self.end().0
    }
}
