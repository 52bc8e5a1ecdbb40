//! Thread-specific data with destructors (POSIX `pthread_key_create`): a static that every thread has for itself.

use super::sched::with;
use crate::dispatch::Off;
use alloc::boxed::Box;
use alloc::rc::Rc;
use core::any::Any;
use core::sync::atomic::{AtomicUsize, Ordering};

/// Rounds of destructors that may make new values (POSIX `PTHREAD_DESTRUCTOR_ITERATIONS`).
const ROUNDS: usize = 4;

/// A value for each thread, made when the thread first looks at it, dropped when the thread ends.
#[derive(Debug)]
pub struct Local<T> {
    make: fn() -> T,
    /// Its place in every thread's list, and 1; 0: none yet.
    index: AtomicUsize,
}

static NEXT: AtomicUsize = AtomicUsize::new(1);

impl<T: 'static> Local<T> {
    /// One that `make` makes.
    pub const fn new(make: fn() -> T) -> Self {
        Self { make, index: AtomicUsize::new(0) }
    }

    fn index(&self) -> usize {
        let index = self.index.load(Ordering::Relaxed);
        if index != 0 {
            return index - 1;
        }
        // Two dispatchers may get here at once: the second number is nobody's then.
        let new = NEXT.fetch_add(1, Ordering::Relaxed);
        self.index
            .compare_exchange(0, new, Ordering::Relaxed, Ordering::Relaxed)
            .map_or_else(|is| is - 1, |_| new - 1)
    }

    /// Looks at this thread's value.
    pub fn with<R>(&self, look: impl FnOnce(&T) -> R) -> R {
        let index = self.index();
        let value =
            mine(index, |place| place.as_ref().and_then(|value| value.downcast_ref::<Rc<T>>().cloned()));
        let value = value.unwrap_or_else(|| {
            // Not inside the scheduler: it is a function of the program.
            let value = Rc::new((self.make)());
            mine(index, |place| *place = Some(Box::new(value.clone())));
            value
        });
        look(&value)
    }
}

/// This thread's place for the value of a key.
fn mine<R>(index: usize, what: impl FnOnce(&mut Option<Box<dyn Any>>) -> R) -> R {
    with(&Off::enter(), |state| {
        let tcb = state.table.current().and_then(|id| state.table.get(id));
        let locals = &mut tcb.expect("`thread::start` comes first").locals;
        if locals.len() <= index {
            locals.resize_with(index + 1, || None);
        }
        what(&mut locals[index])
    })
}

/// Drops all values of the thread that runs.
pub(super) fn drop_all() {
    for _ in 0..ROUNDS {
        let values = with(&Off::enter(), |state| {
            let tcb = state.table.current().and_then(|id| state.table.get(id));
            tcb.map(|tcb| core::mem::take(&mut tcb.locals)).unwrap_or_default()
        });
        if values.is_empty() {
            return;
        }
    }
}
