//! An island's memory for channels: every block is a frame, retyped from the island's RAM in a capability table, so
//! that memory given out twice is found by the code that guards it in the CPU driver.

use skerry_abi::{CapType, CoreId, Error, PAGE_SIZE, Rights};
use skerry_caps::db::Retype;
use skerry_caps::{Cap, Db, Slot, SlotRef, Store};
use skerry_urpc::ring::Word;
use skerry_urpc::{Block, Layout};
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::sync::atomic::Ordering;

/// The shape of the channels inside an island.
pub const LAYOUT: Layout = Layout { slots: 16, stride: 64 };

/// First byte of the RAM that blocks are made of.
const RAM: u64 = 0x4000_0000;
const RAM_BYTES: u64 = 16 << 20;

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
}

impl Drop for Words {
    fn drop(&mut self) {
        POOL.with_borrow_mut(|pool| pool.entry(self.0.len() * 8).or_default().push(self.0));
    }
}

struct Slots(Vec<Slot>);

impl Store for Slots {
    fn slot(&self, at: SlotRef) -> &Slot {
        &self.0[at.0 as usize]
    }
    fn slot_mut(&mut self, at: SlotRef) -> &mut Slot {
        &mut self.0[at.0 as usize]
    }
}

/// The memory of one life of an island.
pub struct Memory {
    db: Db,
    slots: Slots,
    next: u64,
    blocks: BTreeMap<u64, Words>,
    /// Give out the same memory again: a bug to find.
    pub shares: bool,
}

impl Memory {
    /// An island's fresh memory, owned by its first core.
    pub fn new(owner: CoreId) -> Self {
        let mut memory = Self {
            db: Db::new(owner),
            slots: Slots(vec![Slot::default(); 2]),
            next: 0,
            blocks: BTreeMap::new(),
            shares: false,
        };
        let ram = Cap::new(CapType::Ram, RAM, RAM_BYTES, owner);
        memory.db.insert(&mut memory.slots, SlotRef(1), &ram).expect("the slot is free");
        memory
    }

    /// A new block: its physical address.
    ///
    /// # Errors
    /// What the capability table says.
    pub fn make(&mut self) -> Result<u64, Error> {
        let bytes = (LAYOUT.block_bytes() as u64).next_multiple_of(PAGE_SIZE);
        let what = Retype {
            ty: CapType::Frame,
            level: 0,
            rights: Rights::all(),
            offset: self.next,
            len: bytes,
            count: 1,
        };
        let at = SlotRef(self.slots.0.len() as u64);
        self.slots.0.push(Slot::default());
        self.db.retype(&mut self.slots, SlotRef(1), &what, |_| at)?;
        let address = RAM + self.next;
        if !self.shares {
            self.next += bytes;
        }
        self.blocks.insert(address, Words::new(bytes as usize));
        Ok(address)
    }

    /// The block at a physical address; `None` if there is none.
    pub fn block(&self, address: u64) -> Option<Block> {
        self.blocks.get(&address).map(Words::block)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use skerry_abi::{CapType, IslandId};

    #[test]
    fn blocks_are_apart_and_memory_in_use_is_not_given_out() {
        let mut memory = Memory::new(CoreId::new(IslandId(0), 0));
        let (a, b) = (memory.make().unwrap(), memory.make().unwrap());
        assert!(a.abs_diff(b) >= LAYOUT.block_bytes() as u64);
        assert!(memory.block(a).is_some() && memory.block(a + 1).is_none());
        memory.shares = true;
        memory.make().unwrap();
        assert_eq!(memory.make(), Err(Error::Overlap));
        assert!(memory.db.find(&memory.slots, CapType::Frame, a, PAGE_SIZE).is_some());
    }
}
