//! Tables of messages and virtio structures, and what lies about them.

use super::machine::*;
use crate::msix::{Bad, Msix, Place, Virtio};
use crate::{ConfigSpace, Function, Width, scan};
use proptest::prelude::*;

/// A virtio device like QEMU's: the table in BAR 1, structures in BAR 4.
fn virtio() -> Device {
    let mut device = Device::new(1, 0x1af4, 0x1044).bar(1, 0, 4096).wide(4, 12, 16 << 10);
    (device.bytes[6], device.bytes[0x34]) = (0x10, 0x40);
    device.writable[5] = 4;
    let mut part = |at: usize, next: u8, kind: u32, offset: u32, len: u32| {
        device.set(at, kind << 24 | 20 << 16 | u32::from(next) << 8 | 9);
        device.set(at + 4, 4);
        device.set(at + 8, offset);
        device.set(at + 12, len);
    };
    part(0x40, 0x54, 1, 0, 0x1000);
    part(0x54, 0x64, 3, 0x1000, 0x1000);
    part(0x64, 0x78, 4, 0x2000, 0x1000);
    part(0x78, 0x8c, 2, 0x3000, 0x1000);
    device.set(0x88, 4);
    device.set(0x8c, 1 << 16 | 0x11);
    device.set(0x90, 1);
    device.set(0x94, 0x801);
    device.writable[0x8f] = 0xc0;
    device
}

fn found(device: Device) -> (Machine, Function) {
    let mut machine = Machine(vec![device]);
    let scan = scan(&mut machine, &HOST, &WINDOWS);
    (machine, scan.functions[0].clone())
}

fn msix(device: Device) -> Option<Result<Msix, Bad>> {
    let (mut machine, function) = found(device);
    Msix::find(&mut machine, &function)
}

fn parts(device: Device) -> Result<Virtio, Bad> {
    let (mut machine, function) = found(device);
    let msix = Msix::find(&mut machine, &function).unwrap().unwrap();
    Virtio::find(&mut machine, &function, Some(&msix))
}

#[test]
fn a_virtio_device_is_understood_and_its_messages_turned_on_and_off() {
    let (mut machine, function) = found(virtio());
    let msix = Msix::find(&mut machine, &function).unwrap().unwrap();
    assert_eq!((msix.entries, msix.table), (2, Place { bar: 1, offset: 0, len: 32 }));
    assert_eq!(msix.pending, Place { bar: 1, offset: 0x800, len: 8 });
    let virtio = Virtio::find(&mut machine, &function, Some(&msix)).unwrap();
    let at = |offset| Some(Place { bar: 4, offset, len: 0x1000 });
    assert_eq!((virtio.places, virtio.notify_step), ([at(0), at(0x3000), at(0x1000), at(0x2000)], 4));
    msix.enable(&mut machine, function.address);
    let on = |machine: &mut Machine| {
        let command = machine.read(function.address, 4, Width::Half);
        (machine.read(function.address, 0x8e, Width::Half) >> 14, command & 4 != 0, command & 0x400 != 0)
    };
    assert_eq!(on(&mut machine), (0b10, true, true));
    msix.disable(&mut machine, function.address);
    assert_eq!(on(&mut machine), (0b01, false, true), "no message, and no other write to memory");
}

#[test]
fn a_function_without_messages_has_none() {
    let mut device = virtio();
    device.bytes[0x8c] = 0x0b;
    assert_eq!(msix(device), None);
    assert_eq!(msix(Device::new(1, 1, 1)), None);
}

#[test]
fn tables_that_lie() {
    let with = |at: usize, word: u32| {
        let mut device = virtio();
        device.set(at, word);
        msix(device).unwrap()
    };
    assert_eq!(with(0x90, 0), Err(Bad::NoBar(0)));
    assert_eq!(with(0x90, 7), Err(Bad::NoBar(7)));
    assert_eq!(with(0x90, 0xff1), Err(Bad::Outside(1)), "its second entry");
    assert_eq!(with(0x94, 0x1001), Err(Bad::Outside(1)));
    assert_eq!(with(0x90, 0xffff_fff9), Err(Bad::Outside(1)));
    assert_eq!(with(0x8c, 0x7ff << 16 | 0x11), Err(Bad::Outside(1)), "2048 entries in one page");
    let mut cut = virtio();
    cut.bytes[0x79] = 0xf8;
    cut.set(0xf8, 1 << 16 | 0x11);
    assert_eq!(msix(cut), Some(Err(Bad::CutOff)));
    // Ports are no place for a table.
    let mut ports = virtio().bar(0, 1, 32);
    ports.set(0x90, 0);
    assert_eq!(msix(ports), Some(Err(Bad::NoBar(0))));
}

#[test]
fn structures_that_lie() {
    let with = |at: usize, word: u32| {
        let mut device = virtio();
        device.set(at, word);
        parts(device)
    };
    assert_eq!(with(0x44, 1), Err(Bad::Overlap), "a driver must not write the table of messages");
    assert_eq!(with(0x44, 3), Err(Bad::NoBar(3)));
    assert_eq!(with(0x44, 255), Err(Bad::NoBar(255)));
    assert_eq!(with(0x48, 0x3001), Err(Bad::Unaligned));
    assert_eq!(with(0x48, 0x3004), Err(Bad::Outside(4)));
    assert_eq!(with(0x4c, u32::MAX), Err(Bad::Outside(4)));
    assert_eq!(with(0x40, 1 << 24 | 12 << 16 | 0x54 << 8 | 9), Err(Bad::CutOff));
    // Of two of a kind the first counts; unknown kinds do not.
    assert_eq!(with(0x54, 1 << 24 | 20 << 16 | 0x64 << 8 | 9).unwrap().places[2], None);
    assert_eq!(with(0x54, 99 << 24 | 20 << 16 | 0x64 << 8 | 9).unwrap().places[2], None);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..Default::default() })]

    /// Whatever stands in its capabilities: what is believed lies in its BARs, and apart from the table.
    #[test]
    fn what_is_believed_is_so(changes in prop::collection::vec((0x40..0x100usize, any::<u8>()), 0..10)) {
        let mut device = virtio();
        for (at, byte) in changes {
            device.bytes[at] = byte;
        }
        let (mut machine, function) = found(device);
        let msix = Msix::find(&mut machine, &function);
        let inside = |place: &Place| {
            let bar = function.bars.iter().find(|bar| bar.index == place.bar).unwrap();
            bar.base.is_some() && place.offset + place.len <= bar.size
        };
        if let Some(Ok(msix)) = msix {
            prop_assert!(inside(&msix.table) && inside(&msix.pending));
            msix.enable(&mut machine, function.address);
        }
        let table = msix.and_then(Result::ok);
        if let Ok(virtio) = Virtio::find(&mut machine, &function, table.as_ref()) {
            for place in virtio.places.iter().flatten() {
                prop_assert!(inside(place));
                let table = table.map_or(0..0, |m| if m.table.bar == place.bar { m.table.pages() } else { 0..0 });
                prop_assert!(place.pages().end <= table.start || table.end <= place.pages().start);
            }
        }
    }
}
