//! Capabilities that domains of several cores hold: lent and taken back, refused where they must be, fought for. By
//! `apps/share`, an unprivileged program, through the shipped monitors.
#![forbid(unsafe_code)]

use skerry_images::runner::{Reply, System};
use skerry_tests::tables::{ask, ask_on, check_exit, reply};
use skerry_tests::{HANG, boot_pair};
use std::time::{Duration, Instant};

/// Whether the long versions are to run.
fn full() -> bool {
    std::env::var_os("SKERRY_TEST_FULL").is_some()
}

/// Starts a program that holds what others share with it; its process, and where it is reached.
fn hold(system: &System, core: &str) -> (String, String) {
    let pid = ask(system, &format!("spawn {core} share hold")).join("");
    let number = pid.rsplit_once(':').expect("a process is CORE:NUMBER").1;
    // Nobody waits for it: its lines go to the log of its own island.
    let island = core.split_once('.').and_then(|(island, _)| island.parse().ok()).expect("a core");
    let line = system.wait_line(island, &format!("share:{number}: share: holds {core}:"), HANG);
    let line = line.unwrap_or_else(|cause| panic!("{cause}"));
    let (_, address) = line.rsplit_once("holds ").expect("an address");
    (pid, address.trim().to_string())
}

/// Runs a case that must succeed: its lines begin with `ok`, so many of them.
fn case(system: &System, command: &str, count: usize) {
    let Reply { lines, status } = reply(system, 0, command);
    assert_eq!(status, 0, "`{command}`: {lines:#?}\n{}", system.console_log(0));
    assert!(lines.iter().all(|line| line.starts_with("ok ")), "{lines:#?}");
    assert_eq!(lines.len(), count, "{lines:#?}");
}

fn two_cores(x86: u32, arm: u32) {
    let Some(system) = boot_pair(x86, arm) else { return };
    let (pid, to) = hold(&system, "0.1");
    case(&system, &format!("run 0.0 share lend to={to}"), 4);
    // What it had mapped was taken from it while it looked.
    let Reply { lines, .. } = reply(&system, 0, &format!("wait {pid}"));
    assert!(lines.join("").contains("fault"), "{lines:?}");
    let (pid, to) = hold(&system, "0.1");
    case(&system, &format!("run 0.0 share refused to={to}"), 7);
    ask(&system, &format!("wait {pid}"));
    let (pid, to) = hold(&system, "0.1");
    case(&system, &format!("run 0.0 share fight to={to} rounds=40"), 3);
    ask(&system, &format!("wait {pid}"));
    check_exit(&system);
}

/// What every core has for programs, and the slots and capabilities that it uses.
fn belongings(system: &System) -> Vec<String> {
    let lines = ask(system, "mem");
    let rows = lines.iter().skip(1).map(|line| line.split(' ').skip(4).collect::<Vec<_>>().join(" "));
    rows.collect()
}

/// Waits until everything is back: the process servers wait for the monitors, and nobody for them.
fn is_back(system: &System, before: &[String]) {
    let until = Instant::now() + HANG;
    while belongings(system) != before {
        assert!(Instant::now() < until, "{before:#?}\n{:#?}\n{}", belongings(system), system.console_log(0));
        std::thread::sleep(Duration::from_millis(200));
    }
}

/// From every core of an island to the next one: conflicting retypes and revocations of memory that both hold.
fn storm(system: &System, island: usize, cores: u32, rounds: u32) -> Vec<(String, String)> {
    let holders: Vec<_> = (0..cores).map(|n| hold(system, &format!("{island}.{n}"))).collect();
    let start = |n: u32| {
        let to = &holders[((n + 1) % cores) as usize].1;
        let command = format!("spawn {island}.{n} share fight to={to} rounds={rounds}");
        ask_on(system, 0, &command).join("")
    };
    let fighters: Vec<String> = (0..cores).map(start).collect();
    fighters.into_iter().zip(holders.into_iter().map(|holder| holder.0)).collect()
}

/// Each of a storm's programs has done as it should.
fn is_over(system: &System, storm: &[(String, String)]) {
    for (fighter, holder) in storm {
        for pid in [fighter, holder] {
            let Reply { lines, status } = reply(system, 0, &format!("wait {pid}"));
            assert_eq!(status, 0, "{pid}: {lines:?}\n{}", system.console_log(0));
        }
    }
}

#[test]
fn storms_on_both_islands_leave_nothing_behind() {
    let (cores, rounds) = if full() { (8, 200) } else { (4, 25) };
    let Some(system) = boot_pair(cores, cores) else { return };
    let before = belongings(&system);
    let storms: Vec<_> = (0..2).map(|island| storm(&system, island, cores, rounds)).collect();
    storms.iter().for_each(|storm| is_over(&system, storm));
    is_back(&system, &before);
    check_exit(&system);
}

#[test]
fn an_island_killed_in_the_middle_of_storms_holds_nobody_up() {
    for round in 0..if full() { 20 } else { 3 } {
        let Some(system) = boot_pair(2, 2) else { return };
        let before = belongings(&system)[..2].to_vec();
        let [here, _there] = [0, 1].map(|island| storm(&system, island, 2, 200));
        std::thread::sleep(Duration::from_millis(37 * round % 400));
        system.kill(1).unwrap_or_else(|cause| panic!("{cause}"));
        is_over(&system, &here);
        let until = Instant::now() + HANG;
        while belongings(&system)[..2] != before {
            assert!(Instant::now() < until, "{before:#?}\n{:#?}", belongings(&system));
            std::thread::sleep(Duration::from_millis(200));
        }
    }
}

#[test]
fn what_must_not_leave_an_island_does_not() {
    let Some(system) = boot_pair(2, 1) else { return };
    let (_, to) = hold(&system, "1.0");
    case(&system, &format!("run 0.1 share refused to={to}"), 5);
    check_exit(&system);
}

#[test]
fn two_x86_cores_share() {
    two_cores(2, 0);
}

#[test]
fn two_arm_cores_share() {
    two_cores(0, 2);
}
