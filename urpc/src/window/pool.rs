//! Which domain channels of a window may be used.
//!
//! When the peer is lost, domains of its island may still run for a while, and write. So a channel that was in use is
//! *quarantined*: it is given out again only after the peer's island has come back with a later epoch, with which it
//! says that nothing of its former life runs any more. Each side hands out the channels of its own parity, so that no
//! agreement is needed to open one.

use super::{MAX_CHANNELS, Side};
use skerry_hal::Epoch;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Use {
    Free,
    Used,
    Quarantined,
}

/// The domain channels of one window, as one side sees them.
#[derive(Debug)]
pub struct Channels {
    uses: [Use; MAX_CHANNELS as usize],
    count: u16,
    side: Side,
    /// The peer's epoch in which the used ones were made.
    epoch: Epoch,
}

impl Channels {
    /// None can be used until [`peer_up`](Self::peer_up).
    pub const fn new(side: Side, count: u16) -> Self {
        let count = if count > MAX_CHANNELS { MAX_CHANNELS } else { count };
        Self { uses: [Use::Quarantined; MAX_CHANNELS as usize], count, side, epoch: Epoch(0) }
    }

    /// The peer's island is there, with this epoch. What was quarantined under an earlier one is free.
    pub fn peer_up(&mut self, epoch: Epoch) {
        if epoch > self.epoch {
            self.epoch = epoch;
            self.uses.fill(Use::Free);
        }
    }

    /// The peer's island was lost: what it may still write must not be used.
    pub fn peer_down(&mut self) {
        self.uses.fill(Use::Quarantined);
    }

    /// Takes a free channel of our parity. `None`: all are used, or the peer is not there.
    pub fn take(&mut self) -> Option<u16> {
        let parity = u16::from(self.side == Side::B);
        let channel = (parity..self.count).step_by(2).find(|c| self.uses[*c as usize] == Use::Free)?;
        self.uses[channel as usize] = Use::Used;
        Some(channel)
    }

    /// Notes that the peer took `channel`, one of its parity. Answers `false` if it may not.
    #[must_use]
    pub fn taken_by_peer(&mut self, channel: u16) -> bool {
        let ours = channel % 2 == u16::from(self.side == Side::B);
        match self.uses.get_mut(channel as usize) {
            Some(place @ Use::Free) if !ours && channel < self.count => {
                *place = Use::Used;
                true
            }
            _ => false,
        }
    }

    /// Both ends of `channel` are gone. Says whether it was in use.
    pub fn give_back(&mut self, channel: u16) -> bool {
        match self.uses.get_mut(channel as usize) {
            Some(place @ Use::Used) => {
                *place = Use::Free;
                true
            }
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn channels_of_a_lost_peer_wait_for_its_next_epoch() {
        let mut channels = Channels::new(Side::A, 4);
        assert_eq!(channels.take(), None);
        channels.peer_up(Epoch(3));
        assert_eq!((channels.take(), channels.take(), channels.take()), (Some(0), Some(2), None));
        assert!(channels.taken_by_peer(1));
        channels.peer_down();
        assert!(!channels.give_back(0));
        channels.peer_up(Epoch(3));
        assert_eq!(channels.take(), None, "the same epoch proves nothing");
        channels.peer_up(Epoch(4));
        assert_eq!(channels.take(), Some(0));
        assert!(channels.give_back(0));
        assert!(!channels.give_back(0));
    }

    #[test]
    fn a_peer_takes_only_what_is_free_and_its_own() {
        let mut channels = Channels::new(Side::B, 4);
        channels.peer_up(Epoch(1));
        assert!(!channels.taken_by_peer(1), "ours");
        assert!(channels.taken_by_peer(2));
        assert!(!channels.taken_by_peer(2), "twice");
        assert!(!channels.taken_by_peer(4), "there is none");
        assert!(!channels.taken_by_peer(u16::MAX));
        assert_eq!(channels.take(), Some(1));
    }
}
