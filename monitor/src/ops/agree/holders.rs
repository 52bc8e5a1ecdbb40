//! Who may hold copies of what a core owns: a superset. Whoever says that he has none is taken out.

use super::{Region, Span};
use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use skerry_abi::CapType;
use skerry_hal::CoreId;
use skerry_urpc::formats::Refusal;

/// Objects, and parts that others retyped, that are known at a time.
pub const MAX_ENTRIES: usize = 4096;

/// By length first, to a power of two, so that what overlaps a range is found in a few short stretches: of each length
/// that is in use, what starts at most that length before.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Hash)]
struct Key {
    order: u8,
    base: u64,
    len: u64,
    ty: CapType,
}

impl Key {
    fn new(region: &Region) -> Self {
        Self { order: region.len.max(1).ilog2() as u8, base: region.base, len: region.len, ty: region.ty }
    }

    const fn region(&self) -> Region {
        Region { ty: self.ty, base: self.base, len: self.len }
    }
}

#[derive(Clone, PartialEq, Eq, Debug, Hash, Default)]
struct Entry {
    cores: Vec<CoreId>,
    /// Whether the owner holds a copy for it.
    anchored: bool,
}

impl Entry {
    /// Whether an entry for `own` is one for `region`: the same, or it was made there, one of many.
    fn is_for(&self, own: &Region, region: &Region) -> bool {
        own == region || !self.anchored && own.ty == region.ty && own.span().contains(region.span())
    }
}

/// The table.
#[derive(Clone, PartialEq, Eq, Debug, Hash, Default)]
pub struct Holders {
    entries: BTreeMap<Key, Entry>,
    /// How many entries there are of each order, and of which there are any.
    orders: Vec<u16>,
    used: u64,
}

impl Holders {
    /// Notes that `core` may hold copies, of an object that the owner holds a copy of itself (`anchored`), or of objects that
    /// `core` makes there. Answers whether that is news.
    ///
    /// # Errors
    /// [`Refusal::Busy`] at the limit.
    pub fn add(&mut self, region: &Region, core: CoreId, anchored: bool) -> Result<bool, Refusal> {
        let key = Key::new(region);
        if !self.entries.contains_key(&key) {
            if self.entries.len() >= MAX_ENTRIES {
                return Err(Refusal::Busy);
            }
            if self.orders.is_empty() {
                self.orders.resize(64, 0);
            }
            self.orders[usize::from(key.order)] += 1;
            self.used |= 1 << key.order;
        }
        let entry = self.entries.entry(key).or_default();
        entry.anchored |= anchored;
        match entry.cores.binary_search(&core) {
            Ok(_) => Ok(false),
            Err(at) => {
                entry.cores.insert(at, core);
                Ok(true)
            }
        }
    }

    /// Whether `core` may hold copies of an object.
    pub fn holds(&self, region: &Region, core: CoreId) -> bool {
        let mut all = self.overlapping(region.span());
        all.any(|(key, e)| e.is_for(&key.region(), region) && e.cores.binary_search(&core).is_ok())
    }

    /// `core` holds none.
    pub fn remove(&mut self, region: &Region, core: CoreId) {
        if let Some(entry) = self.entries.get_mut(&Key::new(region)) {
            entry.cores.retain(|&c| c != core);
        }
    }

    /// Whoever may hold copies of `region`, or, in `span`, anything that was made of it.
    pub fn parties(&self, region: &Region, span: Span) -> Vec<CoreId> {
        let mut all: Vec<CoreId> = self
            .overlapping(span)
            .filter(|(key, e)| e.is_for(&key.region(), region) || region.could_make(&key.region()))
            .flat_map(|(_, entry)| entry.cores.iter().copied())
            .collect();
        all.sort_unstable();
        all.dedup();
        all
    }

    /// `core` holds no copy of `region` and, in `span`, nothing that was made of it.
    pub fn none(&mut self, region: &Region, span: Span, core: CoreId) {
        let keys: Vec<Key> = self.overlapping(span).map(|(key, _)| *key).collect();
        for key in keys {
            let other = key.region();
            let inside = region.could_make(&other) && span.contains(other.span());
            if inside || other == *region {
                self.remove(&other, core);
            }
        }
    }

    /// All have agreed that nothing is made yet of a part of `region`, which becomes `part`: whoever once held what was there
    /// before may not ask for it any more, whatever is still on its way.
    pub fn vacated(&mut self, region: &Region, part: &Region, asker: CoreId) {
        let keys: Vec<Key> = self.overlapping(part.span()).map(|(key, _)| *key).collect();
        for key in keys.into_iter().filter(|key| region.could_make(&key.region())) {
            if key.region() != *part {
                self.drop_entry(key);
            } else if let Some(entry) = self.entries.get_mut(&key) {
                entry.cores.retain(|&core| core == asker);
            }
        }
    }

    /// Nothing that was made of `region` is left anywhere.
    pub fn revoked(&mut self, region: &Region) {
        let keys: Vec<Key> = self.overlapping(region.span()).map(|(key, _)| *key).collect();
        for key in keys.into_iter().filter(|key| region.could_make(&key.region())) {
            self.drop_entry(key);
        }
    }

    /// Drops, in `span`, what nobody holds; answers the objects whose copies the owner need not keep any more.
    pub fn tidy(&mut self, span: Span) -> Vec<Region> {
        let mut idle = Vec::new();
        let empty: Vec<Key> =
            self.overlapping(span).filter(|(_, e)| e.cores.is_empty()).map(|(key, _)| *key).collect();
        for key in empty {
            let region = key.region();
            let made = |(other, entry): (&Key, &Entry)| {
                !entry.cores.is_empty() && region.could_make(&other.region())
            };
            if self.overlapping(region.span()).any(made) {
                continue;
            }
            if self.drop_entry(key).is_some_and(|entry| entry.anchored) {
                idle.push(region);
            }
        }
        idle
    }

    /// A core is lost, and with it all copies there. Answers the memory that it could write and perhaps still does.
    pub fn lost(&mut self, is_lost: &dyn Fn(CoreId) -> bool) -> Vec<Region> {
        let mut held = Vec::new();
        for (key, entry) in &mut self.entries {
            let before = entry.cores.len();
            entry.cores.retain(|&core| !is_lost(core));
            if entry.cores.len() < before {
                held.push(key.region());
            }
        }
        held
    }

    /// Every core that holds something.
    pub fn cores(&self) -> impl Iterator<Item = CoreId> {
        self.entries.values().flat_map(|entry| entry.cores.iter().copied())
    }

    /// How many objects and parts it knows.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether nothing is shared.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    fn drop_entry(&mut self, key: Key) -> Option<Entry> {
        let entry = self.entries.remove(&key)?;
        let left = &mut self.orders[usize::from(key.order)];
        *left -= 1;
        if *left == 0 {
            self.used &= !(1 << key.order);
        }
        Some(entry)
    }

    fn overlapping(&self, span: Span) -> impl Iterator<Item = (&Key, &Entry)> {
        let mut left = self.used;
        let used = core::iter::from_fn(move || {
            let order = (left != 0).then(|| left.trailing_zeros() as u8)?;
            left &= left - 1;
            Some(order)
        });
        used.flat_map(move |order| {
            let reach = 2_u64.checked_shl(order.into()).unwrap_or(u64::MAX) - 1;
            let edge = |base, ty| Key { order, base, len: 0, ty };
            let from = edge(span.base.saturating_sub(reach), CapType::Ram);
            self.entries.range(from..edge(span.end, CapType::Ram))
        })
        .filter(move |(key, _)| key.region().span().overlaps(span))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testkit::core;

    const PAGE: u64 = 4096;

    fn ram(page: u64, pages: u64) -> Region {
        Region { ty: CapType::Ram, base: page * PAGE, len: pages * PAGE }
    }

    fn frame(page: u64, pages: u64) -> Region {
        Region { ty: CapType::Frame, ..ram(page, pages) }
    }

    #[test]
    fn those_concerned_hold_it_or_what_was_made_of_it_there() {
        let mut holders = Holders::default();
        let all =
            [(ram(0, 1024), 9), (ram(16, 16), 1), (frame(16, 4), 2), (frame(20, 4), 3), (ram(32, 16), 4)];
        for (region, n) in all {
            assert_eq!(holders.add(&region, core(0, n), true), Ok(true));
            assert_eq!(holders.add(&region, core(0, n), true), Ok(false));
        }
        let parties = |region: Region, span: Region| {
            holders.parties(&region, span.span()).iter().map(|c| c.local()).collect::<Vec<_>>()
        };
        assert_eq!(parties(ram(16, 16), ram(16, 16)), [1, 2, 3]);
        assert_eq!(parties(ram(16, 16), ram(20, 2)), [1, 3]);
        assert_eq!(parties(frame(16, 4), frame(16, 4)), [2], "not who holds the RAM around it");
        assert_eq!(parties(ram(0, 1024), ram(40, 1)), [4, 9]);
        assert_eq!(parties(ram(0, 1024), ram(0, 1024)), [1, 2, 3, 4, 9]);
        assert_eq!(parties(ram(64, 4), ram(64, 4)), [0; 0]);
    }

    #[test]
    fn ram_of_the_same_range_outlives_its_frame_s_revocation() {
        let mut holders = Holders::default();
        for region in [ram(0, 4), frame(0, 4)] {
            holders.add(&region, core(0, 1), true).unwrap();
        }
        holders.revoked(&frame(0, 4));
        assert_eq!(holders.len(), 2, "nothing is made of frames");
        holders.revoked(&ram(0, 4));
        assert!(holders.holds(&ram(0, 4), core(0, 1)) && !holders.holds(&frame(0, 4), core(0, 1)));
    }

    #[test]
    fn what_others_made_is_known_by_the_whole_part() {
        let mut holders = Holders::default();
        holders.add(&ram(0, 8), core(0, 1), true).unwrap();
        holders.add(&frame(2, 4), core(0, 1), false).unwrap();
        assert!(holders.holds(&frame(3, 1), core(0, 1)));
        assert!(!holders.holds(&frame(0, 1), core(0, 1)) && !holders.holds(&ram(3, 1), core(0, 1)));
        assert_eq!(holders.parties(&frame(3, 1), frame(3, 1).span()), [core(0, 1)]);
    }

    #[test]
    fn an_anchor_stays_while_anything_of_the_object_is_held() {
        let mut holders = Holders::default();
        holders.add(&ram(0, 8), core(0, 1), true).unwrap();
        holders.add(&frame(2, 2), core(0, 1), false).unwrap();
        holders.none(&ram(0, 8), ram(4, 4).span(), core(0, 1));
        assert_eq!(holders.tidy(ram(0, 8).span()), []);
        holders.none(&ram(0, 8), ram(0, 8).span(), core(0, 1));
        assert_eq!(holders.tidy(ram(0, 8).span()), [ram(0, 8)]);
        assert!(holders.is_empty());
    }

    #[test]
    fn the_table_is_bounded() {
        let mut holders = Holders::default();
        for n in 0..MAX_ENTRIES as u64 {
            holders.add(&frame(n, 1), core(0, 1), true).unwrap();
        }
        assert_eq!(holders.add(&frame(0, 2), core(0, 1), true), Err(Refusal::Busy));
        assert_eq!(holders.add(&frame(0, 1), core(0, 2), true), Ok(true));
    }
}
