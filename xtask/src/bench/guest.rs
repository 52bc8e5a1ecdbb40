//! Figures that running islands print, through the shell's `bench`; and how long a fleet takes to come up.
//! `docs/benchmarks.md` says what each of them includes.

use super::{Figures, is_figure};
use crate::build::Images;
use crate::setup;
use crate::shell::{Result, fail, progress};
use skerry_images::fleet::Fleet;
use skerry_images::runner::{Options, System};
use std::time::{Duration, Instant};

/// The shell's benchmarks that count instructions, each on one island of two cores of each ISA.
const COUNTED: &[&str] = &[
    "syscall.null",
    "urpc.msg",
    "monitor.ping",
    "lrpc.async",
    "lrpc.sync_rtt",
    "irq.deliver",
    "cap.noop",
    "cap.clear.4096",
    "cap.retype.256",
    "cap.retype.32768",
    "cap.delete.256",
    "cap.delete.32768",
    "cap.pages",
    "thread.switch",
    "thread.mutex",
    "vm.map",
    "vm.protect",
    "vm.unmap",
    "vm.map_bulk",
    "vm.protect_bulk",
    "vm.unmap_bulk",
    "kernel.longest",
    "skb.multicast64",
];
/// What blocking and being woken take a monitor, and how long it polls before it does: from the knowledge base, which they
/// told at their start (paper §5.2).
const POLL: [(&str, &str); 2] = [("poll.block", "wake{core: 0.1, ns: N}"), ("poll.time", "poll(0.1, N)")];
/// The one that needs an island of each ISA.
const ACROSS: &str = "urpc.xisa";
/// From nothing to one system.
const BOOT: &str = "boot";
/// The ISAs, and the cores of an x86 and an ARM island that make one of that ISA.
pub const ISAS: [(&str, u32, u32); 2] = [("x86_64", 2, 0), ("aarch64", 0, 2)];
/// Boots of which the median counts.
const BOOTS: usize = 5;
/// Long, for loaded machines; and counting instructions takes its time.
pub const PATIENCE: Duration = Duration::from_secs(300);
/// The bound on a silent peer in an island whose clock does not run with anybody else's: the most that there is.
pub const NO_BOUND_MS: u32 = 3_600_000;

/// Whether any figure of this file was asked for.
pub fn wanted(figures: &Figures) -> bool {
    let polls = POLL.iter().map(|(name, _)| name);
    COUNTED.iter().chain(polls).chain([&ACROSS, &BOOT]).any(|name| figures.wants(name))
}

/// Measures what was asked for.
pub fn measure(images: &Images, figures: &mut Figures) -> Result<()> {
    setup::qemu(&["x86_64", "aarch64"])?;
    for (isa, x86, arm) in ISAS {
        let names: Vec<&str> =
            COUNTED.iter().copied().filter(|name| figures.wants(&format!("{name}.{isa}"))).collect();
        let polls = POLL.iter().any(|(name, _)| figures.wants(&format!("{name}.{isa}")));
        if polls || !names.is_empty() {
            let result = counted(images, (x86, arm), isa, &names, figures);
            figures.take(isa, result);
        }
    }
    if figures.wants(ACROSS) {
        let result = across(images, figures);
        figures.take(ACROSS, result);
    }
    if figures.wants(BOOT) {
        let result = boot(images, figures);
        figures.take(BOOT, result);
    }
    Ok(())
}

/// Instructions, on an island of its own whose clock counts them.
fn counted(
    images: &Images,
    (x86, arm): (u32, u32),
    isa: &str,
    names: &[&str],
    figures: &mut Figures,
) -> Result<()> {
    let mut fleet = Fleet::pair(x86, arm)?;
    fleet.bound_ms = NO_BOUND_MS;
    let mut options = Options::new(&images.dir);
    options.icount = true;
    progress(format!("counting instructions on {}", fleet.islands[0].board.name()));
    let system = System::boot(&fleet, &options)?;
    system.wait_up(PATIENCE)?;
    for name in names {
        for line in run(&system, name)? {
            figures.add(&line.replace(" ticks", " instructions"));
        }
    }
    for (name, rule) in POLL {
        if !figures.wants(&format!("{name}.{isa}")) {
            continue;
        }
        let deadline = Instant::now() + PATIENCE;
        // Told once all cores are up, so it may not be known yet. A nanosecond of the guest's is an instruction.
        let ns = loop {
            let reply = system.exec(0, &format!("skb n(N) :- {rule}"), PATIENCE)?;
            match reply.lines.get(1).map(|ns| ns.replace('_', "").parse::<u32>()) {
                Some(ns) => break ns?,
                None if Instant::now() > deadline => return fail(format!("{name}: it was not measured")),
                None => std::thread::sleep(Duration::from_millis(50)),
            }
        };
        figures.add(&format!("{name}.{isa} {ns} instructions"));
    }
    Ok(())
}

/// An x86 domain and an ARM domain, over a window.
fn across(images: &Images, figures: &mut Figures) -> Result<()> {
    progress("measuring between an x86 and an ARM island");
    let system = System::boot(&Fleet::pair(1, 1)?, &Options::new(&images.dir))?;
    system.wait_up(PATIENCE)?;
    for line in run(&system, ACROSS)? {
        figures.add(&line);
    }
    Ok(())
}

fn run(system: &System, name: &str) -> Result<Vec<String>> {
    let reply = system.exec(0, &format!("bench {name}"), PATIENCE)?;
    if reply.status != 0 {
        return fail(format!("`bench {name}`: {}", reply.lines.join(" ")));
    }
    Ok(reply.lines.into_iter().filter(|line| is_figure(line)).collect())
}

/// Wall time from starting the first QEMU to the line that says that the default fleet is one system.
fn boot(images: &Images, figures: &mut Figures) -> Result<()> {
    let fleet = Fleet::default_fleet()?;
    progress(format!("booting {} cores on {} islands {BOOTS} times", fleet.cores(), fleet.islands.len()));
    let mut times = Vec::new();
    for _ in 0..BOOTS {
        let start = Instant::now();
        let system = System::boot(&fleet, &Options::new(&images.dir))?;
        let line = system.wait_up(PATIENCE)?;
        times.push(start.elapsed().as_millis());
        let whole = format!("{} cores on {} islands", fleet.cores(), fleet.islands.len());
        if !line.contains(&whole) {
            return fail(format!("`{line}`: not all came up"));
        }
    }
    times.sort_unstable();
    figures.add(&format!("{BOOT} {} ms", times[BOOTS / 2]));
    Ok(())
}
