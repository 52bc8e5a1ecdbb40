//! Finds the slot a [`CPtr`] names: two steps, root CNode and CNode.

use crate::dispatcher::DcbRef;
use crate::kernel::Kernel;
use skerry_abi::cap::SLOT_BYTES;
use skerry_abi::{CPtr, CapType, Error, PhysAddr, Rights};
use skerry_caps::{Cap, SlotRef, Store};
use skerry_hal::Machine;

/// Slot `index` of the CNode at `node`.
pub const fn slot_in(node: PhysAddr, index: u32) -> SlotRef {
    SlotRef(node.0 + index as u64 % skerry_abi::cap::CNODE_SLOTS as u64 * SLOT_BYTES)
}

impl<M: Machine> Kernel<M> {
    /// The slot that `cptr` names in the space of the root CNode at `root`; it may be empty.
    ///
    /// # Errors
    /// [`Error::EmptySlot`] if the root has no CNode there that may be looked into, or `cptr` is null.
    #[inline(never)]
    pub(crate) fn slot_at(&self, root: PhysAddr, cptr: CPtr) -> Result<SlotRef, Error> {
        self.find_slot(root, cptr).ok_or(Error::EmptySlot)
    }

    /// The same, for the few places that every invocation passes.
    #[inline(always)]
    pub(crate) fn find_slot(&self, root: PhysAddr, cptr: CPtr) -> Option<SlotRef> {
        if cptr.node() >= skerry_abi::cap::CNODE_SLOTS || cptr == CPtr::NULL {
            return None;
        }
        let node = self.memory.slot(slot_in(root, cptr.node())).readable_cnode()?;
        Some(slot_in(PhysAddr(node), cptr.slot()))
    }

    /// The slot and capability that `cptr` names for the running dispatcher.
    #[inline(never)]
    pub(crate) fn lookup(&mut self, cptr: CPtr) -> Result<(SlotRef, Cap), Error> {
        let root = self.own_root();
        let at = self.slot_at(root, cptr)?;
        let cap = self.memory.slot(at).cap().ok_or(Error::EmptySlot)?;
        Ok((at, cap))
    }

    /// The same, for a capability of one type with some rights.
    pub(crate) fn lookup_as(
        &mut self,
        cptr: CPtr,
        ty: CapType,
        rights: Rights,
    ) -> Result<(SlotRef, Cap), Error> {
        let (at, cap) = self.lookup(cptr)?;
        if cap.ty != ty {
            return Err(Error::WrongType);
        }
        if !cap.rights.contains(rights) {
            return Err(Error::NoRight);
        }
        Ok((at, cap))
    }

    /// The root CNode that `cptr` names, or the caller's own for null.
    pub(crate) fn root(&mut self, cptr: CPtr, rights: Rights) -> Result<PhysAddr, Error> {
        if cptr == CPtr::NULL {
            return Ok(self.own_root());
        }
        self.lookup_as(cptr, CapType::CNode, rights).map(|(_, cap)| PhysAddr(cap.base))
    }

    /// The slot that `cptr` names in the space of root `root`, to be written to.
    pub(crate) fn destination(&mut self, root: CPtr, cptr: CPtr) -> Result<SlotRef, Error> {
        let root = if root == CPtr::NULL { self.own_root() } else { self.root(root, Rights::WRITE)? };
        self.slot_at(root, cptr)
    }

    #[inline]
    pub(crate) fn own_root(&mut self) -> PhysAddr {
        let current: DcbRef = self.schedule.current;
        self.memory.dcb(current).cspace
    }
}
