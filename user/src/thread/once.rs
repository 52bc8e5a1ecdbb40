//! What is done once, by whoever comes first; the others wait.
#![expect(unsafe_code, reason = "a value that is written once")]

use super::futex;
use core::cell::UnsafeCell;
use core::sync::atomic::{AtomicU32, Ordering};

const NEW: u32 = 0;
const RUNNING: u32 = 1;
const DONE: u32 = 2;

/// Whether it was done.
#[derive(Debug, Default)]
pub struct Once(AtomicU32);

impl Once {
    /// Not yet.
    pub const fn new() -> Self {
        Self(AtomicU32::new(NEW))
    }

    /// Whether it was done.
    #[inline]
    pub fn is_completed(&self) -> bool {
        self.0.load(Ordering::Acquire) == DONE
    }

    /// Does it unless it was done; afterwards it is done.
    #[inline]
    pub fn call_once(&self, what: impl FnOnce()) {
        if !self.is_completed() {
            self.call(what);
        }
    }

    #[cold]
    fn call(&self, what: impl FnOnce()) {
        while let Err(state) = self.0.compare_exchange(NEW, RUNNING, Ordering::Acquire, Ordering::Acquire) {
            if state == DONE {
                return;
            }
            // Woken, or done meanwhile: look again.
            let _why = futex::wait(&self.0, RUNNING, 0);
        }
        what();
        self.0.store(DONE, Ordering::Release);
        futex::wake(&self.0, usize::MAX);
    }
}

/// A value that whoever needs it first makes.
#[derive(Debug, Default)]
pub struct OnceValue<T> {
    once: Once,
    value: UnsafeCell<Option<T>>,
}

// SAFETY: the value is written by one thread, once, before `once` is completed, and only shared after.
unsafe impl<T: Send + Sync> Sync for OnceValue<T> {}

impl<T> OnceValue<T> {
    /// None yet.
    pub const fn new() -> Self {
        Self { once: Once::new(), value: UnsafeCell::new(None) }
    }

    /// The value, made by `make` if it is not there.
    pub fn get_or_init(&self, make: impl FnOnce() -> T) -> &T {
        self.once.call_once(|| {
            let value = make();
            // SAFETY: `call_once` runs this at most once, and nobody looks before it has.
            unsafe { *self.value.get() = Some(value) };
        });
        self.get().expect("it has just been made")
    }

    /// The value, if it is there.
    pub fn get(&self) -> Option<&T> {
        if !self.once.is_completed() {
            return None;
        }
        // SAFETY: nobody writes it any more.
        unsafe { (*self.value.get()).as_ref() }
    }
}
