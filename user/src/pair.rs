//! Calls that one thread waits for, and not its whole domain: [`lrpc::call`](crate::lrpc::call) hands the core over, and
//! keeps the dispatcher, with all threads that are ready, waiting for the answer. That is the quicker way where the answer
//! is near, and the only one where the scheduler must not run: memory for the heap. Here a call is a message to the
//! server's ring, and its answer one to a ring of the client's; meanwhile other threads run. (Tasks have the same in
//! [`send_when_room`](crate::lrpc::send_when_room) and [`Ring::recv`].)

use crate::cap::Endpoint;
use crate::clock;
use crate::lrpc::{Ring, send};
use crate::mem::Memory;
use crate::thread::events::{Sleeper, wait_event};
use alloc::collections::BTreeMap;
use skerry_abi::dispatcher::event;
use skerry_abi::lrpc::Message;
use skerry_abi::{CPtr, Error};

/// The badge of answers.
const ANSWERS: u64 = 1;

/// A client of one server, with one call at a time.
pub struct Caller {
    to: Endpoint,
    answers: Ring,
}

impl Caller {
    /// Introduces itself to the server behind `to`, which answers to `answers`: a ring that nothing else comes to.
    ///
    /// # Errors
    /// What the CPU driver answers: [`Error::Full`], [`Error::NoReceiveSlot`]: try again later.
    pub fn new(mem: &mut Memory, to: Endpoint, answers: Ring) -> Result<Self, Error> {
        let back = answers.mint(mem, ANSWERS)?;
        send(to, [0; 4], Some(back.0))?;
        Ok(Self { to, answers })
    }

    /// Says four words, and waits for the four of the answer, at most until the clock reaches `deadline` (0: for ever);
    /// other threads run meanwhile.
    ///
    /// # Errors
    /// [`Error::PeerDied`] if the server had stopped before; [`Error::Busy`] if the deadline came first: this client cannot
    /// call again then, for it could not tell the late answer from the next.
    pub fn call(&mut self, words: [u64; 4], deadline: u64) -> Result<[u64; 4], Error> {
        let sleeper = Sleeper::default();
        while let Err(error) = send(self.to, words, None) {
            if error != Error::Full {
                return Err(error);
            }
            if deadline != 0 && clock::ticks() >= deadline {
                return Err(Error::Busy);
            }
            wait_event(event::ROOM, deadline, &sleeper);
        }
        self.answers.wait(deadline).map(|answer| answer.words).ok_or(Error::Busy)
    }
}

/// The server's side: where each client, by its badge, wants its answers.
#[derive(Default)]
pub struct Clients(BTreeMap<u64, Endpoint>);

impl Clients {
    /// Whether a message of `ring` is a client's introduction. If so, the next one's capability needs a slot of its own.
    ///
    /// # Errors
    /// Without a free slot.
    pub fn meet(&mut self, mem: &mut Memory, ring: &Ring, message: &Message) -> Result<bool, Error> {
        if message.cap == CPtr::NULL {
            return Ok(false);
        }
        self.0.insert(message.badge, Endpoint(message.cap));
        ring.receive_into(mem.slot()?);
        Ok(true)
    }

    /// Answers the client with this badge.
    ///
    /// # Errors
    /// [`Error::EmptySlot`] if it has not introduced itself; what the CPU driver answers: [`Error::Full`] is the client's own
    /// fault, who has room for the answer to its call.
    pub fn answer(&self, badge: u64, words: [u64; 4]) -> Result<(), Error> {
        send(*self.0.get(&badge).ok_or(Error::EmptySlot)?, words, None)
    }
}
