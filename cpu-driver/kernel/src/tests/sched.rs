//! Who runs: nobody beyond their share.

use super::rig::{Peer, Rig};
use skerry_abi::domain::slot;
use skerry_abi::op::{halves, word0};
use skerry_abi::{CPtr, Error, Op, Rights};
use skerry_hal::{Handler, Next};

/// A slice, in ticks of the simulated machine.
const SLICE: u64 = 5_000_000;
/// What passes between two looks.
const STEP: u64 = 100_000;

fn start(rig: &mut Rig, n: u32) -> Peer {
    let peer = rig.peer(n);
    rig.invoke(peer.dispatcher, Op::Start, &[]).unwrap();
    peer
}

fn schedule(rig: &mut Rig, at: CPtr, priority: u64, budget: u64, period: u64) {
    rig.next = rig.kernel.syscall([word0(at, Op::Schedule), priority, budget, period, 0, 0]);
}

fn wait(rig: &mut Rig, own: CPtr, until: u64) {
    rig.next = rig.kernel.syscall([word0(own, Op::Wait), 0, until, 0, 0, 0]);
}

/// Lets `ticks` pass; how many of them each of `all` ran, and last the idle ones. Whoever is in `waits` never runs
/// longer than a step before it waits for the shortest time there is.
fn run(rig: &mut Rig, ticks: u64, all: &[CPtr], waits: &[CPtr]) -> Vec<u64> {
    let mut ran = vec![0; all.len() + 1];
    for _ in 0..ticks / STEP {
        let who = rig.running(all);
        ran[who.map_or(all.len(), |who| all.iter().position(|at| *at == who).unwrap())] += STEP;
        rig.pass(STEP);
        if let Some(own) = rig.running(all)
            && waits.contains(&own)
        {
            let now = rig.outside.lock().unwrap().now;
            wait(rig, own, now + 1);
            rig.pass(1);
        }
    }
    ran
}

#[test]
fn spinning_domains_share_alike() {
    let mut rig = Rig::boot();
    let all = [slot::DISPATCHER, start(&mut rig, 0).dispatcher, start(&mut rig, 1).dispatcher];
    let ran = run(&mut rig, 60 * SLICE, &all, &[]);
    assert!(ran[..3].iter().all(|ticks| ticks.abs_diff(20 * SLICE) <= SLICE), "{ran:?}");
    assert_eq!(ran[3], 0);
}

#[test]
fn one_that_keeps_waiting_for_a_moment_gets_no_more_than_its_share() {
    let mut rig = Rig::boot();
    let all = [slot::DISPATCHER, start(&mut rig, 0).dispatcher];
    let ran = run(&mut rig, 100 * SLICE, &all, &all[1..]);
    assert!(ran[1] <= ran[0] + SLICE, "{ran:?}");
}

#[test]
fn a_signalling_domain_does_not_lengthen_its_slice() {
    let mut rig = Rig::boot();
    let bell = CPtr::new(1, 240);
    rig.invoke(slot::DISPATCHER, Op::MakeEndpoint, &[1 << 9, halves(0, bell.0)]).unwrap();
    let all = [slot::DISPATCHER, start(&mut rig, 0).dispatcher];
    let mut ran = [0; 2];
    for _ in 0..20 * SLICE / STEP {
        let first = rig.running(&all) == Some(all[0]);
        ran[usize::from(!first)] += STEP;
        if first {
            rig.invoke(bell, Op::Signal, &[]).unwrap();
        }
        rig.pass(STEP);
    }
    assert!(ran[0].abs_diff(ran[1]) <= SLICE, "{ran:?}");
}

#[test]
fn a_higher_priority_runs_first_and_at_once() {
    let mut rig = Rig::boot();
    let high = rig.peer(0);
    let bell = CPtr::new(1, 240);
    rig.invoke(high.dispatcher, Op::MakeEndpoint, &[1 << 9, halves(0, bell.0)]).unwrap();
    assert_eq!(rig.invoke(high.dispatcher, Op::Schedule, &[8]), Err(Error::BadArgument));
    assert_eq!(rig.invoke(high.dispatcher, Op::Schedule, &[1, 2, 1]), Err(Error::BadArgument));
    rig.invoke(high.dispatcher, Op::Schedule, &[7]).unwrap();
    let all = [slot::DISPATCHER, high.dispatcher];
    rig.next = rig.kernel.syscall([word0(high.dispatcher, Op::Start), 0, 0, 0, 0, 0]);
    assert_eq!(rig.running(&all), Some(high.dispatcher));
    assert_eq!(run(&mut rig, 10 * SLICE, &all, &[])[1], 10 * SLICE);
    // It waits; signalled, it takes the core from the one that signals, who goes on afterwards.
    rig.next = rig.kernel.syscall([word0(high.dispatcher, Op::Wait), 1 << 9, 0, 0, 0, 0]);
    assert_eq!(rig.running(&all), Some(slot::DISPATCHER));
    rig.next = rig.kernel.syscall([word0(bell, Op::Signal), 0, 0, 0, 0, 0]);
    assert_eq!((rig.running(&all), rig.context().words), (Some(high.dispatcher), [0, 1 << 9]));
    // Its deadline comes: as well.
    let now = rig.outside.lock().unwrap().now;
    wait(&mut rig, high.dispatcher, now + 1000);
    assert_eq!((rig.running(&all), rig.context().words), (Some(slot::DISPATCHER), [0, 0]));
    rig.pass(1000);
    assert_eq!(rig.running(&all), Some(high.dispatcher));
    // Lowered below the other, it loses the core.
    schedule(&mut rig, high.dispatcher, 2, 0, 0);
    assert_eq!(rig.running(&all), Some(slot::DISPATCHER));
    schedule(&mut rig, high.dispatcher, 4, 0, 0);
    assert_eq!(rig.running(&all), Some(high.dispatcher));
}

#[test]
fn a_budget_bounds_what_a_high_priority_takes_and_gives_it_back_each_period() {
    let mut rig = Rig::boot();
    let (high, other) = (start(&mut rig, 0).dispatcher, start(&mut rig, 1).dispatcher);
    schedule(&mut rig, high, 7, 2 * SLICE, 10 * SLICE);
    let all = [slot::DISPATCHER, high, other];
    let ran = run(&mut rig, 100 * SLICE, &all, &[]);
    assert!(ran[1].abs_diff(20 * SLICE) <= 2 * SLICE, "a fifth: {ran:?}");
    assert!(ran[0].abs_diff(ran[2]) <= 2 * SLICE && ran[3] == 0, "{ran:?}");
    // The same if it keeps waiting for a moment.
    let ran = run(&mut rig, 100 * SLICE, &all, &[high]);
    assert!(ran[1] <= 22 * SLICE, "{ran:?}");
    // Alone, it runs on without a budget.
    for gone in [slot::DISPATCHER, other] {
        while rig.running(&all) != Some(gone) {
            rig.pass(STEP);
        }
        wait(&mut rig, gone, 0);
    }
    let ran = run(&mut rig, 50 * SLICE, &all, &[]);
    assert_eq!(ran[1], 50 * SLICE, "{ran:?}");
}

#[test]
fn a_slice_that_nobody_else_wants_does_not_ring_for_ever() {
    let mut rig = Rig::boot();
    let high = start(&mut rig, 0).dispatcher;
    schedule(&mut rig, high, 7, 0, 0);
    for _ in 0..5 {
        rig.pass(SLICE + 1);
        // The other, of a lower priority, is ready all the time.
        assert_eq!(rig.running(&[slot::DISPATCHER, high]), Some(high));
        let outside = rig.outside.lock().unwrap();
        assert!(
            outside.deadline.is_some_and(|at| at > outside.now),
            "{:?} at {}",
            outside.deadline,
            outside.now
        );
    }
}

#[test]
fn a_clock_that_rings_late_gives_nobody_more_than_the_budget() {
    const LATE: u64 = 4 * SLICE;
    let mut rig = Rig::boot();
    let high = start(&mut rig, 0).dispatcher;
    schedule(&mut rig, high, 7, 2 * SLICE, 10 * SLICE);
    let all = [slot::DISPATCHER, high];
    let mut ran = 0;
    for _ in 0..250 {
        ran += if rig.running(&all) == Some(high) { LATE } else { 0 };
        rig.pass(LATE);
    }
    assert!((150 * SLICE..=200 * SLICE + LATE).contains(&ran), "a fifth of {}: {ran}", 250 * LATE);
}

#[test]
fn exhausted_domains_share_what_nobody_wants() {
    let mut rig = Rig::boot();
    let (a, b) = (start(&mut rig, 0).dispatcher, start(&mut rig, 1).dispatcher);
    for at in [a, b] {
        schedule(&mut rig, at, 7, SLICE, 1000 * SLICE);
    }
    let all = [slot::DISPATCHER, a, b];
    let ran = run(&mut rig, 20 * SLICE, &all, &[]);
    assert!(ran[1] <= 2 * SLICE && ran[2] <= 2 * SLICE, "{ran:?}");
    while rig.running(&all) != Some(slot::DISPATCHER) {
        rig.pass(STEP);
    }
    wait(&mut rig, slot::DISPATCHER, 0);
    let ran = run(&mut rig, 100 * SLICE, &all, &[]);
    assert!(ran[1].abs_diff(ran[2]) <= 2 * SLICE && ran[3] == 0, "{ran:?}");
}

#[test]
fn who_may_not_say_does_not_change_the_schedule() {
    let mut rig = Rig::boot();
    let weak = CPtr::new(1, 240);
    let rights = Rights::all() - Rights::CONTROL;
    rig.invoke(slot::ROOT, Op::Copy, &[halves(slot::DISPATCHER.0, weak.0), u64::from(rights.bits())])
        .unwrap();
    assert_eq!(rig.invoke(weak, Op::Schedule, &[7]), Err(Error::NoRight));
    assert_eq!(rig.invoke(slot::DISPATCHER, Op::Schedule, &[7]), Ok(0));
    assert!(matches!(rig.next, Next::Run(_)));
}
