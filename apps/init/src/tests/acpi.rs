use super::support::*;
use crate::{DiscoverError, Problem, TableError};
use skerry_hal::{HwId, IslandId, PhysAddr, PhysRange};
use skerry_skb::*;

const fn range(base: u64, len: u64) -> PhysRange {
    PhysRange::new(PhysAddr(base), len)
}

#[test]
fn qemus_pc_with_two_nodes() {
    let (mut memory, rsdp) = Memory::from_dump(Q35_NUMA);
    let store = discover_acpi(&mut memory, rsdp).unwrap();
    let view = store.island(IslandId(1));
    let cores: Vec<_> = view.cores().iter().map(|c| (c.local, c.hw.0, c.enabled, c.node)).collect();
    assert_eq!(cores, [(0, 0, true, 0), (1, 1, true, 0), (2, 2, true, 1), (3, 3, true, 1)]);
    let near: Vec<_> = view.ram_of(0).collect();
    assert_eq!(near, [range(0, 0xa_0000), range(0x10_0000, 0x3f0_0000)]);
    assert_eq!(view.ram_of(1).collect::<Vec<_>>(), [range(0x400_0000, 0x400_0000)]);
    assert_eq!(view.distance(0, 1), Some(21));
    assert_eq!(view.distance(1, 1), Some(10));
    let host = PciHost { segment: 0, ecam: range(0xb000_0000, 256 << 20), first_bus: 0, last_bus: 255 };
    assert_eq!(view.pci_hosts().collect::<Vec<_>>(), [host]);
    let controller: Vec<_> = view.all::<InterruptController>().collect();
    let apic = range(0xfee0_0000, 0x1000);
    assert_eq!(
        controller,
        [InterruptController { kind: ControllerKind::Apic, base: apic, cores: range(0, 0) }]
    );
    let io: Vec<_> = view.all::<IoApic>().collect();
    assert_eq!(io, [IoApic { id: 0, base: PhysAddr(0xfec0_0000), first_line: 0 }]);
    assert_eq!(view.legacy_line(0), (2, Trigger::EdgeHigh));
    assert_eq!(view.legacy_line(9), (9, Trigger::LevelHigh));
    assert_eq!(view.legacy_line(4), (4, Trigger::EdgeHigh));
    let timers: Vec<_> = view.all::<Timer>().map(|t| (t.kind, t.base, t.frequency)).collect();
    let hpet = (TimerKind::Hpet, range(0xfed0_0000, 0x400), 0);
    assert_eq!(timers, [hpet, (TimerKind::AcpiPm, range(0x608, 4), 3_579_545)]);
}

#[test]
fn a_pc_without_nodes_is_one_node_and_without_spcr_has_an_asserted_console() {
    let (mut memory, rsdp) = Memory::from_dump(Q35_PLAIN);
    let store = discover_acpi(&mut memory, rsdp).unwrap();
    let view = store.island(IslandId(1));
    assert_eq!((view.cores().len(), view.nodes(), view.distance(0, 0)), (1, vec![0], None));
    let console = view.console().unwrap();
    assert_eq!((console.base, console.line), (range(0x3f8, 8), Some(4)));
    let record = store.iter().find(|record| record.fact == console.into()).unwrap();
    assert_eq!(record.origin.source, Source::Asserted);
}

#[test]
fn long_core_names_and_place_holders() {
    let x2apic =
        |id: u32, flags: u8| [&[9, 16, 0, 0], &id.to_le_bytes()[..], &[flags, 0, 0, 0, 0, 0, 0, 0]].concat();
    let place_holder = [0, 8, 7, 0xff, 0, 0, 0, 0];
    let entries = [
        &local_apic(0)[..],
        &place_holder,
        &x2apic(0, 1),
        &x2apic(0x1234, 1),
        &x2apic(300, 2),
        &[0x42, 3, 0],
    ];
    // A core of node 0x01000002, which a revision-1 SRAT would spell 2.
    let near = [2, 24, 0, 0, 2, 0, 0, 1, 0x34, 0x12, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    for (revision, node) in [(1, 2), (2, 0x0100_0002)] {
        let srat = table("SRAT", revision, &[&[0; 12], &near[..]].concat());
        let (mut memory, rsdp) = machine(&[madt(&entries), srat]);
        let store = discover_acpi(&mut memory, rsdp).unwrap();
        let cores: Vec<_> =
            store.island(IslandId(1)).cores().iter().map(|c| (c.hw, c.enabled, c.node)).collect();
        assert_eq!(cores, [(HwId(0), true, 0), (HwId(0x1234), true, node), (HwId(300), false, 0)]);
    }
}

#[test]
fn a_console_that_the_firmware_names() {
    let body = |interface: u8, space: u8, base: u64| {
        let mut body = vec![interface, 0, 0, 0, space, 8, 0, 1];
        body.extend(base.to_le_bytes());
        body.extend([3, 5, 44, 0, 0, 0]);
        body.resize(44, 0);
        table("SPCR", 2, &body)
    };
    let console = |spcr| {
        let (mut memory, rsdp) = machine(&[madt(&[&local_apic(0)]), spcr]);
        discover_acpi(&mut memory, rsdp).map(|store| store.island(IslandId(1)).console())
    };
    let uart = |kind, base| Ok(Some(Console { kind, base, line: Some(44) }));
    assert_eq!(console(body(0, 1, 0x2f8)), uart(ConsoleKind::Uart16550Port, range(0x2f8, 8)));
    assert_eq!(console(body(0x12, 0, 0xfe00)), uart(ConsoleKind::Uart16550Memory, range(0xfe00, 8)));
    assert_eq!(console(body(3, 0, 0x900_0000)), uart(ConsoleKind::Pl011, range(0x900_0000, 0x1000)));
    assert_eq!(console(body(9, 0, 0x900_0000)), Ok(None));
    assert_eq!(console(body(0, 1, 0)), Ok(None));
    let bad = |field, value| Err(TableError::new("SPCR", field, Problem::Value(value)).into());
    assert_eq!(console(body(0, 7, 0x2f8)), bad("base.space", 7));
    assert_eq!(console(body(0, 1, 0xfffc)), bad("base.address", 0xfffc));
    assert_eq!(console(body(3, 0, u64::MAX - 1)), bad("base.address", u64::MAX - 1));
}

/// Each wrong machine, and the table and field that must be named.
#[test]
fn an_error_names_table_and_field() {
    let good = madt(&[&local_apic(0)]);
    let with = |table: Vec<u8>| machine(&[good.clone(), table]);
    let only = |entries: &[&[u8]]| machine(&[madt(entries)]);
    let mut cut = good.clone();
    cut.truncate(43);
    let mut flipped = good.clone();
    flipped[40] ^= 1;
    let mut long = good.clone();
    long[4..8].copy_from_slice(&0x7fff_ffffu32.to_le_bytes());
    let mut tiny = good.clone();
    tiny[4..8].copy_from_slice(&35u32.to_le_bytes());
    let core = local_apic(0);
    let memory_affinity = |node: u8, base: u8, len: u8| {
        let mut entry = vec![0; 40];
        (entry[0], entry[1], entry[2], entry[15], entry[23], entry[28]) = (1, 40, node, base, len, 1);
        entry
    };
    let srat = |entries: &[Vec<u8>]| table("SRAT", 2, &[vec![0; 12], entries.concat()].concat());
    let slit = |nodes: u64, matrix: &[u8]| table("SLIT", 1, &[&nodes.to_le_bytes()[..], matrix].concat());
    let mcfg = |base: u64, first: u8, last: u8| {
        table("MCFG", 1, &[&[0; 8], &base.to_le_bytes()[..], &[0, 0, first, last, 0, 0, 0, 0]].concat())
    };
    let at = PhysAddr(0x10_0000);
    for ((mut memory, rsdp), table, field, problem) in [
        (machine(&[]), "APIC", "table", Problem::Missing),
        (machine(&[cut]), "APIC", "length", Problem::Unreadable(at)),
        (machine(&[flipped]), "APIC", "checksum", Problem::Checksum),
        (machine(&[long]), "APIC", "length", Problem::TooLong(crate::limit::TABLE_BYTES)),
        (machine(&[tiny]), "APIC", "length", Problem::Value(35)),
        (machine(&[table("APIC", 3, &[0; 4])]), "APIC", "local_apic", Problem::Short),
        (machine(&[table("APIC", 3, &[0; 8])]), "APIC", "local APIC", Problem::Missing),
        (only(&[&core, &[0]]), "APIC", "entry", Problem::Short),
        (only(&[&core, &[0, 0]]), "APIC", "entry length", Problem::Value(0)),
        (only(&[&core, &[0, 1]]), "APIC", "entry length", Problem::Value(1)),
        (only(&[&core, &[0, 9, 1, 1, 1, 0, 0, 0]]), "APIC", "entry length", Problem::Short),
        (only(&[&core, &[0, 7, 1, 1, 1, 0, 0]]), "APIC", "local APIC", Problem::Short),
        (only(&[&core, &[9, 4, 0, 0]]), "APIC", "local x2APIC", Problem::Short),
        (
            only(&[&core, &[1, 12, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]]),
            "APIC",
            "I/O APIC address",
            Problem::Value(0),
        ),
        (only(&[&core, &[2, 10, 1, 0, 0, 0, 0, 0, 0, 0]]), "APIC", "source override bus", Problem::Value(1)),
        (
            only(&[&core, &[2, 10, 0, 0, 0, 0, 0, 0, 2, 0]]),
            "APIC",
            "source override polarity",
            Problem::Value(2),
        ),
        (
            only(&[&core, &[2, 10, 0, 0, 0, 0, 0, 0, 8, 0]]),
            "APIC",
            "source override trigger",
            Problem::Value(8),
        ),
        (only(&[&core, &[5, 12, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0]]), "APIC", "local_apic", Problem::Value(1)),
        (with(table("SRAT", 2, &[0; 3])), "SRAT", "entries", Problem::Short),
        (
            with(srat(&[memory_affinity(0, 0, 1), memory_affinity(1, 0, 1)])),
            "SRAT",
            "memory affinity base",
            Problem::Value(0),
        ),
        (
            with(srat(&[memory_affinity(0, 0xff, 0xff)])),
            "SRAT",
            "memory affinity length",
            Problem::Value(0xff << 56),
        ),
        (with(slit(0, &[])), "SLIT", "localities", Problem::Value(0)),
        (with(slit(u64::MAX, &[10])), "SLIT", "localities", Problem::TooMany(64)),
        (with(slit(2, &[10, 20, 20])), "SLIT", "matrix", Problem::Short),
        (with(slit(2, &[10, 20, 20, 11])), "SLIT", "matrix", Problem::Value(11)),
        (with(slit(2, &[10, 9, 20, 10])), "SLIT", "matrix", Problem::Value(9)),
        (with(mcfg(0xb000_0000, 2, 1)), "MCFG", "last_bus", Problem::Value(1)),
        (with(mcfg(0xb000_0001, 0, 1)), "MCFG", "base", Problem::Value(0xb000_0001)),
        (with(mcfg(0xffff_ffff_fff0_0000, 0, 1)), "MCFG", "base", Problem::Value(0xffff_ffff_fff0_0000)),
        (with(table("MCFG", 1, &[0; 9])), "MCFG", "entries", Problem::Short),
        (with(table("HPET", 1, &[0; 20])), "HPET", "base", Problem::Value(0)),
        (with(table("FACP", 1, &[0; 20])), "FACP", "PM_TMR_BLK", Problem::Short),
    ] {
        let error = discover_acpi(&mut memory, rsdp).unwrap_err();
        let expected = TableError { table: table.into(), field, problem };
        assert_eq!(error, DiscoverError::Table(expected));
    }
}

#[test]
fn a_root_that_leads_nowhere() {
    let error = |mut memory: Memory, at| match discover_acpi(&mut memory, at) {
        Err(DiscoverError::Table(error)) => (error.table, error.field, error.problem),
        other => panic!("{other:?}"),
    };
    let (good, at) = machine(&[madt(&[&local_apic(0)])]);
    assert!(discover_acpi(&mut good.clone(), at).is_ok());
    let nowhere = PhysAddr(0x5000);
    assert_eq!(error(good.clone(), 0x5000), ("RSDP".into(), "header", Problem::Unreadable(nowhere)));
    let root = good.0.len() - 1;
    for (byte, field, problem) in [
        (0, "signature", Problem::Signature),
        (9, "checksum", Problem::Checksum),
        (24, "extended_checksum", Problem::Checksum),
    ] {
        let mut bad = good.clone();
        bad.0[root].1[byte] ^= 1;
        assert_eq!(error(bad, at), ("RSDP".into(), field, problem));
    }
    let mut odd = good.clone();
    odd.0[root - 1].1 = table("XSDT", 1, &[0; 9]);
    assert_eq!(error(odd, at), ("XSDT".into(), "length", Problem::Value(45)));
    let mut many = good.clone();
    many.0[root - 1].1 = table("XSDT", 1, &[0; 257 * 8]);
    assert_eq!(error(many, at), ("XSDT".into(), "entries", Problem::TooMany(256)));
    let mut wild = good.clone();
    wild.0[root - 1].1 = table("XSDT", 1, &u64::MAX.to_le_bytes());
    assert_eq!(error(wild, at), ("XSDT".into(), "entries", Problem::Unreadable(PhysAddr(u64::MAX))));
    let mut itself = good;
    itself.0[root - 1].1 = table("XSDT", 1, &0xe_0000u64.to_le_bytes());
    assert_eq!(error(itself, at), ("APIC".into(), "table", Problem::Missing));
}
