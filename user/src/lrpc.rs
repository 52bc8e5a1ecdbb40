//! Messages between domains of one core (paper §4.5): rings that nobody waits to fill, and calls that hand the core over.
//!
//! A domain that receives makes [`Rings`] of its dispatcher page's frame, in it a [`Ring`] for each kind of peer, and gives
//! out endpoints, each with a badge of its own ([`Ring::mint`]). Tasks [`recv`](Ring::recv) and [`send_when_room`]; a
//! plain server loops over [`Server::reply_wait`]. A call blocks the whole dispatcher, all its tasks and threads; where they
//! are to run on, see [`pair`](crate::pair).

use crate::cap::{Endpoint, ROOT, SELF};
use crate::clock;
use crate::domain::Domain;
use crate::exec::Executor;
use crate::mem::Memory;
use crate::sys::{invoke, invoke_wide};
use crate::thread::events::{Sleeper, wait_event};
use crate::vspace::{Mapping, RW};
use alloc::vec::Vec;
use core::future::poll_fn;
use core::sync::atomic::Ordering::{Relaxed, SeqCst};
use core::sync::atomic::{AtomicU64, compiler_fence};
use core::task::Poll;
use skerry_abi::domain::slot;
use skerry_abi::lrpc::{FIRST_OFFSET, HAND_OVER, LINE, WANTS_ROOM, wake};
use skerry_abi::op::halves;
use skerry_abi::{CPtr, Error, Op, Rights};

/// The room for rings: what is left of the frame of the dispatcher page.
pub struct Rings {
    view: Mapping,
    next: u64,
    end: u64,
}

impl Rings {
    /// Maps it. Once in a domain.
    ///
    /// # Errors
    /// What the CPU driver answers.
    pub fn new(domain: &mut Domain) -> Result<Self, Error> {
        let end = crate::cap::identify(slot::PAGE)?.len;
        // The spawner has mapped the one in `slot::PAGE`, and each slot maps once.
        let frame = domain.mem.slot()?;
        ROOT.copy_in(slot::PAGE, frame, Rights::all())?;
        Ok(Self { view: domain.map(frame, end, RW)?, next: FIRST_OFFSET, end })
    }

    /// Makes a ring of `count` messages, a power of two, that raises `events`: bits that no other ring raises.
    ///
    /// # Errors
    /// What the CPU driver answers: [`Error::BadArgument`] if the frame has no room left.
    pub fn make(&mut self, mem: &mut Memory, count: u32, events: u64) -> Result<Ring, Error> {
        let to = mem.slot()?;
        let made = SELF.ring(events, to, self.next, count.into(), 0);
        let (endpoint, number) = made.inspect_err(|_| mem.give_slot(to))?;
        self.lay_out(endpoint, number, count, events)
    }
}

impl Rings {
    /// The ring of `count` messages that the spawner made first of all, before anything else here: its endpoints are the
    /// spawner's.
    ///
    /// # Errors
    /// [`Error::Full`] if the frame cannot hold it.
    pub fn adopt(&mut self, count: u32, events: u64) -> Result<Ring, Error> {
        self.lay_out(Endpoint(CPtr::NULL), 0, count, events)
    }

    fn lay_out(&mut self, endpoint: Endpoint, number: u64, count: u32, events: u64) -> Result<Ring, Error> {
        let (at, bytes) = (self.next, (u64::from(count) + 1) * LINE);
        if self.end - at < bytes {
            return Err(Error::Full);
        }
        self.next += bytes;
        let lines = (1..=u64::from(count)).map(|n| self.view.line(at + n * LINE)).collect();
        Ok(Ring { endpoint, number, events, header: self.view.line(at), lines, tail: 0 })
    }
}

/// A message that came.
pub use skerry_abi::lrpc::Message;

/// A ring of this dispatcher.
pub struct Ring {
    endpoint: Endpoint,
    number: u64,
    events: u64,
    header: &'static [AtomicU64; 8],
    lines: Vec<&'static [AtomicU64; 8]>,
    tail: u32,
}

impl Ring {
    /// Its endpoint without a badge: for interrupts, for signals, and to mint others.
    pub const fn endpoint(&self) -> Endpoint {
        self.endpoint
    }

    /// An endpoint whose messages carry `badge`, which is not 0.
    ///
    /// # Errors
    /// What the CPU driver answers.
    pub fn mint(&self, mem: &mut Memory, badge: u64) -> Result<Endpoint, Error> {
        let to = mem.slot()?;
        self.endpoint.mint(to, badge).inspect_err(|_| mem.give_slot(to))
    }

    /// Takes back every other capability for this ring, and drops what came through them.
    ///
    /// # Errors
    /// What the CPU driver answers.
    pub fn revoke(&mut self) -> Result<(), Error> {
        ROOT.revoke(self.endpoint.0)?;
        while self.try_recv().is_some() {}
        Ok(())
    }

    /// The events that it raises.
    pub(crate) const fn events(&self) -> u64 {
        self.events
    }

    /// The next capability that comes, with a message or a call, is to land in the free slot `at`.
    pub fn receive_into(&self, at: CPtr) {
        self.header[2].store(at.0.into(), Relaxed);
    }

    /// Takes the next message.
    #[inline]
    pub fn try_recv(&mut self) -> Option<Message> {
        // One core, and the CPU driver wrote it: no order is needed.
        if self.header[0].load(Relaxed) as u32 == self.tail {
            return None;
        }
        let line = self.lines[self.tail as usize & (self.lines.len() - 1)];
        let first = line[0].load(Relaxed);
        let mut message = Message::default();
        (message.kind, message.cap) = (first as u32, CPtr((first >> 32) as u32));
        message.badge = line[1].load(Relaxed);
        for (word, from) in message.words.iter_mut().zip(&line[2..]) {
            *word = from.load(Relaxed);
        }
        self.tail = self.tail.wrapping_add(1);
        self.header[1].store(self.tail.into(), Relaxed);
        if self.header[3].load(Relaxed) & WANTS_ROOM != 0 {
            self.tell_room();
        }
        Some(message)
    }

    /// Takes the next message of an interrupt; how often its line struck. Of a ring of two messages or more, in which only
    /// that line's are.
    ///
    /// It is taken first and read after: until then the CPU driver raises its count. What strikes later is another message,
    /// in another place.
    pub(crate) fn take_count(&mut self) -> Option<u64> {
        if self.header[0].load(Relaxed) as u32 == self.tail {
            return None;
        }
        let line = self.lines[self.tail as usize & (self.lines.len() - 1)];
        self.tail = self.tail.wrapping_add(1);
        self.header[1].store(self.tail.into(), Relaxed);
        // An interrupt may come between any two instructions, but on this core.
        compiler_fence(SeqCst);
        Some(line[3].load(Relaxed))
    }

    #[cold]
    fn tell_room(&self) {
        // It is this dispatcher's ring: it cannot be refused.
        let _refused = invoke(SELF.0, Op::Room, [self.number, 0, 0, 0, 0]);
    }

    /// The next message, for a thread: others run until it comes, and if they always want
    /// to, it is seen when the slice ends. `None` if the clock reaches `deadline` first (0: never).
    pub fn wait(&mut self, deadline: u64) -> Option<Message> {
        let sleeper = Sleeper::default();
        loop {
            let message = self.try_recv();
            if message.is_some() || (deadline != 0 && clock::ticks() >= deadline) {
                return message;
            }
            wait_event(self.events, deadline, &sleeper);
        }
    }

    /// The next message, for a task of `exec`.
    pub async fn recv(&mut self, exec: &Executor) -> Message {
        loop {
            if let Some(message) = self.try_recv() {
                exec.progress();
                return message;
            }
            exec.event(self.events).await;
        }
    }
}

fn raw(cap: Option<CPtr>) -> u32 {
    cap.map_or(0, |cap| cap.0)
}

const fn cap_of(word: u64) -> Option<CPtr> {
    if word as u32 == 0 { None } else { Some(CPtr(word as u32)) }
}

/// Sends four words and a copy of a capability. Does not wait.
///
/// # Errors
/// [`Error::Full`]: event [`ROOM`](skerry_abi::dispatcher::event::ROOM) says when to try again. [`Error::PeerDied`].
/// [`Error::NoReceiveSlot`]: nothing was sent.
#[inline]
pub fn send(to: Endpoint, words: [u64; 4], cap: Option<CPtr>) -> Result<(), Error> {
    let [a, b, c, d] = words;
    invoke(to.0, Op::Send, [a, b, c, d, raw(cap).into()]).map(drop)
}

/// The same, and the receiver has the core at once if it waits.
///
/// # Errors
/// See [`send`].
#[inline]
pub fn send_over(to: Endpoint, words: [u64; 4], cap: Option<CPtr>) -> Result<(), Error> {
    let [a, b, c, d] = words;
    invoke(to.0, Op::Send, [a, b, c, d, halves(raw(cap), HAND_OVER)]).map(drop)
}

/// Sends, waiting while the ring is full.
///
/// # Errors
/// See [`send`]; not [`Error::Full`].
pub async fn send_when_room(
    exec: &Executor,
    to: Endpoint,
    words: [u64; 4],
    cap: Option<CPtr>,
) -> Result<(), Error> {
    poll_fn(|cx| match send(to, words, cap) {
        Err(Error::Full) => {
            exec.on_event(cx.waker());
            Poll::Pending
        }
        sent => {
            exec.progress();
            Poll::Ready(sent)
        }
    })
    .await
}

/// What a call says or is answered.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Words {
    /// Four words.
    pub words: [u64; 4],
    /// Going out: the capability to copy. Coming in: where it landed.
    pub cap: Option<CPtr>,
}

/// Calls, and waits for the answer, with the whole dispatcher: the core is the server's meanwhile. A capability in it lands in the free slot `receive`.
///
/// # Errors
/// [`Error::PeerDied`]; [`Error::NoReceiveSlot`]: the server has no place for the capability.
#[inline]
pub fn call(to: Endpoint, say: &Words, receive: Option<CPtr>) -> Result<Words, Error> {
    let [a, b, c, d] = say.words;
    let caps = halves(raw(say.cap), raw(receive));
    let (_, [a, b, c, d, cap]) = invoke_wide(to.0, Op::Call, [a, b, c, d, caps])?;
    Ok(Words { words: [a, b, c, d], cap: cap_of(cap) })
}

/// What ended a server's wait.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Woken {
    /// A call, to the endpoint with this badge. Its caller waits until the next [`Server::reply_wait`].
    Call(u64, Words),
    /// Events came.
    Events(u64),
}

/// This dispatcher, as one that answers calls to any of its rings' endpoints.
#[derive(Clone, Copy, Debug)]
pub struct Server;

impl Server {
    /// Answers the caller that was heard last, if it waits still, and waits for the next or for one of `events`, which lie in
    /// the lowest 32 bits. With [`NOW`](skerry_abi::dispatcher::event::NOW) among them it only looks: so an executor
    /// answers calls, whose rings' events tell of them.
    ///
    /// # Errors
    /// What the CPU driver answers to the capability in the answer: then nothing was answered.
    #[inline]
    pub fn reply_wait(self, answer: &Words, events: u64) -> Result<Woken, Error> {
        let [a, b, c, d] = answer.words;
        let last = halves(raw(answer.cap), events as u32);
        let (value, [a, b, c, d, last]) = invoke_wide(SELF.0, Op::ReplyWait, [a, b, c, d, last])?;
        Ok(if (last >> 32) as u32 == wake::CALL {
            Woken::Call(value, Words { words: [a, b, c, d], cap: cap_of(last) })
        } else {
            Woken::Events(value)
        })
    }
}
