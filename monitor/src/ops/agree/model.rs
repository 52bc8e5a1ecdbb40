//! The capabilities of a core, as a list: for tests. And what can be wrong with it, or with the world it is in.

use super::{Claim, Copy, Objects, Region, Span};
use skerry_abi::CapType;
use skerry_hal::CoreId;
use skerry_urpc::formats::Refusal;
use skerry_urpc::formats::agree::Work;
use std::collections::BTreeMap;

/// One capability.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Hash)]
pub struct Cap {
    pub region: Region,
    pub owner: CoreId,
    pub locked: bool,
    pub remote: bool,
    /// The monitor's own.
    pub anchor: bool,
}

/// The capabilities of a core.
#[derive(Clone, PartialEq, Eq, Debug, Hash, Default)]
pub struct Store {
    pub core: CoreId,
    pub caps: Vec<Cap>,
    /// What a request that is under way wants made.
    pub wants: BTreeMap<u32, (Region, Region)>,
    /// What was invalidated.
    pub forgotten: Vec<(u64, Span)>,
    /// Deletions of one step.
    pub pace: usize,
    /// What is wrong with it.
    pub bug: Option<Bug>,
}

/// Deliberate bugs: in what the world does for an agreement, or between the two.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub enum Bug {
    /// A holder agrees without having looked.
    VoteSkipped,
    /// A holder's no counts as a yes.
    NoIsYes,
    /// A holder that holds something says that it does not.
    SaysNone,
    /// One vote counts for all.
    OneVoteForAll,
    /// One holder's report that it has done it counts for all.
    OneDoneForAll,
    /// Nothing is locked.
    NothingLocked,
    /// Nobody looks whether the part is free.
    OverlapUnchecked,
    /// What was locked stays so.
    NeverUnlocked,
    /// A revocation stops after its first step.
    RevokeStopsEarly,
    /// Operations that overlap do not wait for each other.
    NoQueue,
    /// A new holder is written down when it has its copy, not before it is told to make it.
    HolderLate,
    /// Whoever once held a copy may ask for ever.
    AskerUnchecked,
    /// Numbers may be taken twice.
    NumbersForgotten,
    /// Messages of a lost island's epoch count.
    SenderEpochUnchecked,
    /// Messages to an island's earlier epoch count.
    ReceiverEpochUnchecked,
    /// A loss is not heard of.
    LossIgnored,
    /// What a lost island owned stays.
    NothingForgotten,
    /// An answer is given twice.
    AnsweredTwice,
}

impl Bug {
    pub const ALL: [Self; 18] = [
        Self::VoteSkipped,
        Self::NoIsYes,
        Self::SaysNone,
        Self::OneVoteForAll,
        Self::OneDoneForAll,
        Self::NothingLocked,
        Self::OverlapUnchecked,
        Self::NeverUnlocked,
        Self::RevokeStopsEarly,
        Self::NoQueue,
        Self::HolderLate,
        Self::AskerUnchecked,
        Self::NumbersForgotten,
        Self::SenderEpochUnchecked,
        Self::ReceiverEpochUnchecked,
        Self::LossIgnored,
        Self::NothingForgotten,
        Self::AnsweredTwice,
    ];
}

impl Store {
    fn exclusive(region: &Region) -> bool {
        skerry_caps::types::of(region.ty).exclusive
    }

    fn has_use(&self, claim: &Claim) -> bool {
        let in_the_way =
            |c: &Cap| claim.region.could_make(&c.region) && c.region.span().overlaps(claim.part.span());
        Self::exclusive(&claim.region)
            && self.bug != Some(Bug::OverlapUnchecked)
            && self.caps.iter().any(in_the_way)
    }

    fn relock(&mut self, claim: &Claim, locked: bool) -> bool {
        let (region, all) = (&claim.region, claim.work != Work::Retype);
        let mut any = false;
        for cap in &mut self.caps {
            if cap.region == *region || all && region.could_make(&cap.region) {
                cap.locked = locked && self.bug != Some(Bug::NothingLocked);
                any = true;
            }
        }
        any
    }
}

impl Objects for Store {
    fn export(&mut self, region: &Region, _: CoreId, elsewhere: bool) -> Result<(), Refusal> {
        if self.caps.iter().any(|c| c.anchor && c.region == *region) {
            return Ok(());
        }
        if !elsewhere && !self.caps.iter().any(|c| c.region == *region && c.owner == self.core) {
            return Err(Refusal::NoCap);
        }
        self.caps.push(Cap { region: *region, owner: self.core, locked: false, remote: true, anchor: true });
        for cap in self.caps.iter_mut().filter(|c| c.region == *region) {
            cap.remote = true;
        }
        Ok(())
    }

    fn is_held(&self, token: u32) -> bool {
        let (region, _) = self.wants[&token];
        self.bug == Some(Bug::AskerUnchecked) || self.caps.iter().any(|c| c.region == region && !c.anchor)
    }

    fn retract(&mut self, region: &Region) {
        self.caps.retain(|c| !(c.anchor && c.region == *region));
        for cap in self.caps.iter_mut().filter(|c| c.region == *region) {
            cap.remote = false;
        }
    }

    fn lock(&mut self, claim: &Claim) -> Result<bool, Refusal> {
        if claim.work == Work::Retype && self.has_use(claim) {
            return Err(Refusal::Occupied);
        }
        Ok(self.relock(claim, true))
    }

    fn unlock(&mut self, claim: &Claim) {
        if self.bug != Some(Bug::NeverUnlocked) {
            self.relock(claim, false);
        }
    }

    fn create(&mut self, copy: &Copy) -> Result<(), Refusal> {
        let Copy { region, owner, .. } = *copy;
        self.caps.push(Cap { region, owner, locked: false, remote: true, anchor: false });
        Ok(())
    }

    fn retype(&mut self, token: u32) -> Result<(), Refusal> {
        let (from, part) = self.wants[&token];
        let source = self.caps.iter().find(|c| c.region == from && !c.anchor).ok_or(Refusal::NoCap)?;
        let owner = source.owner;
        // The CPU driver looks for itself too.
        if self.has_use(&Claim { region: from, work: Work::Retype, part }) {
            return Err(Refusal::Occupied);
        }
        let remote = owner != self.core;
        self.caps.push(Cap { region: part, owner, locked: false, remote, anchor: false });
        Ok(())
    }

    fn revoke(&mut self, region: &Region, copies: bool, keep: Option<u32>) -> bool {
        let mut kept = keep.is_none();
        let mut left = self.pace;
        let mut more = false;
        self.caps.retain(|c| {
            let copy = c.region == *region && copies && !c.anchor;
            let doomed = region.could_make(&c.region) || copy && core::mem::replace(&mut kept, true);
            more |= doomed && left == 0;
            let goes = doomed && left > 0;
            left -= usize::from(goes);
            !goes
        });
        more && self.bug != Some(Bug::RevokeStopsEarly)
    }

    fn invalidate(&mut self, space: u64, span: Span) {
        self.forgotten.push((space, span));
    }

    fn forget(&mut self, core: CoreId) -> bool {
        if self.bug != Some(Bug::NothingForgotten) {
            self.caps.retain(|c| c.owner != core);
        }
        false
    }
}

pub const PAGE: u64 = 4096;

pub fn ram(page: u64, pages: u64) -> Region {
    Region { ty: CapType::Ram, base: page * PAGE, len: pages * PAGE }
}

pub fn frame(page: u64, pages: u64) -> Region {
    Region { ty: CapType::Frame, ..ram(page, pages) }
}
