use super::support::*;
use crate::{DiscoverError, Problem, TableError};
use skerry_hal::{HwId, IslandId, PhysAddr, PhysRange};
use skerry_skb::*;

const fn range(base: u64, len: u64) -> PhysRange {
    PhysRange::new(PhysAddr(base), len)
}

#[test]
fn qemus_board_with_gicv3_and_two_nodes() {
    let store = discover_fdt(VIRT_GIC3_NUMA).unwrap();
    let view = store.island(IslandId(1));
    let cores: Vec<_> = view.cores().iter().map(|c| (c.local, c.hw.0, c.enabled, c.node)).collect();
    assert_eq!(cores, [(0, 0, true, 0), (1, 1, true, 0), (2, 2, true, 1), (3, 3, true, 1)]);
    assert_eq!(view.ram_of(0).collect::<Vec<_>>(), [range(0x4000_0000, 256 << 20)]);
    assert_eq!(view.ram_of(1).collect::<Vec<_>>(), [range(0x5000_0000, 256 << 20)]);
    assert_eq!((view.distance(1, 0), view.distance(0, 0)), (Some(21), Some(10)));
    assert_eq!(view.one(), Some(PsciMethod { conduit: Conduit::Hypervisor }));
    let gic = InterruptController {
        kind: ControllerKind::GicV3,
        base: range(0x800_0000, 0x1_0000),
        cores: range(0x80a_0000, 0xf6_0000),
    };
    assert_eq!(view.all().collect::<Vec<InterruptController>>(), [gic]);
    let its = InterruptPart { kind: InterruptPartKind::Translation, range: range(0x808_0000, 0x2_0000) };
    assert_eq!(view.all().collect::<Vec<InterruptPart>>(), [its]);
    let uart = Console { kind: ConsoleKind::Pl011, base: range(0x900_0000, 0x1000), line: Some(33) };
    assert_eq!(view.console(), Some(uart));
    let timers: Vec<_> = view.all::<Timer>().map(|t| (t.kind, t.line)).collect();
    assert_eq!(timers, [(TimerKind::CorePhysical, Some(30)), (TimerKind::CoreVirtual, Some(27))]);
    let host = PciHost { segment: 0, ecam: range(0x40_1000_0000, 256 << 20), first_bus: 0, last_bus: 255 };
    assert_eq!(view.pci_hosts().collect::<Vec<_>>(), [host]);
    let windows: Vec<_> = view.pci_windows(0).iter().map(|w| (w.space, w.pci, w.cpu)).collect();
    assert_eq!(
        windows,
        [
            (PciSpace::Io, 0, range(0x3eff_0000, 0x1_0000)),
            (PciSpace::Memory32, 0x1000_0000, range(0x1000_0000, 0x2eff_0000)),
            (PciSpace::Memory64, 0x80_0000_0000, range(0x80_0000_0000, 0x80_0000_0000)),
        ]
    );
    // Device 6 shares its lines with device 2, whose pin 1 arrives at shared line 5.
    let line = view.pci_line(PciAddress::new(0, 0, 6, 0), 1).unwrap();
    assert_eq!((line.line, line.trigger), (32 + 5, Trigger::LevelHigh));
    assert_eq!(view.all::<PciLine>().count(), 16);
    assert_eq!(view.one(), Some(InitialFile { range: range(0x4800_0000, 6) }));
    assert_eq!(crate::fdt::bootargs(VIRT_GIC3_NUMA), Ok(Some("island=1 links=16:0".into())));
}

#[test]
fn qemus_board_with_gicv2() {
    let store = discover_fdt(VIRT_GIC2).unwrap();
    let view = store.island(IslandId(1));
    assert_eq!((view.cores().len(), view.nodes()), (2, vec![0]));
    let gic = InterruptController {
        kind: ControllerKind::GicV2,
        base: range(0x800_0000, 0x1_0000),
        cores: range(0x801_0000, 0x1_0000),
    };
    assert_eq!(view.all().collect::<Vec<InterruptController>>(), [gic]);
    let frame = InterruptPart { kind: InterruptPartKind::MessageFrame, range: range(0x802_0000, 0x1000) };
    assert_eq!(view.all().collect::<Vec<InterruptPart>>(), [frame]);
    assert_eq!(crate::fdt::bootargs(VIRT_GIC2), Ok(None));
}

/// A board like a Raspberry Pi: devices behind a bus with other addresses, several redistributor regions, an alias
/// as console.
#[test]
fn addresses_behind_a_bus_are_translated() {
    let gic = |tree: Tree| {
        tree.begin("intc@0")
            .text("compatible", "arm,gic-v3")
            .cells("#interrupt-cells", &[3])
            .cells("phandle", &[7])
            .cells("#redistributor-regions", &[2])
            .cells("reg", &[0x1000, 0x100, 0x2000, 0x100, 0x3000, 0x100])
            .end()
    };
    let tree = small()
        .begin("soc")
        .cells("#address-cells", &[1])
        .cells("#size-cells", &[1])
        .cells("ranges", &[0, 0xf, 0, 0x10_0000, 0x7e00_0000, 0, 0xfe00_0000, 0x100_0000]);
    let tree = gic(tree)
        .begin("serial@7e201000")
        .text("compatible", "arm,pl011")
        .cells("reg", &[0x7e20_1000, 0x200])
        .cells("interrupts", &[0, 121, 4])
        .end()
        .begin("serial@7e215040")
        .text("compatible", "ns16550a")
        .cells("reg", &[0x7e21_5040, 0x40])
        .end()
        .begin("lost@1")
        .text("compatible", "arm,gic-v2m-frame")
        .text("status", "disabled")
        .end()
        .end()
        .begin("aliases")
        .text("serial1", "/soc/serial@7e215040")
        .end()
        .begin("chosen")
        .text("stdout-path", "serial1:115200n8")
        .end()
        .end();
    let store = discover_fdt(&tree.finish()).unwrap();
    let view = store.island(IslandId(1));
    let base = 0xf_0000_0000;
    let gic: InterruptController = view.one().unwrap();
    assert_eq!((gic.base, gic.cores), (range(base + 0x1000, 0x100), range(base + 0x2000, 0x100)));
    let part: InterruptPart = view.one().unwrap();
    assert_eq!((part.kind, part.range), (InterruptPartKind::Redistributors, range(base + 0x3000, 0x100)));
    let console = view.console().unwrap();
    assert_eq!((console.kind, console.base), (ConsoleKind::Uart16550Memory, range(0xfe21_5040, 0x40)));
}

#[test]
fn cores_that_cannot_be_started() {
    let core = |tree: Tree, at: u32, method: &str, status: &str| {
        tree.begin(&format!("cpu@{at}"))
            .text("device_type", "cpu")
            .cells("reg", &[1, at])
            .text("enable-method", method)
            .text("status", status)
            .end()
    };
    let tree = Tree::new()
        .begin("")
        .begin("psci")
        .text("compatible", "arm,psci-1.0")
        .text("method", "smc")
        .end()
        .begin("cpus")
        .cells("#address-cells", &[2]);
    let tree = core(core(core(tree, 0, "psci", "okay"), 1, "psci", "disabled"), 2, "psci", "fail-broken");
    let blob = core(tree, 3, "spin-table", "okay").end().end().finish();
    let found = crate::fdt::parse_blob(&blob).unwrap();
    let cores: Vec<_> = found.cores.iter().map(|core| (core.hw.0, core.enabled)).collect();
    let high = 1 << 32;
    assert_eq!(cores, [(high, true), (high | 1, true), (high | 2, false), (high | 3, false)]);
    assert_eq!(discover_fdt(&blob), Err(DiscoverError::NoBootCore(HwId(0))));
}

#[test]
fn nops_are_skipped_anywhere() {
    let tree = Tree::new().token(4).begin("").token(4).cells("#address-cells", &[2]).token(4);
    let tree = tree.begin("cpus").token(4).cells("#address-cells", &[1]).token(4).begin("cpu@0").token(4);
    let tree = tree.text("device_type", "cpu").token(4).cells("reg", &[0]).token(4).end().token(4).end();
    let blob = tree.token(4).begin("x").end().token(4).end().token(4).finish();
    assert_eq!(discover_fdt(&blob).unwrap().island(IslandId(1)).cores().len(), 1);
}

/// Each wrong tree, and the node and property that must be named.
#[test]
fn an_error_names_node_and_property() {
    let node = |name: &str, compatible: &str| small().begin(name).text("compatible", compatible);
    let deep = (0..16).fold(small(), |tree, _| tree.begin("n"));
    let deep = (0..16).fold(deep, |tree, _| tree.end()).end();
    let gic = |tree: Tree| {
        tree.begin("g")
            .text("compatible", "arm,gic-v3")
            .cells("#interrupt-cells", &[3])
            .cells("phandle", &[7])
            .cells("reg", &[0, 1, 0, 1, 0, 2, 0, 1])
            .end()
    };
    let pci = |tree: Tree| {
        tree.begin("pcie")
            .text("compatible", "pci-host-ecam-generic")
            .cells("#address-cells", &[3])
            .cells("#size-cells", &[2])
            .cells("reg", &[0, 0x1000_0000, 0, 0x100_0000])
    };
    let short = |at: usize| {
        let mut blob = VIRT_GIC2[..at].to_vec();
        blob[4..8].copy_from_slice(&(at as u32).to_be_bytes());
        blob
    };
    let header = |at: usize, word: u32| {
        let mut blob = small().end().finish();
        blob[at..at + 4].copy_from_slice(&word.to_be_bytes());
        blob
    };
    let matrix =
        |cells: &[u32]| node("d", "numa-distance-map-v1").cells("distance-matrix", cells).end().end();
    for (blob, table, field, problem) in [
        (header(0, 1), "FDT", "magic", Problem::Signature),
        (header(4, 39), "FDT", "totalsize", Problem::Value(39)),
        (header(4, u32::MAX), "FDT", "totalsize", Problem::TooLong(crate::limit::TREE_BYTES)),
        (header(4, 4000), "FDT", "totalsize", Problem::Unreadable(PhysAddr(0x4000_0000))),
        (header(20, 16), "FDT", "version", Problem::Value(16)),
        (header(24, 18), "FDT", "last_comp_version", Problem::Value(18)),
        (header(8, 4000), "FDT", "off_dt_struct", Problem::Value(4000)),
        (header(12, 4000), "FDT", "off_dt_strings", Problem::Value(4000)),
        (header(32, 4000), "FDT", "size_dt_strings", Problem::Value(4000)),
        (header(36, 4000), "FDT", "size_dt_struct", Problem::Value(4000)),
        (header(36, 16), "FDT", "property name", Problem::Short),
        (header(32, 3), "FDT", "property name", Problem::Short),
        (short(60), "FDT", "off_dt_struct", Problem::Value(64)),
        (short(80), "FDT", "size_dt_struct", Problem::Value(7212)),
        (small().finish(), "FDT", "token", Problem::Misplaced),
        (small().end().end().finish(), "FDT", "token", Problem::Misplaced),
        (small().end().begin("").end().finish(), "FDT", "token", Problem::Misplaced),
        (small().cells("late", &[]).end().finish(), "FDT", "token", Problem::Misplaced),
        (small().token(5).end().finish(), "FDT", "token", Problem::Value(5)),
        (Tree::new().finish(), "FDT", "token", Problem::Misplaced),
        (Tree::new().begin("r").end().finish(), "FDT", "node name", Problem::Misplaced),
        (small().begin("").end().end().finish(), "FDT", "node name", Problem::Misplaced),
        (small().begin("\u{e9}").end().end().finish(), "FDT", "node name", Problem::NotText),
        (deep.finish(), "FDT", "token", Problem::TooDeep(16)),
        (Tree::new().begin("").end().finish(), "FDT ", "cpus", Problem::Missing),
        (
            Tree::new().begin("").begin("cpus").end().end().finish(),
            "FDT /cpus",
            "device_type",
            Problem::Missing,
        ),
        (node("p", "arm,psci").end().end().finish(), "FDT /p", "method", Problem::Missing),
        (
            node("p", "arm,psci").text("method", "abc").end().end().finish(),
            "FDT /p",
            "method",
            Problem::NotText,
        ),
        (
            node("p", "arm,psci").prop("method", b"smc").end().end().finish(),
            "FDT /p",
            "method",
            Problem::NotText,
        ),
        (
            small().begin("m").text("device_type", "memory").end().end().finish(),
            "FDT /m",
            "reg",
            Problem::Missing,
        ),
        (
            small().begin("m").text("device_type", "memory").cells("reg", &[0, 1, 2]).end().end().finish(),
            "FDT /m",
            "reg",
            Problem::Short,
        ),
        (
            small()
                .begin("m")
                .text("device_type", "memory")
                .cells("reg", &[!0, !0, 0, 2])
                .end()
                .end()
                .finish(),
            "FDT /m",
            "reg",
            Problem::Value(u64::MAX),
        ),
        (
            small()
                .begin("m")
                .text("device_type", "memory")
                .cells("reg", &[0, 0, 0, 8, 0, 4, 0, 8])
                .end()
                .end()
                .finish(),
            "FDT /m",
            "reg",
            Problem::Value(4),
        ),
        (matrix(&[0, 0, 11]).finish(), "FDT /d", "distance-matrix", Problem::Value(11)),
        (matrix(&[0, 1, 10]).finish(), "FDT /d", "distance-matrix", Problem::Value(10)),
        (matrix(&[0, 1]).finish(), "FDT /d", "distance-matrix", Problem::Short),
        (matrix(&[0, 1, 20, 0, 1, 21]).finish(), "FDT /d", "distance-matrix", Problem::Misplaced),
        (node("g", "arm,gic-v3").end().end().finish(), "FDT /g", "#interrupt-cells", Problem::Missing),
        (
            node("g", "arm,gic-400")
                .cells("#interrupt-cells", &[3])
                .cells("reg", &[0, 1, 0, 1])
                .end()
                .end()
                .finish(),
            "FDT /g",
            "reg",
            Problem::Short,
        ),
        (
            node("b", "x").cells("#address-cells", &[9]).end().end().finish(),
            "FDT /b",
            "#address-cells",
            Problem::Value(9),
        ),
        (node("b", "x").cells("ranges", &[0, 1]).end().end().finish(), "FDT /b", "ranges", Problem::Short),
        (
            gic(small())
                .begin("u")
                .text("compatible", "arm,pl011")
                .cells("reg", &[0, 9, 0, 1])
                .cells("interrupts", &[2, 1, 4])
                .end()
                .end()
                .finish(),
            "FDT /u",
            "interrupts",
            Problem::Value(2),
        ),
        (
            gic(small())
                .begin("u")
                .text("compatible", "arm,pl011")
                .cells("reg", &[0, 9, 0, 1])
                .cells("interrupts", &[0, 988, 4])
                .end()
                .end()
                .finish(),
            "FDT /u",
            "interrupts",
            Problem::Value(988),
        ),
        (pci(small()).end().end().finish(), "FDT /pcie", "ranges", Problem::Missing),
        (
            pci(small()).cells("bus-range", &[1, 0]).end().end().finish(),
            "FDT /pcie",
            "bus-range",
            Problem::Value(0),
        ),
        (
            pci(small()).cells("ranges", &[0x0200_0000, 0, !0, 0, 0, 0, 2]).end().end().finish(),
            "FDT /pcie",
            "ranges",
            Problem::Value(!0 >> 32),
        ),
        (
            pci(gic(small()))
                .cells("ranges", &[0x0200_0000, 0, 0, 0, 0, 0, 2])
                .cells("interrupt-map", &[0])
                .end()
                .end()
                .finish(),
            "FDT /pcie",
            "interrupt-map-mask",
            Problem::Missing,
        ),
        (
            pci(gic(small()))
                .cells("ranges", &[0x0200_0000, 0, 0, 0, 0, 0, 2])
                .cells("interrupt-map-mask", &[0x1800, 0, 0, 7])
                .cells("interrupt-map", &[0, 0, 0, 1, 7, 0])
                .end()
                .end()
                .finish(),
            "FDT /pcie",
            "interrupt-map",
            Problem::Short,
        ),
        (
            pci(gic(small()))
                .cells("ranges", &[0x0200_0000, 0, 0, 0, 0, 0, 2])
                .cells("interrupt-map-mask", &[0x1800, 0, 0, 7])
                .cells("interrupt-map", &[0, 0, 0, 5, 7, 0, 3, 4])
                .end()
                .end()
                .finish(),
            "FDT /pcie",
            "interrupt-map",
            Problem::Value(5),
        ),
        (
            small()
                .begin("chosen")
                .cells("linux,initrd-start", &[5])
                .cells("linux,initrd-end", &[4])
                .end()
                .end()
                .finish(),
            "FDT /chosen",
            "linux,initrd-end",
            Problem::Value(4),
        ),
    ] {
        let error = discover_fdt(&blob).unwrap_err();
        assert_eq!(error, DiscoverError::Table(TableError { table: table.into(), field, problem }));
    }
}
