//! # `cargo xtask`: the one entry point for people
//!
//! | command | module |
//! | --- | --- |
//! | `run` | [`run`]: boot a fleet and hand over its shell |
//! | `build` | [`build`]: CPU drivers and domains of both ISAs ([`targets`]), packed into one bundle |
//! | `test` | [`test`]: the layers, each run and counted by [`layer`]; [`catalogue`]: which there are |
//! | `check` | [`check`]: formatting, clippy, cargo-deny, [`house`] rules, and [`lines`] |
//! | `sim` | [`sim`]: the whole system on a simulated machine |
//! | `bench` | [`bench`]: figures |
//! | `doctor` | [`doctor`]: what is installed; [`setup`] and [`apt`] get what is missing |
//!
//! Neighbours: `images` does the work on images and fleets; this crate drives cargo and talks to people.
#![forbid(unsafe_code)]

mod apt;
mod args;
mod bench;
mod build;
mod catalogue;
mod check;
mod doctor;
mod house;
mod layer;
mod lines;
mod run;
mod rust;
mod setup;
mod shell;
mod sim;
mod targets;
mod test;

use rust::Rust;
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
        Command::Help(about) => {
            print!("{}", args::help(about.as_deref()));
            Ok(ExitCode::SUCCESS)
        }
        Command::Run(options) => run::run(&options),
        Command::Doctor => doctor::doctor(),
        Command::Test { full, filter } => test::test(full, filter.as_deref()),
        Command::Check => check::check(),
        Command::Sim(options) => sim::sim(&options),
        Command::Bench { name } => bench::bench(name.as_deref()),
        Command::Build { only } => {
            let rust = Rust::find()?;
            let images = build::build(rust, &only)?;
            println!("{}", images.describe()?);
            Ok(ExitCode::SUCCESS)
        }
    }
}
