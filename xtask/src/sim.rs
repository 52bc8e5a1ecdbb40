//! `cargo xtask sim`: builds the simulator and lets it play.

use crate::shell::{Result, cargo};
use std::ffi::OsString;
use std::process::{Command, ExitCode};

/// The simulator, built to play as many seeds as it can.
pub fn command() -> Command {
    let mut cargo = cargo();
    cargo.args(["run", "--quiet", "--profile", "sim", "--package", "skerry-sim", "--"]);
    cargo
}

/// Hands `options` on; the exit status is the simulator's.
pub fn sim(options: &[OsString]) -> Result<ExitCode> {
    let code = command().args(options).status()?.code().and_then(|code| u8::try_from(code).ok());
    Ok(code.map_or(ExitCode::FAILURE, ExitCode::from))
}
