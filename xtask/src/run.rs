//! `cargo xtask run`.

use crate::args::{Kvm, Run};
use crate::rust::Rust;
use crate::shell::{Result, fail, progress};
use crate::{build, setup};
use skerry_images::Error;
use skerry_images::fleet::Fleet;
use skerry_images::runner::{Options, System, probe, qemu, terminal};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// How long a fleet may take to come up when no other time is given: long, for loaded machines.
const UP_TIMEOUT: Duration = Duration::from_secs(120);

/// Sets up, builds, boots, and stays until somebody ends it.
pub fn run(run: &Run) -> Result<ExitCode> {
    let fleet = fleet(run)?;
    let isas: Vec<&str> = fleet.islands.iter().map(|island| island.board.isa()).collect();
    let rust = Rust::find()?;
    setup::qemu(&isas)?;
    let images = build::build(rust, &[])?;
    let mut options = Options::new(&images.dir);
    options.kvm = use_kvm(run.kvm, &options)?;
    options.gdb = run.gdb;
    options.show = run.exec.is_none();
    if run.gdb {
        say_how_to_debug(&fleet);
        options.qemu_args.push("-S".into());
    }
    let deadline = run.timeout.map(|timeout| Instant::now() + timeout);
    // While commands run nobody looks at the flag, and there is no terminal to put right.
    let stop = stop_on_signals(run.exec.is_some())?;
    progress(format!(
        "booting fleet {}: {} cores on {} islands",
        fleet.name,
        fleet.cores(),
        fleet.islands.len()
    ));
    let system = System::boot(&fleet, &options)?;
    match &run.exec {
        Some(commands) => exec(&system, commands, deadline.unwrap_or(Instant::now() + UP_TIMEOUT)),
        None => {
            let why = terminal::interact(&system, &stop, deadline)?;
            progress(format!("{why}; ending all islands"));
            Ok(ExitCode::SUCCESS)
        }
    }
}

fn fleet(run: &Run) -> Result<Fleet> {
    if let Some(path) = &run.fleet {
        let text = std::fs::read_to_string(path).map_err(Error::file(path))?;
        let name = path.file_stem().map_or("fleet".into(), |stem| stem.to_string_lossy().replace(' ', "-"));
        return Ok(Fleet::parse(&name, &text)?);
    }
    match (run.x86_cores, run.arm_cores) {
        (None, None) => Ok(Fleet::default_fleet()?),
        (x86, arm) => Ok(Fleet::pair(x86.unwrap_or(4), arm.unwrap_or(4))?),
    }
}

fn use_kvm(wish: Kvm, options: &Options) -> Result<bool> {
    if wish == Kvm::Off {
        return Ok(false);
    }
    match (probe::kvm(options), wish) {
        (Ok(()), _) => Ok(true),
        (Err(cause), Kvm::On) => fail(format!("--kvm on, but KVM does not work here: {cause}")),
        (Err(_), _) => Ok(false),
    }
}

/// A flag that Ctrl-C and a request to end set; or they end the process `at_once`.
fn stop_on_signals(at_once: bool) -> Result<Arc<AtomicBool>> {
    let stop = Arc::new(AtomicBool::new(false));
    let set = stop.clone();
    ctrlc::set_handler(move || {
        // Asked a second time: the flag does not help. The operating system ends every QEMU with us (`die_with_parent`).
        if set.swap(true, Ordering::Relaxed) || at_once {
            std::process::exit(130);
        }
    })?;
    Ok(stop)
}

fn say_how_to_debug(fleet: &Fleet) {
    for (index, island) in fleet.islands.iter().enumerate() {
        let isa = island.board.isa();
        let triple = if isa == "x86_64" { "x86_64-unknown-none" } else { "aarch64-unknown-none-softfloat" };
        progress(format!(
            "island {} waits for: gdb-multiarch target/{triple}/release/board-{} -ex 'target remote :{}' -ex continue",
            island.name,
            island.board.name(),
            qemu::FIRST_GDB_PORT + index,
        ));
    }
}

/// Runs the commands one after another on the first living island; stops at the first that fails.
fn exec(system: &System, commands: &str, deadline: Instant) -> Result<ExitCode> {
    let left = || deadline.saturating_duration_since(Instant::now());
    system.wait_up(left())?;
    for command in commands.split(';').map(str::trim).filter(|command| !command.is_empty()) {
        let Some(island) = system.first_alive() else { return fail("no island is left") };
        let reply = system.exec(island, command, left())?;
        for line in &reply.lines {
            println!("{line}");
        }
        if reply.status != 0 {
            return fail(format!("`{command}` failed with status {}", reply.status));
        }
    }
    Ok(ExitCode::SUCCESS)
}
