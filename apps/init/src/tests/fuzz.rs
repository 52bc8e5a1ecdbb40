//! Firmware that lies. Nothing here may panic or hang; the assertion is that the call comes back.
//!
//! A mutant's checksum is mended half of the time: otherwise few mutants would get past it.

use super::support::*;
use proptest::collection::vec;
use proptest::prelude::*;

/// One change to a piece of memory.
#[derive(Clone, Debug)]
enum Change {
    Byte(usize, u8),
    Word(usize, u32),
    Cut(usize),
    Copy(usize, usize, usize),
}

const WORDS: [u32; 12] = [0, 1, 2, 3, 4, 9, 0x10, 0xff, 0xffff, 0x7fff_ffff, 0x8000_0000, u32::MAX];

fn change() -> impl Strategy<Value = Change> {
    prop_oneof![
        4 => (any::<usize>(), any::<u8>()).prop_map(|(at, to)| Change::Byte(at, to)),
        4 => (any::<usize>(), 0..24usize, any::<u32>()).prop_map(|(at, pick, other)| {
            let word = WORDS.get(pick / 2).copied().unwrap_or(other);
            Change::Word(at, if pick % 2 == 0 { word } else { word.swap_bytes() })
        }),
        1 => any::<usize>().prop_map(Change::Cut),
        1 => (any::<usize>(), any::<usize>(), 0..64usize).prop_map(|(a, b, len)| Change::Copy(a, b, len)),
    ]
}

fn apply(change: &Change, bytes: &mut Vec<u8>) {
    let len = bytes.len().max(1);
    match *change {
        Change::Byte(at, to) => {
            if let Some(byte) = bytes.get_mut(at % len) {
                *byte = to;
            }
        }
        Change::Word(at, to) => {
            let at = at % len / 4 * 4;
            if let Some(word) = bytes.get_mut(at..at + 4) {
                word.copy_from_slice(&to.to_le_bytes());
            }
        }
        Change::Cut(at) => bytes.truncate(at % len),
        Change::Copy(from, to, count) => {
            let (from, to) = (from % len, to % len);
            let count = count.min(bytes.len() - from.max(to).min(bytes.len()));
            bytes.copy_within(from..from + count, to);
        }
    }
}

fn config(cases: u32) -> ProptestConfig {
    ProptestConfig { cases, failure_persistence: None, max_shrink_iters: 2000, ..Default::default() }
}

proptest! {
    #![proptest_config(config(6000))]

    #[test]
    fn acpi_tables_that_lie(
        plain in any::<bool>(),
        changes in vec((any::<usize>(), change()), 1..6),
        mend in any::<bool>(),
    ) {
        let (mut memory, rsdp) = Memory::from_dump(if plain { Q35_PLAIN } else { Q35_NUMA });
        for (piece, change) in &changes {
            let pieces = memory.0.len();
            let (_, bytes) = &mut memory.0[piece % pieces];
            apply(change, bytes);
            if mend && !bytes.starts_with(b"RSD PTR ") {
                fix_checksum(bytes);
            }
        }
        let _ = discover_acpi(&mut memory, rsdp);
    }

    #[test]
    fn acpi_tables_of_noise(bodies in vec(any::<Vec<u8>>(), 1..7), revision in 0..4u8) {
        let names = ["APIC", "SRAT", "SLIT", "MCFG", "SPCR", "HPET", "FACP"];
        let mut tables = vec![];
        for (name, body) in names.iter().zip(bodies) {
            let body = if *name == "APIC" { [&[0, 0, 0xe0, 0xfe, 0, 0, 0, 0], &local_apic(0)[..], &body].concat() } else { body };
            tables.push(table(name, revision, &body));
        }
        let (mut memory, rsdp) = machine(&tables);
        let _ = discover_acpi(&mut memory, rsdp);
    }
}

proptest! {
    #![proptest_config(config(3000))]

    #[test]
    fn a_tree_that_lies(gicv2 in any::<bool>(), changes in vec(change(), 1..6)) {
        let mut blob = if gicv2 { VIRT_GIC2 } else { VIRT_GIC3_NUMA }.to_vec();
        for change in &changes {
            apply(change, &mut blob);
        }
        let _ = discover_fdt(&blob);
    }

    /// Only property values change, so that what reads them is reached every time.
    #[test]
    fn a_tree_with_wild_values(
        gicv2 in any::<bool>(),
        changes in vec((any::<prop::sample::Index>(), any::<prop::sample::Index>(), 0..14usize), 1..8),
    ) {
        let mut blob = if gicv2 { VIRT_GIC2 } else { VIRT_GIC3_NUMA }.to_vec();
        let values = values(&blob);
        for (which, cell, pick) in changes {
            let (at, len) = values[which.index(values.len())];
            let at = at + cell.index(len / 4) * 4;
            let word = WORDS.get(pick).copied().unwrap_or(0x0200_0000);
            blob[at..at + 4].copy_from_slice(&word.to_be_bytes());
        }
        let _ = discover_fdt(&blob);
    }

    #[test]
    fn a_tree_of_noise(tokens in vec((0..8u32, any::<u8>()), 0..60)) {
        let mut tree = small();
        for (token, byte) in tokens {
            tree = match token {
                0 | 1 => tree.begin(["a", "cpus", "cpu@1", "memory@0", "chosen", "\u{7f}"][byte as usize % 6]),
                2 => tree.end(),
                3 => tree.cells(["reg", "ranges", "#size-cells", "#address-cells", "numa-node-id"][byte as usize % 5], &[byte.into(), 0]),
                4 => tree.text(["status", "compatible", "device_type"][byte as usize % 3], ["arm,gic-v3", "memory", "cpu", "arm,pl011"][byte as usize % 4]),
                _ => tree.token(byte.into()),
            };
        }
        let _ = discover_fdt(&tree.end().finish());
    }
}

/// Where the values of the tree's properties lie that are at least one cell long.
fn values(blob: &[u8]) -> Vec<(usize, usize)> {
    let word = |at: usize| u32::from_be_bytes(blob[at..at + 4].try_into().unwrap()) as usize;
    let (mut at, mut found) = (word(8), Vec::new());
    loop {
        match word(at) {
            1 => at += (4 + blob[at + 4..].iter().position(|&b| b == 0).unwrap() + 1).next_multiple_of(4),
            3 => {
                if word(at + 4) >= 4 {
                    found.push((at + 12, word(at + 4)));
                }
                at += 12 + word(at + 4).next_multiple_of(4);
            }
            9 => return found,
            _ => at += 4,
        }
    }
}

#[test]
fn acpi_tables_cut_at_every_byte() {
    let (memory, rsdp) = Memory::from_dump(Q35_NUMA);
    for piece in 0..memory.0.len() {
        for len in 0..memory.0[piece].1.len() {
            let mut cut = memory.clone();
            let signature = cut.0[piece].1[..4].to_vec();
            cut.0[piece].1.truncate(len);
            let result = discover_acpi(&mut cut, rsdp);
            // QEMU's WAET is listed but not read.
            assert!(result.is_err() || (signature == b"WAET" && len >= 4), "{signature:?} cut at {len}");
            // The same, but the table claims to be that short.
            if len >= 36 {
                let bytes = &mut cut.0[piece].1;
                bytes[4..8].copy_from_slice(&(len as u32).to_le_bytes());
                fix_checksum(bytes);
                let _ = discover_acpi(&mut cut, rsdp);
            }
        }
    }
}

#[test]
fn a_tree_cut_at_every_byte() {
    for len in 0..VIRT_GIC2.len() {
        assert!(discover_fdt(&VIRT_GIC2[..len]).is_err(), "cut at {len}");
        // The same, but the header claims that it is whole.
        let mut blob = VIRT_GIC2[..len].to_vec();
        if let Some(size) = blob.get_mut(4..8) {
            size.copy_from_slice(&(len as u32).to_be_bytes());
            assert!(discover_fdt(&blob).is_err(), "cut at {len}, and lying");
        }
    }
}

#[test]
fn every_byte_of_a_tree_flipped() {
    // Every third byte: as many bits of each field as of any other, in a third of the time.
    for at in (0..VIRT_GIC2.len()).step_by(3) {
        let mut blob = VIRT_GIC2.to_vec();
        blob[at] ^= 1 << (at % 8);
        let _ = discover_fdt(&blob);
    }
}
