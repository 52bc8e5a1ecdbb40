//! A channel with a doorbell: sending and receiving as `async` functions (rule `split-phase`).
//!
//! # Why no wake-up is lost
//!
//! Sleeper and waker each write one thing and then read what the other writes (Dekker's pattern):
//!
//! | receiver, before it sleeps | sender, after it sent |
//! | --- | --- |
//! | store *wake me* = 1 | store the slot's last word |
//! | fence, sequentially consistent | fence, sequentially consistent |
//! | load the slot's last word | load *wake me* |
//!
//! One of the two fences comes first in their single order, so what was stored before it is seen after the other: either
//! the receiver finds the message, or the sender finds the request and rings. Acquire and release do not give that: a
//! store may wait in a store buffer past a later load, on both ISAs. A ring between the receiver's look and its sleep is
//! kept by the doorbell, which is a pending event and no edge. Waiting for room to send is the same, with the credit
//! line in the place of the slot.

use crate::message::Message;
use crate::runtime::Runtime;
use crate::transport::{RecvError, SendError, Transport};
use core::future::poll_fn;
use core::task::Poll;
use skerry_hal::CoreId;

/// A transport, its doorbell, and who is at the other end.
pub struct Port<T, R> {
    transport: T,
    runtime: R,
    peer: CoreId,
    armed: bool,
}

impl<T: Transport, R: Runtime> Port<T, R> {
    /// A port to `peer`.
    pub const fn new(transport: T, runtime: R, peer: CoreId) -> Self {
        Self { transport, runtime, peer, armed: false }
    }

    /// The core at the other end.
    pub const fn peer(&self) -> CoreId {
        self.peer
    }

    /// What carries the messages.
    pub const fn transport(&mut self) -> &mut T {
        &mut self.transport
    }

    /// Rings if the peer asked for it. The `async` functions do; whoever uses the transport itself must.
    pub fn kick(&self) {
        if self.transport.peer_wants_wake() {
            self.runtime.ring(self.peer);
        }
    }

    /// The next message. Dropped before it is ready, it loses none.
    pub async fn recv(&mut self) -> Result<Message, RecvError> {
        let result = self.sleep_until(|transport| transport.try_recv().transpose()).await;
        // We may have returned the credit that the peer waits for.
        self.kick();
        result
    }

    /// Sends, when there is room.
    pub async fn send(&mut self, message: &Message) -> Result<(), SendError> {
        let result = self
            .sleep_until(|transport| match transport.try_send(message) {
                Err(SendError::Full) => None,
                result => Some(result),
            })
            .await;
        self.kick();
        result
    }

    /// Waits until `step` gives something.
    async fn sleep_until<O>(&mut self, mut step: impl FnMut(&mut T) -> Option<O>) -> O {
        poll_fn(|context| {
            let mut done = step(&mut self.transport);
            if done.is_none() {
                self.runtime.wait(context.waker());
                self.transport.arm_wake();
                self.armed = true;
                // What came before the peer could see the request comes without a ring.
                done = step(&mut self.transport);
            }
            match done {
                Some(done) => {
                    if core::mem::take(&mut self.armed) {
                        self.transport.disarm_wake();
                    }
                    Poll::Ready(done)
                }
                None => Poll::Pending,
            }
        })
        .await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ring::{Block, Layout, test_words};
    use crate::{Channel, IslandId};
    use core::cell::RefCell;
    use core::pin::pin;
    use core::task::{Context, Waker};
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU32, Ordering};

    #[derive(Default)]
    struct Count(AtomicU32);

    impl std::task::Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// A doorbell that wakes whoever waits at once.
    #[derive(Default)]
    struct Bell(RefCell<Vec<Waker>>);

    impl Runtime for &Bell {
        fn ring(&self, _: CoreId) {
            self.0.borrow_mut().drain(..).for_each(Waker::wake);
        }
        fn wait(&self, waker: &Waker) {
            self.0.borrow_mut().push(waker.clone());
        }
    }

    fn ports(bell: &Bell) -> (Port<Channel, &Bell>, Port<Channel, &Bell>) {
        let layout = Layout { slots: 4, stride: 64 };
        let [a, b] = [(), ()].map(|()| Block::from_words(test_words(layout.block_bytes())));
        let port = |inbox, outbox| {
            let channel = Channel::new(inbox, outbox, layout).unwrap();
            Port::new(channel, bell, CoreId::new(IslandId(0), 0))
        };
        (port(a, b), port(b, a))
    }

    #[test]
    fn a_sleeping_receiver_is_woken_by_one_ring() {
        let bell = Bell::default();
        let (mut left, mut right) = ports(&bell);
        let count = Arc::new(Count::default());
        let waker = count.clone().into();
        let mut context = Context::from_waker(&waker);
        let message = Message { kind: 7, ..Message::default() };
        {
            let mut receive = pin!(left.recv());
            assert!(receive.as_mut().poll(&mut context).is_pending());
            assert!(pin!(right.send(&message)).poll(&mut context).is_ready());
            assert_eq!(count.0.load(Ordering::Relaxed), 1);
            assert_eq!(receive.as_mut().poll(&mut context), Poll::Ready(Ok(message)));
        }
        assert!(pin!(right.send(&message)).poll(&mut context).is_ready());
        assert_eq!(count.0.load(Ordering::Relaxed), 1, "nobody sleeps, nobody rings");
    }

    #[test]
    fn a_sender_without_room_is_woken_by_the_credit() {
        let bell = Bell::default();
        let (mut left, mut right) = ports(&bell);
        let count = Arc::new(Count::default());
        let waker = count.clone().into();
        let mut context = Context::from_waker(&waker);
        let message = Message::default();
        for _ in 0..4 {
            assert_eq!(pin!(left.send(&message)).poll(&mut context), Poll::Ready(Ok(())));
        }
        let mut send = pin!(left.send(&message));
        assert!(send.as_mut().poll(&mut context).is_pending());
        assert_eq!(pin!(right.recv()).poll(&mut context), Poll::Ready(Ok(message)));
        assert_eq!(count.0.load(Ordering::Relaxed), 1);
        assert_eq!(send.as_mut().poll(&mut context), Poll::Ready(Ok(())));
    }
}
