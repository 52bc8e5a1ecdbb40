//! The compiler for the guests' targets: the pinned toolchain with rustup's targets, or, where those cannot be had, Debian's
//! newest Rust, which builds the standard library's crates from source.

use crate::apt::Plan;
use crate::shell::{Result, capture, cargo, fail, progress, root, run, tool};
use crate::targets::{TARGETS, Target};
use std::path::Path;
use std::process::Command;

/// What to do where rustup does not manage Rust.
pub const WITHOUT_RUSTUP: &str = "\
install rustup (https://rustup.rs), which reads rust-toolchain.toml; or, on Debian, let set-up use its packages \
`rustc-web rust-web-src cargo-web lld`";

/// Debian's packages: compiler, sources of the libraries, cargo, and the linker that rustup's toolchains bring along.
const PACKAGES: &str = "rustc-web rust-web-src cargo-web lld";
/// Where those packages put things.
const RUSTC: &str = "/usr/bin/rustc";
const CARGO: &str = "/usr/bin/cargo";
const LINKER: &str = "/usr/bin/ld.lld";
const SOURCES: &str = "/usr/lib/rustlib/src/rust/library/core";
/// The oldest compiler that will do: minor version of Rust 1.
const OLDEST: u32 = 95;

/// Separates the flags in `CARGO_ENCODED_RUSTFLAGS`.
const FLAG_SEPARATOR: &str = "\x1f";

/// Who compiles for the guests.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Rust {
    /// The pinned toolchain.
    Pinned,
    /// Debian's, with `-Zbuild-std`.
    Debian,
}

impl Rust {
    /// Finds one of the two, installing what is missing where we may.
    pub fn find() -> Result<Self> {
        let missing = missing_targets();
        if missing.is_empty() {
            return Ok(Self::Pinned);
        }
        let cause = match add_targets(&missing) {
            Ok(()) => return Ok(Self::Pinned),
            Err(cause) => format!("the Rust targets {} are missing: {cause}", missing.join(", ")),
        };
        if debian_lacks().is_none() {
            progress(format!("{cause}; using Debian's Rust, which builds the libraries from source"));
            return Ok(Self::Debian);
        }
        let plan = Plan::to_install(PACKAGES);
        if !plan.can_run {
            return fail(format!("{cause}\n{WITHOUT_RUSTUP}; type:\n  {}", plan.commands.join("\n  ")));
        }
        progress(format!("{cause}; trying Debian's Rust"));
        plan.run()?;
        match debian_lacks() {
            None => Ok(Self::Debian),
            Some(lack) => fail(format!("{cause}\nDebian's Rust will not do: {lack}; {WITHOUT_RUSTUP}")),
        }
    }

    /// A cargo that compiles with the target's flags, whatever the environment or a configuration file says. What it is to
    /// do, its first argument, is `verb`.
    pub fn cargo_for(self, verb: &str, target: &Target) -> Command {
        let mut flags = target.flags.to_vec();
        let linker = format!("-Clinker={LINKER}");
        let mut command = match self {
            Self::Pinned => cargo(),
            Self::Debian => {
                // Named twice, the last one counts.
                flags.push(&linker);
                let mut command = Command::new(CARGO);
                command.current_dir(root());
                command.env("RUSTC", RUSTC).env("RUSTC_BOOTSTRAP", "1").env_remove("RUSTUP_TOOLCHAIN");
                command
            }
        };
        command.args([verb, "--release", "--target", target.triple]);
        if self == Self::Debian {
            command.arg("-Zbuild-std=core,alloc");
        }
        command.env("CARGO_ENCODED_RUSTFLAGS", flags.join(FLAG_SEPARATOR)).env_remove("RUSTFLAGS");
        command
    }
}

fn add_targets(missing: &[&str]) -> Result<()> {
    if tool("rustup").is_none() {
        return fail("there is no rustup to add them");
    }
    progress(format!("adding the Rust targets {}", missing.join(", ")));
    let mut rustup = Command::new("rustup");
    rustup.current_dir(root()).args(["target", "add"]).args(missing);
    run(&mut rustup, "rustup target add")
}

/// What keeps Debian's Rust from being used.
fn debian_lacks() -> Option<String> {
    let gone = [RUSTC, CARGO, LINKER, SOURCES].into_iter().find(|path| !Path::new(path).exists());
    if let Some(path) = gone {
        return Some(format!("{path} is missing"));
    }
    let version = capture(Command::new(RUSTC).arg("--version")).unwrap_or_default();
    match minor(&version) {
        Some(minor) if minor >= OLDEST => None,
        _ => Some(format!("{} is older than Rust 1.{OLDEST}", version.trim())),
    }
}

/// The minor version in `rustc 1.MINOR.PATCH …`.
fn minor(version: &str) -> Option<u32> {
    version.strip_prefix("rustc 1.")?.split('.').next()?.parse().ok()
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
    rustc.current_dir(root()).args(["--print", "target-libdir", "--target", triple]);
    let dir = capture(&mut rustc).unwrap_or_default();
    let Ok(mut files) = std::fs::read_dir(dir.trim()) else { return false };
    files.any(|file| file.is_ok_and(|file| file.file_name().to_string_lossy().starts_with("libcore")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_compilers_age_is_read() {
        assert_eq!(minor("rustc 1.96.0 (abc 2026-05-25) (built from a source tarball)"), Some(96));
        assert_eq!(minor("rustc 2.0.0"), None);
        assert_eq!(minor(""), None);
    }

    #[test]
    fn debians_cargo_builds_the_libraries_and_names_its_linker_last() {
        let command = Rust::Debian.cargo_for("build", &TARGETS[2]);
        assert!(command.get_args().any(|arg| arg == "-Zbuild-std=core,alloc"));
        let flags = command.get_envs().find(|(name, _)| *name == "CARGO_ENCODED_RUSTFLAGS");
        let flags = flags.and_then(|(_, value)| value?.to_str()).unwrap();
        assert_eq!(flags.split(FLAG_SEPARATOR).last(), Some("-Clinker=/usr/bin/ld.lld"));
        assert!(
            Rust::Pinned
                .cargo_for("build", &TARGETS[2])
                .get_args()
                .all(|arg| arg != "-Zbuild-std=core,alloc")
        );
    }
}
