//! What a new domain is told by whoever spawned it (for a core's first domain: the CPU driver), and where it finds the
//! capabilities it starts with.

use crate::{CPtr, CoreId};
use zerocopy::{FromBytes, FromZeros, Immutable, IntoBytes, KnownLayout};

/// Slots of the CNode at index 0 that mean the same in every domain. An absent capability leaves its slot empty.
pub mod slot {
    use crate::CPtr;
    /// The domain's own root CNode.
    pub const ROOT: CPtr = CPtr(1);
    /// Its root page table.
    pub const VSPACE: CPtr = CPtr(2);
    /// Its dispatcher.
    pub const DISPATCHER: CPtr = CPtr(3);
    /// The frame of its dispatcher page.
    pub const PAGE: CPtr = CPtr(4);
    /// The frame of its [`DomainInfo`](super::DomainInfo).
    pub const INFO: CPtr = CPtr(5);
    /// `Kernel`: for `init` and the monitor whole, for drivers and servers with `CONSOLE` alone, for programs without
    /// any right.
    pub const KERNEL: CPtr = CPtr(6);
    /// `Core`, all cores of the island.
    pub const CORES: CPtr = CPtr(7);
    /// `Irq`, all lines.
    pub const IRQS: CPtr = CPtr(8);
    /// `IoPort`, all ports.
    pub const PORTS: CPtr = CPtr(9);
    /// First slot that a spawner fills as it likes and lists in [`DomainInfo::caps`](super::DomainInfo::caps).
    pub const FIRST_FREE: CPtr = CPtr(16);
}

// A first domain's own tables, made by the CPU driver, hang under root entries 0 and 255. It maps more memory under the
// entries between, with tables of its own.

/// Where a first domain's [`DispatcherPage`](crate::dispatcher::DispatcherPage) is mapped.
pub const PAGE_VADDR: u64 = 0x7fff_ff00_0000;
/// Where the [`DomainInfo`] is mapped, read-only.
pub const INFO_VADDR: u64 = 0x7fff_ff00_1000;
/// Top of the first stack; 64 KiB below it are mapped, the page below those is not.
pub const STACK_TOP: u64 = 0x7fff_fe00_0000;
/// Bytes of the first stack.
pub const STACK_BYTES: u64 = 64 << 10;
/// Where a domain's ELF file is loaded; it is position-independent.
pub const IMAGE_VADDR: u64 = 0x40_0000;

/// What a listed capability is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u32)]
pub enum Purpose {
    /// Unused entry.
    None = 0,
    /// RAM to spend; `detail` is the NUMA node, where known.
    Ram = 1,
    /// Device registers.
    Device = 2,
    /// The bundle, a frame.
    Bundle = 3,
    /// Firmware tables, a device frame (ACPI) or frame; `detail` is a [`firmware`](crate::boot::firmware) kind, base the table's address.
    Firmware = 4,
    /// A channel's frame; `detail` names the peer (see the spawner).
    Channel = 5,
    /// A window's frame; `detail` is the link.
    Window = 6,
    /// An endpoint of the spawner or of a peer; `detail` says which.
    Endpoint = 7,
    /// A frame of fact records; `detail` is the bytes used.
    Facts = 8,
    /// An endpoint of the memory server.
    Memory = 9,
    /// The frame that a domain over several cores has on all of them; `detail` is how many.
    Common = 10,
}

/// One capability a domain starts with.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct ListedCap {
    /// Where it is.
    pub cptr: CPtr,
    /// A [`Purpose`].
    pub purpose: u32,
    /// First byte (or line, or port) of the object.
    pub base: u64,
    /// Its length.
    pub len: u64,
    /// See [`Purpose`].
    pub detail: u64,
}

/// Capabilities in a [`DomainInfo`].
pub const MAX_CAPS: usize = 64;
/// Bytes of argument text.
pub const MAX_ARGS: usize = 1024;
/// First word of a [`DomainInfo`]: "SKERINFO".
pub const MAGIC: u64 = u64::from_le_bytes(*b"SKERINFO");

/// Thread-local storage as a program's file describes it: what each thread gets a copy of.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Tls {
    /// Where the initialised part lies, in the domain's address space.
    pub addr: u64,
    /// Its bytes.
    pub filled: u64,
    /// Bytes of a thread's copy; those behind the initialised part are zero.
    pub len: u64,
    /// What its address must be a multiple of; a power of two.
    pub align: u64,
}

/// One page, mapped read-only in the domain.
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct DomainInfo {
    /// [`MAGIC`].
    pub magic: u64,
    /// The core it starts on.
    pub core: CoreId,
    /// Bytes used of `args`.
    pub args_len: u32,
    /// Ticks per second of the clock.
    pub frequency: u64,
    /// The ISA's word, as in [`CoreBoot::arch_word`](crate::boot::CoreBoot::arch_word).
    pub arch_word: u64,
    /// The core's name on its bus.
    pub hw_id: u64,
    /// The program's name, padded with zeros.
    pub name: [u8; 32],
    /// First CPtr the domain may use as it likes: all after it, in CNodes it attaches itself, and the rest of this one.
    pub first_free: CPtr,
    /// Bytes used of `args` behind `args_len`, for the environment.
    pub env_len: u32,
    /// The template of thread-local storage, in the image; no bytes if the program has none. A core's first domain is
    /// not told.
    pub tls: Tls,
    /// Argument words separated by spaces, UTF-8 (for a core's first domain the island's command line), then the words
    /// `KEY=VALUE` of the environment.
    pub args: [u8; MAX_ARGS],
    /// The capabilities it starts with, besides the well-known ones.
    pub caps: [ListedCap; MAX_CAPS],
}

const _: () = assert!(size_of::<DomainInfo>() <= 4096);

impl DomainInfo {
    /// An empty one for `core`.
    pub fn new(core: CoreId) -> Self {
        let mut info = Self::new_zeroed();
        info.magic = MAGIC;
        info.core = core;
        info
    }

    /// Lists a capability. Answers `false` if [`MAX_CAPS`] are listed.
    #[must_use]
    pub fn list(&mut self, purpose: Purpose, cptr: CPtr, base: u64, len: u64, detail: u64) -> bool {
        match self.caps.iter_mut().find(|c| c.purpose == Purpose::None as u32) {
            Some(entry) => {
                *entry = ListedCap { cptr, purpose: purpose as u32, base, len, detail };
                true
            }
            None => false,
        }
    }
}
