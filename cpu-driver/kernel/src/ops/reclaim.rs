//! Delete and revoke: how a parent gets back what it gave (paper §4.7; `docs/decisions/0007-capabilities.md`).
//!
//! Every entry does a bounded number of steps; each leaves everything consistent. A CNode that lost its last capability may
//! hold others that are the last for theirs, to any depth and in circles. So nothing here recurses: such a CNode's
//! capability moves into one of its own slots, where nobody can name it, and the CNode joins a list of doomed ones, which
//! are emptied one slot a step. Its capability stays in the index until it is empty, so its memory cannot become anything
//! else, and whoever revokes that memory finds it.

use crate::cspace::slot_in;
use crate::dispatcher::{DcbRef, KeptSlot, RING_BYTES, RingRef};
use crate::invoke::Call;
use crate::kernel::{Kernel, Outcome};
use skerry_abi::cap::{CNODE_BYTES, CNODE_SLOTS, DISPATCHER_BYTES, SLOT_BYTES};
use skerry_abi::{CapType, Error, PAGE_SIZE, PhysAddr, Rights};
use skerry_caps::slot::FLAG_REMOTE;
use skerry_caps::{Cap, Class, SlotRef, Store};
use skerry_hal::Machine;

/// Steps' costs are estimates in instructions; an entry begins no step after this many.
const ENTRY: u32 = 8_000;
/// Emptying a slot, at most 32,768 capabilities in the index.
const SLOT: u32 = 900;
/// Looking at a slot, or at a page-table entry.
const LOOK: u32 = 10;
/// Stopping a dispatcher, with all others its callers.
const STOP: u32 = 10_000;
/// Closing a ring.
const CLOSE: u32 = 3_000;

/// Slots of a dispatcher object that it cannot run without.
const VITAL: u64 = 3 * SLOT_BYTES;
const _: () =
    assert!((KeptSlot::Page as u64) * SLOT_BYTES < VITAL && KeptSlot::Death as u64 * SLOT_BYTES >= VITAL);

/// In the word of a doomed CNode's capability: the next one below this bit, from it on the first slot not looked at.
const CURSOR: u32 = 48;
const LINK: u64 = (1 << CURSOR) - 1;

/// What a revocation takes away.
pub(crate) struct Revoked {
    /// What was made of this,
    pub object: Class,
    /// and its copies, if `copies`, but those in these slots.
    pub keep: [SlotRef; 2],
    pub copies: bool,
    /// Every core with a say has agreed: neither locks nor copies elsewhere are in the way. Else the first of `keep` is what
    /// is revoked, and must stay what it is.
    pub agreed: bool,
}

impl<M: Machine> Kernel<M> {
    pub(crate) fn delete(&mut self, call: &Call) -> Result<Outcome, Error> {
        if call.w[1] == 0 {
            return self.take_away(SlotRef::NONE, None);
        }
        let at = self.slot_at(PhysAddr(call.cap.base), call.cptr_lo(1))?;
        let slot = self.memory.slot(at);
        if slot.is(CapType::CNode) || slot.is(CapType::Dispatcher) {
            return self.take_away(at, None);
        }
        let running = self.schedule.current;
        self.shed(at, false)?;
        Ok(if self.schedule.current == running { Outcome::Value(0) } else { Outcome::Switched })
    }

    pub(crate) fn revoke(&mut self, call: &Call) -> Result<Outcome, Error> {
        let at = self.slot_at(PhysAddr(call.cap.base), call.cptr_lo(1))?;
        self.caps.check_revoke(&self.memory, at)?;
        let copies = call.hi(1) == 0;
        let needs = if copies { Rights::GRANT | Rights::CONTROL } else { Rights::GRANT };
        if !self.memory.slot(at).allows(needs) {
            return Err(Error::NoRight);
        }
        let object = self.memory.slot(at).class();
        self.take_away(SlotRef::NONE, Some(&Revoked { object, keep: [at; 2], copies, agreed: false }))
    }

    /// Empties doomed CNodes and then, as far as one entry goes, the slot `at`, or what is `revoked`.
    pub(crate) fn take_away(&mut self, at: SlotRef, revoked: Option<&Revoked>) -> Result<Outcome, Error> {
        let agreed = revoked.is_some_and(|revoked| revoked.agreed);
        let (running, mut spent) = (self.schedule.current, 0);
        while spent < ENTRY {
            let step = if self.doomed.is_none() {
                let next = match revoked {
                    None if at.is_none() || self.memory.slot(at).is_empty() => SlotRef::NONE,
                    None => at,
                    // What went held the very slot.
                    Some(it) if !agreed && !self.memory.slot(it.keep[0]).is_of(&it.object) => {
                        return Err(Error::EmptySlot);
                    }
                    Some(it) => self.caps.next_revoked(&self.memory, it.object, &it.keep, it.copies),
                };
                if next.is_none() {
                    return Ok(Outcome::Value(0));
                }
                // Others' copies are the monitors' to take; and their own copy here is what tells.
                if revoked.is_some() && !agreed && self.memory.slot(next).has_flag(FLAG_REMOTE) {
                    return Err(Error::Remote);
                }
                self.shed(next, agreed)
            } else {
                self.empty_doomed()
            };
            if self.schedule.current != running {
                return Ok(Outcome::Switched);
            }
            spent += step?;
        }
        Ok(Outcome::Value(1))
    }

    /// A step towards an empty slot: empties it, unless its object must let go of others first. Answers what that cost.
    /// `agreed`: neither a lock nor copies elsewhere are in the way.
    pub(crate) fn shed(&mut self, at: SlotRef, agreed: bool) -> Result<u32, Error> {
        let cap = self.caps.check_delete(&self.memory, at, agreed)?;
        let mut cost = SLOT + self.stop_user(at);
        if !self.caps.has_copy(&self.memory, at) {
            match cap.ty {
                CapType::CNode => return Ok(cost + self.doom(at, &cap)?),
                CapType::Dispatcher => {
                    let dcb = DcbRef::new(PhysAddr(cap.base));
                    cost += self.stop_for_good(dcb);
                    let full = |which: &KeptSlot| !self.memory.slot(dcb.slot(*which)).is_empty();
                    if let Some(which) = KeptSlot::ALL.into_iter().find(full) {
                        return Ok(cost + self.shed(dcb.slot(which), false)?);
                    }
                }
                CapType::Endpoint if cap.len == RING_BYTES => {
                    self.close_ring(RingRef(cap.base));
                    cost += CLOSE;
                }
                _ => {}
            }
        }
        cost += LOOK * self.unmap_slot(at, &cap);
        self.caps.delete(&mut self.memory, at);
        Ok(cost)
    }

    /// If `at` is a slot in which a dispatcher keeps what it runs on, stops that dispatcher.
    fn stop_user(&mut self, at: SlotRef) -> u32 {
        if at.0 % PAGE_SIZE >= VITAL {
            return 0;
        }
        let page = at.0 - at.0 % PAGE_SIZE;
        match self.caps.find(&self.memory, CapType::Dispatcher, page, DISPATCHER_BYTES) {
            Some(_) => self.stop_for_good(DcbRef::new(PhysAddr(page))),
            None => 0,
        }
    }

    fn stop_for_good(&mut self, at: DcbRef) -> u32 {
        let dead = self.memory.dcb(at).state() == skerry_abi::dispatcher::State::Dead;
        self.kill(at);
        if dead { 0 } else { STOP }
    }

    /// The CNode whose last capability is in `at` is to be emptied: moves the capability into the CNode itself, or makes
    /// room for it there.
    fn doom(&mut self, at: SlotRef, cap: &Cap) -> Result<u32, Error> {
        let node = PhysAddr(cap.base);
        let slots = || (0..CNODE_SLOTS).map(|n| slot_in(node, n));
        let mut home = at;
        if !(cap.base..cap.base + CNODE_BYTES).contains(&at.0) {
            let empty = slots().find(|slot| self.memory.slot(*slot).is_empty());
            let other = || slots().find(|slot| !self.memory.slot(*slot).is(CapType::CNode));
            home = empty.or_else(other).unwrap_or(slot_in(node, 0));
            if empty.is_none() {
                if !self.memory.slot(home).is(CapType::CNode) || self.caps.has_copy(&self.memory, home) {
                    return self.shed(home, false);
                }
                // Full of last capabilities for CNodes. One comes to light, and can do nothing there.
                self.memory.slot_mut(home).disarm();
            }
            self.caps.exchange(&mut self.memory, at, home);
        }
        self.memory.slot_mut(home).set_extra(self.doomed.0);
        self.doomed = home;
        Ok(2 * CNODE_SLOTS * LOOK)
    }

    /// One step in the first doomed CNode. One that cannot be emptied leaves the list, and stays as it is.
    fn empty_doomed(&mut self) -> Result<u32, Error> {
        let at = self.doomed;
        let cap = self.memory.slot(at).cap().ok_or(Error::EmptySlot)?;
        let full = |n: &u32| {
            let slot = slot_in(PhysAddr(cap.base), *n);
            slot != at && !self.memory.slot(slot).is_empty()
        };
        let first = (cap.extra >> CURSOR) as u32;
        let Some(n) = (first..CNODE_SLOTS).find(full) else {
            self.doomed = SlotRef(cap.extra & LINK);
            self.caps.delete(&mut self.memory, at);
            return Ok(SLOT + (CNODE_SLOTS - first) * LOOK);
        };
        self.memory.slot_mut(at).set_extra(cap.extra & LINK | u64::from(n) << CURSOR);
        let looked = (n - first) * LOOK;
        match self.shed(slot_in(PhysAddr(cap.base), n), false) {
            Ok(cost) => Ok(cost + looked),
            Err(error) => {
                // Nothing was doomed meanwhile: that succeeds.
                self.doomed = SlotRef(cap.extra & LINK);
                Err(error)
            }
        }
    }
}
