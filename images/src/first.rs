//! A core's first domain, laid out for its CPU driver, which reads no executables: a [`Program`], then the pages of its
//! segments.

use crate::error::{Error, Result};
use elf::ElfBytes;
use elf::abi::{EM_AARCH64, EM_X86_64, ET_DYN, PF_R, PF_W, PF_X, PT_LOAD};
use elf::endian::AnyEndian;
use elf::segment::ProgramHeader;
use skerry_abi::boot::{MAX_IMAGE, PROGRAM_MAGIC, Program, Segment};
use skerry_hal::{Isa, MapFlags, PAGE_SIZE};
use zerocopy::{FromZeros, IntoBytes};

/// Lays out a static, position-independent executable.
///
/// # Errors
/// It is none for one of our ISAs, or has a segment that cannot be loaded: writable and executable, overlapping the page of
/// another, cut off, or too large; or too many of them.
pub fn lay_out(file: &[u8]) -> Result<Vec<u8>> {
    let bad = |cause: &str| Error::First(cause.to_string());
    let elf = ElfBytes::<AnyEndian>::minimal_parse(file).map_err(|cause| bad(&cause.to_string()))?;
    let mut program = Program::new_zeroed();
    program.magic = PROGRAM_MAGIC;
    program.isa = match elf.ehdr.e_machine {
        EM_X86_64 => Isa::X86_64,
        EM_AARCH64 => Isa::Aarch64,
        _ => return Err(bad("it is for another machine")),
    } as u64;
    if elf.ehdr.e_type != ET_DYN {
        return Err(bad("it is not position-independent"));
    }
    program.entry = elf.ehdr.e_entry;
    let mut out = vec![0; PAGE_SIZE as usize];
    let (mut places, mut end) = (program.segments.iter_mut(), 0);
    let headers = elf.segments().into_iter().flat_map(|table| table.iter());
    for header in headers.filter(|header| header.p_type == PT_LOAD && header.p_memsz != 0) {
        let (segment, bytes) = segment(file, &header, end).map_err(bad)?;
        let place = places.next().ok_or_else(|| bad("it has too many segments"))?;
        *place = Segment { offset: out.len() as u64, ..segment };
        end = segment.start + segment.len;
        out.extend_from_slice(&bytes);
        out.resize(out.len().next_multiple_of(PAGE_SIZE as usize), 0);
    }
    out[..size_of::<Program>()].copy_from_slice(program.as_bytes());
    Ok(out)
}

/// What is mapped for a program header, behind `end`, and the bytes it begins with.
fn segment(
    file: &[u8],
    header: &ProgramHeader,
    end: u64,
) -> core::result::Result<(Segment, Vec<u8>), &'static str> {
    let top = header
        .p_vaddr
        .checked_add(header.p_memsz)
        .filter(|top| *top <= MAX_IMAGE)
        .ok_or("a segment is too large")?;
    let start = header.p_vaddr - header.p_vaddr % PAGE_SIZE;
    if start < end || header.p_filesz > header.p_memsz {
        return Err("a segment overlaps another, or is longer in the file than in memory");
    }
    let range = usize::try_from(header.p_offset).ok().zip(usize::try_from(header.p_filesz).ok());
    let content = range.and_then(|(at, len)| file.get(at..)?.get(..len)).ok_or("a segment is cut off")?;
    let mut bytes = vec![0; (header.p_vaddr - start) as usize];
    bytes.extend_from_slice(content);
    let mut flags = MapFlags::empty();
    for (bit, flag) in [(PF_R, MapFlags::READ), (PF_W, MapFlags::WRITE), (PF_X, MapFlags::EXECUTE)] {
        flags.set(flag, header.p_flags & bit != 0);
    }
    if !flags.is_sound() {
        return Err("a segment is writable and executable, or not readable");
    }
    let len = (top - start).next_multiple_of(PAGE_SIZE);
    Ok((Segment { start, len, offset: 0, bytes: bytes.len() as u64, flags: flags.bits().into() }, bytes))
}
