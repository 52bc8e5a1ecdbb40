//! `lrpc.async`, `lrpc.sync_rtt`: this domain and another on the same core, which offers its ring under a name.
//!
//! | figure | from | to |
//! | --- | --- | --- |
//! | `lrpc.async` | the sender is about to call `send_over` | the receiver, which waited, has the message in hand |
//! | `lrpc.sync_rtt` | the caller is about to call | it has the four words of the answer in hand |

use crate::{SAMPLES, median};
use alloc::vec::Vec;
use core::fmt;
use skerry_abi::Error;
use skerry_abi::dispatcher::event;
use skerry_user::cap::{Endpoint, SELF};
use skerry_user::lrpc::{Ring, Rings, Server, Woken, Words, call, send_over};
use skerry_user::remote::{Broker, NotFound, until_room};
use skerry_user::spawn::CHANNEL_EVENT;
use skerry_user::{Domain, clock};

/// The other end, for whoever starts it and for whoever looks for it.
pub const PEER: &str = "lrpc.peer";
/// Messages in the ring, and the event it raises.
const SLOTS: u32 = 16;
const EVENT: u64 = CHANNEL_EVENT;

/// First words of calls: echo; messages will come now; what was their median?
const ECHO: u64 = 0;
const LISTEN: u64 = 1;
const MEDIAN: u64 = 2;

/// Why there is no figure.
#[derive(Clone, Copy, Debug)]
pub enum Lack {
    /// The other end is not there.
    Peer(NotFound),
    /// The CPU driver's answer.
    Refused(Error),
    /// An answer was not what it should be.
    Wrong,
}

impl From<Error> for Lack {
    fn from(error: Error) -> Self {
        Self::Refused(error)
    }
}

impl fmt::Display for Lack {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Peer(why) => write!(f, "no `bench name={PEER}` on this core: {why}"),
            Self::Refused(error) => error.fmt(f),
            Self::Wrong => f.write_str("what came back is wrong"),
        }
    }
}

/// A ring of this domain's, and the monitor that it is known to.
fn introduced(domain: &mut Domain, slots: u32) -> Result<(Ring, Broker), Error> {
    let ring = Rings::new(domain)?.make(&mut domain.mem, slots, EVENT)?;
    ring.receive_into(domain.mem.slot()?);
    Ok((ring, Broker::listed(domain).ok_or(Error::EmptySlot)?))
}

fn peer(domain: &mut Domain) -> Result<Endpoint, Lack> {
    let (mut ring, broker) = introduced(domain, 1)?;
    broker.find(domain.info.core, PEER, &mut ring).map_err(Lack::Peer)
}

fn ask(to: Endpoint, what: u64) -> Result<u64, Error> {
    call(to, &Words { words: [what, 0, 0, 0], cap: None }, None).map(|answer| answer.words[1])
}

/// Ticks of a call with four words and the answer with four.
pub fn round_trip(domain: &mut Domain) -> Result<u64, Lack> {
    let to = peer(domain)?;
    let say = Words { words: [ECHO, 2, 3, 4], cap: None };
    // The answers are checked by their sum: to compare each word would take longer than the switch to the other domain.
    let mut sum = 0;
    let ticks = median(|| {
        if let Ok(Words { words: [a, b, c, d], .. }) = call(to, &say, None) {
            sum += a + b * 10 + c * 100 + d * 1000;
        }
    });
    if sum == 4320 * SAMPLES as u64 { Ok(ticks) } else { Err(Lack::Wrong) }
}

/// Ticks of a message, one way.
pub fn one_way(domain: &mut Domain) -> Result<u64, Lack> {
    let to = peer(domain)?;
    ask(to, LISTEN)?;
    for n in 0..SAMPLES as u64 {
        // It waits before this goes on: it runs at once, or, when its slice is used up, when this gives way.
        send_over(to, [clock::ticks(), n, 0, 0], None)?;
        SELF.give_way()?;
    }
    Ok(ask(to, MEDIAN)?)
}

/// The other end: answers calls until it is stopped.
pub fn serve(domain: &mut Domain) -> Result<(), Error> {
    let (mut ring, broker) = introduced(domain, SLOTS)?;
    until_room(|| broker.offer(PEER, ring.endpoint()))?;
    let (mut answer, mut median, mut events) = (Words::default(), 0, 0);
    loop {
        match Server.reply_wait(&answer, events)? {
            Woken::Call(_, what) => {
                answer = what;
                events = 0;
                match what.words[0] {
                    LISTEN => events = event::NOW,
                    MEDIAN => answer.words[1] = median,
                    _ => {}
                }
            }
            // `LISTEN` has been answered.
            Woken::Events(_) => {
                (median, events) = (listen(&mut ring), 0);
            }
        }
    }
}

/// Takes the messages; the median of what they took, less reading the clock.
fn listen(ring: &mut Ring) -> u64 {
    let mut ticks = Vec::with_capacity(SAMPLES);
    while ticks.len() < SAMPLES {
        let _came = SELF.wait(EVENT, 0);
        while let Some(message) = ring.try_recv() {
            let now = clock::ticks();
            ticks.push(now - message.words[0]);
        }
    }
    let mut clock: Vec<u64> = (0..SAMPLES).map(|_| clock::ticks().abs_diff(clock::ticks())).collect();
    ticks.sort_unstable();
    clock.sort_unstable();
    ticks[SAMPLES / 2].saturating_sub(clock[SAMPLES / 2])
}
