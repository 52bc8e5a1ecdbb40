//! The replica of what islands and cores there are: every monitor has its own (paper §3.3: replicate state, do not
//! share it). Merging is pure; what follows from a change is in [`ops::membership`](crate::ops).

use crate::config::{MAX_CORES, MAX_ISLANDS};
use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use skerry_hal::{CoreId, Epoch, Isa, IslandId};
use skerry_urpc::formats::monitor::{CoreAd, CoreState, IslandAd};
use skerry_urpc::formats::shell::IslandState;

/// What is known of a core.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Core {
    /// Where it stands.
    pub state: CoreState,
    /// Its instruction set, once known.
    pub isa: Option<Isa>,
    /// NUMA node.
    pub node: u16,
    /// Channels of its monitor.
    pub channels: u16,
    /// Ticks per second of its clock.
    pub frequency: u64,
    pub(crate) seq: u32,
}

impl Core {
    pub(crate) const PRESENT: Self =
        Self { state: CoreState::Present, isa: None, node: 0, channels: 0, frequency: 0, seq: 0 };
}

/// Whether what is known of an island counts.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Known {
    /// It was heard of and could be reached ever since.
    Fresh,
    /// It could not be reached since: it may have been lost meanwhile. It counts from its next advertisement on.
    Stale,
    /// And an island that says that it has a link to it was asked for that.
    Asked(IslandId),
}

/// What is known of an island.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Island {
    /// Where it stands.
    pub state: IslandState,
    /// Its instruction set, once known.
    pub isa: Option<Isa>,
    /// The newest epoch it was seen in; 0 if it never was.
    pub epoch: Epoch,
    /// The highest epoch that was given up: nothing from it, or from lower ones, counts any more.
    pub refused: Epoch,
    /// Islands its links are up to.
    pub links: u64,
    /// Islands it has links to.
    pub wired: u64,
    /// Whether all its cores are up or given up.
    pub settled: bool,
    /// Its cores, by local number.
    pub cores: Vec<Core>,
    pub(crate) seq: u32,
    pub(crate) known: Known,
}

impl Island {
    pub(crate) const fn expected() -> Self {
        Self {
            state: IslandState::Expected,
            isa: None,
            epoch: Epoch(0),
            refused: Epoch(0),
            links: 0,
            wired: 0,
            settled: false,
            cores: Vec::new(),
            seq: 0,
            known: Known::Fresh,
        }
    }

    /// Cores in state [`CoreState::Up`], if the island is.
    pub fn cores_up(&self) -> u32 {
        match self.state {
            IslandState::Up => self.cores.iter().filter(|c| c.state == CoreState::Up).count() as u32,
            _ => 0,
        }
    }
}

/// Where an iteration over all records stands: next is the island's own record (`core` 0) or that of core `core - 1`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Cursor {
    pub island: u16,
    pub core: u16,
}

/// What came of merging an advertisement.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Merge {
    /// New to us; pass it on.
    New,
    /// New, and the island had another epoch before: all that was under way with it is void.
    Reborn,
    /// The island counts again, and so does all that was known of it.
    Again,
    /// Known already.
    Old,
    /// From an epoch that was given up.
    Stale,
    /// No correct peer sends it.
    Bad,
}

/// All islands that were ever heard of.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub struct Islands(BTreeMap<u16, Island>);

impl Islands {
    /// The island of this number.
    pub fn get(&self, id: IslandId) -> Option<&Island> {
        self.0.get(&id.0)
    }

    pub(crate) fn get_mut(&mut self, id: IslandId) -> Option<&mut Island> {
        self.0.get_mut(&id.0)
    }

    /// The core of this name.
    pub fn core(&self, id: CoreId) -> Option<&Core> {
        self.get(id.island())?.cores.get(id.local() as usize)
    }

    pub(crate) fn core_mut(&mut self, id: CoreId) -> Option<&mut Core> {
        self.get_mut(id.island())?.cores.get_mut(id.local() as usize)
    }

    /// All of them, in order.
    pub fn iter(&self) -> impl Iterator<Item = (IslandId, &Island)> {
        self.0.iter().map(|(&id, island)| (IslandId(id), island))
    }

    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = (IslandId, &mut Island)> {
        self.0.iter_mut().map(|(&id, island)| (IslandId(id), island))
    }

    /// The island, made known if it was not. `None` if its number is too high.
    pub(crate) fn entry(&mut self, id: IslandId) -> Option<&mut Island> {
        ((id.0 as usize) < MAX_ISLANDS).then(|| self.0.entry(id.0).or_insert_with(Island::expected))
    }

    /// The first record at or after `at`: the island, and its core unless it is the island's own record.
    pub(crate) fn next(&self, at: Cursor) -> Option<(IslandId, Option<u16>)> {
        let (&id, island) = self.0.range(at.island..).next()?;
        let core = if id == at.island { at.core } else { 0 };
        if core == 0 {
            Some((IslandId(id), None))
        } else if (core as usize) <= island.cores.len() {
            Some((IslandId(id), Some(core - 1)))
        } else {
            self.next(Cursor { island: id.checked_add(1)?, core: 0 })
        }
    }

    /// Takes in what an island says of itself.
    pub(crate) fn merge_island(&mut self, ad: &IslandAd) -> Merge {
        let (Some(isa), true) = (Isa::from_wire(ad.isa), ad.cores > 0 && ad.cores as usize <= MAX_CORES)
        else {
            return Merge::Bad;
        };
        if ad.epoch == Epoch(0) {
            return Merge::Bad;
        }
        let Some(island) = self.entry(ad.island) else { return Merge::Bad };
        if ad.epoch <= island.refused {
            return Merge::Stale;
        }
        let again = island.known != Known::Fresh && ad.epoch == island.epoch && ad.seq >= island.seq;
        if (ad.epoch, ad.seq) <= (island.epoch, island.seq) && !again {
            return if ad.epoch < island.epoch { Merge::Stale } else { Merge::Old };
        }
        let reborn = island.epoch != ad.epoch && island.epoch != Epoch(0);
        if island.epoch != ad.epoch {
            island.refused = island.refused.max(island.epoch);
            island.cores.clear();
        } else if ad.cores as usize != island.cores.len() {
            return Merge::Bad;
        }
        island.cores.resize(ad.cores as usize, Core::PRESENT);
        (island.isa, island.epoch, island.seq) = (Some(isa), ad.epoch, ad.seq);
        island.known = Known::Fresh;
        (island.links, island.wired, island.settled) = (ad.links, ad.wired, ad.settled == 1);
        match (reborn, again) {
            (true, _) => Merge::Reborn,
            (_, true) => Merge::Again,
            _ => Merge::New,
        }
    }

    /// Takes in what is known of a core.
    pub(crate) fn merge_core(&mut self, ad: &CoreAd) -> Merge {
        let (Some(isa), Some(state)) = (Isa::from_wire(ad.isa), CoreState::from_raw(ad.state)) else {
            return Merge::Bad;
        };
        let Some(island) = self.get_mut(ad.core.island()) else { return Merge::Bad };
        if ad.epoch < island.epoch || ad.epoch <= island.refused {
            return Merge::Stale;
        }
        let epoch = island.epoch;
        let Some(core) = island.cores.get_mut(ad.core.local() as usize) else { return Merge::Bad };
        if ad.epoch != epoch {
            return Merge::Bad;
        }
        if ad.seq <= core.seq {
            return Merge::Old;
        }
        *core = Core {
            state,
            isa: Some(isa),
            node: ad.node,
            channels: ad.channels,
            frequency: ad.frequency,
            seq: ad.seq,
        };
        Merge::New
    }

    /// Notes that an island was given up in `epoch`. Answers whether that is news.
    pub(crate) fn give_up(&mut self, id: IslandId, epoch: Epoch) -> bool {
        let Some(island) = self.entry(id) else { return false };
        if epoch <= island.refused || epoch < island.epoch {
            return false;
        }
        island.refused = epoch;
        island.epoch = epoch;
        island.state = IslandState::Lost;
        island.known = Known::Fresh;
        island.links = 0;
        island.seq = u32::MAX;
        for core in &mut island.cores {
            core.state = CoreState::Lost;
        }
        true
    }

    /// The islands that can be reached from `from` over links that both ends say are up, and for each the neighbour of
    /// `from` through which. Breadth first, lower numbers first: all monitors come to the same routes.
    pub(crate) fn routes(&self, from: IslandId) -> [Option<IslandId>; MAX_ISLANDS] {
        let mut via = [None; MAX_ISLANDS];
        let mut queue = Vec::with_capacity(MAX_ISLANDS);
        queue.push(from);
        let mut next = 0;
        while let Some(&at) = queue.get(next) {
            next += 1;
            let mut links = self.get(at).map_or(0, |i| i.links);
            while links != 0 {
                let n = links.trailing_zeros() as u16;
                links &= links - 1;
                let fresh = self.get(IslandId(n)).filter(|i| i.known == Known::Fresh);
                let both = fresh.is_some_and(|i| i.links >> at.0 & 1 == 1);
                if both && n != from.0 && via[n as usize].is_none() {
                    via[n as usize] =
                        Some(if at == from { IslandId(n) } else { via[at.0 as usize].unwrap_or(at) });
                    queue.push(IslandId(n));
                }
            }
        }
        via
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ad(island: u16, epoch: u32, seq: u32, links: u64) -> IslandAd {
        IslandAd {
            island: IslandId(island),
            isa: 1,
            epoch: Epoch(epoch),
            seq,
            cores: 2,
            links,
            wired: links,
            ..IslandAd::default()
        }
    }

    fn core_ad(core: CoreId, epoch: u32, seq: u32) -> CoreAd {
        CoreAd { core, epoch: Epoch(epoch), seq, isa: 1, state: 2, ..CoreAd::default() }
    }

    #[test]
    fn newer_wins_and_a_refused_epoch_never_returns() {
        let mut t = Islands::default();
        assert_eq!(t.merge_island(&ad(1, 1, 5, 0)), Merge::New);
        assert_eq!(t.merge_island(&ad(1, 1, 5, 0)), Merge::Old);
        assert_eq!(t.merge_island(&ad(1, 1, 6, 0)), Merge::New);
        assert!(t.give_up(IslandId(1), Epoch(1)));
        assert!(!t.give_up(IslandId(1), Epoch(1)), "known");
        assert_eq!(t.merge_island(&ad(1, 1, 7, 0)), Merge::Stale);
        assert_eq!(t.merge_island(&ad(1, 2, 1, 0)), Merge::Reborn);
        assert!(!t.give_up(IslandId(1), Epoch(1)), "an old verdict does not touch the new epoch");
        assert_eq!(t.merge_island(&ad(1, 1, 9, 0)), Merge::Stale);
    }

    #[test]
    fn bad_advertisements_change_nothing() {
        let mut t = Islands::default();
        for bad in [
            IslandAd { isa: 9, ..ad(1, 1, 1, 0) },
            IslandAd { cores: 0, ..ad(1, 1, 1, 0) },
            IslandAd { cores: 5000, ..ad(1, 1, 1, 0) },
            ad(1, 0, 1, 0),
            ad(64, 1, 1, 0),
        ] {
            assert_eq!(t.merge_island(&bad), Merge::Bad, "{bad:?}");
        }
        assert!(t.get(IslandId(1)).is_none_or(|i| i.epoch == Epoch(0)));
        assert_eq!(t.merge_core(&core_ad(CoreId::new(IslandId(1), 0), 1, 1)), Merge::Bad, "island not known");
    }

    #[test]
    fn an_island_may_not_change_its_size_within_an_epoch() {
        let mut t = Islands::default();
        t.merge_island(&ad(1, 1, 1, 0));
        assert_eq!(t.merge_island(&IslandAd { cores: 3, ..ad(1, 1, 2, 0) }), Merge::Bad);
        assert_eq!(t.merge_island(&IslandAd { cores: 3, ..ad(1, 2, 1, 0) }), Merge::Reborn);
    }

    #[test]
    fn core_records_are_bound_to_the_epoch() {
        let mut t = Islands::default();
        let core = CoreId::new(IslandId(1), 1);
        t.merge_island(&ad(1, 2, 1, 0));
        assert_eq!(t.merge_core(&core_ad(core, 1, 1)), Merge::Stale);
        assert_eq!(t.merge_core(&core_ad(core, 3, 1)), Merge::Bad);
        assert_eq!(t.merge_core(&core_ad(core, 2, 1)), Merge::New);
        assert_eq!(t.merge_core(&core_ad(core, 2, 1)), Merge::Old);
        assert_eq!(t.merge_core(&core_ad(CoreId::new(IslandId(1), 2), 2, 1)), Merge::Bad);
        t.merge_island(&ad(1, 3, 1, 0));
        assert_eq!(t.core(core).unwrap().state, CoreState::Present, "a new epoch starts afresh");
    }

    #[test]
    fn routes_need_both_ends_and_go_the_short_way() {
        let mut t = Islands::default();
        t.merge_island(&ad(0, 1, 1, 0b0010));
        t.merge_island(&ad(1, 1, 1, 0b1101));
        t.merge_island(&ad(2, 1, 1, 0b1010));
        t.merge_island(&ad(3, 1, 1, 0b0100));
        let via = t.routes(IslandId(0));
        assert_eq!(via[1], Some(IslandId(1)));
        assert_eq!(via[2], Some(IslandId(1)));
        assert_eq!(via[3], Some(IslandId(1)), "3 does not confirm its link to 1, but that to 2");
        assert_eq!(via[0], None);
        t.merge_island(&ad(2, 1, 2, 0));
        assert_eq!(t.routes(IslandId(0))[3], None);
    }

    #[test]
    fn the_cursor_visits_every_record_once() {
        let mut t = Islands::default();
        t.merge_island(&ad(1, 1, 1, 0));
        t.merge_island(&ad(5, 1, 1, 0));
        let (mut at, mut seen) = (Cursor::default(), Vec::new());
        while let Some((island, core)) = t.next(at) {
            seen.push((island.0, core));
            at = Cursor { island: island.0, core: core.map_or(1, |c| c + 2) };
        }
        assert_eq!(seen, [(1, None), (1, Some(0)), (1, Some(1)), (5, None), (5, Some(0)), (5, Some(1))]);
    }
}
