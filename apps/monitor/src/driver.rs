//! The CPU driver's ELF file: linked at [`KERNEL`], copied to a slice.

use alloc::vec::Vec;
use elf::ElfBytes;
use elf::abi::PT_LOAD;
use elf::endian::LittleEndian;
use skerry_hal::addr::{KERNEL, SLICE};

/// The symbol at which every core but the first enters.
pub const ENTRY: &str = "skerry_secondary";

/// A piece of the file, and where it goes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Part {
    /// Offset in the slice.
    pub to: u64,
    /// Offset in the file.
    pub from: usize,
    /// Bytes.
    pub len: usize,
}

/// How to copy a CPU driver.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Plan {
    /// Its pieces; all else in the slice is zero.
    pub parts: Vec<Part>,
    /// Offset of the entry in the slice.
    pub entry: u64,
}

/// Plans to copy `file`; `None` if it is no CPU driver, or does not fit into a slice.
pub fn plan(file: &[u8]) -> Option<Plan> {
    let elf = ElfBytes::<LittleEndian>::minimal_parse(file).ok()?;
    let mut parts = Vec::new();
    for header in elf.segments()?.iter().filter(|header| header.p_type == PT_LOAD && header.p_filesz > 0) {
        let to = header.p_vaddr.checked_sub(KERNEL)?;
        to.checked_add(header.p_filesz).filter(|end| *end <= SLICE)?;
        header.p_offset.checked_add(header.p_filesz).filter(|end| *end <= file.len() as u64)?;
        parts.push(Part { to, from: header.p_offset as usize, len: header.p_filesz as usize });
    }
    let (symbols, names) = elf.symbol_table().ok()??;
    let found =
        symbols.iter().find(|symbol| names.get(symbol.st_name as usize).is_ok_and(|name| name == ENTRY))?;
    let entry = found.st_value.checked_sub(KERNEL).filter(|offset| *offset < SLICE)?;
    Some(Plan { parts, entry })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_cpu_driver_is_refused() {
        assert_eq!(plan(b""), None);
        assert_eq!(plan(&[0x7f; 4096]), None);
        // This test itself is an ELF file, linked elsewhere.
        let own = std::env::current_exe().and_then(std::fs::read).unwrap();
        assert_eq!(plan(&own), None);
    }
}
