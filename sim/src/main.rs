//! Plays many seeds. The last line is `COUNT seeds, F failures`; the exit status is 1 if there were any.

use skerry_sim::{Mutant, Plan, run};
use std::process::ExitCode;

const USAGE: &str = "usage: skerry-sim [--seed S] [--seeds COUNT] [--islands 4,4] [--chain] [--calm] [--trace] [--mutant NAME]
  --seed S        first seed (default 1)
  --seeds COUNT   how many, one after another (default 1)
  --islands N,M   cores of each island (default 4,4)
  --chain         link each island with the next only, not with all
  --calm          nothing goes wrong
  --trace         print what happens
  --mutant NAME   with a deliberate bug; a list is printed for a wrong name";

struct Options {
    seed: u64,
    seeds: u64,
    islands: Vec<u16>,
    chain: bool,
    calm: bool,
    trace: bool,
    mutant: Option<Mutant>,
}

fn parse(mut args: impl Iterator<Item = String>) -> Result<Options, String> {
    let mut options = Options {
        seed: 1,
        seeds: 1,
        islands: vec![4, 4],
        chain: false,
        calm: false,
        trace: false,
        mutant: None,
    };
    while let Some(arg) = args.next() {
        let mut value = || args.next().ok_or_else(|| format!("{arg} needs a value"));
        let number = |text: String| text.parse().map_err(|_| format!("{text} is no number"));
        match &*arg {
            "--seed" => options.seed = number(value()?)?,
            "--seeds" => options.seeds = number(value()?)?,
            "--islands" => {
                let list = value()?;
                let cores = |n: &str| n.parse().ok().filter(|n| (1..=64).contains(n));
                let islands: Option<Vec<u16>> = list.split(',').map(cores).collect();
                options.islands = islands
                    .filter(|i| i.len() <= 16)
                    .ok_or_else(|| format!("{list}: up to 16 islands of 1 to 64 cores, as in 4,4"))?;
            }
            "--chain" => options.chain = true,
            "--calm" => options.calm = true,
            "--trace" => options.trace = true,
            "--mutant" => {
                let name = value()?;
                let found = Mutant::ALL.into_iter().find(|m| format!("{m:?}") == name);
                options.mutant = Some(found.ok_or_else(|| format!("{name} is none of {:?}", Mutant::ALL))?);
            }
            _ => return Err(USAGE.into()),
        }
    }
    Ok(options)
}

fn main() -> ExitCode {
    let options = match parse(std::env::args().skip(1)) {
        Ok(options) => options,
        Err(error) => {
            eprintln!("{error}");
            return ExitCode::from(2);
        }
    };
    let mut failures = 0_u64;
    for seed in (0..options.seeds).map(|n| options.seed.wrapping_add(n)) {
        let mut plan = if options.chain { Plan::chain } else { Plan::new }(seed, &options.islands);
        (plan.faults, plan.trace, plan.mutant) = (!options.calm, options.trace, options.mutant);
        match run(&plan) {
            Ok(summary) if options.seeds == 1 => println!("seed {seed}: {summary:?}"),
            Ok(_) => {}
            Err(failure) => {
                failures += 1;
                println!("{failure}");
            }
        }
    }
    println!("{} seeds, {failures} failures", options.seeds);
    if failures > 0 { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}
