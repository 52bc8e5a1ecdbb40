//! The first line of a block: who writes it, and which session with its reader it is in.
//!
//! | word | low half | high half |
//! | --- | --- | --- |
//! | 0 | magic | |
//! | 1 | version, `major << 16 \| minor` | features |
//! | 2 | core | epoch of its island |
//! | 3 | incarnation | incarnation of the reader that it accepts |
//! | 4 | heartbeat | |
//! | 5 | highest refused incarnation of the reader | 1 if leaving |
//! | 6 | slots | stride, 16 bits; domain channels, 16 bits |
//! | 7 | stamp: odd while the other words change | |
//!
//! An *incarnation* numbers the lives of one end: it only grows, and is kept in the block itself, so that a restarted
//! end takes the next one. Between two islands' monitors it is the island's epoch.
//!
//! The stamp makes a snapshot of the line consistent without a lock: with release stores and acquire loads, a reader
//! that sees any word of a later version sees the stamp move. The heartbeat alone moves without it.

use crate::formats;
use crate::ring::{Block, Layout};
use crate::sync::Ordering;
use crate::transport::Field;
use skerry_hal::{CoreId, Epoch};

/// "SKERURPC".
pub const MAGIC: u64 = u64::from_le_bytes(*b"SKERURPC");
const HEARTBEAT: usize = 4;
const STAMP: usize = 7;

/// What one end says of itself.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Identity {
    /// The core it runs on.
    pub core: CoreId,
    /// The epoch of its island.
    pub epoch: Epoch,
    /// Bits of optional abilities; both ends use what both have.
    pub features: u32,
}

/// A greeting, as written or as read in one consistent snapshot.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Greeting {
    /// `major << 16 | minor` of the formats it speaks.
    pub version: u32,
    /// Who it is.
    pub identity: Identity,
    /// Which life of this end.
    pub incarnation: u32,
    /// The reader's incarnation that it accepts; 0: none.
    pub accepted: u32,
    /// Grows as long as it lives.
    pub heartbeat: u64,
    /// The reader's incarnations up to here are refused; 0: none.
    pub refused: u32,
    /// It goes, and says so.
    pub leaving: bool,
    /// The shape of both blocks.
    pub layout: Layout,
    /// Domain channels in the window; 0 outside windows.
    pub channels: u16,
}

const fn halves(low: u32, high: u32) -> u64 {
    low as u64 | (high as u64) << 32
}

const fn low(word: u64) -> u32 {
    word as u32
}

const fn high(word: u64) -> u32 {
    (word >> 32) as u32
}

impl Greeting {
    /// The greeting of a new life.
    pub const fn new(identity: Identity, incarnation: u32, layout: Layout, channels: u16) -> Self {
        Self {
            version: formats::VERSION,
            identity,
            incarnation,
            accepted: 0,
            heartbeat: 0,
            refused: 0,
            leaving: false,
            layout,
            channels,
        }
    }

    /// Its words, but for the stamp.
    pub const fn to_words(&self) -> [u64; STAMP] {
        [
            MAGIC,
            halves(self.version, self.identity.features),
            halves(self.identity.core.raw(), self.identity.epoch.0),
            halves(self.incarnation, self.accepted),
            self.heartbeat,
            halves(self.refused, self.leaving as u32),
            halves(self.layout.slots, self.layout.stride | (self.channels as u32) << 16),
        ]
    }

    /// What these words say. Words of another major version are not looked at further: their meaning may differ.
    pub const fn from_words(words: &[u64; STAMP]) -> Result<Self, Field> {
        let [magic, version, core, incarnation, heartbeat, refused, shape] = *words;
        if magic != MAGIC {
            return Err(Field::Magic);
        }
        let layout = Layout { slots: low(shape), stride: high(shape) & 0xffff };
        let greeting = Self {
            version: low(version),
            identity: Identity {
                core: CoreId::from_raw(low(core)),
                epoch: Epoch(high(core)),
                features: high(version),
            },
            incarnation: low(incarnation),
            accepted: high(incarnation),
            heartbeat,
            refused: low(refused),
            leaving: high(refused) == 1,
            layout,
            channels: (high(shape) >> 16) as u16,
        };
        if greeting.version >> 16 != formats::VERSION >> 16 {
            return Ok(greeting);
        }
        if layout.check().is_err() {
            return Err(Field::Layout);
        }
        if greeting.incarnation == 0 {
            return Err(Field::Epoch);
        }
        if high(refused) > 1 {
            return Err(Field::Refused);
        }
        Ok(greeting)
    }
}

/// A consistent snapshot of the greeting in `block`: `None` if there is none yet, or if it is just changing.
pub fn read(block: Block) -> Result<Option<Greeting>, Field> {
    let load = |index| block.word(index).load(Ordering::Acquire);
    let stamp = load(STAMP);
    let words: [u64; STAMP] = core::array::from_fn(load);
    if stamp % 2 == 1 || load(STAMP) != stamp || words == [0; STAMP] {
        return Ok(None);
    }
    Greeting::from_words(&words).map(Some)
}

/// The incarnation that the writer of `block` had last; 0 if it had none.
pub(crate) fn previous(block: Block) -> u32 {
    let load = |index| block.word(index).load(Ordering::Acquire);
    if load(0) == MAGIC { low(load(3)) } else { 0 }
}

/// The writing side of a greeting line.
pub(crate) struct Writer {
    block: Block,
    stamp: u64,
}

impl Writer {
    pub(crate) fn new(block: Block) -> Self {
        Self { block, stamp: block.word(STAMP).load(Ordering::Acquire) & !1 }
    }

    /// Replaces the whole greeting.
    pub(crate) fn publish(&mut self, greeting: &Greeting) {
        self.block.word(STAMP).store(self.stamp | 1, Ordering::Release);
        for (index, word) in greeting.to_words().into_iter().enumerate() {
            self.block.word(index).store(word, Ordering::Release);
        }
        self.stamp = self.stamp.wrapping_add(2);
        self.block.word(STAMP).store(self.stamp, Ordering::Release);
    }

    /// Writes the heartbeat alone.
    pub(crate) fn beat(&self, heartbeat: u64) {
        self.block.word(HEARTBEAT).store(heartbeat, Ordering::Release);
    }

    /// Whether the line is still what was published: if not, somebody else wrote to it.
    pub(crate) fn is_intact(&self, greeting: &Greeting) -> bool {
        let words = greeting.to_words();
        let load = |index: usize| self.block.word(index).load(Ordering::Acquire);
        load(STAMP) == self.stamp && words.iter().enumerate().all(|(index, word)| load(index) == *word)
    }
}
