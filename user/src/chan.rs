//! A URPC channel, and how its peer is woken.

use crate::cap::{Core, Endpoint};
use crate::domain::Domain;
use crate::exec::Executor;
use crate::vspace::RW;
use core::cell::RefCell;
use core::future::poll_fn;
use core::task::Poll;
use skerry_abi::domain::Purpose;
use skerry_abi::{HwId, PAGE_SIZE};
use skerry_urpc::{Block, Channel, Layout, LayoutError, Message, RecvError, SendError, Transport};

/// The layout of channels whose blocks are one page each.
pub const PAGE_LAYOUT: Layout = Layout { slots: 32, stride: 64 };

/// Who is at the other end of a channel between domains of one core: the `detail` of a listed channel or endpoint.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u32)]
pub enum Peer {
    /// The first domain.
    Init = 1,
    /// The monitor of this core.
    Monitor = 2,
    /// The console driver.
    Console = 3,
    /// The shell.
    Shell = 4,
    /// The PCI domain.
    Pci = 5,
    /// A benchmark or other program that the monitor started.
    Program = 6,
    /// The process server of this core.
    Proc = 7,
    /// The monitor of this core, as the one who passes endpoints on; see [`remote`](crate::remote).
    Broker = 8,
}

/// How the peer is woken when it asks to be.
#[derive(Clone, Copy, Debug)]
pub enum Wake {
    /// It looks by itself, once in a bounded period.
    Never,
    /// By an endpoint, on this core.
    Endpoint(Endpoint),
    /// By the doorbell of another core.
    Core(Core, HwId),
}

/// One end of a channel.
pub struct Chan {
    channel: Channel,
    wake: Wake,
}

impl Chan {
    /// A channel in zeroed blocks.
    ///
    /// # Errors
    /// [`LayoutError`].
    pub fn new(inbox: Block, outbox: Block, layout: Layout, wake: Wake) -> Result<Self, LayoutError> {
        Ok(Self { channel: Channel::new(inbox, outbox, layout)?, wake })
    }

    /// The channel to `peer` that the spawner listed.
    pub fn listed(domain: &mut Domain, peer: Peer) -> Option<Self> {
        let is_it = |detail: u64| detail as u32 == peer as u32;
        let cap = domain.info.caps_for(Purpose::Channel).find(|cap| is_it(cap.detail))?;
        let wake =
            domain.listed(Purpose::Endpoint, peer as u64).map(|cap| Wake::Endpoint(Endpoint(cap.cptr)));
        let side = cap.detail >> 32 & 1;
        let view = domain.map(cap.cptr, cap.len, RW).ok()?;
        let inbox = view.block(side * PAGE_SIZE, PAGE_SIZE).ok()?;
        let outbox = view.block((1 - side) * PAGE_SIZE, PAGE_SIZE).ok()?;
        Self::new(inbox, outbox, PAGE_LAYOUT, wake.unwrap_or(Wake::Never)).ok()
    }

    /// Wakes the peer if it asked for it. To be called after sending, and after receiving.
    #[inline]
    pub fn kick(&self) {
        if self.channel.peer_wants_wake() {
            self.ring();
        }
    }

    /// Wakes the peer if it waits for the room that the message just received made. To be called after receiving one,
    /// in place of [`kick`](Self::kick).
    #[inline]
    pub fn kick_for_room(&self) {
        if self.channel.returned_credit() {
            self.kick();
        }
    }

    #[cold]
    fn ring(&self) {
        // A refusal means that the peer is gone; whoever waits for it finds out in its own time.
        let _refused = match self.wake {
            Wake::Never => Ok(()),
            Wake::Endpoint(endpoint) => endpoint.signal(),
            Wake::Core(core, hw) => core.ring(hw),
        };
    }
}

impl Transport for Chan {
    #[inline]
    fn try_send(&mut self, message: &Message) -> Result<(), SendError> {
        self.channel.try_send(message)
    }

    #[inline]
    fn try_recv(&mut self) -> Result<Option<Message>, RecvError> {
        self.channel.try_recv()
    }

    fn peer_wants_wake(&self) -> bool {
        self.channel.peer_wants_wake()
    }

    fn arm_wake(&mut self) {
        self.channel.arm_wake();
    }

    fn disarm_wake(&mut self) {
        self.channel.disarm_wake();
    }
}

/// A channel for tasks: any number may send, one at a time should receive.
pub struct AsyncChan {
    chan: RefCell<Chan>,
    exec: Executor,
}

impl AsyncChan {
    /// Lets tasks of `exec` use `chan`.
    pub fn new(chan: Chan, exec: &Executor) -> Self {
        Self { chan: RefCell::new(chan), exec: exec.clone() }
    }

    /// The next message.
    ///
    /// # Errors
    /// [`RecvError`]: the channel is closed for good.
    pub async fn recv(&self) -> Result<Message, RecvError> {
        poll_fn(|cx| {
            let mut chan = self.chan.borrow_mut();
            let mut found = chan.try_recv();
            if let Ok(None) = found {
                if self.exec.is_arming() {
                    chan.arm_wake();
                    found = chan.try_recv();
                } else {
                    chan.disarm_wake();
                }
            }
            match found {
                Ok(None) => {
                    self.exec.watch(cx.waker());
                    Poll::Pending
                }
                Ok(Some(message)) => {
                    chan.kick();
                    self.exec.progress();
                    Poll::Ready(Ok(message))
                }
                Err(error) => Poll::Ready(Err(error)),
            }
        })
        .await
    }

    /// Sends, waiting while the channel is full.
    ///
    /// # Errors
    /// [`SendError::Closed`].
    pub async fn send(&self, message: &Message) -> Result<(), SendError> {
        poll_fn(|cx| {
            let mut chan = self.chan.borrow_mut();
            let mut sent = chan.try_send(message);
            if sent == Err(SendError::Full) && self.exec.is_arming() {
                chan.arm_wake();
                sent = chan.try_send(message);
            }
            if sent == Err(SendError::Full) {
                self.exec.watch(cx.waker());
                return Poll::Pending;
            }
            chan.kick();
            self.exec.progress();
            Poll::Ready(sent)
        })
        .await
    }
}
