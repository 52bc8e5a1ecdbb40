//! An island's memory for channels: every block is a frame, made of RAM by the first core's CPU driver, so that memory given
//! out twice is found by the code that guards it. What a block holds lies apart from the RAM: the ring wants words.

use crate::faults::Damage;
use crate::kernel::{Core, Ram};
use crate::wire::Wire;
use skerry_abi::{CPtr, CapType, Error, PAGE_SIZE};
use skerry_urpc::ring::Word;
use skerry_urpc::{Block, Layout, window};
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::sync::atomic::Ordering;

/// The shape of the channels inside an island.
pub const LAYOUT: Layout = Layout { slots: 16, stride: 64 };

thread_local! {
    /// Memory of earlier runs, by size. A block must live for ever, a run need not.
    static POOL: RefCell<BTreeMap<usize, Vec<&'static [Word]>>> = const { RefCell::new(BTreeMap::new()) };
}

/// Zeroed words, given back when dropped. Whoever drops it has dropped what uses it.
#[derive(Debug)]
pub struct Words(&'static [Word]);

impl Words {
    /// So many bytes.
    pub fn new(bytes: usize) -> Self {
        let used = POOL.with_borrow_mut(|pool| pool.entry(bytes).or_default().pop());
        let words = used.unwrap_or_else(|| (0..bytes / 8).map(|_| Word::new(0)).collect::<Vec<_>>().leak());
        words.iter().for_each(|w| w.store(0, Ordering::Relaxed));
        Self(words)
    }

    /// The block in it.
    pub fn block(&self) -> Block {
        Block::from_words(self.0)
    }

    /// Does something to the message that was written last into a block of a window, the first or the second; or to the one
    /// before.
    pub fn damage(&self, second: bool, damage: Damage) {
        let slots = window::LAYOUT.slots;
        let first = usize::from(second) * window::BLOCK_BYTES / 8 + SLOTS;
        let slot = |n: u32| {
            let at = first + (n % slots) as usize * window::LAYOUT.stride as usize / 8;
            &self.0[at..at + SLOT_WORDS]
        };
        let last = |n: u32| &slot(n)[SLOT_WORDS - 1];
        let sequence = |n: u32| last(n).load(Ordering::Relaxed) as u32;
        let is_newest =
            |n: &u32| sequence(*n) % slots == *n && sequence(n + 1) != sequence(*n).wrapping_add(1);
        let Some(newest) = (0..slots).find(is_newest) else { return };
        let read = |n: u32| slot(n).iter().map(|w| w.load(Ordering::Relaxed)).collect::<Vec<_>>();
        let write = |n: u32, words: &[u64]| {
            slot(n).iter().zip(words).for_each(|(to, from)| to.store(*from, Ordering::Relaxed));
        };
        match damage {
            Damage::Lost => {
                // The slot holds again what it held a lap ago, or what all slots hold before the first lap.
                let (lost, next) = (newest + slots - 1, sequence(newest + 1));
                let lap = sequence(newest).wrapping_sub(slots);
                let before = if next == lap.wrapping_add(1) { lap.wrapping_sub(1) } else { next };
                last(lost).store(before.into(), Ordering::Relaxed);
            }
            Damage::Doubled => write(newest + 1, &read(newest)),
            Damage::Reordered => {
                let (one, other) = (read(newest), read(newest + slots - 1));
                write(newest, &other);
                write(newest + slots - 1, &one);
            }
        }
    }
}

/// Words of a slot, and where the first slot is.
const SLOT_WORDS: usize = 8;
const SLOTS: usize = 2 * SLOT_WORDS;

impl Drop for Words {
    fn drop(&mut self) {
        POOL.with_borrow_mut(|pool| pool.entry(self.0.len() * 8).or_default().push(self.0));
    }
}

/// The memory of one life of an island.
pub struct Memory {
    /// All of it.
    pub ram: Ram,
    blocks: BTreeMap<u64, (CPtr, Words, Wire)>,
}

impl Memory {
    /// An island's fresh memory.
    pub fn new(cores: u16) -> Self {
        Self { ram: Ram::new(cores), blocks: BTreeMap::new() }
    }

    /// A new block, in a frame that the island's first core makes: its physical address. `again`: in memory that is in use,
    /// a bug to find.
    ///
    /// # Errors
    /// What the CPU driver says.
    pub fn make(&mut self, first: &mut Core, again: bool) -> Result<u64, Error> {
        let bytes = (LAYOUT.block_bytes() as u64).next_multiple_of(PAGE_SIZE);
        let (frame, address) = first.take(CapType::Frame, bytes, again)?;
        self.blocks.insert(address, (frame, Words::new(bytes as usize), Wire::default()));
        Ok(address)
    }

    /// The block at a physical address, and the wire that leads there; `None` if there is none.
    pub fn block(&self, address: u64) -> Option<(Block, Wire)> {
        self.blocks.get(&address).map(|(_, words, wire)| (words.block(), wire.clone()))
    }

    /// The first core's capability for the frame there.
    pub fn frame(&self, address: u64) -> Option<CPtr> {
        self.blocks.get(&address).map(|(frame, ..)| *frame)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use skerry_abi::{CoreId, IslandId};

    #[test]
    fn blocks_are_apart_and_memory_in_use_is_not_given_out() {
        let mut memory = Memory::new(1);
        let all = memory.ram.whole();
        let mut first = Core::boot(&memory.ram, CoreId::new(IslandId(0), 0), all, &[]).unwrap();
        let mut make = |again| memory.make(&mut first, again);
        let (a, b) = (make(false).unwrap(), make(false).unwrap());
        assert!(a.abs_diff(b) >= LAYOUT.block_bytes() as u64);
        assert_eq!(make(true), Err(Error::Overlap));
        assert!(memory.block(a).is_some() && memory.block(a + 1).is_none());
    }
}
