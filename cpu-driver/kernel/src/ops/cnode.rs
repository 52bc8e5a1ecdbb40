//! Copy and attach; `reclaim` takes away.

use crate::cspace::slot_in;
use crate::dispatcher::RING_BYTES;
use crate::invoke::Call;
use crate::kernel::{Kernel, Outcome};
use skerry_abi::cap::CNODE_SLOTS;
use skerry_abi::{CapType, Error, PhysAddr, Rights};
use skerry_caps::Store;
use skerry_hal::Machine;

impl<M: Machine> Kernel<M> {
    pub(crate) fn copy(&mut self, call: &Call) -> Result<Outcome, Error> {
        let source_root = self.root(call.cptr_hi(2), Rights::READ)?;
        let from = self.slot_at(source_root, call.cptr_lo(1))?;
        let to = self.slot_at(PhysAddr(call.cap.base), call.cptr_hi(1))?;
        let badge = call.w[3];
        if badge != 0 {
            let source = self.memory.slot(from).cap().ok_or(Error::EmptySlot)?;
            // One that has a badge keeps it: its holder may not take another's name.
            if source.ty != CapType::Endpoint || source.len != RING_BYTES || source.extra != 0 {
                return Err(Error::BadArgument);
            }
        }
        self.caps.copy(&mut self.memory, from, to, Rights::from_bits_truncate(call.lo(2) as u8))?;
        if badge != 0 {
            self.memory.slot_mut(to).set_extra(badge);
        }
        Ok(Outcome::Value(0))
    }

    pub(crate) fn is_free(&mut self, call: &Call) -> Result<Outcome, Error> {
        let at = self.slot_at(PhysAddr(call.cap.base), call.cptr_lo(1))?;
        Ok(Outcome::Value(u64::from(self.memory.slot(at).is_empty())))
    }

    pub(crate) fn attach(&mut self, call: &Call) -> Result<Outcome, Error> {
        let (from, cap) = self.lookup(call.cptr_lo(1))?;
        if cap.ty != CapType::CNode || call.w[2] >= u64::from(CNODE_SLOTS) {
            return Err(Error::BadArgument);
        }
        let to = slot_in(PhysAddr(call.cap.base), call.lo(2));
        self.caps.copy(&mut self.memory, from, to, Rights::all())?;
        Ok(Outcome::Value(0))
    }
}
