//! A node with its path, properties by type, and the buses between it and the cores.

use crate::{Problem, TableError, limit};
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use skerry_hal::{PhysAddr, PhysRange};

/// A node of a clean tree.
pub struct Node<'b, 'a> {
    inner: ::fdt::node::FdtNode<'b, 'a>,
    /// Its path, as in `/cpus/cpu@0`; the root's is empty.
    pub path: String,
}

impl<'b, 'a> Node<'b, 'a> {
    /// The root.
    pub const fn root(inner: ::fdt::node::FdtNode<'b, 'a>) -> Self {
        Self { inner, path: String::new() }
    }

    /// Its name, with the unit address.
    pub const fn name(&self) -> &'a str {
        self.inner.name
    }

    /// `field` of this node has `problem`.
    pub fn error(&self, field: &'static str, problem: Problem) -> TableError {
        TableError { table: format!("FDT {}", self.path), field, problem }
    }

    /// Its children.
    pub fn children(&self) -> impl Iterator<Item = Node<'b, 'a>> {
        self.inner.children().map(|inner| Node { path: format!("{}/{}", self.path, inner.name), inner })
    }

    /// The child of this name, unit address left out.
    pub fn child(&self, name: &str) -> Option<Node<'b, 'a>> {
        self.children().find(|child| child.name().split('@').next() == Some(name))
    }

    /// A property's bytes.
    pub fn bytes(&self, name: &str) -> Option<&'a [u8]> {
        self.inner.property(name).map(|property| property.value)
    }

    /// A property of one cell.
    pub fn number(&self, name: &'static str) -> Result<Option<u32>, TableError> {
        let Some(bytes) = self.bytes(name) else { return Ok(None) };
        let cell = bytes.try_into().map_err(|_| self.error(name, Problem::Value(bytes.len() as u64)))?;
        Ok(Some(u32::from_be_bytes(cell)))
    }

    /// A property of one or two cells.
    pub fn address(&self, name: &'static str) -> Result<Option<u64>, TableError> {
        let Some(cells) = self.cells(name)? else { return Ok(None) };
        match *cells.as_slice() {
            [low] => Ok(Some(low.into())),
            [high, low] => Ok(Some(u64::from(high) << 32 | u64::from(low))),
            _ => Err(self.error(name, Problem::Value(cells.len() as u64))),
        }
    }

    /// A property that is a list of cells.
    pub fn cells(&self, name: &'static str) -> Result<Option<Vec<u32>>, TableError> {
        let Some(bytes) = self.bytes(name) else { return Ok(None) };
        let (cells, rest) = bytes.as_chunks();
        if !rest.is_empty() {
            return Err(self.error(name, Problem::Short));
        }
        Ok(Some(cells.iter().map(|cell| u32::from_be_bytes(*cell)).collect()))
    }

    /// A property that is one string.
    pub fn text(&self, name: &'static str) -> Result<Option<&'a str>, TableError> {
        let Some(bytes) = self.bytes(name) else { return Ok(None) };
        let text = bytes.split_last().filter(|(last, _)| **last == 0).map(|(_, text)| text);
        match text.and_then(|text| core::str::from_utf8(text).ok()) {
            Some(text) if !text.contains('\0') => Ok(Some(text)),
            _ => Err(self.error(name, Problem::NotText)),
        }
    }

    /// Whether it is compatible with one of these.
    pub fn is_compatible(&self, with: &[&str]) -> bool {
        let strings = self.bytes("compatible").unwrap_or_default().split(|&b| b == 0);
        strings.into_iter().any(|text| with.iter().any(|name| name.as_bytes() == text))
    }

    /// Whether it is in use (§2.3.4).
    pub fn is_okay(&self) -> Result<bool, TableError> {
        Ok(matches!(self.text("status")?, None | Some("okay" | "ok")))
    }

    /// How many cells its children's addresses and sizes take (§2.3.5).
    pub fn child_cells(&self) -> Result<(usize, usize), TableError> {
        let cells = |name, default| match self.number(name)?.unwrap_or(default) {
            n if n <= 4 => Ok(n as usize),
            n => Err(self.error(name, Problem::Value(n.into()))),
        };
        Ok((cells("#address-cells", 2)?, cells("#size-cells", 1)?))
    }
}

/// One range of a bus: addresses on it, and the same as the cores see them.
#[derive(Clone, Copy)]
struct Mapped {
    child: u64,
    cores: PhysRange,
}

/// A bus: how the addresses of the devices on it are spelt, and how they become addresses of the cores.
pub struct Bus {
    address_cells: usize,
    size_cells: usize,
    /// `None`: they are the same.
    map: Option<Vec<Mapped>>,
}

impl Bus {
    /// The bus that the root's children sit on.
    pub fn root(root: &Node<'_, '_>) -> Result<Self, TableError> {
        let (address_cells, size_cells) = root.child_cells()?;
        Ok(Self { address_cells, size_cells, map: None })
    }

    /// Cells of an address on it.
    pub const fn address_cells(&self) -> usize {
        self.address_cells
    }

    /// The bus behind `node`, if `node` is a bridge to one that cores can address (§2.3.8).
    pub fn enter(&self, node: &Node<'_, '_>) -> Result<Option<Self>, TableError> {
        let (address_cells, size_cells) = node.child_cells()?;
        let Some(ranges) = node.cells("ranges")? else { return Ok(None) };
        // A PCI host's children are found by scanning.
        if address_cells > 2 || size_cells > 2 {
            return Ok(None);
        }
        if ranges.is_empty() {
            return Ok(Some(Self { address_cells, size_cells, map: self.map.clone() }));
        }
        let each = address_cells + self.address_cells + size_cells;
        let list = whole(node, "ranges", &ranges, each)?;
        let mut map = Vec::new();
        for entry in list.chunks_exact(each) {
            let (child, rest) = entry.split_at(address_cells);
            let (parent, len) = rest.split_at(self.address_cells);
            let (Some(child), Some(parent), Some(len)) = (join(child), join(parent), join(len)) else {
                return Err(node.error("ranges", Problem::TooLong(8)));
            };
            // What a bridge passes on to a bus that the cores do not reach leads nowhere.
            if let Some(cores) = self.translate(PhysRange::new(PhysAddr(parent), len)) {
                map.push(Mapped { child, cores });
            }
        }
        Ok(Some(Self { address_cells, size_cells, map: Some(map) }))
    }

    /// The registers of a node on this bus, as the cores see them. Registers that they do not reach are left out.
    pub fn registers(&self, node: &Node<'_, '_>) -> Result<Vec<PhysRange>, TableError> {
        let cells = node.cells("reg")?.ok_or_else(|| node.error("reg", Problem::Missing))?;
        let each = self.address_cells + self.size_cells;
        let mut registers = Vec::new();
        for entry in whole(node, "reg", &cells, each)?.chunks_exact(each) {
            let (base, len) = entry.split_at(self.address_cells);
            let (Some(base), Some(len)) = (join(base), join(len)) else {
                return Err(node.error("reg", Problem::TooLong(8)));
            };
            let range = PhysRange::new(PhysAddr(base), len);
            if range.base.checked_add(len).is_none() {
                return Err(node.error("reg", Problem::Value(base)));
            }
            registers.extend(self.translate(range));
        }
        Ok(registers)
    }

    /// The one block of registers of a node that must have it.
    pub fn register(&self, node: &Node<'_, '_>) -> Result<PhysRange, TableError> {
        let first = self.registers(node)?.first().copied();
        first.filter(|range| range.len > 0).ok_or_else(|| node.error("reg", Problem::Missing))
    }

    /// A range on this bus, as the cores see it.
    pub fn translate(&self, range: PhysRange) -> Option<PhysRange> {
        range.base.checked_add(range.len)?;
        let Some(map) = &self.map else { return Some(range) };
        map.iter().find_map(|mapped| {
            let offset = range.base.0.checked_sub(mapped.child)?;
            let end = offset.checked_add(range.len)?;
            let base = mapped.cores.base.checked_add(offset)?;
            (end <= mapped.cores.len).then_some(PhysRange::new(base, range.len))
        })
    }
}

/// `cells`, if it is a list of at most [`limit::TREE_LIST`] entries of `each` cells.
pub fn whole<'c>(
    node: &Node<'_, '_>,
    name: &'static str,
    cells: &'c [u32],
    each: usize,
) -> Result<&'c [u32], TableError> {
    if each == 0 || !cells.len().is_multiple_of(each) {
        return Err(node.error(name, Problem::Short));
    }
    if cells.len() / each > limit::TREE_LIST {
        return Err(node.error(name, Problem::TooMany(limit::TREE_LIST)));
    }
    Ok(cells)
}

/// The number that these cells spell, highest first; `None` if it does not fit in 64 bits. No cells spell 0.
pub fn join(cells: &[u32]) -> Option<u64> {
    cells.iter().try_fold(
        0u64,
        |sum, &cell| {
            if sum >> 32 == 0 { Some(sum << 32 | u64::from(cell)) } else { None }
        },
    )
}
