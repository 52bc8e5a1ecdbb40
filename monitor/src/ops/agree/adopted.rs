//! What was made here of other cores' objects ([`Adopted`]): at most so much, and only what is still here.

use super::Region;
use alloc::collections::BTreeSet;
use core::ops::Bound::{Excluded, Unbounded};
use skerry_abi::CapType;
use skerry_hal::{CoreId, IslandId};

/// Objects of other cores of which there can be copies here; one more is refused as
/// [`Busy`](skerry_urpc::formats::Refusal::Busy).
pub const MAX_ADOPTED: usize = 4096;

/// How many are looked at whenever one may be added. Nobody says when a domain deletes the last copy of one; as more are
/// looked at than are added, what is gone leaves the list sooner than it can fill it.
const LOOKS: usize = 2;

/// The list, by owner.
pub struct Adopted {
    all: BTreeSet<(CoreId, Region)>,
    /// Objects that an agreement has locked here: they are not looked at.
    locked: BTreeSet<Region>,
    /// What was looked at last.
    looked: (CoreId, Region),
}

const fn first_of(owner: CoreId) -> (CoreId, Region) {
    (owner, Region { ty: CapType::Ram, base: 0, len: 0 })
}

impl Adopted {
    /// Of a core that has nothing of another's.
    pub const fn new() -> Self {
        Self { all: BTreeSet::new(), locked: BTreeSet::new(), looked: first_of(CoreId::new(IslandId(0), 0)) }
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.all.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    /// Notes what is made here of another core's object.
    pub fn add(&mut self, owner: CoreId, region: Region) {
        self.all.insert((owner, region));
    }

    /// Whether there is room for one more. Looks, before it answers, whether some of them are still here: `is_here` says so of
    /// an object that is not locked.
    pub fn has_room(&mut self, mut is_here: impl FnMut(&Region) -> bool) -> bool {
        for _ in 0..LOOKS.min(self.all.len()) {
            let after = self.all.range((Excluded(self.looked), Unbounded)).next();
            let Some(&next) = after.or_else(|| self.all.first()) else { break };
            self.looked = next;
            if !self.locked.contains(&next.1) && !is_here(&next.1) {
                self.all.remove(&next);
            }
        }
        self.all.len() < MAX_ADOPTED
    }

    /// An object is locked.
    pub fn lock(&mut self, region: Region) {
        self.locked.insert(region);
    }

    /// An object is locked no more.
    pub fn unlock(&mut self, region: &Region) {
        self.locked.remove(region);
    }

    /// What was made of an object is gone from here, and perhaps `all` of itself.
    pub fn revoked(&mut self, region: &Region, all: bool) {
        self.all.retain(|(_, other)| !(region.could_make(other) || all && other == region));
    }

    /// One of a core's objects.
    pub fn of(&self, owner: CoreId) -> Option<Region> {
        self.all.range(first_of(owner)..).next().filter(|one| one.0 == owner).map(|one| one.1)
    }

    /// An object that is gone from here.
    pub fn remove(&mut self, owner: CoreId, region: Region) {
        self.all.remove(&(owner, region));
    }
}

impl Default for Adopted {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OWNER: CoreId = CoreId::new(IslandId(0), 1);

    const fn page(n: usize) -> Region {
        Region { ty: CapType::Frame, base: n as u64 * 4096, len: 4096 }
    }

    #[test]
    fn what_is_made_and_deleted_does_not_fill_the_list() {
        let mut adopted = Adopted::new();
        for n in 0..3 * MAX_ADOPTED {
            // The first ten stay; of all others only the last has not been deleted.
            assert!(adopted.has_room(|region| *region == page(n - 1) || region.base < page(10).base));
            adopted.add(OWNER, page(n));
            assert!(adopted.len() < 30, "{} after {n}", adopted.len());
        }
        let kept: Vec<Region> = adopted.all.iter().map(|one| one.1).take(10).collect();
        assert_eq!(kept, (0..10).map(page).collect::<Vec<_>>());
    }

    #[test]
    fn a_full_list_has_room_again_when_something_is_deleted() {
        let mut adopted = Adopted::new();
        (0..MAX_ADOPTED).for_each(|n| adopted.add(OWNER, page(n)));
        assert!((0..MAX_ADOPTED).all(|_| !adopted.has_room(|_| true)), "all are here");
        let tries = (0..MAX_ADOPTED).take_while(|_| !adopted.has_room(|region| *region != page(7))).count();
        assert!(tries <= MAX_ADOPTED / LOOKS, "one round finds it: {tries}");
        assert_eq!(adopted.len(), MAX_ADOPTED - 1);
    }

    #[test]
    fn what_is_locked_is_not_looked_at() {
        let mut adopted = Adopted::new();
        adopted.add(OWNER, page(1));
        adopted.lock(page(1));
        assert!(adopted.has_room(|_| unreachable!("it is locked")));
        adopted.unlock(&page(1));
        assert!(adopted.has_room(|_| false));
        assert_eq!(adopted.of(OWNER), None);
    }
}
