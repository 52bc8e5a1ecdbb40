//! Domains of one core: they speak to each other, and nobody takes the core from the others.

use skerry_images::runner::System;
use skerry_tests::boot_pair;
use skerry_tests::tables::{ask, ask_on, check_exit, reply};
use std::collections::BTreeMap;

/// Domains that spin, on each core.
const SPINNERS: usize = 4;

#[test]
fn domains_that_spin_hold_nobody_up() {
    let Some(system) = boot_pair(2, 2) else { return };
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

/// Spans of the clock in which both programs want the core, at least.
const SPANS: u64 = 6;

/// How often each of two programs that loop on a core comes round, the first started with these `options` and being `program`, in
/// spans of the core's clock in which both want it. Each is started by another island's shell, so at about the same time; if the machine was
/// too busy for that, it is done again with more spans.
fn side_by_side(system: &System, core: &str, options: &str, program: &str) -> (u64, u64) {
    let home = if program == SPAN { core.replace(".1", ".0") } else { core.to_string() };
    for asked in [2 * SPANS, 4 * SPANS, 8 * SPANS] {
        let counts = |island, home: &str, options: &str, program: &str| {
            let lines = ask_on(system, island, &format!("run {home} {options} {program} turns={asked}"));
            let numbers = |line: String| line.split(' ').filter_map(|word| word.parse().ok()).collect();
            lines.into_iter().map(numbers).map(|n: Vec<u64>| (n[0], n[1])).collect::<BTreeMap<u64, u64>>()
        };
        let (one, other) = std::thread::scope(|scope| {
            let one = scope.spawn(|| counts(0, &home, options, program));
            let other = counts(1, core, "", HELLO);
            (one.join().expect("it counts"), other)
        });
        // Neither the span that a program begins in, nor the one after its last, are whole. One that is behind all others
        // may not have got as far as to look at the clock.
        let begin = |counts: &BTreeMap<u64, u64>| *counts.keys().next().expect("it counts") + 1;
        let begins = if options.contains(BEHIND) { [begin(&other); 2] } else { [begin(&one), begin(&other)] };
        let all = begins[0].max(begins[1])..begins[0].min(begins[1]) + asked - 1;
        if all.end.saturating_sub(all.start) >= SPANS {
            let sum = |counts: &BTreeMap<u64, u64>| counts.range(all.clone()).map(|(_, count)| count).sum();
            return (sum(&one), sum(&other));
        }
    }
    panic!("{core} {options} {program}: the two never ran side by side");
}

const HELLO: &str = "hello quiet";
/// Counts in a dispatcher that is not the program's first.
const SPAN: &str = "span";

/// Puts a program behind all others.
const BEHIND: &str = "--priority 2";

#[test]
fn priority_and_budget_are_the_spawners_word() {
    let Some(system) = boot_pair(2, 2) else { return };
    for core in ["0.1", "1.1"] {
        let (one, other) = side_by_side(&system, core, "", HELLO);
        assert!(one * 3 > other && other * 3 > one, "{core}: alike, and yet {one} and {other}");
        let (one, other) = side_by_side(&system, core, "--budget 20", HELLO);
        assert!(one * 2 < other && one * 20 > other, "{core}: 20 percent, and yet {one} and {other}");
        let (one, other) = side_by_side(&system, core, BEHIND, HELLO);
        assert!(one * 10 < other, "{core}: behind the other, and yet {one} and {other}");
        // Before all others, the servers too, as far as its budget goes.
        let (one, other) = side_by_side(&system, core, "--priority 7 --budget 30", HELLO);
        assert!(one < other && one * 10 > other, "{core}: 30 percent, and yet {one} and {other}");
        for (options, why) in [
            ("--budget 0", "--budget 0: use a number from 1 to 100"),
            ("--priority 8", "--priority 8: use a number from 0 to 7"),
            ("--priority 4", "--priority 4: above 3, the servers' own, use a --budget of at most 50"),
            ("--nice", "--nice: no such option; use --priority N or --budget PERCENT"),
        ] {
            let reply = reply(&system, 0, &format!("run {core} {options} hello"));
            assert!(reply.status != 0 && reply.lines[0] == why, "{options}: {:?}", reply.lines);
        }
    }
    check_exit(&system);
}

#[test]
fn priority_and_budget_hold_on_every_core_of_a_program() {
    let Some(system) = boot_pair(2, 2) else { return };
    for core in ["0.1", "1.1"] {
        let cores = format!("--cores {},{core}", core.replace(".1", ".0"));
        let (one, other) = side_by_side(&system, core, &cores, SPAN);
        assert!(one * 3 > other && other * 3 > one, "{core}: alike, and yet {one} and {other}");
        let (one, other) = side_by_side(&system, core, &format!("{cores} --budget 20"), SPAN);
        assert!(one * 2 < other && one * 20 > other, "{core}: 20 percent, and yet {one} and {other}");
        let (one, other) = side_by_side(&system, core, &format!("{cores} {BEHIND}"), SPAN);
        assert!(one * 10 < other, "{core}: behind the other, and yet {one} and {other}");
    }
    check_exit(&system);
}

#[test]
fn messages_and_calls_between_domains_of_one_core() {
    let Some(system) = boot_pair(1, 1) else { return };
    for (island, isa) in ["x86_64", "aarch64"].into_iter().enumerate() {
        for name in ["lrpc.sync_rtt", "lrpc.async"] {
            // The benchmark fails if what came is not what was sent.
            let lines = ask_on(&system, island, &format!("bench {name}"));
            assert!(lines.len() == 1 && lines[0].starts_with(&format!("{name}.{isa} ")), "{lines:#?}");
        }
    }
    check_exit(&system);
}
