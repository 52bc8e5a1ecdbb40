//! Clock, sleep, chance.

use crate::basic::{made, small};
use crate::report::{Outcome, Report, same, undisturbed};
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::time::Duration;
use skerry_user::clock;
use skerry_user::thread::{self, Mutex};

pub fn run(report: &mut Report) {
    report.case("the clock does not go back", clock_goes_on);
    report.case("sleepers wake in order, none too early", || undisturbed(sleepers));
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
