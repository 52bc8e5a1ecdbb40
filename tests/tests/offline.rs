//! Cores that are taken off line and started again, on both ISAs, while the rest of the system runs on.

use skerry_images::fleet::Fleet;
use skerry_images::runner::{Reply, System};
use skerry_tests::tables::{ask, check_exit, check_up};
use skerry_tests::{HANG, boot};

/// How often a core goes and comes back, beside the first time.
const ROUNDS: usize = 10;

/// The only line of a command that must fail.
fn fails(system: &System, command: &str) -> String {
    let reply = system.exec(0, command, HANG).unwrap_or_else(|cause| panic!("{cause}"));
    let Reply { lines, status } = reply;
    assert_ne!(status, 0, "`{command}`: {lines:#?}");
    lines.join("\n")
}

/// What the table of cores says of one.
fn state(system: &System, core: &str) -> String {
    let lines = ask(system, "cores");
    let row = lines.iter().find(|line| line.starts_with(&format!("{core} ")));
    let row = row.unwrap_or_else(|| panic!("no {core} in {lines:#?}"));
    row.split(' ').nth(4).unwrap_or_default().to_string()
}

/// What there is for programs on a core.
fn memory(system: &System, core: &str) -> Vec<String> {
    let lines = ask(system, "mem");
    lines.into_iter().filter(|line| line.split(' ').any(|word| word == core)).collect()
}

#[test]
fn a_core_goes_off_line_and_comes_back_while_others_talk() {
    let fleet = Fleet::pair(3, 3).expect("a good fleet");
    let Some(system) = boot(&fleet) else { return };
    check_up(&system, &fleet);
    for (core, beside, far) in [("0.1", "0.2", "1.2"), ("1.1", "1.2", "0.2")] {
        let pings = [format!("ping {beside} {core} 20"), format!("ping {core} {far} 20")];
        pings.iter().for_each(|ping| drop(ask(&system, ping)));
        let pid = ask(&system, &format!("spawn {core} hello quiet spin")).join("");
        let busy = fails(&system, &format!("core off {core}"));
        assert!(busy.contains("programs run on that core"), "{busy}");
        assert_eq!(state(&system, core), "up");
        ask(&system, &format!("kill {pid}"));
        fails(&system, &format!("wait {pid}"));
        let before = memory(&system, core);
        assert_eq!(before.len(), 1, "{before:#?}");

        for round in 0..=ROUNDS {
            assert_eq!(ask(&system, &format!("core off {core}")), [""; 0], "round {round}");
            assert_eq!(state(&system, core), "off");
            if round == 0 {
                for command in pings.iter().chain([&format!("run {core} hello")]) {
                    let why = fails(&system, command);
                    assert!(why.contains("the core is not up"), "`{command}`: {why}");
                }
                assert_eq!(ask(&system, &format!("core off {core}")), [""; 0], "it is off");
                ask(&system, &format!("ping {beside} {far} 20"));
            }
            assert_eq!(ask(&system, &format!("core on {core}")), [""; 0], "round {round}");
            assert_eq!(state(&system, core), "up");
            pings.iter().for_each(|ping| drop(ask(&system, ping)));
        }
        assert_eq!(ask(&system, &format!("run {core} hello quiet lines=3")).len(), 3);
        assert_eq!(memory(&system, core), before, "nothing is lost from one life to the next");
    }
    for (command, why) in [
        ("core off 0.0", "an island's first core"),
        ("core off 1.0", "an island's first core"),
        ("core off 0.9", "no such core"),
        ("core on 7.1", "no such core"),
        ("core sleep 0.1", "usage"),
    ] {
        let said = fails(&system, command);
        assert!(said.contains(why), "`{command}`: {said}");
    }
    check_exit(&system);
}
