//! Devices that raise message interrupts, and their drivers: on a PC, on a GICv3 with its translation service, and on a
//! GICv2 with a message frame.

use skerry_images::fleet::Fleet;
use skerry_images::runner::System;
use skerry_tests::tables::ask;
use skerry_tests::{HANG, boot};
use std::ops::RangeInclusive;

/// Where message lines begin that are not lines of a GICv2.
const MESSAGES: RangeInclusive<u32> = 8192..=16383;
/// Lines of a GICv2's devices.
const SHARED: RangeInclusive<u32> = 32..=1019;
/// Random bytes of a request; more than one buffer of the device holds.
const BYTES: usize = 384;
/// Random bytes that the driver keeps.
const KEPT: usize = 512;

/// Random bytes as they are printed, and how many interrupts the driver has had.
fn random(system: &System) -> (String, u32) {
    let mut lines = ask(system, &format!("entropy 0 {BYTES}"));
    let last = lines.pop().expect("a summary");
    let count = last
        .strip_prefix(&format!("entropy: {BYTES} bytes from island 0, "))
        .and_then(|rest| rest.strip_suffix(" interrupts")?.parse().ok());
    let bytes = lines.concat();
    assert_eq!(bytes.len(), 2 * BYTES, "{lines:#?}");
    (bytes, count.unwrap_or_else(|| panic!("{last}")))
}

/// The one driver's starts and line.
fn driver(system: &System) -> (u32, u32) {
    let lines = ask(system, "drivers");
    assert_eq!(lines[0], "driver island pci state starts line lines interrupts");
    let fields: Vec<&str> = lines[1].split(' ').collect();
    assert_eq!(
        (lines.len(), &fields[..2], fields[3], fields[6]),
        (2, &["rng", "0"][..], "running", "1"),
        "{lines:#?}"
    );
    (fields[4].parse().expect("starts"), fields[5].parse().expect("a line"))
}

fn random_bytes_come_by_interrupt(island: &str, lines: RangeInclusive<u32>) {
    let fleet = Fleet::parse("one", &format!("[[island]]\n{island}\n")).expect("a good fleet");
    let Some(system) = boot(&fleet) else { return };
    system.wait_up(HANG).unwrap_or_else(|cause| panic!("{cause}"));
    let (starts, line) = driver(&system);
    assert_eq!(starts, 1);
    assert!(lines.contains(&line), "line {line}");
    let (first, before) = random(&system);
    let (second, after) = random(&system);
    assert_ne!(first, second, "each byte is given away once");
    assert!(
        before > 0 && after > before,
        "{before} interrupts, then {after}: it is not by them that bytes come"
    );
    // They are counted, none twice: a buffer of 64 bytes raises one at most.
    let buffers = (KEPT + 2 * BYTES).div_ceil(64) as u32 + 8;
    assert!(after <= buffers, "{after} interrupts for {buffers} buffers");
    // Its lines are masked with it, and bound again by the next.
    for starts in 2..5 {
        ask(&system, "restart 0 rng");
        // Its host's line, through the monitor and the console's driver.
        let told = system.wait_line(0, "pci] warning: rng: vanished; starting it again", HANG);
        told.unwrap_or_else(|cause| panic!("{cause}"));
        let (bytes, interrupts) = random(&system);
        assert!(bytes != first && bytes != second && interrupts > 0, "{interrupts}");
        assert_eq!(driver(&system), (starts, line));
    }
}

#[test]
fn on_a_pc() {
    random_bytes_come_by_interrupt("board = \"qemu-q35\"\ncores = 2", MESSAGES);
}

#[test]
fn with_a_translation_service() {
    random_bytes_come_by_interrupt("board = \"qemu-virt\"\ncores = 2", MESSAGES);
}

#[test]
fn with_a_message_frame() {
    random_bytes_come_by_interrupt("board = \"qemu-virt\"\ngic = 2\ncores = 2", SHARED);
}
