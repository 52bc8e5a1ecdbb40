//! Endpoints of other cores, of either ISA: a domain offers one under a name, another wants it.
//!
//! Both talk to the monitor of their own core, by the endpoint that their spawner has listed. Who wants an endpoint names
//! the core and the name, and one of his own endpoints for the answer; with the answer comes a capability, which lands in
//! his ring's receive slot. He sends to it as to any other: it leads to a ring of his monitor's, which passes on what
//! comes there. On the owner's own core it is the owner's ring, and may be called, too. When the owner, his core or his island
//! dies, the capability is gone, and a send says so.

use crate::cap::{Endpoint, SELF};
use crate::chan::Peer;
use crate::clock;
use crate::domain::Domain;
use crate::lrpc::{self, Ring};
use core::fmt;
use core::time::Duration;
use skerry_abi::dispatcher::event;
use skerry_abi::domain::Purpose;
use skerry_abi::{CoreId, Error};
pub use skerry_urpc::formats::Refusal;

/// Messages in the ring that a monitor hears domains by.
pub const BROKER_SLOTS: u32 = 4;

/// What a domain says to its monitor: the low half of the first word; the high half is a core, the next two are a name.
pub mod ask {
    /// The capability is an endpoint to be offered under the name.
    pub const OFFER: u32 = 1;
    /// The capability is an endpoint to send the answer to; the core is asked for the name.
    pub const WANT: u32 = 2;
}

/// First word of a monitor's answer, with its refusal in the high half: "SKPX".
pub const ANSWER: u32 = u32::from_le_bytes(*b"SKPX");

/// How long to wait before a name that is not there yet is asked for again, and how often.
const AGAIN: (Duration, u32) = (Duration::from_millis(100), 100);

/// Why an endpoint was not found.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum NotFound {
    /// The monitors' answer; [`Refusal::NotFound`]: nobody has offered it for a while.
    Refused(Refusal),
    /// The monitor cannot be asked.
    Unasked(Error),
}

impl fmt::Display for NotFound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused(Refusal::NotFound) => f.write_str("nobody offers it"),
            Self::Refused(refusal) => refusal.fmt(f),
            Self::Unasked(error) => write!(f, "it cannot be asked for: {error}"),
        }
    }
}

/// Sends, waiting while there is no room.
///
/// # Errors
/// What the CPU driver answers, but not [`Error::Full`].
pub fn until_room(mut send: impl FnMut() -> Result<(), Error>) -> Result<(), Error> {
    loop {
        match send() {
            Err(Error::Full) => sleep(Duration::from_millis(20)),
            sent => return sent,
        }
    }
}

fn sleep(time: Duration) {
    let _came = SELF.wait(event::ROOM, clock::ticks() + clock::span(time));
}

/// A name, as it crosses: up to 16 bytes, padded with zeros.
pub fn name(text: &str) -> [u64; 2] {
    let mut words = [0; 2];
    for (n, byte) in text.bytes().take(16).enumerate() {
        words[n / 8] |= u64::from(byte) << (n % 8 * 8);
    }
    words
}

/// The monitor of this core.
#[derive(Clone, Copy, Debug)]
pub struct Broker(Endpoint);

impl Broker {
    /// The one that the spawner listed.
    pub fn listed(domain: &Domain) -> Option<Self> {
        domain.listed(Purpose::Endpoint, Peer::Broker as u64).map(|cap| Self(Endpoint(cap.cptr)))
    }

    /// Its endpoint.
    pub(crate) const fn endpoint(self) -> Endpoint {
        self.0
    }

    /// Offers an endpoint with a ring under a name. That it could not be is a line of the monitor's log.
    ///
    /// # Errors
    /// What the CPU driver answers; [`Error::Full`]: try again when there is room.
    pub fn offer(self, text: &str, endpoint: Endpoint) -> Result<(), Error> {
        let [low, high] = name(text);
        lrpc::send(self.0, [ask::OFFER.into(), low, high, 0], Some(endpoint.0))
    }

    /// Asks for the endpoint that a domain of `core` offers under a name. The answer goes to `reply`: see [`answer`].
    ///
    /// # Errors
    /// As [`offer`](Self::offer).
    pub fn want(self, core: CoreId, text: &str, reply: Endpoint) -> Result<(), Error> {
        let [low, high] = name(text);
        let first = u64::from(ask::WANT) | u64::from(core.raw()) << 32;
        lrpc::send(self.0, [first, low, high, 0], Some(reply.0))
    }

    /// The endpoint that a domain of `core` offers under a name, once it does. The answer comes by `ring`, which has a slot to
    /// [receive into](Ring::receive_into), and lands there; what else comes meanwhile is dropped. Blocks the dispatcher.
    ///
    /// # Errors
    /// [`NotFound`].
    pub fn find(self, core: CoreId, text: &str, ring: &mut Ring) -> Result<Endpoint, NotFound> {
        for _ in 0..AGAIN.1 {
            until_room(|| self.want(core, text, ring.endpoint())).map_err(NotFound::Unasked)?;
            let found = loop {
                match ring.try_recv() {
                    Some(message) => {
                        if let Some(found) = answer(&message) {
                            break found;
                        }
                    }
                    None => drop(SELF.wait(ring.events(), 0)),
                }
            };
            match found {
                Ok(endpoint) => return Ok(endpoint),
                Err(Refusal::NotFound) => sleep(AGAIN.0),
                Err(refusal) => return Err(NotFound::Refused(refusal)),
            }
        }
        Err(NotFound::Refused(Refusal::NotFound))
    }
}

/// What a message answers to [`Broker::want`]; `None` if it is something else.
pub fn answer(message: &lrpc::Message) -> Option<Result<Endpoint, Refusal>> {
    let first = message.words[0];
    (first as u32 == ANSWER).then(|| Refusal::result((first >> 32) as u16).map(|()| Endpoint(message.cap)))
}
