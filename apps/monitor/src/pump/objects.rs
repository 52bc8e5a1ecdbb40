//! What agreements ask of this core's CPU driver ([`Objects`]), and what the monitor keeps for that: a capability of its own
//! for each object that left the core, and a list of what it made here for other cores.

use super::clients::Clients;
use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use skerry_abi::cap::held;
use skerry_abi::{CPtr, CapType, CoreId, Error, PhysAddr, PhysRange, Rights};
use skerry_caps::types;
use skerry_monitor::ops::agree::adopted::Adopted;
use skerry_monitor::ops::agree::{Claim, Copy, Objects, Region, Span};
use skerry_urpc::formats::Refusal;
use skerry_urpc::formats::agree::Work;
use skerry_user::cap::{KERNEL, Place, ROOT, identify};
use skerry_user::logging::{error, warn};
use skerry_user::mem::Memory;

/// This core's side of what cores share.
pub struct Local {
    core: CoreId,
    mem: Memory,
    /// Domains, and what they have asked for.
    pub clients: Clients,
    /// Own copies of objects that left.
    anchors: BTreeMap<Region, CPtr>,
    /// What was made here of objects of other cores.
    adopted: Adopted,
    /// Slots that could not be emptied.
    stuck: Vec<CPtr>,
    /// When to look who has ended.
    pub look: u64,
    /// What domains ask for may go on: it came, or something was unlocked.
    pub retry: bool,
    /// A domain has been answered that may have waited for it.
    pub settled: bool,
}

const fn range(region: &Region) -> PhysRange {
    PhysRange::new(PhysAddr(region.base), region.len)
}

/// What the CPU driver's answer means to other cores.
pub fn refusal(error: Error) -> Refusal {
    match error {
        Error::EmptySlot | Error::NoRight => Refusal::NoCap,
        Error::Overlap | Error::InUse | Error::Mapped => Refusal::Occupied,
        Error::Busy | Error::Full => Refusal::Busy,
        // What a CPU driver keeps for itself is made on its own core.
        Error::Remote => Refusal::MayNotCross,
        _ => Refusal::BadRequest,
    }
}

fn is(at: CPtr, region: &Region) -> bool {
    identify(at).is_ok_and(|is| (is.ty, is.base, is.len) == (region.ty, region.base, region.len))
}

/// Whether what the CPU driver says is here of an object is anything.
const fn is_any(found: u64) -> bool {
    found & (held::COPY | held::MADE) != 0
}

impl Local {
    /// One that shares nothing yet.
    pub fn new(core: CoreId, mem: Memory, clients: Clients) -> Self {
        let (anchors, adopted) = (BTreeMap::new(), Adopted::new());
        let (stuck, look, retry, settled) = (Vec::new(), 0, false, false);
        Self { core, mem, clients, anchors, adopted, stuck, look, retry, settled }
    }

    /// Empties a slot of the monitor's own, which a revocation may have emptied already. That other cores hold copies, or that they
    /// are just being taken, is no hindrance: the owner counts by core.
    pub fn drop_cap(&mut self, at: CPtr) {
        match ROOT.delete(at) {
            Ok(()) | Err(Error::EmptySlot) => self.mem.give_slot(at),
            // Others are at it: the next look after clients tries again.
            Err(Error::Busy | Error::Remote) => self.stuck.push(at),
            Err(error) => warn!("a slot is lost: {error}"),
        }
    }

    /// Tries again what could not be emptied.
    pub fn drop_stuck(&mut self) {
        core::mem::take(&mut self.stuck).into_iter().for_each(|at| self.drop_cap(at));
    }

    /// Whether objects of a type may be shared with another core.
    fn may_cross(&self, ty: CapType, other: CoreId) -> Result<(), Refusal> {
        // A page table's level and an endpoint's dispatcher are not in its name; and what lies in a window is elsewhere on
        // another island.
        let named = !matches!(ty, CapType::VNode | CapType::Endpoint);
        let near = other.island() == self.core.island();
        if named && near && types::of(ty).crosses_cores { Ok(()) } else { Err(Refusal::MayNotCross) }
    }

    fn anchor(&mut self, region: &Region) -> Result<(), Refusal> {
        let at = self.mem.slot().map_err(|_| Refusal::NoMemory)?;
        let made = KERNEL.adopt_to(region.ty, Rights::all(), self.core, range(region), Place::own(at));
        if let Err(error) = made {
            self.mem.give_slot(at);
            return Err(refusal(error));
        }
        self.anchors.insert(*region, at);
        Ok(())
    }
}

impl Local {
    /// What was made of an object is gone from here, and perhaps `all` of itself.
    fn revoked(&mut self, region: &Region, all: bool) {
        self.adopted.revoked(region, all);
        let idle: Vec<Region> =
            self.anchors.keys().copied().filter(|other| region.could_make(other)).collect();
        for at in idle.iter().filter_map(|other| self.anchors.remove(other)).collect::<Vec<_>>() {
            self.drop_cap(at);
        }
    }
}

impl Objects for Local {
    fn export(&mut self, region: &Region, core: CoreId, elsewhere: bool) -> Result<(), Refusal> {
        self.may_cross(region.ty, core)?;
        if let Some(&at) = self.anchors.get(region) {
            if is(at, region) {
                return Ok(());
            }
            // An earlier object's, of the same memory.
            self.anchors.remove(region);
            self.drop_cap(at);
        }
        match self.anchor(region) {
            // What another core made of ours: whoever takes it back finds it by what it was made of.
            Err(Refusal::NoCap) if elsewhere => return Ok(()),
            other => other?,
        }
        KERNEL.share(region.ty, range(region), true).map_err(refusal)
    }

    fn is_held(&self, token: u32) -> bool {
        self.clients.asked(token).is_some_and(|asked| asked.is_held())
    }

    fn retract(&mut self, region: &Region) {
        // Nothing of it may be left here.
        let _gone = KERNEL.share(region.ty, range(region), false);
        if let Some(at) = self.anchors.remove(region) {
            self.drop_cap(at);
        }
    }

    fn lock(&mut self, claim: &Claim) -> Result<bool, Refusal> {
        let Claim { region, work, part } = claim;
        // Only what is to be retyped must be free.
        let len = if *work == Work::Retype { part.len } else { 0 };
        let found = KERNEL.lock(region.ty, range(region), (part.base - region.base, len)).map_err(refusal)?;
        self.adopted.lock(*region);
        Ok(is_any(found))
    }

    fn unlock(&mut self, claim: &Claim) {
        // A revocation may have taken what was locked.
        self.retry = true;
        self.adopted.unlock(&claim.region);
        let _gone = KERNEL.unlock(claim.region.ty, range(&claim.region));
    }

    fn create(&mut self, copy: &Copy) -> Result<(), Refusal> {
        let Copy { region, owner, rights, whom } = *copy;
        self.may_cross(region.ty, owner)?;
        if !self.adopted.has_room(|region| KERNEL.unlock(region.ty, range(region)).is_ok_and(is_any)) {
            return Err(Refusal::Busy);
        }
        let to = self.clients.place_for(whom)?;
        let rights = Rights::from_bits_truncate(rights);
        KERNEL.adopt_to(region.ty, rights, owner, range(&region), to).map_err(refusal)?;
        if owner != self.core {
            self.adopted.add(owner, region);
        }
        self.clients.arrived(whom);
        Ok(())
    }

    fn retype(&mut self, token: u32) -> Result<(), Refusal> {
        let asked = self.clients.asked(token).ok_or(Refusal::Aborted)?;
        let (make, to) = asked.make.ok_or(Refusal::BadRequest)?;
        KERNEL.retype_agreed(asked.cap, &make, to.root, to.at).map_err(refusal)
    }

    fn revoke(&mut self, region: &Region, copies: bool, keep: Option<u32>) -> bool {
        let kept = keep.and_then(|token| self.clients.asked(token)).map(|asked| asked.place);
        let anchor = self.anchors.get(region).copied().unwrap_or(CPtr::NULL);
        let (ty, range) = (region.ty, range(region));
        let some = match kept {
            Some(kept) if copies => KERNEL.revoke_keeping(ty, range, kept, anchor),
            _ => KERNEL.revoke_agreed(ty, range, copies, [anchor, CPtr::NULL]),
        };
        // If the slot to be kept is gone, so is all of it.
        let some = some.or_else(|_| KERNEL.revoke_agreed(ty, range, copies, [anchor, CPtr::NULL]));
        match some {
            Ok(true) => return true,
            Ok(false) => {}
            Err(why) => error!("a revocation does not end: {why}"),
        }
        self.revoked(region, copies && kept.is_none());
        false
    }

    fn invalidate(&mut self, _space: u64, _span: Span) {
        // A monitor that runs has an address space of its own, and when its core came to it every translation of another's
        // went: it is enough that it says so.
    }

    fn forget(&mut self, core: CoreId) -> bool {
        // What was locked for it is locked no more.
        self.retry = true;
        let Some(region) = self.adopted.of(core) else { return false };
        if !matches!(KERNEL.revoke_agreed(region.ty, range(&region), true, [CPtr::NULL; 2]), Ok(true)) {
            self.adopted.remove(core, region);
        }
        true
    }
}
