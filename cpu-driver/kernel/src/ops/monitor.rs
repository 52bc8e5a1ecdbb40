//! The monitor's authority over its own CPU driver (paper §4.4).

use crate::invoke::Call;
use crate::kernel::{Kernel, Outcome};
use skerry_abi::{CapType, CoreId, Error, PAGE_SIZE, PhysAddr, Rights};
use skerry_caps::{Cap, types};
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
        let ty = CapType::from_raw(call.lo(1) as u8).ok_or(Error::BadArgument)?;
        let owner = CoreId::from_raw(call.hi(1));
        let rights = Rights::from_bits((call.lo(1) >> 8) as u8).ok_or(Error::BadArgument)?;
        if !matches!(ty, CapType::Frame | CapType::WindowFrame) {
            return Err(Error::BadRetype);
        }
        let crosses_islands = owner.island() == self.core.island() || types::of(ty).crosses_islands;
        let aligned = call.w[2].is_multiple_of(PAGE_SIZE) && call.w[3].is_multiple_of(PAGE_SIZE);
        if owner == self.core || !crosses_islands || !aligned || call.w[3] == 0 {
            return Err(Error::BadArgument);
        }
        if call.w[2].checked_add(call.w[3]).is_none_or(|end| end > 1 << 48) {
            return Err(Error::BadArgument);
        }
        let mut cap = Cap::new(ty, call.w[2], call.w[3], owner);
        cap.rights = rights;
        let to = self.destination(call.cptr_lo(4), call.cptr_hi(4))?;
        self.caps.adopt(&mut self.memory, to, &cap)?;
        Ok(Outcome::Value(0))
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
