//! Programs: started on any core of either ISA, waited for, ended, and everything they had taken back.

use skerry_images::runner::{Reply, System};
use skerry_tests::tables::{ask, check_exit, reply};
use skerry_tests::{HANG, boot_pair};
use std::time::Duration;

/// Rounds of spawn and exit; with `cargo xtask test full` as many as the issue asks for.
const ROUNDS: (u32, u32) = (300, 10_000);
/// After this long the rounds hang.
const ROUNDS_HANG: Duration = Duration::from_secs(1800);

/// A command that must fail, and its only line.
fn fails(system: &System, command: &str, status: i32) -> String {
    let Reply { lines, status: found } = reply(system, 0, command);
    assert_eq!(found, status, "`{command}`: {lines:#?}");
    lines.join("\n")
}

#[test]
fn programs_run_on_any_core_of_either_isa() {
    let Some(system) = boot_pair(2, 2) else { return };
    for (core, isa) in [("0.0", "x86_64"), ("0.1", "x86_64"), ("1.0", "aarch64"), ("1.1", "aarch64")] {
        let lines = ask(&system, &format!("run {core} A=1 B=x hello one exit=0 two"));
        let expected = [
            format!("hello from core {core} ({isa})"),
            "arguments: one exit=0 two".to_string(),
            format!("environment: CORE={core} ISA={isa} A=1 B=x"),
        ];
        assert_eq!(lines, expected);
        assert_eq!(fails(&system, &format!("run {core} hello quiet exit=7"), 7), "");
        let fault = fails(&system, &format!("run {core} hello quiet fault"), 1);
        assert!(
            fault.starts_with(&format!("run: process {core}:")) && fault.contains(": fault Read at 0x"),
            "{fault}"
        );
        fails(&system, &format!("run {core} hello quiet panic"), 101);
        // More than fits into any queue on the way; the order is that of the program.
        let lines = ask(&system, &format!("run {core} hello quiet lines=400"));
        assert!(lines.iter().enumerate().all(|(n, line)| *line == format!("line {n}")), "{lines:#?}");
        assert_eq!(lines.len(), 400);
    }
    random(&system);
    lives(&system);
    refused(&system);
    check_exit(&system);
}

/// Nobody keeps a core busy on which nothing is to be done. (Two domains that woke each other for nothing made some 10,000
/// switches a second on a loaded host.)
#[test]
fn an_island_without_work_sleeps() {
    for (x86, arm) in [(1, 0), (0, 1), (2, 2)] {
        let Some(system) = boot_pair(x86, arm) else { return };
        let islands = system.fleet().islands.iter().enumerate();
        for core in islands.flat_map(|(n, island)| (0..island.cores).map(move |core| format!("{n}.{core}"))) {
            let said = ask(&system, &format!("run {core} hello quiet sleep=1000")).join("");
            let switches = said.strip_suffix(" switches").and_then(|n| n.parse::<u64>().ok());
            // A link is looked at once in a millisecond.
            assert!(switches.is_some_and(|n| n < 2_000), "{core}: {said}");
        }
    }
}

/// Random bytes: each core's programs have their own, and none has them twice.
fn random(system: &System) {
    let mut seen = std::collections::BTreeSet::new();
    for core in ["0.0", "0.1", "1.0", "1.1"] {
        for _ in 0..2 {
            let bytes = ask(system, &format!("run {core} hello quiet random=50")).concat();
            assert_eq!(bytes.len(), 100, "{core}: {bytes}");
            assert!(seen.insert(bytes), "{core}: bytes that were there before");
        }
    }
}

/// A process from its start to its end, as `ps`, `kill` and `wait` see it.
fn lives(system: &System) {
    let header = "process core name state ram_kib";
    for core in ["0.1", "1.1"] {
        let pid = ask(system, &format!("spawn {core} hello quiet spin")).join("");
        assert!(pid.starts_with(&format!("{core}:")), "{pid}");
        let row = |state: &str| {
            let lines = ask(system, "ps");
            assert_eq!(lines[0], header);
            let row = lines.iter().find(|line| line.starts_with(&format!("{pid} "))).cloned();
            let row = row.unwrap_or_else(|| panic!("no {pid} in {lines:#?}"));
            assert!(row.starts_with(&format!("{pid} {core} hello {state} ")), "{row}");
        };
        row("running");
        assert_eq!(ask(system, &format!("kill {pid}")), [""; 0]);
        // It is dead now or very soon, and stays in the table until somebody has waited for it.
        assert_eq!(fails(system, &format!("wait {pid}"), 1), format!("wait: process {pid}: killed"));
        assert!(fails(system, &format!("wait {pid}"), 1).contains("no such program or process"));
        let pid = ask(system, &format!("spawn {core} hello quiet exit=3")).join("");
        fails(system, &format!("wait {pid}"), 3);
    }
}

/// What cannot be done, and that it says why.
fn refused(system: &System) {
    for core in ["0.1", "1.0"] {
        let unknown = fails(system, &format!("run {core} nothing"), 1);
        assert!(unknown.contains("no program `nothing`") && unknown.contains(" hello"), "{unknown}");
        let large = fails(system, &format!("run {core} RAM=256M hello"), 1);
        assert!(large.contains("not enough memory"), "{large}");
        assert!(fails(system, &format!("run {core} RAM=lots hello"), 1).contains("RAM=lots"));
        assert!(fails(system, &format!("kill {core}:4711"), 1).contains("no such program or process"));
    }
    assert!(fails(system, "run 0.9 hello", 1).contains("no such core"));
    assert!(fails(system, "run 9.0 hello", 1).contains("no such core"));
    let before = stock(system, "0.1");
    let mut pids = Vec::new();
    let full = loop {
        let Reply { lines, status } = reply(system, 0, "spawn 0.1 RAM=4096 hello quiet spin");
        if status != 0 {
            break lines.join("\n");
        }
        pids.push(lines.join(""));
        assert!(pids.len() < 1000, "the table of processes is bounded");
    };
    assert!(full.contains("too many") || full.contains("not enough memory"), "{full}");
    for pid in pids {
        ask(system, &format!("kill {pid}"));
        fails(system, &format!("wait {pid}"), 1);
    }
    assert_eq!(stock(system, "0.1"), before, "what they had is there again");
}

#[test]
fn who_waits_hears_of_the_loss_and_a_program_outlives_who_waits() {
    let Some(system) = boot_pair(1, 1) else { return };
    // Nobody waits: its lines go to its own island's log.
    let pid = ask(&system, "spawn 0.0 hello once").join("");
    let number = pid.split(':').next_back().expect("a number");
    let line = format!("hello:{number}: arguments: once");
    system.wait_line(0, &line, HANG).unwrap_or_else(|cause| panic!("{cause}"));
    let run = |on: usize, command: &str| {
        let reply = reply(&system, on, command);
        (reply.lines.join("\n"), reply.status)
    };
    std::thread::scope(|scope| {
        let waits = scope.spawn(|| run(0, "run 1.0 hello quiet spin"));
        // It is under way, or on the way there: the answer is the same.
        std::thread::sleep(Duration::from_secs(1));
        system.kill(1).expect("it runs");
        let (text, status) = waits.join().expect("an answer");
        assert_eq!(status, 1, "{text}");
        assert!(text.contains("the core is lost"), "{text}");
    });
    assert!(run(0, "run 1.0 hello").0.contains("the core is lost"));
    assert_eq!(run(0, "run 0.0 hello quiet"), (String::new(), 0), "this island goes on");

    let Some(system) = boot_pair(1, 1) else { return };
    let run = |on: usize, command: &str| {
        let reply = reply(&system, on, command);
        (reply.lines.join("\n"), reply.status)
    };
    let pid = ask(&system, "spawn 1.0 hello quiet spin").join("");
    std::thread::scope(|scope| {
        scope.spawn(|| system.exec(0, &format!("wait {pid}"), HANG).is_err());
        std::thread::sleep(Duration::from_secs(1));
        system.kill(0).expect("it runs");
    });
    // The other island's shell takes over, and the process is there to be waited for again.
    system.wait_line(1, "lost", HANG).unwrap_or_else(|cause| panic!("{cause}"));
    assert!(run(1, "ps").0.contains(&format!("{pid} 1.0 hello running")));
    assert_eq!(run(1, &format!("kill {pid}")), (String::new(), 0));
    assert_eq!(run(1, &format!("wait {pid}")), (format!("wait: process {pid}: killed"), 1));
}

/// What the process server of a core has to give, and what the CPU driver keeps for it: the last columns of `mem`.
fn stock(system: &System, core: &str) -> Vec<String> {
    let lines = ask(system, "mem");
    let line = lines.iter().find(|line| line.starts_with(&format!("{core} ")));
    let line = line.unwrap_or_else(|| panic!("no core {core} in {lines:#?}"));
    line.split(' ').skip(4).map(String::from).collect()
}

fn rounds(x86: u32, arm: u32) {
    let Some(system) = boot_pair(x86, arm) else { return };
    let count = if std::env::var_os("SKERRY_TEST_FULL").is_some() { ROUNDS.1 } else { ROUNDS.0 };
    let repeat = |count: u32, command: &str| {
        let command = format!("repeat {count} {command}");
        let reply = system.exec(0, &command, ROUNDS_HANG).unwrap_or_else(|cause| panic!("{cause}"));
        assert_eq!(reply.status, 0, "`{command}`: {:?}", reply.lines);
    };
    // The first ones lengthen lists that are kept.
    repeat(3, "run 0.0 hello quiet");
    let before = stock(&system, "0.0");
    repeat(count, "run 0.0 hello quiet");
    assert_eq!(stock(&system, "0.0"), before, "after {count} rounds");
    // What the memory server gave is counted as well, given back or not.
    let lines = ask(&system, "run 0.0 hello quiet ram=8192 trade=200");
    assert_eq!(lines, ["8192 KiB of sevens", "200 times"]);
    repeat(count / 10, "run 0.0 hello quiet ram=1024");
    assert_eq!(stock(&system, "0.0"), before, "after those that asked for more");
    assert_ne!(reply(&system, 0, "run 0.0 LIMIT=4M hello quiet ram=8192").status, 0, "beyond its limit");
    for bad in ["fault", "panic", "exit=1", "ram=1000000"] {
        for _ in 0..10 {
            assert_ne!(reply(&system, 0, &format!("run 0.0 hello quiet {bad}")).status, 0, "{bad}");
        }
    }
    assert_eq!(stock(&system, "0.0"), before, "after those that did not end well");
    check_exit(&system);
}

#[test]
fn x86_takes_back_what_programs_had() {
    rounds(1, 0);
}

#[test]
fn arm_takes_back_what_programs_had() {
    rounds(0, 1);
}
