//! How what is known of islands and cores spreads: what is new is flooded, and a channel that comes up, or that had no
//! room for something new, is sent the whole table. The table is bounded, and old records do no harm.

use crate::chans::{Role, Sync};
use crate::event::{Chan, Sink};
use crate::monitor::Monitor;
use crate::table::Known;
use skerry_hal::{CoreId, Epoch, IslandId};
use skerry_urpc::Message;
use skerry_urpc::formats::monitor::{CoreAd, IslandAd, IslandLoss, IslandQuery, ToPeer};
use skerry_urpc::wire::{self, Header};

impl Monitor {
    pub(super) fn island_ad(&self, id: IslandId) -> Option<IslandAd> {
        let island = self.islands.get(id)?;
        Some(IslandAd {
            island: id,
            isa: island.isa? as u8,
            settled: u8::from(island.settled),
            epoch: island.epoch,
            seq: island.seq,
            cores: island.cores.len() as u16,
            reserved: 0,
            links: island.links,
            wired: island.wired,
            ..IslandAd::default()
        })
    }

    pub(super) fn core_ad(&self, id: CoreId) -> Option<CoreAd> {
        let core = self.islands.core(id)?;
        Some(CoreAd {
            core: id,
            epoch: self.islands.get(id.island())?.epoch,
            seq: core.seq,
            node: core.node,
            channels: core.channels,
            isa: core.isa.unwrap_or(self.islands.get(id.island())?.isa?) as u8,
            state: core.state as u8,
            frequency: core.frequency,
            ..CoreAd::default()
        })
    }

    /// Sends something new about an island to every monitor that gets its knowledge from this one.
    pub(super) fn flood<B: ToPeer>(
        &mut self,
        island: IslandId,
        body: &B,
        except: Option<Chan>,
        sink: &mut dyn Sink,
    ) {
        if !self.is_first() {
            return;
        }
        let header = self.header(CoreId::default(), 0);
        for (chan, dst, flags) in self.told_directly(except) {
            let message = wire::encode(&Header { dst, flags, ..header }, body);
            let Some(entry) = self.chans.get_mut(chan) else { continue };
            if entry.send(chan, &message, sink).is_err() {
                entry.sync.add(island);
                let behind = self.tree_behind(dst);
                for (_, entry) in self.chans.iter_mut() {
                    if matches!(entry.role, Role::Core(core) if behind.contains(&core)) {
                        entry.sync.add(island);
                    }
                }
            }
        }
    }

    /// Every monitor that gets its knowledge from this one is sent an island's records again, or all there are.
    pub(super) fn sync_all(&mut self, island: Option<IslandId>, except: Option<Chan>) {
        for (chan, entry) in self.chans.iter_mut().filter(|(_, entry)| entry.up) {
            if Some(chan) != except && matches!(entry.role, Role::Core(_) | Role::Link(_)) {
                match island {
                    Some(id) => entry.sync.add(id),
                    None => entry.sync = Sync::ALL,
                }
            }
        }
    }

    pub(super) fn sync_from_start(&mut self, chan: Chan, sink: &mut dyn Sink) {
        if let Some(entry) = self.chans.get_mut(chan) {
            entry.sync = Sync::ALL;
        }
        self.sync(chan, sink);
    }

    /// Somebody who gets its knowledge from this monitor has to hear of an island again.
    pub(crate) fn on_island_query(&mut self, query: &IslandQuery, chan: Chan, sink: &mut dyn Sink) {
        if let Some(entry) = self.chans.get_mut(chan) {
            entry.sync.add(query.island);
        }
        self.sync(chan, sink);
    }

    /// Sends on with the table, as far as there is room in the channel itself: news need not wait behind it.
    pub(crate) fn sync(&mut self, chan: Chan, sink: &mut dyn Sink) {
        let is_first = self.is_first();
        while let Some(entry) = self.chans.get_mut(chan).filter(|entry| entry.is_clear()) {
            let dst = match entry.role {
                Role::Core(core) if is_first => core,
                Role::Link(n) if is_first => CoreId::new(self.membership.links[n as usize].peer, 0),
                _ => return entry.sync = Sync::default(),
            };
            let Some(at) = entry.sync.next() else { return };
            let found = self.islands.next(at).filter(|(id, _)| id.0 == at.island);
            let message = found.and_then(|(id, core)| self.record(dst, id, core));
            let Some(entry) = self.chans.get_mut(chan) else { return };
            if let Some(message) = message
                && entry.send(chan, &message, sink).is_err()
            {
                return;
            }
            entry.sync.sent(found.map(|_| at.core));
        }
    }

    /// One record of the table as a message.
    fn record(&self, dst: CoreId, id: IslandId, core: Option<u16>) -> Option<Message> {
        let island = self.islands.get(id)?;
        let header = self.header(dst, 0);
        match core {
            // Who asks hears of it when this monitor does.
            _ if island.epoch == Epoch(0) || island.known != Known::Fresh => None,
            None if island.epoch <= island.refused => {
                let loss =
                    IslandLoss { island: id, epoch: island.refused, by: self.core, ..IslandLoss::default() };
                Some(wire::encode(&header, &loss))
            }
            None => Some(wire::encode(&header, &self.island_ad(id)?)),
            Some(_) if island.epoch <= island.refused => None,
            Some(local) => Some(wire::encode(&header, &self.core_ad(CoreId::new(id, local))?)),
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::event::{Chan, Event};
    use crate::testkit::{Log, core, first, island_says, joined};
    use skerry_hal::{Epoch, IslandId};
    use skerry_urpc::formats::monitor::{CoreAd, IslandAd, IslandLoss};
    use skerry_urpc::wire::Body;

    #[test]
    fn what_is_new_goes_to_the_other_links_once() {
        let mut log = Log::default();
        let mut m = first(0, 1, &[1, 2]);
        m.handle(0, Event::Start, &mut log);
        m.handle(1, Event::LinkUp { link: 0, epoch: Epoch(1), own: Epoch(1) }, &mut log);
        m.handle(1, Event::LinkUp { link: 1, epoch: Epoch(1), own: Epoch(1) }, &mut log);
        log.sent.clear();
        let [ad, _] = island_says(1, 1, 2, 0b1, core(0, 0));
        m.message(2, Chan(0), &ad, &mut log);
        let (chan, (header, body)) = log.take_sent::<IslandAd>().expect("passed on");
        assert_eq!(
            (chan, header.dst, header.src, body.island),
            (Chan(1), core(2, 0), core(0, 0), IslandId(1))
        );
        m.message(3, Chan(0), &ad, &mut log);
        assert!(log.sent.iter().all(|(_, m)| m.body::<IslandAd>().is_none_or(|b| b.island == IslandId(0))));
    }

    #[test]
    fn others_hear_of_a_loss_before_they_see_that_a_link_is_down() {
        let mut log = Log::default();
        let mut m = first(0, 1, &[1, 2]);
        m.handle(0, Event::Start, &mut log);
        for link in [0, 1] {
            m.handle(1, Event::LinkUp { link, epoch: Epoch(1), own: Epoch(1) }, &mut log);
            for says in island_says(link + 1, 1, 1, 0b1, core(0, 0)) {
                m.message(2, Chan(link), &says, &mut log);
            }
        }
        log.sent.clear();
        m.handle(3, Event::LinkLost { link: 0, why: "silent".into() }, &mut log);
        let first_of = |kind| log.sent.iter().position(|(chan, m)| *chan == Chan(1) && m.kind == kind);
        let (loss, ad) = (first_of(IslandLoss::KIND), first_of(IslandAd::KIND));
        assert!(loss.is_some() && loss < ad, "{loss:?}, {ad:?}");
    }

    #[test]
    fn a_new_link_is_sent_the_whole_table() {
        let (mut m, mut log) = joined();
        m.handle(5, Event::LinkLost { link: 0, why: "pulled".into() }, &mut log);
        log.sent.clear();
        m.handle(6, Event::LinkUp { link: 0, epoch: Epoch(2), own: Epoch(1) }, &mut log);
        let own = |b: &IslandAd| b.island == IslandId(0);
        assert!(log.sent.iter().filter_map(|(_, m)| m.body::<IslandAd>()).any(|b| own(&b)));
        assert!(log.sent.iter().filter_map(|(_, m)| m.body::<CoreAd>()).any(|b| b.core == core(0, 0)));
    }
}
