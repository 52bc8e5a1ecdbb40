//! Domains of one core: they speak to each other, and nobody takes the core from the others.

use skerry_images::fleet::Fleet;
use skerry_tests::boot;
use skerry_tests::tables::{ask, ask_on, check_exit, check_up};

/// Domains that spin, on each core.
const SPINNERS: usize = 4;

#[test]
fn domains_that_spin_hold_nobody_up() {
    let fleet = Fleet::pair(2, 2).expect("a good fleet");
    let Some(system) = boot(&fleet) else { return };
    check_up(&system, &fleet);
    for core in ["0.1", "1.1"] {
        let spinners: Vec<_> =
            (0..SPINNERS).map(|_| ask(&system, &format!("spawn {core} hello quiet spin")).join("")).collect();
        // Monitor, process server and a program of that core all get their turn, again and again.
        let lines = ask(&system, &format!("run {core} hello quiet lines=100"));
        assert_eq!(lines.len(), 100, "{core}: {lines:#?}");
        for pid in spinners {
            ask(&system, &format!("kill {pid}"));
        }
    }
    check_exit(&system);
}

#[test]
fn messages_and_calls_between_domains_of_one_core() {
    let fleet = Fleet::pair(1, 1).expect("a good fleet");
    let Some(system) = boot(&fleet) else { return };
    check_up(&system, &fleet);
    for (island, isa) in ["x86_64", "aarch64"].into_iter().enumerate() {
        for name in ["lrpc.sync_rtt", "lrpc.async"] {
            // The benchmark fails if what came is not what was sent.
            let lines = ask_on(&system, island, &format!("bench {name}"));
            assert!(lines.len() == 1 && lines[0].starts_with(&format!("{name}.{isa} ")), "{lines:#?}");
        }
    }
    check_exit(&system);
}
