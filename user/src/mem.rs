//! Objects made on demand out of the domain's own RAM (rule `user-pays`), and their RAM taken back.
//!
//! [`Store`] is what a domain has: free slots and free RAM, one of each for the whole program, since the heap grows out
//! of the same. [`Memory`] is the handle that programs use. Nothing is allocated while the store is locked; what would
//! lengthen a list makes room first ([`Memory`] sees to it).
//!
//! When the domain's RAM is used up and a [`MoreRam`] was named, that is asked: the memory server of this core. Who owns
//! what, and how it flows back: `docs/decisions/0010-user-memory.md`.

mod error;
mod store;

pub use error::MemError;
pub use store::{Grant, MoreRam, Store, What};

use crate::cap::{self, Endpoint, Make, ROOT};
use crate::ram::{Lists, Piece, Pool};
use skerry_abi::cap::{CNODE_BYTES, DISPATCHER_BYTES};
use skerry_abi::{CPtr, CapType, Error, PAGE_SIZE, PhysAddr, PhysRange, Rights};

/// This domain's slots and RAM.
pub static OWN: Store = Store::new();

/// A memory object and where it lies.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Object {
    /// Its capability.
    pub cap: CPtr,
    /// Physical address.
    pub base: u64,
    /// Bytes.
    pub len: u64,
}

impl Object {
    /// Where it lies.
    pub const fn range(self) -> PhysRange {
        PhysRange::new(PhysAddr(self.base), self.len)
    }
}

/// Makes objects out of a store, and gives them back to it.
#[derive(Clone, Copy, Debug)]
pub struct Memory {
    store: &'static Store,
}

impl Memory {
    /// What makes objects out of `store`.
    pub const fn new(store: &'static Store) -> Self {
        Self { store }
    }

    /// The slots and RAM.
    pub const fn store(&self) -> &'static Store {
        self.store
    }

    /// Runs `what` on the free RAM, with room for what it may add.
    fn ram_with<R>(&self, what: impl FnOnce(&mut Pool) -> R) -> R {
        while let Some(wanted) = self.store.with(|s| (!s.ram.room()).then(|| s.ram.wanted())) {
            let lists = Lists::new(wanted);
            let old = self.store.with(|s| s.ram.make_room(lists));
            drop(old);
        }
        self.store.with(|s| what(&mut s.ram))
    }

    /// A free slot, in a new CNode if need be.
    ///
    /// # Errors
    /// [`MemError::Slots`].
    pub fn slot(&mut self) -> Result<CPtr, MemError> {
        self.store.slot()
    }

    /// `slot` is empty again.
    pub fn give_slot(&mut self, slot: CPtr) {
        self.store.give_slot(slot);
    }

    /// Makes one object.
    ///
    /// # Errors
    /// [`MemError`]: without RAM or slots; what the CPU driver answers.
    pub fn make(
        &mut self,
        ty: CapType,
        level: u8,
        len: u64,
        align: u64,
        node: Option<u32>,
    ) -> Result<Object, MemError> {
        self.make_what(&What { ty, level, len, align, node })
    }

    /// Makes one object.
    ///
    /// # Errors
    /// As [`make`](Self::make).
    pub fn make_what(&mut self, what: &What) -> Result<Object, MemError> {
        self.ram_with(|_| ());
        self.store.make(what)
    }

    /// Sees to it that `len` bytes of RAM are free, in pieces, asking for what is lacking.
    ///
    /// # Errors
    /// [`MemError::Ram`], [`MemError::Server`].
    pub fn ensure(&mut self, len: u64) -> Result<(), MemError> {
        self.ram_with(|_| ());
        self.store.ensure(len)
    }

    /// Makes a frame. What it holds is whatever was there before.
    pub fn frame(&mut self, len: u64) -> Result<Object, MemError> {
        self.make(CapType::Frame, 0, len, PAGE_SIZE, None)
    }

    /// Makes a page table.
    pub fn vnode(&mut self, level: u8) -> Result<Object, MemError> {
        self.make(CapType::VNode, level, PAGE_SIZE, PAGE_SIZE, None)
    }

    /// Makes a CNode.
    pub fn cnode(&mut self) -> Result<Object, MemError> {
        self.make(CapType::CNode, 0, CNODE_BYTES, PAGE_SIZE, None)
    }

    /// Makes a dispatcher.
    pub fn dispatcher(&mut self) -> Result<Object, MemError> {
        self.make(CapType::Dispatcher, 0, DISPATCHER_BYTES, PAGE_SIZE, None)
    }

    /// Makes an endpoint of `dispatcher` that raises `bits`.
    pub fn endpoint(&mut self, dispatcher: cap::Dispatcher, bits: u64) -> Result<Endpoint, MemError> {
        let at = self.slot()?;
        dispatcher.endpoint(bits, at).map_err(|error| self.refused(at, error))
    }

    /// Makes a RAM capability of its own out of free RAM: to be given away. Whoever keeps the capability can take
    /// everything that was made of it back ([`reclaim`](Self::reclaim)).
    pub fn ram(&mut self, len: u64, align: u64, node: Option<u32>) -> Result<Object, MemError> {
        let piece = match self.take(len, align, node) {
            Some(piece) => piece,
            None if node.is_none() => {
                self.ram_with(|_| ());
                self.store.more(len, align)?;
                self.take(len, align, node).ok_or(MemError::Ram(len))?
            }
            None => return Err(MemError::Ram(len)),
        };
        self.ram_of(&piece)
    }

    /// Makes a RAM capability of its own of a piece that was taken.
    pub fn ram_of(&mut self, piece: &Piece) -> Result<Object, MemError> {
        let (base, len) = (piece.base, piece.len);
        let cap =
            if piece.whole { piece.ram } else { self.part_of(piece.ram, CapType::Ram, piece.offset, len)? };
        Ok(Object { cap, base, len })
    }

    /// Retypes part of a capability that is not in the pool.
    pub fn part_of(&mut self, source: CPtr, ty: CapType, offset: u64, len: u64) -> Result<CPtr, MemError> {
        let at = self.slot()?;
        let make = Make { ty, level: 0, rights: Rights::all(), offset, len, count: 1 };
        cap::retype(source, &make, at).map_err(|error| self.refused(at, error))?;
        Ok(at)
    }

    /// A copy of `from`, both in the own space.
    pub fn copy(&mut self, from: CPtr, rights: Rights) -> Result<CPtr, MemError> {
        let at = self.slot()?;
        ROOT.copy_in(from, at, rights).map_err(|error| self.refused(at, error))?;
        Ok(at)
    }

    fn refused(&mut self, slot: CPtr, error: Error) -> MemError {
        self.give_slot(slot);
        MemError::Refused(error)
    }

    /// Deletes a capability and has its slot back. If it was for RAM of the own pool, that is not found again: see
    /// [`free`](Self::free).
    pub fn delete(&mut self, at: CPtr) -> Result<(), MemError> {
        ROOT.delete(at)?;
        self.give_slot(at);
        Ok(())
    }

    /// Deletes an object that was made here, of which nobody has a copy, and has its RAM and its slot back.
    ///
    /// # Errors
    /// [`MemError::Refused`]: then nothing has changed. [`MemError::Back`]: it was not made here.
    pub fn free(&mut self, object: Object) -> Result<(), MemError> {
        let Object { cap, base, len } = object;
        let (origin, whole) = self
            .store
            .with(|s| s.ram.origin(base, len))
            .ok_or(MemError::Back(crate::ram::GiveError::NotOurs))?;
        // All of a RAM capability is that capability: it stays.
        if !(whole && origin == cap) {
            self.delete(cap)?;
        }
        self.ram_with(|ram| ram.give(base, len)).map_err(MemError::Back)
    }

    /// Takes back RAM that was given away: deletes everything that was made of it, on this core, and has it back. Whoever
    /// used it must have been stopped.
    ///
    /// # Errors
    /// As [`free`](Self::free).
    pub fn reclaim(&mut self, ram: Object) -> Result<(), MemError> {
        ROOT.revoke(ram.cap)?;
        self.free(ram)
    }

    /// More RAM to spend: all of the capability at `cap`.
    pub fn add_ram(&mut self, cap: CPtr, at: PhysRange, node: u32) {
        self.ram_with(|ram| ram.add(cap, at.base.0, at.len, node));
    }

    /// A piece of free RAM.
    pub fn take(&mut self, len: u64, align: u64, node: Option<u32>) -> Option<Piece> {
        self.ram_with(|ram| ram.take(len, align, node))
    }

    /// The largest piece of free RAM.
    pub fn take_largest(&mut self) -> Option<Piece> {
        self.ram_with(Pool::take_largest)
    }

    /// A piece that was taken, and of which nothing is left, is free again.
    pub fn give_back(&mut self, piece: &Piece) -> Result<(), MemError> {
        self.ram_with(|ram| ram.give(piece.base, piece.len)).map_err(MemError::Back)
    }

    /// What lies in `range` belongs to `node`.
    pub fn set_node(&mut self, range: PhysRange, node: u32) {
        self.ram_with(|ram| ram.set_node(range, node));
    }

    /// Bytes that were taken now belong to another core.
    pub fn gave_away(&mut self, len: u64) {
        self.store.with(|s| s.ram.gave_away(len));
    }

    /// Bytes free.
    pub fn free_ram(&self) -> u64 {
        self.store.with(|s| s.ram.free())
    }

    /// Bytes free on one node.
    pub fn free_on(&self, node: u32) -> u64 {
        self.store.with(|s| s.ram.free_on(node))
    }

    /// Nodes that have free RAM.
    pub fn nodes(&self) -> impl Iterator<Item = u32> {
        let (store, mut from) = (self.store, Some(0));
        core::iter::from_fn(move || {
            let node = store.with(|s| s.ram.node_from(from?))?;
            from = node.checked_add(1);
            Some(node)
        })
    }

    /// Bytes of RAM, free or not, without those given away.
    pub fn total_ram(&self) -> u64 {
        self.store.with(|s| s.ram.total())
    }

    /// Slots free, in the CNodes that are there.
    pub fn free_slots(&self) -> u32 {
        self.store.with(|s| s.slots.count())
    }

    /// Whom to ask for RAM when there is none.
    pub fn set_more(&mut self, more: &'static dyn MoreRam) {
        self.store.with(|s| s.more = Some(more));
    }
}
