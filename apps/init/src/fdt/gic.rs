//! The interrupt controller (bindings `arm,gic.yaml`, `arm,gic-v3.yaml`).

use super::node::{Bus, Node};
use crate::{Problem, TableError};
use alloc::vec::Vec;
use skerry_hal::PhysRange;
use skerry_skb::{ControllerKind, Fact, InterruptController, InterruptPart, InterruptPartKind, Trigger};

/// What a GICv2 is compatible with.
const V2: &[&str] = &["arm,cortex-a15-gic", "arm,gic-400", "arm,cortex-a7-gic", "arm,cortex-a9-gic"];
/// What a GIC that is understood here is compatible with.
pub const COMPATIBLE: &[&str] =
    &["arm,gic-v3", "arm,cortex-a15-gic", "arm,gic-400", "arm,cortex-a7-gic", "arm,cortex-a9-gic"];
/// What its parts are compatible with.
pub const PARTS: &[&str] = &["arm,gic-v2m-frame", "arm,gic-v3-its"];

/// Interrupt IDs of shared and private lines begin here.
const SHARED: u32 = 32;
const PRIVATE: u32 = 16;
const SHARED_COUNT: u32 = 988;

/// The GIC, as those who raise its lines need to know it.
pub struct Gic {
    phandle: Option<u32>,
    address_cells: usize,
}

/// The first GIC anywhere below `node`.
pub fn find(node: &Node<'_, '_>) -> Result<Option<Gic>, TableError> {
    for child in node.children() {
        if child.is_compatible(COMPATIBLE) && child.is_okay()? {
            if child.number("#interrupt-cells")? != Some(3) {
                return Err(child.error("#interrupt-cells", Problem::Missing));
            }
            // In an interrupt map this counts, and absent means none (§2.4.3.1).
            let address_cells = match child.number("#address-cells")?.unwrap_or(0) {
                n if n <= 4 => n as usize,
                n => return Err(child.error("#address-cells", Problem::Value(n.into()))),
            };
            return Ok(Some(Gic { phandle: child.number("phandle")?, address_cells }));
        }
        if let Some(gic) = find(&child)? {
            return Ok(Some(gic));
        }
    }
    Ok(None)
}

/// A GIC's registers.
pub fn parse(node: &Node<'_, '_>, bus: &Bus, facts: &mut Vec<Fact>) -> Result<(), TableError> {
    let registers = bus.registers(node)?;
    let [base, cores, ..] = *registers.as_slice() else {
        return Err(node.error("reg", Problem::Short));
    };
    if base.len == 0 || cores.len == 0 {
        return Err(node.error("reg", Problem::Value(0)));
    }
    if node.is_compatible(V2) {
        facts.push(InterruptController { kind: ControllerKind::GicV2, base, cores }.into());
        return Ok(());
    }
    facts.push(InterruptController { kind: ControllerKind::GicV3, base, cores }.into());
    let regions = node.number("#redistributor-regions")?.unwrap_or(1) as usize;
    if regions == 0 || regions >= registers.len() {
        return Err(node.error("#redistributor-regions", Problem::Value(regions as u64)));
    }
    let part = |range: &PhysRange| InterruptPart { kind: InterruptPartKind::Redistributors, range: *range };
    facts.extend(registers[2..=regions].iter().map(|range| Fact::from(part(range))));
    Ok(())
}

/// A GIC's message frame or translation service.
pub fn parse_part(node: &Node<'_, '_>, bus: &Bus, facts: &mut Vec<Fact>) -> Result<(), TableError> {
    let kind = if node.is_compatible(&["arm,gic-v3-its"]) {
        InterruptPartKind::Translation
    } else {
        InterruptPartKind::MessageFrame
    };
    facts.push(InterruptPart { kind, range: bus.register(node)? }.into());
    Ok(())
}

impl Gic {
    /// Whether `phandle` names it, and if so, the cells that its unit address takes in an interrupt map.
    pub fn cells_if(&self, phandle: u32) -> Option<usize> {
        (self.phandle == Some(phandle)).then_some(self.address_cells)
    }

    /// A line in the GIC's own spelling: kind, number, flags.
    pub fn line(
        &self,
        node: &Node<'_, '_>,
        field: &'static str,
        cells: [u32; 3],
    ) -> Result<(u32, Trigger), TableError> {
        let [kind, number, flags] = cells;
        let line = match kind {
            0 if number < SHARED_COUNT => number + SHARED,
            1 if number < SHARED - PRIVATE => number + PRIVATE,
            0 | 1 => return Err(node.error(field, Problem::Value(number.into()))),
            _ => return Err(node.error(field, Problem::Value(kind.into()))),
        };
        // The bits above are a mask of cores (GICv2, private lines).
        let trigger = match flags & 0xf {
            1 => Trigger::EdgeHigh,
            2 => Trigger::EdgeLow,
            // 0: "as it is"; a level is what the specification resets to.
            4 | 0 => Trigger::LevelHigh,
            8 => Trigger::LevelLow,
            _ => return Err(node.error(field, Problem::Value(flags.into()))),
        };
        Ok((line, trigger))
    }

    /// The lines of a node's `interrupts`; empty if it has none or they go to another controller.
    pub fn lines(&self, node: &Node<'_, '_>) -> Result<Vec<(u32, Trigger)>, TableError> {
        let parent = node.number("interrupt-parent")?;
        let (None, Some(cells)) = (parent.filter(|&p| self.cells_if(p).is_none()), node.cells("interrupts")?)
        else {
            return Ok(Vec::new());
        };
        let list = super::node::whole(node, "interrupts", &cells, 3)?;
        list.as_chunks().0.iter().map(|cells| self.line(node, "interrupts", *cells)).collect()
    }
}
