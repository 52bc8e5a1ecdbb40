//! Facts about a linked file.

use crate::error::{Error, Result};
use elf::ElfBytes;
use elf::endian::AnyEndian;

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
