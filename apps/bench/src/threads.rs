//! Threads of one domain: from one to the other, and a lock from hand to hand.

use crate::SAMPLES;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use skerry_user::thread::mutex::RawMutex;
use skerry_user::thread::{self, Builder};
use skerry_user::{Domain, clock};

/// Bytes of the other thread's stack.
const STACK: u64 = 16 << 10;

/// When the last leg began, and whether that was the last of all.
#[derive(Default)]
struct Shared {
    start: AtomicU64,
    end: AtomicBool,
    lock: RawMutex,
}

/// The figure of this name, if it is one of these: ticks, or what was refused.
pub fn figure(domain: Domain, name: &str) -> Result<u64, skerry_user::Error> {
    thread::start(domain)?;
    let shared = Arc::new(Shared::default());
    let theirs = shared.clone();
    let switch = name == "thread.switch";
    if !switch {
        shared.lock.lock();
    }
    let run = move || if switch { turns(&theirs) } else { hands(&theirs) };
    let other = Builder::new("other").stack(STACK).spawn(run).map_err(|_| skerry_user::Error::Full)?;
    thread::yield_now();
    let mut times = if switch { turns(&shared) } else { hands_from(&shared) };
    shared.end.store(true, Relaxed);
    if !switch {
        unlock(&shared.lock);
    }
    times.extend(other.join());
    Ok(middle(times).saturating_sub(empty()))
}

fn middle(mut times: Vec<u64>) -> u64 {
    times.sort_unstable();
    times[times.len() / 2]
}

/// What two readings of the clock and the words between them take.
fn empty() -> u64 {
    let shared = Shared::default();
    let once = |_| {
        shared.start.store(clock::ticks(), Relaxed);
        clock::ticks() - shared.start.load(Relaxed)
    };
    middle((0..SAMPLES).map(once).collect())
}

/// Gives the core to the other thread, which does the same. Times from its call to the return here.
fn turns(shared: &Shared) -> Vec<u64> {
    let mut times = Vec::with_capacity(SAMPLES);
    while times.len() < SAMPLES && !shared.end.load(Relaxed) {
        shared.start.store(clock::ticks(), Relaxed);
        thread::yield_now();
        times.push(clock::ticks() - shared.start.load(Relaxed));
    }
    times
}

/// Takes the lock, which the other thread has and wants, and gives it back. Times from its call of `unlock`, by way of
/// its call of `lock`, which blocks, to the return of `lock` here.
fn hands(shared: &Shared) -> Vec<u64> {
    shared.lock.lock();
    let times = hands_from(shared);
    unlock(&shared.lock);
    times
}

/// The same, with the lock in hand; comes back with it.
fn hands_from(shared: &Shared) -> Vec<u64> {
    let mut times = Vec::with_capacity(SAMPLES);
    while times.len() < SAMPLES && !shared.end.load(Relaxed) {
        shared.start.store(clock::ticks(), Relaxed);
        unlock(&shared.lock);
        shared.lock.lock();
        times.push(clock::ticks() - shared.start.load(Relaxed));
    }
    times
}

#[expect(unsafe_code, reason = "the lock alone, without what it guards")]
fn unlock(lock: &RawMutex) {
    // SAFETY: whoever calls this has taken it.
    unsafe { lock.unlock() };
}
