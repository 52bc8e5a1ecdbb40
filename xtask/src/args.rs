//! The command line.

use crate::shell::{Result, fail};
use lexopt::Arg::{Long, Short, Value};
use lexopt::ValueExt;

/// What `help` prints.
pub const HELP: &str = "\
cargo xtask COMMAND

  build [PACKAGE..]   build CPU drivers and domains for both ISAs and pack the bundle
                      (with packages: build only these)
  help                this text
";

/// One parsed command line.
pub enum Command {
    /// Explain.
    Help,
    /// Build these packages, or everything.
    Build {
        /// Package names; empty means all.
        only: Vec<String>,
    },
}

/// Reads the command line of this process.
pub fn parse() -> Result<Command> {
    let mut parser = lexopt::Parser::from_env();
    let command = match parser.next()? {
        Some(Value(command)) => command.string()?,
        None | Some(Short('h') | Long("help")) => return Ok(Command::Help),
        Some(other) => return Err(other.unexpected().into()),
    };
    match command.as_str() {
        "help" => Ok(Command::Help),
        "build" => {
            let mut only = Vec::new();
            while let Some(arg) = parser.next()? {
                match arg {
                    Value(package) => only.push(package.string()?),
                    other => return Err(other.unexpected().into()),
                }
            }
            Ok(Command::Build { only })
        }
        other => fail(format!("unknown command `{other}`; `cargo xtask help` lists the commands")),
    }
}
