//! Requests from domains of this core (the shell first of all), and what waits for another monitor on their behalf.

use super::{RequestId, Requests};
use crate::chans::{Listing, Table};
use crate::config::MAX_PENDING;
use crate::event::{Chan, Sink};
use crate::monitor::Monitor;
use crate::table::Cursor;
use skerry_hal::{CoreId, Epoch};
use skerry_urpc::Message;
use skerry_urpc::formats::Refusal;
use skerry_urpc::formats::monitor::{
    CorePower, CorePowerDone, PingDone, PingStart, StreamDone, StreamStart, ToPeer,
};
use skerry_urpc::formats::shell::*;
use skerry_urpc::wire::{self, Header};

struct Pending {
    chan: Chan,
    /// The client's own number.
    answer: u16,
    /// Ours.
    request: u16,
    from: CoreId,
    epoch: Epoch,
    /// How many round trips were asked for; 0 for a stream.
    pings: u32,
    until: Option<u64>,
}

#[derive(Default)]
pub(crate) struct State {
    pending: [Option<Pending>; MAX_PENDING],
    count: u8,
}

/// Bounds that so many round trips may take, and the report of them.
pub const fn ping_bounds(count: u32) -> u64 {
    count as u64 + 4
}

/// Bounds that a stream of so many messages may take. Sixteen take far less than one; should the report be lost on its way,
/// nobody waits much longer.
pub const fn stream_bounds(count: u64) -> u64 {
    count / 16 + 8
}

/// A request that is being taken in.
pub(crate) struct Asking<'a> {
    chan: Chan,
    /// The client's own number.
    answer: u16,
    sink: &'a mut dyn Sink,
}

/// What domains may ask for. `None`: the last word is not spoken yet.
impl Service<Asking<'_>> for Monitor {
    type Outcome = Option<Result<(), Refusal>>;

    fn cores_query(&mut self, _: &CoresQuery, at: Asking<'_>) -> Self::Outcome {
        self.begin_list(at.chan, at.answer, Table::Cores, at.sink).map(Err)
    }
    fn islands_query(&mut self, _: &IslandsQuery, at: Asking<'_>) -> Self::Outcome {
        self.begin_list(at.chan, at.answer, Table::Islands, at.sink).map(Err)
    }
    fn memory_query(&mut self, _: &MemoryQuery, at: Asking<'_>) -> Self::Outcome {
        self.begin_list(at.chan, at.answer, Table::Memory, at.sink).map(Err)
    }
    fn ping_query(&mut self, q: &PingQuery, at: Asking<'_>) -> Self::Outcome {
        if q.count == 0 || q.count > MAX_PINGS {
            return Some(Err(Refusal::BadRequest));
        }
        let start = PingStart { to: q.to, count: q.count, ..PingStart::default() };
        self.ask_core(at, (q.from, q.to), q.count, ping_bounds(q.count), &start).err().map(Err)
    }
    fn stream_query(&mut self, q: &StreamQuery, at: Asking<'_>) -> Self::Outcome {
        if q.count == 0 {
            return Some(Err(Refusal::BadRequest));
        }
        let start = StreamStart { to: q.to, count: q.count, ..StreamStart::default() };
        self.ask_core(at, (q.from, q.to), 0, stream_bounds(q.count), &start).err().map(Err)
    }
    fn log_level_query(&mut self, q: &LogLevelQuery, at: Asking<'_>) -> Self::Outcome {
        Some(self.log_level_everywhere(q.level, at.sink))
    }
    fn power_off_query(&mut self, _: &PowerOffQuery, at: Asking<'_>) -> Self::Outcome {
        self.power_off_everywhere(at.sink);
        Some(Ok(()))
    }
    fn core_power_query(&mut self, q: &CorePowerQuery, at: Asking<'_>) -> Self::Outcome {
        if self.islands.core(q.core).is_none() {
            return Some(Err(Refusal::Unknown));
        }
        let first = CoreId::new(q.core.island(), 0);
        let wanted = CorePower { core: q.core, on: q.on, ..CorePower::default() };
        // Longer than the first monitor waits for the core.
        self.ask_core(at, (first, first), 0, 12, &wanted).err().map(Err)
    }
    fn bench_query(&mut self, _: &BenchQuery, _: Asking<'_>) -> Self::Outcome {
        // The binary takes these before they get here; who gets one nevertheless has no benchmarks.
        Some(Err(Refusal::BadKind))
    }
}

impl Monitor {
    /// A request from a domain. Its header's request number is all of the header that counts.
    #[cold]
    pub(crate) fn client_request(&mut self, chan: Chan, message: &Message, sink: &mut dyn Sink) {
        let answer = message.header().request;
        if super::proc::is_request(message.kind) {
            return self.proc_request(chan, message, sink);
        }
        let asking = Asking { chan, answer, sink: &mut *sink };
        let result = Service::dispatch(self, message, asking).unwrap_or(Some(Err(Refusal::BadKind)));
        if let Some(result) = result {
            self.done(chan, answer, result, 0, sink);
        }
    }

    fn begin_list(&mut self, chan: Chan, request: u16, what: Table, sink: &mut dyn Sink) -> Option<Refusal> {
        let entry = self.chans.get_mut(chan)?;
        if entry.listing.is_some() {
            return Some(Refusal::Busy);
        }
        entry.listing = Some(Listing { request, what, at: Cursor::default(), lines: 0 });
        self.list(chan, sink);
        None
    }

    /// Asks another monitor, or this one, for something that takes time.
    fn ask_core<B: ToPeer>(
        &mut self,
        Asking { chan, answer, sink }: Asking<'_>,
        (from, to): (CoreId, CoreId),
        pings: u32,
        bounds: u64,
        body: &B,
    ) -> Result<(), Refusal> {
        self.status_of(from)?;
        self.status_of(to)?;
        let slot = self.client.pending.iter().position(Option::is_none).ok_or(Refusal::Busy)?;
        self.client.count = self.client.count.wrapping_add(1);
        let request = RequestId::new(Requests::Client, slot, self.client.count).raw();
        let until = self.within(self.config.bound.saturating_mul(bounds));
        let epoch = self.epoch_of(from.island());
        self.client.pending[slot] = Some(Pending { chan, answer, request, from, epoch, pings, until });
        let message = wire::encode(&self.header(from, request), body);
        self.try_send(&message, from, sink).inspect_err(|_| self.client.pending[slot] = None)
    }

    /// Takes the pending request of this number, if its answer may come from `from`.
    fn take_pending(&mut self, request: u16, from: Option<CoreId>) -> Option<Pending> {
        let slot = RequestId::slot(request, Requests::Client)?;
        self.client
            .pending
            .get_mut(slot)?
            .take_if(|p| p.request == request && from.is_none_or(|f| f == p.from))
    }

    pub(crate) fn on_ping_done(&mut self, done: &PingDone, header: &Header, sink: &mut dyn Sink) {
        let Some(p) = self.take_pending(header.request, Some(header.src)) else { return };
        let (count, lost) = (p.pings, done.lost);
        let ticks = PingTicks {
            count,
            lost,
            min: done.min,
            median: done.median,
            p99: done.p99,
            ..PingTicks::default()
        };
        let ns = |t| self.nanos(p.from, t);
        let (min, median, p99) = (ns(done.min), ns(done.median), ns(done.p99));
        let nanos = PingNanos { count, lost, min, median, p99, ..PingNanos::default() };
        let result = Refusal::result(done.refusal);
        let mut lines = 0;
        if result.is_ok() {
            self.answer(p.chan, p.answer, &ticks, sink);
            self.answer(p.chan, p.answer, &nanos, sink);
            lines = 2;
        }
        self.done(p.chan, p.answer, result, lines, sink);
    }

    pub(crate) fn on_stream_done(&mut self, done: &StreamDone, header: &Header, sink: &mut dyn Sink) {
        let Some(p) = self.take_pending(header.request, Some(header.src)) else { return };
        let nanos = self.nanos(p.from, done.ticks);
        let report =
            StreamReport { received: done.received, wrong: done.wrong, nanos, ..StreamReport::default() };
        self.answer(p.chan, p.answer, &report, sink);
        self.done(p.chan, p.answer, Refusal::result(done.refusal), 1, sink);
    }

    pub(crate) fn on_core_power_done(&mut self, done: &CorePowerDone, header: &Header, sink: &mut dyn Sink) {
        let Some(p) = self.take_pending(header.request, Some(header.src)) else { return };
        self.done(p.chan, p.answer, Refusal::result(done.refusal), 0, sink);
    }

    /// Ticks of a core's clock in nanoseconds.
    pub(crate) fn nanos(&self, core: CoreId, ticks: u64) -> u64 {
        let frequency = self.islands.core(core).map_or(0, |c| c.frequency);
        let nanos = (u128::from(ticks) * 1_000_000_000).checked_div(u128::from(frequency)).unwrap_or(0);
        u64::try_from(nanos).unwrap_or(u64::MAX)
    }

    /// One of several answers.
    fn answer<B: ToClient>(&mut self, chan: Chan, request: u16, body: &B, sink: &mut dyn Sink) {
        let message = wire::encode(&self.header(self.core, request), body);
        let entry = self.chans.get_mut(chan);
        if entry.is_none_or(|e| e.send(chan, &message, sink).is_err()) {
            self.counters.faults += 1;
        }
    }

    /// The last answer.
    pub(crate) fn done(
        &mut self,
        chan: Chan,
        request: u16,
        result: Result<(), Refusal>,
        lines: u32,
        sink: &mut dyn Sink,
    ) {
        let done = Done { refusal: Refusal::code(result), reserved: 0, lines, ..Done::default() };
        self.answer(chan, request, &done, sink);
    }

    pub(crate) fn client_fault(&mut self, request: u16, refusal: Refusal, sink: &mut dyn Sink) {
        if let Some(p) = self.take_pending(request, None) {
            self.done(p.chan, p.answer, Err(refusal), 0, sink);
        }
    }

    /// Whose answer cannot come any more is told so.
    pub(crate) fn client_recheck(&mut self, sink: &mut dyn Sink) {
        for slot in 0..MAX_PENDING {
            let Some(p) = &self.client.pending[slot] else { continue };
            let (request, lost) = (p.request, self.status_of(p.from));
            if let Err(refusal) = lost {
                self.client_fault(request, refusal, sink);
            } else if self.is_void(p.from.island(), p.epoch) {
                self.client_fault(request, Refusal::Aborted, sink);
            }
        }
    }

    /// The channel to `peer` is gone, and with it perhaps a request or its answer.
    pub(crate) fn client_way_lost(&mut self, peer: CoreId, sink: &mut dyn Sink) {
        for slot in 0..MAX_PENDING {
            let request = self.client.pending[slot].as_ref().filter(|p| p.from == peer).map(|p| p.request);
            if let Some(request) = request {
                self.client_fault(request, Refusal::Aborted, sink);
            }
        }
    }

    /// A client's channel is closed: nobody waits for its answers.
    pub(crate) fn client_gone(&mut self, chan: Chan) {
        for pending in &mut self.client.pending {
            let _ = pending.take_if(|p| p.chan == chan);
        }
    }

    pub(crate) fn client_deadline(&self) -> Option<u64> {
        self.client.pending.iter().flatten().filter_map(|p| p.until).min()
    }

    pub(crate) fn client_tick(&mut self, sink: &mut dyn Sink) {
        for slot in 0..MAX_PENDING {
            let Some(p) = &self.client.pending[slot] else { continue };
            if self.is_past(p.until) {
                self.client_fault(p.request, Refusal::TimedOut, sink);
            }
        }
    }
}
