//! `bench monitor.ping`: what a round trip between two monitors costs their cores, the waiting left out.
//!
//! A segment begins with the poll that finds the message, and ends where the next poll begins: it holds the receiving, the
//! handling, the sending of what follows, the wake-up that the peer may want, and one reading of the clock. This
//! monitor is first the one that pings, then the one that is pinged, so that it has seen a segment of each end; the
//! figure is the sum of the two medians. Where QEMU counts instructions, a tick is one; a segment into which another core's
//! instructions were counted is longer than most, and a median does not see it.

use super::Pump;
use super::io::Port;
use alloc::collections::VecDeque;
use alloc::format;
use alloc::vec::Vec;
use skerry_abi::CoreId;
use skerry_monitor::Chan;
use skerry_urpc::formats::Refusal;
use skerry_urpc::formats::monitor::{Echo, EchoReply};
use skerry_urpc::formats::shell::{Done, PingQuery};
use skerry_urpc::wire::{Body, Header, encode};
use skerry_user::clock;

/// Round trips each way.
const TRIPS: u32 = 2000;

/// A measurement under way.
pub struct Meter {
    /// Of the shell.
    request: u16,
    peer: CoreId,
    pings_us: bool,
    /// Of a monitor that is pinged, and of one that pings.
    answering: Vec<u64>,
    asking: Vec<u64>,
}

impl Meter {
    /// Notes a segment.
    #[cold]
    pub fn add(&mut self, kind: u16, ticks: u64) {
        let list = match kind {
            Echo::KIND => &mut self.answering,
            EchoReply::KIND => &mut self.asking,
            _ => return,
        };
        // No allocation within what is measured.
        if list.len() < list.capacity() {
            list.push(ticks);
        }
    }

    fn query(&self, me: CoreId) -> PingQuery {
        let (from, to) = if self.pings_us { (self.peer, me) } else { (me, self.peer) };
        PingQuery { from, to, count: TRIPS, ..PingQuery::default() }
    }
}

impl Pump {
    /// Starts to measure, with the island's second core.
    pub(super) fn start_meter(&mut self, request: u16) -> Result<(), Refusal> {
        let own = self.own.or_else(|| self.monitor.open_client()).ok_or(Refusal::Busy)?;
        self.own = Some(own);
        self.io.put(own, Port::Own(VecDeque::new()));
        let room = || Vec::with_capacity(TRIPS as usize);
        let peer = CoreId::new(self.io.core().island(), 1);
        let meter = Meter { request, peer, pings_us: false, answering: room(), asking: room() };
        self.ask_own(own, &meter.query(self.io.core()));
        self.meter = Some(meter);
        Ok(())
    }

    fn ask_own(&mut self, own: Chan, query: &PingQuery) {
        let message = encode(&Header::default(), query);
        self.monitor.message(clock::ticks(), own, &message, &mut self.io);
    }

    /// Looks whether a ping has ended. Answers whether there was news.
    pub(super) fn poll_meter(&mut self) -> bool {
        if self.meter.is_none() {
            return false;
        }
        let Some(own) = self.own else { return false };
        let Some(Port::Own(queue)) = self.io.ports.get_mut(usize::from(own.0)) else { return false };
        let Some(message) = queue.pop_front() else { return false };
        if let Some(done) = message.body::<Done>()
            && let Some(mut meter) = self.meter.take()
        {
            if done.refusal != 0 {
                self.answer_done(meter.request, done.refusal, 0);
            } else if meter.pings_us {
                self.report_meter(meter);
            } else {
                meter.pings_us = true;
                self.ask_own(own, &meter.query(self.io.core()));
                self.meter = Some(meter);
            }
        }
        true
    }

    fn report_meter(&mut self, mut meter: Meter) {
        let isa = skerry_user::ISA.name();
        let (asking, answering) = (median(&mut meter.asking), median(&mut meter.answering));
        self.say(meter.request, &format!("monitor.ping.asking.{isa} {asking} ticks"));
        self.say(meter.request, &format!("monitor.ping.answering.{isa} {answering} ticks"));
        self.say(meter.request, &format!("monitor.ping.{isa} {} ticks", asking + answering));
        self.answer_done(meter.request, 0, 3);
    }
}

fn median(ticks: &mut [u64]) -> u64 {
    ticks.sort_unstable();
    ticks.get(ticks.len() / 2).copied().unwrap_or(0)
}
