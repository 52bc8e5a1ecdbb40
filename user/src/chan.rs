//! A URPC channel, and how its peer is woken.

use crate::cap::{Core, Endpoint};
use crate::domain::Domain;
use crate::exec::Executor;
use crate::vspace::RW;
use core::cell::{Cell, RefCell};
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
    /// The knowledge base of this island.
    Skb = 9,
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
    /// Whether something was done since the last [`kick`](Self::kick) that the peer may sleep for. Without it, two ends
    /// that look at each other's channels before they sleep would wake each other for ever, with nothing to say.
    owes: Cell<bool>,
}

impl Chan {
    /// A channel in zeroed blocks.
    ///
    /// # Errors
    /// [`LayoutError`].
    pub fn new(inbox: Block, outbox: Block, layout: Layout, wake: Wake) -> Result<Self, LayoutError> {
        Ok(Self { channel: Channel::new(inbox, outbox, layout)?, wake, owes: Cell::new(false) })
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

    /// Wakes the peer if it asked for it, and something was sent, or room made, since the last call. To be called after
    /// sending, and after receiving; any number of either may come before.
    #[inline]
    pub fn kick(&self) {
        if self.owes.replace(false) && self.channel.peer_wants_wake() {
            self.ring();
        }
    }

    /// How many messages were sent of which the peer has not said that it took them, as [`Channel::untaken`].
    pub fn untaken(&self) -> usize {
        self.channel.untaken() as usize
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
        self.channel.try_send(message)?;
        self.owes.set(true);
        Ok(())
    }

    #[inline]
    fn try_recv(&mut self) -> Result<Option<Message>, RecvError> {
        let found = self.channel.try_recv();
        if matches!(found, Ok(Some(_))) && self.channel.returned_credit() {
            self.owes.set(true);
        }
        found
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cap::SELF;
    use crate::spawn::CHANNEL_EVENT;
    use crate::testing::{boot, calls};
    use skerry_urpc::ring::Word;

    /// Both ends of a channel whose peers are woken by an invocation.
    fn pair() -> (Chan, Chan) {
        let mut domain = boot();
        let wake = Wake::Endpoint(domain.mem.endpoint(SELF, CHANNEL_EVENT).unwrap());
        let block = || {
            let words: Vec<Word> = (0..PAGE_SIZE / 8).map(|_| Word::new(0)).collect();
            Block::from_words(words.leak())
        };
        let (a, b) = (block(), block());
        let new = |inbox, outbox| Chan::new(inbox, outbox, PAGE_LAYOUT, wake).unwrap();
        (new(a, b), new(b, a))
    }

    /// How often `chan` rang.
    fn rings(chan: &Chan) -> u64 {
        let before = calls();
        chan.kick();
        calls() - before
    }

    const MESSAGE: Message = Message { words: [1; 7], kind: 1, flags: 0 };

    #[test]
    fn two_ends_that_have_nothing_to_say_let_each_other_sleep() {
        let (mut left, mut right) = pair();
        left.arm_wake();
        right.arm_wake();
        assert_eq!((left.try_recv(), right.try_recv()), (Ok(None), Ok(None)));
        assert_eq!((rings(&left), rings(&right)), (0, 0));
        left.try_send(&MESSAGE).unwrap();
        assert_eq!((rings(&left), rings(&left)), (1, 0), "once for what was sent");
    }

    #[test]
    fn a_sleeper_is_woken_for_room_when_there_is_more_of_it() {
        let (mut left, mut right) = pair();
        while left.try_send(&MESSAGE).is_ok() {}
        left.arm_wake();
        let woken = (0..PAGE_LAYOUT.slots).filter(|_| {
            assert_eq!(right.try_recv(), Ok(Some(MESSAGE)));
            rings(&right) == 1
        });
        assert_eq!(woken.count(), 4, "for each quarter of the slots");
    }
}
