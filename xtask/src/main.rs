//! # `cargo xtask`: the one entry point for people
//!
//! | command | module |
//! | --- | --- |
//! | `build` | [`build`]: CPU drivers and domains of both ISAs, packed into one bundle |
//!
//! Neighbours: `images` does the work on images and fleets; this crate drives cargo and talks to people.
#![forbid(unsafe_code)]

mod args;
mod build;
mod shell;
mod targets;

use shell::Result;
use std::process::ExitCode;

fn main() -> ExitCode {
    match run() {
        Ok(code) => code,
        Err(cause) => {
            eprintln!("xtask: {cause}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<ExitCode> {
    use args::Command;
    match args::parse()? {
        Command::Help => {
            print!("{}", args::HELP);
            Ok(ExitCode::SUCCESS)
        }
        Command::Build { only } => {
            let images = build::build(&only)?;
            println!("{}", images.describe()?);
            Ok(ExitCode::SUCCESS)
        }
    }
}
