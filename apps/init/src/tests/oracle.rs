//! The `acpi` crate as oracle: on well-formed tables (QEMU's own) it and we must say the same. Hostile tables are not
//! for it (`docs/decisions/0003-facts.md`).

use super::support::*;
use acpi::madt::{Madt, MadtEntry};
use acpi::mcfg::Mcfg;
use acpi::{AcpiHandler, AcpiTables, PhysicalMapping};
use skerry_hal::IslandId;
use skerry_skb::{IoApic, PciHost};
use std::ptr::NonNull;
use std::sync::Arc;

/// A table: physical address, bytes, and a copy aligned for any of the crate's structures.
type Piece = (u64, usize, Box<[u64]>);

/// Zeros behind each table: the crate reads an RSDP of revision 1 as if it had the length of revision 2.
const BEHIND: usize = 16;

#[derive(Clone)]
struct Bench(Arc<Vec<Piece>>);

impl Bench {
    fn new(memory: &Memory) -> Self {
        let piece = |(at, bytes): &(u64, Vec<u8>)| {
            let mut words = vec![0u64; (bytes.len() + BEHIND).div_ceil(8)];
            for (n, byte) in bytes.iter().enumerate() {
                words[n / 8] |= u64::from(*byte) << (n % 8 * 8);
            }
            (*at, bytes.len() + BEHIND, words.into_boxed_slice())
        };
        Self(Arc::new(memory.0.iter().map(piece).collect()))
    }
}

#[expect(unsafe_code, reason = "the crate's interface: it turns physical addresses into references")]
impl AcpiHandler for Bench {
    unsafe fn map_physical_region<T>(&self, address: usize, size: usize) -> PhysicalMapping<Self, T> {
        let inside = |piece: &&Piece| {
            (address as u64).checked_sub(piece.0).is_some_and(|offset| offset as usize + size <= piece.1)
        };
        let (at, _, words) = self.0.iter().find(inside).expect("the dump holds what the tables point to");
        // SAFETY: `inside` checked that the offset lies in the piece.
        let start = unsafe { words.as_ptr().cast::<u8>().add(address - *at as usize) };
        let start = NonNull::new(start.cast_mut()).expect("a pointer into a box").cast();
        // SAFETY: `size` bytes from `start` are there for as long as any clone of `self` is.
        unsafe { PhysicalMapping::new(address, start, size, size, self.clone()) }
    }

    fn unmap_physical_region<T>(_region: &PhysicalMapping<Self, T>) {}
}

fn both_say_the_same(dump: &[u8]) {
    let (mut memory, rsdp) = Memory::from_dump(dump);
    #[expect(unsafe_code, reason = "the crate's interface")]
    // SAFETY: the dump is a whole machine's tables, and `Bench` maps nothing else.
    let tables = unsafe { AcpiTables::from_rsdp(Bench::new(&memory), rsdp as usize) }.expect("QEMU's tables");
    let store = discover_acpi(&mut memory, rsdp).unwrap();
    let view = store.island(IslandId(1));

    let madt = tables.find_table::<Madt>().expect("a MADT");
    let (mut cores, mut io, mut moved) = (Vec::new(), Vec::new(), Vec::new());
    for entry in madt.get().entries() {
        match entry {
            MadtEntry::LocalApic(core) if core.flags & 1 != 0 => cores.push(u64::from(core.apic_id)),
            MadtEntry::LocalX2Apic(core) if core.flags & 1 != 0 => cores.push(u64::from(core.x2apic_id)),
            MadtEntry::IoApic(one) => {
                io.push((
                    u32::from(one.io_apic_id),
                    u64::from(one.io_apic_address),
                    one.global_system_interrupt_base,
                ));
            }
            MadtEntry::InterruptSourceOverride(one) => moved.push((one.irq, one.global_system_interrupt)),
            _ => {}
        }
    }
    assert!(!cores.is_empty() && !io.is_empty() && !moved.is_empty());
    assert_eq!(view.cores().iter().map(|core| core.hw.0).collect::<Vec<_>>(), cores);
    assert_eq!(view.all::<IoApic>().map(|one| (one.id, one.base.0, one.first_line)).collect::<Vec<_>>(), io);
    for (irq, line) in moved {
        assert_eq!(view.legacy_line(irq).0, line, "irq {irq}");
    }

    let mcfg = tables.find_table::<Mcfg>().expect("an MCFG");
    let hosts: Vec<_> = mcfg
        .entries()
        .iter()
        .map(|host| (host.base_address, host.pci_segment_group, host.bus_number_start, host.bus_number_end))
        .collect();
    let ours = |host: PciHost| (host.ecam.base.0, host.segment, host.first_bus, host.last_bus);
    assert_eq!(view.pci_hosts().map(ours).collect::<Vec<_>>(), hosts);
}

#[test]
fn the_acpi_crate_reads_the_same_in_qemus_tables() {
    both_say_the_same(Q35_NUMA);
    both_say_the_same(Q35_PLAIN);
}
