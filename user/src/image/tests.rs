use super::*;

/// An ELF file with the given program headers: (type, flags, offset, vaddr, filesz, memsz).
fn file(entry: u64, headers: &[(u32, u32, u64, u64, u64, u64)]) -> Vec<u8> {
    let mut out = Vec::new();
    out.extend_from_slice(&[0x7f, b'E', b'L', b'F', 2, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    out.extend_from_slice(&ET_DYN.to_le_bytes());
    out.extend_from_slice(&EM_X86_64.to_le_bytes());
    out.extend_from_slice(&1u32.to_le_bytes());
    out.extend_from_slice(&entry.to_le_bytes());
    out.extend_from_slice(&64u64.to_le_bytes());
    out.extend_from_slice(&0u64.to_le_bytes());
    out.extend_from_slice(&0u32.to_le_bytes());
    for half in [64u16, 56, headers.len() as u16, 64, 0, 0] {
        out.extend_from_slice(&half.to_le_bytes());
    }
    for (ty, flags, offset, vaddr, filesz, memsz) in headers {
        out.extend_from_slice(&ty.to_le_bytes());
        out.extend_from_slice(&flags.to_le_bytes());
        for word in [*offset, *vaddr, *vaddr, *filesz, *memsz, 4096] {
            out.extend_from_slice(&word.to_le_bytes());
        }
    }
    out.resize(0x3000, 0);
    out
}

const TEXT: (u32, u32, u64, u64, u64, u64) = (PT_LOAD, 5, 0, 0, 0x1800, 0x1800);
const DATA: (u32, u32, u64, u64, u64, u64) = (PT_LOAD, 6, 0x1800, 0x2800, 0x100, 0x5000);

#[test]
fn a_good_file_is_planned() {
    let plan = plan(&file(0x1000, &[TEXT, DATA]), Isa::X86_64).unwrap();
    assert_eq!(plan.entry, 0x1000);
    let rw = MapFlags::READ | MapFlags::WRITE | MapFlags::USER;
    let want = Segment { page: 0x2000, len: 0x6000, skip: 0x800, from: 0x1800, bytes: 0x100, flags: rw };
    assert_eq!(plan.segments[1], want);
}

#[test]
fn bad_files_are_named() {
    let bad = |entry, headers: &[_]| plan(&file(entry, headers), Isa::X86_64).unwrap_err();
    assert_eq!(bad(0x1000, &[]), Bad::Segments(0));
    assert_eq!(bad(0x2900, &[TEXT, DATA]), Bad::Entry);
    assert_eq!(bad(0x1000, &[(PT_LOAD, 7, 0, 0, 0x1800, 0x1800)]), Bad::WriteExecute(0));
    assert_eq!(bad(0x1000, &[TEXT, (PT_LOAD, 6, 0x1800, 0x1800, 1, 1)]), Bad::SharedPage(1));
    assert_eq!(bad(0x1000, &[DATA, TEXT]), Bad::Range(1));
    assert_eq!(bad(0x1000, &[TEXT, (PT_LOAD, 6, 0x2f00, 0x2f00, 0x101, 0x101)]), Bad::Range(1));
    assert_eq!(bad(0x1000, &[(PT_LOAD, 5, 0, 0, 0x1800, 0x1000)]), Bad::Range(0));
    assert_eq!(bad(0x1000, &[(PT_LOAD, 5, 0, u64::MAX - 1, 1, 0x1000)]), Bad::Range(0));
    assert_eq!(bad(0x1000, &[(PT_INTERP, 4, 0, 0, 8, 8), TEXT]), Bad::Interpreter);
    assert_eq!(bad(0x1000, &[(PT_LOAD, 5, u64::MAX, 0, 2, 0x1000)]), Bad::Range(0));
    assert_eq!(plan(&file(0x1000, &[TEXT]), Isa::Aarch64), Err(Bad::Machine(EM_X86_64)));
    let many: Vec<_> = (0..9).map(|n| (PT_LOAD, 4, 0, n << 12, 1, 1)).collect();
    assert_eq!(bad(0, &many), Bad::Segments(9));
}

#[test]
fn no_cut_and_no_flipped_byte_panics() {
    let good = file(0x1000, &[TEXT, DATA]);
    for len in 0..200 {
        assert!(plan(&good[..len], Isa::X86_64).is_err(), "{len}");
    }
    for at in 0..176 {
        for value in [0, 1, 0x7f, 0x80, 0xff] {
            let mut bytes = good.clone();
            bytes[at] = value;
            if let Ok(plan) = plan(&bytes, Isa::X86_64) {
                for segment in plan.segments {
                    assert!(segment.from + segment.bytes <= bytes.len());
                    assert!(segment.skip + segment.bytes as u64 <= segment.len);
                }
            }
        }
    }
}
