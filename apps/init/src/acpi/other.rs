//! PCI hosts (MCFG, PCI firmware specification 3.3, §4.1.2), consoles (SPCR), timers (HPET, FADT).

use super::table::{GenericAddress, HEADER, Table};
use crate::discover::Found;
use crate::{Problem, TableError, limit};
use skerry_hal::{PhysAddr, PhysRange};
use skerry_skb::{Console, ConsoleKind, PciHost, Timer, TimerKind};
use zerocopy::little_endian::{U16, U32, U64};
use zerocopy::{FromBytes, Immutable, KnownLayout, Unaligned};

#[derive(FromBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct McfgEntry {
    base: U64,
    segment: U16,
    first_bus: u8,
    last_bus: u8,
    reserved: U32,
}

/// Bytes of configuration space that one bus takes.
const BUS: u64 = 1 << 20;

/// Reads the MCFG. An entry's base is that of bus 0, whatever its first bus is.
pub fn mcfg(table: &Table, found: &mut Found) -> Result<(), TableError> {
    let rest = table.rest(HEADER + 8, "entries")?;
    let (entries, left) = rest.as_chunks::<{ size_of::<McfgEntry>() }>();
    if !left.is_empty() {
        return Err(table.error("entries", Problem::Short));
    }
    if entries.len() > limit::PCI_HOSTS {
        return Err(table.error("entries", Problem::TooMany(limit::PCI_HOSTS)));
    }
    for bytes in entries {
        let entry = McfgEntry::ref_from_bytes(bytes).map_err(|_| table.error("entries", Problem::Short))?;
        let (first, last) = (entry.first_bus, entry.last_bus);
        if last < first {
            return Err(table.error("last_bus", Problem::Value(last.into())));
        }
        let base = PhysAddr(entry.base.get());
        let end = base.checked_add((u64::from(last) + 1) * BUS).filter(|_| base.is_aligned(BUS));
        let (Some(_), Some(start)) = (end, base.checked_add(u64::from(first) * BUS)) else {
            return Err(table.error("base", Problem::Value(base.0)));
        };
        let ecam = PhysRange::new(start, (u64::from(last - first) + 1) * BUS);
        found
            .facts
            .push(PciHost { segment: entry.segment.get(), ecam, first_bus: first, last_bus: last }.into());
    }
    Ok(())
}

#[derive(FromBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct Spcr {
    interface: u8,
    reserved: [u8; 3],
    base: GenericAddress,
    interrupt: u8,
    irq: u8,
    line: U32,
}

/// Ports, or bytes of memory, of a 16550.
const UART_16550: u64 = 8;
/// Bytes of memory of a PL011.
const UART_PL011: u64 = 4096;
/// SPCR's bits for "the interrupt is a line of an I/O APIC" and "of a GIC".
const BY_LINE: u8 = 2 | 8;
/// SPCR's bit for "the interrupt is a legacy one".
const BY_IRQ: u8 = 1;

/// Reads the SPCR (Microsoft, *Serial Port Console Redirection Table*, revision 1.10). An interface that Skerry
/// cannot drive leaves the machine without console fact.
pub fn spcr(table: &Table, found: &mut Found) -> Result<(), TableError> {
    let spcr: &Spcr = table.at(HEADER, "interface")?;
    let (kind, len) = match (spcr.interface, spcr.base.space) {
        (0 | 1 | 0x12, 1) => (ConsoleKind::Uart16550Port, UART_16550),
        (0 | 1 | 0x12, 0) => (ConsoleKind::Uart16550Memory, UART_16550),
        (3, 0) => (ConsoleKind::Pl011, UART_PL011),
        (0 | 1 | 3 | 0x12, space) => {
            return Err(table.error("base.space", Problem::Value(space.into())));
        }
        _ => return Ok(()),
    };
    let base = spcr.base.address.get();
    // Address 0 is how firmware says "redirection is off".
    if base == 0 {
        return Ok(());
    }
    let end = if kind == ConsoleKind::Uart16550Port { 1 << 16 } else { u64::MAX };
    if base.checked_add(len).is_none_or(|last| last > end) {
        return Err(table.error("base.address", Problem::Value(base)));
    }
    let line = if spcr.interrupt & BY_LINE != 0 {
        Some(spcr.line.get())
    } else {
        (spcr.interrupt & BY_IRQ != 0).then_some(spcr.irq.into())
    };
    found.facts.push(Console { kind, base: PhysRange::new(PhysAddr(base), len), line }.into());
    Ok(())
}

/// A PC without SPCR: convention puts the first serial line at port 0x3f8, interrupt 4 (no table says so, hence
/// asserted).
pub fn assert_pc_console(found: &mut Found) {
    let base = PhysRange::new(PhysAddr(0x3f8), UART_16550);
    found.asserted.push(Console { kind: ConsoleKind::Uart16550Port, base, line: Some(4) }.into());
}

#[derive(FromBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct Hpet {
    id: U32,
    base: GenericAddress,
    number: u8,
    min_tick: U16,
    protection: u8,
}

/// Reads the HPET table (Intel, *IA-PC HPET specification* 1.0a, §3.2.4). Its frequency is in its registers.
pub fn hpet(table: &Table, found: &mut Found) -> Result<(), TableError> {
    let hpet: &Hpet = table.at(HEADER, "base")?;
    let base = PhysRange::new(PhysAddr(hpet.base.address.get()), 0x400);
    if hpet.base.space != 0 || base.base.0 == 0 || base.base.checked_add(base.len).is_none() {
        return Err(table.error("base", Problem::Value(base.base.0)));
    }
    found.facts.push(Timer { kind: TimerKind::Hpet, base, line: None, frequency: 0 }.into());
    Ok(())
}

/// Where the FADT (§5.2.9) keeps `PM_TMR_BLK`, and how fast it ticks (§4.8.3.3).
const PM_TIMER: usize = 76;
const PM_TIMER_HERTZ: u64 = 3_579_545;

/// Reads the FADT's power-management timer; a machine with reduced hardware has none.
pub fn fadt(table: &Table, found: &mut Found) -> Result<(), TableError> {
    let port = u64::from(table.at::<U32>(PM_TIMER, "PM_TMR_BLK")?.get());
    if port == 0 {
        return Ok(());
    }
    if port > 0xfffc {
        return Err(table.error("PM_TMR_BLK", Problem::Value(port)));
    }
    let base = PhysRange::new(PhysAddr(port), 4);
    found.facts.push(Timer { kind: TimerKind::AcpiPm, base, line: None, frequency: PM_TIMER_HERTZ }.into());
    Ok(())
}
