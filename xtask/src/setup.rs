//! Getting what is missing, and saying so.

use crate::apt;
use crate::rust::WITHOUT_RUSTUP;
use crate::shell::{Result, capture, fail, progress, run, tool};
use skerry_images::runner::qemu::Qemu;
use std::process::Command;

/// Adds a component (`clippy`, `rustfmt`) to the pinned toolchain, if its program is not there.
pub fn component(name: &str, program: &str) -> Result<()> {
    if capture(Command::new(program).current_dir(crate::shell::root()).arg("--version")).is_ok() {
        return Ok(());
    }
    if tool("rustup").is_none() {
        return fail(format!("{program} is missing and there is no rustup to add it; {}", WITHOUT_RUSTUP));
    }
    progress(format!("adding the Rust component {name}"));
    let mut rustup = Command::new("rustup");
    rustup.current_dir(crate::shell::root()).args(["component", "add", name]);
    run(&mut rustup, "rustup component add")
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
