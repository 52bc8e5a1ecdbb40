//! Channels between cores of an island, made when first used.
//!
//! The core that wants one asks the island's first monitor, which has both blocks allocated, each local to its receiver,
//! and offers them to both ends; each adopts what it is offered. When both ends ask at once there is still one channel:
//! a request says how many offers for the pair its sender has seen, and an older request than the newest offer is
//! answered by that offer. Until a channel is up, and if there is none to be had, messages go through the first monitor.

use crate::chans::Role;
use crate::config::MAX_REBINDS;
use crate::event::{Action, Chan, Frames, Sink};
use crate::monitor::Monitor;
use alloc::collections::BTreeMap;
use alloc::format;
use skerry_hal::CoreId;
use skerry_urpc::formats::Refusal;
use skerry_urpc::formats::monitor::{BindFailed, BindOffer, BindRequest, CoreState};
use skerry_urpc::wire::Header;

/// What an end knows of its channel to a peer.
#[derive(Clone, Copy)]
struct End {
    /// Offers seen.
    generation: u16,
    wait: Wait,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Wait {
    /// For an offer, or for the binary to adopt one.
    Until(Option<u64>),
    /// No longer: there is a channel.
    Over,
    /// No longer: there was one, and it failed; the next use may ask again.
    Broken,
    /// No longer: what comes now comes too late, since messages are on their way through the first monitor and must
    /// not be overtaken.
    GaveUp,
}

/// What the first monitor knows of a pair.
#[derive(Clone, Copy)]
struct Pair {
    /// Offers made.
    generation: u16,
    making: bool,
}

#[derive(Default)]
pub(crate) struct State {
    ends: BTreeMap<CoreId, End>,
    pairs: BTreeMap<(CoreId, CoreId), Pair>,
}

impl Monitor {
    /// Whether what is sent to `dst` from now on takes one way: asks for a channel if there could be one, and answers
    /// `false` while it is being made.
    pub(crate) fn is_bound(&mut self, dst: CoreId, sink: &mut dyn Sink) -> bool {
        let neighbours = dst.island() == self.island && dst != self.core;
        if self.is_first() || !neighbours || dst.local() == 0 {
            return true;
        }
        let generation = match self.bind.ends.get(&dst) {
            None => 0,
            Some(end) if end.wait == Wait::Broken && end.generation < MAX_REBINDS => end.generation,
            Some(end) => return !matches!(end.wait, Wait::Until(_)),
        };
        self.ask(dst, generation, sink);
        false
    }

    fn ask(&mut self, peer: CoreId, generation: u16, sink: &mut dyn Sink) {
        let wait = Wait::Until(self.within(self.config.bound));
        self.bind.ends.insert(peer, End { generation, wait });
        let request = BindRequest { peer, generation: generation.into(), ..BindRequest::default() };
        self.send_body(CoreId::new(self.island, 0), 0, &request, sink);
    }

    /// An end asks the first monitor.
    pub(crate) fn on_bind_request(
        &mut self,
        r: &BindRequest,
        chan: Chan,
        header: &Header,
        sink: &mut dyn Sink,
    ) {
        let from = header.src;
        if !self.is_first() || self.chans.role(chan) != Role::Core(from) {
            self.counters.bad += 1;
            return;
        }
        let living = |c: Option<&crate::table::Core>| c.is_some_and(|c| c.state == CoreState::Up);
        let sound = r.peer.island() == self.island && r.peer != from && r.peer != self.core;
        if !sound || !living(self.islands.core(r.peer)) {
            let refusal = if sound { Refusal::NotUp } else { Refusal::BadRequest };
            return self.refuse(from, r.peer, 0, refusal, sink);
        }
        let key = (from.min(r.peer), from.max(r.peer));
        let pair = self.bind.pairs.entry(key).or_insert(Pair { generation: 0, making: false });
        if pair.making || r.generation < u32::from(pair.generation) {
            return;
        }
        if pair.generation >= MAX_REBINDS {
            return self.refuse(from, r.peer, MAX_REBINDS, Refusal::Busy, sink);
        }
        pair.making = true;
        let node = |core| self.islands.core(core).map_or(0, |c| c.node);
        let (node_a, node_b) = (node(key.0), node(key.1));
        sink.act(Action::MakeChannel { a: key.0, node_a, b: key.1, node_b });
    }

    fn refuse(&mut self, to: CoreId, peer: CoreId, generation: u16, refusal: Refusal, sink: &mut dyn Sink) {
        let offer = BindOffer { peer, generation, refusal: refusal as u16, ..BindOffer::default() };
        self.send_body(to, 0, &offer, sink);
    }

    /// The binary has made the blocks, or has not.
    pub(crate) fn on_channel_made(
        &mut self,
        a: CoreId,
        b: CoreId,
        frames: Option<Frames>,
        sink: &mut dyn Sink,
    ) {
        let Some(pair) = self.bind.pairs.get_mut(&(a, b)).filter(|p| p.making) else { return };
        pair.making = false;
        pair.generation += 1;
        let generation = pair.generation;
        let Some(f) = frames else {
            self.note(2, format!("no memory for a channel between {a} and {b}"), sink);
            self.refuse(a, b, generation, Refusal::Busy, sink);
            return self.refuse(b, a, generation, Refusal::Busy, sink);
        };
        let offer = BindOffer {
            peer: b,
            generation,
            refusal: 0,
            inbox: f.inbox,
            outbox: f.outbox,
            bytes: f.bytes,
            slots: f.slots,
            stride: f.stride,
            ..BindOffer::default()
        };
        self.send_body(a, 0, &offer, sink);
        self.send_body(b, 0, &BindOffer { peer: a, inbox: f.outbox, outbox: f.inbox, ..offer }, sink);
    }

    /// An end is offered a channel, or is told that there is none.
    pub(crate) fn on_bind_offer(
        &mut self,
        offer: &BindOffer,
        chan: Chan,
        header: &Header,
        sink: &mut dyn Sink,
    ) {
        let peer = offer.peer;
        let from_first = chan == Chan(0) && header.src == CoreId::new(self.island, 0);
        let sound = peer.island() == self.island && peer != self.core && peer.local() != 0;
        if self.is_first() || !from_first || !sound {
            self.counters.bad += 1;
            return;
        }
        let end = self.bind.ends.get(&peer).copied();
        if end.is_some_and(|end| offer.generation < end.generation) {
            return;
        }
        let generation = offer.generation;
        if end.is_some_and(|end| end.wait == Wait::GaveUp) {
            self.bind.ends.insert(peer, End { generation, wait: Wait::GaveUp });
            return self.report_failure(peer, generation, sink);
        }
        self.drop_channel(peer, sink);
        let adopted = if offer.refusal == 0 { self.chans.add(Role::Core(peer), false) } else { None };
        if let Some(chan) = adopted {
            let wait = Wait::Until(self.within(self.config.bound));
            self.bind.ends.insert(peer, End { generation, wait });
            let frames = Frames {
                inbox: offer.inbox,
                outbox: offer.outbox,
                bytes: offer.bytes,
                slots: offer.slots,
                stride: offer.stride,
            };
            sink.act(Action::AdoptChannel { chan, peer, frames });
        } else {
            let broken = offer.refusal == Refusal::Lost as u16;
            let wait = if broken { Wait::Broken } else { Wait::GaveUp };
            self.bind.ends.insert(peer, End { generation, wait });
            if offer.refusal == 0 {
                self.report_failure(peer, generation, sink);
            }
            self.bound_or_not(sink);
        }
    }

    pub(crate) fn on_channel_up(&mut self, chan: Chan, sink: &mut dyn Sink) {
        let Role::Core(peer) = self.chans.role(chan) else { return };
        if let Some(entry) = self.chans.get_mut(chan) {
            entry.up = true;
        }
        if let Some(end) = self.bind.ends.get_mut(&peer) {
            end.wait = Wait::Over;
        }
        self.channels_changed(sink);
        self.recompute(sink);
        self.bound_or_not(sink);
    }

    /// A channel failed. One to a core of the island leaves the way through the first monitor; that one is asked for
    /// another when it is next needed. What was on the failed one is lost: whoever waits for it is told so.
    pub(crate) fn on_channel_closed(&mut self, chan: Chan, why: &str, sink: &mut dyn Sink) {
        match self.chans.role(chan) {
            Role::Free | Role::Link(_) => {}
            Role::Client => {
                self.client_gone(chan);
                self.proc_client_gone(chan, sink);
                self.chans.remove(chan);
            }
            Role::Server => {
                self.note(1, format!("the process server: {why}"), sink);
                self.proc_server_gone(chan, sink);
                self.proc_client_gone(chan, sink);
                self.chans.remove(chan);
            }
            Role::Core(peer) if self.is_first() || peer.local() == 0 => {
                self.note(1, format!("channel to core {peer} closed: {why}"), sink);
                if let Some(entry) = self.chans.get_mut(chan) {
                    entry.reset(false);
                }
                self.core_silent(peer, sink);
                self.channels_changed(sink);
            }
            Role::Core(peer) => {
                self.note(2, format!("channel to core {peer} closed: {why}"), sink);
                let generation = self.bind.ends.get(&peer).map_or(0, |end| end.generation);
                self.chans.remove(chan);
                self.bind.ends.insert(peer, End { generation, wait: Wait::Broken });
                self.report_failure(peer, generation, sink);
                self.channels_changed(sink);
                self.recompute(sink);
                self.way_lost(peer, sink);
                self.bound_or_not(sink);
            }
        }
    }

    fn report_failure(&mut self, peer: CoreId, generation: u16, sink: &mut dyn Sink) {
        let failed = BindFailed { peer, generation, ..BindFailed::default() };
        self.send_body(CoreId::new(self.island, 0), 0, &failed, sink);
    }

    /// One end cannot use a channel: the first monitor tells the other, which must not either.
    pub(crate) fn on_bind_failed(
        &mut self,
        failed: &BindFailed,
        chan: Chan,
        header: &Header,
        sink: &mut dyn Sink,
    ) {
        let (from, peer) = (header.src, failed.peer);
        let key = (from.min(peer), from.max(peer));
        let newest =
            self.bind.pairs.get(&key).is_some_and(|p| p.generation == failed.generation && !p.making);
        if self.is_first() && self.chans.role(chan) == Role::Core(from) && newest {
            self.refuse(peer, from, failed.generation, Refusal::Lost, sink);
        }
    }

    /// A core of the island went off line: nothing of its channels counts any more.
    pub(crate) fn drop_peer(&mut self, peer: CoreId, sink: &mut dyn Sink) {
        self.bind.ends.remove(&peer);
        self.bind.pairs.retain(|(a, b), _| *a != peer && *b != peer);
        self.drop_channel(peer, sink);
        self.bound_or_not(sink);
    }

    fn drop_channel(&mut self, peer: CoreId, sink: &mut dyn Sink) {
        let old = self
            .chans
            .iter()
            .find(|(chan, e)| e.role == Role::Core(peer) && (self.is_first() || chan.0 != 0));
        if let Some((chan, _)) = old {
            self.chans.remove(chan);
            sink.act(Action::CloseChannel { chan });
            self.channels_changed(sink);
            self.recompute(sink);
            self.way_lost(peer, sink);
        }
    }

    /// What was on a channel when it went will not come.
    fn way_lost(&mut self, peer: CoreId, sink: &mut dyn Sink) {
        self.client_way_lost(peer, sink);
        self.proc_way_lost(peer, sink);
        self.endpoint_way_lost(peer, sink);
        self.stream_way_lost(peer, sink);
    }

    /// Somebody may go on: there is a channel now, or it is known that there will be none.
    fn bound_or_not(&mut self, sink: &mut dyn Sink) {
        self.tree_bound(sink);
        self.ping_bound(sink);
        self.endpoint_bound(sink);
        self.stream_bound(sink);
    }

    pub(crate) fn bind_deadline(&self) -> Option<u64> {
        let until = |end: &End| if let Wait::Until(at) = end.wait { at } else { None };
        self.bind.ends.values().filter_map(until).min()
    }

    /// Gives up waiting for offers: the way through the first monitor does as well.
    pub(crate) fn bind_tick(&mut self, sink: &mut dyn Sink) {
        let now = self.now;
        let mut any = false;
        for end in self.bind.ends.values_mut() {
            if matches!(end.wait, Wait::Until(Some(at)) if at <= now) {
                end.wait = Wait::GaveUp;
                any = true;
            }
        }
        if any {
            self.bound_or_not(sink);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Event;
    use crate::testkit::{Log, core, first, message, report};

    #[test]
    fn two_that_ask_at_once_get_one_channel() {
        let mut log = Log::default();
        let mut m = first(0, 3, &[]);
        m.handle(0, Event::Start, &mut log);
        m.message(1, Chan(0), &report(core(0, 1)), &mut log);
        m.message(1, Chan(1), &report(core(0, 2)), &mut log);
        log.sent.clear();
        let ask = |peer| BindRequest { peer, ..BindRequest::default() };
        m.message(2, Chan(0), &message(core(0, 1), core(0, 0), 0, &ask(core(0, 2))), &mut log);
        let frames = Frames { inbox: 4096, outbox: 8192, bytes: 1152, slots: 16, stride: 64 };
        let made = Event::ChannelMade { a: core(0, 1), b: core(0, 2), frames: Some(frames) };
        m.handle(3, made, &mut log);
        m.message(4, Chan(1), &message(core(0, 2), core(0, 0), 0, &ask(core(0, 1))), &mut log);
        let makes = |a: &&Action| matches!(a, Action::MakeChannel { .. });
        assert_eq!(log.actions.iter().filter(makes).count(), 1);
        let (to_a, (_, a)) = log.take_sent::<BindOffer>().expect("for one end");
        let (to_b, (_, b)) = log.take_sent::<BindOffer>().expect("for the other");
        assert_eq!((to_a, to_b), (Chan(0), Chan(1)));
        assert_eq!((a.inbox, a.outbox), (b.outbox, b.inbox), "one's inbox is the other's outbox");
        assert_eq!((a.inbox, a.generation), (4096, 1));
    }

    #[test]
    fn nobody_asks_for_another() {
        let mut log = Log::default();
        let mut m = first(0, 3, &[]);
        m.handle(0, Event::Start, &mut log);
        m.message(1, Chan(0), &report(core(0, 1)), &mut log);
        let ask = BindRequest { peer: core(0, 1), ..BindRequest::default() };
        m.message(2, Chan(0), &message(core(0, 2), core(0, 0), 0, &ask), &mut log);
        assert_eq!(m.counters().bad, 1);
    }
}
