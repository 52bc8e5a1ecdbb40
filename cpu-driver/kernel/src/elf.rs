//! The little of ELF that loading a core's first domain needs: a static, position-independent executable's segments.
//! The domain relocates itself.

use elf::abi::{EI_NIDENT, EM_AARCH64, EM_X86_64, ET_DYN, PF_W, PF_X, PT_LOAD};
use elf::endian::LittleEndian;
use elf::file::{Class, FileHeader, parse_ident};
use elf::parse::ParsingTable;
use elf::segment::ProgramHeader;
use skerry_hal::{Isa, MapFlags, PAGE_SIZE};

/// Why an ELF file cannot be loaded.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ElfError {
    /// Not an ELF file, or cut short.
    Malformed,
    /// For another ISA.
    WrongIsa,
    /// Not position-independent.
    NotPie,
    /// A segment is not aligned to a page, overlaps the one before it, lies beyond the limit, or is larger in the file
    /// than in memory.
    BadSegment,
    /// A segment is writable and executable.
    WriteExecute,
}

impl ElfError {
    /// One line for people.
    pub const fn text(self) -> &'static str {
        match self {
            Self::Malformed => "the first domain is not an ELF file, or cut short",
            Self::WrongIsa => "the first domain is for another ISA",
            Self::NotPie => "the first domain is not position-independent",
            Self::BadSegment => "the first domain has a segment that cannot be loaded",
            Self::WriteExecute => "the first domain has a segment that is writable and executable",
        }
    }
}

/// Largest image, in bytes.
pub const MAX_IMAGE: u64 = 64 << 20;

/// A loadable segment: page-aligned in memory.
#[derive(Clone, Copy, Debug)]
pub struct Segment<'a> {
    /// Offset of its first page from the load address.
    pub start: u64,
    /// Pages, in bytes.
    pub len: u64,
    /// Where in the first page the file's bytes begin.
    pub skip: u64,
    /// The file's bytes; what follows them is zero.
    pub bytes: &'a [u8],
    /// How to map it.
    pub flags: MapFlags,
}

/// Bytes of a 64-bit file's header behind the identification, and of one of its program headers.
const HEADER_TAIL: usize = 48;
const PROGRAM_HEADER: usize = 56;

/// A parsed executable. (Not the crate's `ElfBytes`, which looks at sections as well and doubles the code.)
pub struct Image<'a> {
    file: &'a [u8],
    entry: u64,
    headers: &'a [u8],
}

impl<'a> Image<'a> {
    /// Checks the headers.
    ///
    /// # Errors
    /// See [`ElfError`].
    pub fn parse(file: &'a [u8], isa: Isa) -> Result<Self, ElfError> {
        let (endian, class, ..) = parse_ident::<LittleEndian>(file).map_err(|_| ElfError::Malformed)?;
        if class != Class::ELF64 {
            return Err(ElfError::Malformed);
        }
        let tail = file.get(EI_NIDENT..EI_NIDENT + HEADER_TAIL).ok_or(ElfError::Malformed)?;
        let header = FileHeader::parse_tail((endian, Class::ELF64, 0, 0), tail);
        let header = header.map_err(|_| ElfError::Malformed)?;
        let machine = match isa {
            Isa::X86_64 => EM_X86_64,
            Isa::Aarch64 => EM_AARCH64,
            Isa::Host => header.e_machine,
        };
        if header.e_machine != machine {
            return Err(ElfError::WrongIsa);
        }
        if header.e_type != ET_DYN {
            return Err(ElfError::NotPie);
        }
        let headers = usize::try_from(header.e_phoff)
            .ok()
            .and_then(|from| file.get(from..)?.get(..usize::from(header.e_phnum) * PROGRAM_HEADER));
        let headers = headers.filter(|_| usize::from(header.e_phentsize) == PROGRAM_HEADER);
        Ok(Self { file, entry: header.e_entry, headers: headers.ok_or(ElfError::Malformed)? })
    }

    /// Offset of the entry point from the load address.
    pub const fn entry(&self) -> u64 {
        self.entry
    }

    /// Calls `f` with each loadable segment, in order of address.
    ///
    /// # Errors
    /// See [`ElfError`]; or what `f` answered.
    pub fn for_each<E: From<ElfError>>(
        &self,
        mut f: impl FnMut(Segment<'a>) -> Result<(), E>,
    ) -> Result<(), E> {
        let segments =
            ParsingTable::<LittleEndian, ProgramHeader>::new(LittleEndian, Class::ELF64, self.headers);
        let mut end = 0;
        for ph in segments.iter().filter(|ph| ph.p_type == PT_LOAD && ph.p_memsz > 0) {
            let start = ph.p_vaddr & !(PAGE_SIZE - 1);
            let top = ph.p_vaddr.checked_add(ph.p_memsz).filter(|&top| top <= MAX_IMAGE);
            let top =
                top.and_then(|top| top.checked_next_multiple_of(PAGE_SIZE)).ok_or(ElfError::BadSegment)?;
            if start < end || ph.p_filesz > ph.p_memsz {
                return Err(ElfError::BadSegment.into());
            }
            let mut flags = MapFlags::READ | MapFlags::USER;
            flags.set(MapFlags::WRITE, ph.p_flags & PF_W != 0);
            flags.set(MapFlags::EXECUTE, ph.p_flags & PF_X != 0);
            if !flags.is_sound() {
                return Err(ElfError::WriteExecute.into());
            }
            let bytes = usize::try_from(ph.p_offset)
                .ok()
                .and_then(|from| self.file.get(from..)?.get(..usize::try_from(ph.p_filesz).ok()?))
                .ok_or(ElfError::Malformed)?;
            f(Segment { start, len: top - start, skip: ph.p_vaddr - start, bytes, flags })?;
            end = top;
        }
        Ok(())
    }
}
