//! Threads come and go: create, join, detach.
#![expect(unsafe_code, reason = "a thread's first word is a pointer to what it shall do")]

use super::futex;
use super::sched::{self, Tcb, with};
use super::stack::{self, STACKS, Stack};
use super::tls::Block;
use crate::dispatch::Off;
use alloc::boxed::Box;
use alloc::sync::Arc;
use core::cell::UnsafeCell;
use core::fmt;
use core::sync::atomic::{AtomicU32, Ordering};
use skerry_abi::Error;

/// Bytes of a stack unless [`Builder::stack`] says otherwise.
pub const STACK: u64 = 64 << 10;

/// Why there is no new thread.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SpawnError {
    /// The domain has [`MAX_THREADS`](super::table::MAX_THREADS) on this core, or no such dispatcher.
    TooMany,
    /// No stack could be made.
    Stack(Error),
}

impl fmt::Display for SpawnError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooMany => f.write_str("too many threads"),
            Self::Stack(error) => write!(f, "no stack for a thread: {error}"),
        }
    }
}

/// For whoever has one kind of error for all.
impl From<SpawnError> for Error {
    fn from(error: SpawnError) -> Self {
        match error {
            SpawnError::TooMany => Self::Full,
            SpawnError::Stack(error) => error,
        }
    }
}

/// A thread to be.
#[derive(Clone, Copy, Debug)]
pub struct Builder<'a> {
    name: &'a str,
    stack: u64,
    on: Option<u32>,
}

impl<'a> Builder<'a> {
    /// One with this name.
    pub const fn new(name: &'a str) -> Self {
        Self { name, stack: STACK, on: None }
    }

    /// Bytes of its stack.
    #[must_use]
    pub const fn stack(self, bytes: u64) -> Self {
        Self { stack: bytes, ..self }
    }

    /// On which of the domain's dispatchers it starts; on this one unless this says otherwise.
    #[must_use]
    pub const fn on(self, dispatcher: u32) -> Self {
        Self { on: Some(dispatcher), ..self }
    }

    /// Starts it. Dropping the handle detaches it.
    ///
    /// # Errors
    /// [`SpawnError`].
    pub fn spawn<T: Send + 'static>(
        self,
        what: impl FnOnce() -> T + Send + 'static,
    ) -> Result<JoinHandle<T>, SpawnError> {
        let packet = Arc::new(Packet { done: AtomicU32::new(0), value: UnsafeCell::new(None) });
        let theirs = packet.clone();
        let run: Start = Box::new(move || {
            let value = what();
            theirs.finish(value);
        });
        let stack = self.take_stack()?;
        let arg = Box::into_raw(Box::new(run));
        // SAFETY: the stack is fresh, or its thread has ended and left it.
        let sp = unsafe { skerry_arch::user::new_stack(stack.top, begin, arg.expose_provenance() as u64) };
        let template = with(&Off::enter(), |state| state.tls);
        let tcb = Tcb::new(self.name, Some(stack), sp, Block::new(&template));
        match with(&Off::enter(), |state| state.give(tcb, self.on)) {
            Ok(()) => Ok(JoinHandle { packet }),
            Err(_) => {
                // SAFETY: made above, and no thread took it.
                drop(unsafe { Box::from_raw(arg) });
                STACKS.with(|pool| pool.give(stack));
                Err(SpawnError::TooMany)
            }
        }
    }

    fn take_stack(&self) -> Result<Stack, SpawnError> {
        let left = with(&Off::enter(), |state| state.left.take());
        let taken = STACKS.with(|pool| {
            left.into_iter().for_each(|stack| pool.give(stack));
            pool.take(self.stack)
        });
        match taken {
            Some(stack) => Ok(stack),
            None => stack::make(self.stack).map_err(SpawnError::Stack),
        }
    }
}

/// Starts a thread with this name. Dropping the handle detaches it.
///
/// # Errors
/// [`SpawnError`].
pub fn spawn<T: Send + 'static>(
    name: &str,
    what: impl FnOnce() -> T + Send + 'static,
) -> Result<JoinHandle<T>, SpawnError> {
    Builder::new(name).spawn(what)
}

type Start = Box<dyn FnOnce() + Send>;

/// A thread's first function. The dispatcher is disabled still.
extern "C" fn begin(start: u64) -> ! {
    drop(Off::inherited());
    let start = core::ptr::with_exposed_provenance_mut::<Start>(start as usize);
    // SAFETY: `spawn` made it for this thread alone.
    let start = unsafe { Box::from_raw(start) };
    (*start)();
    super::local::drop_all();
    sched::exit()
}

struct Packet<T> {
    /// 1 when `value` is there.
    done: AtomicU32,
    value: UnsafeCell<Option<T>>,
}

// SAFETY: the thread writes `value` before `done`, and the one handle takes it after; it goes from one to the other.
unsafe impl<T: Send> Sync for Packet<T> {}

impl<T> Packet<T> {
    fn finish(&self, value: T) {
        // SAFETY: `done` is 0: nobody else looks.
        unsafe { *self.value.get() = Some(value) };
        self.done.store(1, Ordering::Release);
        futex::wake(&self.done, usize::MAX);
    }
}

/// The right to wait for a thread's end.
pub struct JoinHandle<T> {
    packet: Arc<Packet<T>>,
}

impl<T> JoinHandle<T> {
    /// Whether it has done what it was to do.
    pub fn is_finished(&self) -> bool {
        self.packet.done.load(Ordering::Acquire) != 0
    }

    /// Waits until it has; what it said.
    pub fn join(self) -> T {
        while !self.is_finished() {
            // Woken, or done meanwhile: either way the word says so.
            let _why = futex::wait(&self.packet.done, 0, 0);
        }
        // SAFETY: `done` is 1: the thread does not touch it any more, and this is the only handle.
        let value = unsafe { (*self.packet.value.get()).take() };
        value.expect("a thread that is done has said something")
    }

    /// Leaves it alone: what it says is dropped.
    pub fn detach(self) {}
}
