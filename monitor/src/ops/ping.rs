//! Round trips between two monitors, measured where they start: one in flight at a time, each answered or lost within
//! the bound.

use super::{RequestId, Requests};
use crate::config::MAX_PINGS;
use crate::event::Sink;
use crate::histogram::Histogram;
use crate::monitor::Monitor;
use skerry_hal::{CoreId, Epoch};
use skerry_urpc::Message;
use skerry_urpc::formats::Refusal;
use skerry_urpc::formats::monitor::{Echo, EchoReply, PingDone, PingStart};
use skerry_urpc::wire::{self, HEADER_WORDS, Header};

/// After so many round trips in a row without an answer, a ping is given up.
const MAX_IN_A_ROW: u32 = 4;

struct Ping {
    to: CoreId,
    /// Of the target's island, at the start.
    epoch: Epoch,
    /// Who asked, and its request number.
    owner: (CoreId, u16),
    request: u16,
    left: u32,
    lost: u32,
    /// Lost without one answered between.
    in_a_row: u32,
    /// Of the round trip in flight; 0 before the first.
    seq: u64,
    sent: u64,
    times: Histogram,
}

#[derive(Default)]
pub(crate) struct State {
    pings: [Option<Ping>; MAX_PINGS],
    count: u8,
}

impl State {
    /// Counts the answer in `message`, and makes it the next round trip's; `false`, and nothing done, if there is none.
    #[inline(always)]
    pub(crate) fn turn(&mut self, now: u64, message: &mut Message, header: &Header) -> bool {
        let slot = RequestId::slot(header.request, Requests::Ping);
        let Some(Some(ping)) = slot.and_then(|slot| self.pings.get_mut(slot)) else { return false };
        let seq = &mut message.words[HEADER_WORDS];
        if ping.request != header.request || ping.seq != *seq || ping.to != header.src || ping.left == 0 {
            return false;
        }
        ping.times.add(now - ping.sent);
        ping.in_a_row = 0;
        ping.left -= 1;
        ping.seq += 1;
        ping.sent = now;
        *seq = ping.seq;
        true
    }
}

impl Monitor {
    /// Another monitor, or this one for a client, wants a ping from here.
    pub(crate) fn on_ping_start(&mut self, start: &PingStart, header: &Header, sink: &mut dyn Sink) {
        let owner = (header.src, header.request);
        let free = self.ping.pings.iter().position(Option::is_none);
        let slot = match (self.status_of(start.to), start.count, free) {
            (Err(refusal), ..) => return self.refuse_ping(owner, refusal, sink),
            (_, 0, _) => return self.refuse_ping(owner, Refusal::BadRequest, sink),
            (.., None) => return self.refuse_ping(owner, Refusal::Busy, sink),
            (.., Some(slot)) => slot,
        };
        self.ping.count = self.ping.count.wrapping_add(1);
        let request = RequestId::new(Requests::Ping, slot, self.ping.count).raw();
        let (to, epoch) = (start.to, self.epoch_of(start.to.island()));
        let (left, times) = (start.count, Histogram::new());
        self.ping.pings[slot] =
            Some(Ping { to, epoch, owner, request, left, lost: 0, in_a_row: 0, seq: 0, sent: 0, times });
        if self.is_bound(to, sink) {
            self.ping_next(slot, sink);
        }
    }

    fn refuse_ping(&mut self, owner: (CoreId, u16), refusal: Refusal, sink: &mut dyn Sink) {
        let done = PingDone { refusal: refusal as u16, ..PingDone::default() };
        self.send_body(owner.0, owner.1, &done, sink);
    }

    /// Sends the next round trip of a ping, or its figures.
    #[inline]
    fn ping_next(&mut self, slot: usize, sink: &mut dyn Sink) {
        let Some(ping) = self.ping.pings.get_mut(slot).and_then(Option::as_mut) else { return };
        if ping.left == 0 {
            return self.finish_ping(slot, Ok(()), sink);
        }
        ping.left -= 1;
        ping.seq += 1;
        ping.sent = self.now;
        let (to, request, seq) = (ping.to, ping.request, ping.seq);
        let echo = Echo { seq, ..Echo::default() };
        let message = wire::encode(&self.header(to, request), &echo);
        if let Err(refusal) = self.try_send(&message, to, sink) {
            self.ping_fault(request, refusal, sink);
        }
    }

    #[inline]
    pub(crate) fn on_echo_reply(&mut self, reply: &EchoReply, header: &Header, sink: &mut dyn Sink) {
        let Some(slot) = RequestId::slot(header.request, Requests::Ping) else { return };
        let now = self.now;
        let Some(ping) = self.ping.pings.get_mut(slot).and_then(Option::as_mut) else { return };
        // A late answer to a round trip counted as lost, or a forged one.
        if ping.request != header.request || ping.seq != reply.seq || ping.to != header.src {
            return;
        }
        ping.times.add(now - ping.sent);
        ping.in_a_row = 0;
        self.ping_next(slot, sink);
    }

    #[cold]
    fn finish_ping(&mut self, slot: usize, result: Result<(), Refusal>, sink: &mut dyn Sink) {
        let Some(ping) = self.ping.pings.get_mut(slot).and_then(Option::take) else { return };
        let done = PingDone {
            refusal: Refusal::code(result),
            reserved: 0,
            lost: ping.lost,
            min: ping.times.min(),
            median: ping.times.quantile(50),
            p99: ping.times.quantile(99),
            ..PingDone::default()
        };
        self.send_body(ping.owner.0, ping.owner.1, &done, sink);
    }

    /// The round trip in flight ended somewhere. One that met a full queue counts as lost when the bound has passed;
    /// all else ends the ping.
    pub(crate) fn ping_fault(&mut self, request: u16, refusal: Refusal, sink: &mut dyn Sink) {
        let Some(slot) = RequestId::slot(request, Requests::Ping) else { return };
        let Some(ping) = self.ping.pings.get_mut(slot).and_then(Option::as_mut) else { return };
        if ping.request != request {
            return;
        }
        if refusal != Refusal::Busy || self.config.bound == 0 {
            ping.lost += 1;
            self.finish_ping(slot, Err(refusal), sink);
        }
    }

    /// Pings that waited for a channel may go on.
    pub(crate) fn ping_bound(&mut self, sink: &mut dyn Sink) {
        for slot in 0..MAX_PINGS {
            let waiting = self.ping.pings[slot].as_ref().filter(|p| p.seq == 0).map(|p| p.to);
            if waiting.is_some_and(|to| self.is_bound(to, sink)) {
                self.ping_next(slot, sink);
            }
        }
    }

    pub(crate) fn ping_recheck(&mut self, sink: &mut dyn Sink) {
        for slot in 0..MAX_PINGS {
            let Some((to, epoch)) = self.ping.pings[slot].as_ref().map(|p| (p.to, p.epoch)) else { continue };
            let result = self.status_of(to);
            if result.is_err() {
                self.finish_ping(slot, result, sink);
            } else if self.is_void(to.island(), epoch) {
                self.finish_ping(slot, Err(Refusal::Aborted), sink);
            }
        }
    }

    pub(crate) fn ping_deadline(&self) -> Option<u64> {
        let bound = self.config.bound;
        let in_flight = self.ping.pings.iter().flatten().filter(|p| p.seq > 0 && bound > 0);
        in_flight.map(|p| p.sent.saturating_add(bound)).min()
    }

    pub(crate) fn ping_tick(&mut self, sink: &mut dyn Sink) {
        let (bound, now) = (self.config.bound, self.now);
        for slot in 0..MAX_PINGS {
            let Some(ping) = self.ping.pings[slot].as_mut() else { continue };
            if bound > 0 && ping.seq > 0 && now >= ping.sent.saturating_add(bound) {
                ping.lost += 1;
                ping.in_a_row += 1;
                if ping.in_a_row >= MAX_IN_A_ROW && ping.left > 0 {
                    self.finish_ping(slot, Err(Refusal::TimedOut), sink);
                } else {
                    self.ping_next(slot, sink);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{Chan, Event};
    use crate::testkit::{core, joined, message};

    fn start(to: CoreId, count: u32) -> PingStart {
        PingStart { to, count, ..PingStart::default() }
    }

    /// Island 0 with one core, linked to island 1, which pings.
    #[test]
    fn a_ping_counts_what_is_answered_and_what_is_not() {
        let (mut m, mut log) = joined();
        let far = core(1, 0);
        m.message(100, Chan(0), &message(far, core(0, 0), 77, &start(far, 3)), &mut log);
        for (seq, rtt) in [(1, 40), (2, 20)] {
            let (chan, echo) = log.take_sent::<Echo>().expect("an echo");
            assert_eq!((chan, echo.1.seq, echo.0.dst), (Chan(0), seq, far));
            let reply = EchoReply { seq, ..EchoReply::default() };
            m.message(m.now + rtt, Chan(0), &message(far, core(0, 0), echo.0.request, &reply), &mut log);
            m.message(m.now, Chan(0), &message(far, core(0, 0), echo.0.request, &reply), &mut log);
        }
        assert!(log.take_sent::<Echo>().is_some());
        assert!(log.take_sent::<PingDone>().is_none(), "a doubled answer counts once");
        m.handle(m.deadline().unwrap(), Event::Tick, &mut log);
        let (_, (header, done)) = log.take_sent::<PingDone>().expect("figures");
        assert_eq!((header.request, header.dst), (77, far));
        assert_eq!((done.refusal, done.lost, done.min), (0, 1, 20));
    }

    /// Two cores of an island, one channel, and only the short way.
    #[test]
    fn echoes_turn_round_where_they_are_found() {
        let mut log = crate::testkit::Log::default();
        let mut m = crate::testkit::first(0, 2, &[]);
        let (here, there) = (core(0, 0), core(0, 1));
        m.handle(0, Event::Start, &mut log);
        m.message(1, Chan(0), &crate::testkit::report(there), &mut log);
        let mut asked = message(there, here, 9, &Echo { seq: 5, words: [1, 2, 3], ..Echo::default() });
        let stranger = message(core(1, 1), here, 9, &Echo::default());
        assert!(!m.turn(2, Chan(0), &mut stranger.clone()), "of another core than the channel's");
        assert!(m.turn(2, Chan(0), &mut asked));
        assert_eq!((asked.header().src, asked.header().dst, asked.header().request), (here, there, 9));
        assert_eq!(asked.body(), Some(EchoReply { seq: 5, words: [1, 2, 3], ..EchoReply::default() }));

        m.message(3, Chan(0), &message(there, here, 1, &start(there, 2)), &mut log);
        let (_, (header, echo)) = log.take_sent::<Echo>().expect("an echo");
        let reply = |seq| message(there, here, header.request, &EchoReply { seq, ..EchoReply::default() });
        let mut first = reply(echo.seq);
        assert!(m.turn(13, Chan(0), &mut first));
        assert_eq!(first.body::<Echo>().map(|e| e.seq), Some(echo.seq + 1));
        assert!(!m.turn(14, Chan(0), &mut reply(echo.seq)), "a doubled answer");
        let mut last = reply(echo.seq + 1);
        assert!(!m.turn(15, Chan(0), &mut last), "the last answer goes the long way");
        m.message(15, Chan(0), &last, &mut log);
        let (_, (_, done)) = log.take_sent::<PingDone>().expect("figures");
        assert_eq!((done.lost, done.min), (0, 2));
    }

    #[test]
    fn a_silent_target_is_given_up_after_a_few() {
        let (mut m, mut log) = joined();
        let far = core(1, 0);
        m.message(100, Chan(0), &message(far, core(0, 0), 1, &start(far, 1_000_000)), &mut log);
        for _ in 0..MAX_IN_A_ROW {
            assert!(log.take_sent::<PingDone>().is_none());
            m.handle(m.ping_deadline().unwrap(), Event::Tick, &mut log);
        }
        let (_, (_, done)) = log.take_sent::<PingDone>().expect("figures");
        assert_eq!((done.refusal, done.lost), (Refusal::TimedOut as u16, MAX_IN_A_ROW));
    }

    #[test]
    fn the_target_s_loss_ends_a_ping_at_once() {
        let (mut m, mut log) = joined();
        // A core of its own that is not up, one that is not there, an island that is not there.
        for (to, refusal) in
            [(core(1, 9), Refusal::Unknown), (core(7, 0), Refusal::Unknown), (core(0, 3), Refusal::Unknown)]
        {
            m.message(100, Chan(0), &message(core(1, 0), core(0, 0), 1, &start(to, 1)), &mut log);
            let (_, (_, done)) = log.take_sent::<PingDone>().expect("a refusal");
            assert_eq!(Refusal::from_raw(done.refusal), refusal, "{to}");
        }
        m.on_ping_start(&start(core(1, 0), 10), &m.header(core(0, 0), 5), &mut log);
        m.handle(200, Event::LinkLost { link: 0, why: "silent".into() }, &mut log);
        assert!(m.ping.pings.iter().all(Option::is_none));
        assert_eq!(m.status_of(core(1, 0)), Err(Refusal::Lost));
    }

    #[test]
    fn no_more_than_a_few_at_a_time() {
        let (mut m, mut log) = joined();
        let far = core(1, 0);
        for n in 0..=MAX_PINGS as u16 {
            m.message(100, Chan(0), &message(far, core(0, 0), n, &start(far, 1)), &mut log);
        }
        let (_, (header, done)) = log.take_sent::<PingDone>().expect("a refusal");
        assert_eq!((header.request, done.refusal), (MAX_PINGS as u16, Refusal::Busy as u16));
    }

    #[test]
    fn a_ping_of_a_core_to_itself_has_a_time_for_each_hop() {
        let (mut m, mut log) = joined();
        m.message(100, Chan(0), &message(core(1, 0), core(0, 0), 1, &start(core(0, 0), 3)), &mut log);
        for now in 101.. {
            m.flush(now, &mut log);
            if !m.talks_to_itself() {
                break;
            }
        }
        let (_, (_, done)) = log.take_sent::<PingDone>().expect("figures");
        assert!(done.lost == 0 && done.min > 0, "{done:?}");
    }

    #[test]
    fn a_new_epoch_of_the_own_island_ends_nothing_inside_it() {
        let (mut m, mut log) = joined();
        m.message(100, Chan(0), &message(core(1, 0), core(0, 0), 1, &start(core(0, 0), 100)), &mut log);
        m.handle(101, Event::EpochRefused { epoch: Epoch(1) }, &mut log);
        assert_eq!(m.ping.pings.iter().flatten().count(), 1, "it goes on");
    }

    #[test]
    fn a_core_can_ping_itself() {
        let (mut m, mut log) = joined();
        m.message(100, Chan(0), &message(core(1, 0), core(0, 0), 1, &start(core(0, 0), 100)), &mut log);
        while m.has_backlog() {
            m.flush(101, &mut log);
        }
        let (_, (_, done)) = log.take_sent::<PingDone>().expect("figures");
        assert_eq!((done.refusal, done.lost), (0, 0));
    }
}
