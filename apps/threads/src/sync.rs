//! What threads wait with.

use crate::basic::{made, small};
use crate::report::{Outcome, Report, same, undisturbed};
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicU32, Ordering::Relaxed};
use skerry_user::clock;
use skerry_user::thread::futex::{self, Waited};
use skerry_user::thread::{self, Barrier, Condvar, Mutex, Once, OnceValue, RwLock};

pub fn run(report: &mut Report) {
    report.case("mutex: first come, first served", || undisturbed(mutex_order));
    report.case("mutex: try, and until", mutex_try);
    report.case("condition variable: one and all", condvar);
    report.case("condition variable: until", condvar_until);
    report.case("barrier: ten rounds of five", barrier);
    report.case("once", once);
    report.case("once: a value", once_value);
    report.case("rwlock", rwlock);
    report.case("futex: changed, woken, timed out", || undisturbed(futexes));
}

fn mutex_order() -> Outcome {
    let log = Arc::new(Mutex::new(Vec::new()));
    let guard = log.lock();
    let mut handles = Vec::new();
    for n in 0..5 {
        let log = log.clone();
        handles.push(made(small("waiter", move || log.lock().push(n)))?);
        thread::yield_now();
    }
    drop(guard);
    // It is the first waiter's already.
    let taken = log.try_lock().is_some();
    for handle in handles {
        handle.join();
    }
    same((taken, log.lock().as_slice()), (false, &[0, 1, 2, 3, 4]))
}

fn mutex_try() -> Outcome {
    let lock = Arc::new(Mutex::new(0));
    let guard = lock.lock();
    let theirs = lock.clone();
    let handle = made(small("impatient", move || {
        let at_once = theirs.try_lock().is_some();
        let until = clock::ticks() + clock::ns_to_ticks(2_000_000);
        let later = theirs.lock_until(until).is_some();
        (at_once, later, clock::ticks() >= until)
    }))?;
    same(handle.join(), (false, false, true))?;
    drop(guard);
    let free = lock.try_lock().is_some();
    same(free, true)
}

fn condvar() -> Outcome {
    let shared = Arc::new((Mutex::new((0, 0)), Condvar::new()));
    let mut handles = Vec::new();
    for _ in 0..4 {
        let shared = shared.clone();
        handles.push(made(small("waiter", move || {
            let mut guard = shared.0.lock();
            guard.0 += 1;
            shared.1.wait(&mut guard);
            guard.1 += 1;
        }))?);
    }
    while shared.0.lock().0 != 4 {
        thread::yield_now();
    }
    let woken = |count| {
        while shared.0.lock().1 < count {
            thread::yield_now();
        }
        for _ in 0..20 {
            thread::yield_now();
        }
        same(*shared.0.lock(), (4, count))
    };
    woken(0)?;
    shared.1.notify_one();
    woken(1)?;
    shared.1.notify_all();
    for handle in handles {
        handle.join();
    }
    woken(4)
}

fn condvar_until() -> Outcome {
    let (lock, condvar) = (Mutex::new(()), Condvar::new());
    let until = clock::ticks() + clock::ns_to_ticks(1_000_000);
    let notified = condvar.wait_until(&mut lock.lock(), until);
    same((notified, clock::ticks() >= until), (false, true))
}

fn barrier() -> Outcome {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let barrier = Arc::new(Barrier::new(5));
    let mut handles = Vec::new();
    for n in 0..5 {
        let barrier = barrier.clone();
        handles.push(made(small("rounds", move || {
            let (mut early, mut last) = (0, 0);
            for round in 1..=10 {
                for _ in 0..n {
                    thread::yield_now();
                }
                COUNT.fetch_add(1, Relaxed);
                last += u32::from(barrier.wait());
                early += u32::from(COUNT.load(Relaxed) < round * 5);
                barrier.wait();
            }
            (early, last)
        }))?);
    }
    let all = handles.into_iter().map(|handle| handle.join());
    same(all.fold((0, 0), |sum, one| (sum.0 + one.0, sum.1 + one.1)), (0, 10))
}

fn once() -> Outcome {
    static ONCE: Once = Once::new();
    static RUNS: AtomicU32 = AtomicU32::new(0);
    let mut handles = Vec::new();
    for _ in 0..4 {
        handles.push(made(small("first", || {
            ONCE.call_once(|| {
                thread::yield_now();
                RUNS.fetch_add(1, Relaxed);
            });
            RUNS.load(Relaxed)
        }))?);
    }
    for handle in handles {
        same(handle.join(), 1)?;
    }
    Ok(())
}

fn once_value() -> Outcome {
    static VALUE: OnceValue<Vec<u32>> = OnceValue::new();
    same(VALUE.get(), None)?;
    let handle = made(small("maker", || VALUE.get_or_init(|| (0..9).collect()).len()))?;
    same(handle.join(), 9)?;
    same(VALUE.get_or_init(Vec::new).len(), 9)
}

fn rwlock() -> Outcome {
    let lock = Arc::new(RwLock::new(0u64));
    let most = Arc::new(AtomicU32::new(0));
    let mut handles = Vec::new();
    for n in 0..6 {
        let (lock, most) = (lock.clone(), most.clone());
        handles.push(made(small("reads or writes", move || {
            let mut torn = 0;
            for _ in 0..50 {
                if n < 2 {
                    let mut value = lock.write();
                    let old = *value;
                    thread::yield_now();
                    *value = old + 1;
                } else {
                    let value = lock.read();
                    let (old, readers) = (*value, most.fetch_add(1, Relaxed) + 1);
                    thread::yield_now();
                    torn += u32::from(old != *value || readers > 4);
                    most.fetch_sub(1, Relaxed);
                }
            }
            torn
        }))?);
    }
    for handle in handles {
        same(handle.join(), 0)?;
    }
    same(*lock.read(), 100)
}

fn futexes() -> Outcome {
    let word = Arc::new(AtomicU32::new(1));
    same(futex::wait(&word, 2, 0), Waited::Changed)?;
    let until = clock::ticks() + clock::ns_to_ticks(1_000_000);
    same(futex::wait(&word, 1, until), Waited::TimedOut)?;
    same(clock::ticks() >= until, true)?;
    let mut handles = Vec::new();
    for _ in 0..3 {
        let word = word.clone();
        handles.push(made(small("waits", move || futex::wait(&word, 1, 0)))?);
    }
    thread::yield_now();
    same((futex::wake(&word, 2), futex::wake(&word, 2), futex::wake(&word, 2)), (2, 1, 0))?;
    for handle in handles {
        same(handle.join(), Waited::Woken)?;
    }
    Ok(())
}
