//! The command line: plays many seeds. The last line is `COUNT seeds, F failures`; the exit status is 1 if there were any.

use crate::faults::{KINDS, Kinds};
use crate::mutants::{self, MUTANTS, Mutant};
use crate::plan::{self, Plan};
use crate::topology::{FILES, Topology};
use crate::{figures, run, shrink};
use lexopt::Arg::{Long, Short, Value};
use lexopt::ValueExt;
use std::error::Error;
use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

const USAGE: &str = "\
usage: cargo xtask sim --topology T [--cores N] [--seed S] [--seeds COUNT] [--faults none|all|LIST]

  --topology T     the machine; or islands of so many cores, 4+4 each linked with each, 4-4-4 each with the next
  --cores N        of all its islands together (default: all)
  --seed S         the first seed (default 1)
  --seeds COUNT    how many, one after another (default 1)
  --faults LIST    what may go wrong: none, all (default), or names with commas between them
  --seconds N      instead of a count: as many as can be played in this time
  --plan FILE      instead of all these: what a failing run printed
  --jobs N         so many seeds at a time (default 1)
  --mutant NAME    with a deliberate bug
  --trace          print what happens
  --no-shrink      do not look for a smaller plan that fails too
  --figures        instead of all these: print what agreement costs (cargo xtask bench agreement)
  --speed          print how many seeds were played in a second
";

/// More failures than that are counted, but not made small.
const SHRUNK: u64 = 3;

/// What to play.
struct Options {
    machine: Topology,
    plan: Option<Plan>,
    kinds: Kinds,
    seed: u64,
    seeds: u64,
    time: Option<Duration>,
    jobs: u64,
    mutant: Option<&'static Mutant>,
    trace: bool,
    shrink: bool,
    speed: bool,
}

/// The help: the options, then all names.
pub fn help() -> String {
    let mut text = String::from(USAGE);
    let mut list = |title: &str, rows: &mut dyn Iterator<Item = (&str, String)>| {
        text += &format!("\n{title}:\n");
        rows.for_each(|(name, about)| text += &format!("  {name:<16} {about}\n"));
    };
    let about = |name: &str| Topology::named(name).map_or_else(|e| e, |m| m.about);
    list("topologies", &mut FILES.iter().map(|(name, _)| (*name, about(name))));
    list("faults", &mut KINDS.iter().map(|(name, about)| (*name, (*about).into())));
    list("mutants", &mut MUTANTS.iter().map(|m| (m.name, m.breaks.into())));
    text
}

/// Reads a command line; `None` if it asks for help.
fn parse(args: Vec<OsString>) -> Result<Option<Options>, Box<dyn Error>> {
    let mut parser = lexopt::Parser::from_args(args);
    let (mut name, mut cores, mut file) = (None, None, None::<PathBuf>);
    let (mut kinds, mut seed, mut seeds, mut jobs) = (Kinds::ALL, 1, None, 1);
    let mut time = None;
    let (mut mutant, mut trace, mut shrink, mut speed) = (None, false, true, false);
    while let Some(arg) = parser.next()? {
        match arg {
            Short('h') | Long("help") => return Ok(None),
            Long("topology") => name = Some(parser.value()?.string()?),
            Long("cores") => cores = Some(parser.value()?.parse()?),
            Long("seed") => seed = parser.value()?.parse()?,
            Long("seeds") => seeds = Some(parser.value()?.parse()?),
            Long("seconds") => time = Some(Duration::from_secs(parser.value()?.parse()?)),
            Long("jobs") => jobs = parser.value()?.parse()?,
            Long("faults") => kinds = Kinds::parse(&parser.value()?.string()?)?,
            Long("plan") => file = Some(parser.value()?.into()),
            Long("mutant") => mutant = Some(mutants::named(&parser.value()?.string()?)?),
            Long("trace") => trace = true,
            Long("no-shrink") => shrink = false,
            Long("speed") => speed = true,
            Value(word) => return Err(format!("`{}`: options begin with --", word.display()).into()),
            other => return Err(other.unexpected().into()),
        }
    }
    if seeds == Some(0) || jobs == 0 {
        return Err("--seeds and --jobs are at least 1".into());
    }
    if seeds.is_some() && time.is_some() {
        return Err("--seeds says how many, --seconds how long: one of the two".into());
    }
    let read = |file: &PathBuf| -> Result<Plan, Box<dyn Error>> {
        let text = std::fs::read_to_string(file).map_err(|e| format!("{}: {e}", file.display()))?;
        Ok(Plan::parse(&text).map_err(|e| format!("{}: {e}", file.display()))?)
    };
    let plan = file.as_ref().map(read).transpose()?;
    let mut machine = match (&plan, name) {
        (Some(_), Some(_)) => return Err("--plan says what the machine is, --topology does too".into()),
        (Some(plan), None) => plan.machine.clone(),
        (None, Some(name)) => plan::machine(&name)?,
        (None, None) => {
            let all: Vec<&str> = FILES.iter().map(|(name, _)| *name).collect();
            return Err(format!("--topology is needed: {}, or islands as in 4+4", all.join(", ")).into());
        }
    };
    if let Some(cores) = cores {
        machine = machine.with_cores(cores)?;
    }
    let seeds = match seeds {
        _ if plan.is_some() => 1,
        None if time.is_some() => u64::MAX,
        seeds => seeds.unwrap_or(1),
    };
    Ok(Some(Options { machine, plan, kinds, seed, seeds, time, jobs, mutant, trace, shrink, speed }))
}

impl Options {
    fn plan(&self, seed: u64) -> Plan {
        let plan = self.plan.clone();
        let plan = plan.unwrap_or_else(|| Plan::new(self.machine.clone(), seed, self.kinds));
        Plan { trace: self.trace, mutant: self.mutant.or(plan.mutant), ..plan }
    }

    /// How to play a seed again.
    fn again(&self, seed: u64) -> String {
        let (name, cores) = (&self.machine.name, self.machine.cores());
        let mutant = self.mutant.map_or_else(String::new, |m| format!(" --mutant {}", m.name));
        let kinds = self.kinds;
        format!("cargo xtask sim --topology {name} --cores {cores} --seed {seed} --faults {kinds}{mutant}")
    }

    /// Plays seeds until there are none left, or no time, and counts them.
    fn play(&self, start: Instant, next: &AtomicU64, failures: &AtomicU64) {
        loop {
            let is_over = self.time.is_some_and(|time| start.elapsed() >= time);
            let take = |n| (n < self.seeds && !(is_over && n > 0)).then_some(n + 1);
            let Ok(n) = next.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take) else { return };
            let plan = self.plan(self.seed.wrapping_add(n));
            match run(&plan) {
                Ok(summary) if self.seeds == 1 => println!("seed {}: {summary:?}", plan.seed),
                Ok(_) => {}
                Err(failure) => {
                    let count = failures.fetch_add(1, Ordering::Relaxed);
                    let mut text = format!("{failure}\n");
                    if self.plan.is_none() {
                        text += &format!("  again: {}\n", self.again(plan.seed));
                    }
                    if self.shrink && count < SHRUNK {
                        let small = shrink::shrink(&Plan { trace: false, ..plan });
                        let cause = run(&small).err().map_or_else(String::new, |f| f.to_string());
                        text += &format!("  the least that fails, for --plan FILE ({cause}):\n{small}");
                    }
                    print!("{text}");
                }
            }
        }
    }
}

/// Does what a command line says. Answers whether all went well.
///
/// # Errors
/// What is wrong with the command line.
pub fn main(args: Vec<OsString>) -> Result<bool, Box<dyn Error>> {
    if args.iter().any(|arg| arg == "--figures") {
        figures::print()?;
        return Ok(true);
    }
    let Some(options) = parse(args)? else {
        print!("{}", help());
        return Ok(true);
    };
    let (next, failures) = (AtomicU64::new(0), AtomicU64::new(0));
    let start = Instant::now();
    std::thread::scope(|scope| {
        for _ in 1..options.jobs {
            scope.spawn(|| options.play(start, &next, &failures));
        }
        options.play(start, &next, &failures);
    });
    let (seeds, failures) = (next.into_inner(), failures.into_inner());
    if options.speed {
        println!("{:.1} seeds a second", seeds as f64 / start.elapsed().as_secs_f64());
    }
    println!("{seeds} seeds, {failures} failures");
    Ok(failures == 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(line: &str) -> String {
        let args = line.split(' ').map(OsString::from).collect();
        parse(args).map(drop).unwrap_err().to_string()
    }

    #[test]
    fn bad_input_is_answered_with_what_is_allowed() {
        assert!(error("--topology pc").contains("amd-8x4"));
        assert!(error("--seed 1").contains("--topology is needed: intel-2x4"));
        assert!(error("--topology fleet --cores 99").contains("1 to 16 cores"));
        assert!(error("--topology fleet --faults rain").contains("late, lost, doubled"));
        assert!(error("--topology fleet --mutant none").contains("stale-epoch"));
        assert!(error("--topology fleet --seeds many").contains("many"));
        assert!(error("--topology fleet --seeds 0").contains("at least 1"));
        assert!(error("--topology fleet --seeds 2 --seconds 2").contains("one of the two"));
        assert!(error("--topology fleet --speeds").contains("--speeds"));
        assert!(error("fleet").contains("begin with --"));
        assert!(error("--plan /nowhere").contains("/nowhere"));
    }

    #[test]
    fn the_help_names_everything() {
        let text = help();
        assert!(FILES.iter().all(|(name, _)| text.contains(name)));
        assert!(KINDS.iter().all(|(name, _)| text.contains(name)));
        assert!(MUTANTS.iter().all(|m| text.contains(m.name) && text.contains(m.breaks)));
    }
}
