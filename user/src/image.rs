//! Checks a domain's ELF file and plans how to load it. Pure; the file is an allegation until checked.
//!
//! A domain is a static-PIE (`ET_DYN` without interpreter) that relocates itself, so loading is placing segments.

use alloc::vec::Vec;
use core::fmt;
use elf::ElfBytes;
use elf::abi::{EM_AARCH64, EM_X86_64, ET_DYN, PF_W, PF_X, PT_INTERP, PT_LOAD, PT_TLS};
use elf::endian::LittleEndian;
use skerry_abi::PAGE_SIZE;
use skerry_abi::domain::Tls;
use skerry_hal::{Isa, MapFlags};

/// Loadable segments that a file may have.
pub const MAX_SEGMENTS: usize = 8;
/// Bytes that all segments together may span.
pub const MAX_SPAN: u64 = 64 << 20;

/// One segment.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Segment {
    /// First page, relative to where the image is loaded.
    pub page: u64,
    /// Bytes, whole pages.
    pub len: u64,
    /// Where in those the file's bytes go.
    pub skip: u64,
    /// The file's bytes.
    pub from: usize,
    /// How many.
    pub bytes: usize,
    /// What the mapping allows.
    pub flags: MapFlags,
}

/// How to load a file.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Plan {
    /// Its segments, in order of their pages.
    pub segments: Vec<Segment>,
    /// Where it starts, relative to where it is loaded.
    pub entry: u64,
    /// The template of its thread-local storage, relative to where it is loaded.
    pub tls: Option<Tls>,
}

/// What is wrong with a file.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Bad {
    /// No ELF file, or cut short.
    NotElf,
    /// Not for this ISA.
    Machine(u16),
    /// Not position-independent.
    Type(u16),
    /// Wants a dynamic linker.
    Interpreter,
    /// More than [`MAX_SEGMENTS`], or none.
    Segments(usize),
    /// This segment lies outside the file, spans too much, or is not in order.
    Range(usize),
    /// This segment is writable and executable.
    WriteExecute(usize),
    /// This segment shares a page with the one before it.
    SharedPage(usize),
    /// The entry is in no executable segment.
    Entry,
    /// The template of thread-local storage lies outside the segments, or its alignment is none.
    Tls,
}

impl fmt::Display for Bad {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotElf => f.write_str("not an ELF file, or cut short"),
            Self::Machine(m) => write!(f, "built for machine {m}, not for this core"),
            Self::Type(t) => write!(f, "ELF type {t}, not position-independent"),
            Self::Interpreter => f.write_str("wants a dynamic linker"),
            Self::Segments(n) => write!(f, "{n} loadable segments, 1 to {MAX_SEGMENTS} are possible"),
            Self::Range(n) => write!(f, "segment {n} lies outside the file or the image"),
            Self::WriteExecute(n) => write!(f, "segment {n} is writable and executable"),
            Self::SharedPage(n) => write!(f, "segment {n} shares a page with another"),
            Self::Tls => f.write_str("its thread-local storage lies outside its segments"),
            Self::Entry => f.write_str("the entry is not in an executable segment"),
        }
    }
}

/// Plans to load `file` on a core of `isa`.
///
/// # Errors
/// [`Bad`], for any file that cannot be loaded.
pub fn plan(file: &[u8], isa: Isa) -> Result<Plan, Bad> {
    let elf = ElfBytes::<LittleEndian>::minimal_parse(file).map_err(|_| Bad::NotElf)?;
    let wanted = match isa {
        Isa::Aarch64 => EM_AARCH64,
        Isa::X86_64 | Isa::Host => EM_X86_64,
    };
    if elf.ehdr.e_machine != wanted {
        return Err(Bad::Machine(elf.ehdr.e_machine));
    }
    if elf.ehdr.e_type != ET_DYN {
        return Err(Bad::Type(elf.ehdr.e_type));
    }
    let headers = elf.segments().ok_or(Bad::NotElf)?;
    let mut segments: Vec<Segment> = Vec::new();
    let mut tls = None;
    for header in headers {
        if header.p_type == PT_INTERP {
            return Err(Bad::Interpreter);
        }
        if header.p_type == PT_TLS && header.p_memsz > 0 {
            let (addr, filled, len, align) =
                (header.p_vaddr, header.p_filesz, header.p_memsz, header.p_align.max(1));
            tls = Some(Tls { addr, filled, len, align });
        }
        if header.p_type != PT_LOAD || header.p_memsz == 0 {
            continue;
        }
        let number = segments.len();
        if number == MAX_SEGMENTS {
            return Err(Bad::Segments(number + 1));
        }
        let segment = segment(&header, file.len()).ok_or(Bad::Range(number))?;
        if !segment.flags.is_sound() {
            return Err(Bad::WriteExecute(number));
        }
        if let Some(last) = segments.last()
            && segment.page < last.page + last.len
        {
            return Err(if segment.page < last.page { Bad::Range(number) } else { Bad::SharedPage(number) });
        }
        segments.push(segment);
    }
    if segments.is_empty() {
        return Err(Bad::Segments(0));
    }
    let entry = elf.ehdr.e_entry;
    let runs = |s: &Segment| {
        s.flags.contains(MapFlags::EXECUTE) && entry >= s.page + s.skip && entry < s.page + s.len
    };
    if !segments.iter().any(runs) {
        return Err(Bad::Entry);
    }
    if let Some(Tls { addr, filled, len, align }) = tls {
        let holds =
            |s: &Segment| addr >= s.page && addr.checked_add(filled).is_some_and(|end| end <= s.page + s.len);
        let sound = filled <= len && len <= MAX_SPAN && align.is_power_of_two() && align <= PAGE_SIZE;
        if !sound || !segments.iter().any(holds) {
            return Err(Bad::Tls);
        }
    }
    Ok(Plan { segments, entry, tls })
}

fn segment(header: &elf::segment::ProgramHeader, file_len: usize) -> Option<Segment> {
    let end = header.p_vaddr.checked_add(header.p_memsz).filter(|end| *end <= MAX_SPAN)?;
    let file_end = header.p_offset.checked_add(header.p_filesz)?;
    if file_end > file_len as u64 || header.p_filesz > header.p_memsz {
        return None;
    }
    let page = header.p_vaddr & !(PAGE_SIZE - 1);
    let mut flags = MapFlags::READ | MapFlags::USER;
    flags.set(MapFlags::WRITE, header.p_flags & PF_W != 0);
    flags.set(MapFlags::EXECUTE, header.p_flags & PF_X != 0);
    Some(Segment {
        page,
        len: end.next_multiple_of(PAGE_SIZE) - page,
        skip: header.p_vaddr - page,
        from: header.p_offset as usize,
        bytes: header.p_filesz as usize,
        flags,
    })
}

#[cfg(test)]
mod tests;
