//! Domains with several dispatchers, checked from inside by `apps/span`, on each ISA; and how such a domain comes to its end.
#![forbid(unsafe_code)]

use skerry_images::runner::{Reply, System};
use skerry_tests::tables::{ask, check_exit, check_said, reply};
use skerry_tests::{HANG, boot_pair};
use std::time::{Duration, Instant};

/// Cases of the program.
const CASES: usize = 21;

/// What `span end=…` says, in its output or on the console, and its exit status. The line about a fault away from home is home's to say,
/// which may be ended before it does: the process server's word is what counts.
const ENDS: [(&str, &str, i32); 6] = [
    ("write", ": fault Write at 0x1234, pc 0x", 1),
    ("unmapped", ": fault Write at 0x", 1),
    ("guard", ": fault Write at 0x", 1),
    ("panic", "panic in thread 'there'", 101),
    ("exit", "", 9),
    ("main", "", 5),
];

/// Lines of `mem` about the islands' servers, before and after: nothing is lost.
fn memory(system: &System) -> Vec<String> {
    ask(system, "mem")
}

fn checks(system: &System, core: &str, cores: &str) {
    let count = cores.split(',').count();
    let lines = ask(system, &format!("run {core} --cores {cores} span cores={count}"));
    let (last, cases) = lines.split_last().expect("it says something");
    assert!(cases.iter().all(|line| line.starts_with("ok ")), "{cores}: {lines:#?}");
    assert_eq!(*last, format!("span: {count} dispatchers: {CASES} cases, 0 failed"));
    for dispatcher in 0..count {
        let line = format!("ok a line of dispatcher {dispatcher},");
        assert!(cases.iter().any(|said| said.starts_with(&line)), "{lines:#?}");
    }
}

fn ends(system: &System, core: &str, cores: &str) {
    for (end, says, expected) in ENDS {
        let before = system.console_log(0).len();
        let command = format!("run {core} --cores {cores} span end={end}");
        let Reply { lines, status } = reply(system, 0, &command);
        assert_eq!(status, expected, "{end}: {lines:?}");
        check_said(system, before, &lines, says);
        ask(system, &format!("run {core} hello quiet"));
    }
}

fn refused(system: &System) {
    for (command, says) in [
        ("run 0.0 --cores 1 span", "use a number from 2 to 16"),
        ("run 0.0 --cores 0.1,0.0 span", "the first must be 0.0"),
        ("run 0.0 --cores 0.0,7.0 span", "core 7.0 is another island's"),
    ] {
        let Reply { lines, status } = reply(system, 0, command);
        assert_ne!(status, 0, "{command}");
        assert!(lines.join("\n").contains(says), "{command}: {lines:#?}");
    }
}

/// What there is once nothing is on its way back any more.
fn settled(system: &System) -> Vec<String> {
    let mut last = memory(system);
    loop {
        std::thread::sleep(Duration::from_secs(2));
        let now = memory(system);
        if now == last {
            return now;
        }
        last = now;
    }
}

/// Everything comes back; what other cores held, once they have agreed.
fn is_back(system: &System, before: &[String]) {
    let until = Instant::now() + HANG;
    loop {
        let now = memory(system);
        if now == before {
            return;
        }
        assert!(Instant::now() < until, "{before:#?}\n{now:#?}\n{}", system.console_log(0));
        std::thread::sleep(Duration::from_millis(200));
    }
}

/// Somebody kills a domain whose threads compute on all its cores.
fn killed(system: &System, core: &str, cores: &str) {
    let pid = ask(system, &format!("spawn {core} --cores {cores} span end=spin")).join("");
    let Reply { lines, status } = reply(system, 0, &format!("kill {pid}"));
    assert_eq!(status, 0, "{lines:?}");
}

fn all(x86: u32, arm: u32) {
    let Some(system) = boot_pair(x86, arm) else { return };
    // A first time, so that what is made once is there.
    checks(&system, "0.1", "0.1,0.1");
    checks(&system, "0.0", "0.0,0.1,0.2,0.3");
    let before = settled(&system);
    for cores in ["0.1,0.1,0.1", "0.1,0.0", "0.2,0.3,0.3", "0.2,0.1,0.0,0.3"] {
        checks(&system, &cores[..3], cores);
    }
    for cores in ["0.1,0.1", "0.1,0.0", "0.2,0.3"] {
        ends(&system, &cores[..3], cores);
        killed(&system, &cores[..3], cores);
    }
    refused(&system);
    is_back(&system, &before);
    check_exit(&system);
}

#[test]
fn domains_of_several_dispatchers_on_x86() {
    all(4, 0);
}

#[test]
fn domains_of_several_dispatchers_on_arm() {
    all(0, 4);
}
