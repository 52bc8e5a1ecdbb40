//! What the shell's answers must look like. Each check panics with what it found.

use crate::HANG;
use skerry_images::fleet::{Fleet, Island};
use skerry_images::runner::{Reply, System};
use std::time::{Duration, Instant};

/// Runs a command that must succeed on the first island; answers its lines.
pub fn ask(system: &System, command: &str) -> Vec<String> {
    ask_on(system, 0, command)
}

/// The same on another island.
pub fn ask_on(system: &System, island: usize, command: &str) -> Vec<String> {
    let Reply { lines, status } = reply(system, island, command);
    assert_eq!(status, 0, "`{command}` failed: {lines:?}");
    lines
}

/// Runs a command that may fail.
pub fn reply(system: &System, island: usize, command: &str) -> Reply {
    system.exec(island, command, HANG).unwrap_or_else(|cause| panic!("{cause}"))
}

/// NUMA node of a core, as the runner lays an island out: evenly.
pub fn node(island: &Island, core: u32) -> u32 {
    let end_of = |node: u32| (node + 1) * island.cores / island.nodes;
    (0..island.nodes).find(|&node| core < end_of(node)).expect("a core of the island")
}

/// `cores`: the header, then exactly a line for each core of the fleet, all up.
pub fn check_cores(system: &System) {
    let lines = ask(system, "cores");
    let mut expected = vec!["core isa island node state".to_string()];
    for (number, island) in system.fleet().islands.iter().enumerate() {
        expected.extend((0..island.cores).map(|core| {
            let isa = island.board.isa();
            format!("{number}.{core} {isa} {number} {} up", node(island, core))
        }));
    }
    // The last column, how many channels a monitor has, follows from what was done before.
    let split =
        |line: &String| line.rsplit_once(' ').map(|(rest, last)| (rest.to_string(), last.to_string()));
    let (table, channels): (Vec<_>, Vec<_>) = lines.iter().filter_map(split).unzip();
    assert_eq!(table, expected, "{lines:#?}");
    assert_eq!(channels[0], "channels");
    let all = system.fleet().cores();
    for count in &channels[1..] {
        let count: u32 = count.parse().unwrap_or_else(|_| panic!("a number of channels in {lines:?}"));
        assert!(all == 1 || count >= 1, "a core without a channel: {lines:#?}");
    }
}

/// `ping`: one line in nanoseconds and one in ticks, nothing lost, and figures in order.
pub fn check_ping(system: &System, from: &str, to: &str, count: u32) {
    let lines = ask(system, &format!("ping {from} {to} {count}"));
    let mut units: Vec<&str> = lines.iter().map(|line| ping_unit(line, from, to, count)).collect();
    units.sort_unstable();
    assert_eq!(units, ["ns", "ticks"], "{lines:#?}");
}

fn ping_unit<'a>(line: &'a str, from: &str, to: &str, count: u32) -> &'a str {
    let words: Vec<&str> = line.split(' ').collect();
    let ["ping", a, b, "count", n, "lost", "0", "min", min, "median", median, "p99", p99, unit] = words[..]
    else {
        panic!("no line of a ping without loss: {line:?}");
    };
    assert_eq!((a, b, n), (from, to, &*count.to_string()), "{line:?}");
    let figures =
        [min, median, p99].map(|figure| figure.parse::<u64>().unwrap_or_else(|_| panic!("{line:?}")));
    // A core needs no message to reach itself.
    assert!(figures.is_sorted() && (figures[2] > 0 || from == to), "{line:?}");
    unit
}

/// `islands`: every island up in its first epoch, with all its cores and links.
pub fn check_islands(system: &System) {
    let fleet = system.fleet();
    let mut expected = vec!["island isa state epoch cores up links".to_string()];
    for (number, island) in fleet.islands.iter().enumerate() {
        let mut links: Vec<String> = fleet.links_of(number).map(|(peer, _)| peer.to_string()).collect();
        if links.is_empty() {
            links.push("-".into());
        }
        let (isa, cores) = (island.board.isa(), island.cores);
        expected.push(format!("{number} {isa} up 1 {cores} {cores} {}", links.join(",")));
    }
    assert_eq!(ask(system, "islands"), expected);
}

/// `mem`: a line for each core; what the monitors of this island have and what every core has for programs is no more than
/// there is.
pub fn check_memory(system: &System) {
    let lines = ask(system, "mem");
    let fleet = system.fleet();
    assert_eq!(lines[0], "core node total_kib free_kib programs_kib programs_free_kib slots caps running");
    assert_eq!(lines.len() as u32, fleet.cores() + 1, "{lines:#?}");
    let mut rows = lines[1..].iter();
    for (number, island) in fleet.islands.iter().enumerate() {
        let mut all = 0;
        for (core, line) in (0..island.cores).zip(&mut rows) {
            let words: Vec<&str> = line.split(' ').collect();
            let [id, at, total, free, programs, programs_free, slots, caps, "0"] = words[..] else {
                panic!("{line:?}");
            };
            assert_eq!(
                (id, at),
                (&*format!("{number}.{core}"), &*node(island, core).to_string()),
                "{line:?}"
            );
            let kib = |word: &str| word.parse::<u64>().unwrap_or_else(|_| panic!("{line:?}"));
            if number == 0 {
                assert!(0 < kib(total) && kib(free) <= kib(total), "{line:?}");
                // The first core's was handed out apart; the other monitors pass on what they were given.
                all += kib(total) + if core == 0 { kib(programs) } else { 0 };
            } else {
                assert_eq!((total, free), ("-", "-"), "{line:?}");
            }
            assert!(0 < kib(programs_free) && kib(programs_free) <= kib(programs), "{line:?}");
            assert!(0 < kib(slots) && 0 < kib(caps), "{line:?}");
        }
        assert!(all <= island.memory.0 >> 10, "more memory than the island has: {lines:#?}");
    }
}

/// `help`, and lines that are no command.
pub fn check_help_and_errors(system: &System) {
    let help = ask(system, "help");
    for command in [
        "cores",
        "islands",
        "mem",
        "ping FROM TO [COUNT]",
        "log LEVEL",
        "bench NAME",
        "run CORE",
        "ps",
        "exit",
        "help",
    ] {
        assert!(help.iter().any(|line| line.starts_with(command)), "no help for {command}: {help:#?}");
    }
    assert_eq!(ask(system, "help cores").len(), 1);
    let bad = |command: &str| {
        let reply = reply(system, 0, command);
        assert_ne!(reply.status, 0, "`{command}` succeeded: {:?}", reply.lines);
        assert_eq!(reply.lines.len(), 1, "{:?}", reply.lines);
        reply.lines[0].clone()
    };
    assert_eq!(bad("corse"), "corse: unknown command; `help` lists the commands");
    assert!(bad("ping 0.0").contains("FROM TO [COUNT]"));
    assert!(bad("ping 0 0.0").contains("ISLAND.LOCAL"));
    let nobody = bad("ping 0.0 63.63");
    assert!(nobody.starts_with("ping: "), "{nobody}");
}

/// All islands say that they are up; the system is complete.
pub fn check_up(system: &System, fleet: &Fleet) {
    let line = system.wait_up(HANG).unwrap_or_else(|cause| panic!("{cause}"));
    let expected = format!("skerry: system up, {} cores on {} islands", fleet.cores(), fleet.islands.len());
    assert!(line.contains(&expected), "{line}");
}

/// That a program has said something: in its answer, or on the first island's console from byte `before` on, which lines of the early
/// console reach another way than the answer, and perhaps later.
pub fn check_said(system: &System, before: usize, lines: &[String], says: &str) {
    let said = || lines.join("\n") + system.console_log(0).get(before..).unwrap_or_default();
    let deadline = Instant::now() + HANG;
    while !said().contains(says) && Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(20));
    }
    assert!(said().contains(says), "{says}: {}", said());
}

/// `exit`: every QEMU ends by itself, as one does whose guest powers off.
pub fn check_exit(system: &System) {
    // The answer may be lost with the console.
    let _ = system.exec(0, "exit", HANG);
    for island in 0..system.fleet().islands.len() {
        let status = system.wait_end(island, HANG).unwrap_or_else(|cause| panic!("{cause}"));
        assert!(status.success(), "island {island} ended with {status}");
    }
}
