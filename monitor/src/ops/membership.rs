//! Which islands and cores there are.
//!
//! Each island's first monitor says what its island is ([`IslandAd`]) and what its cores are ([`CoreAd`]), under
//! `(epoch, seq)`; first monitors flood what is new to their links and to their own island's monitors. A channel that
//! comes up, or that had no room for something new, is sent the whole table: it is bounded, and old records do no harm.
//!
//! A link's peer that fell silent and that no other way leads to is *given up*: its epoch is refused from then on, by all
//! ([`IslandLoss`](skerry_urpc::formats::monitor::IslandLoss)). An island behind one that is gone is merely unreachable; nobody
//! has judged it. It may have been lost meanwhile, though: so it counts again only from an advertisement that comes after.
//!
//! Here: what islands and cores say of themselves. `links`: what the own links say, and losses. `conclude`: what follows.

mod conclude;
mod links;

use crate::chans::Role;
use crate::config::{Config, MAX_ISLANDS};
use crate::event::{Chan, Sink};
use crate::monitor::Monitor;
use crate::table::{Core, Merge};
use alloc::vec::Vec;
use skerry_hal::{CoreId, Epoch, Isa, IslandId};
use skerry_urpc::formats::Refusal;
use skerry_urpc::formats::monitor::{CoreAd, CoreState, IslandAd, IslandQuery};
use skerry_urpc::formats::shell::IslandState;
use skerry_urpc::wire::Header;

/// One of the island's links.
pub(crate) struct Link {
    pub(super) peer: IslandId,
    /// The peer's epoch while the link is up.
    up: Option<Epoch>,
    /// The epoch in which the peer last fell silent.
    failed: Epoch,
}

pub(crate) struct State {
    pub(super) links: Vec<Link>,
    /// When islands that have not appeared yet are no longer waited for.
    join_until: Option<u64>,
}

impl State {
    pub(crate) fn new(config: &Config, now: u64) -> Self {
        let link = |&peer| Link { peer, up: None, failed: Epoch(0) };
        Self {
            links: config.links.iter().map(link).collect(),
            join_until: (config.join_bound > 0).then(|| now.saturating_add(config.join_bound)),
        }
    }
}

impl Monitor {
    /// Enters what a new monitor knows: its own island, and where its links lead.
    pub(crate) fn found_island(&mut self) {
        let count = self.config.cores.iter().map(|c| c.local).max().unwrap_or(0).max(self.core.local()) + 1;
        let (isa, node, frequency) = (self.config.isa, self.config.node, self.config.frequency);
        let (epoch, me, first) = (self.epoch, self.core.local(), self.is_first());
        let Some(own) = self.islands.entry(self.island) else { return };
        own.isa = Some(isa);
        own.epoch = epoch;
        own.state = IslandState::Up;
        own.cores.resize(if first { count as usize } else { 0 }, Core { seq: 1, ..Core::PRESENT });
        if let Some(core) = own.cores.get_mut(me as usize) {
            *core = Core { state: CoreState::Up, isa: Some(isa), node, channels: 0, frequency, seq: 1 };
        }
        for local in &self.config.cores {
            if let Some(core) = own.cores.get_mut(local.local as usize) {
                core.node = local.node;
            }
        }
        for link in &self.membership.links {
            own.wired |= 1_u64.checked_shl(link.peer.0.into()).unwrap_or(0);
        }
        for n in 0..self.membership.links.len() {
            let peer = self.membership.links[n].peer;
            let _ = self.islands.entry(peer);
        }
    }

    /// Whether `core` can be talked to now, and if not, why.
    pub fn status_of(&self, core: CoreId) -> Result<(), Refusal> {
        let island = self.islands.get(core.island()).ok_or(Refusal::Unknown)?;
        match island.state {
            IslandState::Up => match self.islands.core(core).map(|c| c.state) {
                None => Err(Refusal::Unknown),
                Some(CoreState::Up) => Ok(()),
                Some(CoreState::Lost) => Err(Refusal::Lost),
                Some(_) => Err(Refusal::NotUp),
            },
            IslandState::Lost => Err(Refusal::Lost),
            IslandState::Unreachable => Err(Refusal::Unreachable),
            IslandState::Expected | IslandState::Absent => Err(Refusal::NotUp),
        }
    }

    /// The epoch of an island, if messages from it are taken.
    pub(crate) fn epoch_of(&self, island: IslandId) -> Epoch {
        if island == self.island {
            return self.epoch;
        }
        self.accepted.get(island.0 as usize).copied().unwrap_or_default()
    }

    /// Whether what was begun with `island` in `epoch` is void. Within the own island a new epoch changes nothing.
    pub(crate) fn is_void(&self, island: IslandId, epoch: Epoch) -> bool {
        island != self.island && self.epoch_of(island) != epoch
    }

    pub(crate) fn on_start(&mut self, sink: &mut dyn Sink) {
        if self.is_first() {
            self.start_cores(sink);
            self.changed_own(sink);
        } else {
            self.report_self(sink);
        }
    }

    /// Tells the first monitor what there is to know of this core.
    pub(crate) fn report_self(&mut self, sink: &mut dyn Sink) {
        let ad = CoreAd {
            core: self.core,
            epoch: self.epoch,
            node: self.config.node,
            channels: self.chans.peers(),
            isa: self.config.isa as u8,
            state: CoreState::Up as u8,
            frequency: self.config.frequency,
            ..CoreAd::default()
        };
        self.send_body(CoreId::new(self.island, 0), 0, &ad, sink);
    }

    /// The number of this monitor's channels changed.
    pub(crate) fn channels_changed(&mut self, sink: &mut dyn Sink) {
        if !self.is_first() {
            return self.report_self(sink);
        }
        let channels = self.chans.peers();
        if let Some(core) = self.islands.core_mut(self.core)
            && core.channels != channels
        {
            core.channels = channels;
            self.changed_core(self.core, sink);
        }
    }

    pub(crate) fn on_island_ad(&mut self, ad: &IslandAd, chan: Chan, header: &Header, sink: &mut dyn Sink) {
        if !self.may_advertise(chan, header, ad.island) {
            self.counters.bad += 1;
            return;
        }
        let merged = self.islands.merge_island(ad);
        match merged {
            Merge::New | Merge::Again => {}
            Merge::Reborn => self.bury(ad.island, sink),
            Merge::Old => return,
            Merge::Stale => return self.counters.stale += 1,
            Merge::Bad => return self.counters.bad += 1,
        }
        if ad.island == self.island {
            self.epoch = ad.epoch;
        }
        for n in (0..MAX_ISLANDS as u16).filter(|n| ad.wired >> n & 1 == 1) {
            let _ = self.islands.entry(IslandId(n));
        }
        if merged == Merge::Again {
            // Others were not told anything of it meanwhile.
            self.sync_all(Some(ad.island), Some(chan));
        } else {
            self.flood(ad.island, ad, Some(chan), sink);
        }
        self.recompute(sink);
    }

    pub(crate) fn on_core_ad(&mut self, ad: &CoreAd, chan: Chan, header: &Header, sink: &mut dyn Sink) {
        if self.is_first() && ad.core.island() == self.island {
            return self.on_report(ad, chan, sink);
        }
        if !self.may_advertise(chan, header, ad.core.island()) {
            self.counters.bad += 1;
            return;
        }
        match self.islands.merge_core(ad) {
            Merge::New | Merge::Again | Merge::Reborn => {
                if ad.core.island() == self.island && ad.state == CoreState::Off as u8 {
                    self.drop_peer(ad.core, sink);
                }
                self.flood(ad.core.island(), ad, Some(chan), sink);
                self.conclude_core(ad.core, sink);
            }
            Merge::Old => {}
            Merge::Stale => self.counters.stale += 1,
            Merge::Bad => {
                self.counters.bad += 1;
                // It may have overtaken what says that this island is there, on the other way that there is to here.
                if !self.is_first() {
                    let query = IslandQuery { island: ad.core.island(), ..IslandQuery::default() };
                    self.send_body(header.src, 0, &query, sink);
                }
            }
        }
    }

    /// A core of the own island speaks of itself.
    fn on_report(&mut self, ad: &CoreAd, chan: Chan, sink: &mut dyn Sink) {
        let known = self.chans.role(chan) == Role::Core(ad.core);
        let (Some(core), true, Some(isa)) = (self.islands.core_mut(ad.core), known, Isa::from_wire(ad.isa))
        else {
            self.counters.bad += 1;
            return;
        };
        let first = core.state != CoreState::Up;
        core.state = CoreState::Up;
        (core.isa, core.node, core.channels, core.frequency) =
            (Some(isa), ad.node, ad.channels, ad.frequency);
        if !first {
            // How many channels it has says nothing of its island.
            return self.say_core(ad.core, sink);
        }
        self.changed_core(ad.core, sink);
        self.on_core_up(ad.core, chan, sink);
        self.sync_from_start(chan, sink);
    }

    /// Whether what an island advertises may come this way: from its first monitor over a link, for another island, or
    /// from the own first monitor.
    fn may_advertise(&self, chan: Chan, header: &Header, island: IslandId) -> bool {
        self.is_informant(chan, header) && (!self.is_first() || island != self.island)
    }

    /// Whether the sender is one of those that hand on what is known of the system.
    fn is_informant(&self, chan: Chan, header: &Header) -> bool {
        match self.chans.role(chan) {
            Role::Link(n) => {
                let peer = self.membership.links.get(n as usize).map(|l| CoreId::new(l.peer, 0));
                Some(header.src) == peer
            }
            // By way of an aggregation node, perhaps.
            Role::Core(_) => !self.is_first() && header.src == CoreId::new(self.island, 0),
            Role::Free | Role::Client | Role::Server => false,
        }
    }

    /// The own island changed: say so.
    pub(crate) fn changed_own(&mut self, sink: &mut dyn Sink) {
        let links = self.membership.links.iter().filter(|l| l.up.is_some());
        let links = links.fold(0, |set, l| set | 1_u64.checked_shl(l.peer.0.into()).unwrap_or(0));
        if let Some(own) = self.islands.get_mut(self.island) {
            let unsettled = |c: &Core| matches!(c.state, CoreState::Present | CoreState::Starting);
            own.settled = !own.cores.iter().any(unsettled);
            own.links = links;
            own.seq += 1;
        }
        // First the conclusions: others are told that a peer is lost before they see that it cannot be reached.
        self.recompute(sink);
        if let Some(ad) = self.island_ad(self.island) {
            self.flood(ad.island, &ad, None, sink);
        }
    }

    /// A core of the own island changed: say so.
    pub(crate) fn changed_core(&mut self, core: CoreId, sink: &mut dyn Sink) {
        self.say_core(core, sink);
        self.changed_own(sink);
    }

    fn say_core(&mut self, core: CoreId, sink: &mut dyn Sink) {
        if let Some(entry) = self.islands.core_mut(core) {
            entry.seq += 1;
        }
        if let Some(ad) = self.core_ad(core) {
            self.flood(core.island(), &ad, None, sink);
        }
    }
}

#[cfg(test)]
mod tests;
