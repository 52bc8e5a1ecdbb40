//! Faults in whole systems: what a person, a dead island, a slow island and a hostile peer can do to one.
//!
//! | file | what goes wrong |
//! | --- | --- |
//! | [`pings`] | arguments; nothing, between every kind of pair |
//! | [`loss`] | islands that never appear, are killed, or are stopped and continued |
//! | [`knowledge`] | facts of islands that pause and die |
//! | [`window`] | a peer that scribbles over the window, or speaks another version |
//! | [`programs`] | programs and endpoints of the other ISA, while an island dies |
//! | [`stream`] | a million messages each way: none lost, doubled or out of order |
//! | [`fleets`] | large and odd fleets, and their losses |
//!
//! The times here only say when a hang is a hang.

mod fleets;
mod knowledge;
mod loss;
mod pings;
mod programs;
mod stream;
mod window;

use skerry_images::fleet::Fleet;
use skerry_images::runner::{Reply, System};
use std::time::{Duration, Instant};

use skerry_tests::{HANG, options};

/// How long a silent island is waited for in these fleets: longer than by default, for loaded machines.
const BOUND_MS: u64 = 3000;

/// Longer than a machine needs to get a command going.
const UNDER_WAY: Duration = Duration::from_millis(700);

/// A fleet of x86 and ARM islands with these numbers of cores, every two of them linked.
fn fleet(x86: &[u32], arm: &[u32]) -> Fleet {
    let island = |board: &str, cores: &u32| format!("[[island]]\nboard = \"{board}\"\ncores = {cores}\n");
    let x86 = x86.iter().map(|cores| island("qemu-q35", cores));
    let islands: String = x86.chain(arm.iter().map(|cores| island("qemu-virt", cores))).collect();
    let links = if islands.matches("[[island]]").count() > 1 { "links = \"all\"\n" } else { "" };
    Fleet::parse("faults", &format!("bound_ms = {BOUND_MS}\n{links}{islands}")).expect("a good fleet")
}

/// A booted fleet.
struct Run(System);

impl Run {
    /// Boots all islands of the fleet but the absent ones, and waits until the system is up. `None`: no images.
    fn boot(fleet: &Fleet, absent: &[usize]) -> Option<Self> {
        let mut options = options()?;
        options.absent = absent.to_vec();
        if !absent.is_empty() {
            options.append = "join_ms=4000".into();
        }
        let system = System::boot(fleet, &options).expect("QEMU starts");
        let run = Self(system);
        let line = run.0.wait_up(HANG).unwrap_or_else(|cause| panic!("{cause}"));
        let there = |index: &usize| !absent.contains(index);
        let islands = (0..fleet.islands.len()).filter(there).count();
        let cores: u32 = (0..fleet.islands.len()).filter(there).map(|i| fleet.islands[i].cores).sum();
        assert!(line.ends_with(&format!("system up, {cores} cores on {islands} islands")), "{line}");
        Some(run)
    }

    fn exec(&self, island: usize, command: &str) -> Reply {
        self.0.exec(island, command, HANG).unwrap_or_else(|cause| panic!("{cause}"))
    }

    /// The output of a command that must succeed.
    fn ok(&self, island: usize, command: &str) -> Vec<String> {
        let reply = self.exec(island, command);
        assert_eq!(reply.status, 0, "{command}: {:?}", reply.lines);
        reply.lines
    }

    /// The last line of a command that must fail: why it did.
    fn fails(&self, island: usize, command: &str) -> String {
        let Reply { mut lines, status } = self.exec(island, command);
        assert_ne!(status, 0, "{command}: {lines:?}");
        lines.pop().unwrap_or_else(|| panic!("{command}: no reason"))
    }

    /// Runs a command that goes on until `meanwhile` breaks what it needs; it must end, and say how.
    fn breaks_off(&self, island: usize, command: &str, meanwhile: impl FnOnce()) {
        let why = std::thread::scope(|scope| {
            let command = scope.spawn(|| self.fails(island, command));
            std::thread::sleep(UNDER_WAY);
            meanwhile();
            command.join().expect("an answer")
        });
        // Which of them depends on who hears first, and of what.
        let typed = ["the core is lost", "changed meanwhile", "no route to the core"];
        assert!(typed.iter().any(|text| why.contains(text)), "{command}: {why}");
    }

    /// A ping that loses nothing.
    fn ping(&self, island: usize, from: &str, to: &str, count: u32) {
        let lines = self.ok(island, &format!("ping {from} {to} {count}"));
        assert_eq!(lines.len(), 2, "{lines:?}");
        for (line, unit) in lines.iter().zip(["ticks", "ns"]) {
            assert!(line.starts_with(&format!("ping {from} {to} count {count} lost 0 min ")), "{line}");
            assert!(line.ends_with(unit), "{line}");
            let words: Vec<&str> = line.split(' ').collect();
            let time = |index: usize| words[index].parse::<u64>().unwrap_or_else(|_| panic!("{line}"));
            assert!(0 < time(8) && time(8) <= time(10) && time(10) <= time(12), "{line}");
        }
    }

    /// The fields of a line of a table, by its first field.
    fn row(&self, island: usize, table: &str, name: &str) -> Vec<String> {
        let lines = self.ok(island, table);
        let row = lines.iter().map(|line| line.split(' ').map(String::from).collect::<Vec<_>>());
        row.skip(1).find(|row| row[0] == name).unwrap_or_else(|| panic!("no {name} in {lines:?}"))
    }

    /// What `on` takes island `of` for, and its epoch.
    fn island(&self, on: usize, of: usize) -> (String, u32) {
        let row = self.row(on, "islands", &of.to_string());
        (row[2].clone(), row[3].parse().unwrap_or_else(|_| panic!("{row:?}")))
    }

    /// The state of a core.
    fn core(&self, on: usize, core: &str) -> String {
        self.row(on, "cores", core)[4].clone()
    }

    /// Waits until `on` takes island `of` for `state`; answers its epoch.
    fn wait_island(&self, on: usize, of: usize, state: &str) -> u32 {
        self.until(&format!("island {of} is {state} for island {on}"), || {
            let (now, epoch) = self.island(on, of);
            (now == state).then_some(epoch)
        })
    }

    /// Waits until `on` finds every core of the fleet up.
    fn wait_all_up(&self, on: usize) {
        let cores = self.0.fleet().cores() as usize;
        self.until("all cores are up", || {
            let lines = self.ok(on, "cores");
            let up = |line: &&String| line.split(' ').nth(4) == Some("up");
            (lines.iter().skip(1).filter(up).count() == cores).then_some(())
        });
    }

    /// Waits until `found` finds something.
    fn until<T>(&self, what: &str, mut found: impl FnMut() -> Option<T>) -> T {
        let deadline = Instant::now() + HANG;
        loop {
            if let Some(found) = found() {
                return found;
            }
            if Instant::now() > deadline {
                let islands = 0..self.0.fleet().islands.len();
                let logs: String = islands.map(|i| format!("--- {i}\n{}\n", self.0.console_log(i))).collect();
                panic!("in vain: {what}\n{logs}");
            }
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    /// Waits for a line on an island's console.
    fn says(&self, island: usize, text: &str) -> String {
        self.0.wait_line(island, text, HANG).unwrap_or_else(|cause| panic!("{cause}"))
    }
}
