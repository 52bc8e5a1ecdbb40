//! Domains that try to hurt the CPU driver and each other, on each ISA: one boot, every case of `apps/attack`, and after
//! each of them the others go on.
//!
//! A case ends as `attack list` says: in the death of that domain alone, of this kind of fault and with a line on the
//! console that says why; or in status 0, after every forbidden thing was refused with the right error.
#![forbid(unsafe_code)]

mod fuzz;

use skerry_images::runner::{Reply, System};
use skerry_tests::boot_pair;
use skerry_tests::tables::{ask, check_exit, check_ping, reply};

/// Where the attacker runs. The shell and the console are on core 0.
const CORE: &str = "0.1";
/// Fewer cases than this: some got lost.
const FEWEST: usize = 70;
/// Cases between two looks at the rest of the system.
const BETWEEN: usize = 10;

/// Others go on: both cores answer, programs start and end.
fn others_go_on(system: &System) {
    check_ping(system, "0.0", CORE, 20);
    let hello = ask(system, &format!("run {CORE} hello"));
    assert!(hello[0].starts_with(&format!("hello from core {CORE}")), "{hello:?}");
    ask(system, "ps");
}

/// Runs one case; `None` if it ended as it should, else what happened instead.
fn case(system: &System, name: &str, end: &str) -> Option<String> {
    let before = system.console_log(0).len();
    let Reply { lines, status } = reply(system, 0, &format!("run {CORE} RAM=192K attack {name}"));
    let said = system.console_log(0).get(before..).unwrap_or_default().to_string();
    if end == "lives" {
        return (status != 0).then(|| format!("{name}: status {status}, {lines:?}, console {said:?}"));
    }
    let why = format!("stopped by a {end} fault at 0x");
    let died = status != 0 && !lines.iter().any(|line| line.contains("nothing stopped it"));
    let told = said.contains(&why);
    (!died || !told).then(|| format!("{name}: no `{why}`: status {status}, {lines:?}, console {said:?}"))
}

/// `(case, end)` for each line of `attack list`.
fn cases(system: &System) -> Vec<(String, String)> {
    let list = ask(system, &format!("run {CORE} attack list"));
    list.iter()
        .map(|line| line.split_once(' ').unwrap_or_else(|| panic!("{line}")))
        .map(|(name, end)| (name.to_string(), end.to_string()))
        .collect()
}

fn all(x86: u32, arm: u32) {
    let Some(system) = boot_pair(x86, arm) else { return };
    let victim = ask(&system, &format!("spawn {CORE} attack victim")).remove(0);
    let cases = cases(&system);
    assert!(cases.len() >= FEWEST, "{} cases: {cases:?}", cases.len());
    let mut wrong = Vec::new();
    for (n, (name, end)) in cases.iter().enumerate() {
        wrong.extend(case(&system, name, end));
        if n % BETWEEN == 0 {
            others_go_on(&system);
        }
    }
    others_go_on(&system);
    // The domain whose memory others tried to read and write still has its secret.
    reply(&system, 0, &format!("kill {victim}"));
    let ended = reply(&system, 0, &format!("wait {victim}"));
    if !ended.lines.iter().any(|line| line.contains("killed")) {
        wrong.push(format!("the victim: {ended:?}"));
    }
    assert!(wrong.is_empty(), "{} of {} cases:\n{}", wrong.len(), cases.len(), wrong.join("\n"));
    check_exit(&system);
}

#[test]
fn every_attack_on_x86() {
    all(2, 0);
}

#[test]
fn every_attack_on_arm() {
    all(0, 2);
}

/// Domains that keep the core for themselves: others progress beside them, and `kill` ends them.
fn loops(x86: u32, arm: u32) {
    let Some(system) = boot_pair(x86, arm) else { return };
    for name in ["loop", "fault-loop"] {
        let looping: Vec<String> =
            (0..3).map(|_| ask(&system, &format!("spawn {CORE} attack {name}")).remove(0)).collect();
        others_go_on(&system);
        for process in &looping {
            ask(&system, &format!("kill {process}"));
            let ended = reply(&system, 0, &format!("wait {process}")).lines.join(" ");
            assert!(ended.contains("killed"), "{process}: {ended}");
        }
        others_go_on(&system);
    }
    check_exit(&system);
}

#[test]
fn loops_on_x86() {
    loops(2, 0);
}

#[test]
fn loops_on_arm() {
    loops(0, 2);
}

/// A domain that takes all it can and dies of a fault gives it all back: more rounds than would fit side by side.
fn hogs(x86: u32, arm: u32) {
    let Some(system) = boot_pair(x86, arm) else { return };
    for round in 0..12 {
        let Reply { lines, status } = reply(&system, 0, &format!("run {CORE} RAM=24M attack hog"));
        let took = lines.iter().any(|line| line.starts_with("hog: ") && line.ends_with(" pages are mine"));
        assert!(took && status != 0, "round {round}: status {status}, {lines:?}");
    }
    others_go_on(&system);
    check_exit(&system);
}

#[test]
fn memory_comes_back_on_x86() {
    hogs(2, 0);
}

#[test]
fn memory_comes_back_on_arm() {
    hogs(0, 2);
}
