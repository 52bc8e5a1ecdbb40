use crate::*;

fn store() -> Store {
    let mut store = Store::default();
    for island in [0, 1] {
        let origin = Origin { island: IslandId(island), epoch: Epoch(1), source: Source::Discovered };
        let node = u32::from(island);
        let facts: Vec<Fact> = vec![
            Core { local: 1, hw: HwId(8), enabled: true, node: node + 1 }.into(),
            Core { local: 0, hw: HwId(4), enabled: true, node }.into(),
            MemoryNode { node, range: PhysRange::new(PhysAddr(0), 0x1000) }.into(),
            MemoryNode { node: node + 1, range: PhysRange::new(PhysAddr(0x1000), 0x1000) }.into(),
            MemoryNode { node, range: PhysRange::new(PhysAddr(0x2000), 0x1000) }.into(),
            Distance { from: node, to: node + 1, value: 21 }.into(),
            IrqOverride { irq: 0, line: 2, trigger: Trigger::EdgeHigh }.into(),
            PciLine { segment: 0, device: 1, mask: 3, pin: 2, line: 40, trigger: Trigger::LevelHigh }.into(),
            Console {
                kind: ConsoleKind::Pl011,
                base: PhysRange::new(PhysAddr(0x900_0000), 0x1000),
                line: None,
            }
            .into(),
        ];
        for fact in facts {
            assert_eq!(store.add(origin, fact), Ok(true));
        }
    }
    store
}

#[test]
fn an_island_answers_for_itself_alone() {
    let store = store();
    let view = store.island(IslandId(1));
    assert_eq!(view.cores().iter().map(|core| core.hw.0).collect::<Vec<_>>(), [4, 8]);
    assert_eq!((view.node_of(0), view.node_of(1), view.node_of(2)), (Some(1), Some(2), None));
    assert_eq!(view.nodes(), [1, 2]);
    assert_eq!(view.ram_of(1).map(|range| range.base.0).collect::<Vec<_>>(), [0, 0x2000]);
    assert_eq!(view.ram_of(0).count(), 0);
    assert_eq!(view.node_at(PhysAddr(0x1fff)), Some(2));
    assert_eq!(view.node_at(PhysAddr(0x3000)), None);
    assert_eq!((view.distance(1, 2), view.distance(2, 1)), (Some(21), None));
    assert!(store.island(IslandId(7)).cores().is_empty());
}

#[test]
fn lines_are_found_as_they_are_wired() {
    let store = store();
    let view = store.island(IslandId(0));
    assert_eq!(view.legacy_line(0), (2, Trigger::EdgeHigh));
    assert_eq!(view.legacy_line(4), (4, Trigger::EdgeHigh));
    assert_eq!(view.pci_line(PciAddress::new(0, 0, 5, 0), 2).map(|l| l.line), Some(40));
    assert_eq!(view.pci_line(PciAddress::new(0, 0, 6, 0), 2), None);
    assert_eq!(view.pci_line(PciAddress::new(1, 0, 5, 0), 2), None);
}

#[test]
fn what_is_asserted_overrules_what_was_discovered() {
    let mut store = store();
    let origin = Origin { island: IslandId(0), epoch: Epoch(1), source: Source::Asserted };
    let mine =
        Console { kind: ConsoleKind::Uart16550Port, base: PhysRange::new(PhysAddr(0x3f8), 8), line: Some(4) };
    store.add(origin, mine).unwrap();
    assert_eq!(store.island(IslandId(0)).console(), Some(mine));
    assert_eq!(store.island(IslandId(1)).console().map(|c| c.kind), Some(ConsoleKind::Pl011));
}
