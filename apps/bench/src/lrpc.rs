//! `lrpc.async`, `lrpc.sync_rtt`: this domain and another on the same core, whose ring their spawner made.
//!
//! | figure | from | to |
//! | --- | --- | --- |
//! | `lrpc.async` | the sender is about to call `send_over` | the receiver, which waited, has the message in hand |
//! | `lrpc.sync_rtt` | the caller is about to call | it has the four words of the answer in hand |

use crate::{SAMPLES, median};
use alloc::vec::Vec;
use skerry_abi::dispatcher::event;
use skerry_abi::domain::Purpose;
use skerry_abi::lrpc::FIRST_OFFSET;
use skerry_user::cap::{Endpoint, SELF};
use skerry_user::chan::Peer;
use skerry_user::lrpc::{Ring, Rings, Server, Woken, Words, call, send_over};
use skerry_user::{Domain, clock};

/// Messages in the ring, the event it raises, and where it lies: the spawner made it so (`apps/monitor`, `program`).
const SLOTS: u32 = 16;
const EVENT: u64 = 1 << event::FIRST_USER;
const _: () = assert!(FIRST_OFFSET.is_multiple_of(64));

/// First words of calls: echo; messages will come now; what was their median?
const ECHO: u64 = 0;
const LISTEN: u64 = 1;
const MEDIAN: u64 = 2;

fn peer(domain: &Domain) -> Option<Endpoint> {
    domain.listed(Purpose::Endpoint, Peer::Program as u64).map(|cap| Endpoint(cap.cptr))
}

fn ask(to: Endpoint, what: u64) -> Option<u64> {
    call(to, &Words { words: [what, 0, 0, 0], cap: None }, None).ok().map(|answer| answer.words[1])
}

/// Ticks of a call with four words and the answer with four.
pub fn round_trip(domain: &Domain) -> Option<u64> {
    let to = peer(domain)?;
    let say = Words { words: [ECHO, 2, 3, 4], cap: None };
    // The answers are checked by their sum: to compare each word would take longer than the switch to the other domain.
    let mut sum = 0;
    let ticks = median(|| {
        if let Ok(Words { words: [a, b, c, d], .. }) = call(to, &say, None) {
            sum += a + b * 10 + c * 100 + d * 1000;
        }
    });
    (sum == 4320 * SAMPLES as u64).then_some(ticks)
}

/// Ticks of a message, one way.
pub fn one_way(domain: &Domain) -> Option<u64> {
    let to = peer(domain)?;
    ask(to, LISTEN)?;
    for n in 0..SAMPLES as u64 {
        // It waits before this goes on: it runs at once, or, when its slice is used up, when this gives way.
        send_over(to, [clock::ticks(), n, 0, 0], None).ok()?;
        SELF.give_way().ok()?;
    }
    ask(to, MEDIAN)
}

/// The other end: answers calls until it is stopped.
pub fn serve(domain: &mut Domain) -> Option<()> {
    let mut ring = Rings::new(domain).ok()?.adopt(SLOTS, EVENT).ok()?;
    let (mut answer, mut median, mut events) = (Words::default(), 0, 0);
    loop {
        match Server.reply_wait(&answer, events).ok()? {
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
                (median, events) = (listen(&mut ring)?, 0);
            }
        }
    }
}

/// Takes the messages; the median of what they took, less reading the clock.
fn listen(ring: &mut Ring) -> Option<u64> {
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
    Some(ticks[SAMPLES / 2].saturating_sub(clock[SAMPLES / 2]))
}
