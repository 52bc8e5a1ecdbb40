//! Objects made on demand out of the domain's own RAM (rule `user-pays`).

use crate::cap::{self, CNode, Endpoint, Make, ROOT};
use crate::cspace::Slots;
use crate::ram::{Piece, Pool};
use skerry_abi::cap::{CNODE_BYTES, DISPATCHER_BYTES};
use skerry_abi::{CPtr, CapType, Error, PAGE_SIZE, PhysAddr, PhysRange, Rights};

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

/// Free slots and free RAM.
#[derive(Debug)]
pub struct Memory {
    /// Free slots.
    pub slots: Slots,
    /// Free RAM.
    pub ram: Pool,
}

impl Memory {
    /// A free slot, in a new CNode if need be.
    ///
    /// # Errors
    /// [`Error::Full`]; what the CPU driver answers.
    pub fn slot(&mut self) -> Result<CPtr, Error> {
        if let Some(index) = self.slots.wants_node()
            && let Some(at) = self.slots.take()
        {
            match self.make_at(CapType::CNode, 0, CNODE_BYTES, PAGE_SIZE, None, at) {
                Ok(_) => {
                    ROOT.attach(CNode(at), index)?;
                    self.slots.node_added();
                }
                // Out of RAM: the reserve still serves.
                Err(_) => self.slots.give(at),
            }
        }
        self.slots.take().ok_or(Error::Full)
    }

    fn make_at(
        &mut self,
        ty: CapType,
        level: u8,
        len: u64,
        align: u64,
        node: Option<u32>,
        at: CPtr,
    ) -> Result<Object, Error> {
        let piece = self.ram.take(len, align, node).ok_or(Error::Full)?;
        let make = Make { ty, level, rights: Rights::all(), offset: piece.offset, len: piece.len, count: 1 };
        cap::retype(piece.ram, &make, at)?;
        Ok(Object { cap: at, base: piece.base, len: piece.len })
    }

    /// Makes one object.
    ///
    /// # Errors
    /// [`Error::Full`] without RAM or slots; what the CPU driver answers.
    pub fn make(
        &mut self,
        ty: CapType,
        level: u8,
        len: u64,
        align: u64,
        node: Option<u32>,
    ) -> Result<Object, Error> {
        let at = self.slot()?;
        self.make_at(ty, level, len, align, node, at).inspect_err(|_| self.slots.give(at))
    }

    /// Makes a frame. What it holds is whatever was there before.
    pub fn frame(&mut self, len: u64) -> Result<Object, Error> {
        self.make(CapType::Frame, 0, len, PAGE_SIZE, None)
    }

    /// Makes a page table.
    pub fn vnode(&mut self, level: u8) -> Result<Object, Error> {
        self.make(CapType::VNode, level, PAGE_SIZE, PAGE_SIZE, None)
    }

    /// Makes a CNode.
    pub fn cnode(&mut self) -> Result<Object, Error> {
        self.make(CapType::CNode, 0, CNODE_BYTES, PAGE_SIZE, None)
    }

    /// Makes a dispatcher.
    pub fn dispatcher(&mut self) -> Result<Object, Error> {
        self.make(CapType::Dispatcher, 0, DISPATCHER_BYTES, PAGE_SIZE, None)
    }

    /// Makes an endpoint of `dispatcher` that raises `bits`.
    pub fn endpoint(&mut self, dispatcher: cap::Dispatcher, bits: u64) -> Result<Endpoint, Error> {
        let at = self.slot()?;
        dispatcher.endpoint(bits, at)
    }

    /// Makes a RAM capability of its own out of free RAM: to be given away.
    pub fn ram(&mut self, len: u64, align: u64, node: Option<u32>) -> Result<Object, Error> {
        let piece = self.ram.take(len, align, node).ok_or(Error::Full)?;
        self.ram_of(&piece)
    }

    /// Makes a RAM capability of its own of a piece that was taken from the pool.
    pub fn ram_of(&mut self, piece: &Piece) -> Result<Object, Error> {
        if piece.whole {
            return Ok(Object { cap: piece.ram, base: piece.base, len: piece.len });
        }
        let at = self.slot()?;
        let make = Make {
            ty: CapType::Ram,
            level: 0,
            rights: Rights::all(),
            offset: piece.offset,
            len: piece.len,
            count: 1,
        };
        cap::retype(piece.ram, &make, at).inspect_err(|_| self.slots.give(at))?;
        Ok(Object { cap: at, base: piece.base, len: piece.len })
    }

    /// Retypes part of a capability that is not in the pool.
    pub fn part_of(&mut self, source: CPtr, ty: CapType, offset: u64, len: u64) -> Result<CPtr, Error> {
        let at = self.slot()?;
        let make = Make { ty, level: 0, rights: Rights::all(), offset, len, count: 1 };
        cap::retype(source, &make, at).inspect_err(|_| self.slots.give(at))?;
        Ok(at)
    }

    /// A copy of `from`, both in the own space.
    pub fn copy(&mut self, from: CPtr, rights: Rights) -> Result<CPtr, Error> {
        let at = self.slot()?;
        ROOT.copy_in(from, at, rights).inspect_err(|_| self.slots.give(at))?;
        Ok(at)
    }

    /// Deletes a capability and has its slot back.
    pub fn delete(&mut self, at: CPtr) -> Result<(), Error> {
        ROOT.delete(at)?;
        self.slots.give(at);
        Ok(())
    }
}
