//! What the own links say: a peer that came, fell silent or gave this island up; and how the system takes a loss.

use crate::chans::Sync;
use crate::event::{Action, Chan, Sink};
use crate::monitor::Monitor;
use alloc::format;
use skerry_hal::{CoreId, Epoch, IslandId};
use skerry_urpc::formats::monitor::IslandLoss;
use skerry_urpc::wire::Header;

impl Monitor {
    pub(crate) fn on_link_up(&mut self, link: u16, epoch: Epoch, own: Epoch, sink: &mut dyn Sink) {
        // Agreed on in an epoch that was given up meanwhile: the link will greet anew.
        if own != self.epoch {
            self.counters.stale += 1;
            return;
        }
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
            chan.sync = Sync::ALL;
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
        self.sync_all(None, None);
        self.channels_changed(sink);
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
    pub(super) fn give_up(
        &mut self,
        id: IslandId,
        epoch: Epoch,
        by: CoreId,
        except: Option<Chan>,
        sink: &mut dyn Sink,
    ) {
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
        self.flood(id, &loss, except, sink);
        self.recompute(sink);
    }

    /// Nothing that was under way with an island counts any more.
    pub(super) fn bury(&mut self, id: IslandId, sink: &mut dyn Sink) {
        if let Some(accepted) = self.accepted.get_mut(id.0 as usize)
            && id != self.island
        {
            *accepted = Epoch(0);
        }
        self.recheck(sink);
    }
}
