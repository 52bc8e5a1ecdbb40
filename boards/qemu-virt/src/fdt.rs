//! The little of a flattened device tree that boot glue needs (Devicetree Specification 0.4, ch. 5): memory, reserved
//! memory, `/chosen`, the PSCI method. One pass, no recursion, every access checked: whatever the bytes, the answer is
//! facts or an error. The crate `fdt` panics on malformed trees; `init`, which can afford to be careful, uses it.

/// Memory nodes and reservations that are kept, each.
pub const MAX_RANGES: usize = 16;

skerry_hal::reasons! {
    /// Why a tree cannot be read.
    pub enum FdtError {
        /// Not a device tree, or a version before 16.
        BadHeader: "not one, or of an unknown version",
        /// Something lies outside of what the header says the tree has.
        Truncated: "something lies outside of it",
        /// A token that does not exist, or nodes that do not match up.
        BadStructure: "tokens or nodes that do not match up",
        /// A memory range that wraps or is no multiple of its cells.
        BadRange: "a memory range that wraps or is cut off",
        /// More than [`MAX_RANGES`].
        TooMany: "too many memory ranges",
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
#[derive(Clone, Copy, Debug, Default)]
pub struct Banks {
    banks: [Bank; MAX_RANGES],
    used: usize,
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

/// Tokens of the structure block.
mod token {
    pub const BEGIN: u64 = 1;
    pub const END: u64 = 2;
    pub const PROPERTY: u64 = 3;
    pub const NOP: u64 = 4;
    pub const FINISH: u64 = 9;
}

/// Properties that matter.
#[derive(Clone, Copy)]
enum Name {
    AddressCells,
    SizeCells,
    Memory,
    NumaNode,
    Reserved,
    InitrdStart,
    InitrdEnd,
    Bootargs,
    Method,
}

/// How they are spelt, and where they are: how many nodes deep, and below which of the root's children, or anywhere.
static NAMES: [(usize, &[u8], &[u8], Name); 9] = [
    (0, b"", b"#address-cells", Name::AddressCells),
    (0, b"", b"#size-cells", Name::SizeCells),
    (2, b"memory", b"reg", Name::Memory),
    (2, b"memory", b"numa-node-id", Name::NumaNode),
    (3, b"reserved-memory", b"reg", Name::Reserved),
    (2, b"chosen", b"linux,initrd-start", Name::InitrdStart),
    (2, b"chosen", b"linux,initrd-end", Name::InitrdEnd),
    (2, b"chosen", b"bootargs", Name::Bootargs),
    (2, b"psci", b"method", Name::Method),
];

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

/// Reads the tree in `blob`.
///
/// # Errors
/// See [`FdtError`].
pub fn read(blob: &[u8]) -> Result<Facts<'_>, FdtError> {
    let blob = blob.get(..total_size(blob)?).ok_or(FdtError::Truncated)?;
    let part = |start, len: Option<usize>| {
        let word = |at| be32(blob, at).map(|word| word as usize);
        let rest = blob.get(word(start)?..)?;
        rest.get(..len.map_or(Some(rest.len()), word)?)
    };
    let parts = (part(16, None), part(8, Some(36)), part(12, Some(32)));
    let (Some(reserved), Some(structure), Some(strings)) = parts else { return Err(FdtError::Truncated) };
    let (mut facts, mut entries) = (Facts::default(), Cells(reserved));
    loop {
        let (base, len) = (entries.number(2)?, entries.number(2)?);
        if (base, len) == (0, 0) {
            break;
        }
        facts.reserved.push(base, len)?;
    }
    walk(Cells(structure), strings, &mut facts)?;
    Ok(facts)
}

/// From one token to the next.
fn walk<'a>(mut tokens: Cells<'a>, strings: &'a [u8], facts: &mut Facts<'a>) -> Result<(), FdtError> {
    // The root's child that this is, or is below of, without its unit address. And `#address-cells` and `#size-cells`, as
    // set by the root's parent, so to speak, and by each node from the root to here for its children.
    let (mut child, mut cells) = (&[][..], [(2, 1); DEEPEST + 1]);
    let (mut depth, mut first_bank) = (0_usize, 0);
    loop {
        match tokens.number(1)? {
            token::BEGIN => {
                let name = until_zero(tokens.0)?;
                tokens.bytes(name.len() + 1)?;
                depth += 1;
                if depth == 2 {
                    child = name.split(|&byte| byte == b'@').next().unwrap_or_default();
                }
                if let Some(own) = cells.get_mut(depth) {
                    *own = (2, 1);
                }
                first_bank = facts.memory.used;
            }
            token::END => depth = depth.checked_sub(1).ok_or(FdtError::BadStructure)?,
            token::PROPERTY => {
                let len = tokens.number(1)? as usize;
                let name = strings.get(tokens.number(1)? as usize..).ok_or(FdtError::Truncated)?;
                let (name, value) = (until_zero(name)?, tokens.bytes(len)?);
                let above = depth.checked_sub(1).ok_or(FdtError::BadStructure)?;
                let Some([above, own]) = cells.get_mut(above..=depth) else { continue };
                let here = |it: &&(usize, &[u8], &[u8], Name)| {
                    (it.0 == 0 || (it.0, it.1) == (depth, child)) && it.2 == name
                };
                let Some((.., name)) = NAMES.iter().find(here) else { continue };
                match name {
                    Name::AddressCells => own.0 = Cells(value).number(1)?,
                    Name::SizeCells => own.1 = Cells(value).number(1)?,
                    Name::Memory => ranges(value, *above, &mut facts.memory)?,
                    Name::NumaNode => {
                        let node = Cells(value).number(1)? as u32;
                        let banks = facts.memory.banks.get_mut(first_bank..facts.memory.used);
                        banks.unwrap_or_default().iter_mut().for_each(|bank| bank.node = node);
                    }
                    Name::Reserved => ranges(value, *above, &mut facts.reserved)?,
                    Name::InitrdStart => facts.initrd.0 = address(value)?,
                    Name::InitrdEnd => facts.initrd.1 = address(value)?,
                    Name::Bootargs => facts.bootargs = until_zero(value)?,
                    Name::Method => facts.psci_method = until_zero(value)?,
                }
            }
            token::NOP => {}
            token::FINISH if depth == 0 => return Ok(()),
            _ => return Err(FdtError::BadStructure),
        }
    }
}

/// Takes cells, of 32 bits, one after another.
struct Cells<'a>(&'a [u8]);

impl<'a> Cells<'a> {
    /// A number of this many cells.
    #[inline(never)]
    fn number(&mut self, cells: u64) -> Result<u64, FdtError> {
        let mut number = 0;
        for _ in 0..cells {
            number = number << 32 | u64::from(be32(self.0, 0).ok_or(FdtError::Truncated)?);
            self.0 = self.0.get(4..).unwrap_or_default();
        }
        Ok(number)
    }

    /// So many bytes; steps over what fills their last cell.
    #[inline(never)]
    fn bytes(&mut self, len: usize) -> Result<&'a [u8], FdtError> {
        let (bytes, rest) = self.0.split_at_checked(len).ok_or(FdtError::Truncated)?;
        self.0 = rest.get(len.wrapping_neg() % 4..).unwrap_or_default();
        Ok(bytes)
    }
}

#[inline(never)]
fn ranges(value: &[u8], (address, size): (u64, u64), into: &mut Banks) -> Result<(), FdtError> {
    if !(1..=2).contains(&address) || !(1..=2).contains(&size) {
        return Err(FdtError::BadRange);
    }
    let mut cells = Cells(value);
    while !cells.0.is_empty() {
        let (Ok(base), Ok(len)) = (cells.number(address), cells.number(size)) else {
            return Err(FdtError::BadRange);
        };
        into.push(base, len)?;
    }
    Ok(())
}

/// An address in as many cells as there are.
fn address(value: &[u8]) -> Result<u64, FdtError> {
    match value.len() {
        4 | 8 => Cells(value).number(value.len() as u64 / 4),
        _ => Err(FdtError::BadRange),
    }
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

#[cfg(test)]
mod tests;
