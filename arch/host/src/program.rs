//! The smallest program of this machine.

/// A position-independent executable of one page, which never runs: what a first domain is loaded from where only its
/// system calls matter.
pub fn executable() -> [u8; 0x2000] {
    let mut file = [0u8; 0x2000];
    let mut put = |at: usize, bytes: &[u8]| file[at..at + bytes.len()].copy_from_slice(bytes);
    put(0, b"\x7fELF\x02\x01\x01");
    put(16, &3u16.to_le_bytes());
    put(20, &1u32.to_le_bytes());
    for (at, value) in [(24, 0x1000u64), (32, 64), (72, 0x1000), (80, 0x1000), (88, 0x1000)] {
        put(at, &value.to_le_bytes());
    }
    for (at, value) in [(96, 0x800u64), (104, 0x800), (112, 4096)] {
        put(at, &value.to_le_bytes());
    }
    for (at, value) in [(52, 64u16), (54, 56), (56, 1), (58, 64)] {
        put(at, &value.to_le_bytes());
    }
    put(64, &1u32.to_le_bytes());
    put(68, &5u32.to_le_bytes());
    file
}
