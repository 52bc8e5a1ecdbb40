//! The executor: a few tasks on one core, and one way to wait (rule `split-phase`).
//!
//! It runs what is ready; when nothing is, it lets every watched channel be looked at a bounded number of times, then
//! once more with the peers' wake requests armed, and only then blocks in the CPU driver until an event or the next
//! timer. In a program with threads it is one of them: it gives way to the others before it looks in vain again, and
//! while it blocks they run ([`events::wait_event`]). In one without, it runs *disabled*: the CPU driver takes it up where it was, without an upcall.

use crate::cap::Core;
use crate::clock;
use crate::dispatch::Off;
use crate::thread::{events, yield_now};
use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::rc::Rc;
use alloc::sync::Arc;
use alloc::task::Wake;
use alloc::vec::Vec;
use core::cell::{Cell, RefCell};
use core::future::{Future, poll_fn};
use core::pin::Pin;
use core::sync::atomic::{AtomicU64, Ordering};
use core::task::{Context, Poll, Waker};
use core::time::Duration;
use skerry_abi::dispatcher::event;
use skerry_abi::{CoreId, HwId};
use skerry_urpc::Runtime;

/// Tasks at one time.
pub const MAX_TASKS: usize = 64;
/// How often channels are looked at in vain before the executor blocks.
pub const SPIN: u32 = 32;

type Task = Pin<Box<dyn Future<Output = ()>>>;

/// What wakers need, from whatever thread.
#[derive(Default)]
struct Ready {
    tasks: AtomicU64,
    sleeper: events::Sleeper,
}

struct TaskWaker {
    ready: Arc<Ready>,
    bit: u64,
}

impl Wake for TaskWaker {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }
    fn wake_by_ref(self: &Arc<Self>) {
        self.ready.tasks.fetch_or(self.bit, Ordering::SeqCst);
        self.ready.sleeper.nudge();
    }
}

#[derive(Default)]
struct Inner {
    tasks: RefCell<Vec<Option<Task>>>,
    wakers: RefCell<Vec<Waker>>,
    ready: Arc<Ready>,
    watchers: RefCell<Vec<Waker>>,
    timers: RefCell<Vec<(u64, Waker)>>,
    event_waiters: RefCell<Vec<Waker>>,
    events: Cell<u64>,
    arming: Cell<bool>,
    vain: Cell<u32>,
    bells: RefCell<BTreeMap<CoreId, (Core, HwId)>>,
}

impl Inner {
    /// Whoever waits in vain asks again each time: it is listed once.
    fn wait_for_event(&self, waker: &Waker) {
        let mut waiters = self.event_waiters.borrow_mut();
        if !waiters.iter().any(|listed| listed.will_wake(waker)) {
            waiters.push(waker.clone());
        }
    }
}

/// The executor of a domain. Copies are the same executor.
#[derive(Clone, Default)]
pub struct Executor(Rc<Inner>);

/// [`MAX_TASKS`] tasks are there already.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TooManyTasks;

impl Executor {
    /// One without tasks.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a task.
    ///
    /// # Errors
    /// [`TooManyTasks`].
    pub fn spawn(&self, task: impl Future<Output = ()> + 'static) -> Result<(), TooManyTasks> {
        let mut tasks = self.0.tasks.borrow_mut();
        let index = match tasks.iter().position(Option::is_none) {
            Some(index) => index,
            None if tasks.len() < MAX_TASKS => {
                let waker = TaskWaker { ready: self.0.ready.clone(), bit: 1 << tasks.len() };
                self.0.wakers.borrow_mut().push(Arc::new(waker).into());
                tasks.push(None);
                tasks.len() - 1
            }
            None => return Err(TooManyTasks),
        };
        tasks[index] = Some(Box::pin(task));
        self.0.ready.tasks.fetch_or(1 << index, Ordering::Relaxed);
        self.progress();
        Ok(())
    }

    /// Wakes `waker` whenever channels are to be looked at again.
    pub fn watch(&self, waker: &Waker) {
        self.0.watchers.borrow_mut().push(waker.clone());
    }

    /// Whether the executor is about to block: who polls a channel now must arm its wake request.
    pub fn is_arming(&self) -> bool {
        self.0.arming.get()
    }

    /// Something happened: blocking is put off.
    pub fn progress(&self) {
        self.0.vain.set(0);
    }

    /// Sleeps until the clock has reached `ticks`.
    pub async fn sleep_until(&self, ticks: u64) {
        poll_fn(|cx| {
            if clock::ticks() >= ticks {
                self.progress();
                return Poll::Ready(());
            }
            self.0.timers.borrow_mut().push((ticks, cx.waker().clone()));
            Poll::Pending
        })
        .await;
    }

    /// Sleeps for a while.
    pub async fn sleep(&self, duration: Duration) {
        self.sleep_until(clock::ticks().saturating_add(clock::span(duration))).await;
    }

    /// Wakes `waker` when events come next, whichever they are.
    pub fn on_event(&self, waker: &Waker) {
        self.0.wait_for_event(waker);
    }

    /// Waits for one of the events in `mask`; those that came.
    pub async fn event(&self, mask: u64) -> u64 {
        poll_fn(|cx| {
            let found = self.0.events.get() & mask;
            if found != 0 {
                self.0.events.set(self.0.events.get() & !found);
                self.progress();
                return Poll::Ready(found);
            }
            self.0.wait_for_event(cx.waker());
            Poll::Pending
        })
        .await
    }

    /// Waits for one of the events in `mask`, at most until the clock has reached `ticks`; those that came.
    pub async fn event_until(&self, mask: u64, ticks: u64) -> u64 {
        poll_fn(|cx| {
            let found = self.0.events.get() & mask;
            if found != 0 || clock::ticks() >= ticks {
                self.0.events.set(self.0.events.get() & !found);
                self.progress();
                return Poll::Ready(found);
            }
            self.0.wait_for_event(cx.waker());
            self.0.timers.borrow_mut().push((ticks, cx.waker().clone()));
            Poll::Pending
        })
        .await
    }

    /// Says how `core` is rung.
    pub fn add_bell(&self, core: CoreId, cap: Core, hw: HwId) {
        self.0.bells.borrow_mut().insert(core, (cap, hw));
    }

    /// Runs tasks until none is ready. Answers whether any task is left.
    pub fn run_ready(&self) -> bool {
        loop {
            let ready = self.0.ready.tasks.swap(0, Ordering::Relaxed);
            if ready == 0 {
                break;
            }
            for index in 0..MAX_TASKS {
                if ready >> index & 1 != 0 {
                    self.poll(index);
                }
            }
        }
        self.0.tasks.borrow().iter().any(Option::is_some)
    }

    fn poll(&self, index: usize) {
        // Taken out while it runs: it may spawn others.
        let Some(mut task) = self.0.tasks.borrow_mut().get_mut(index).and_then(Option::take) else { return };
        let Some(waker) = self.0.wakers.borrow().get(index).cloned() else { return };
        if task.as_mut().poll(&mut Context::from_waker(&waker)).is_pending() {
            self.0.tasks.borrow_mut()[index] = Some(task);
        }
    }

    fn wake_watchers(&self) {
        for waker in self.0.watchers.take() {
            waker.wake();
        }
    }

    /// Wakes whose time has come; the next deadline.
    fn run_timers(&self) -> Option<u64> {
        let mut timers = self.0.timers.borrow_mut();
        if timers.is_empty() {
            return None;
        }
        let now = clock::ticks();
        timers.retain(|(at, waker)| {
            let due = *at <= now;
            if due {
                waker.wake_by_ref();
            }
            !due
        });
        timers.iter().map(|(at, _)| *at).min()
    }

    /// Runs until no task is left.
    pub fn run(&self) {
        while self.run_ready() {
            let deadline = self.run_timers();
            if self.0.ready.tasks.load(Ordering::Relaxed) != 0 {
                continue;
            }
            let vain = self.0.vain.get();
            self.0.vain.set(vain + 1);
            if vain < SPIN && !self.0.watchers.borrow().is_empty() {
                skerry_arch::user::relax();
                yield_now();
                self.wake_watchers();
                continue;
            }
            self.0.arming.set(true);
            self.wake_watchers();
            self.run_ready();
            self.0.arming.set(false);
            if self.0.vain.get() != 0 {
                self.block(deadline.unwrap_or(0));
            }
        }
    }

    /// Blocks until an event or the deadline.
    fn block(&self, deadline: u64) {
        // Other cores' rings concern only those who told others how to ring.
        let bell = if self.0.bells.borrow().is_empty() { 0 } else { event::DOORBELL };
        let off = Off::enter();
        // Another thread may have woken a task just now, or does from now on.
        self.0.ready.sleeper.announce(&off);
        let came = if self.0.ready.tasks.load(Ordering::SeqCst) == 0 {
            events::wait_event(bell | event::ROOM | event::USER, deadline, &self.0.ready.sleeper)
        } else {
            0
        };
        drop(off);
        self.0.events.set(self.0.events.get() | came);
        if came != 0 {
            for waker in self.0.event_waiters.take() {
                waker.wake();
            }
        }
        self.0.vain.set(0);
        self.wake_watchers();
    }
}

impl Runtime for Executor {
    fn ring(&self, peer: CoreId) {
        if let Some((cap, hw)) = self.0.bells.borrow().get(&peer) {
            // A core that cannot be rung looks at its channels once in a bounded period.
            let _refused = cap.ring(*hw);
        }
    }

    fn wait(&self, waker: &Waker) {
        self.watch(waker);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tasks_run_to_their_end_and_may_spawn_others() {
        let exec = Executor::new();
        let count = Rc::new(Cell::new(0));
        let (inner, seen) = (exec.clone(), count.clone());
        exec.spawn(async move {
            for n in 1..=10 {
                let seen = seen.clone();
                inner.spawn(async move { seen.set(seen.get() + n) }).unwrap();
            }
        })
        .unwrap();
        assert!(!exec.run_ready());
        assert_eq!(count.get(), 55);
    }

    #[test]
    fn tasks_are_bounded_and_places_are_used_again() {
        let exec = Executor::new();
        for _ in 0..3 {
            for _ in 0..MAX_TASKS {
                exec.spawn(async {}).unwrap();
            }
            assert_eq!(exec.spawn(async {}), Err(TooManyTasks));
            exec.run_ready();
        }
    }

    #[test]
    fn a_watcher_is_polled_again_until_it_makes_progress() {
        let exec = Executor::new();
        let polls = Rc::new(Cell::new(0));
        let (inner, seen) = (exec.clone(), polls.clone());
        exec.spawn(poll_fn(move |cx| {
            seen.set(seen.get() + 1);
            if seen.get() == 5 {
                return Poll::Ready(());
            }
            inner.watch(cx.waker());
            Poll::Pending
        }))
        .unwrap();
        exec.run();
        assert_eq!(polls.get(), 5);
    }
}
