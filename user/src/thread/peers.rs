//! The other dispatchers of the domain, as this one sees them: a channel to each, and what is still to be said.
//!
//! A dispatcher never waits to say something: what does not fit waits in a list, at most one entry for each thread that
//! moves, each lock that is passed on and each key that is woken, however often. A dispatcher that is about to sleep has
//! every channel's wake request armed; its peers ring its core.

use super::sched::Tcb;
use crate::chan::Chan;
use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::vec::Vec;
use core::sync::atomic::Ordering::{Relaxed, SeqCst};
use core::sync::atomic::{AtomicU32, fence};
use skerry_urpc::formats::span::{Thread, ToDispatcher, Wake};
use skerry_urpc::wire::{Header, encode};
use skerry_urpc::{Message, Transport};

/// Turns that the own threads may have at a lock before those of other dispatchers do.
const OWN_TURNS: u32 = 8;

struct Peer {
    chan: Chan,
    unsent: VecDeque<Message>,
}

/// The other dispatchers.
pub struct Peers {
    /// Which one this is.
    pub me: u32,
    peers: Vec<Option<Peer>>,
    turns: u32,
    next: usize,
}

impl Peers {
    /// Those behind these channels, by number; the own place is empty.
    pub fn new(me: u32, chans: Vec<Option<Chan>>) -> Self {
        let peer = |chan: Option<Chan>| chan.map(|chan| Peer { chan, unsent: VecDeque::new() });
        Self { me, peers: chans.into_iter().map(peer).collect(), turns: 0, next: 0 }
    }

    /// How many dispatchers the domain has.
    pub const fn count(&self) -> u32 {
        self.peers.len() as u32
    }

    /// Whether it is the others' turn, now that a lock's next holder is looked for.
    pub const fn others_first(&mut self) -> bool {
        self.turns = (self.turns + 1) % OWN_TURNS;
        self.turns == 0
    }

    /// Says something to another dispatcher, now or later.
    pub fn send<B: ToDispatcher>(&mut self, to: u32, body: &B) {
        let Some(peer) = self.peers.get_mut(to as usize).and_then(Option::as_mut) else { return };
        peer.unsent.push_back(encode(&Header::default(), body));
        peer.flush();
    }

    /// Gives a thread away, which does not run.
    pub fn send_thread(&mut self, to: u32, tcb: Box<Tcb>) {
        let at = Box::into_raw(tcb).expose_provenance() as u64;
        self.send(to, &Thread { at, ..Thread::default() });
    }

    /// Says something to all others.
    pub fn send_all<B: ToDispatcher>(&mut self, body: &B) {
        (0..self.count()).for_each(|to| self.send(to, body));
    }

    /// Wakes at most `most` threads of that dispatcher that wait under `key`.
    pub fn wake(&mut self, to: u32, key: u64, most: u64) {
        let Some(peer) = self.peers.get_mut(to as usize).and_then(Option::as_mut) else { return };
        let waits = |message: &&mut Message| message.body::<Wake>().is_some_and(|wake| wake.key == key);
        match peer.unsent.iter_mut().find(waits) {
            Some(message) => {
                let before = message.body::<Wake>().map_or(0, |wake| wake.most);
                let wake = Wake { key, most: before.saturating_add(most), ..Wake::default() };
                *message = encode(&Header::default(), &wake);
            }
            None => self.send(to, &Wake { key, most, ..Wake::default() }),
        }
    }

    /// Says what is still to be said, as far as there is room.
    pub fn flush(&mut self) {
        self.peers.iter_mut().flatten().for_each(Peer::flush);
    }

    /// The next message that came, from each in turn.
    pub fn next(&mut self) -> Option<(u32, Message)> {
        let count = self.peers.len();
        for at in (self.next..self.next + count).map(|n| n % count) {
            let Some(peer) = &mut self.peers[at] else { continue };
            // What a dispatcher of this very program cannot have written ends the channel: then nothing comes any more.
            if let Ok(Some(message)) = peer.chan.try_recv() {
                peer.chan.kick();
                self.next = at + 1;
                return Some((at as u32, message));
            }
        }
        None
    }

    /// Has the others ring from now on, or no longer.
    pub fn arm(&mut self, on: bool) {
        for peer in self.peers.iter_mut().flatten() {
            if on { peer.chan.arm_wake() } else { peer.chan.disarm_wake() }
        }
    }
}

impl Peer {
    fn flush(&mut self) {
        if self.unsent.is_empty() {
            return;
        }
        while let Some(message) = self.unsent.front() {
            if self.chan.try_send(message).is_err() {
                break;
            }
            self.unsent.pop_front();
        }
        self.chan.kick();
    }
}

/// Queues of waiters of which is noted in which dispatchers somebody stands.
pub const BUCKETS: usize = 64;

/// Which dispatchers have threads that wait under some key of a bucket, or had: a bit each, set by the dispatcher itself
/// before it looks for the last time whether there is something to wait for, and cleared by itself when the bucket is empty.
/// Whoever changes what is waited for looks here afterwards. One of the two sees the other, for each has a fence
/// between its store and its load.
pub struct Elsewhere([AtomicU32; BUCKETS]);

impl Elsewhere {
    /// Nobody anywhere.
    pub const fn new() -> Self {
        Self([const { AtomicU32::new(0) }; BUCKETS])
    }

    /// A thread of this dispatcher is about to wait.
    pub fn note(&self, bucket: usize, dispatcher: u32) {
        self.0[bucket % BUCKETS].fetch_or(1 << dispatcher, Relaxed);
        fence(SeqCst);
    }

    /// No thread of this dispatcher waits.
    pub fn clear(&self, bucket: usize, dispatcher: u32) {
        self.0[bucket % BUCKETS].fetch_and(!(1 << dispatcher), Relaxed);
    }

    /// The dispatchers of which threads may wait.
    pub fn of(&self, bucket: usize) -> impl Iterator<Item = u32> {
        fence(SeqCst);
        let mask = self.0[bucket % BUCKETS].load(Relaxed);
        (0..u32::BITS).filter(move |d| mask >> d & 1 != 0)
    }
}

/// Of this domain.
pub static ELSEWHERE: Elsewhere = Elsewhere::new();
