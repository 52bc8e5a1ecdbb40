//! PCI hosts (binding `host-generic-pci.yaml`; IEEE 1275 PCI bus binding, 2.1).

use super::gic::Gic;
use super::node::{Bus, Node, join, whole};
use crate::{Problem, TableError, limit};
use alloc::vec::Vec;
use skerry_hal::{PhysAddr, PhysRange};
use skerry_skb::{Fact, PciHost, PciLine, PciSpace, PciWindow};

/// Bytes of configuration space that one bus takes.
const BUS: u64 = 1 << 20;
/// Cells of a PCI address: space, then 64 bits.
const PCI_CELLS: usize = 3;

/// Reads one host.
pub fn parse(
    node: &Node<'_, '_>,
    bus: &Bus,
    gic: Option<&Gic>,
    facts: &mut Vec<Fact>,
) -> Result<(), TableError> {
    let ecam = bus.register(node)?;
    let (first_bus, last_bus) = match node.cells("bus-range")?.as_deref() {
        None => (0, 0xff),
        Some(&[first, last]) if first <= last && last <= 0xff => (first as u8, last as u8),
        Some(other) => {
            return Err(node.error("bus-range", Problem::Value(other.last().copied().unwrap_or(0).into())));
        }
    };
    // A configuration space that is shorter than its buses ends the buses.
    let buses = (ecam.len / BUS).min(u64::from(last_bus - first_bus) + 1);
    let Some(last_bus) = buses.checked_sub(1).map(|more| first_bus + more as u8) else {
        return Err(node.error("reg", Problem::Value(ecam.len)));
    };
    let segment = node.number("linux,pci-domain")?.unwrap_or(0);
    let segment =
        u16::try_from(segment).map_err(|_| node.error("linux,pci-domain", Problem::Value(segment.into())))?;
    let hosts = facts.iter().filter(|fact| matches!(fact, Fact::PciHost(_))).count();
    if hosts == limit::PCI_HOSTS {
        return Err(node.error("compatible", Problem::TooMany(limit::PCI_HOSTS)));
    }
    let ecam = PhysRange::new(ecam.base, buses * BUS);
    facts.push(PciHost { segment, ecam, first_bus, last_bus }.into());
    windows(node, bus, segment, facts)?;
    match gic {
        Some(gic) => lines(node, gic, segment, facts),
        None => Ok(()),
    }
}

fn windows(node: &Node<'_, '_>, bus: &Bus, segment: u16, facts: &mut Vec<Fact>) -> Result<(), TableError> {
    let (address_cells, size_cells) = node.child_cells()?;
    if address_cells != PCI_CELLS {
        return Err(node.error("#address-cells", Problem::Value(address_cells as u64)));
    }
    let cells = node.cells("ranges")?.ok_or_else(|| node.error("ranges", Problem::Missing))?;
    let each = PCI_CELLS + bus.address_cells() + size_cells;
    for entry in whole(node, "ranges", &cells, each)?.chunks_exact(each) {
        let (pci, rest) = entry.split_at(PCI_CELLS);
        let (cpu, len) = rest.split_at(bus.address_cells());
        let (Some(cpu), Some(len)) = (join(cpu), join(len)) else {
            return Err(node.error("ranges", Problem::TooLong(8)));
        };
        let (high, pci) = (pci[0], u64::from(pci[1]) << 32 | u64::from(pci[2]));
        let space = match high >> 24 & 3 {
            0 => continue,
            1 => PciSpace::Io,
            2 => PciSpace::Memory32,
            _ => PciSpace::Memory64,
        };
        let most = if space == PciSpace::Memory64 { u64::MAX } else { 1 << 32 };
        if len == 0 || pci.checked_add(len).is_none_or(|end| end > most) {
            return Err(node.error("ranges", Problem::Value(pci)));
        }
        let cpu = bus.translate(PhysRange::new(PhysAddr(cpu), len));
        let cpu = cpu.ok_or_else(|| node.error("ranges", Problem::Value(len)))?;
        facts.push(PciWindow { segment, space, prefetchable: high >> 30 & 1 == 1, pci, cpu }.into());
    }
    Ok(())
}

/// The interrupt map (§2.4.3): PCI address and pin, then controller, its unit address, its line.
fn lines(node: &Node<'_, '_>, gic: &Gic, segment: u16, facts: &mut Vec<Fact>) -> Result<(), TableError> {
    let field = "interrupt-map";
    let Some(cells) = node.cells(field)? else { return Ok(()) };
    let mask = match node.cells("interrupt-map-mask")?.as_deref() {
        Some(&[device, _, _, pin]) if pin & 7 == 7 => device_number(device),
        _ => return Err(node.error("interrupt-map-mask", Problem::Missing)),
    };
    let mut rest = cells.as_slice();
    let mut count = 0;
    while !rest.is_empty() {
        let Some((&[device, _, _, pin, phandle], after)) = rest.split_first_chunk() else {
            return Err(node.error(field, Problem::Short));
        };
        // Another controller's entries have a length that only it knows.
        let Some(unit) = gic.cells_if(phandle) else { return Ok(()) };
        let after = after.get(unit..).and_then(|after| after.split_first_chunk());
        let Some((line, after)) = after else {
            return Err(node.error(field, Problem::Short));
        };
        let (line, trigger) = gic.line(node, field, *line)?;
        let pin = match pin {
            1..=4 => pin as u8,
            _ => return Err(node.error(field, Problem::Value(pin.into()))),
        };
        count += 1;
        if count > limit::TREE_LIST {
            return Err(node.error(field, Problem::TooMany(limit::TREE_LIST)));
        }
        let device = device_number(device) & mask;
        facts.push(PciLine { segment, device, mask, pin, line, trigger }.into());
        rest = after;
    }
    Ok(())
}

/// The device number in the first cell of a PCI address.
const fn device_number(high: u32) -> u8 {
    (high >> 11 & 0x1f) as u8
}
