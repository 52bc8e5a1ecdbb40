//! What threads of several dispatchers wait with.

use crate::moves::on;
use crate::report::{Outcome, Report, same};
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};
use skerry_user::thread::{self, Barrier, Condvar, Mutex, Once, RwLock, block_on, parallel_for, span};

/// Numbers that are added up.
const NUMBERS: u64 = 200_000;
/// Turns that each thread has at a lock, and threads on each dispatcher.
const TURNS: u64 = 300;
const THREADS: u32 = 3;
/// Rounds of a barrier.
const ROUNDS: u32 = 100;

pub fn run(report: &mut Report) {
    report.case("a sum over all cores", sum);
    report.case("every core has its part of a loop", parts);
    report.case("a mutex that all want", mutex);
    report.case("a barrier, a hundred rounds", barrier);
    report.case("condition variable: to and fro", condvar);
    report.case("rwlock", rwlock);
    report.case("once", once);
    report.case("a task that another dispatcher wakes", task);
}

fn everywhere<T: Send + 'static>(
    each: u32,
    what: impl Fn(u32) -> T + Clone + Send + 'static,
) -> Result<Vec<T>, alloc::string::String> {
    let mut handles = Vec::new();
    for n in 0..each * span::count() {
        let what = what.clone();
        handles.push(on(n % span::count(), move || what(n))?);
    }
    Ok(handles.into_iter().map(|handle| handle.join()).collect())
}

fn sum() -> Outcome {
    let numbers: Vec<u32> = (0..NUMBERS as u32).map(|n| n ^ 0x55).collect();
    let total = AtomicU64::new(0);
    parallel_for(0..NUMBERS, 1000, |part| {
        let part = &numbers[part.start as usize..part.end as usize];
        total.fetch_add(part.iter().map(|n| u64::from(*n)).sum(), Relaxed);
    });
    same(total.load(Relaxed), numbers.iter().map(|n| u64::from(*n)).sum())
}

/// Nobody goes on before all have come: so each core has a round.
fn parts() -> Outcome {
    let all = u64::from(span::count());
    let (barrier, seen) = (Barrier::new(span::count()), AtomicU64::new(0));
    parallel_for(0..all, 1, |_| {
        seen.fetch_or(1 << span::here(), Relaxed);
        barrier.wait();
    });
    same(seen.load(Relaxed), (1 << all) - 1)
}

fn mutex() -> Outcome {
    let shared = Arc::new(Mutex::new((0u64, 0u64)));
    let theirs = shared.clone();
    everywhere(THREADS, move |n| {
        for turn in 0..TURNS {
            let mut guard = theirs.lock();
            let before = guard.0;
            if turn % 16 == u64::from(n % 16) {
                // Others come meanwhile.
                thread::yield_now();
            }
            guard.0 = before + 1;
            guard.1 += u64::from(n);
        }
    })?;
    let threads = u64::from(THREADS * span::count());
    let numbers = threads * (threads - 1) / 2;
    let values = *shared.lock();
    same(values, (threads * TURNS, numbers * TURNS))
}

fn barrier() -> Outcome {
    let all = 2 * span::count();
    let shared = Arc::new((Barrier::new(all), AtomicU32::new(0)));
    let theirs = shared.clone();
    let results = everywhere(2, move |_| {
        let (mut early, mut last) = (0, 0);
        for round in 1..=ROUNDS {
            theirs.1.fetch_add(1, Relaxed);
            last += u32::from(theirs.0.wait());
            early += u32::from(theirs.1.load(Relaxed) < round * all);
            theirs.0.wait();
        }
        (early, last)
    })?;
    let sum = results.into_iter().fold((0, 0), |sum, one| (sum.0 + one.0, sum.1 + one.1));
    same(sum, (0, ROUNDS))
}

/// A token goes round all dispatchers.
fn condvar() -> Outcome {
    let shared = Arc::new((Mutex::new(0u32), Condvar::new()));
    let theirs = shared.clone();
    let all = span::count();
    everywhere(1, move |n| {
        for round in 0..ROUNDS {
            let mut turn = theirs.0.lock();
            theirs.1.wait_while(&mut turn, |turn| *turn != round * all + n);
            *turn += 1;
            theirs.1.notify_all();
        }
    })?;
    let turns = *shared.0.lock();
    same(turns, ROUNDS * all)
}

fn rwlock() -> Outcome {
    let lock = Arc::new(RwLock::new((0u64, 0u64)));
    let theirs = lock.clone();
    let all = 2 * span::count();
    let torn = everywhere(2, move |n| {
        let mut torn = 0;
        for _ in 0..50 {
            if n < 2 {
                let mut value = theirs.write();
                value.0 += 1;
                thread::yield_now();
                value.1 += 1;
            } else {
                let value = theirs.read();
                torn += u32::from(value.0 != value.1);
            }
        }
        torn
    })?;
    same((torn.len() as u32, torn.iter().sum::<u32>()), (all, 0))?;
    let value = *lock.read();
    same(value, (100, 100))
}

fn once() -> Outcome {
    static ONCE: Once = Once::new();
    static RUNS: AtomicU32 = AtomicU32::new(0);
    let seen = everywhere(2, |_| {
        ONCE.call_once(|| {
            thread::yield_now();
            RUNS.fetch_add(1, Relaxed);
        });
        RUNS.load(Relaxed)
    })?;
    same(seen.iter().all(|runs| *runs == 1), true)
}

/// A future that is ready when somebody else has said so.
fn task() -> Outcome {
    use core::future::poll_fn;
    use core::task::{Poll, Waker};
    let shared = Arc::new(Mutex::new((None::<Waker>, false)));
    let theirs = shared.clone();
    let waiter = on(span::count() - 1, move || {
        block_on(poll_fn(|cx| {
            let mut state = theirs.lock();
            if state.1 {
                return Poll::Ready(7);
            }
            state.0 = Some(cx.waker().clone());
            Poll::Pending
        }))
    })?;
    loop {
        let waker = shared.lock().0.clone();
        if let Some(waker) = waker {
            shared.lock().1 = true;
            waker.wake();
            break;
        }
        thread::yield_now();
    }
    same(waiter.join(), 7)
}
