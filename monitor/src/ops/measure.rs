//! Measuring, so that the knowledge base need not guess (paper §4.9): what a message takes between cores, and what it
//! takes a core to block and to be woken.
//!
//! Between which cores it is worth knowing, rules say: not between all, of which 128 cores have 8,128 pairs. When the
//! island's cores have come up, or a neighbour has, the first monitor asks for those pairs of which nothing is known
//! yet and has one after another pinged by the monitor of its first core, four times as often each time, until the shortest
//! round trip hardly gets any shorter. A tree is drawn after that.
//!
//! What waking takes each core's binary measures itself ([`Monitor::took_to_wake`]), and is told in return how long polling
//! is worth while ([`Action::Poll`], paper §5.2).

use super::{RequestId, Requests};
use crate::event::{Action, Sink};
use crate::monitor::Monitor;
use alloc::collections::VecDeque;
use alloc::vec::Vec;
use skerry_hal::{CoreId, IslandId};
use skerry_urpc::formats::knowledge::{EDGES, LatencyNews, MeasurePart, MeasureQuery, PollTime, WakeNews};
use skerry_urpc::formats::monitor::{CoreState, PingDone, PingStart};
use skerry_urpc::formats::shell::IslandState;
use skerry_urpc::wire::Header;

/// Round trips of the first series between two cores.
const FIRST: u32 = 8;
/// Round trips of the last.
const LAST: u32 = 512;
/// Pairs of cores in one answer, at most; there are rules about which do not come from us.
const MAX_PAIRS: usize = 1024;
/// Bounds that an answer may take.
const PATIENCE: u64 = 4;

/// A pair of cores that is being pinged.
struct Series {
    pair: [CoreId; 2],
    request: u16,
    count: u32,
    /// The shortest round trip so far, in ticks.
    min: Option<u64>,
}

#[derive(Default)]
pub(crate) struct State {
    /// Cores of the island and neighbours that were up when it was last asked what to measure.
    of: (Vec<CoreId>, Vec<IslandId>),
    version: u32,
    asked: bool,
    pairs: VecDeque<[CoreId; 2]>,
    series: Option<Series>,
    count: u8,
    until: Option<u64>,
    /// What waking takes, until it is told.
    wake: Option<u32>,
}

impl Monitor {
    /// What it takes this core to block and to be woken by an interrupt, in nanoseconds: as its binary has measured.
    pub fn took_to_wake(&mut self, now: u64, ns: u32, sink: &mut dyn Sink) {
        self.now = self.now.max(now);
        self.measure.wake = Some(ns);
        self.tell_wake(sink);
    }

    fn tell_wake(&mut self, sink: &mut dyn Sink) {
        let up = |core| self.islands.core(core).is_some_and(|core| core.state == CoreState::Up);
        let first = CoreId::new(self.island, 0);
        if up(first)
            && up(self.core)
            && let Some(ns) = self.measure.wake.take()
        {
            self.send_body(first, 0, &WakeNews { ns, ..WakeNews::default() }, sink);
        }
    }

    /// The knowledge base says how long to poll.
    pub(crate) fn on_poll_time(&mut self, time: &PollTime, header: &Header, sink: &mut dyn Sink) {
        if header.src == CoreId::new(self.island, 0) {
            sink.act(Action::Poll { ns: time.ns });
        }
    }

    /// Whether something is being measured.
    pub(crate) fn is_measuring(&self) -> bool {
        self.measure.asked || self.measure.series.is_some()
    }

    /// Cores of the own island or neighbours may have come.
    pub(crate) fn measure_recheck(&mut self, sink: &mut dyn Sink) {
        self.tell_wake(sink);
        if self.knowledge_chan().is_none() || self.is_measuring() {
            return;
        }
        let Some(own) = self.islands.get(self.island) else { return };
        let rising =
            |core: &crate::table::Core| matches!(core.state, CoreState::Present | CoreState::Starting);
        if own.cores.iter().any(rising) {
            return;
        }
        let up = own.cores.iter().enumerate().filter(|(_, core)| core.state == CoreState::Up);
        let cores: Vec<CoreId> = up.map(|(n, _)| CoreId::new(self.island, n as u16)).collect();
        let links = self.membership.links.iter().map(|link| link.peer);
        let is_up = |peer: &IslandId| self.islands.get(*peer).is_some_and(|i| i.state == IslandState::Up);
        let of = (cores, links.filter(is_up).collect());
        if of == self.measure.of {
            return;
        }
        // A core or link less is nothing to be measured.
        let (was_cores, was_links) = &self.measure.of;
        let new =
            of.0.iter().any(|core| !was_cores.contains(core)) || of.1.iter().any(|i| !was_links.contains(i));
        self.measure.of = of;
        if new && (self.measure.of.0.len() > 1 || !self.measure.of.1.is_empty()) {
            self.measure.version += 1;
            self.measure.asked = true;
            self.measure.until = self.within(self.config.bound.saturating_mul(PATIENCE));
            let query = MeasureQuery { version: self.measure.version, ..MeasureQuery::default() };
            self.send_body(self.core, 0, &query, sink);
        }
    }

    /// A piece of the answer.
    pub(crate) fn on_measure_part(&mut self, part: &MeasurePart, header: &Header, sink: &mut dyn Sink) {
        let (place, count) = (usize::from(part.place), usize::from(part.count));
        let state = &mut self.measure;
        let fresh = state.asked && part.version == state.version && place == state.pairs.len();
        if header.src != self.core || !fresh || place > MAX_PAIRS {
            self.counters.stale += 1;
            return;
        }
        state.pairs.extend(&part.pairs[..count.saturating_sub(place).min(EDGES)]);
        if state.pairs.len() >= count {
            state.asked = false;
            self.measure_next(sink);
        }
    }

    /// Goes on with the next pair, or ends.
    fn measure_next(&mut self, sink: &mut dyn Sink) {
        while let Some(pair) = self.measure.pairs.pop_front() {
            if pair.iter().all(|core| self.status_of(*core).is_ok()) {
                return self.measure_series(pair, FIRST, None, sink);
            }
        }
        self.measure_end(sink);
    }

    fn measure_series(&mut self, pair: [CoreId; 2], count: u32, min: Option<u64>, sink: &mut dyn Sink) {
        self.measure.count = self.measure.count.wrapping_add(1);
        let request = RequestId::new(Requests::Measure, 0, self.measure.count).raw();
        self.measure.series = Some(Series { pair, request, count, min });
        self.measure.until = self.within(self.config.bound.saturating_mul(PATIENCE));
        let [from, to] = pair;
        self.send_body(from, request, &PingStart { to, count, ..PingStart::default() }, sink);
    }

    /// The figures of a series; `false` if it is somebody else's.
    pub(crate) fn measured(&mut self, done: &PingDone, header: &Header, sink: &mut dyn Sink) -> bool {
        let ours = |series: &mut Series| series.request == header.request && series.pair[0] == header.src;
        let Some(Series { pair, count, min, .. }) = self.measure.series.take_if(ours) else {
            return RequestId::slot(header.request, Requests::Measure).is_some();
        };
        if done.refusal != 0 || done.lost > 0 {
            // Who comes back is measured then.
            self.measure_next(sink);
            return true;
        }
        let shortest = min.map_or(done.min, |min| min.min(done.min));
        // An eighth less is worth another look.
        let settled = min.is_some_and(|min| shortest >= min - min / 8);
        if !settled && count < LAST {
            self.measure_series(pair, count * 4, Some(shortest), sink);
            return true;
        }
        let [from, to] = pair;
        let ns = u32::try_from(self.nanos(from, shortest) / 2).unwrap_or(u32::MAX);
        self.send_body(self.core, 0, &LatencyNews { from, to, ns, ..LatencyNews::default() }, sink);
        self.measure_next(sink);
        true
    }

    /// A series could not begin, or its figures did not come.
    pub(crate) fn measure_fault(&mut self, request: u16, sink: &mut dyn Sink) {
        if self.measure.series.take_if(|series| series.request == request).is_some() {
            self.measure_next(sink);
        }
    }

    /// There is no more to measure, or nobody who says what.
    pub(crate) fn measure_end(&mut self, sink: &mut dyn Sink) {
        let State { asked, pairs, series, until, .. } = &mut self.measure;
        (*asked, *series, *until) = (false, None, None);
        pairs.clear();
        self.tree_measured(sink);
        // Somebody may have come meanwhile.
        self.measure_recheck(sink);
    }

    pub(crate) fn measure_deadline(&self) -> Option<u64> {
        self.measure.until
    }

    pub(crate) fn measure_tick(&mut self, sink: &mut dyn Sink) {
        if self.is_past(self.measure.until) {
            if self.measure.series.take().is_some() {
                return self.measure_next(sink);
            }
            self.measure_end(sink);
        }
    }
}
