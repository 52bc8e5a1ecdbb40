//! The little of a flattened device tree that boot glue needs (Devicetree Specification 0.4, ch. 5): memory, reserved
//! memory, `/chosen`, the PSCI method. One pass, no recursion, every access checked: whatever the bytes, the answer is
//! facts or an error. The crate `fdt` panics on malformed trees; `init`, which can afford to be careful, uses it.

use core::ops::Range;

/// Memory nodes and reservations that are kept, each.
pub const MAX_RANGES: usize = 16;

/// Why a tree cannot be read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum FdtError {
    /// Not a device tree, or a version before 16.
    BadHeader,
    /// Something lies outside of what the header says the tree has.
    Truncated,
    /// A token that does not exist, or nodes that do not match up.
    BadStructure,
    /// A memory range that wraps or is no multiple of its cells.
    BadRange,
    /// More than [`MAX_RANGES`].
    TooMany,
}

impl FdtError {
    /// One line for people.
    pub const fn text(self) -> &'static str {
        match self {
            Self::BadHeader => "not one, or of an unknown version",
            Self::Truncated => "something lies outside of it",
            Self::BadStructure => "tokens or nodes that do not match up",
            Self::BadRange => "a memory range that wraps or is cut off",
            Self::TooMany => "too many memory ranges",
        }
    }
}

/// A range of memory and its NUMA node.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Bank {
    /// First byte.
    pub base: u64,
    /// Bytes.
    pub len: u64,
    /// `numa-node-id`, else 0.
    pub node: u32,
}

/// A list with room for [`MAX_RANGES`].
#[derive(Clone, Copy, Debug)]
pub struct Banks {
    banks: [Bank; MAX_RANGES],
    used: usize,
}

impl Default for Banks {
    fn default() -> Self {
        Self { banks: [const { Bank { base: 0, len: 0, node: 0 } }; MAX_RANGES], used: 0 }
    }
}

impl Banks {
    /// What was listed.
    pub fn as_slice(&self) -> &[Bank] {
        self.banks.get(..self.used).unwrap_or_default()
    }

    /// A list of these; for tests.
    #[cfg(test)]
    pub fn of(banks: &[Bank]) -> Self {
        let mut list = Self { used: banks.len(), ..Self::default() };
        list.banks[..banks.len()].copy_from_slice(banks);
        list
    }

    #[inline(never)]
    fn push(&mut self, base: u64, len: u64) -> Result<(), FdtError> {
        base.checked_add(len).ok_or(FdtError::BadRange)?;
        if len != 0 {
            *self.banks.get_mut(self.used).ok_or(FdtError::TooMany)? = Bank { base, len, node: 0 };
            self.used += 1;
        }
        Ok(())
    }
}

/// What the tree says.
#[derive(Clone, Copy, Debug, Default)]
pub struct Facts<'a> {
    /// RAM.
    pub memory: Banks,
    /// Parts of it that belong to the firmware.
    pub reserved: Banks,
    /// `/chosen/linux,initrd-start` and `-end`; empty if there is none.
    pub initrd: (u64, u64),
    /// `/chosen/bootargs`.
    pub bootargs: &'a [u8],
    /// `/psci/method`.
    pub psci_method: &'a [u8],
}

/// Bytes in the header.
pub const HEADER: usize = 40;
const MAGIC: u32 = 0xd00d_feed;
/// Depths of nodes that matter: root, its children, theirs.
const DEEPEST: usize = 3;

/// The whole length of the tree that starts with `header`.
///
/// # Errors
/// [`FdtError::BadHeader`] if none does.
pub fn total_size(header: &[u8]) -> Result<usize, FdtError> {
    let word = |at| be32(header, at).ok_or(FdtError::BadHeader);
    // Last compatible version: 16 is what every tree since 2005 has.
    if word(0)? != MAGIC || word(24)? > 16 || (word(4)? as usize) < HEADER {
        return Err(FdtError::BadHeader);
    }
    Ok(word(4)? as usize)
}

/// Where the walk is: which of the nodes that matter it is inside of.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Node {
    Root,
    Memory,
    Chosen,
    Psci,
    ReservedMemory,
    Reserved,
    Other,
}

/// Properties that matter.
#[derive(Clone, Copy)]
enum Name {
    AddressCells,
    SizeCells,
    Reg,
    NumaNode,
    InitrdStart,
    InitrdEnd,
    Bootargs,
    Method,
}

/// How they are spelt.
static NAMES: [(&[u8], Name); 8] = [
    (b"#address-cells", Name::AddressCells),
    (b"#size-cells", Name::SizeCells),
    (b"reg", Name::Reg),
    (b"numa-node-id", Name::NumaNode),
    (b"linux,initrd-start", Name::InitrdStart),
    (b"linux,initrd-end", Name::InitrdEnd),
    (b"bootargs", Name::Bootargs),
    (b"method", Name::Method),
];

/// Reads the tree in `blob`.
///
/// # Errors
/// See [`FdtError`].
pub fn read(blob: &[u8]) -> Result<Facts<'_>, FdtError> {
    let blob = blob.get(..total_size(blob)?).ok_or(FdtError::Truncated)?;
    let word = |at| be32(blob, at).map(|w| w as usize).ok_or(FdtError::Truncated);
    let part = |start: usize, len: usize| {
        let range: Range<usize> = start..start.checked_add(len).ok_or(FdtError::Truncated)?;
        blob.get(range).ok_or(FdtError::Truncated)
    };
    let structure = part(word(8)?, word(36)?)?;
    let strings = part(word(12)?, word(32)?)?;
    let mut facts = Facts::default();
    let mut at = word(16)?;
    loop {
        let (base, len) = (be64(blob, at), be64(blob, at.saturating_add(8)));
        let (Some(base), Some(len)) = (base, len) else { return Err(FdtError::Truncated) };
        if (base, len) == (0, 0) {
            break;
        }
        facts.reserved.push(base, len)?;
        at += 16;
    }
    Walk { structure, strings, at: 0, depth: 0, facts, cells: [(2, 1); DEEPEST] }.run()
}

struct Walk<'a> {
    structure: &'a [u8],
    strings: &'a [u8],
    at: usize,
    depth: usize,
    facts: Facts<'a>,
    /// `#address-cells` and `#size-cells` that the nodes at each depth set for their children.
    cells: [(u32, u32); DEEPEST],
}

impl<'a> Walk<'a> {
    fn run(mut self) -> Result<Facts<'a>, FdtError> {
        const BEGIN: u32 = 1;
        const END: u32 = 2;
        const PROPERTY: u32 = 3;
        const NOP: u32 = 4;
        const FINISH: u32 = 9;
        // The nodes from the root to here; deeper ones do not matter.
        let mut path = [Node::Other; DEEPEST];
        let mut first_bank = 0;
        loop {
            match self.word()? {
                BEGIN => {
                    let name = until_zero(self.structure.get(self.at..).unwrap_or(&[]))?;
                    self.skip(name.len() + 1)?;
                    let parent = self.depth.checked_sub(1).and_then(|d| path.get(d)).copied();
                    let node = kind(self.depth, parent, name);
                    if let Some(slot) = path.get_mut(self.depth) {
                        *slot = node;
                        self.cells[self.depth % DEEPEST] = (2, 1);
                    }
                    first_bank = self.facts.memory.used;
                    self.depth += 1;
                }
                END => self.depth = self.depth.checked_sub(1).ok_or(FdtError::BadStructure)?,
                PROPERTY => {
                    let len = self.word()? as usize;
                    let name = self.word()? as usize;
                    let value = self.structure.get(self.at..).and_then(|rest| rest.get(..len));
                    let value = value.ok_or(FdtError::Truncated)?;
                    self.skip(len)?;
                    let name = until_zero(self.strings.get(name..).ok_or(FdtError::Truncated)?)?;
                    let depth = self.depth.checked_sub(1).ok_or(FdtError::BadStructure)?;
                    if let Some(&node) = path.get(depth) {
                        self.property(node, depth, name, value, first_bank)?;
                    }
                }
                NOP => {}
                FINISH if self.depth == 0 => return Ok(self.facts),
                _ => return Err(FdtError::BadStructure),
            }
        }
    }

    fn property(
        &mut self,
        node: Node,
        depth: usize,
        name: &[u8],
        value: &'a [u8],
        first_bank: usize,
    ) -> Result<(), FdtError> {
        let above = self.cells[depth.saturating_sub(1) % DEEPEST];
        let Some((_, name)) = NAMES.iter().find(|(spelt, _)| *spelt == name) else { return Ok(()) };
        match (node, name) {
            (_, Name::AddressCells) => self.cells[depth % DEEPEST].0 = cell(value)?,
            (_, Name::SizeCells) => self.cells[depth % DEEPEST].1 = cell(value)?,
            (Node::Memory, Name::Reg) => ranges(value, above, &mut self.facts.memory)?,
            (Node::Memory, Name::NumaNode) => {
                let node = cell(value)?;
                let used = self.facts.memory.used;
                let banks = self.facts.memory.banks.get_mut(first_bank..used);
                banks.unwrap_or_default().iter_mut().for_each(|bank| bank.node = node);
            }
            (Node::Reserved, Name::Reg) => ranges(value, above, &mut self.facts.reserved)?,
            (Node::Chosen, Name::InitrdStart) => self.facts.initrd.0 = address(value)?,
            (Node::Chosen, Name::InitrdEnd) => self.facts.initrd.1 = address(value)?,
            (Node::Chosen, Name::Bootargs) => self.facts.bootargs = until_zero(value)?,
            (Node::Psci, Name::Method) => self.facts.psci_method = until_zero(value)?,
            _ => {}
        }
        Ok(())
    }

    #[inline(never)]
    fn word(&mut self) -> Result<u32, FdtError> {
        let word = be32(self.structure, self.at).ok_or(FdtError::Truncated)?;
        self.at += 4;
        Ok(word)
    }

    /// Steps over `bytes` and to the next word.
    #[inline(never)]
    fn skip(&mut self, bytes: usize) -> Result<(), FdtError> {
        let end = self.at.checked_add(bytes).and_then(|end| end.checked_next_multiple_of(4));
        self.at = end.ok_or(FdtError::Truncated)?;
        Ok(())
    }
}

/// What a node at `depth` (0 is the root) with this name is.
fn kind(depth: usize, parent: Option<Node>, name: &[u8]) -> Node {
    // Without the unit address.
    let stem = name.split(|&byte| byte == b'@').next().unwrap_or_default();
    match (depth, parent, stem) {
        (0, ..) => Node::Root,
        (1, _, b"memory") => Node::Memory,
        (1, _, b"chosen") => Node::Chosen,
        (1, _, b"psci") => Node::Psci,
        (1, _, b"reserved-memory") => Node::ReservedMemory,
        (2, Some(Node::ReservedMemory), _) => Node::Reserved,
        _ => Node::Other,
    }
}

fn ranges(mut value: &[u8], (address, size): (u32, u32), into: &mut Banks) -> Result<(), FdtError> {
    if !(1..=2).contains(&address) || !(1..=2).contains(&size) {
        return Err(FdtError::BadRange);
    }
    while !value.is_empty() {
        let base = number(&mut value, address)?;
        let len = number(&mut value, size)?;
        into.push(base, len)?;
    }
    Ok(())
}

/// Takes a number of one or two cells.
fn number(value: &mut &[u8], cells: u32) -> Result<u64, FdtError> {
    let mut number = 0;
    for _ in 0..cells {
        number = number << 32 | u64::from(be32(value, 0).ok_or(FdtError::BadRange)?);
        *value = value.get(4..).unwrap_or(&[]);
    }
    Ok(number)
}

/// An address in as many cells as there are.
#[inline(never)]
fn address(mut value: &[u8]) -> Result<u64, FdtError> {
    match value.len() {
        4 => number(&mut value, 1),
        8 => number(&mut value, 2),
        _ => Err(FdtError::BadRange),
    }
}

fn cell(value: &[u8]) -> Result<u32, FdtError> {
    be32(value, 0).ok_or(FdtError::Truncated)
}

#[inline(never)]
fn until_zero(bytes: &[u8]) -> Result<&[u8], FdtError> {
    let len = bytes.iter().position(|&byte| byte == 0).ok_or(FdtError::Truncated)?;
    bytes.get(..len).ok_or(FdtError::Truncated)
}

#[inline(never)]
fn be32(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_be_bytes(*bytes.get(at..)?.first_chunk()?))
}

fn be64(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_be_bytes(*bytes.get(at..)?.first_chunk()?))
}

#[cfg(test)]
mod tests;
