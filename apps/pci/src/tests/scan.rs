use super::machine::*;
use crate::{Scan, Trouble, ecam_offset, facts, scan};
use skerry_hal::{IslandId, PhysAddr, PhysRange};
use skerry_skb::{Fact, Link, PciAddress, PciBar, PciHost, PciSpace, Window};

fn found(scan: &Scan) -> Vec<(u8, u8, u8)> {
    scan.functions.iter().map(|f| (f.address.bus, f.address.device, f.address.function)).collect()
}

const fn range(base: u64, len: u64) -> PhysRange {
    PhysRange::new(PhysAddr(base), len)
}

fn links() -> [Link; 2] {
    [Link { device: 16, peer: IslandId(0) }, Link { device: 17, peer: IslandId(2) }]
}

fn windows_of(facts: &[Fact]) -> Vec<Window> {
    facts.iter().filter_map(|f| if let Fact::Window(w) = f { Some(*w) } else { None }).collect()
}

/// What SeaBIOS leaves on a PC: all is placed, host windows are unknown.
#[test]
fn what_the_firmware_placed_stays() {
    let mut machine = Machine(vec![
        Device::new(0, 0x8086, 0x29c0),
        Device::new(1, 0x1234, 0x1111)
            .bar(0, 8, 16 << 20)
            .at(0, 0xfd00_0000)
            .bar(2, 0, 4096)
            .at(2, 0xfebf_0000),
        Device::shared_memory(16, 1 << 20).at(0, 0xfebf_1000).at(2, 0xfe00_0000),
        Device::new(31, 0x8086, 0x2918).multi(),
        Device::new(31, 0x8086, 0x2922)
            .function(2)
            .bar(4, 1, 32)
            .at(4, 0xc040)
            .bar(5, 0, 4096)
            .at(5, 0xfebf_2000),
    ]);
    let scan = scan(&mut machine, &HOST, &[]);
    assert_eq!(scan.problems, []);
    assert_eq!(found(&scan), [(0, 0, 0), (0, 1, 0), (0, 16, 0), (0, 31, 0), (0, 31, 2)]);
    let facts = facts(&scan, &HOST, &[], &links());
    let address = PciAddress::new(0, 0, 16, 0);
    let window = Window { link: 0, address, range: range(0xfe00_0000, 1 << 20), peer: Some(IslandId(0)) };
    assert_eq!(windows_of(&facts), [window]);
    let port = facts.iter().find(|f| matches!(f, Fact::PciBar(bar) if bar.space == PciSpace::Io));
    let address = PciAddress::new(0, 0, 31, 2);
    let range = range(0xc040, 32);
    let expected = PciBar { address, index: 4, space: PciSpace::Io, prefetchable: false, range };
    assert_eq!(port, Some(&expected.into()));
    assert_eq!((machine.get(0, 16).base(0), machine.get(0, 16).wide_base(2)), (0xfebf_1000, 0xfe00_0000));
    assert!(machine.get(0, 16).decodes_memory() && machine.get(0, 1).decodes_memory());
    assert!(!machine.get(0, 0).decodes_memory());
}

/// A board whose firmware leaves PCI alone.
#[test]
fn what_nobody_placed_is_placed() {
    let mut machine = Machine(vec![
        Device::shared_memory(16, 1 << 20),
        Device::shared_memory(17, 4 << 20),
        Device::shared_memory(18, 1 << 20),
        Device::new(19, 1, 1).bar(0, 0, 1 << 20).bar(1, 1, 32).bar(5, 8, 4096).wide(2, 4, 4096),
    ]);
    let scan = scan(&mut machine, &HOST, &WINDOWS);
    assert_eq!(scan.problems, []);
    let facts = facts(&scan, &HOST, &WINDOWS, &links());
    let windows: Vec<_> = windows_of(&facts).iter().map(|w| (w.link, w.range, w.peer)).collect();
    assert_eq!(
        windows,
        [
            (0, range(0xf0_0000_0000, 1 << 20), Some(IslandId(0))),
            (1, range(0xf0_0040_0000, 4 << 20), Some(IslandId(2))),
            (2, range(0xf0_0080_0000, 1 << 20), None),
        ]
    );
    assert_eq!(machine.get(0, 17).wide_base(2), 0x80_0040_0000);
    let other = machine.get(0, 19);
    assert_eq!((other.base(0), other.wide_base(2), other.base(5)), (0x1010_0000, 0x1020_0000, 0x1020_1000));
    assert!(other.decodes_memory());
    assert_eq!(other.base(1), 0);
}

#[test]
fn buses_are_numbered_and_bridges_opened() {
    let inner = Device::bridge(0, vec![Device::shared_memory(3, 2 << 20)]);
    let mut machine = Machine(vec![
        Device::bridge(1, vec![inner, Device::new(4, 7, 7).bar(0, 0, 4096)]),
        Device::bridge(2, vec![]),
        Device::bridge(3, vec![Device::new(0, 8, 8).bar(0, 0, 8192)]),
        Device::shared_memory(16, 1 << 20),
    ]);
    let scan = scan(&mut machine, &HOST, &WINDOWS);
    assert_eq!(scan.problems, []);
    assert_eq!(
        found(&scan),
        [(0, 1, 0), (0, 2, 0), (0, 3, 0), (0, 16, 0), (1, 0, 0), (1, 4, 0), (2, 3, 0), (4, 0, 0)]
    );
    let numbers = |d: &Device| (d.bytes[0x18], d.bytes[0x19], d.bytes[0x1a]);
    let got = [numbers(machine.get(0, 1)), numbers(machine.get(1, 0))];
    assert_eq!(got, [(0, 1, 2), (1, 2, 2)]);
    assert_eq!(numbers(machine.get(0, 2)), (0, 3, 3));
    assert_eq!(numbers(machine.get(0, 3)), (0, 4, 4));
    // Whoever is behind a bridge is where the bridge passes on, and nobody else is.
    let inside = |(start, limit): (u64, u64), base: u64, size: u64| start <= base && base + size - 1 <= limit;
    let shared = machine.get(2, 3).clone();
    let (plain, other) = (machine.get(1, 4).clone(), machine.get(4, 0).clone());
    for bridge in [machine.get(0, 1).clone(), machine.get(1, 0).clone()] {
        let [low, high] = bridge.passes();
        assert!(inside(low, shared.base(0), 256) && inside(high, shared.wide_base(2), 2 << 20));
        assert!(!inside(low, other.base(0), 8192));
        assert!(bridge.bytes[4] & 6 == 6, "passes on both ways");
    }
    assert!(inside(machine.get(0, 1).passes()[0], plain.base(0), 4096));
    assert!(!inside(machine.get(1, 0).passes()[0], plain.base(0), 4096));
    let [low, high] = machine.get(0, 2).passes();
    assert!(low.0 > low.1 && high.0 > high.1, "an empty bus gets nothing");
    assert!(!inside(machine.get(0, 1).passes()[1], machine.get(0, 16).wide_base(2), 1 << 20));
}

#[test]
fn buses_that_the_firmware_numbered_keep_their_numbers() {
    let card = Device::new(0, 7, 7).bar(0, 0, 4096).at(0, 0xfe80_0000).bar(1, 0, 4096);
    let mut machine = Machine(vec![Device::bridge(1, vec![card]).numbered(0, 5, 7)]);
    let scan = scan(&mut machine, &HOST, &[]);
    assert_eq!(found(&scan), [(0, 1, 0), (5, 0, 0)]);
    // BAR 1 was left out by the firmware, and its bridge is not ours to open.
    let troubles: Vec<_> = scan.problems.iter().map(|p| (p.at.bus, p.trouble)).collect();
    assert_eq!(troubles, [(5, Trouble::NoRoom { index: 1, size: 4096 })]);
    assert!(!machine.get(5, 0).decodes_memory());
    assert_eq!(machine.get(5, 0).base(0), 0xfe80_0000);
}

#[test]
fn a_mixture_keeps_what_fits_and_moves_what_does_not() {
    let mut machine = Machine(vec![
        Device::new(1, 1, 1).bar(0, 0, 1 << 20).at(0, 0x1000_0000),
        Device::new(2, 1, 1).bar(0, 0, 1 << 20).at(0, 0x5000_0000),
        Device::new(3, 1, 1).bar(0, 0, 8 << 10).at(0, 0x1000_2000),
    ]);
    let scan = scan(&mut machine, &HOST, &WINDOWS);
    assert_eq!(scan.problems.len(), 1);
    assert_eq!(scan.problems[0].trouble, Trouble::Overlap { index: 0 });
    assert_eq!(scan.problems[0].to_string(), "pci 0000:00:03.0: bar 0 overlaps another");
    let bases = [1, 2, 3].map(|n| machine.get(0, n).base(0));
    assert_eq!(bases, [0x1000_0000, 0x1010_0000, 0x1020_0000]);
}

#[test]
fn registers_lie_in_the_ecam_where_they_should() {
    let host = PciHost { first_bus: 2, last_bus: 3, ..HOST };
    assert_eq!(ecam_offset(&host, PciAddress::new(0, 3, 31, 7), 0xffc), Some(0x1f_fffc));
    for (at, offset) in [
        (PciAddress::new(0, 1, 0, 0), 0),
        (PciAddress::new(0, 4, 0, 0), 0),
        (PciAddress::new(1, 2, 0, 0), 0),
        (PciAddress::new(0, 2, 32, 0), 0),
        (PciAddress::new(0, 2, 0, 8), 0),
        (PciAddress::new(0, 2, 0, 0), 4096),
    ] {
        assert_eq!(ecam_offset(&host, at, offset), None);
    }
}
