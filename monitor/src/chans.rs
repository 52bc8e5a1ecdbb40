//! A monitor's channels: who is at the other end, and what waits for room.

use crate::config::{MAX_CHANS, MAX_ISLANDS, MAX_QUEUE};
use crate::event::{Chan, Sink};
use crate::table::Cursor;
use alloc::collections::VecDeque;
use alloc::vec::Vec;
use skerry_hal::{CoreId, IslandId};
use skerry_urpc::formats::Refusal;
use skerry_urpc::{Message, SendError};

/// Who is at the other end.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Role {
    /// Nobody; the number is free.
    Free,
    /// A monitor of the same island.
    Core(CoreId),
    /// The first monitor of another island, over this link.
    Link(u16),
    /// A domain of this core.
    Client,
    /// The process server of this core.
    Server,
}

/// A table that a client asked for and that has not been sent whole.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Listing {
    pub request: u16,
    pub what: Table,
    pub at: Cursor,
    pub lines: u32,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Table {
    Cores,
    Islands,
    Memory,
}

/// Islands whose records are to be sent, and how far the sending of one of them has come.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Sync {
    islands: u64,
    at: Cursor,
}

impl Sync {
    /// Everything.
    pub const ALL: Self = Self { islands: u64::MAX, at: Cursor { island: 0, core: 0 } };

    pub const fn is_done(self) -> bool {
        self.islands == 0
    }

    /// All of an island is to be sent, once more if it was begun with.
    pub const fn add(&mut self, id: IslandId) {
        self.islands |= 1 << (id.0 as usize % MAX_ISLANDS);
        if self.at.island == id.0 {
            self.at.core = 0;
        }
    }

    /// The next record to look for.
    pub const fn next(&mut self) -> Option<Cursor> {
        if self.islands == 0 {
            return None;
        }
        if self.islands >> self.at.island & 1 == 0 {
            // Round and round, so that one that changes again and again does not keep back the others.
            let ahead = self.islands & u64::MAX << self.at.island;
            let from = if ahead == 0 { self.islands } else { ahead };
            self.at = Cursor { island: from.trailing_zeros() as u16, core: 0 };
        }
        Some(self.at)
    }

    /// Goes on behind the record that was sent; `None`: behind the island's last.
    pub const fn sent(&mut self, record: Option<u16>) {
        match record {
            Some(core) => self.at.core = core + 1,
            None => self.islands &= !(1 << self.at.island),
        }
    }
}

/// One channel.
pub(crate) struct Entry {
    pub role: Role,
    pub up: bool,
    /// When something last came.
    pub heard: u64,
    queue: VecDeque<Message>,
    /// What of the table of islands and cores is to be sent.
    pub sync: Sync,
    pub listing: Option<Listing>,
}

impl Entry {
    fn new(role: Role, up: bool) -> Self {
        Self { role, up, heard: 0, queue: VecDeque::new(), sync: Sync::default(), listing: None }
    }

    /// Whether a message may go at once.
    #[inline]
    pub fn is_clear(&self) -> bool {
        self.up && self.queue.is_empty()
    }

    /// Sends, or keeps for later.
    #[inline]
    pub fn send(&mut self, chan: Chan, message: &Message, sink: &mut dyn Sink) -> Result<(), Refusal> {
        if !self.up {
            return Err(Refusal::Unreachable);
        }
        if self.queue.is_empty() {
            match sink.send(chan, message) {
                Ok(()) => return Ok(()),
                Err(SendError::Closed) => return Err(Refusal::Unreachable),
                Err(SendError::Full) => {}
            }
        }
        self.keep(message)
    }

    #[cold]
    fn keep(&mut self, message: &Message) -> Result<(), Refusal> {
        if self.queue.len() >= MAX_QUEUE {
            return Err(Refusal::Busy);
        }
        self.queue.push_back(*message);
        Ok(())
    }

    /// Sends what waits, as far as there is room. Answers whether all of it went.
    pub fn drain(&mut self, chan: Chan, sink: &mut dyn Sink) -> bool {
        while let Some(message) = self.queue.front() {
            match sink.send(chan, message) {
                Ok(()) => drop(self.queue.pop_front()),
                Err(SendError::Full) => return false,
                Err(SendError::Closed) => self.queue.clear(),
            }
        }
        true
    }

    /// Messages that wait.
    pub fn waiting(&self) -> usize {
        self.queue.len()
    }

    /// Messages that may still be kept.
    pub fn room(&self) -> usize {
        MAX_QUEUE - self.queue.len()
    }

    /// Whether something waits.
    pub fn has_backlog(&self) -> bool {
        self.up && (!self.queue.is_empty() || !self.sync.is_done() || self.listing.is_some())
    }

    /// Forgets what waits and what was known of the other end.
    pub fn reset(&mut self, up: bool) {
        self.queue.clear();
        self.sync = Sync::default();
        self.listing = None;
        self.up = up;
    }
}

/// All channels of a monitor.
#[derive(Default)]
pub(crate) struct Chans {
    entries: Vec<Entry>,
}

impl Chans {
    /// Takes the lowest free number.
    pub fn add(&mut self, role: Role, up: bool) -> Option<Chan> {
        let entry = Entry::new(role, up);
        let index = match self.entries.iter().position(|e| e.role == Role::Free) {
            Some(index) => {
                self.entries[index] = entry;
                index
            }
            None if self.entries.len() < MAX_CHANS => {
                self.entries.push(entry);
                self.entries.len() - 1
            }
            None => return None,
        };
        Some(Chan(index as u16))
    }

    /// Frees a number.
    pub fn remove(&mut self, chan: Chan) {
        if let Some(entry) = self.get_mut(chan) {
            entry.reset(false);
            entry.role = Role::Free;
        }
    }

    pub fn get(&self, chan: Chan) -> Option<&Entry> {
        self.entries.get(chan.0 as usize)
    }

    #[inline]
    pub fn get_mut(&mut self, chan: Chan) -> Option<&mut Entry> {
        self.entries.get_mut(chan.0 as usize)
    }

    pub fn role(&self, chan: Chan) -> Role {
        self.get(chan).map_or(Role::Free, |e| e.role)
    }

    pub fn iter(&self) -> impl Iterator<Item = (Chan, &Entry)> {
        self.entries.iter().enumerate().map(|(n, e)| (Chan(n as u16), e))
    }

    pub fn iter_mut(&mut self) -> impl Iterator<Item = (Chan, &mut Entry)> {
        self.entries.iter_mut().enumerate().map(|(n, e)| (Chan(n as u16), e))
    }

    /// How many lead to monitors and are up.
    pub fn peers(&self) -> u16 {
        self.entries.iter().filter(|e| e.up && matches!(e.role, Role::Core(_) | Role::Link(_))).count() as u16
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Action;

    /// A transport with room for some.
    struct Room(usize, Vec<u16>);

    impl Sink for Room {
        fn send(&mut self, _: Chan, message: &Message) -> Result<(), SendError> {
            if self.0 == 0 {
                return Err(SendError::Full);
            }
            self.0 -= 1;
            self.1.push(message.kind);
            Ok(())
        }
        fn act(&mut self, _: Action) {}
    }

    fn message(kind: u16) -> Message {
        Message { kind, ..Message::default() }
    }

    #[test]
    fn what_does_not_fit_waits_in_order_and_up_to_the_limit() {
        let mut room = Room(2, Vec::new());
        let mut entry = Entry::new(Role::Client, true);
        for kind in 0..2 + MAX_QUEUE as u16 {
            assert_eq!(entry.send(Chan(0), &message(kind), &mut room), Ok(()));
        }
        assert_eq!(entry.send(Chan(0), &message(9999), &mut room), Err(Refusal::Busy));
        room.0 = 10;
        assert!(!entry.drain(Chan(0), &mut room));
        assert_eq!(entry.send(Chan(0), &message(5000), &mut room), Ok(()), "behind those that wait");
        room.0 = 1000;
        assert!(entry.drain(Chan(0), &mut room));
        let mut expected: Vec<u16> = (0..2 + MAX_QUEUE as u16).collect();
        expected.push(5000);
        assert_eq!(room.1, expected);
    }

    #[test]
    fn freed_numbers_are_used_again() {
        let mut chans = Chans::default();
        let a = chans.add(Role::Client, true).unwrap();
        let b = chans.add(Role::Link(0), true).unwrap();
        chans.remove(a);
        assert_eq!(chans.peers(), 1);
        assert_eq!(chans.add(Role::Client, true), Some(a));
        assert_ne!(a, b);
    }

    #[test]
    fn nothing_is_sent_on_a_channel_that_is_down() {
        let mut room = Room(2, Vec::new());
        let mut entry = Entry::new(Role::Link(0), false);
        assert_eq!(entry.send(Chan(0), &message(1), &mut room), Err(Refusal::Unreachable));
        assert!(room.1.is_empty());
    }
}
