//! Tasks and threads on one dispatcher.

use crate::basic::{made, small};
use crate::report::{Outcome, Report, same};
use alloc::rc::Rc;
use alloc::sync::Arc;
use core::cell::Cell;
use core::future::poll_fn;
use core::sync::atomic::{AtomicU32, Ordering::Relaxed};
use core::task::{Poll, Waker};
use core::time::Duration;
use skerry_user::cap::SELF;
use skerry_user::clock;
use skerry_user::exec::Executor;
use skerry_user::thread::{self, Mutex, block_on};

pub fn run(report: &mut Report) {
    report.case("an executor sleeps while threads work", sleeping_tasks);
    report.case("a thread wakes a task", woken_task);
    report.case("a thread blocks on a future", blocking);
    report.case("an endpoint wakes a task", event);
}

fn sleeping_tasks() -> Outcome {
    let handle = made(small("executor", || {
        let exec = Executor::new();
        let sum = Rc::new(Cell::new(0));
        for ms in [20, 10, 30] {
            let (inner, sum) = (exec.clone(), sum.clone());
            exec.spawn(async move {
                let until = clock::ticks() + clock::span(Duration::from_millis(ms));
                inner.sleep_until(until).await;
                let early = clock::ticks() < until;
                sum.set(sum.get() + ms + u64::from(early) * 1000);
            })
            .expect("few tasks");
        }
        exec.run();
        sum.get()
    }))?;
    let mut worked = 0u64;
    while !handle.is_finished() {
        worked += 1;
        thread::yield_now();
    }
    same((handle.join(), worked > 0), (60, true))
}

/// A flag that one sets and another waits for as a future.
#[derive(Default)]
struct Flag {
    set: AtomicU32,
    waker: Mutex<Option<Waker>>,
}

impl Flag {
    fn set(&self) {
        self.set.store(1, Relaxed);
        if let Some(waker) = self.waker.lock().take() {
            waker.wake();
        }
    }

    async fn wait(&self) {
        poll_fn(|cx| {
            *self.waker.lock() = Some(cx.waker().clone());
            if self.set.load(Relaxed) == 1 { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
    }
}

fn woken_task() -> Outcome {
    let flag = Arc::new(Flag::default());
    let theirs = flag.clone();
    let handle = made(small("executor", move || {
        let exec = Executor::new();
        let waits = async move { theirs.wait().await };
        exec.spawn(waits).expect("one task");
        exec.run();
    }))?;
    for _ in 0..100 {
        thread::yield_now();
    }
    same(handle.is_finished(), false)?;
    flag.set();
    handle.join();
    Ok(())
}

fn blocking() -> Outcome {
    let flag = Arc::new(Flag::default());
    let theirs = flag.clone();
    let handle = made(small("blocks", move || {
        block_on(async {
            theirs.wait().await;
            7
        })
    }))?;
    thread::yield_now();
    same(handle.is_finished(), false)?;
    flag.set();
    same(handle.join(), 7)
}

fn event() -> Outcome {
    const BIT: u64 = 1 << 20;
    let endpoint = thread::domain().mem.endpoint(SELF, BIT).map_err(|error| alloc::format!("{error}"))?;
    let handle = made(small("executor", || {
        let exec = Executor::new();
        let (inner, came) = (exec.clone(), Rc::new(Cell::new(0)));
        let seen = came.clone();
        exec.spawn(async move { seen.set(inner.event(BIT).await) }).expect("one task");
        exec.run();
        came.get()
    }))?;
    for _ in 0..100 {
        thread::yield_now();
    }
    same(handle.is_finished(), false)?;
    endpoint.signal().map_err(|error| alloc::format!("{error}"))?;
    same(handle.join(), BIT)
}
