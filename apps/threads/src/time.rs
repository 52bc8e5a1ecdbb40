//! Clock, sleep, chance.

use crate::basic::{made, small};
use crate::report::{Outcome, Report, same, undisturbed};
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::AtomicBool;
use core::sync::atomic::Ordering::Relaxed;
use core::time::Duration;
use skerry_user::thread::{self, Mutex};
use skerry_user::{clock, entropy, println};

pub fn run(report: &mut Report) {
    report.case("the clock does not go back", clock_goes_on);
    report.case("sleepers wake in order, none too early", || undisturbed(sleepers));
    report.case("a sleeper wakes beside threads that never wait", sleeper_beside_busy);
    report.case("random bytes differ, or there is no source", random);
}

fn random() -> Outcome {
    let mut words = [[0; 16]; 2];
    for word in &mut words {
        if entropy::fill(word).is_err() {
            println!("no source of entropy on this processor");
            return Ok(());
        }
    }
    if words[0] == words[1] { Err(alloc::format!("{words:?}")) } else { Ok(()) }
}

/// Turns that a thread may have after another's deadline, at most: what counts is how often the core changed hands.
const TURNS: u32 = 200;

/// While some are always ready the domain never waits in the CPU driver: the scheduler has to look at the clock by itself.
fn sleeper_beside_busy() -> Outcome {
    for _ in 0..10 {
        let woken = Arc::new(AtomicBool::new(false));
        let until = clock::ticks() + clock::span(Duration::from_millis(1));
        let [sleeping, busy] = [woken.clone(), woken.clone()];
        let sleeper = made(small("sleeper", move || {
            thread::sleep_until(until);
            sleeping.store(true, Relaxed);
        }))?;
        let other = made(small("busy", move || {
            while !busy.load(Relaxed) {
                thread::yield_now();
            }
        }))?;
        let mut late = 0;
        while !woken.load(Relaxed) {
            late += u32::from(clock::ticks() >= until);
            thread::yield_now();
        }
        sleeper.join();
        other.join();
        if late > TURNS {
            return Err(alloc::format!("{late} turns late"));
        }
    }
    Ok(())
}

fn clock_goes_on() -> Outcome {
    let mut last = clock::now_ns();
    for _ in 0..1000 {
        let now = clock::now_ns();
        if now < last {
            return Err(alloc::format!("{now} ns after {last} ns"));
        }
        last = now;
        thread::yield_now();
    }
    Ok(())
}

fn sleepers() -> Outcome {
    let log = Arc::new(Mutex::new(Vec::new()));
    let start = clock::ticks();
    let mut handles = Vec::new();
    for ms in [90, 30, 60] {
        let log = log.clone();
        handles.push(made(small("sleeper", move || {
            let until = start + clock::span(Duration::from_millis(ms));
            thread::sleep_until(until);
            log.lock().push(ms);
            clock::ticks() < until
        }))?);
    }
    for handle in handles {
        same(handle.join(), false)?;
    }
    same(log.lock().as_slice(), &[30, 60, 90])
}
