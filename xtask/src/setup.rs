//! Getting what is missing, and saying so.

use crate::shell::{Result, capture, fail, progress, run, tool};
use crate::targets::TARGETS;
use crate::{apt, doctor};
use skerry_images::runner::qemu::Qemu;
use std::process::Command;

/// Adds the bare targets to the pinned toolchain, through rustup.
pub fn rust() -> Result<()> {
    let missing = missing_targets();
    if missing.is_empty() {
        return Ok(());
    }
    if tool("rustup").is_none() {
        return fail(format!(
            "the Rust targets {} are missing; {}",
            missing.join(", "),
            doctor::RUST_WITHOUT_RUSTUP
        ));
    }
    progress(format!("adding the Rust targets {}", missing.join(", ")));
    let mut rustup = Command::new("rustup");
    rustup.current_dir(crate::shell::root()).args(["target", "add"]).args(&missing);
    run(&mut rustup, "rustup target add")
}

/// Adds a component (`clippy`, `rustfmt`) to the pinned toolchain, if its program is not there.
pub fn component(name: &str, program: &str) -> Result<()> {
    if capture(Command::new(program).current_dir(crate::shell::root()).arg("--version")).is_ok() {
        return Ok(());
    }
    if tool("rustup").is_none() {
        return fail(format!(
            "{program} is missing and there is no rustup to add it; {}",
            doctor::RUST_WITHOUT_RUSTUP
        ));
    }
    progress(format!("adding the Rust component {name}"));
    let mut rustup = Command::new("rustup");
    rustup.current_dir(crate::shell::root()).args(["component", "add", name]);
    run(&mut rustup, "rustup component add")
}

/// Targets whose standard library the pinned toolchain lacks.
pub fn missing_targets() -> Vec<&'static str> {
    let mut missing: Vec<&str> =
        TARGETS.iter().map(|t| t.triple).filter(|triple| !has_target(triple)).collect();
    missing.dedup();
    missing
}

fn has_target(triple: &str) -> bool {
    let mut rustc = Command::new("rustc");
    rustc.current_dir(crate::shell::root()).args(["--print", "target-libdir", "--target", triple]);
    let dir = capture(&mut rustc).unwrap_or_default();
    let Ok(mut files) = std::fs::read_dir(dir.trim()) else { return false };
    files.any(|file| file.is_ok_and(|file| file.file_name().to_string_lossy().starts_with("libcore")))
}

/// Makes sure there is a QEMU for each of the ISAs, installing it where we may.
pub fn qemu(isas: &[&str]) -> Result<()> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let trouble = || isas.iter().find_map(|isa| Qemu::find(isa, &path).err());
    let Some(cause) = trouble() else { return Ok(()) };
    let plan = apt::plan();
    if !plan.can_run {
        return fail(format!("{cause}\nto install it, type:\n  {}", plan.commands.join("\n  ")));
    }
    progress(format!("{cause}"));
    plan.run()?;
    trouble().map_or(Ok(()), |cause| Err(cause.into()))
}
