//! As many seeds as fit into a few seconds, and proof that the checks can fail.

use crate::faults::Fault;
use crate::mutants::{BUDGET, MUTANTS, Mutant};
use crate::plan::CALM;
use crate::{Kinds, Plan, run};
use std::time::{Duration, Instant};

/// Plays seeds from 1 until `seconds` have passed, at least `least` of them. Where there is time, ten times as long.
fn play(machine: &str, kinds: Kinds, least: u64, seconds: u64) {
    let start = Instant::now();
    let full = std::env::var_os("SKERRY_TEST_FULL").is_some();
    let budget = Duration::from_secs(if full { 10 * seconds } else { seconds });
    for seed in 1.. {
        if let Err(failure) = run(&Plan::on(machine, seed, kinds)) {
            panic!("{machine}, faults {kinds}: {failure}");
        }
        if seed >= least && start.elapsed() > budget {
            return;
        }
    }
}

#[test]
fn two_islands_of_four_with_faults() {
    play("4+4", Kinds::ALL, 40, 6);
}

#[test]
fn two_islands_of_four_in_calm() {
    play("4+4", Kinds::NONE, 10, 3);
}

#[test]
fn four_islands_in_a_row_with_faults() {
    play("2-3-1-2", Kinds::ALL, 20, 5);
}

#[test]
fn five_islands_each_linked_with_each() {
    play("2+1+1+2+3", Kinds::ALL, 10, 4);
}

#[test]
fn one_island_alone() {
    play("3", Kinds::ALL, 10, 1);
}

#[test]
fn the_fleet_and_the_paper_s_machines() {
    for machine in ["fleet", "intel-2x4", "amd-2x2", "amd-4x4", "amd-8x4"] {
        play(machine, Kinds::ALL, 3, 1);
    }
}

#[test]
fn one_seed_gives_one_run() {
    for seed in [3, 4, 5] {
        let plan = Plan::on("2+2", seed, Kinds::ALL);
        let (a, b) = (run(&plan).unwrap(), run(&plan).unwrap());
        assert_eq!(a, b);
        assert_ne!(a.digest, run(&Plan::on("2+2", seed + 100, Kinds::ALL)).unwrap().digest);
    }
}

/// The first seed that finds a bug.
fn found(mutant: &'static Mutant) -> Option<u64> {
    let fails = |seed: &u64| {
        let plan = Plan::on(mutant.machine, *seed, Kinds::ALL);
        run(&Plan { mutant: Some(mutant), ..plan }).is_err()
    };
    (1..=mutant.seeds).find(fails)
}

#[test]
fn every_mutant_is_found() {
    for mutant in MUTANTS {
        assert!(mutant.seeds <= BUDGET, "{}", mutant.name);
        let seed = found(mutant);
        assert!(
            seed.is_some(),
            "{} ({}) goes unnoticed through {}",
            mutant.name,
            mutant.breaks,
            mutant.seeds
        );
        println!("{}: seed {}", mutant.name, seed.unwrap_or(0));
    }
}

#[test]
fn an_island_that_dies_at_any_step_leaves_nothing_behind() {
    for island in [0, 1] {
        for sends in 0..60 {
            let mut plan = Plan::on("2+2", 7, Kinds::NONE);
            plan.faults.push((CALM / 2 * plan.bound, Fault::KillAfter { island, sends }));
            if let Err(failure) = run(&plan) {
                panic!("island {island} dies after {sends} messages more: {failure}");
            }
        }
    }
}
