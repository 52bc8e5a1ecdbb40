use crate::cores::{Listed, number};
use crate::{DiscoverError, Firmware, discover};
use skerry_hal::{HwId, IslandId, PhysAddr};
use skerry_skb::{CommandLine, Source};

fn listed(hw: u64, enabled: bool, node: u32) -> Listed {
    Listed { hw: HwId(hw), enabled, node }
}

#[test]
fn the_boot_core_is_number_0_and_those_that_are_off_come_last() {
    let list = [listed(0, true, 0), listed(1, false, 0), listed(2, true, 1), listed(3, true, 2)];
    let cores = number(HwId(2), &list).unwrap();
    let cores: Vec<_> = cores.iter().map(|c| (c.local, c.hw.0, c.enabled, c.node)).collect();
    assert_eq!(cores, [(0, 2, true, 1), (1, 0, true, 0), (2, 3, true, 2), (3, 1, false, 0)]);
}

#[test]
fn a_core_that_runs_is_enabled_whatever_the_firmware_says() {
    assert!(number(HwId(1), &[listed(1, false, 0)]).unwrap()[0].enabled);
}

#[test]
fn a_firmware_that_does_not_list_the_boot_core_is_refused() {
    let error = number(HwId(9), &[listed(0, true, 0)]).unwrap_err();
    assert_eq!(error, DiscoverError::NoBootCore(HwId(9)));
    assert!(error.to_string().contains("0x9"));
}

#[test]
fn without_firmware_there_is_the_core_that_runs() {
    let line = CommandLine::parse(b"island=3 bound_ms=7").unwrap();
    let from = Firmware { kind: 0, addr: PhysAddr(0), boot_core: HwId(5) };
    let memory = &mut super::support::Memory::default();
    let store = discover(from, memory, &line).unwrap();
    let cores = store.island(IslandId(3)).cores();
    assert_eq!((cores.len(), cores[0].hw), (1, HwId(5)));
    assert!(store.iter().all(|record| record.origin.source == Source::Asserted));
    let unknown = discover(Firmware { kind: 7, ..from }, memory, &line);
    assert_eq!(unknown, Err(DiscoverError::UnknownFirmware(7)));
}
