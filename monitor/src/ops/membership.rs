//! Which islands and cores there are.
//!
//! Each island's first monitor says what its island is ([`IslandAd`]) and what its cores are ([`CoreAd`]), under
//! `(epoch, seq)`; first monitors flood what is new to their links and to their own island's monitors. A channel that
//! comes up, or that had no room for something new, is sent the whole table: it is bounded, and old records do no harm.
//!
//! A link's peer that fell silent and that no other way leads to is *given up*: its epoch is refused from then on, by all
//! ([`IslandLoss`]). An island behind one that is gone is merely unreachable; nobody has judged it.

use crate::chans::Role;
use crate::config::{Config, MAX_ISLANDS};
use crate::event::{Action, Chan, Sink};
use crate::monitor::Monitor;
use crate::table::{Core, Cursor, Merge};
use alloc::format;
use alloc::string::ToString;
use alloc::vec::Vec;
use skerry_hal::{CoreId, Epoch, Isa, IslandId};
use skerry_urpc::formats::Refusal;
use skerry_urpc::formats::monitor::{CoreAd, CoreState, IslandAd, IslandLoss};
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

    pub(crate) fn on_link_up(&mut self, link: u16, epoch: Epoch, sink: &mut dyn Sink) {
        let Some(entry) = self.membership.links.get_mut(link as usize) else { return };
        let peer = entry.peer;
        let too_old = self.islands.get(peer).is_none_or(|i| epoch <= i.refused || epoch < i.epoch);
        if too_old || peer == self.island {
            self.counters.stale += 1;
            // Who gave it up may be gone: unless it is told here, it waits for ever.
            sink.act(Action::RefuseEpoch { link, epoch });
            return self.note(1, format!("link to island {peer}: epoch {epoch} was given up"), sink);
        }
        entry.up = Some(epoch);
        if let Some(chan) = self.chans.get_mut(Chan(link)) {
            chan.reset(true);
            chan.sync = Some(Cursor::default());
        }
        // Its advertisement comes over this link; before that the greeting is all that is known of its epoch.
        let known = self.islands.get(peer).map_or(Epoch(0), |i| i.epoch);
        if known != Epoch(0) && known < epoch {
            self.give_up(peer, known, self.core, None, sink);
        }
        self.changed_own(sink);
        self.channels_changed(sink);
        self.sync(Chan(link), sink);
    }

    pub(crate) fn on_link_lost(&mut self, link: u16, why: &str, sink: &mut dyn Sink) {
        let Some(entry) = self.membership.links.get_mut(link as usize) else { return };
        let Some(epoch) = entry.up.take() else { return };
        entry.failed = epoch;
        let peer = entry.peer;
        self.note(2, format!("link to island {peer} lost: {why}"), sink);
        if let Some(chan) = self.chans.get_mut(Chan(link)) {
            chan.reset(false);
        }
        self.changed_own(sink);
        self.channels_changed(sink);
    }

    /// Somebody gave this island up: it comes back under a new epoch, and whatever was under way with others is void.
    pub(crate) fn on_epoch_refused(&mut self, epoch: Epoch, sink: &mut dyn Sink) {
        if epoch < self.epoch || !self.is_first() {
            return;
        }
        self.epoch = epoch.next();
        for n in 0..self.membership.links.len() {
            self.membership.links[n].up = None;
            if let Some(chan) = self.chans.get_mut(Chan(n as u16)) {
                chan.reset(false);
            }
        }
        if let Some(own) = self.islands.get_mut(self.island) {
            (own.epoch, own.seq) = (self.epoch, 0);
            for core in &mut own.cores {
                core.seq = 1;
            }
        }
        self.note(2, format!("given up by another island; rejoining in epoch {}", self.epoch), sink);
        sink.act(Action::NewEpoch { epoch: self.epoch });
        self.changed_own(sink);
        self.resync_all();
        self.channels_changed(sink);
    }

    pub(crate) fn on_island_ad(&mut self, ad: &IslandAd, chan: Chan, header: &Header, sink: &mut dyn Sink) {
        if !self.may_advertise(chan, header, ad.island) {
            self.counters.bad += 1;
            return;
        }
        match self.islands.merge_island(ad) {
            Merge::New => {}
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
        self.flood(ad, Some(chan), sink);
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
            Merge::New | Merge::Reborn => {
                if ad.core.island() == self.island && ad.state == CoreState::Off as u8 {
                    self.drop_peer(ad.core, sink);
                }
                self.flood(ad, Some(chan), sink);
                self.recompute(sink);
            }
            Merge::Old => {}
            Merge::Stale => self.counters.stale += 1,
            Merge::Bad => self.counters.bad += 1,
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
        self.changed_core(ad.core, sink);
        if first {
            self.on_core_up(ad.core, chan, sink);
            self.sync_from_start(chan, sink);
        }
    }

    pub(crate) fn on_island_loss(
        &mut self,
        loss: &IslandLoss,
        chan: Chan,
        header: &Header,
        sink: &mut dyn Sink,
    ) {
        if loss.island == self.island {
            return self.on_epoch_refused(loss.epoch, sink);
        }
        if loss.epoch == Epoch(0) || !self.is_informant(chan, header) {
            self.counters.bad += 1;
            return;
        }
        self.give_up(loss.island, loss.epoch, loss.by, Some(chan), sink);
    }

    /// Refuses an island's epoch, and tells everybody.
    fn give_up(&mut self, id: IslandId, epoch: Epoch, by: CoreId, except: Option<Chan>, sink: &mut dyn Sink) {
        if !self.islands.give_up(id, epoch) {
            return;
        }
        self.note(2, format!("island {id} is lost (epoch {epoch}, says {by})"), sink);
        self.bury(id, sink);
        for link in 0..self.membership.links.len() {
            let entry = &mut self.membership.links[link];
            if entry.peer == id && entry.up.is_some_and(|up| up <= epoch) {
                entry.up = None;
                if let Some(chan) = self.chans.get_mut(Chan(link as u16)) {
                    chan.reset(false);
                }
                sink.act(Action::RefuseEpoch { link: link as u16, epoch });
                self.changed_own(sink);
            }
        }
        let loss = IslandLoss { island: id, reserved: 0, epoch, by, ..IslandLoss::default() };
        self.flood(&loss, except, sink);
        self.recompute(sink);
    }

    /// Nothing that was under way with an island counts any more.
    fn bury(&mut self, id: IslandId, sink: &mut dyn Sink) {
        if let Some(accepted) = self.accepted.get_mut(id.0 as usize)
            && id != self.island
        {
            *accepted = Epoch(0);
        }
        self.recheck(sink);
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
            Role::Core(core) => !self.is_first() && core.local() == 0 && header.src == core,
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
            self.flood(&ad, None, sink);
        }
    }

    /// A core of the own island changed: say so.
    pub(crate) fn changed_core(&mut self, core: CoreId, sink: &mut dyn Sink) {
        if let Some(entry) = self.islands.core_mut(core) {
            entry.seq += 1;
        }
        if let Some(ad) = self.core_ad(core) {
            self.flood(&ad, None, sink);
        }
        self.changed_own(sink);
    }

    /// Draws all conclusions from the table: who is reachable, what is lost, where messages go.
    pub(crate) fn recompute(&mut self, sink: &mut dyn Sink) {
        let via = self.islands.routes(self.island);
        let (me, first) = (self.island, self.is_first());
        let mut joined = Vec::new();
        let mut silent = None;
        for (id, island) in self.islands.iter_mut().filter(|(id, _)| *id != me) {
            let index = id.0 as usize;
            let reachable = via[index].is_some() && island.epoch > island.refused;
            let link = |peer| self.membership.links.iter().position(|l| l.peer == peer);
            self.to_island[index] = match via[index] {
                _ if !reachable => None,
                Some(next) if first => link(next).map(|n| Chan(n as u16)),
                _ => Some(Chan(0)),
            };
            let was = island.state;
            island.state = match was {
                _ if reachable => IslandState::Up,
                IslandState::Up => IslandState::Unreachable,
                was => was,
            };
            // What a greeting on an own link says is newer than what was advertised.
            let greeted = link(id).and_then(|n| self.membership.links[n].up);
            self.accepted[index] = greeted.unwrap_or(if reachable { island.epoch } else { Epoch(0) });
            if was != IslandState::Up && reachable {
                joined.push((id, island.epoch, island.cores.len()));
            }
            let failed = link(id).map(|n| &self.membership.links[n]);
            if failed.is_some_and(|l| l.up.is_none() && l.failed == island.epoch && l.failed > island.refused)
                && island.state == IslandState::Unreachable
            {
                silent = Some((id, island.epoch));
            }
        }
        self.route_cores();
        for (id, epoch, cores) in joined {
            if first {
                self.note(3, format!("island {id} joined in epoch {epoch} with {cores} cores"), sink);
            }
        }
        if let Some((id, epoch)) = silent {
            return self.give_up(id, epoch, self.core, None, sink);
        }
        self.recheck(sink);
        self.leader_check(sink);
    }

    /// Which channel leads to which core of the own island.
    fn route_cores(&mut self) {
        self.to_core.clear();
        for (chan, entry) in self.chans.iter() {
            let Role::Core(core) = entry.role else { continue };
            let index = core.local() as usize;
            let lives = !self.is_first() || self.islands.core(core).is_some_and(|c| c.state == CoreState::Up);
            if entry.up && lives {
                if self.to_core.len() <= index {
                    self.to_core.resize(index + 1, None);
                }
                self.to_core[index] = Some(chan);
            }
        }
    }

    /// Whoever waits for something that will not come need not any longer.
    pub(crate) fn recheck(&mut self, sink: &mut dyn Sink) {
        self.ping_recheck(sink);
        self.stream_recheck(sink);
        self.client_recheck(sink);
        self.proc_recheck(sink);
        self.endpoint_recheck(sink);
    }

    pub(crate) fn membership_deadline(&self) -> Option<u64> {
        self.membership.join_until
    }

    pub(crate) fn membership_tick(&mut self, sink: &mut dyn Sink) {
        if !self.is_past(self.membership.join_until) {
            return;
        }
        self.membership.join_until = None;
        let absent: Vec<_> = self
            .islands
            .iter_mut()
            .filter(|(_, island)| island.state == IslandState::Expected)
            .map(|(id, island)| {
                island.state = IslandState::Absent;
                id.to_string()
            })
            .collect();
        if !absent.is_empty() && self.is_first() {
            self.note(2, format!("going on without island {}", absent.join(", ")), sink);
        }
        self.leader_check(sink);
    }

    /// Whether islands are still waited for, or cores of those that are up: an island may have settled before this
    /// replica has heard of all its cores.
    pub(crate) fn is_joining(&self) -> bool {
        let unsettled = |c: &Core| matches!(c.state, CoreState::Present | CoreState::Starting);
        self.islands.iter().any(|(_, island)| match island.state {
            IslandState::Expected => true,
            IslandState::Up => !island.settled || island.cores.iter().any(unsettled),
            IslandState::Absent | IslandState::Lost | IslandState::Unreachable => false,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Event;
    use crate::testkit::{app, core, header_of, island_says, joined, message};
    use skerry_urpc::formats::monitor::{Beat, Fault};

    #[test]
    fn a_silent_peer_is_given_up_and_its_epoch_never_counts_again() {
        let (mut m, mut log) = joined();
        assert_eq!(m.status_of(core(1, 0)), Ok(()));
        m.handle(10, Event::LinkLost { link: 0, why: "silent".into() }, &mut log);
        assert_eq!(m.status_of(core(1, 0)), Err(Refusal::Lost));
        m.handle(11, Event::LinkUp { link: 0, epoch: Epoch(1) }, &mut log);
        assert_eq!(m.status_of(core(1, 0)), Err(Refusal::Lost), "the same epoch is refused");
        let told = |a: &Action| matches!(a, Action::RefuseEpoch { link: 0, epoch: Epoch(1) });
        assert!(log.actions.iter().any(told), "and the peer is told so");
        let stale = m.counters().stale;
        m.handle(12, Event::LinkUp { link: 0, epoch: Epoch(2) }, &mut log);
        for old in island_says(1, 9, 2, 1, core(0, 0)) {
            m.message(13, Chan(0), &old, &mut log);
        }
        assert_eq!((m.counters().stale, m.status_of(core(1, 0))), (stale + 2, Err(Refusal::Lost)));
    }

    #[test]
    fn an_island_that_was_given_up_takes_the_next_epoch() {
        let (mut m, mut log) = joined();
        m.handle(10, Event::EpochRefused { epoch: Epoch(1) }, &mut log);
        m.handle(11, Event::EpochRefused { epoch: Epoch(1) }, &mut log);
        assert_eq!(m.epoch(), Epoch(2), "two peers may refuse the same epoch");
        let new = |a: &&Action| matches!(a, Action::NewEpoch { .. });
        assert_eq!(log.actions.iter().filter(new).count(), 1);
    }

    #[test]
    fn nobody_speaks_for_another_s_neighbour_or_for_us() {
        let (mut m, mut log) = joined();
        let bad = m.counters().bad;
        let [own, _] = island_says(0, 99, 5, 1, core(0, 0));
        let mut forged = own;
        forged.set_header(&header_of(core(1, 0), core(0, 0)));
        m.message(5, Chan(0), &forged, &mut log);
        let [other, _] = island_says(1, 99, 2, 0, core(0, 0));
        let mut relayed = other;
        relayed.set_header(&header_of(core(1, 1), core(0, 0)));
        m.message(5, Chan(0), &relayed, &mut log);
        assert_eq!(m.counters().bad, bad + 2);
        assert_eq!(m.status_of(core(1, 0)), Ok(()));
    }

    #[test]
    fn an_app_core_takes_its_picture_from_the_first_and_reports_itself() {
        let mut log = crate::testkit::Log::default();
        let mut m = app(1, 1);
        m.handle(0, Event::Start, &mut log);
        let (chan, (header, ad)) = log.take_sent::<CoreAd>().expect("a report");
        assert_eq!((chan, header.dst, ad.core), (Chan(0), core(1, 0), core(1, 1)));
        for says in island_says(1, 1, 2, 0, core(1, 1)) {
            m.message(1, Chan(0), &says, &mut log);
        }
        assert_eq!((m.epoch(), m.status_of(core(1, 0))), (Epoch(1), Ok(())));
    }

    #[test]
    fn what_cannot_be_passed_on_is_sent_back_with_a_reason() {
        let (mut m, mut log) = joined();
        let from = core(1, 0);
        let beat = Beat::default();
        let mut tired = message(from, core(0, 5), 7, &beat);
        tired.set_header(&Header { hops: 0, request: 7, ..header_of(from, core(0, 5)) });
        for (sent, why) in
            [(message(from, core(0, 5), 7, &beat), Refusal::Unknown), (tired, Refusal::Unknown)]
        {
            m.message(5, Chan(0), &sent, &mut log);
            let (_, (header, fault)) = log.take_sent::<Fault>().expect("a fault");
            assert_eq!((header.dst, header.request), (from, 7));
            assert_eq!(Refusal::from_raw(fault.refusal), why);
        }
    }
}
