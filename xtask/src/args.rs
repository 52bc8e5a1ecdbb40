//! The command line.

use crate::shell::{Result, fail};
use lexopt::Arg::{Long, Short, Value};
use lexopt::{Parser, ValueExt};
use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

/// What `help` prints.
pub const HELP: &str = "\
cargo xtask COMMAND

  run        build everything and boot a fleet; the first island's shell is yours, Ctrl-C ends all
      --fleet FILE          the fleet to boot (default: a PC and an ARM machine of 4 cores each)
      --x86-cores N         instead: this many x86 cores; 0 for no such island (with --arm-cores; default 4)
      --arm-cores N         the same for ARM
      --exec 'CMD; CMD'     run these shell commands, print only their output, end; fails if one fails
      --timeout SECONDS     end after this time, with an error
      --kvm auto|on|off     auto (default) finds out by booting a guest
      --gdb                 a debugger stub for each island; prints how to attach
  build [PACKAGE..]  build CPU drivers and domains of both ISAs and pack the bundle
                     (with packages: compile only these)
  test [full] [FILTER]  every layer of tests, or those whose paths contain FILTER
  check              formatting, lints for host and bare targets, licences, house rules
  sim OPTIONS        the whole system on a simulated machine, under many seeds; `sim --help` lists machines and faults
  bench [NAME]       figures, one line each: name value unit
  doctor             what is installed, what is missing, how to get it
  help [COMMAND]     this text, or what it says of one command; `COMMAND --help` does the same
";

/// What the help says of `command`, or all of it if it says nothing of such a command.
pub fn help(command: Option<&str>) -> String {
    let is_of = |line: &str, name: &str| line.trim_start().split(' ').next() == Some(name);
    let begins = |line: &&str| line.starts_with("  ") && !line.starts_with("   ");
    let Some(name) = command else { return HELP.into() };
    let mut lines = HELP.lines().skip_while(|line| !(begins(line) && is_of(line, name)));
    let Some(first) = lines.next() else { return HELP.into() };
    let rest = lines.take_while(|line| !begins(line));
    std::iter::once(first).chain(rest).fold(String::from("cargo xtask"), |text, line| {
        let indent = if text.contains('\n') { "  " } else { " " };
        text + indent + line.strip_prefix("  ").unwrap_or(line) + "\n"
    })
}

/// One parsed command line.
pub enum Command {
    /// Explain a command, or all.
    Help(Option<String>),
    /// Build these packages, or everything.
    Build {
        /// Package names; empty means all.
        only: Vec<String>,
    },
    /// Boot a fleet.
    Run(Run),
    /// Run tests.
    Test {
        /// The long versions.
        full: bool,
        /// Only tests whose names contain this.
        filter: Option<String>,
    },
    /// Check the sources.
    Check,
    /// Simulate, with the simulator's own options.
    Sim(Vec<OsString>),
    /// Measure.
    Bench {
        /// Only figures whose names start with this.
        name: Option<String>,
    },
    /// Look at the machine.
    Doctor,
}

/// How to boot a fleet.
#[derive(Default)]
pub struct Run {
    /// A fleet file.
    pub fleet: Option<PathBuf>,
    /// Cores of the x86 island.
    pub x86_cores: Option<u32>,
    /// Cores of the ARM island.
    pub arm_cores: Option<u32>,
    /// Shell commands, separated by `;`.
    pub exec: Option<String>,
    /// When to give up.
    pub timeout: Option<Duration>,
    /// Whether to use KVM.
    pub kvm: Kvm,
    /// Whether to wait for debuggers.
    pub gdb: bool,
}

/// Whether to use KVM.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub enum Kvm {
    /// If a probe guest boots with it.
    #[default]
    Auto,
    /// Yes.
    On,
    /// No.
    Off,
}

/// Reads the command line of this process.
pub fn parse() -> Result<Command> {
    let mut parser = Parser::from_env();
    let command = match parser.next()? {
        Some(Value(command)) => command.string()?,
        None | Some(Short('h') | Long("help")) => return Ok(Command::Help(None)),
        Some(other) => return Err(other.unexpected().into()),
    };
    let parsed = match command.as_str() {
        "help" => words(&mut parser, 1)?.map(|mut words| Command::Help(words.pop())),
        "build" => words(&mut parser, usize::MAX)?.map(|only| Command::Build { only }),
        "run" => run(&mut parser)?,
        "test" => words(&mut parser, 2)?.map(|mut words| {
            let full = words.first().is_some_and(|word| word == "full");
            if full {
                words.remove(0);
            }
            Command::Test { full, filter: words.pop() }
        }),
        "check" => words(&mut parser, 0)?.map(|_| Command::Check),
        "bench" => words(&mut parser, 1)?.map(|mut words| Command::Bench { name: words.pop() }),
        "sim" => Some(Command::Sim(parser.raw_args()?.collect())),
        "doctor" => words(&mut parser, 0)?.map(|_| Command::Doctor),
        other => return fail(format!("unknown command `{other}`; `cargo xtask help` lists the commands")),
    };
    Ok(parsed.unwrap_or(Command::Help(Some(command))))
}

/// The rest of the command line, which has at most `most` words; `None` if it asks for help.
fn words(parser: &mut Parser, most: usize) -> Result<Option<Vec<String>>> {
    let mut words = Vec::new();
    while let Some(arg) = parser.next()? {
        match arg {
            Short('h') | Long("help") => return Ok(None),
            Value(word) if words.len() < most => words.push(word.string()?),
            other => return Err(other.unexpected().into()),
        }
    }
    Ok(Some(words))
}

fn run(parser: &mut Parser) -> Result<Option<Command>> {
    let mut run = Run::default();
    while let Some(arg) = parser.next()? {
        match arg {
            Short('h') | Long("help") => return Ok(None),
            Long("fleet") => run.fleet = Some(parser.value()?.into()),
            Long("x86-cores") => run.x86_cores = Some(parser.value()?.parse()?),
            Long("arm-cores") => run.arm_cores = Some(parser.value()?.parse()?),
            Long("exec") => run.exec = Some(parser.value()?.string()?),
            Long("timeout") => run.timeout = Some(Duration::from_secs(parser.value()?.parse()?)),
            Long("kvm") => {
                run.kvm = match parser.value()?.string()?.as_str() {
                    "auto" => Kvm::Auto,
                    "on" => Kvm::On,
                    "off" => Kvm::Off,
                    other => return fail(format!("--kvm {other}: it is auto, on or off")),
                }
            }
            Long("gdb") => run.gdb = true,
            other => return Err(other.unexpected().into()),
        }
    }
    if run.fleet.is_some() && (run.x86_cores.is_some() || run.arm_cores.is_some()) {
        return fail("--fleet and --x86-cores or --arm-cores: the file says how many cores there are");
    }
    Ok(Some(Command::Run(run)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_command_is_explained_by_itself() {
        for name in ["run", "build", "test", "check", "sim", "bench", "doctor", "help"] {
            let text = help(Some(name));
            assert!(text.starts_with(&format!("cargo xtask {name}")) && text.len() < HELP.len(), "{text}");
        }
        assert!(help(Some("run")).contains("--timeout SECONDS"));
        assert!(!help(Some("run")).contains("build ["));
        assert_eq!(help(Some("nothing")), HELP);
        assert_eq!(help(None), HELP);
    }
}
