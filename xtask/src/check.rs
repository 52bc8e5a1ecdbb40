//! `cargo xtask check`: what can be found wrong without running anything.

use crate::lines::{self, Lines};
use crate::rust::Rust;
use crate::shell::{Result, cargo, fail, progress, root, run, tool};
use crate::targets::TARGETS;
use crate::{build, house, setup, test};
use skerry_images::Error;
use skerry_images::elf::text_bytes;
use std::process::{Command, ExitCode};

/// Runs every check, and ends with one plain line of totals.
pub fn check() -> Result<ExitCode> {
    let rust = Rust::find()?;
    setup::component("rustfmt", "rustfmt")?;
    setup::component("clippy", "cargo-clippy")?;
    let mut tally = Tally::default();
    tally.add("formatting", run(cargo().args(["fmt", "--all", "--check"]), "cargo fmt"));
    tally.add("house rules", house_rules());
    tally.add("size of the CPU drivers", sizes());
    tally.add("clippy, host", run(&mut clippy(&["--all-targets"], &[]), "clippy"));
    tally.add("clippy, libraries of guests", guest_libraries());
    tally.add("clippy, fleet tests", fleet_tests());
    for target in &TARGETS {
        let packages: Vec<&str> =
            target.packages.iter().filter(|p| build::has_code(p)).map(|p| p.name).collect();
        if packages.is_empty() {
            continue;
        }
        if rust == Rust::Debian {
            tally.skipped += 1;
            progress(format!("clippy for {} skipped: Debian's Rust has none", target.triple));
            continue;
        }
        let mut command = clippy_for(rust.cargo_for("clippy", target), &packages);
        tally.add(&format!("clippy, {} for {}", packages.len(), target.triple), run(&mut command, "clippy"));
    }
    if tool("cargo-deny").is_some() {
        // Advisories come from the network, and change without a change of ours: not here.
        let deny = ["deny", "--offline", "--log-level", "error", "check", "bans", "licenses", "sources"];
        tally.add("cargo-deny", run(cargo().args(deny), "cargo deny"));
    } else {
        tally.skipped += 1;
        progress("cargo-deny skipped: it is not installed (cargo install --locked cargo-deny)");
    }
    println!("{} checks passed, {} failed, {} skipped", tally.passed, tally.failed, tally.skipped);
    Ok(if tally.failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

#[derive(Default)]
struct Tally {
    passed: u32,
    failed: u32,
    skipped: u32,
}

impl Tally {
    fn add(&mut self, name: &str, result: Result<()>) {
        match result {
            Ok(()) => {
                progress(format!("ok: {name}"));
                self.passed += 1;
            }
            Err(cause) => {
                progress(format!("FAILED: {name}: {cause}"));
                self.failed += 1;
            }
        }
    }
}

/// `cargo clippy` for these packages, or for the workspace's default ones, with warnings denied.
fn clippy(args: &[&str], packages: &[&str]) -> Command {
    let mut command = cargo();
    command.arg("clippy").args(args);
    clippy_for(command, packages)
}

fn clippy_for(mut command: Command, packages: &[&str]) -> Command {
    command.arg("--quiet");
    command.args(packages.iter().flat_map(|name| ["--package", name]));
    command.args(["--", "-D", "warnings"]);
    command
}

fn guest_libraries() -> Result<()> {
    let libraries = test::guest_libraries()?;
    let names: Vec<&str> = libraries.iter().map(String::as_str).collect();
    run(&mut clippy(&["--lib", "--tests"], &names), "clippy")
}

/// The tests of whole systems are no default member: they need images to do anything.
fn fleet_tests() -> Result<()> {
    run(&mut clippy(&["--all-targets"], &["skerry-tests"]), "clippy")
}

/// The CPU drivers' bounds. Of `.text` it only tells, for what is linked here may be old.
fn sizes() -> Result<()> {
    for (isa, path) in build::cpu_drivers() {
        let file = std::fs::read(&path).map_err(Error::file(&path))?;
        let bytes = text_bytes(&file)?;
        if bytes > lines::MOST_TEXT {
            progress(format!(
                "the CPU driver of {isa} has {bytes} bytes of text, more than {}",
                lines::MOST_TEXT
            ));
        }
    }
    for (isa, Lines { rust, asm }) in lines::cpu_drivers()? {
        for (what, count, most) in [("Rust", rust, lines::MOST_RUST), ("assembly", asm, lines::MOST_ASM)] {
            if count > most {
                return fail(format!(
                    "the CPU driver of {isa} has {count} lines of {what}, more than {most}"
                ));
            }
        }
    }
    Ok(())
}

fn house_rules() -> Result<()> {
    let broken = house::check(&root())?;
    for line in &broken {
        eprintln!("{line}");
    }
    if broken.is_empty() { Ok(()) } else { Err(format!("{} house rules broken", broken.len()).into()) }
}
