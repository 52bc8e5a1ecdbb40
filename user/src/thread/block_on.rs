//! A thread that waits for a future.

use super::futex;
use alloc::sync::Arc;
use alloc::task::Wake;
use core::pin::pin;
use core::sync::atomic::{AtomicU32, Ordering};
use core::task::{Context, Poll};

/// 1: woken since it was last polled.
struct Woken(AtomicU32);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.0.store(1, Ordering::Release);
        futex::wake(&self.0, 1);
    }
}

/// Runs a future on this thread, which blocks while there is nothing to do for it; other threads run meanwhile.
pub fn block_on<T>(future: impl Future<Output = T>) -> T {
    let mut future = pin!(future);
    let woken = Arc::new(Woken(AtomicU32::new(0)));
    let waker = woken.clone().into();
    let mut context = Context::from_waker(&waker);
    loop {
        if let Poll::Ready(value) = future.as_mut().poll(&mut context) {
            return value;
        }
        while woken.0.swap(0, Ordering::Acquire) == 0 {
            // Woken, or the word has changed meanwhile: either way it says so.
            let _why = futex::wait(&woken.0, 0, 0);
        }
    }
}
