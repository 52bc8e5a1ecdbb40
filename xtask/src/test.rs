//! `cargo xtask test`: the layers, each there to make the next one boring.

use crate::catalogue::{self, Test, packages};
use crate::layer::{self, Counts};
use crate::rust::Rust;
use crate::shell::{Result, capture, cargo, fail, progress, root, tool};
use crate::{build, setup, sim};
use std::collections::BTreeSet;
use std::process::{Command, ExitCode};
use std::time::Duration;

/// Packages whose rings loom explores.
const LOOM: &[&str] = &["skerry-urpc"];
/// The package of the fleets' tests.
const WHOLE: &str = "skerry-tests";
/// Packages that Miri runs: those whose unsafe code or wire formats everything rests on.
const MIRI: &[&str] = &["skerry-urpc", "skerry-abi"];

/// Machines that are simulated.
const MACHINES: &[&str] =
    &["fleet", "4+4", "2-3-1-2", "2+1+1+2+3", "intel-2x4", "amd-2x2", "amd-4x4", "amd-8x4", "server-128"];

/// A layer's time, in seconds, building it included: for `test`, and for `test full`.
struct Budget(u64, u64);

const HOST: Budget = Budget(600, 1800);
const LOOM_BUDGET: Budget = Budget(480, 1800);
const MIRI_BUDGET: Budget = Budget(300, 3600);
/// Of each machine, building aside.
const SIM: Budget = Budget(8, 60);
const FLEETS: Budget = Budget(600, 3600);

/// Environment variable by which tests know that there is time for the long versions.
const FULL: &str = "SKERRY_TEST_FULL";
/// Environment variable that tells the fleet tests where the images are.
const IMAGES: &str = "SKERRY_IMAGES";
/// Environment variable that tells the tests of the command line where this program is.
const XTASK: &str = "SKERRY_XTASK";

/// Runs all layers, or what of them `filter` names, and ends with one plain line of totals.
pub fn test(full: bool, filter: Option<&str>) -> Result<ExitCode> {
    let tests = filter.map_or_else(|| Ok(Vec::new()), catalogue::matching)?;
    if let Some(filter) = filter
        && tests.is_empty()
    {
        return fail(format!("no test has `{filter}` in its path, as in `module::tests::name`"));
    }
    let suite = Suite { full, filter: filter.map(String::from), tests };
    let mut total = Counts::default();
    for (name, layer) in [
        ("host", Suite::host as fn(&Suite) -> Result<Counts>),
        ("sim", Suite::sim),
        ("loom", Suite::loom),
        ("miri", Suite::miri),
        ("fleets", Suite::fleets),
    ] {
        total.add(layer(&suite).unwrap_or_else(|cause| {
            progress(format!("layer {name} broke: {cause}"));
            Counts::BROKEN
        }));
    }
    println!("{total}");
    if filter.is_some() && total == Counts::default() {
        return fail("what the filter names is not compiled on this machine");
    }
    Ok(if total.failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

struct Suite {
    full: bool,
    filter: Option<String>,
    /// What the filter names.
    tests: Vec<Test>,
}

impl Suite {
    /// The packages of a layer: all of them, or without those in which the filter names none of its tests.
    fn within<'a>(&'a self, all: &[&'a str], layers: impl Fn(&Test) -> bool) -> BTreeSet<&'a str> {
        let named = packages(self.tests.iter().filter(|test| layers(test)));
        all.iter().copied().filter(|name| self.filter.is_none() || named.contains(name)).collect()
    }

    /// Tests beside the code, and of each pure crate.
    fn host(&self) -> Result<Counts> {
        let mut total = Counts::default();
        // The programs in these packages are for guests; what is tested is their library.
        let libraries = guest_libraries()?;
        let libraries: Vec<&str> = libraries.iter().map(String::as_str).collect();
        let others = packages(self.tests.iter().filter(|test| !is_looms(test)));
        let others = others.into_iter().filter(|name| !libraries.contains(name) && *name != WHOLE);
        let args: Vec<&str> = others.flat_map(|name| ["--package", name]).collect();
        if self.filter.is_none() || !args.is_empty() {
            total.add(self.run("host", self.nextest(&args), HOST)?);
        }
        let libraries = self.within(&libraries, |test| test.target.is_none());
        if !libraries.is_empty() {
            let args = libraries.into_iter().flat_map(|name| ["--package", name]);
            let args: Vec<&str> = std::iter::once("--lib").chain(args).collect();
            total.add(self.run("host, libraries of guests", self.nextest(&args), HOST)?);
        }
        Ok(total)
    }

    /// nextest where it is installed, else cargo's own runner.
    fn nextest(&self, args: &[&str]) -> Command {
        let mut cargo = cargo();
        if tool("cargo-nextest").is_some() {
            cargo.args(["nextest", "run", "--no-tests=pass", "--no-fail-fast", "--status-level=fail"]);
        } else {
            cargo.args(["test", "--quiet", "--no-fail-fast"]);
        }
        cargo.args(args);
        cargo.args(&self.filter);
        cargo
    }

    /// The whole system on simulated machines, as many seeds as there is time for: a machine is a test.
    fn sim(&self) -> Result<Counts> {
        let mut counts = Counts::default();
        if self.filter.is_some() {
            // Its parts have tests of their own, on the host.
            return Ok(counts);
        }
        let Budget(short, long) = SIM;
        let seconds = if self.full { long } else { short }.to_string();
        for machine in MACHINES {
            progress(format!("sim {machine}, {seconds} s"));
            let status = sim::command().args(["--topology", machine, "--seconds", &seconds]).status()?;
            let one = if status.success() { &mut counts.passed } else { &mut counts.failed };
            *one += 1;
        }
        progress(format!("layer sim: {counts}"));
        Ok(counts)
    }

    /// Every interleaving of the rings' loads and stores.
    fn loom(&self) -> Result<Counts> {
        // Under `--cfg loom` only its own tests run; they have the word in their names.
        let filter = self.filter.as_deref().unwrap_or("loom");
        let packages = self.within(LOOM, is_looms);
        if packages.is_empty() {
            return Ok(Counts::default());
        }
        let mut cargo = cargo();
        cargo.args(["test", "--quiet", "--release", "--lib", "--target-dir", "target/loom"]);
        cargo.args(packages.iter().flat_map(|name| ["--package", name]));
        // Quick code is wanted, not the smallest: the release profile's whole-program optimisation takes minutes.
        cargo.env("RUSTFLAGS", "--cfg loom").env("CARGO_PROFILE_RELEASE_LTO", "off");
        cargo.env("CARGO_PROFILE_RELEASE_CODEGEN_UNITS", "16").env("CARGO_PROFILE_RELEASE_DEBUG", "0");
        cargo.args(["--", filter]);
        let counts = self.run("loom", cargo, LOOM_BUDGET)?;
        if counts.passed == 0 && counts.failed == 0 && self.filter.is_none() {
            progress("layer loom: there are no tests, where there must be some");
            return Ok(Counts::BROKEN);
        }
        Ok(counts)
    }

    /// Undefined behaviour and data races, on a nightly if there is one.
    fn miri(&self) -> Result<Counts> {
        let packages = self.within(MIRI, |test| test.target.is_none() && !is_looms(test));
        if packages.is_empty() {
            return Ok(Counts::default());
        }
        if capture(Command::new("cargo").current_dir(root()).args(["+nightly", "miri", "--version"])).is_err()
        {
            progress(
                "layer miri skipped: no nightly with Miri (rustup toolchain add nightly -c miri,rust-src)",
            );
            return Ok(Counts { skipped: 1, ..Counts::default() });
        }
        let mut cargo = Command::new("cargo");
        cargo.current_dir(root()).args([
            "+nightly",
            "miri",
            "test",
            "--quiet",
            "--lib",
            "--target-dir",
            "target/miri",
        ]);
        cargo.args(packages.iter().flat_map(|name| ["--package", name]));
        // Tests read their regression files and the clock, and leak the memory of their channels.
        cargo
            .env("MIRIFLAGS", "-Zmiri-disable-isolation -Zmiri-ignore-leaks")
            .env("PROPTEST_CASES", if self.full { "64" } else { "4" });
        cargo.env_remove("RUSTUP_TOOLCHAIN").env_remove("CARGO").env_remove("RUSTC");
        cargo.args(self.filter.iter().flat_map(|filter| ["--", filter.as_str()]));
        self.run("miri", cargo, MIRI_BUDGET)
    }

    /// Whole systems in QEMU.
    fn fleets(&self) -> Result<Counts> {
        if self.within(&[WHOLE], |_| true).is_empty() {
            return Ok(Counts::default());
        }
        let rust = Rust::find()?;
        setup::qemu(&["x86_64", "aarch64"])?;
        let images = build::build(rust, &[])?;
        let mut cargo = cargo();
        cargo.args(["test", "--quiet", "--package", WHOLE, "--no-fail-fast"]);
        let targets: BTreeSet<_> =
            self.tests.iter().filter(|test| test.package == WHOLE).map(|test| &test.target).collect();
        for target in targets {
            match target {
                Some(file) => cargo.args(["--test", file]),
                None => cargo.arg("--lib"),
            };
        }
        cargo.args(["--", "--test-threads=1"]).args(&self.filter);
        cargo.env(IMAGES, images.dir).env(XTASK, std::env::current_exe()?);
        self.run("fleets", cargo, FLEETS)
    }

    fn run(&self, name: &str, mut command: Command, Budget(short, long): Budget) -> Result<Counts> {
        if self.full {
            command.env(FULL, "1");
        }
        layer::run(name, &mut command, Duration::from_secs(if self.full { long } else { short }))
    }
}

/// Whether a test is compiled for loom only: those have the word in their paths.
fn is_looms(test: &Test) -> bool {
    test.path.contains("loom")
}

/// Packages of guests whose library is tested on the host: `user`, and those under `apps/` and `boards/` that have one.
pub fn guest_libraries() -> Result<Vec<String>> {
    let mut names = vec!["skerry-user".to_string()];
    for (room, prefix) in [("apps", "skerry-app-"), ("boards", "board-")] {
        for entry in std::fs::read_dir(root().join(room))? {
            let dir = entry?.path();
            if dir.join("src/lib.rs").is_file() {
                names.extend(dir.file_name().map(|name| format!("{prefix}{}", name.to_string_lossy())));
            }
        }
    }
    names.sort();
    Ok(names)
}
