//! Threads that lose the core against their will.

use crate::basic::{made, small};
use crate::locals::{set_tls, tls};
use crate::report::{Outcome, Report, same};
use alloc::collections::BTreeMap;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};
use skerry_user::thread::{Mutex, sched};

/// Upcalls that each case waits for.
const UPCALLS: u64 = 12;

pub fn run(report: &mut Report) {
    report.case("a spinning thread takes nothing from others", spinners);
    report.case("all registers come back", registers);
    report.case("allocation in all threads", allocation);
    report.case("a mutex keeps what is between", mutex);
    report.case("TLS comes back", tls_kept);
}

/// An upcall count to run until.
fn later() -> u64 {
    sched::upcalls() + UPCALLS
}

fn spinners() -> Outcome {
    static BALL: AtomicU32 = AtomicU32::new(0);
    let mut handles = Vec::new();
    for n in 0..3 {
        handles.push(made(small("spins", move || {
            for turn in 0..3 {
                while BALL.load(Relaxed) != turn * 3 + n {
                    skerry_user::relax();
                }
                BALL.fetch_add(1, Relaxed);
            }
        }))?);
    }
    for handle in handles {
        handle.join();
    }
    same(BALL.load(Relaxed), 9)
}

/// A sum that needs many registers, of both kinds, and comes out differently if one of them changes.
fn work(seed: u64) -> u64 {
    let mut ints = [0u64; 12];
    let mut floats = [0f64; 12];
    for (n, (int, float)) in ints.iter_mut().zip(&mut floats).enumerate() {
        *int = seed + n as u64;
        *float = (seed * 100 + n as u64) as f64;
    }
    for _ in 0..200 {
        for n in 0..12 {
            ints[n] = ints[n].rotate_left(7) ^ ints[(n + 5) % 12].wrapping_mul(0x9e37_79b9_7f4a_7c15);
            floats[n] = floats[n] * 0.75 + floats[(n + 7) % 12] * 0.125;
        }
    }
    let ints = ints.iter().fold(0, |sum: u64, n| sum.rotate_left(1) ^ n);
    floats.iter().fold(ints, |sum, x| sum.rotate_left(1) ^ x.to_bits())
}

/// Runs `what` on four threads, each with a number of its own; none may find anything wrong.
fn none_wrong(name: &str, what: impl Fn(u64) -> u64 + Copy + Send + 'static) -> Outcome {
    let mut handles = Vec::new();
    for n in 1..=4 {
        handles.push(made(small(name, move || what(n)))?);
    }
    for handle in handles {
        same(handle.join(), 0)?;
    }
    Ok(())
}

fn registers() -> Outcome {
    let until = later();
    none_wrong("computes", move |seed| {
        let expected = work(seed);
        let mut wrong = 0;
        while sched::upcalls() < until {
            wrong += u64::from(work(seed) != expected);
        }
        wrong
    })
}

fn allocation() -> Outcome {
    let until = later();
    none_wrong("allocates", move |seed| {
        let (mut map, mut n, mut wrong) = (BTreeMap::new(), seed, 0);
        while sched::upcalls() < until {
            n = n.wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(9);
            let key = n % 40;
            let value: Vec<u64> = (0..n % 60).map(|k| k + key).collect();
            if let Some(old) = map.insert(key, value) {
                wrong += u64::from(old.iter().enumerate().any(|(k, v)| k as u64 + key != *v));
            }
            if n % 3 == 0 {
                map.remove(&(key / 2));
            }
        }
        wrong
    })
}

fn mutex() -> Outcome {
    let until = later();
    let sum = Arc::new(Mutex::new((0u64, 0u64)));
    let rounds = Arc::new(AtomicU64::new(0));
    let mut handles = Vec::new();
    for _ in 0..3 {
        let (sum, rounds) = (sum.clone(), rounds.clone());
        handles.push(made(small("adds", move || {
            while sched::upcalls() < until {
                let mut guard = sum.lock();
                let (a, b) = *guard;
                for _ in 0..500 {
                    core::hint::black_box(());
                }
                *guard = (a + 1, b + 2);
                rounds.fetch_add(1, Relaxed);
            }
        }))?);
    }
    for handle in handles {
        handle.join();
    }
    let rounds = rounds.load(Relaxed);
    same(*sum.lock(), (rounds, 2 * rounds))
}

fn tls_kept() -> Outcome {
    let until = later();
    none_wrong("looks", move |n| {
        set_tls(0, n);
        let mut wrong = 0;
        while sched::upcalls() < until {
            wrong += u64::from(tls(0).0 != n);
        }
        wrong
    })
}
