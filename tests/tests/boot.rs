//! The CPU driver of each board starts its first domain, in user mode, whatever the machine is like.

use skerry_images::fleet::Fleet;
use skerry_tests::{HANG, boot};

/// Boots, and waits until every island's `init` has checked the whole bundle.
fn init_runs(fleet: &Fleet) {
    let Some(system) = boot(fleet) else { return };
    for index in 0..fleet.islands.len() {
        let line = system.wait_line(index, " members, ", HANG).unwrap_or_else(|cause| panic!("{cause}"));
        assert!(line.contains(&format!("{index}.0 init] bundle: ")), "{line}");
        assert!(line.contains("verified"), "{line}");
    }
}

fn island(lines: &str) -> Fleet {
    Fleet::parse("one", &format!("[[island]]\n{lines}\n")).expect("a good fleet")
}

#[test]
fn the_default_fleet() {
    init_runs(&Fleet::default_fleet().expect("a good fleet"));
}

#[test]
fn one_core_of_each_isa() {
    init_runs(&Fleet::pair(1, 0).expect("a good fleet"));
    init_runs(&Fleet::pair(0, 1).expect("a good fleet"));
}

#[test]
fn an_arm_machine_with_the_older_interrupt_controller() {
    init_runs(&island("board = \"qemu-virt\"\ngic = 2\ncores = 4"));
}

#[test]
fn little_memory() {
    init_runs(&island("board = \"qemu-q35\"\ncores = 2\nmemory = \"128M\""));
    init_runs(&island("board = \"qemu-virt\"\ncores = 2\nmemory = \"128M\""));
}
