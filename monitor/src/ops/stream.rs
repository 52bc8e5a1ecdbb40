//! A checked stream of messages from one monitor to another: numbered, with check words, a window of them on their way.
//! The receiver looks for loss, order, doubles and damage; the sender reports what it found.

use super::{RequestId, Requests};
use crate::config::{MAX_STREAMS, STREAM_WINDOW};
use crate::event::Sink;
use crate::monitor::Monitor;
use skerry_hal::{CoreId, Epoch};
use skerry_urpc::formats::Refusal;
use skerry_urpc::formats::monitor::{
    StreamAck, StreamData, StreamDone, StreamOpen, StreamStart, stream_word,
};
use skerry_urpc::wire::{self, Header};

/// How much longer than an answer a stream may stand still.
const STALL_BOUNDS: u64 = 2;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Phase {
    /// Waits for a channel.
    Binding,
    /// Waits for the receiver.
    Opening,
    Running,
}

struct Outgoing {
    to: CoreId,
    epoch: Epoch,
    owner: (CoreId, u16),
    request: u16,
    count: u64,
    next: u64,
    acked: u64,
    phase: Phase,
    started: u64,
    progress: u64,
}

struct Incoming {
    from: CoreId,
    epoch: Epoch,
    request: u16,
    count: u64,
    ack: StreamAck,
    acked: u64,
    progress: u64,
}

#[derive(Default)]
pub(crate) struct State {
    outgoing: [Option<Outgoing>; MAX_STREAMS],
    incoming: [Option<Incoming>; MAX_STREAMS],
    count: u8,
    /// A stream found no room.
    stalled: bool,
}

impl State {
    pub(crate) fn is_stalled(&self) -> bool {
        self.stalled
    }
}

impl Monitor {
    /// Another monitor, or this one for a client, wants a stream from here.
    pub(crate) fn on_stream_start(&mut self, start: &StreamStart, header: &Header, sink: &mut dyn Sink) {
        let owner = (header.src, header.request);
        let free = self.stream.outgoing.iter().position(Option::is_none);
        let slot = match (self.status_of(start.to), start.count, free) {
            (Err(refusal), ..) => return self.refuse_stream(owner, refusal, sink),
            (_, 0, _) => return self.refuse_stream(owner, Refusal::BadRequest, sink),
            (.., None) => return self.refuse_stream(owner, Refusal::Busy, sink),
            (.., Some(slot)) => slot,
        };
        self.stream.count = self.stream.count.wrapping_add(1);
        let request = RequestId::new(Requests::Stream, slot, self.stream.count).raw();
        self.stream.outgoing[slot] = Some(Outgoing {
            to: start.to,
            epoch: self.epoch_of(start.to.island()),
            owner,
            request,
            count: start.count,
            next: 0,
            acked: 0,
            phase: Phase::Binding,
            started: self.now,
            progress: self.now,
        });
        self.open_stream(slot, sink);
    }

    fn refuse_stream(&mut self, owner: (CoreId, u16), refusal: Refusal, sink: &mut dyn Sink) {
        let done = StreamDone { refusal: refusal as u16, ..StreamDone::default() };
        self.send_body(owner.0, owner.1, &done, sink);
    }

    /// Announces the stream to its receiver once there is a channel.
    fn open_stream(&mut self, slot: usize, sink: &mut dyn Sink) {
        let waiting = self.stream.outgoing[slot].as_ref().filter(|s| s.phase == Phase::Binding);
        let Some((to, request, count)) = waiting.map(|s| (s.to, s.request, s.count)) else { return };
        if !self.is_bound(to, sink) {
            return;
        }
        if let Some(stream) = &mut self.stream.outgoing[slot] {
            (stream.phase, stream.started, stream.progress) = (Phase::Opening, self.now, self.now);
        }
        self.send_body(to, request, &StreamOpen { count, ..StreamOpen::default() }, sink);
    }

    pub(crate) fn stream_bound(&mut self, sink: &mut dyn Sink) {
        for slot in 0..MAX_STREAMS {
            self.open_stream(slot, sink);
        }
    }

    /// Somebody announces a stream to this core.
    pub(crate) fn on_stream_open(&mut self, open: &StreamOpen, header: &Header, sink: &mut dyn Sink) {
        let Some(slot) = self.stream.incoming.iter().position(Option::is_none) else {
            return self.fault(0, header, Refusal::Busy, sink);
        };
        self.stream.incoming[slot] = Some(Incoming {
            from: header.src,
            epoch: self.epoch_of(header.src.island()),
            request: header.request,
            count: open.count,
            ack: StreamAck::default(),
            acked: 0,
            progress: self.now,
        });
        self.send_body(header.src, header.request, &StreamAck::default(), sink);
    }

    pub(crate) fn on_stream_data(&mut self, data: &StreamData, header: &Header, sink: &mut dyn Sink) {
        let now = self.now;
        let mine = |s: &Option<Incoming>| {
            s.as_ref().is_some_and(|s| s.from == header.src && s.request == header.request)
        };
        let Some(slot) = self.stream.incoming.iter().position(mine) else { return };
        let Some(stream) = &mut self.stream.incoming[slot] else { return };
        stream.progress = now;
        let ack = &mut stream.ack;
        ack.damaged += u64::from(data.check != stream_word(data.seq) || data.seq >= stream.count);
        match data.seq.checked_sub(ack.next) {
            None => ack.disorder += 1,
            Some(gap) => {
                ack.lost = ack.lost.saturating_add(gap);
                ack.next = data.seq.saturating_add(1);
            }
        }
        let ended = ack.next >= stream.count;
        if ended || ack.next - stream.acked >= STREAM_WINDOW / 2 {
            stream.acked = ack.next;
            let ack = *ack;
            if ended {
                self.stream.incoming[slot] = None;
            }
            self.send_body(header.src, header.request, &ack, sink);
        }
    }

    pub(crate) fn on_stream_ack(&mut self, ack: &StreamAck, header: &Header, sink: &mut dyn Sink) {
        let Some(slot) = RequestId::slot(header.request, Requests::Stream) else { return };
        let Some(Some(stream)) = self.stream.outgoing.get_mut(slot) else { return };
        if stream.request != header.request || stream.to != header.src || ack.next > stream.next {
            self.counters.bad += 1;
            return;
        }
        (stream.phase, stream.progress) = (Phase::Running, self.now);
        stream.acked = stream.acked.max(ack.next);
        let wrong = ack.lost.saturating_add(ack.disorder).saturating_add(ack.damaged);
        if stream.acked < stream.count {
            return self.pump_stream(slot, sink);
        }
        let done = StreamDone {
            refusal: if wrong == 0 { 0 } else { Refusal::Damaged as u16 },
            received: ack.next.saturating_sub(ack.lost),
            wrong,
            ticks: self.now - stream.started,
            ..StreamDone::default()
        };
        self.finish_stream(slot, &done, sink);
    }

    fn finish_stream(&mut self, slot: usize, done: &StreamDone, sink: &mut dyn Sink) {
        if let Some(stream) = self.stream.outgoing[slot].take() {
            self.send_body(stream.owner.0, stream.owner.1, done, sink);
        }
    }

    /// Sends as much as the window, and the way, have room for.
    fn pump_stream(&mut self, slot: usize, sink: &mut dyn Sink) {
        while let Some(stream) = &self.stream.outgoing[slot] {
            let end = stream.count.min(stream.acked + STREAM_WINDOW);
            if stream.phase != Phase::Running || stream.next >= end {
                return;
            }
            let (to, seq) = (stream.to, stream.next);
            let data = StreamData { seq, check: stream_word(seq), ..StreamData::default() };
            let message = wire::encode(&self.header(to, stream.request), &data);
            match self.try_send(&message, to, sink) {
                Ok(()) => {
                    if let Some(stream) = &mut self.stream.outgoing[slot] {
                        stream.next += 1;
                    }
                }
                Err(Refusal::Busy) => return self.stream.stalled = true,
                Err(refusal) => return self.end_stream(slot, refusal, sink),
            }
        }
    }

    /// Goes on with streams that had found no room.
    pub(crate) fn pump_streams(&mut self, sink: &mut dyn Sink) {
        if core::mem::take(&mut self.stream.stalled) {
            for slot in 0..MAX_STREAMS {
                self.pump_stream(slot, sink);
            }
        }
    }

    fn end_stream(&mut self, slot: usize, refusal: Refusal, sink: &mut dyn Sink) {
        let Some(stream) = &self.stream.outgoing[slot] else { return };
        let (received, ticks) = (stream.acked, self.now - stream.started);
        let done = StreamDone { refusal: refusal as u16, received, ticks, ..StreamDone::default() };
        self.finish_stream(slot, &done, sink);
    }

    /// One of the stream's messages ended somewhere: it cannot be whole any more.
    pub(crate) fn stream_fault(&mut self, request: u16, refusal: Refusal, sink: &mut dyn Sink) {
        let Some(slot) = RequestId::slot(request, Requests::Stream) else { return };
        if matches!(self.stream.outgoing.get(slot), Some(Some(s)) if s.request == request) {
            self.end_stream(slot, refusal, sink);
        }
    }

    pub(crate) fn stream_recheck(&mut self, sink: &mut dyn Sink) {
        for slot in 0..MAX_STREAMS {
            if let Some(stream) = &self.stream.incoming[slot]
                && self.is_void(stream.from.island(), stream.epoch)
            {
                self.stream.incoming[slot] = None;
            }
            let Some((to, epoch)) = self.stream.outgoing[slot].as_ref().map(|s| (s.to, s.epoch)) else {
                continue;
            };
            if let Err(refusal) = self.status_of(to) {
                self.end_stream(slot, refusal, sink);
            } else if self.is_void(to.island(), epoch) {
                self.end_stream(slot, Refusal::Aborted, sink);
            }
        }
    }

    /// The channel to `peer` is gone, and with it perhaps a part of a stream.
    pub(crate) fn stream_way_lost(&mut self, peer: CoreId, sink: &mut dyn Sink) {
        for slot in 0..MAX_STREAMS {
            let _ = self.stream.incoming[slot].take_if(|s| s.from == peer);
            let running = |s: &Outgoing| s.to == peer && s.phase != Phase::Binding;
            if self.stream.outgoing[slot].as_ref().is_some_and(running) {
                self.end_stream(slot, Refusal::Aborted, sink);
            }
        }
    }

    fn stall_bound(&self) -> u64 {
        self.config.bound.saturating_mul(STALL_BOUNDS)
    }

    pub(crate) fn stream_deadline(&self) -> Option<u64> {
        let out = self.stream.outgoing.iter().flatten().map(|s| s.progress);
        let inc = self.stream.incoming.iter().flatten().map(|s| s.progress);
        let oldest = out.chain(inc).min().filter(|_| self.config.bound > 0)?;
        Some(oldest.saturating_add(self.stall_bound()))
    }

    pub(crate) fn stream_tick(&mut self, sink: &mut dyn Sink) {
        let (bound, now) = (self.stall_bound(), self.now);
        let late = |progress: u64| bound > 0 && now >= progress.saturating_add(bound);
        for slot in 0..MAX_STREAMS {
            if self.stream.incoming[slot].as_ref().is_some_and(|s| late(s.progress)) {
                self.stream.incoming[slot] = None;
            }
            if self.stream.outgoing[slot].as_ref().is_some_and(|s| late(s.progress)) {
                self.end_stream(slot, Refusal::TimedOut, sink);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{Chan, Event};
    use crate::testkit::{core, joined, message};

    fn data(seq: u64) -> StreamData {
        StreamData { seq, check: stream_word(seq), ..StreamData::default() }
    }

    /// Receives these and answers the last acknowledgement.
    fn receive(count: u64, sent: &[StreamData]) -> StreamAck {
        let (mut m, mut log) = joined();
        let (from, to) = (core(1, 0), core(0, 0));
        m.message(
            5,
            Chan(0),
            &message(from, to, 9, &StreamOpen { count, ..StreamOpen::default() }),
            &mut log,
        );
        log.take_sent::<StreamAck>().expect("welcome");
        for body in sent {
            m.message(6, Chan(0), &message(from, to, 9, body), &mut log);
        }
        log.take_sent::<StreamAck>().expect("the end").1.1
    }

    #[test]
    fn loss_disorder_and_damage_are_told_apart() {
        let good = receive(3, &[data(0), data(1), data(2)]);
        assert_eq!((good.next, good.lost, good.disorder, good.damaged), (3, 0, 0, 0));
        let gap = receive(3, &[data(0), data(2)]);
        assert_eq!((gap.lost, gap.disorder), (1, 0));
        let twice = receive(3, &[data(0), data(0), data(1), data(2)]);
        assert_eq!((twice.lost, twice.disorder), (0, 1));
        let torn = StreamData { check: stream_word(7), ..data(1) };
        assert_eq!(receive(3, &[data(0), torn, data(2)]).damaged, 1);
    }

    #[test]
    fn a_sender_keeps_to_its_window_and_gives_up_a_mute_receiver() {
        let (mut m, mut log) = joined();
        let far = core(1, 0);
        let start = StreamStart { to: far, count: 1000, ..StreamStart::default() };
        m.message(5, Chan(0), &message(far, core(0, 0), 3, &start), &mut log);
        let (_, (header, open)) = log.take_sent::<StreamOpen>().expect("an opening");
        assert_eq!(open.count, 1000);
        m.message(6, Chan(0), &message(far, core(0, 0), header.request, &StreamAck::default()), &mut log);
        let mut sent = 0;
        while log.take_sent::<StreamData>().is_some() {
            sent += 1;
        }
        assert_eq!(sent, STREAM_WINDOW);
        m.handle(m.stream_deadline().unwrap(), Event::Tick, &mut log);
        let (_, (header, done)) = log.take_sent::<StreamDone>().expect("a report");
        assert_eq!((header.request, done.refusal), (3, Refusal::TimedOut as u16));
    }
}
