//! Facts about a linked file, and the part of it that is needed to run it.

use crate::error::{Error, Result};
use elf::ElfBytes;
use elf::abi::{ELFCLASS64, ELFDATA2LSB, SHF_ALLOC, SHT_NOBITS, SHT_NULL, SHT_STRTAB, SHT_SYMTAB};
use elf::endian::AnyEndian;
use elf::section::SectionHeader;

/// Where a 64-bit file header says at which offset the section headers are (ELF-64 Object File Format, figure 2).
const E_SHOFF: usize = 0x28;
/// Bytes of a section header, and where its offset in the file stands (figure 4).
const SECTION: usize = 64;
const SH_OFFSET: usize = 0x18;

/// Bytes in the section `.text`.
///
/// # Errors
/// It is no ELF file, or has no such section.
pub fn text_bytes(file: &[u8]) -> Result<u64> {
    let bad = |cause: String| Error::Image(cause);
    let elf = ElfBytes::<AnyEndian>::minimal_parse(file).map_err(|cause| bad(cause.to_string()))?;
    let header = elf.section_header_by_name(".text").map_err(|cause| bad(cause.to_string()))?;
    Ok(header.ok_or_else(|| bad("no section .text".into()))?.sh_size)
}

/// The file without what only a debugger reads. What is loaded keeps its place, so does every section's number; the
/// sections that are dropped become empty ones, and what is kept of the others moves up. With `symbols` the symbol table
/// is kept.
///
/// # Errors
/// It is no 64-bit little-endian ELF file with section headers, or it is cut short.
pub fn strip(file: &[u8], symbols: bool) -> Result<Vec<u8>> {
    let bad = |cause: &str| Error::Image(cause.to_string());
    let elf = ElfBytes::<AnyEndian>::minimal_parse(file).map_err(|cause| bad(&cause.to_string()))?;
    let ident = (file.get(4), file.get(5));
    if ident != (Some(&ELFCLASS64), Some(&ELFDATA2LSB)) {
        return Err(bad("no 64-bit little-endian ELF file"));
    }
    let headers: Vec<SectionHeader> =
        elf.section_headers().map(|table| table.iter().collect()).unwrap_or_default();
    let first = usize::try_from(elf.ehdr.e_shoff).map_err(|_| bad("section headers lie outside the file"))?;
    let table = file
        .get(first..)
        .and_then(|rest| rest.get(..headers.len() * SECTION))
        .filter(|table| !table.is_empty())
        .ok_or_else(|| bad("no section headers"))?;
    let names = usize::from(elf.ehdr.e_shstrndx);
    let strings =
        |index: usize| headers.iter().any(|h| h.sh_type == SHT_SYMTAB && h.sh_link as usize == index);

    let loaded = elf.segments().into_iter().flat_map(|table| table.iter());
    let end = loaded.map(|segment| segment.p_offset.saturating_add(segment.p_filesz)).max().unwrap_or(0);
    let after_headers = elf.ehdr.e_phoff + u64::from(elf.ehdr.e_phnum) * u64::from(elf.ehdr.e_phentsize);
    let kept = usize::try_from(end.max(after_headers)).ok().and_then(|end| file.get(..end));
    let mut out = kept.ok_or_else(|| bad("cut short"))?.to_vec();

    let mut table = table.to_vec();
    for (index, (header, raw)) in headers.iter().zip(table.chunks_exact_mut(SECTION)).enumerate() {
        let of_symbols = header.sh_type == SHT_SYMTAB || header.sh_type == SHT_STRTAB && strings(index);
        if header.sh_flags & u64::from(SHF_ALLOC) != 0 || header.sh_type == SHT_NULL {
            continue;
        }
        if header.sh_type == SHT_NOBITS || !(index == names || symbols && of_symbols) {
            raw.fill(0);
            continue;
        }
        let range = usize::try_from(header.sh_offset).ok().zip(usize::try_from(header.sh_size).ok());
        let data = range.and_then(|(at, len)| file.get(at..)?.get(..len));
        align(&mut out);
        raw[SH_OFFSET..SH_OFFSET + 8].copy_from_slice(&(out.len() as u64).to_le_bytes());
        out.extend_from_slice(data.ok_or_else(|| bad("a section lies outside the file"))?);
    }
    align(&mut out);
    let at = (out.len() as u64).to_le_bytes();
    out.extend_from_slice(&table);
    out[E_SHOFF..E_SHOFF + 8].copy_from_slice(&at);
    Ok(out)
}

/// Pads to what the widest structure in a file needs.
fn align(out: &mut Vec<u8>) {
    out.resize(out.len().next_multiple_of(8), 0);
}
