//! In-process futex: wait while a word holds a value. What mutexes and the like of others can be made of.

use super::sched;
use super::table::Woken;
use crate::dispatch::Off;
use core::sync::atomic::{AtomicU32, Ordering};

/// How a wait ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Waited {
    /// By [`wake`].
    Woken,
    /// The word did not hold the expected value.
    Changed,
    /// The deadline came first.
    TimedOut,
}

fn key(word: &AtomicU32) -> u64 {
    core::ptr::from_ref(word).addr() as u64
}

/// Waits until another thread calls [`wake`] for this word, if the word holds `expected`; at most until the clock reaches
/// `deadline` (0: for ever). Whoever is woken looks at the word again: over several dispatchers more may be than were meant.
pub fn wait(word: &AtomicU32, expected: u32, deadline: u64) -> Waited {
    let off = Off::enter();
    sched::announce(&off, key(word));
    if word.load(Ordering::Relaxed) != expected {
        return Waited::Changed;
    }
    match sched::block(&off, key(word), deadline) {
        Woken::By(_) => Waited::Woken,
        Woken::TimedOut => Waited::TimedOut,
    }
}

/// Wakes at most `most` threads that wait on this word; how many of this dispatcher's. Of each other one as many may be woken.
pub fn wake(word: &AtomicU32, most: usize) -> usize {
    sched::wake(&Off::enter(), key(word), most)
}
