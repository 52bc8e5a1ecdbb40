//! The smallest program of this machine.

/// A first domain (`skerry_abi::boot::Program`) of one page, which never runs: what a CPU driver starts where only system calls
/// matter.
pub fn executable() -> [u8; 0x2000] {
    let mut file = [0u8; 0x2000];
    // Magic number, ISA, entry; the one segment: start, length, offset, bytes, flags to read and execute it.
    let words = [
        u64::from_le_bytes(*b"SKERPROG"),
        skerry_hal::Isa::Host as u64,
        0x1000,
        0x1000,
        0x1000,
        0x1000,
        0x800,
        5,
    ];
    for (place, word) in file.chunks_exact_mut(8).zip(words) {
        place.copy_from_slice(&word.to_le_bytes());
    }
    file
}
