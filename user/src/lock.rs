//! What one thread of a domain at a time is in, for a bounded time: the allocator, and what the domain's memory is
//! accounted in.

use crate::dispatch::Off;
use spin::mutex::SpinMutex;

/// A value behind a lock that nobody holds for long, and under which nothing is allocated.
#[derive(Debug, Default)]
pub struct Exclusive<T>(SpinMutex<T>);

impl<T> Exclusive<T> {
    /// Keeps `value`.
    pub const fn new(value: T) -> Self {
        Self(SpinMutex::new(value))
    }

    /// Runs `what` on it. `what` must not come back here.
    #[inline]
    pub fn with<R>(&self, what: impl FnOnce(&mut T) -> R) -> R {
        // No other thread of this dispatcher runs meanwhile: if somebody is in there, another core's dispatcher is.
        let _off = Off::enter();
        what(&mut self.0.lock())
    }

    /// The same, unless someone is in there.
    #[inline]
    pub fn try_with<R>(&self, what: impl FnOnce(&mut T) -> R) -> Option<R> {
        let _off = Off::enter();
        self.0.try_lock().map(|mut value| what(&mut value))
    }
}
