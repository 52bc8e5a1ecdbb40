//! The arm64 `Image` format: the ELF file's memory, flat, behind a 64-byte header (Linux,
//! `Documentation/arch/arm64/booting.rst`). QEMU's `-kernel`, U-Boot and the Raspberry Pi's firmware all start it, and
//! only for an `Image` does QEMU pass a device tree in `x0`.

use crate::error::{Error, Result};
use elf::ElfBytes;
use elf::abi::{EM_AARCH64, PT_LOAD};
use elf::endian::LittleEndian;
use elf::segment::ProgramHeader;

/// Bytes of the header.
const HEADER: usize = 64;
/// "ARM\x64".
const MAGIC: u32 = 0x644d_5241;
/// Kernel flags: little-endian (bit 0 = 0), 4 KiB pages (bits 1–2 = 1), anywhere in memory (bit 3 = 1).
const FLAGS: u64 = 1 << 1 | 1 << 3;
/// Load addresses are multiples of this.
const ALIGN: u64 = 2 << 20;

/// Makes the `Image` of the CPU driver in `file`.
///
/// Physical address 0 of the link, rounded down to 2 MiB, is the image's start; the first 64 bytes must be left free
/// by the linker script (or hold a header already).
///
/// # Errors
/// `file` is no ELF file for AArch64, has nothing to load, or leaves no room for the header.
pub fn from_elf(file: &[u8]) -> Result<Vec<u8>> {
    let bad = |what: &str| Error::Image(what.to_string());
    let elf =
        ElfBytes::<LittleEndian>::minimal_parse(file).map_err(|cause| Error::Image(cause.to_string()))?;
    if elf.ehdr.e_machine != EM_AARCH64 {
        return Err(bad("the ELF file is for another machine than AArch64"));
    }
    let loads: Vec<ProgramHeader> = elf
        .segments()
        .into_iter()
        .flat_map(|table| table.iter())
        .filter(|segment| segment.p_type == PT_LOAD && segment.p_memsz > 0)
        .collect();
    let lowest =
        loads.iter().map(|s| s.p_paddr).min().ok_or_else(|| bad("the ELF file has nothing to load"))?;
    let base = lowest & !(ALIGN - 1);
    let end = loads.iter().filter_map(|s| s.p_paddr.checked_add(s.p_memsz)).max().unwrap_or(0);
    if loads.len() > 16 || end - base > 64 << 20 {
        return Err(bad("the segments' physical addresses are scattered: link them within one slice"));
    }

    let mut image = Vec::new();
    for segment in &loads {
        let data = elf.segment_data(segment).map_err(|cause| Error::Image(cause.to_string()))?;
        let start = (segment.p_paddr - base) as usize;
        if image.len() < start + data.len() {
            image.resize(start + data.len(), 0);
        }
        image[start..start + data.len()].copy_from_slice(data);
    }
    if image.len() < HEADER {
        return Err(bad("the ELF file holds no code"));
    }
    if image[56..60] == MAGIC.to_le_bytes() {
        return Ok(image);
    }
    if image[..HEADER].iter().any(|&byte| byte != 0) {
        return Err(bad(
            "the first 64 bytes are taken: the linker script must leave them free for the header",
        ));
    }
    let entry =
        entry_offset(elf.ehdr.e_entry, &loads, base).ok_or_else(|| bad("the entry lies in no segment"))?;
    image[..HEADER].copy_from_slice(&header(entry, (end - base).next_multiple_of(ALIGN)));
    Ok(image)
}

/// Where the entry is, from the image's start; `e_entry` may be a virtual or a physical address.
fn entry_offset(entry: u64, loads: &[ProgramHeader], base: u64) -> Option<u64> {
    loads.iter().find_map(|s| {
        let inside = |start: u64| entry.checked_sub(start).filter(|&offset| offset < s.p_memsz);
        Some(inside(s.p_vaddr).or_else(|| inside(s.p_paddr))? + s.p_paddr - base)
    })
}

fn header(entry: u64, size: u64) -> [u8; HEADER] {
    let mut header = [0; HEADER];
    let mut put = |at: usize, bytes: &[u8]| header[at..at + bytes.len()].copy_from_slice(bytes);
    // code0: `b entry` (Arm ARM C6.2.26: imm26 counts words).
    put(0, &(0x1400_0000 | (entry as u32 >> 2 & 0x03ff_ffff)).to_le_bytes());
    // text_offset (8) stays 0: the image may lie at the very start of its 2 MiB.
    put(16, &size.to_le_bytes());
    put(24, &FLAGS.to_le_bytes());
    put(56, &MAGIC.to_le_bytes());
    header
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An ELF file with one segment of `code` at `paddr`, linked at `vaddr`.
    fn elf(machine: u16, vaddr: u64, paddr: u64, entry: u64, code: &[u8]) -> Vec<u8> {
        let mut file = vec![0x7f, b'E', b'L', b'F', 2, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        file.extend(2_u16.to_le_bytes());
        file.extend(machine.to_le_bytes());
        file.extend(1_u32.to_le_bytes());
        for word in [entry, 64, 0] {
            file.extend(word.to_le_bytes());
        }
        file.extend(0_u32.to_le_bytes());
        for half in [64_u16, 56, 1, 64, 0, 0] {
            file.extend(half.to_le_bytes());
        }
        file.extend(PT_LOAD.to_le_bytes());
        file.extend(5_u32.to_le_bytes());
        for word in [120, vaddr, paddr, code.len() as u64, code.len() as u64 + 0x1000, 0x1000] {
            file.extend(word.to_le_bytes());
        }
        file.extend(code);
        file
    }

    const KERNEL: u64 = 0xffff_ffff_8000_0000;

    #[test]
    fn header_branches_to_the_entry_and_the_code_follows() {
        let code = [0xaa; 256];
        let image = from_elf(&elf(EM_AARCH64, KERNEL + 64, 64, KERNEL + 64 + 16, &code)).unwrap();
        assert_eq!(image.len(), 64 + code.len());
        assert_eq!(image[..4], (0x1400_0000_u32 + (64 + 16) / 4).to_le_bytes());
        assert_eq!(image[16..24], ALIGN.to_le_bytes());
        assert_eq!(image[56..60], *b"ARM\x64");
        assert_eq!(image[64..], code);
    }

    #[test]
    fn physical_entry_and_load_address_above_zero() {
        let image =
            from_elf(&elf(EM_AARCH64, KERNEL + 4096, ALIGN + 4096, ALIGN + 4096 + 8, &[1; 64])).unwrap();
        assert_eq!(image[..4], (0x1400_0000_u32 + (4096 + 8) / 4).to_le_bytes());
    }

    #[test]
    fn refuses_what_it_cannot_start() {
        let message = |file: &[u8]| from_elf(file).unwrap_err().to_string();
        assert!(message(b"hello").contains("arm64 Image"));
        assert!(message(&elf(62, KERNEL, 0, KERNEL, &[1; 64])).contains("another machine"));
        assert!(message(&elf(EM_AARCH64, KERNEL, 0, KERNEL, &[1; 64])).contains("first 64 bytes"));
        assert!(message(&elf(EM_AARCH64, KERNEL + 64, 64, 0, &[1; 64])).contains("entry"));
        let whole = elf(EM_AARCH64, KERNEL + 64, 64, KERNEL + 64, &[1; 64]);
        for cut in 0..whole.len() {
            assert!(from_elf(&whole[..cut]).is_err(), "{cut} bytes");
        }
    }
}
