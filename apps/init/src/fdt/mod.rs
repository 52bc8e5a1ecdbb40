//! A flattened device tree to facts (Devicetree specification 0.4; bindings as in Linux'
//! `Documentation/devicetree/bindings`).

mod clean;
mod cores;
mod devices;
mod gic;
mod memory;
mod node;
mod pcie;

use crate::discover::Found;
use crate::phys::copy;
use crate::{PhysMem, Problem, TableError, limit};
use alloc::string::String;
use alloc::vec::Vec;
use node::{Bus, Node};
use skerry_hal::PhysAddr;

/// Reads the tree at `at`.
pub fn parse(memory: &mut dyn PhysMem, at: PhysAddr) -> Result<Found, TableError> {
    let len = match copy(memory, at, 8) {
        Some(head) => clean::total_size(&head)?,
        None => return Err(TableError::new("FDT", "header", Problem::Unreadable(at))),
    };
    let blob = copy(memory, at, len);
    parse_blob(&blob.ok_or_else(|| TableError::new("FDT", "totalsize", Problem::Unreadable(at)))?)
}

/// Reads a tree that lies in `blob`.
pub fn parse_blob(blob: &[u8]) -> Result<Found, TableError> {
    let clean = clean::clean(blob)?;
    let tree = ::fdt::Fdt::new(&clean);
    let tree = tree.map_err(|_| TableError::new("FDT", "header", Problem::Signature))?;
    let root = tree.find_node("/").ok_or_else(|| TableError::new("FDT", "root", Problem::Missing))?;
    let root = Node::root(root);
    let mut visitor = Visitor { gic: gic::find(&root)?, found: Found::default(), consoles: Vec::new() };
    memory::parse(&root, &mut visitor.found)?;
    cores::parse(&root, &mut visitor.found)?;
    visitor.children(&root, &Bus::root(&root)?)?;
    let Visitor { mut found, consoles, .. } = visitor;
    devices::chosen(&root, consoles, &mut found)?;
    Ok(found)
}

/// The command line that the boot loader put into the tree at `blob`.
pub fn bootargs(blob: &[u8]) -> Result<Option<String>, TableError> {
    let clean = clean::clean(blob)?;
    let tree = ::fdt::Fdt::new(&clean).ok();
    let Some(root) = tree.as_ref().and_then(|tree| tree.find_node("/")) else { return Ok(None) };
    match Node::root(root).child("chosen") {
        Some(chosen) => Ok(chosen.text("bootargs")?.map(Into::into)),
        None => Ok(None),
    }
}

/// Walks all devices that cores can address, and keeps what it finds.
struct Visitor {
    gic: Option<gic::Gic>,
    found: Found,
    /// Serial lines, with their paths.
    consoles: Vec<(String, skerry_skb::Console)>,
}

impl Visitor {
    /// The recursion is as deep as the tree: [`limit::TREE_DEPTH`].
    fn children(&mut self, parent: &Node<'_, '_>, bus: &Bus) -> Result<(), TableError> {
        for child in parent.children() {
            if !child.is_okay()? {
                continue;
            }
            self.device(&child, bus)?;
            if let Some(inner) = bus.enter(&child)? {
                self.children(&child, &inner)?;
            }
        }
        Ok(())
    }

    fn device(&mut self, node: &Node<'_, '_>, bus: &Bus) -> Result<(), TableError> {
        let gic = self.gic.as_ref();
        let facts = &mut self.found.facts;
        if node.is_compatible(gic::COMPATIBLE) {
            gic::parse(node, bus, facts)
        } else if node.is_compatible(gic::PARTS) {
            gic::parse_part(node, bus, facts)
        } else if node.is_compatible(&["pci-host-ecam-generic"]) {
            pcie::parse(node, bus, gic, facts)
        } else if node.is_compatible(&["arm,armv8-timer"]) {
            devices::timer(node, gic, facts)
        } else if let Some(console) = devices::console(node, bus, gic)? {
            if self.consoles.len() >= limit::TREE_LIST {
                return Err(node.error("compatible", Problem::TooMany(limit::TREE_LIST)));
            }
            self.consoles.push((node.path.clone(), console));
            Ok(())
        } else {
            Ok(())
        }
    }
}
