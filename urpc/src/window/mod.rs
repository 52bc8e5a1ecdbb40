//! A window: memory that two islands share, and nothing else (an ivshmem device, seen by both).
//!
//! | from | what |
//! | --- | --- |
//! | 0 | the monitors' channel: the block that side A reads, then the block that side B reads |
//! | then | for each domain channel the same two blocks |
//!
//! All blocks have the same shape and whole pages, so that a domain can be given the two of its channel and no others.
//! Side A is the island with the lower number. [`Link`] brings the monitors' channel up and watches over it;
//! [`Channels`] says which domain channels may be used.

mod link;
mod pool;

pub use link::{Down, Link, LinkConfig, RejoinError, State};
pub use pool::Channels;

use crate::greeting;
use crate::ring::{Block, Layout};
use core::fmt;
use skerry_hal::{Epoch, IslandId};

/// The shape of every block of a window. At 32 slots a block is a page: what a domain is given, and little enough that
/// the smallest window holds many.
pub const LAYOUT: Layout = Layout { slots: 32, stride: 64 };
/// Bytes from one block to the next.
pub const BLOCK_BYTES: usize = LAYOUT.block_bytes().next_multiple_of(4096);
/// Most domain channels that one window has.
pub const MAX_CHANNELS: u16 = 512;

/// Which of the two islands we are.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Side {
    /// The island with the lower number.
    A,
    /// The other.
    B,
}

impl Side {
    /// The side of `me` in a window with `peer`; `None` if they are one island.
    pub fn of(me: IslandId, peer: IslandId) -> Option<Self> {
        match me.cmp(&peer) {
            core::cmp::Ordering::Less => Some(Self::A),
            core::cmp::Ordering::Greater => Some(Self::B),
            core::cmp::Ordering::Equal => None,
        }
    }
}

/// The memory is no window.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum WindowError {
    /// There is not room for the channels.
    TooSmall {
        /// Bytes that so many channels need.
        needed: usize,
        /// Bytes there are.
        given: usize,
    },
    /// More than [`MAX_CHANNELS`].
    TooManyChannels(u16),
}

impl fmt::Display for WindowError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooSmall { needed, given } => {
                write!(f, "a window of {given} bytes is too small: its channels need {needed}")
            }
            Self::TooManyChannels(count) => {
                write!(f, "{count} channels in one window: at most {MAX_CHANNELS}")
            }
        }
    }
}

impl core::error::Error for WindowError {}

/// A window, seen from one side.
#[derive(Clone, Copy, Debug)]
pub struct Window {
    memory: Block,
    side: Side,
    channels: u16,
}

/// Where a block lies in the window: what to map into a domain.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Place {
    /// Bytes from the start of the window.
    pub offset: usize,
    /// Bytes in the block.
    pub bytes: usize,
}

impl Window {
    /// Bytes that a window with so many domain channels needs.
    pub const fn min_bytes(channels: u16) -> usize {
        (channels as usize + 1) * 2 * BLOCK_BYTES
    }

    /// The most domain channels that fit into `bytes`; `None` if not even the monitors' channel does.
    pub const fn max_channels(bytes: usize) -> Option<u16> {
        match (bytes / (2 * BLOCK_BYTES)).checked_sub(1) {
            Some(fit) if fit > MAX_CHANNELS as usize => Some(MAX_CHANNELS),
            Some(fit) => Some(fit as u16),
            None => None,
        }
    }

    /// The window in `memory`. Both sides must be told the same number of channels; the handshake checks it.
    pub fn new(memory: Block, side: Side, channels: u16) -> Result<Self, WindowError> {
        if channels > MAX_CHANNELS {
            return Err(WindowError::TooManyChannels(channels));
        }
        let (needed, given) = (Self::min_bytes(channels), memory.bytes());
        if given < needed {
            return Err(WindowError::TooSmall { needed, given });
        }
        Ok(Self { memory, side, channels })
    }

    /// Domain channels in it.
    pub const fn channels(&self) -> u16 {
        self.channels
    }

    /// Our side.
    pub const fn side(&self) -> Side {
        self.side
    }

    /// Where our inbox and our outbox of a domain channel lie; `None` if there is no such channel.
    pub fn places(&self, channel: u16) -> Option<(Place, Place)> {
        (channel < self.channels).then(|| self.pair(channel as usize + 1))
    }

    /// The inbox and the outbox of the monitors' channel.
    pub fn monitors(&self) -> (Block, Block) {
        let (inbox, outbox) = self.pair(0);
        (self.block(inbox), self.block(outbox))
    }

    /// The highest epoch of ours that the window tells of: our own last one, or one that the peer accepts or refuses. An
    /// island starts with the next after the highest of all its windows. The peer can write all of it, so an epoch in
    /// the upper half of the range is not believed: nonsense may not use all epochs up.
    pub fn previous_epoch(&self) -> Epoch {
        let (inbox, outbox) = self.monitors();
        let own = greeting::previous(outbox);
        let (accepted, refused) = match greeting::read(inbox) {
            Ok(Some(peer)) => (peer.accepted, peer.refused),
            _ => (0, 0),
        };
        let believed = [own, accepted, refused].into_iter().filter(|epoch| *epoch <= u32::MAX / 2);
        Epoch(believed.max().unwrap_or(0))
    }

    fn pair(&self, index: usize) -> (Place, Place) {
        let place = |n| Place { offset: n * BLOCK_BYTES, bytes: BLOCK_BYTES };
        match self.side {
            Side::A => (place(2 * index), place(2 * index + 1)),
            Side::B => (place(2 * index + 1), place(2 * index)),
        }
    }

    fn block(&self, place: Place) -> Block {
        self.memory.part(place.offset, place.bytes).expect("`new` checked that all blocks fit")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ring::test_words;

    #[test]
    fn a_window_too_small_says_what_it_needs() {
        let memory = Block::from_words(test_words(2 * BLOCK_BYTES));
        assert!(Window::new(memory, Side::A, 0).is_ok());
        let error = Window::new(memory, Side::A, 1).unwrap_err();
        assert_eq!(error, WindowError::TooSmall { needed: 4 * BLOCK_BYTES, given: 2 * BLOCK_BYTES });
        assert_eq!(Window::new(memory, Side::A, 513).unwrap_err(), WindowError::TooManyChannels(513));
        assert_eq!(Window::max_channels(2 * BLOCK_BYTES - 1), None);
        assert_eq!(Window::max_channels(Window::min_bytes(7) + BLOCK_BYTES), Some(7));
        assert_eq!(Window::max_channels(1 << 30), Some(MAX_CHANNELS));
    }

    #[test]
    fn one_sides_inbox_is_the_others_outbox_and_no_block_is_shared() {
        let memory = Block::from_words(test_words(Window::min_bytes(3)));
        let a = Window::new(memory, Side::A, 3).unwrap();
        let b = Window::new(memory, Side::B, 3).unwrap();
        let mut seen = vec![a.pair(0).0.offset, a.pair(0).1.offset];
        for channel in 0..3 {
            let (inbox, outbox) = a.places(channel).unwrap();
            assert_eq!(b.places(channel), Some((outbox, inbox)));
            seen.extend([inbox.offset, outbox.offset]);
        }
        assert_eq!(a.places(3), None);
        seen.sort_unstable();
        assert_eq!(seen, (0..8).map(|n| n * BLOCK_BYTES).collect::<Vec<_>>());
    }
}
