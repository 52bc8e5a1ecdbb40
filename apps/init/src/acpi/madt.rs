//! Cores and interrupt controllers: the MADT (§5.2.12).

use super::room;
use super::table::{HEADER, Table};
use crate::cores::Listed;
use crate::discover::Found;
use crate::{Problem, TableError, limit};
use skerry_hal::{HwId, PhysAddr, PhysRange};
use skerry_skb::{ControllerKind, InterruptController, IoApic, IrqOverride, Trigger};
use zerocopy::little_endian::{U16, U32, U64};
use zerocopy::{FromBytes, Immutable, KnownLayout, Unaligned};

#[derive(FromBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct Madt {
    local_apic: U32,
    flags: U32,
}

/// Type 0: a core with a short name.
#[derive(FromBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct LocalApic {
    head: [u8; 2],
    uid: u8,
    id: u8,
    flags: U32,
}

/// Type 9: a core with a long name.
#[derive(FromBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct LocalX2Apic {
    head: [u8; 2],
    reserved: U16,
    id: U32,
    flags: U32,
    uid: U32,
}

/// Type 1.
#[derive(FromBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct IoApicEntry {
    head: [u8; 2],
    id: u8,
    reserved: u8,
    address: U32,
    first_line: U32,
}

/// Type 2.
#[derive(FromBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct Override {
    head: [u8; 2],
    bus: u8,
    irq: u8,
    line: U32,
    flags: U16,
}

/// Type 5.
#[derive(FromBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct LocalApicAddress {
    head: [u8; 2],
    reserved: U16,
    address: U64,
}

const ENABLED: u32 = 1;
const ONLINE_CAPABLE: u32 = 2;
const PAGE: u64 = 4096;

/// Reads the MADT.
pub fn parse(table: &Table, found: &mut Found) -> Result<(), TableError> {
    let madt: &Madt = table.at(HEADER, "local_apic")?;
    let mut base = u64::from(madt.local_apic.get());
    for entry in table.entries(HEADER + size_of::<Madt>())? {
        let (kind, entry) = entry?;
        match kind {
            0 => {
                let core: &LocalApic = entry.view("local APIC")?;
                add_core(table, found, core.id.into(), core.flags.get())?;
            }
            9 => {
                let core: &LocalX2Apic = entry.view("local x2APIC")?;
                add_core(table, found, core.id.get(), core.flags.get())?;
            }
            1 => {
                let apic: &IoApicEntry = entry.view("I/O APIC")?;
                let base = PhysAddr(apic.address.get().into());
                if base.0 == 0 || !base.is_aligned(16) {
                    return Err(table.error("I/O APIC address", Problem::Value(base.0)));
                }
                found
                    .facts
                    .push(IoApic { id: apic.id.into(), base, first_line: apic.first_line.get() }.into());
            }
            2 => found.facts.push(irq_override(table, entry.view("source override")?)?.into()),
            5 => base = entry.view::<LocalApicAddress>("local APIC address")?.address.get(),
            // NMIs, SAPICs, other ISAs' controllers; §5.2.12 tells us to skip what we do not know.
            _ => {}
        }
    }
    if found.cores.is_empty() {
        return Err(table.error("local APIC", Problem::Missing));
    }
    if base == 0 || base % PAGE != 0 || base.checked_add(PAGE).is_none() {
        return Err(table.error("local_apic", Problem::Value(base)));
    }
    let base = PhysRange::new(PhysAddr(base), PAGE);
    let cores = PhysRange::default();
    found.facts.push(InterruptController { kind: ControllerKind::Apic, base, cores }.into());
    Ok(())
}

/// A core that is neither enabled nor can be is a place holder. A core may be listed in both forms (§5.2.12.12).
fn add_core(table: &Table, found: &mut Found, id: u32, flags: u32) -> Result<(), TableError> {
    let hw = HwId(id.into());
    if flags & (ENABLED | ONLINE_CAPABLE) == 0 || found.cores.iter().any(|core| core.hw == hw) {
        return Ok(());
    }
    room(&found.cores, limit::CORES, table, "local APIC")?;
    found.cores.push(Listed { hw, enabled: flags & ENABLED != 0, node: 0 });
    Ok(())
}

/// "Conforms to the bus" means rising edge: the bus is always ISA (§5.2.12.5, table 5.28).
fn irq_override(table: &Table, entry: &Override) -> Result<IrqOverride, TableError> {
    if entry.bus != 0 {
        return Err(table.error("source override bus", Problem::Value(entry.bus.into())));
    }
    let flags = entry.flags.get();
    let low = match flags & 3 {
        0 | 1 => false,
        3 => true,
        _ => return Err(table.error("source override polarity", Problem::Value(flags.into()))),
    };
    let level = match flags >> 2 & 3 {
        0 | 1 => false,
        3 => true,
        _ => return Err(table.error("source override trigger", Problem::Value(flags.into()))),
    };
    let trigger = match (level, low) {
        (false, false) => Trigger::EdgeHigh,
        (false, true) => Trigger::EdgeLow,
        (true, false) => Trigger::LevelHigh,
        (true, true) => Trigger::LevelLow,
    };
    Ok(IrqOverride { irq: entry.irq, line: entry.line.get(), trigger })
}
