//! The thread package, checked from inside by `apps/threads`, on each ISA; and how a program with threads comes to its end.
#![forbid(unsafe_code)]

use skerry_images::runner::Reply;
use skerry_tests::boot_pair;
use skerry_tests::tables::{ask, check_exit, check_said, reply};

/// What `threads end=…` says, in its output or on the console, and its exit status.
const ENDS: [(&str, &str, i32); 10] = [
    ("stack", "thread 'doomed' overflowed its stack", 1),
    ("write", "thread 'doomed': Write fault at 0x1234", 1),
    ("outside", "thread 'doomed': Write fault at 0x1234", 1),
    ("guard", "next to memory on demand, past its end", 1),
    ("forbidden", "the range does not allow it: Write", 1),
    ("lack", "RAM", 1),
    ("holder", "memory on demand, touched by who holds what it is made of", 1),
    ("panic", "panic in thread 'doomed'", 101),
    ("deadlock", "deadlock: every thread waits for another", 1),
    ("status", "", 7),
];

fn all(x86: u32, arm: u32) {
    let Some(system) = boot_pair(x86, arm) else { return };
    let lines = ask(&system, "run 0.1 threads");
    let (last, cases) = lines.split_last().expect("it says something");
    // A note of a case that has nothing to check here.
    let cases: Vec<&String> = cases.iter().filter(|line| !line.starts_with("no source")).collect();
    assert!(cases.iter().all(|line| line.starts_with("ok ")), "{lines:#?}");
    assert_eq!(*last, format!("threads: {} cases, 0 failed", cases.len()));
    assert!(cases.len() >= 32, "{lines:#?}");
    for (end, says, expected) in ENDS {
        let before = system.console_log(0).len();
        let Reply { lines, status } = reply(&system, 0, &format!("run 0.1 threads end={end}"));
        assert_eq!(status, expected, "{end}: {lines:?}");
        check_said(&system, before, &lines, says);
        ask(&system, "run 0.1 hello quiet");
    }
    check_exit(&system);
}

#[test]
fn threads_on_x86() {
    all(2, 0);
}

#[test]
fn threads_on_arm() {
    all(0, 2);
}
