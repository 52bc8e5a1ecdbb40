//! The little of ELF that loading a core's first domain needs: a static, position-independent executable's segments.
//! The domain relocates itself.

use skerry_hal::{Isa, MapFlags, PAGE_SIZE};
use zerocopy::{FromBytes, Immutable, KnownLayout};

skerry_hal::reasons! {
    /// Why an ELF file cannot be loaded.
    pub enum ElfError {
        /// Not an ELF file, or cut short.
        Malformed: "the first domain is not an ELF file, or cut short",
        /// For another ISA.
        WrongIsa: "the first domain is for another ISA",
        /// Not position-independent.
        NotPie: "the first domain is not position-independent",
        /// A segment is not aligned to a page, overlaps the one before it, lies beyond the limit, or is larger in the file
        /// than in memory.
        BadSegment: "the first domain has a segment that cannot be loaded",
        /// A segment is writable and executable.
        WriteExecute: "the first domain has a segment that is writable and executable",
    }
}

/// Largest image, in bytes.
pub const MAX_IMAGE: u64 = 64 << 20;

/// A file's first bytes (System V ABI, "ELF Header"; 64-bit, little-endian, as every core that reads it is).
#[derive(FromBytes, Immutable, KnownLayout)]
#[repr(C)]
struct Header {
    /// Magic number, class, byte order; the rest does not matter.
    ident: [u8; 6],
    _ident: [u8; 10],
    ty: u16,
    machine: u16,
    _version: u32,
    entry: u64,
    headers: u64,
    _sections: u64,
    _flags: u32,
    _size: u16,
    header_size: u16,
    header_count: u16,
    _rest: [u16; 3],
}

/// A program header ("Program Header").
#[derive(FromBytes, Immutable, KnownLayout)]
#[repr(C)]
struct ProgramHeader {
    ty: u32,
    flags: u32,
    offset: u64,
    vaddr: u64,
    _paddr: u64,
    file_len: u64,
    mem_len: u64,
    _align: u64,
}

const _: () = assert!(cfg!(target_endian = "little"));
const _: () = assert!(size_of::<Header>() == 64 && size_of::<ProgramHeader>() == 56);

/// `ELFCLASS64`, `ELFDATA2LSB`.
const IDENT: [u8; 6] = *b"\x7fELF\x02\x01";
/// `ET_DYN`.
const DYNAMIC: u16 = 3;
/// `EM_X86_64`.
const X86_64: u16 = 62;
/// `EM_AARCH64`.
const AARCH64: u16 = 183;
/// `PT_LOAD`.
const LOAD: u32 = 1;
/// `PF_X`.
const EXECUTE: u32 = 1;
/// `PF_W`.
const WRITE: u32 = 2;

/// A loadable segment: page-aligned in memory.
#[derive(Clone, Copy, Debug)]
pub struct Segment {
    /// Offset of its first page from the load address.
    pub start: u64,
    /// Pages, in bytes.
    pub len: u64,
    /// Where in the first page the file's bytes begin.
    pub skip: u64,
    /// Where in the file they are.
    pub offset: u64,
    /// How many; what follows them is zero.
    pub bytes: u64,
    /// How to map it.
    pub flags: MapFlags,
}

/// A parsed executable. (Not the crate `elf`: both classes, both byte orders and all tables cost more than the rest of
/// loading a program.)
pub struct Image<'a> {
    file: &'a [u8],
    header: Header,
}

impl<'a> Image<'a> {
    /// Checks the header.
    ///
    /// # Errors
    /// See [`ElfError`].
    pub fn parse(file: &'a [u8], isa: Isa) -> Result<Self, ElfError> {
        let Ok((header, _)) = Header::read_from_prefix(file) else { return Err(ElfError::Malformed) };
        if header.ident != IDENT || usize::from(header.header_size) != size_of::<ProgramHeader>() {
            return Err(ElfError::Malformed);
        }
        let machine = match isa {
            Isa::X86_64 => X86_64,
            Isa::Aarch64 => AARCH64,
            Isa::Host => header.machine,
        };
        if header.machine != machine {
            return Err(ElfError::WrongIsa);
        }
        if header.ty != DYNAMIC {
            return Err(ElfError::NotPie);
        }
        Ok(Self { file, header })
    }

    /// Offset of the entry point from the load address.
    pub const fn entry(&self) -> u64 {
        self.header.entry
    }

    /// How many segments it has, of any kind.
    pub const fn segments(&self) -> u64 {
        self.header.header_count as u64
    }

    /// Segment `n`, or `None` if nothing of it is loaded. `end` is where the loaded one before it ended, or 0.
    ///
    /// # Errors
    /// See [`ElfError`].
    pub fn segment(&self, n: u64, end: u64) -> Result<Option<Segment>, ElfError> {
        let at = self.header.headers.checked_add(n * size_of::<ProgramHeader>() as u64);
        let rest = at.and_then(|at| self.file.get(usize::try_from(at).ok()?..)).ok_or(ElfError::Malformed)?;
        let Ok((ph, _)) = ProgramHeader::read_from_prefix(rest) else { return Err(ElfError::Malformed) };
        if ph.ty != LOAD || ph.mem_len == 0 {
            return Ok(None);
        }
        let start = ph.vaddr & !(PAGE_SIZE - 1);
        let top =
            ph.vaddr.checked_add(ph.mem_len).filter(|&top| top <= MAX_IMAGE).ok_or(ElfError::BadSegment)?;
        if start < end || ph.file_len > ph.mem_len {
            return Err(ElfError::BadSegment);
        }
        if ph.offset.checked_add(ph.file_len).is_none_or(|end| end > self.file.len() as u64) {
            return Err(ElfError::Malformed);
        }
        let mut flags = MapFlags::READ | MapFlags::USER;
        flags.set(MapFlags::WRITE, ph.flags & WRITE != 0);
        flags.set(MapFlags::EXECUTE, ph.flags & EXECUTE != 0);
        if !flags.is_sound() {
            return Err(ElfError::WriteExecute);
        }
        Ok(Some(Segment {
            start,
            len: top.next_multiple_of(PAGE_SIZE) - start,
            skip: ph.vaddr - start,
            offset: ph.offset,
            bytes: ph.file_len,
            flags,
        }))
    }
}
