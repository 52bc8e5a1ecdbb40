//! Free slots and free RAM, locked; nothing here allocates.

use super::{MemError, Object};
use crate::cap::{self, CNode, Make, ROOT};
use crate::cspace::Slots;
use crate::lock::Exclusive;
use crate::ram::Pool;
use core::fmt;
use skerry_abi::cap::CNODE_BYTES;
use skerry_abi::{CPtr, CapType, Error, PAGE_SIZE, Rights};

/// Bytes that a memory server is asked for at least.
const ASK: u64 = 64 << 10;
/// Pieces that are tried, where RAM turns out to be in use.
const TRIES: u32 = 4;

/// RAM that a memory server granted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Grant {
    /// Physical address.
    pub base: u64,
    /// Bytes.
    pub len: u64,
    /// NUMA node.
    pub node: u32,
}

/// Where RAM comes from when the domain's own is used up: the memory server.
pub trait MoreRam: Sync {
    /// Gets a RAM capability of at least `len` bytes into the empty slot `into`. It may not allocate, nor use the store:
    /// the program's heap may be what needs the RAM.
    ///
    /// # Errors
    /// What the server answers; the slot is empty then.
    fn more(&self, len: u64, into: CPtr) -> Result<Grant, Error>;
}

/// What object to make.
#[derive(Clone, Copy, Debug)]
pub struct What {
    /// Its type.
    pub ty: CapType,
    /// Level of a page table, else 0.
    pub level: u8,
    /// Bytes.
    pub len: u64,
    /// Its physical address is a multiple of this power of two.
    pub align: u64,
    /// NUMA node, if it matters.
    pub node: Option<u32>,
}

impl What {
    /// A frame of `len` bytes.
    pub const fn frame(len: u64) -> Self {
        Self { ty: CapType::Frame, level: 0, len, align: PAGE_SIZE, node: None }
    }

    /// A page table.
    pub const fn table(level: u8) -> Self {
        Self { ty: CapType::VNode, level, len: PAGE_SIZE, align: PAGE_SIZE, node: None }
    }
}

/// What is under the lock.
pub(super) struct State {
    pub slots: Slots,
    pub ram: Pool,
    pub more: Option<&'static dyn MoreRam>,
    /// Bytes that were given back too early: something was still made of them.
    pub lost: u64,
}

impl State {
    fn slot(&mut self) -> Result<CPtr, MemError> {
        if let Some(index) = self.slots.wants_node()
            && let Some(at) = self.slots.take()
        {
            let node = What { ty: CapType::CNode, level: 0, len: CNODE_BYTES, align: PAGE_SIZE, node: None };
            match self.make_at(&node, at) {
                Ok(made) => match ROOT.attach(CNode(at), index) {
                    Ok(()) => self.slots.node_added(),
                    Err(error) => {
                        self.undo(&made);
                        return Err(error.into());
                    }
                },
                // Out of RAM: the reserve still serves.
                Err(_) => self.slots.give(at),
            }
        }
        self.slots.take().ok_or(MemError::Slots)
    }

    fn make_at(&mut self, what: &What, at: CPtr) -> Result<Object, MemError> {
        for _ in 0..TRIES {
            let piece = self.ram.take(what.len, what.align, what.node).ok_or(MemError::Ram(what.len))?;
            let rights = Rights::all();
            let (offset, len) = (piece.offset, piece.len);
            let make = Make { ty: what.ty, level: what.level, rights, offset, len, count: 1 };
            match cap::retype(piece.ram, &make, at) {
                Ok(()) => return Ok(Object { cap: at, base: piece.base, len }),
                // Whoever gave it back had not deleted all of it. It is not offered again.
                Err(Error::Overlap) => self.lost += len,
                Err(error) => {
                    // It was taken just now.
                    let _taken = self.ram.give(piece.base, len);
                    return Err(error.into());
                }
            }
        }
        Err(Error::Overlap.into())
    }

    fn undo(&mut self, made: &Object) {
        if ROOT.delete(made.cap).is_ok() {
            // It was taken just now.
            let _taken = self.ram.give(made.base, made.len);
            self.slots.give(made.cap);
        }
    }
}

/// A domain's free slots and free RAM.
pub struct Store(Exclusive<State>);

impl Store {
    /// Nothing at all.
    pub const fn new() -> Self {
        Self(Exclusive::new(State { slots: Slots::empty(), ram: Pool::new(), more: None, lost: 0 }))
    }

    /// From now on the slots from `first` on are free.
    pub fn begin(&self, first: CPtr) {
        self.with(|s| s.slots.begin(first));
    }

    pub(super) fn with<R>(&self, what: impl FnOnce(&mut State) -> R) -> R {
        self.0.with(what)
    }

    /// For what the heap may come to, whoever allocated.
    fn try_with<R>(&self, what: impl FnOnce(&mut State) -> Result<R, MemError>) -> Result<R, MemError> {
        self.0.try_with(what).unwrap_or(Err(MemError::Busy))
    }

    /// A free slot, in a new CNode if need be.
    ///
    /// # Errors
    /// [`MemError::Slots`].
    pub fn slot(&self) -> Result<CPtr, MemError> {
        self.try_with(State::slot)
    }

    /// `slot` is empty again.
    pub fn give_slot(&self, slot: CPtr) {
        self.with(|s| s.slots.give(slot));
    }

    /// Makes one object, asking for more RAM if need be.
    ///
    /// # Errors
    /// [`MemError`].
    pub fn make(&self, what: &What) -> Result<Object, MemError> {
        let try_it = |s: &mut State| {
            let at = s.slot()?;
            s.make_at(what, at).inspect_err(|_| s.slots.give(at))
        };
        match self.try_with(try_it) {
            Err(MemError::Ram(_)) if what.node.is_none() => {
                self.more(what.len, what.align)?;
                self.try_with(try_it)
            }
            done => done,
        }
    }

    /// Deletes an object that was just made, of which nobody has a copy.
    pub fn undo(&self, made: &Object) {
        self.with(|s| s.undo(made));
    }

    /// Sees to it that `len` bytes of RAM are free, in pieces, asking for what is lacking.
    ///
    /// # Errors
    /// [`MemError::Ram`], [`MemError::Server`].
    pub fn ensure(&self, len: u64) -> Result<(), MemError> {
        let free = self.try_with(|s| Ok(s.ram.free()))?;
        let lacking = len.saturating_sub(free);
        if lacking == 0 { Ok(()) } else { self.more(lacking, PAGE_SIZE) }
    }

    /// Asks the memory server for RAM that `len` bytes at a multiple of `align` fit into.
    ///
    /// # Errors
    /// [`MemError::Ram`] if there is nobody to ask, [`MemError::Server`] if it refused.
    pub(super) fn more(&self, len: u64, align: u64) -> Result<(), MemError> {
        let (more, into) = self.try_with(|s| Ok((s.more.ok_or(MemError::Ram(len))?, s.slot()?)))?;
        let exact =
            len.max(1).checked_add(align - PAGE_SIZE).and_then(|n| n.checked_next_multiple_of(PAGE_SIZE));
        let exact = exact.ok_or(MemError::Ram(len))?;
        // Often asking costs more than RAM that waits for its use; where the server has no more, what is needed will do.
        let granted = match more.more(exact.max(ASK), into) {
            Err(_) if exact < ASK => more.more(exact, into),
            answer => answer,
        };
        let done = self.try_with(|s| match granted {
            Ok(grant) if s.ram.room() => {
                s.ram.add(into, grant.base, grant.len, grant.node);
                Ok(())
            }
            Ok(_) => Err(MemError::Ram(exact)),
            Err(error) => Err(MemError::Server(exact, error)),
        });
        if done.is_err() {
            // What was granted goes back by being deleted: the server keeps the capability it made it of.
            let _empty = ROOT.delete(into);
            self.give_slot(into);
        }
        done
    }

    /// Bytes that were given back too early.
    pub fn lost(&self) -> u64 {
        self.with(|s| s.lost)
    }
}

impl Default for Store {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.with(|s| write!(f, "{:?}, {} bytes of RAM free, {} lost", s.slots, s.ram.free(), s.lost))
    }
}
