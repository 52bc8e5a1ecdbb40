//! Memory and its distances (§3.4; binding `numa.txt`).

use super::node::{Bus, Node, whole};
use crate::discover::Found;
use crate::{Problem, TableError, limit};
use alloc::vec::Vec;
use skerry_skb::{Distance, Fact, MemoryNode};

/// Reads memory nodes and the distance map.
pub fn parse(root: &Node<'_, '_>, found: &mut Found) -> Result<(), TableError> {
    let bus = Bus::root(root)?;
    let mut memory: Vec<MemoryNode> = Vec::new();
    for node in root.children() {
        if node.is_compatible(&["numa-distance-map-v1"]) {
            distances(&node, found)?;
        }
        if node.text("device_type").ok().flatten() != Some("memory") || !node.is_okay()? {
            continue;
        }
        let near = node.number("numa-node-id")?.unwrap_or(0);
        for range in bus.registers(&node)?.into_iter().filter(|range| range.len > 0) {
            if memory.iter().any(|other| other.range.overlaps(range)) {
                return Err(node.error("reg", Problem::Value(range.base.0)));
            }
            if memory.len() == limit::MEMORY_RANGES {
                return Err(node.error("reg", Problem::TooMany(limit::MEMORY_RANGES)));
            }
            memory.push(MemoryNode { node: near, range });
        }
    }
    // The tree lists nodes downwards on some boards (QEMU among them); ascending reads better.
    memory.sort_by_key(|it| it.range.base);
    found.facts.extend(memory.into_iter().map(Fact::from));
    Ok(())
}

/// A distance that is given one way only holds both ways.
fn distances(node: &Node<'_, '_>, found: &mut Found) -> Result<(), TableError> {
    let cells = node.cells("distance-matrix")?;
    let cells = cells.ok_or_else(|| node.error("distance-matrix", Problem::Missing))?;
    let mut list: Vec<Distance> = Vec::new();
    for entry in whole(node, "distance-matrix", &cells, 3)?.as_chunks().0 {
        let [from, to, value] = *entry;
        if value < 10 || (from == to) != (value == 10) {
            return Err(node.error("distance-matrix", Problem::Value(value.into())));
        }
        if list.iter().any(|other| (other.from, other.to) == (from, to)) {
            return Err(node.error("distance-matrix", Problem::Misplaced));
        }
        list.push(Distance { from, to, value });
    }
    for at in 0..list.len() {
        let Distance { from, to, value } = list[at];
        if !list.iter().any(|other| (other.from, other.to) == (to, from)) {
            list.push(Distance { from: to, to: from, value });
        }
    }
    found.facts.extend(list.into_iter().map(Fact::from));
    Ok(())
}
