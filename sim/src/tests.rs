//! As many seeds as fit into a few seconds, and proof that the checks can fail.

use crate::{Mutant, Plan, run};
use std::time::{Duration, Instant};

/// Plays seeds from `first` until `seconds` have passed, at least `least` of them.
fn play(first: u64, least: u64, seconds: u64, plan: impl Fn(u64) -> Plan) {
    let start = Instant::now();
    let budget = Duration::from_secs(seconds);
    for seed in first.. {
        if let Err(failure) = run(&plan(seed)) {
            panic!("{failure}");
        }
        if seed - first + 1 >= least && start.elapsed() > budget {
            return;
        }
    }
}

#[test]
fn two_islands_of_four_with_faults() {
    play(1, 20, 6, |seed| Plan::new(seed, &[4, 4]));
}

#[test]
fn two_islands_of_four_in_calm() {
    play(1, 5, 3, |seed| Plan { faults: false, ..Plan::new(seed, &[4, 4]) });
}

#[test]
fn four_islands_in_a_row_with_faults() {
    play(1, 5, 5, |seed| Plan::chain(seed, &[2, 3, 1, 2]));
}

#[test]
fn five_islands_each_linked_with_each() {
    play(1, 2, 4, |seed| Plan::new(seed, &[2, 1, 1, 2, 3]));
}

#[test]
fn one_island_alone() {
    play(1, 5, 1, |seed| Plan::new(seed, &[3]));
}

#[test]
fn one_seed_gives_one_run() {
    for seed in [3, 4, 5] {
        let plan = Plan::new(seed, &[2, 2]);
        let (a, b) = (run(&plan).unwrap(), run(&plan).unwrap());
        assert_eq!(a, b);
        assert_ne!(a.digest, run(&Plan { seed: seed + 100, ..plan }).unwrap().digest);
    }
}

/// The first seed that finds a bug; panics if none of so many does.
fn found(mutant: Mutant, seeds: u64) {
    let hit =
        (1..=seeds).find(|&seed| run(&Plan { mutant: Some(mutant), ..Plan::new(seed, &[3, 3]) }).is_err());
    assert!(hit.is_some(), "{mutant:?} goes unnoticed through {seeds} seeds");
}

#[test]
fn a_link_s_loss_that_goes_unheard_is_found() {
    found(Mutant::MissesLoss, 40);
}

#[test]
fn messages_of_an_epoch_that_was_given_up_are_found() {
    found(Mutant::TakesStaleEpochs, 60);
}

#[test]
fn dropped_answers_are_found() {
    found(Mutant::DropsAnswers, 10);
}

#[test]
fn doubled_and_swapped_messages_are_found() {
    found(Mutant::DoublesStream, 10);
    found(Mutant::SwapsStream, 10);
}

#[test]
fn an_island_that_ignores_its_refusal_is_found() {
    found(Mutant::IgnoresRefusal, 40);
}

#[test]
fn memory_given_out_twice_is_found() {
    found(Mutant::SharesBlocks, 3);
}

#[test]
fn an_island_that_dies_at_any_step_leaves_nothing_behind() {
    for island in [0, 1] {
        for sends in 0..60 {
            let calm = Plan { faults: false, ..Plan::new(7, &[2, 2]) };
            if let Err(failure) = run(&Plan { kill: Some((island, sends)), ..calm }) {
                panic!("island {island} dies after {sends} messages more: {failure}");
            }
        }
    }
}
