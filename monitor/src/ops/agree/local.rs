//! A core's side of what cores share ([`Objects`]), over whatever stands for its CPU driver and its domains ([`Driver`]): a
//! capability of the monitor's own for each object that left the core, and a list of what it made here for others.

use super::adopted::Adopted;
use super::{Claim, Copy, Objects, Region, Span};
use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use skerry_abi::Error;
use skerry_caps::types;
use skerry_hal::CoreId;
use skerry_urpc::formats::Refusal;
use skerry_urpc::formats::agree::Work;

/// What the CPU driver's answer means to other cores.
pub const fn refusal(error: Error) -> Refusal {
    match error {
        Error::EmptySlot | Error::NoRight => Refusal::NoCap,
        Error::Overlap | Error::InUse | Error::Mapped => Refusal::Occupied,
        Error::Busy | Error::Full | Error::Remote => Refusal::Busy,
        _ => Refusal::BadRequest,
    }
}

/// The CPU driver of a core, and the requests of its domains. Each call is one of the CPU driver's; errors are its answers.
pub trait Driver {
    /// Where a capability of the monitor's own lies.
    type Place: core::marker::Copy;
    /// Whether the capability is still there that a request was made with.
    fn is_held(&self, token: u32) -> bool;
    /// Makes a copy of an object of this core's, for the monitor.
    ///
    /// # Errors
    /// [`Refusal::NoCap`]: nothing of it is here.
    fn anchor(&mut self, region: &Region) -> Result<Self::Place, Refusal>;
    /// Whether that object lies there.
    fn is_there(&mut self, at: Self::Place, region: &Region) -> bool;
    /// Empties a place, which a revocation may have emptied already.
    fn drop_cap(&mut self, at: Self::Place);
    /// Other cores hold copies from now on, or none does.
    ///
    /// # Errors
    /// What the CPU driver answers.
    fn share(&mut self, region: &Region, shared: bool) -> Result<(), Error>;
    /// Locks an object, unless something was made in a part of it (offset and length; 0: anyhow). Answers whether there is
    /// anything.
    ///
    /// # Errors
    /// [`Error::Overlap`].
    fn lock(&mut self, region: &Region, part: (u64, u64)) -> Result<bool, Error>;
    /// Unlocks it.
    fn unlock(&mut self, region: &Region);
    /// Whether a copy of an object that is not locked is here, or anything made of it.
    fn is_here(&mut self, region: &Region) -> bool;
    /// Makes a copy of another core's object for a domain of this one.
    ///
    /// # Errors
    /// [`Refusal::NotFound`]: there is no such domain. [`Refusal::Busy`]: it has no room.
    fn adopt(&mut self, copy: &Copy) -> Result<(), Refusal>;
    /// Makes what a request asks for.
    ///
    /// # Errors
    /// What the CPU driver answers, and [`Refusal::Aborted`].
    fn retype(&mut self, token: u32) -> Result<(), Refusal>;
    /// Takes some of what was made of an object, and of its copies but that of the request `keep` and the monitor's own.
    /// Answers whether there is more.
    ///
    /// # Errors
    /// What the CPU driver answers: nothing is left that could be taken.
    fn revoke(
        &mut self,
        region: &Region,
        copies: bool,
        keep: Option<u32>,
        own: Option<Self::Place>,
    ) -> Result<bool, Error>;
    /// Forgets translations.
    fn invalidate(&mut self, space: u64, span: Span);
}

/// What a monitor keeps for that.
pub struct Local<P> {
    core: CoreId,
    /// Own copies of objects that left.
    anchors: BTreeMap<Region, P>,
    /// What was made here of objects of other cores.
    adopted: Adopted,
}

impl<P: core::marker::Copy> Local<P> {
    /// That of a core which shares nothing yet.
    pub const fn new(core: CoreId) -> Self {
        Self { core, anchors: BTreeMap::new(), adopted: Adopted::new() }
    }

    /// With the CPU driver to do it.
    pub const fn with<'a, D: Driver<Place = P>>(&'a mut self, driver: &'a mut D) -> Lent<'a, D> {
        Lent { local: self, driver }
    }

    /// How many objects have left, and how many of others' are here.
    pub fn len(&self) -> (usize, usize) {
        (self.anchors.len(), self.adopted.len())
    }

    fn may_cross(&self, region: &Region, other: CoreId) -> Result<(), Refusal> {
        let row = types::of(region.ty);
        let near = other.island() == self.core.island();
        if row.crosses_islands || near && row.crosses_cores { Ok(()) } else { Err(Refusal::MayNotCross) }
    }
}

/// The two together.
pub struct Lent<'a, D: Driver> {
    local: &'a mut Local<D::Place>,
    driver: &'a mut D,
}

impl<D: Driver> Objects for Lent<'_, D> {
    fn export(&mut self, region: &Region, core: CoreId, elsewhere: bool) -> Result<(), Refusal> {
        self.local.may_cross(region, core)?;
        if let Some(&at) = self.local.anchors.get(region) {
            if self.driver.is_there(at, region) {
                return Ok(());
            }
            // An earlier object's, of the same memory.
            self.local.anchors.remove(region);
            self.driver.drop_cap(at);
        }
        match self.driver.anchor(region) {
            Ok(at) => drop(self.local.anchors.insert(*region, at)),
            // What another core made of ours: whoever takes it back finds it by what it was made of.
            Err(Refusal::NoCap) if elsewhere => return Ok(()),
            Err(refusal) => return Err(refusal),
        }
        self.driver.share(region, true).map_err(refusal)
    }

    fn is_held(&self, token: u32) -> bool {
        self.driver.is_held(token)
    }

    fn retract(&mut self, region: &Region) {
        // Nothing of it may be left here.
        let _gone = self.driver.share(region, false);
        if let Some(at) = self.local.anchors.remove(region) {
            self.driver.drop_cap(at);
        }
    }

    fn lock(&mut self, claim: &Claim) -> Result<bool, Refusal> {
        let Claim { region, work, part } = claim;
        // Only what is to be retyped must be free.
        let len = if *work == Work::Retype { part.len } else { 0 };
        let found = self.driver.lock(region, (part.base - region.base, len)).map_err(refusal)?;
        self.local.adopted.lock(*region);
        Ok(found)
    }

    fn unlock(&mut self, claim: &Claim) {
        self.local.adopted.unlock(&claim.region);
        self.driver.unlock(&claim.region);
    }

    fn create(&mut self, copy: &Copy) -> Result<(), Refusal> {
        self.local.may_cross(&copy.region, copy.owner)?;
        if !self.local.adopted.has_room(|region| self.driver.is_here(region)) {
            return Err(Refusal::Busy);
        }
        self.driver.adopt(copy)?;
        if copy.owner != self.local.core {
            self.local.adopted.add(copy.owner, copy.region);
        }
        Ok(())
    }

    fn retype(&mut self, token: u32) -> Result<(), Refusal> {
        self.driver.retype(token)
    }

    fn revoke(&mut self, region: &Region, copies: bool, keep: Option<u32>) -> bool {
        let own = self.local.anchors.get(region).copied();
        if self.driver.revoke(region, copies, keep, own) == Ok(true) {
            return true;
        }
        let all = copies && keep.is_none();
        self.local.adopted.revoked(region, all);
        let made = |other: &&Region| region.could_make(other);
        let idle: Vec<Region> = self.local.anchors.keys().filter(made).copied().collect();
        for at in idle.iter().filter_map(|other| self.local.anchors.remove(other)) {
            self.driver.drop_cap(at);
        }
        false
    }

    fn invalidate(&mut self, space: u64, span: Span) {
        self.driver.invalidate(space, span);
    }

    fn forget(&mut self, core: CoreId) -> bool {
        let Some(region) = self.local.adopted.of(core) else { return false };
        if self.driver.revoke(&region, true, None, None) != Ok(true) {
            self.local.adopted.remove(core, region);
        }
        true
    }
}
