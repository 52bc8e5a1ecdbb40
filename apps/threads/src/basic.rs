//! Threads come, take turns, and go.

use crate::report::{Outcome, Report, same, undisturbed};
use alloc::boxed::Box;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicU64, Ordering::Relaxed};
use skerry_user::thread::{self, Builder, JoinHandle, Mutex, SpawnError};

pub fn run(report: &mut Report) {
    report.case("create and join", create_and_join);
    report.case("threads take turns", || undisturbed(turns));
    report.case("names", names);
    report.case("detached threads run", detached);
    report.case("a stack is used again", || undisturbed(stack_again));
    report.case("fifty at once", fifty);
    report.case("no stack, no thread", no_stack);
}

/// What `spawn` answers, as an outcome.
pub fn made<T>(what: Result<T, SpawnError>) -> Result<T, String> {
    what.map_err(|error| alloc::format!("{error}"))
}

/// A thread with a small stack: all of a case fit into what a program gets if nobody says otherwise.
pub fn small<T: Send + 'static>(
    name: &str,
    what: impl FnOnce() -> T + Send + 'static,
) -> Result<JoinHandle<T>, SpawnError> {
    Builder::new(name).stack(12 << 10).spawn(what)
}

fn create_and_join() -> Outcome {
    let word = String::from("skerry");
    let handle = made(small("worker", move || word + "!"))?;
    same(handle.join().as_str(), "skerry!")
}

fn turns() -> Outcome {
    let log = Arc::new(Mutex::new(Vec::new()));
    let work = |n| {
        let log = log.clone();
        move || {
            for _ in 0..3 {
                log.lock().push(n);
                thread::yield_now();
            }
        }
    };
    let (one, two) = (made(small("one", work(1)))?, made(small("two", work(2)))?);
    one.join();
    two.join();
    same(log.lock().as_slice(), &[1, 2, 1, 2, 1, 2])
}

fn names() -> Outcome {
    same(thread::name().as_str(), "main")?;
    let handle = made(small("Ærø", thread::name))?;
    same(handle.join().as_str(), "Ærø")
}

fn detached() -> Outcome {
    static DONE: AtomicU64 = AtomicU64::new(0);
    for n in 1..=3 {
        made(small("loose", move || DONE.fetch_add(n, Relaxed)))?.detach();
    }
    while DONE.load(Relaxed) != 6 {
        thread::yield_now();
    }
    Ok(())
}

fn place() -> usize {
    let here = 0u8;
    core::hint::black_box(&raw const here).addr()
}

fn stack_again() -> Outcome {
    let mut places = Vec::new();
    for _ in 0..50 {
        places.push(made(small("short", place))?.join());
    }
    places.sort_unstable();
    places.dedup();
    if places.len() > 1 { Err(alloc::format!("{} stacks, one was enough", places.len())) } else { Ok(()) }
}

fn fifty() -> Outcome {
    let sum = Arc::new(Mutex::new(0));
    let mut handles = Vec::new();
    for n in 0..50u64 {
        let sum = sum.clone();
        let builder = Builder::new("many").stack(4 << 10);
        handles.push(made(builder.spawn(move || {
            thread::yield_now();
            *sum.lock() += n;
            Box::new(n)
        }))?);
    }
    let told: u64 = handles.into_iter().map(|handle| *handle.join()).sum();
    same((told, *sum.lock()), (1225, 1225))
}

fn no_stack() -> Outcome {
    match Builder::new("huge").stack(1 << 40).spawn(|| ()) {
        Err(SpawnError::Stack(_)) => Ok(()),
        other => Err(alloc::format!("{:?}", other.map(drop))),
    }
}
