//! Condition variables.

use super::mutex::MutexGuard;
use super::sched;
use crate::dispatch::Off;

/// Threads that wait until something they look at under a mutex has changed.
#[derive(Debug, Default)]
pub struct Condvar {
    /// Its address is the key: it must have one of its own.
    _place: u32,
}

impl Condvar {
    /// Nobody waits.
    pub const fn new() -> Self {
        Self { _place: 0 }
    }

    fn key(&self) -> u64 {
        core::ptr::from_ref(self).addr() as u64
    }

    /// Gives the mutex up and waits until it is notified; then takes the mutex again. Over several dispatchers of a domain one
    /// notification may reach a thread of each: look again at what was waited for.
    pub fn wait<T: ?Sized>(&self, guard: &mut MutexGuard<'_, T>) {
        self.wait_until(guard, 0);
    }

    /// The same, at most until the clock reaches `deadline` (0: for ever). Answers whether it was notified.
    pub fn wait_until<T: ?Sized>(&self, guard: &mut MutexGuard<'_, T>, deadline: u64) -> bool {
        let notified = guard.raw().release_and_wait(self.key(), deadline);
        guard.raw().lock();
        notified
    }

    /// Waits as long as `holds` is true.
    pub fn wait_while<T: ?Sized>(
        &self,
        guard: &mut MutexGuard<'_, T>,
        mut holds: impl FnMut(&mut T) -> bool,
    ) {
        while holds(guard) {
            self.wait(guard);
        }
    }

    /// The first one who waits goes on.
    pub fn notify_one(&self) {
        sched::wake(&Off::enter(), self.key(), 1);
    }

    /// All who wait go on.
    pub fn notify_all(&self) {
        sched::wake(&Off::enter(), self.key(), usize::MAX);
    }
}
