//! Threads that are made elsewhere, and move.

use crate::report::{Outcome, Report, same};
use alloc::format;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use skerry_user::thread::{self, Builder, JoinHandle, Local, SpawnError, span};
use skerry_user::{ISA, println, relax};

/// Moves from one core to the next.
const MOVES: u32 = 1000;
/// Moves past threads that never give the core up: each waits for the end of a slice.
const BUSY_MOVES: u32 = 40;

pub fn run(report: &mut Report) {
    report.case("made on every dispatcher, and joined", made_everywhere);
    report.case("a thread made elsewhere makes one here", made_back);
    report.case("a thousand moves, with all it has", thousand_moves);
    report.case("who moves leaves the core to one that lost it", past_busy);
    report.case("lines are said from everywhere", lines);
    report.case("no such dispatcher", nowhere);
}

/// A thread there.
pub fn on<T: Send + 'static>(
    dispatcher: u32,
    what: impl FnOnce() -> T + Send + 'static,
) -> Result<JoinHandle<T>, String> {
    let made = Builder::new("there").stack(32 << 10).on(dispatcher).spawn(what);
    made.map_err(|error| format!("on {dispatcher}: {error}"))
}

fn made_everywhere() -> Outcome {
    let mut handles = Vec::new();
    for n in 0..3 * span::count() {
        handles.push(on(n % span::count(), move || (n, span::here()))?);
    }
    for (n, handle) in (0..).zip(handles) {
        same(handle.join(), (n, n % span::count()))?;
    }
    Ok(())
}

fn made_back() -> Outcome {
    let last = span::count() - 1;
    let handle = on(last, move || {
        let back = on(0, || (span::here(), thread::name()))?;
        Ok::<_, String>((span::here(), back.join()))
    })?;
    same(handle.join()?, (last, (0, String::from("there"))))
}

/// What a thread has of its own goes with it: its stack, values in registers, floating-point numbers, its locals, its name.
fn thousand_moves() -> Outcome {
    static LOCAL: Local<AtomicU64> = Local::new(|| AtomicU64::new(0));
    let handle = on(0, || {
        let (mut float, mut stack, mut wrong) = (1.0f64, [0u64; 16], 0);
        for n in 1..=MOVES {
            let to = n % span::count();
            if span::migrate(to).is_err() || span::here() != to {
                wrong += 1;
            }
            float += f64::from(n) * 0.5;
            stack[n as usize % 16] += u64::from(n);
            LOCAL.with(|count| count.fetch_add(1, Relaxed));
        }
        (wrong, float, stack.iter().sum::<u64>(), LOCAL.with(|count| count.load(Relaxed)))
    })?;
    let sum = u64::from(MOVES) * u64::from(MOVES + 1) / 2;
    same(handle.join(), (0, 1.0 + sum as f64 * 0.5, sum, u64::from(MOVES)))
}

/// On every dispatcher a thread computes, which loses the core against its will; whoever moves away gives it back to that one.
fn past_busy() -> Outcome {
    let done = Arc::new(AtomicBool::new(false));
    let mut busy = Vec::new();
    for n in 0..span::count() {
        let done = done.clone();
        busy.push(on(n, move || {
            let mut rounds = 1u64;
            while !done.load(Relaxed) {
                rounds = rounds.wrapping_add(1);
                relax();
            }
            rounds
        })?);
    }
    let mover = on(0, || (1..=BUSY_MOVES).filter(|n| span::migrate(n % span::count()).is_err()).count());
    let refused = mover.map(|mover| mover.join());
    done.store(true, Relaxed);
    let idle = busy.into_iter().map(|busy| busy.join()).filter(|rounds| *rounds < 2).count();
    same((refused?, idle), (0, 0))
}

fn lines() -> Outcome {
    let said = Arc::new(AtomicU64::new(0));
    let mut handles = Vec::new();
    for n in 0..span::count() {
        let said = said.clone();
        handles.push(on(n, move || {
            println!("ok a line of dispatcher {n}, {}", ISA.name());
            said.fetch_add(1, Relaxed);
            span::here()
        })?);
    }
    for (n, handle) in (0..).zip(handles) {
        same(handle.join(), n)?;
    }
    same(said.load(Relaxed), span::count().into())
}

fn nowhere() -> Outcome {
    let made = Builder::new("nowhere").on(span::count()).spawn(|| ()).err();
    same(made, Some(SpawnError::TooMany))?;
    same(span::migrate(span::count()).is_err(), true)
}
