//! # `cargo xtask`: the one entry point for people
//!
//! | command | module |
//! | --- | --- |
//! | `run` | [`run`]: boot a fleet and hand over its shell |
//! | `build` | [`build`]: CPU drivers and domains of both ISAs ([`targets`]), packed into one bundle |
//! | `doctor` | [`doctor`]: what is installed; [`setup`] and [`apt`] get what is missing |
//!
//! Neighbours: `images` does the work on images and fleets; this crate drives cargo and talks to people.
#![forbid(unsafe_code)]

mod apt;
mod args;
mod build;
mod doctor;
mod run;
mod setup;
mod shell;
mod targets;

use shell::Result;
use std::process::ExitCode;

fn main() -> ExitCode {
    match dispatch() {
        Ok(code) => code,
        Err(cause) => {
            eprintln!("xtask: {cause}");
            ExitCode::FAILURE
        }
    }
}

fn dispatch() -> Result<ExitCode> {
    use args::Command;
    match args::parse()? {
        Command::Help => {
            print!("{}", args::HELP);
            Ok(ExitCode::SUCCESS)
        }
        Command::Run(options) => run::run(&options),
        Command::Doctor => doctor::doctor(),
        Command::Test { .. } | Command::Check | Command::Bench { .. } => shell::fail("not yet"),
        Command::Build { only } => {
            setup::rust()?;
            let images = build::build(&only)?;
            println!("{}", images.describe()?);
            Ok(ExitCode::SUCCESS)
        }
    }
}
