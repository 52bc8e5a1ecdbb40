//! Retype: objects out of RAM, sub-ranges out of ranges.

use crate::invoke::Call;
use crate::kernel::{Kernel, Outcome};
use skerry_abi::cap::CNODE_SLOTS;
use skerry_abi::{CPtr, CapType, Error, PhysAddr, Rights};
use skerry_caps::db::Retype;
use skerry_caps::{SlotRef, types};
use skerry_hal::Machine;

/// Bytes that one retype clears at most: bounds the kernel entry.
const MAX_CLEAR: u64 = 32 << 10;
/// Objects that one retype makes at most, for the same reason.
const MAX_COUNT: u32 = 4;

impl<M: Machine> Kernel<M> {
    pub(crate) fn retype(&mut self, call: &Call) -> Result<Outcome, Error> {
        let ty = CapType::from_raw(call.lo(1) as u8).ok_or(Error::BadArgument)?;
        let what = Retype {
            ty,
            level: (call.lo(1) >> 8) as u8,
            rights: Rights::from_bits_truncate((call.lo(1) >> 16) as u8),
            offset: call.w[2],
            len: call.w[3],
            count: call.hi(1),
            // A monitor says that every core with a say has.
            agreed: call.cap.ty == CapType::Kernel,
        };
        let zeroed = types::of(ty).zeroed;
        if what.count > MAX_COUNT || (zeroed && what.len.saturating_mul(u64::from(what.count)) > MAX_CLEAR) {
            return Err(Error::BadArgument);
        }
        let first = call.cptr_hi(4);
        if first.slot() + what.count > CNODE_SLOTS {
            return Err(Error::BadArgument);
        }
        let to = self.destination(call.cptr_lo(4), CPtr(first.0))?;
        let dest = |n: u32| SlotRef(to.0 + u64::from(n) * skerry_abi::cap::SLOT_BYTES);
        let base = self.caps.retype(&mut self.memory, call.at, &what, dest)?;
        if zeroed {
            self.memory.clear(PhysAddr(base), what.len * u64::from(what.count));
            if what.ty == CapType::VNode && what.level == skerry_hal::paging::ROOT_LEVEL {
                for n in 0..u64::from(what.count) {
                    self.memory.machine().init_root(PhysAddr(base + n * what.len));
                }
            }
        }
        Ok(Outcome::Value(0))
    }

    pub(crate) fn retype_agreed(&mut self, call: &Call) -> Result<Outcome, Error> {
        let (at, _) = self.lookup(call.cptr_lo(5))?;
        self.retype(&Call { at, ..*call })
    }

    pub(crate) fn clear(&mut self, call: &Call) -> Result<Outcome, Error> {
        let (offset, len) = (call.w[1], call.w[2]);
        let end = offset.checked_add(len).ok_or(Error::BadArgument)?;
        if len > MAX_CLEAR || end > call.cap.len {
            return Err(Error::BadArgument);
        }
        if call.cap.ty == CapType::Ram {
            self.caps.check_revoke(&self.memory, call.at)?;
        } else if call.cap.owner != self.core {
            return Err(Error::Remote);
        }
        if self.caps.has_descendant(&self.memory, call.at) {
            return Err(Error::InUse);
        }
        self.memory.clear(PhysAddr(call.cap.base + offset), len);
        Ok(Outcome::Value(0))
    }
}
