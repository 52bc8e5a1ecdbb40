//! Fleets of every shape come up as one system and answer.

use skerry_images::fleet::Fleet;
use skerry_images::runner::System;
use skerry_tests::tables::ask;
use skerry_tests::tables::{check_cores, check_exit, check_help_and_errors, check_islands, check_memory};
use skerry_tests::tables::{check_ping, check_up};
use skerry_tests::{boot, boot_pair, options};

/// Round trips of each ping.
const PINGS: u32 = 20;

fn pair(x86: u32, arm: u32) -> Fleet {
    Fleet::pair(x86, arm).expect("a good fleet")
}

fn fleet(text: &str) -> Fleet {
    Fleet::parse("test", text).expect("a good fleet")
}

/// Boots a fleet and checks all that its shell says, then switches it off.
fn comes_up(fleet: &Fleet) {
    if let Some(system) = boot(fleet) {
        answers(&system);
    }
}

fn answers(system: &System) {
    let fleet = system.fleet();
    check_up(system, fleet);
    check_cores(system);
    for (from, to) in pings(fleet) {
        check_ping(system, &from, &to, PINGS);
    }
    check_islands(system);
    check_memory(system);
    check_help_and_errors(system);
    check_cores(system);
    check_exit(system);
}

/// One ping of each kind that the fleet has: to the same core, inside each island, over each window between the cores
/// that hold it, and between cores that do not.
fn pings(fleet: &Fleet) -> Vec<(String, String)> {
    let last = |island: usize| fleet.islands[island].cores - 1;
    let mut pairs = vec![("0.0".to_string(), "0.0".to_string())];
    for island in 0..fleet.islands.len() {
        if last(island) > 0 {
            pairs.push((format!("{island}.0"), format!("{island}.{}", last(island))));
        }
        if last(island) > 1 {
            pairs.push((format!("{island}.{}", last(island)), format!("{island}.1")));
        }
    }
    for link in &fleet.links {
        let (a, b) = link.between;
        pairs.push((format!("{a}.0"), format!("{b}.0")));
        pairs.push((format!("{b}.{}", last(b)), format!("{a}.{}", last(a))));
    }
    pairs
}

#[test]
fn one_x86_core() {
    comes_up(&pair(1, 0));
}

#[test]
fn one_arm_core() {
    comes_up(&pair(0, 1));
}

#[test]
fn one_core_of_each() {
    comes_up(&pair(1, 1));
}

#[test]
fn two_cores_of_each() {
    comes_up(&pair(2, 2));
}

#[test]
fn the_default_fleet() {
    let fleet = Fleet::default_fleet().expect("a good fleet");
    assert_eq!((fleet.islands[0].cores, fleet.islands[0].nodes, fleet.islands[1].cores), (4, 2, 4));
    comes_up(&fleet);
}

#[test]
fn three_and_five_cores() {
    comes_up(&pair(3, 5));
}

#[test]
fn eight_cores_of_each() {
    comes_up(&pair(8, 8));
}

#[test]
fn five_islands() {
    let x86 = "[[island]]\nboard = \"qemu-q35\"\ncores = 1\nmemory = \"128M\"\n";
    let arm = "[[island]]\nboard = \"qemu-virt\"\ncores = 1\nmemory = \"128M\"\n";
    comes_up(&fleet(&format!("links = \"all\"\n{}{}", x86.repeat(2), arm.repeat(3))));
}

#[test]
fn islands_that_reach_each_other_through_a_third() {
    let island = |board: &str| format!("[[island]]\nboard = \"{board}\"\ncores = 1\nmemory = \"128M\"\n");
    let links = "[[link]]\nbetween = [0, 1]\n[[link]]\nbetween = [1, 2]\n";
    let fleet =
        fleet(&format!("{}{}{}{links}", island("qemu-virt"), island("qemu-q35"), island("qemu-virt")));
    let Some(system) = boot(&fleet) else { return };
    check_up(&system, &fleet);
    check_cores(&system);
    check_ping(&system, "0.0", "2.0", PINGS);
    check_ping(&system, "2.0", "0.0", PINGS);
    check_exit(&system);
}

#[test]
fn an_arm_machine_with_the_older_interrupt_controller() {
    comes_up(&fleet("[[island]]\nboard = \"qemu-virt\"\ngic = 2\ncores = 4\n"));
}

#[test]
fn little_memory_and_the_smallest_window() {
    let island = |board: &str| format!("[[island]]\nboard = \"{board}\"\ncores = 2\nmemory = \"128M\"\n");
    let link = "[[link]]\nbetween = [0, 1]\nsize = \"16K\"\n";
    comes_up(&fleet(&format!("{}{}{link}", island("qemu-q35"), island("qemu-virt"))));
}

#[test]
fn an_x86_machine_without_x2apic() {
    let Some(mut options) = options() else { return };
    options.qemu_args = ["-cpu", "max,-x2apic"].map(String::from).into();
    answers(&System::boot(&pair(4, 0), &options).expect("QEMU starts"));
}

/// Entered at EL2, as behind real firmware: the boot code drops to EL1, on every core.
#[test]
fn an_arm_machine_entered_at_el2() {
    let Some(mut options) = options() else { return };
    options.qemu_args = ["-machine", "virtualization=on"].map(String::from).into();
    answers(&System::boot(&pair(0, 4), &options).expect("QEMU starts"));
}

/// `stream`: a million checked messages each way between the ISAs, in order, none lost or doubled.
#[test]
fn streams_between_the_isas() {
    let Some(system) = boot_pair(1, 1) else { return };
    for (from, to) in [("0.0", "1.0"), ("1.0", "0.0")] {
        let lines = ask(&system, &format!("stream {from} {to} 1000000"));
        let expected = format!("stream {from} {to} received 1000000 wrong 0 ");
        assert!(lines.len() == 1 && lines[0].starts_with(&expected), "{lines:#?}");
    }
}
