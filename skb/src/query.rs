//! Typed questions about one island.

use crate::fact::Kind;
use crate::*;
use alloc::vec::Vec;

/// The facts about one island.
#[derive(Clone, Copy, Debug)]
pub struct View<'a> {
    records: &'a [Record],
    island: IslandId,
}

impl<'a> View<'a> {
    pub(crate) const fn new(records: &'a [Record], island: IslandId) -> Self {
        Self { records, island }
    }

    /// All facts of one kind, in the order in which they came: `view.all::<IoApic>()`.
    pub fn all<K: Kind>(self) -> impl Iterator<Item = K> + use<'a, K> {
        self.records.iter().filter(move |r| r.origin.island == self.island).filter_map(|r| K::of(&r.fact))
    }

    /// The first fact of one kind, preferring what was asserted: whoever asserts means to overrule.
    pub fn one<K: Kind>(self) -> Option<K> {
        let asserted = |r: &&Record| r.origin.source == Source::Asserted && r.origin.island == self.island;
        self.records.iter().filter(asserted).find_map(|r| K::of(&r.fact)).or_else(|| self.all().next())
    }

    /// The cores, by number.
    pub fn cores(self) -> Vec<Core> {
        let mut cores: Vec<Core> = self.all().collect();
        cores.sort_by_key(|core| core.local);
        cores
    }

    /// The NUMA node of core `local`.
    pub fn node_of(self, local: u16) -> Option<u32> {
        self.all::<Core>().find(|core| core.local == local).map(|core| core.node)
    }

    /// The node whose memory `addr` is; `None` where the firmware does not say.
    pub fn node_at(self, addr: PhysAddr) -> Option<u32> {
        self.all::<MemoryNode>().find(|memory| memory.range.contains(addr)).map(|memory| memory.node)
    }

    /// The ranges near node `node`.
    pub fn ram_of(self, node: u32) -> impl Iterator<Item = PhysRange> + use<'a> {
        self.all::<MemoryNode>().filter(move |memory| memory.node == node).map(|memory| memory.range)
    }

    /// All nodes that have a core or memory, ascending.
    pub fn nodes(self) -> Vec<u32> {
        let cores = self.all::<Core>().map(|core| core.node);
        let mut nodes: Vec<u32> = cores.chain(self.all::<MemoryNode>().map(|memory| memory.node)).collect();
        nodes.sort_unstable();
        nodes.dedup();
        nodes
    }

    /// How far node `to` is from node `from`, where the firmware says it.
    pub fn distance(self, from: u32, to: u32) -> Option<u32> {
        self.all::<Distance>().find(|d| d.from == from && d.to == to).map(|d| d.value)
    }

    /// The console.
    pub fn console(self) -> Option<Console> {
        self.one()
    }

    /// The PCI hosts.
    pub fn pci_hosts(self) -> impl Iterator<Item = PciHost> + use<'a> {
        self.all()
    }

    /// The windows of the PCI host of one segment.
    pub fn pci_windows(self, segment: u16) -> Vec<PciWindow> {
        self.all::<PciWindow>().filter(|window| window.segment == segment).collect()
    }

    /// Where pin `pin` (1 to 4) of a device on a host's first bus arrives.
    pub fn pci_line(self, address: PciAddress, pin: u8) -> Option<PciLine> {
        self.all::<PciLine>().find(|l| {
            l.segment == address.segment && l.pin == pin && l.device & l.mask == address.device & l.mask
        })
    }

    /// Where and how legacy interrupt `irq` arrives: as the firmware overrides it, else at the line of its number, on
    /// a rising edge (ACPI 6.5, §5.2.12.5).
    pub fn legacy_line(self, irq: u8) -> (u32, Trigger) {
        let found = self.all::<IrqOverride>().find(|over| over.irq == irq);
        found.map_or((u32::from(irq), Trigger::EdgeHigh), |over| (over.line, over.trigger))
    }

    /// The memory shared with other islands, by link.
    pub fn windows(self) -> Vec<Window> {
        let mut windows: Vec<Window> = self.all().collect();
        windows.sort_by_key(|window| window.link);
        windows
    }
}
