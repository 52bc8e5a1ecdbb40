//! Copy, delete, attach.

use crate::cspace::slot_in;
use crate::dispatcher::{DcbRef, KeptSlot};
use crate::invoke::Call;
use crate::kernel::{Kernel, Outcome};
use skerry_abi::cap::CNODE_SLOTS;
use skerry_abi::dispatcher::State;
use skerry_abi::{CPtr, CapType, Error, PhysAddr, Rights};
use skerry_caps::{Cap, SlotRef, Store};
use skerry_hal::Machine;

impl<M: Machine> Kernel<M> {
    pub(crate) fn copy(&mut self, call: &Call) -> Result<Outcome, Error> {
        call.need(Rights::WRITE)?;
        let source_root = self.root(call.cptr_hi(2), Rights::READ)?;
        let from = self.slot_at(source_root, call.cptr_lo(1))?;
        let to = self.slot_at(PhysAddr(call.cap.base), call.cptr_hi(1))?;
        self.caps.copy(&mut self.memory, from, to, Rights::from_bits_truncate(call.lo(2) as u8))?;
        Ok(Outcome::Value(0))
    }

    pub(crate) fn is_free(&mut self, call: &Call) -> Result<Outcome, Error> {
        call.need(Rights::READ)?;
        let at = self.slot_at(PhysAddr(call.cap.base), call.cptr_lo(1))?;
        Ok(Outcome::Value(u64::from(self.memory.slot(at).is_empty())))
    }

    pub(crate) fn attach(&mut self, call: &Call) -> Result<Outcome, Error> {
        call.need(Rights::WRITE)?;
        let (from, cap) = self.lookup(call.cptr_lo(1))?;
        if cap.ty != CapType::CNode || call.w[2] >= u64::from(CNODE_SLOTS) {
            return Err(Error::BadArgument);
        }
        let to = slot_in(PhysAddr(call.cap.base), call.lo(2));
        self.caps.copy(&mut self.memory, from, to, Rights::all())?;
        Ok(Outcome::Value(0))
    }

    pub(crate) fn delete(&mut self, call: &Call) -> Result<Outcome, Error> {
        call.need(Rights::WRITE)?;
        let at = self.slot_at(PhysAddr(call.cap.base), CPtr(call.lo(1)))?;
        self.delete_slot(at)?;
        Ok(Outcome::Value(0))
    }

    /// Empties a slot; if it was the last for its object, undoes what the object did.
    pub(crate) fn delete_slot(&mut self, at: SlotRef) -> Result<(), Error> {
        let cap = self.memory.slot(at).cap().ok_or(Error::EmptySlot)?;
        let last = !self.caps.has_copy(&self.memory, at);
        if last {
            self.may_go(at, &cap)?;
        }
        self.unmap_slot(at, &cap);
        let object = self.caps.delete(&mut self.memory, at)?;
        if let Some(Cap { ty: CapType::Dispatcher, base, .. }) = object {
            let dcb = DcbRef::new(PhysAddr(base));
            self.forget(dcb);
            for which in KeptSlot::ALL {
                // Empty slots answer an error, which is as good as deleted; `may_go` has seen to the others.
                let _ = self.delete_slot(dcb.slot(which));
            }
        }
        Ok(())
    }

    /// Refuses to let go of the last capability for something that is in use.
    fn may_go(&mut self, at: SlotRef, cap: &Cap) -> Result<(), Error> {
        match cap.ty {
            CapType::CNode => {
                let node = PhysAddr(cap.base);
                // Its own slot may be inside: a space that holds its root.
                let others =
                    |n: &u32| slot_in(node, *n) != at && !self.memory.slot(slot_in(node, *n)).is_empty();
                if (0..CNODE_SLOTS).any(|n| others(&n)) { Err(Error::InUse) } else { Ok(()) }
            }
            CapType::Dispatcher => {
                let dcb = DcbRef::new(PhysAddr(cap.base));
                let stopped = matches!(self.memory.dcb(dcb).state(), State::New | State::Dead);
                if !stopped || self.caps.has_descendant(&self.memory, at) {
                    return Err(Error::InUse);
                }
                for which in KeptSlot::ALL {
                    let kept = dcb.slot(which);
                    if let Some(cap) = self.memory.slot(kept).cap()
                        && !self.caps.has_copy(&self.memory, kept)
                    {
                        self.may_go(kept, &cap)?;
                    }
                }
                Ok(())
            }
            _ => Ok(()),
        }
    }
}
