//! What domains of a core do with capabilities: objects are made, copied, mapped, taken away, and made again in the same
//! memory. All of it is done by the CPU driver; what it answers with [`Error::Remote`] would be the monitor's to agree on.

use crate::kernel::Core;
use crate::rng::Rng;
use skerry_abi::cap::{CNODE_BYTES, DISPATCHER_BYTES};
use skerry_abi::domain::slot;
use skerry_abi::op::halves;
use skerry_abi::{CPtr, CapType, Error, Op, PAGE_SIZE};

/// The domains of a core that do so.
#[derive(Debug, Default)]
pub struct Caps {
    /// What was made and not taken away.
    made: Vec<(CPtr, CapType)>,
    /// Slots that are empty again.
    empty: Vec<CPtr>,
    /// Invocations that were served, that were refused, and that another core has a say in.
    pub counts: [u64; 3],
}

/// Invocations of one request, at most.
const MOST: u64 = 12;

impl Caps {
    /// Some invocations.
    pub fn act(&mut self, core: &mut Core, rng: &mut Rng) {
        for _ in 0..rng.between(1, MOST) {
            let count = match self.invoke(core, rng) {
                Ok(()) => 0,
                Err(Error::Remote | Error::Busy) => 2,
                Err(_) => 1,
            };
            self.counts[count] += 1;
        }
    }

    fn some(&self, rng: &mut Rng) -> Result<(usize, CPtr, CapType), Error> {
        let at = rng.below(self.made.len() as u64) as usize;
        self.made.get(at).map(|(cptr, ty)| (at, *cptr, *ty)).ok_or(Error::EmptySlot)
    }

    fn slot(&mut self, core: &mut Core) -> Result<CPtr, Error> {
        self.empty.pop().map_or_else(|| core.slot(), Ok)
    }

    /// Keeps what lies in a slot, or the slot.
    fn keep(&mut self, to: CPtr, ty: CapType, result: Result<u64, Error>) -> Result<(), Error> {
        match result {
            Ok(_) => self.made.push((to, ty)),
            Err(_) => self.empty.push(to),
        }
        result.map(drop)
    }

    fn invoke(&mut self, core: &mut Core, rng: &mut Rng) -> Result<(), Error> {
        match rng.below(8) {
            0..3 => {
                let (ty, level, len) = *rng.pick(&[
                    (CapType::Frame, 0, PAGE_SIZE),
                    (CapType::Frame, 0, 3 * PAGE_SIZE),
                    (CapType::VNode, 0, PAGE_SIZE),
                    (CapType::VNode, 3, PAGE_SIZE),
                    (CapType::CNode, 0, CNODE_BYTES),
                    (CapType::Dispatcher, 0, DISPATCHER_BYTES),
                ]);
                let to = self.slot(core)?;
                // Anywhere: what is in use must be refused.
                let offset = rng.below(core.play.1 / PAGE_SIZE) * PAGE_SIZE;
                let made = core.retype(core.play.0, ty, level, offset, len, to);
                self.keep(to, ty, made)
            }
            3 => {
                let (_, from, ty) = self.some(rng)?;
                let to = self.slot(core)?;
                let copied = core.invoke(slot::ROOT, Op::Copy, &[halves(from.0, to.0), 0xff]);
                self.keep(to, ty, copied)
            }
            4 => {
                let (at, cptr, _) = self.some(rng)?;
                while core.invoke(slot::ROOT, Op::Delete, &[cptr.0.into()])? == 1 {}
                self.made.swap_remove(at);
                self.empty.push(cptr);
                Ok(())
            }
            5 => {
                let (_, cptr, _) = self.some(rng)?;
                let revoked = core.invoke(slot::ROOT, Op::Revoke, &[cptr.0.into()]).map(drop);
                self.look(core);
                revoked
            }
            part => {
                let ((_, table, _), (_, frame, _)) = (self.some(rng)?, self.some(rng)?);
                let entry = halves(rng.below(512) as u32, 1);
                let words = [entry, frame.0.into(), 3, 0];
                let op = if part == 6 { Op::Map } else { Op::Unmap };
                core.invoke(table, op, &words).map(drop)
            }
        }
    }

    /// Copies went with a revocation: whose slots are empty now?
    fn look(&mut self, core: &mut Core) {
        let empty = &mut self.empty;
        self.made.retain(|(cptr, _)| {
            let there = core.invoke(*cptr, Op::Identify, &[0]).is_ok();
            if !there {
                empty.push(*cptr);
            }
            there
        });
    }
}
