//! Mutual exclusion: a thread that has to wait is given the lock by the one that has it, first come, first served; over several
//! dispatchers each has its turn, as [`word`](super::word) says.
#![expect(unsafe_code, reason = "what is locked is reached through the lock")]

use super::sched;
use super::table::Woken;
use super::word::{FREE, HELD, bit, take_or_wait};
use crate::dispatch::Off;
use core::cell::UnsafeCell;
use core::marker::PhantomData;
use core::ops::{Deref, DerefMut};
use core::sync::atomic::{AtomicU32, Ordering};

/// Held, and somebody of the only dispatcher may be waiting.
const WANTED: u32 = HELD | bit(0);

/// The lock alone.
#[derive(Debug, Default)]
pub struct RawMutex(AtomicU32);

impl RawMutex {
    /// Free.
    pub const fn new() -> Self {
        Self(AtomicU32::new(FREE))
    }

    fn key(&self) -> u64 {
        core::ptr::from_ref(self).addr() as u64
    }

    /// Takes it if it is free.
    #[inline]
    pub fn try_lock(&self) -> bool {
        self.0.compare_exchange(FREE, HELD, Ordering::Acquire, Ordering::Relaxed).is_ok()
    }

    /// Takes it, waiting as long as need be.
    #[inline]
    pub fn lock(&self) {
        if !self.try_lock() {
            self.wait(0);
        }
    }

    /// Takes it unless the clock reaches `deadline` first.
    pub fn lock_until(&self, deadline: u64) -> bool {
        self.try_lock() || self.wait(deadline.max(1))
    }

    #[inline(never)]
    fn wait(&self, deadline: u64) -> bool {
        let off = Off::enter();
        match sched::others(&off) {
            Some(me) if take_or_wait(&self.0, me) => return true,
            Some(_) => {}
            None if self.0.load(Ordering::Relaxed) == FREE => {
                self.0.store(HELD, Ordering::Relaxed);
                return true;
            }
            None => self.0.store(WANTED, Ordering::Relaxed),
        }
        // Whoever unlocks it leaves it locked for the one it wakes.
        sched::block(&off, self.key(), deadline) != Woken::TimedOut
    }

    /// Gives it up.
    ///
    /// # Safety
    /// The caller has it.
    #[inline]
    pub unsafe fn unlock(&self) {
        if self.0.compare_exchange(HELD, FREE, Ordering::Release, Ordering::Relaxed).is_err() {
            self.hand_over(&Off::enter());
        }
    }

    /// Makes the next one the holder, or nobody.
    fn hand_over(&self, off: &Off) {
        if sched::others(off).is_some() {
            sched::pass_on(off, &self.0);
        } else if !sched::wake_one(off, self.key()) {
            self.0.store(FREE, Ordering::Relaxed);
        }
    }

    /// Gives it up and waits under `key`, with nothing in between. Answers whether it was woken.
    pub(super) fn release_and_wait(&self, key: u64, deadline: u64) -> bool {
        let off = Off::enter();
        sched::announce(&off, key);
        self.hand_over(&off);
        sched::block(&off, key, deadline) != Woken::TimedOut
    }
}

/// A value that one thread at a time has.
#[derive(Debug, Default)]
pub struct Mutex<T: ?Sized> {
    raw: RawMutex,
    value: UnsafeCell<T>,
}

// SAFETY: the lock gives the value to one thread at a time.
unsafe impl<T: ?Sized + Send> Sync for Mutex<T> {}

impl<T> Mutex<T> {
    /// A free one.
    pub const fn new(value: T) -> Self {
        Self { raw: RawMutex::new(), value: UnsafeCell::new(value) }
    }

    /// The value.
    pub fn into_inner(self) -> T {
        self.value.into_inner()
    }
}

impl<T: ?Sized> Mutex<T> {
    const fn guard(&self) -> MutexGuard<'_, T> {
        MutexGuard { mutex: self, _own: PhantomData }
    }

    /// The value, for as long as the guard lives.
    #[inline]
    pub fn lock(&self) -> MutexGuard<'_, T> {
        self.raw.lock();
        self.guard()
    }

    /// The same, unless somebody has it.
    pub fn try_lock(&self) -> Option<MutexGuard<'_, T>> {
        self.raw.try_lock().then(|| self.guard())
    }

    /// The same, unless the clock reaches `deadline` first.
    pub fn lock_until(&self, deadline: u64) -> Option<MutexGuard<'_, T>> {
        self.raw.lock_until(deadline).then(|| self.guard())
    }
}

/// The right to a value.
#[must_use = "what is not held is free at once"]
pub struct MutexGuard<'a, T: ?Sized> {
    mutex: &'a Mutex<T>,
    /// The thread that took it gives it back.
    _own: PhantomData<*mut ()>,
}

// SAFETY: a shared guard is a shared value.
unsafe impl<T: ?Sized + Sync> Sync for MutexGuard<'_, T> {}

impl<T: ?Sized> MutexGuard<'_, T> {
    pub(super) const fn raw(&self) -> &RawMutex {
        &self.mutex.raw
    }
}

impl<T: ?Sized> Deref for MutexGuard<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        // SAFETY: the lock is held.
        unsafe { &*self.mutex.value.get() }
    }
}

impl<T: ?Sized> DerefMut for MutexGuard<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: the lock is held, and this is its one guard.
        unsafe { &mut *self.mutex.value.get() }
    }
}

impl<T: ?Sized> Drop for MutexGuard<'_, T> {
    #[inline]
    fn drop(&mut self) {
        // SAFETY: the guard is what has it.
        unsafe { self.mutex.raw.unlock() };
    }
}
