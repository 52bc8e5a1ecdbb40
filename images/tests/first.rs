//! Laying out a first domain, tried on a real file: this very test program.

use elf::ElfBytes;
use elf::abi::PT_LOAD;
use elf::endian::AnyEndian;
use skerry_abi::boot::{PROGRAM_MAGIC, Program};
use skerry_hal::{Isa, MapFlags, PAGE_SIZE};
use skerry_images::elf::strip;
use skerry_images::first::lay_out;
use zerocopy::FromBytes;

fn this_program() -> Vec<u8> {
    strip(&std::fs::read(std::env::current_exe().unwrap()).unwrap(), false).unwrap()
}

/// Where the first program header is, and the bytes of one.
const HEADERS: usize = 64;
const HEADER: usize = 56;

fn first_load(file: &[u8]) -> usize {
    let elf = ElfBytes::<AnyEndian>::minimal_parse(file).unwrap();
    let n = elf.segments().unwrap().iter().position(|header| header.p_type == PT_LOAD).unwrap();
    HEADERS + n * HEADER
}

#[test]
fn every_byte_that_is_loaded_lies_where_it_is_mapped() {
    let file = this_program();
    let out = lay_out(&file).unwrap();
    let (program, _) = Program::read_from_prefix(&out).unwrap();
    let elf = ElfBytes::<AnyEndian>::minimal_parse(&file).unwrap();
    let isa = if std::env::consts::ARCH == Isa::X86_64.name() { Isa::X86_64 } else { Isa::Aarch64 };
    assert_eq!((program.magic, program.isa, program.entry), (PROGRAM_MAGIC, isa as u64, elf.ehdr.e_entry));
    let loads = elf.segments().unwrap().iter().filter(|header| header.p_type == PT_LOAD);
    let mut segments = program.segments.iter();
    for load in loads {
        let segment = segments.next().unwrap();
        let skip = load.p_vaddr - segment.start;
        assert!((segment.start | segment.len | segment.offset).is_multiple_of(PAGE_SIZE) && skip < PAGE_SIZE);
        assert_eq!(segment.len, (skip + load.p_memsz).next_multiple_of(PAGE_SIZE));
        assert_eq!(segment.bytes, skip + load.p_filesz);
        let bytes = &out[segment.offset as usize..][..segment.bytes as usize];
        assert!(bytes[..skip as usize].iter().all(|byte| *byte == 0));
        let content = &file[load.p_offset as usize..][..load.p_filesz as usize];
        assert!(&bytes[skip as usize..] == content, "{:#x}", load.p_vaddr);
        let flags = MapFlags::from_bits(segment.flags as u8).unwrap();
        assert_eq!(flags.contains(MapFlags::EXECUTE), load.p_flags & 1 != 0);
        assert_eq!(flags.contains(MapFlags::WRITE), load.p_flags & 2 != 0);
    }
    assert!(segments.all(|segment| segment.len == 0));
}

#[test]
fn what_a_cpu_driver_would_not_load_is_refused_with_its_reason() {
    let (file, load) = (this_program(), first_load(&this_program()));
    let refused = |at: usize, bytes: &[u8]| {
        let mut bad = file.clone();
        bad[at..at + bytes.len()].copy_from_slice(bytes);
        lay_out(&bad).unwrap_err().to_string()
    };
    assert!(refused(18, &[8, 0]).ends_with("it is for another machine"));
    assert!(refused(16, &[2, 0]).ends_with("it is not position-independent"));
    assert!(refused(load + 4, &[7]).contains("writable and executable"));
    assert!(refused(load + 8, &[0xff; 8]).ends_with("a segment is cut off"));
    assert!(refused(load + 40, &[0xff; 8]).ends_with("a segment is too large"));
    assert!(refused(load + 40, &[1, 0, 0, 0, 0, 0, 0, 0]).contains("longer in the file than in memory"));
    assert!(refused(0, &[0]).starts_with("cannot lay out a core's first domain"));
}
