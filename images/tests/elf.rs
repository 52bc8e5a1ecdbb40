//! Stripping, tried on a real file: this very test program, which has every kind of section.

use elf::ElfBytes;
use elf::abi::PT_LOAD;
use elf::endian::AnyEndian;
use skerry_images::elf::{strip, text_bytes};

fn this_program() -> Vec<u8> {
    std::fs::read(std::env::current_exe().unwrap()).unwrap()
}

/// Everything that is loaded: address and bytes; but for the one word of the file header that says where the section
/// headers are, which the linker may load as well.
fn loaded(file: &[u8]) -> Vec<(u64, Vec<u8>)> {
    let mut file = file.to_vec();
    let elf = ElfBytes::<AnyEndian>::minimal_parse(&file).unwrap();
    let loads = elf.segments().unwrap().iter().filter(|segment| segment.p_type == PT_LOAD);
    let places: Vec<(u64, usize, usize)> =
        loads.map(|load| (load.p_vaddr, load.p_offset as usize, load.p_filesz as usize)).collect();
    file[0x28..0x30].fill(0);
    places.into_iter().map(|(address, at, len)| (address, file[at..at + len].to_vec())).collect()
}

/// All symbols: name, value, and the number of the section they are in.
fn symbols(file: &[u8]) -> Vec<(String, u64, u16)> {
    let elf = ElfBytes::<AnyEndian>::minimal_parse(file).unwrap();
    let Some((table, names)) = elf.symbol_table().unwrap() else { return Vec::new() };
    let named =
        |s: elf::symbol::Symbol| (names.get(s.st_name as usize).unwrap().into(), s.st_value, s.st_shndx);
    table.iter().map(named).collect()
}

#[test]
fn what_is_loaded_and_the_symbols_stay() {
    let file = this_program();
    let stripped = strip(&file, true).unwrap();
    assert!(stripped.len() < file.len() * 3 / 4, "{} of {} bytes", stripped.len(), file.len());
    assert!(loaded(&stripped) == loaded(&file), "what is loaded differs");
    assert!(symbols(&file).len() > 100);
    assert!(symbols(&stripped) == symbols(&file), "symbols differ");
    assert_eq!(text_bytes(&stripped).unwrap(), text_bytes(&file).unwrap());
    let elf = ElfBytes::<AnyEndian>::minimal_parse(&stripped).unwrap();
    assert!(elf.section_header_by_name(".debug_info").unwrap().is_none());
}

#[test]
fn without_symbols_only_what_is_loaded_stays() {
    let file = this_program();
    let (with, without) = (strip(&file, true).unwrap(), strip(&file, false).unwrap());
    assert!(without.len() < with.len());
    assert!(loaded(&without) == loaded(&file), "what is loaded differs");
    assert_eq!(symbols(&without), []);
    assert_eq!(strip(&without, false).unwrap().len(), without.len(), "nothing is left to strip");
}

#[test]
fn what_is_cut_short_or_no_such_file_is_refused() {
    let file = this_program();
    for len in [0, 3, 63, 64, 500, file.len() / 2, file.len() - 1] {
        assert!(strip(&file[..len], true).is_err(), "{len} bytes");
    }
    let mut other = file.clone();
    other[4] = 1;
    assert!(strip(&other, true).is_err());
}

#[test]
fn it_is_a_program_still() {
    use std::os::unix::fs::PermissionsExt as _;
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("stripped");
    std::fs::write(&path, strip(&this_program(), true).unwrap()).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    let output = std::process::Command::new(&path).arg("--list").output().unwrap();
    assert!(String::from_utf8_lossy(&output.stdout).contains("it_is_a_program_still: test"));
}
