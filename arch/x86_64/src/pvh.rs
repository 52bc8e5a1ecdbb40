//! How a PVH loader describes the machine (Xen `docs/misc/pvh`, `hvm_start_info`), read from memory that is not
//! trusted to be well-formed: every table is copied out and its bounds are checked.

use skerry_hal::{PhysAddr, PhysRange};
use zerocopy::{FromBytes, FromZeros, Immutable, IntoBytes, KnownLayout};

/// First word of a start info.
const MAGIC: u32 = 0x336e_c578;
/// Memory map entries we look at; a firmware's map has a dozen.
pub const MAX_MAP: usize = 64;
/// `HVM_MEMMAP_TYPE_RAM`.
pub const RAM: u32 = 1;

#[derive(FromBytes, KnownLayout, Immutable)]
#[repr(C)]
struct Raw {
    magic: u32,
    version: u32,
    flags: u32,
    modules: u32,
    module_list: u64,
    cmdline: u64,
    rsdp: u64,
    memory_map: u64,
    memory_map_entries: u32,
    reserved: u32,
}

#[derive(FromBytes, KnownLayout, Immutable)]
#[repr(C)]
struct Module {
    base: u64,
    len: u64,
    cmdline: u64,
    reserved: u64,
}

/// One entry of the memory map.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct MapEntry {
    /// Where.
    pub range: PhysRange,
    /// [`RAM`], or an ACPI memory type.
    pub kind: u32,
    reserved: u32,
}

/// Physical memory as the reader can reach it: `len` bytes, or `None` if they are out of reach.
pub trait Memory<'a> {
    /// The bytes at `base`.
    fn bytes(&self, base: PhysAddr, len: u64) -> Option<&'a [u8]>;
}

/// What the loader told us.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StartInfo<'a> {
    /// Where the start info itself lies.
    pub at: PhysRange,
    /// The first module: the bundle.
    pub module: Option<PhysRange>,
    /// The command line, without its terminating zero.
    pub cmdline: &'a [u8],
    /// The ACPI root pointer; 0 if there is none.
    pub rsdp: PhysAddr,
    memory_map: [MapEntry; MAX_MAP],
    entries: usize,
}

skerry_hal::reasons! {
    /// What is wrong with a start info.
    pub enum Malformed {
        /// It lies where it cannot be read, or does not begin with the magic number.
        Start: "the loader left no start info",
        /// It has no memory map (version 0), or one that cannot be read.
        MemoryMap: "the start info has no memory map",
        /// The module list cannot be read.
        Modules: "the start info has a module list that cannot be read",
    }
}

impl<'a> StartInfo<'a> {
    /// Reads the start info at `at`.
    ///
    /// # Errors
    /// Names the part that cannot be read.
    pub fn read(memory: &impl Memory<'a>, at: PhysAddr) -> Result<Self, Malformed> {
        let bytes = memory.bytes(at, size_of::<Raw>() as u64).ok_or(Malformed::Start)?;
        let raw = Raw::read_from_bytes(bytes).map_err(|_| Malformed::Start)?;
        if raw.magic != MAGIC {
            return Err(Malformed::Start);
        }
        if raw.version < 1 || raw.memory_map_entries == 0 {
            return Err(Malformed::MemoryMap);
        }
        let entries = (raw.memory_map_entries as usize).min(MAX_MAP) * size_of::<MapEntry>();
        let entries = memory.bytes(PhysAddr(raw.memory_map), entries as u64).ok_or(Malformed::MemoryMap)?;
        let mut memory_map = [MapEntry::new_zeroed(); MAX_MAP];
        // Copied, as the loader promises no alignment.
        memory_map.as_mut_bytes().iter_mut().zip(entries).for_each(|(to, from)| *to = *from);
        let module = match raw.modules {
            0 => None,
            _ => {
                let list = memory.bytes(PhysAddr(raw.module_list), size_of::<Module>() as u64);
                let module = list.and_then(|bytes| Module::read_from_bytes(bytes).ok());
                let module = module.ok_or(Malformed::Modules)?;
                Some(PhysRange::new(PhysAddr(module.base), module.len))
            }
        };
        Ok(Self {
            at: PhysRange::new(at, size_of::<Raw>() as u64),
            module: module.filter(|m| m.len > 0),
            cmdline: text(memory, PhysAddr(raw.cmdline)),
            rsdp: PhysAddr(raw.rsdp),
            memory_map,
            entries: entries.len() / size_of::<MapEntry>(),
        })
    }

    /// The memory map.
    pub fn memory_map(&self) -> &[MapEntry] {
        self.memory_map.get(..self.entries).unwrap_or_default()
    }
}

/// The zero-terminated text at `at`, cut where it gets too long or runs out of reach.
fn text<'a>(memory: &impl Memory<'a>, at: PhysAddr) -> &'a [u8] {
    const LONGEST: u64 = 1024;
    if at.0 == 0 {
        return &[];
    }
    let Some(bytes) = memory.bytes(at, LONGEST) else { return &[] };
    bytes.split(|&b| b == 0).next().unwrap_or(&[])
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 64 KiB of physical memory from address 0.
    struct Ram([u8; 0x1_0000]);

    impl Ram {
        fn put(&mut self, at: usize, words: &[u64]) {
            for (index, word) in words.iter().enumerate() {
                self.0[at + index * 8..][..8].copy_from_slice(&word.to_le_bytes());
            }
        }
        fn sound() -> Self {
            let mut ram = Self([0; 0x1_0000]);
            ram.put(0x1000, &[1 << 32 | u64::from(MAGIC), 1 << 32, 0x2000, 0x3000, 0xf_5000, 0x4000, 2]);
            ram.put(0x2000, &[0x80_0000, 0x1234, 0, 0]);
            ram.0[0x3000..0x3009].copy_from_slice(b"island=1\0");
            ram.put(0x4000, &[0, 0x9_fc00, 1, 0x10_0000, 0xff0_0000, 1]);
            ram
        }
        fn read(&self) -> Result<StartInfo<'_>, Malformed> {
            StartInfo::read(&self, PhysAddr(0x1000))
        }
    }

    impl<'a> Memory<'a> for &'a Ram {
        fn bytes(&self, base: PhysAddr, len: u64) -> Option<&'a [u8]> {
            self.0.get(base.0 as usize..base.0.checked_add(len)? as usize)
        }
    }

    #[test]
    fn a_sound_start_info_is_read() {
        let ram = Ram::sound();
        let info = ram.read().unwrap();
        assert_eq!(info.cmdline, b"island=1");
        assert_eq!(info.module, Some(PhysRange::new(PhysAddr(0x80_0000), 0x1234)));
        assert_eq!(info.rsdp, PhysAddr(0xf_5000));
        let map: Vec<_> = info.memory_map().iter().map(|e| (e.range.base.0, e.range.len, e.kind)).collect();
        assert_eq!(map, [(0, 0x9_fc00, RAM), (0x10_0000, 0xff0_0000, RAM)]);
    }

    #[test]
    fn each_broken_part_is_named() {
        let broken = |at: usize, word: u64| {
            let mut ram = Ram::sound();
            ram.put(at, &[word]);
            ram.read().map(|_| ()).unwrap_err()
        };
        assert_eq!(broken(0x1000, 0), Malformed::Start);
        assert_eq!(broken(0x1000, u64::from(MAGIC)), Malformed::MemoryMap, "version 0 has no map");
        assert_eq!(broken(0x1028, 0xffff_ffff_ffff_fff0), Malformed::MemoryMap);
        assert_eq!(broken(0x1030, 0), Malformed::MemoryMap);
        assert_eq!(broken(0x1010, 0xffff_fff0), Malformed::Modules);
        assert_eq!(StartInfo::read(&&Ram::sound(), PhysAddr(!0)), Err(Malformed::Start));
    }

    #[test]
    fn absent_parts_are_no_error() {
        let mut ram = Ram::sound();
        ram.put(0x1008, &[0]);
        ram.put(0x1018, &[0xffff_0000]);
        let info = ram.read().unwrap();
        assert_eq!((info.module, info.cmdline), (None, &b""[..]));
    }
}
