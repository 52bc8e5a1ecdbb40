//! Who is near what: SRAT (§5.2.16) and SLIT (§5.2.17). A NUMA node is what ACPI calls a proximity domain.

use super::room;
use super::table::{HEADER, Table};
use crate::discover::Found;
use crate::{Problem, TableError, limit};
use alloc::vec::Vec;
use skerry_hal::{HwId, PhysAddr, PhysRange};
use skerry_skb::{Distance, Fact, MemoryNode};
use zerocopy::little_endian::{U16, U32, U64};
use zerocopy::{FromBytes, Immutable, KnownLayout, Unaligned};

/// Type 0: a core with a short name.
#[derive(FromBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct LocalApic {
    head: [u8; 2],
    node_low: u8,
    id: u8,
    flags: U32,
    sapic: u8,
    node_high: [u8; 3],
    clock: U32,
}

/// Type 1.
#[derive(FromBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct Memory {
    head: [u8; 2],
    node: U32,
    reserved: U16,
    base: U64,
    len: U64,
    reserved2: U32,
    flags: U32,
    reserved3: U64,
}

/// Type 2: a core with a long name.
#[derive(FromBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct LocalX2Apic {
    head: [u8; 2],
    reserved: U16,
    node: U32,
    id: U32,
    flags: U32,
    clock: U32,
    reserved2: U32,
}

const _: () =
    assert!(size_of::<LocalApic>() == 16 && size_of::<Memory>() == 40 && size_of::<LocalX2Apic>() == 24);

const ENABLED: u32 = 1;
/// What a node's own memory costs it (§5.2.17).
const OWN: u8 = 10;
/// "There is no way" (§5.2.17).
const UNREACHABLE: u8 = 255;

/// Reads the SRAT. The MADT must have been read before.
pub fn srat(table: &Table, found: &mut Found) -> Result<(), TableError> {
    // In revision 1 all but the low byte of a node is reserved.
    let mask = if table.revision < 2 { 0xff } else { u32::MAX };
    let mut memory: Vec<MemoryNode> = Vec::new();
    for entry in table.entries(HEADER + 12)? {
        let (kind, entry) = entry?;
        match kind {
            0 => {
                let core: &LocalApic = entry.view("core affinity")?;
                let [a, b, c] = core.node_high;
                let node = u32::from_le_bytes([core.node_low, a, b, c]);
                place(found, core.id.into(), node & mask, core.flags.get());
            }
            2 => {
                let core: &LocalX2Apic = entry.view("x2APIC affinity")?;
                place(found, core.id.get(), core.node.get() & mask, core.flags.get());
            }
            1 => {
                let it: &Memory = entry.view("memory affinity")?;
                let range = PhysRange::new(PhysAddr(it.base.get()), it.len.get());
                if it.flags.get() & ENABLED == 0 || range.len == 0 {
                    continue;
                }
                if range.base.checked_add(range.len).is_none() {
                    return Err(table.error("memory affinity length", Problem::Value(range.len)));
                }
                let node = it.node.get() & mask;
                if memory.iter().any(|other| other.node != node && other.range.overlaps(range)) {
                    return Err(table.error("memory affinity base", Problem::Value(range.base.0)));
                }
                room(&memory, limit::MEMORY_RANGES, table, "memory affinity")?;
                memory.push(MemoryNode { node, range });
            }
            _ => {}
        }
    }
    found.facts.extend(memory.into_iter().map(Fact::from));
    Ok(())
}

fn place(found: &mut Found, id: u32, node: u32, flags: u32) {
    let core = found.cores.iter_mut().find(|core| core.hw == HwId(id.into()));
    if let Some(core) = core.filter(|_| flags & ENABLED != 0) {
        core.node = node;
    }
}

/// Reads the SLIT.
pub fn slit(table: &Table, found: &mut Found) -> Result<(), TableError> {
    let nodes = table.at::<U64>(HEADER, "localities")?.get();
    if nodes == 0 {
        return Err(table.error("localities", Problem::Value(nodes)));
    }
    if nodes > limit::NODES as u64 {
        return Err(table.error("localities", Problem::TooMany(limit::NODES)));
    }
    let nodes = nodes as usize;
    let matrix = table.rest(HEADER + 8, "matrix")?;
    let matrix = matrix.get(..nodes * nodes).ok_or_else(|| table.error("matrix", Problem::Short))?;
    for (at, &value) in matrix.iter().enumerate() {
        let (from, to) = ((at / nodes) as u32, (at % nodes) as u32);
        if value < OWN || (from == to && value != OWN) {
            return Err(table.error("matrix", Problem::Value(value.into())));
        }
        if value != UNREACHABLE {
            found.facts.push(Distance { from, to, value: value.into() }.into());
        }
    }
    Ok(())
}
