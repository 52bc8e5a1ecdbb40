//! Capabilities that other cores hold, too (paper §4.7): sharing them, and what then needs the others' agreement. A domain
//! asks the monitor of its core, which sees to the rest.
//!
//! ```text
//! receiver: Agent::join → offer a slot → tells its address by any channel … receive: the slot is full
//! sender:   Agent::join → share(cap, rights, address) → done(ticket)
//! ```
//!
//! A program need not know whether anything is held elsewhere: [`retype`](Agent::retype), [`revoke`](Agent::revoke) and
//! [`revoke_made`](Agent::revoke_made) try it with the own CPU driver, and only where that answers `Remote` or `Busy` does the
//! monitor hear of it. Everything returns at once (rule `split-phase`) with a [`Ticket`], to be waited for by a task
//! ([`done`](Agent::done)) or a thread ([`wait`](Agent::wait)); many may be under way.

use crate::cap::{self, Endpoint, Make, ROOT};
use crate::domain::Domain;
use crate::exec::Executor;
use crate::lrpc::{Message, Ring, send};
use crate::remote::{Broker, until_room};
use alloc::collections::{BTreeMap, VecDeque};
use core::cell::RefCell;
use core::fmt;
use core::task::Poll;
use skerry_abi::domain::slot;
use skerry_abi::{CPtr, CoreId, Error, PAGE_SIZE, Rights};
pub use skerry_urpc::formats::Refusal;
use skerry_urpc::formats::share::{Ask, JOIN, Say};
pub use skerry_urpc::formats::share::{MAX_OFFERED, MAX_TICKETS};

/// Where a domain is reached by those who share with it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Address {
    /// Its core.
    pub core: CoreId,
    /// Its number there.
    pub number: u32,
}

/// Why something was not done. Nothing has changed then, unless it says [`TimedOut`](Refusal::TimedOut): that nobody knows.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ShareError {
    /// The own CPU driver's answer.
    Kernel(Error),
    /// The monitors'.
    Refused(Refusal),
}

impl From<Error> for ShareError {
    fn from(error: Error) -> Self {
        Self::Kernel(error)
    }
}

impl From<Refusal> for ShareError {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

impl fmt::Display for ShareError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Kernel(error) => error.fmt(f),
            Self::Refused(refusal) => refusal.fmt(f),
        }
    }
}

impl core::error::Error for ShareError {}

/// Something that was begun.
#[derive(PartialEq, Eq, Debug)]
#[must_use = "it may fail"]
pub enum Ticket {
    /// It was done here: nobody else has a say.
    Done,
    /// The monitors are at it.
    UnderWay(u16),
}

impl Ticket {
    /// Whether others had to be asked.
    pub const fn is_remote(&self) -> bool {
        matches!(self, Self::UnderWay(_))
    }
}

struct Inner {
    ring: Ring,
    last: u16,
    under_way: usize,
    settled: BTreeMap<u16, Result<(), Refusal>>,
    arrived: VecDeque<CPtr>,
}

/// What this domain shares by.
pub struct Agent {
    to: Endpoint,
    address: Address,
    inner: RefCell<Inner>,
}

impl Agent {
    /// Joins, by a ring that nothing else comes to. Blocks the dispatcher, for a moment.
    ///
    /// # Errors
    /// [`ShareError`]; [`Error::EmptySlot`]: the spawner has not listed the monitor.
    pub fn join(domain: &mut Domain, mut ring: Ring) -> Result<Self, ShareError> {
        let broker = Broker::listed(domain).ok_or(Error::EmptySlot)?.endpoint();
        let answers = ring.mint(&mut domain.mem, 1)?;
        let to = domain.mem.slot().map_err(Error::from)?;
        ring.receive_into(to);
        until_room(|| patient(send(broker, [JOIN.into(), 0, 0, 0], Some(answers.0))))?;
        let number = loop {
            let said = ring.wait(0).and_then(|message| Say::from_words(&message.words));
            if let Some(Say::Joined(number)) = said {
                break number?;
            }
        };
        domain.mem.delete(answers.0).map_err(Error::from)?;
        let to = Endpoint(to);
        until_room(|| patient(send(to, Ask::Space.words(), Some(slot::ROOT))))?;
        let (settled, arrived) = (BTreeMap::new(), VecDeque::new());
        let inner = RefCell::new(Inner { ring, last: 0, under_way: 0, settled, arrived });
        Ok(Self { to, address: Address { core: domain.info.core, number }, inner })
    }

    /// Where others reach this domain.
    pub const fn address(&self) -> Address {
        self.address
    }

    /// What comes next is to go to this free slot; at most [`MAX_OFFERED`] are kept.
    ///
    /// # Errors
    /// What the CPU driver answers; [`Error::Full`]: try again when there is room.
    pub fn offer(&self, slot: CPtr) -> Result<(), Error> {
        send(self.to, Ask::Offer { slot: slot.0 }.words(), None)
    }

    /// The slot of a capability that has come, if one has.
    pub fn arrived(&self) -> Option<CPtr> {
        let mut inner = self.inner.borrow_mut();
        inner.hear();
        inner.arrived.pop_front()
    }

    /// The slot of the next capability that comes, for a task.
    pub async fn receive(&self, exec: &Executor) -> CPtr {
        self.until(exec, Self::arrived).await
    }

    /// The same, for a thread.
    pub fn receive_waiting(&self) -> CPtr {
        self.wait_until(Self::arrived)
    }

    /// Has a copy with at most `rights` made on the receiver's core, for the receiver.
    ///
    /// # Errors
    /// [`ShareError`], now or by the ticket: [`Refusal::MayNotCross`], [`Refusal::NoCap`] (or not with those rights),
    /// [`Refusal::NotFound`] (no such receiver), [`Refusal::Busy`] (it takes none at the moment), [`Refusal::Lost`], …
    pub fn share(&self, cap: CPtr, rights: Rights, to: Address) -> Result<Ticket, ShareError> {
        let (rights, whom) = (rights.bits(), to.number);
        self.ask(|ticket| Ask::Transfer { ticket, cap: cap.0, rights, to: to.core, whom })
    }

    /// Makes objects out of `cap`; the first goes to `dest`. Offset and length in whole pages where others have a say.
    ///
    /// # Errors
    /// [`ShareError`], now or by the ticket: [`Refusal::Occupied`]: some core made something else of that memory first.
    pub fn retype(&self, cap: CPtr, make: &Make, dest: CPtr) -> Result<Ticket, ShareError> {
        if here(cap::retype(cap, make, dest))? {
            return Ok(Ticket::Done);
        }
        self.retype_shared(cap, make, dest)
    }

    /// The same where it is known that other cores have a say: the own CPU driver is not asked first.
    ///
    /// # Errors
    /// As [`retype`](Self::retype).
    pub fn retype_shared(&self, cap: CPtr, make: &Make, dest: CPtr) -> Result<Ticket, ShareError> {
        let Make { ty, level, rights, offset, len, count } = *make;
        let whole = (offset | len).is_multiple_of(PAGE_SIZE);
        let narrow = |bytes| u32::try_from(bytes / PAGE_SIZE).map_err(|_| Error::BadArgument);
        let (first, pages) = (narrow(offset)?, narrow(len)?);
        let count = u8::try_from(count).ok().filter(|_| whole).ok_or(Error::BadArgument)?;
        let what = u32::from(ty as u8) | u32::from(level) << 8 | u32::from(rights.bits()) << 16;
        self.ask(|ticket| Ask::Retype { ticket, cap: cap.0, dest: dest.0, what, count, first, pages })
    }

    /// Deletes, on every core, all other copies of `cap` and all that was made of it. It needs `GRANT` and `CONTROL`.
    ///
    /// # Errors
    /// [`ShareError`], now or by the ticket.
    pub fn revoke(&self, cap: CPtr) -> Result<Ticket, ShareError> {
        if here(ROOT.revoke(cap))? {
            return Ok(Ticket::Done);
        }
        self.ask(|ticket| Ask::Revoke { ticket, cap: cap.0, copies: true })
    }

    /// Deletes, on every core, all that was made of `cap`. It needs `GRANT`.
    ///
    /// # Errors
    /// [`ShareError`], now or by the ticket.
    pub fn revoke_made(&self, cap: CPtr) -> Result<Ticket, ShareError> {
        if here(ROOT.revoke_made(cap))? {
            return Ok(Ticket::Done);
        }
        self.ask(|ticket| Ask::Revoke { ticket, cap: cap.0, copies: false })
    }

    /// Has cores of this island, by local number the bits of `cores`, forget the translations of `len` bytes from `base` in the
    /// address space that they name `space`.
    ///
    /// # Errors
    /// [`ShareError`], now or by the ticket.
    pub fn forget(&self, space: u32, base: u64, len: u64, cores: u64) -> Result<Ticket, ShareError> {
        self.ask(|ticket| Ask::Forget { ticket, space, base, len, cores })
    }

    /// How something has ended, if it has. Once it has, its ticket must not be asked for again.
    pub fn ended(&self, ticket: &Ticket) -> Option<Result<(), ShareError>> {
        let Ticket::UnderWay(ticket) = ticket else { return Some(Ok(())) };
        let mut inner = self.inner.borrow_mut();
        inner.hear();
        inner.settled.remove(ticket).map(|result| result.map_err(ShareError::Refused))
    }

    /// Waits for something to end, as a task.
    ///
    /// # Errors
    /// [`ShareError`].
    pub async fn done(&self, exec: &Executor, ticket: Ticket) -> Result<(), ShareError> {
        self.until(exec, |agent| agent.ended(&ticket)).await
    }

    /// Waits for something to end, as a thread: others run meanwhile.
    ///
    /// # Errors
    /// [`ShareError`].
    pub fn wait(&self, ticket: &Ticket) -> Result<(), ShareError> {
        self.wait_until(|agent| agent.ended(ticket))
    }

    async fn until<R>(&self, exec: &Executor, mut found: impl FnMut(&Self) -> Option<R>) -> R {
        core::future::poll_fn(|cx| match found(self) {
            Some(found) => {
                exec.progress();
                Poll::Ready(found)
            }
            None => {
                exec.on_event(cx.waker());
                Poll::Pending
            }
        })
        .await
    }

    fn wait_until<R>(&self, mut found: impl FnMut(&Self) -> Option<R>) -> R {
        loop {
            if let Some(found) = found(self) {
                return found;
            }
            let mut inner = self.inner.borrow_mut();
            if let Some(message) = inner.ring.wait(0) {
                inner.take(&message);
            }
        }
    }

    fn ask(&self, ask: impl FnOnce(u16) -> Ask) -> Result<Ticket, ShareError> {
        let mut inner = self.inner.borrow_mut();
        if inner.under_way >= MAX_TICKETS {
            return Err(Refusal::Busy.into());
        }
        let ticket = inner.last.wrapping_add(1);
        send(self.to, ask(ticket).words(), None)?;
        (inner.last, inner.under_way) = (ticket, inner.under_way + 1);
        Ok(Ticket::UnderWay(ticket))
    }
}

impl Inner {
    fn hear(&mut self) {
        while let Some(message) = self.ring.try_recv() {
            self.take(&message);
        }
    }

    fn take(&mut self, message: &Message) {
        match Say::from_words(&message.words) {
            Some(Say::Settled(ticket, result)) => {
                self.under_way = self.under_way.saturating_sub(1);
                self.settled.insert(ticket, result);
            }
            Some(Say::Arrived { slot }) => self.arrived.push_back(CPtr(slot)),
            Some(Say::Joined(_)) | None => {}
        }
    }
}

/// Whether the own CPU driver has done it; `false` if others have a say.
fn here(done: Result<(), Error>) -> Result<bool, Error> {
    match done {
        Ok(()) => Ok(true),
        Err(Error::Remote | Error::Busy) => Ok(false),
        Err(error) => Err(error),
    }
}

/// A monitor that has not made room for the next capability is like one without room for a message.
fn patient(sent: Result<(), Error>) -> Result<(), Error> {
    match sent {
        Err(Error::NoReceiveSlot) => Err(Error::Full),
        other => other,
    }
}
