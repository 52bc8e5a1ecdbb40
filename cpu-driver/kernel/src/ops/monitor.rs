//! The monitor's authority over its own CPU driver (paper §4.4).

use crate::invoke::Call;
use crate::kernel::{Kernel, Outcome};
use crate::ops::reclaim::Revoked;
use skerry_abi::cap::mark;
use skerry_abi::{CPtr, CapType, CoreId, Error, PAGE_SIZE, PhysAddr, Rights};
use skerry_caps::{Cap, SlotRef, types};
use skerry_hal::Machine;

/// Bytes that one console write carries.
const CONSOLE_BYTES: usize = 32;

impl<M: Machine> Kernel<M> {
    pub(crate) fn console_write(&mut self, call: &Call) -> Result<Outcome, Error> {
        let len = usize::try_from(call.w[1]).map_err(|_| Error::BadArgument)?;
        let mut bytes = [0u8; CONSOLE_BYTES];
        for (chunk, word) in bytes.chunks_exact_mut(8).zip(&call.w[2..6]) {
            chunk.copy_from_slice(&word.to_le_bytes());
        }
        self.say(bytes.get(..len).ok_or(Error::BadArgument)?);
        Ok(Outcome::Value(0))
    }

    pub(crate) fn adopt(&mut self, call: &Call) -> Result<Outcome, Error> {
        let mut cap = Self::object(call)?;
        cap.owner = CoreId::from_raw(call.hi(1));
        cap.rights = Rights::from_bits_truncate((call.lo(1) >> 8) as u8);
        cap.level = (call.lo(1) >> 16) as u8 % if cap.ty == CapType::VNode { 4 } else { 1 };
        if cap.owner.island() != self.core.island() && !types::of(cap.ty).crosses_islands {
            return Err(Error::BadArgument);
        }
        let to = self.destination(call.cptr_lo(4), call.cptr_hi(4))?;
        self.caps.adopt(&mut self.memory, to, cap)?;
        Ok(Outcome::Value(0))
    }

    /// The object that a call names.
    fn object(call: &Call) -> Result<Cap, Error> {
        let ty = CapType::from_raw(call.lo(1) as u8).ok_or(Error::BadArgument)?;
        let (base, len, row) = (call.w[2], call.w[3], types::of(ty));
        if !row.crosses_cores {
            return Err(Error::WrongType);
        }
        let end = base.checked_add(len).filter(|end| *end <= 1 << 48 && len > 0);
        let fits = (base | len).is_multiple_of(PAGE_SIZE) && (ty != CapType::VNode || len == PAGE_SIZE);
        end.filter(|_| fits).ok_or(Error::BadArgument)?;
        Ok(Cap::new(ty, base, len, CoreId::default()))
    }

    pub(crate) fn mark(&mut self, call: &Call) -> Result<Outcome, Error> {
        let (object, how) = (Self::object(call)?.class(), call.hi(1));
        let on = how == mark::LOCK || how == mark::SHARE;
        let start = call.w[2].saturating_add(call.w[4]);
        let part = (start, start.saturating_add(call.w[5]));
        Ok(Outcome::Value(match how {
            mark::UNLOCK | mark::LOCK => self.caps.lock(&mut self.memory, object, on, part)?,
            mark::UNSHARE | mark::SHARE => {
                self.caps.share(&mut self.memory, object, on, SlotRef(call.w[4])).0
            }
            _ => return Err(Error::BadArgument),
        }))
    }

    pub(crate) fn revoke_agreed(&mut self, call: &Call) -> Result<Outcome, Error> {
        let object = Self::object(call)?.class();
        let mut keep = [SlotRef::NONE; 2];
        // The first is a domain's, the second the monitor's own.
        let kept = [(call.cptr_lo(5), call.cptr_lo(4)), (CPtr::NULL, call.cptr_hi(4))];
        for (kept, (root, cptr)) in keep.iter_mut().zip(kept) {
            if cptr != CPtr::NULL {
                let root = self.root(root, Rights::READ)?;
                *kept = self.slot_at(root, cptr)?;
            }
        }
        self.take_away(SlotRef::NONE, Some(&Revoked { object, keep, copies: call.hi(1) == 0, agreed: true }))
    }

    pub(crate) fn disown(&mut self, call: &Call) -> Result<Outcome, Error> {
        let (at, cap) = self.lookup(call.cptr_lo(1))?;
        let owner = CoreId::from_raw(call.lo(2));
        if cap.ty != CapType::Ram || owner == self.core || owner.island() != self.core.island() {
            return Err(Error::BadArgument);
        }
        self.caps.disown(&mut self.memory, at, owner)?;
        Ok(Outcome::Value(0))
    }

    pub(crate) fn power_off(&mut self, call: &Call) -> Result<Outcome, Error> {
        if call.w[1] == 0 {
            self.memory.machine().power_off()
        }
        let (_, told) = self.lookup(call.cptr_lo(1))?;
        if told.ty != CapType::Frame || !told.rights.contains(Rights::WRITE) {
            return Err(Error::NoRight);
        }
        self.memory.write_shared(PhysAddr(told.base), 1);
        self.memory.machine().stop_core()
    }

    pub(crate) fn counter(&mut self, call: &Call) -> Result<Outcome, Error> {
        let counters = &self.counters;
        Ok(Outcome::Value(match call.w[1] {
            0 => counters.entries,
            1 => counters.switches,
            2 => counters.interrupts,
            3 => counters.idles,
            4 => counters.dropped,
            _ => return Err(Error::BadArgument),
        }))
    }
}
