//! One operation a file. Each adds methods to [`Monitor`] and keeps its own `State` there.
//!
//! | file | what it agrees on |
//! | --- | --- |
//! | [`membership`] | which islands and cores there are; links; what is lost, in which epoch |
//! | [`flood`] | how that spreads |
//! | [`tree`] | multicast: to whom a core tells what, and who hands on |
//! | [`knowledge`] | what the island's knowledge base is told and asked by the monitors |
//! | [`measure`] | what messages take, and what a core takes to wake |
//! | [`start`] | the other cores of the island, in order |
//! | [`bind`] | channels between cores of the island, made when first used |
//! | [`heartbeat`] | whether the island's cores live |
//! | [`ping`] | round trips between two monitors |
//! | [`stream`] | a checked stream of messages between two monitors |
//! | [`client`] | requests from domains, and what waits for another monitor on their behalf |
//! | [`status`] | tables of cores, islands and memory |
//! | [`log`] | lines of text to the island's first monitor |
//! | [`leader`] | which island offers the shell; what is announced |
//! | [`program`] | a benchmark's other half, on the island at the other end of a link |
//! | [`proc`] | requests to process servers, and their answers |
//! | [`agree`] | capabilities that several cores hold: transfer, retype, revoke, invalidate |
//! | [`endpoint`] | capabilities for endpoints of other cores |
//! | [`offline`] | taking a core off line, and starting it again |
//! | [`power`] | turning everything off |

pub mod agree;
pub mod bind;
pub mod client;
pub mod endpoint;
pub mod flood;
pub mod heartbeat;
pub mod knowledge;
pub mod leader;
pub mod log;
pub mod measure;
pub mod membership;
pub mod offline;
pub mod ping;
pub mod power;
pub mod proc;
pub mod program;
pub mod start;
pub mod status;
pub mod stream;
pub mod tree;

use crate::{Chan, Monitor, Sink};
use skerry_urpc::Message;
use skerry_urpc::formats::Refusal;
use skerry_urpc::formats::knowledge::{MeasureQuery, TreeQuery};
use skerry_urpc::formats::monitor::*;
use skerry_urpc::wire::{Body, Header, flags};

/// How a message came to be delivered.
pub(crate) struct Arrival<'a> {
    chan: Chan,
    header: &'a Header,
    /// The message's flags: its number, where messages have one.
    number: u16,
    sink: &'a mut dyn Sink,
}

/// What monitors say to each other, each message to its operation. A message for which there is no line here does not
/// compile.
impl Peer<Arrival<'_>> for Monitor {
    type Outcome = ();

    fn echo(&mut self, _: &Echo, at: Arrival<'_>) {
        // `Monitor::message` and `run_loopback` answer echoes before they get here.
        self.fault(Echo::KIND, at.header, Refusal::BadKind, at.sink);
    }
    fn echo_reply(&mut self, body: &EchoReply, at: Arrival<'_>) {
        self.on_echo_reply(body, at.header, at.sink);
    }
    fn fault(&mut self, body: &Fault, at: Arrival<'_>) {
        self.on_fault(body, at.header, at.sink);
    }
    fn island_ad(&mut self, body: &IslandAd, at: Arrival<'_>) {
        self.on_island_ad(body, at.chan, at.header, at.sink);
    }
    fn core_ad(&mut self, body: &CoreAd, at: Arrival<'_>) {
        self.on_core_ad(body, at.chan, at.header, at.sink);
    }
    fn island_loss(&mut self, body: &IslandLoss, at: Arrival<'_>) {
        self.on_island_loss(body, at.chan, at.header, at.sink);
    }
    fn island_query(&mut self, body: &IslandQuery, at: Arrival<'_>) {
        self.on_island_query(body, at.chan, at.sink);
    }
    fn beat(&mut self, body: &Beat, at: Arrival<'_>) {
        self.on_beat(body, at.sink);
    }
    fn core_power(&mut self, body: &CorePower, at: Arrival<'_>) {
        self.on_core_power(body, at.header, at.sink);
    }
    fn core_power_done(&mut self, body: &CorePowerDone, at: Arrival<'_>) {
        self.on_core_power_done(body, at.header, at.sink);
    }
    fn core_leave(&mut self, _: &CoreLeave, at: Arrival<'_>) {
        self.on_core_leave(at.header, at.sink);
    }
    fn core_left(&mut self, body: &CoreLeft, at: Arrival<'_>) {
        self.on_core_left(body, at.header, at.sink);
    }
    fn ping_start(&mut self, body: &PingStart, at: Arrival<'_>) {
        self.on_ping_start(body, at.header, at.sink);
    }
    fn ping_done(&mut self, body: &PingDone, at: Arrival<'_>) {
        if !self.measured(body, at.header, at.sink) {
            self.on_ping_done(body, at.header, at.sink);
        }
    }
    fn stream_start(&mut self, body: &StreamStart, at: Arrival<'_>) {
        self.on_stream_start(body, at.header, at.sink);
    }
    fn stream_open(&mut self, body: &StreamOpen, at: Arrival<'_>) {
        self.on_stream_open(body, at.header, at.sink);
    }
    fn stream_data(&mut self, body: &StreamData, at: Arrival<'_>) {
        self.on_stream_data(body, at.header, at.sink);
    }
    fn stream_ack(&mut self, body: &StreamAck, at: Arrival<'_>) {
        self.on_stream_ack(body, at.header, at.sink);
    }
    fn stream_done(&mut self, body: &StreamDone, at: Arrival<'_>) {
        self.on_stream_done(body, at.header, at.sink);
    }
    fn bind_request(&mut self, body: &BindRequest, at: Arrival<'_>) {
        self.on_bind_request(body, at.chan, at.header, at.sink);
    }
    fn bind_offer(&mut self, body: &BindOffer, at: Arrival<'_>) {
        self.on_bind_offer(body, at.chan, at.header, at.sink);
    }
    fn bind_failed(&mut self, body: &BindFailed, at: Arrival<'_>) {
        self.on_bind_failed(body, at.chan, at.header, at.sink);
    }
    fn log_text(&mut self, body: &LogText, at: Arrival<'_>) {
        self.on_log_text(body, at.chan, at.sink);
    }
    fn log_dropped(&mut self, body: &LogDropped, at: Arrival<'_>) {
        self.on_log_dropped(body, at.chan, at.sink);
    }
    fn set_log_level(&mut self, body: &SetLogLevel, at: Arrival<'_>) {
        self.on_set_log_level(body, at.sink);
    }
    fn power_off(&mut self, body: &PowerOff, at: Arrival<'_>) {
        self.on_power_off(body, at.sink);
    }
    fn endpoint_find(&mut self, body: &EndpointFind, at: Arrival<'_>) {
        self.on_endpoint_find(body, at.header, at.sink);
    }
    fn endpoint_found(&mut self, body: &EndpointFound, at: Arrival<'_>) {
        self.on_endpoint_found(body, at.header, at.sink);
    }
    fn endpoint_data(&mut self, body: &EndpointData, at: Arrival<'_>) {
        self.on_endpoint_data(body, at.number, at.header, at.sink);
    }
    fn endpoint_taken(&mut self, body: &EndpointTaken, at: Arrival<'_>) {
        self.on_endpoint_taken(body, at.header, at.sink);
    }
    fn endpoint_probe(&mut self, body: &EndpointProbe, at: Arrival<'_>) {
        self.on_endpoint_probe(body, at.header, at.sink);
    }
    fn endpoint_leave(&mut self, body: &EndpointLeave, at: Arrival<'_>) {
        self.on_endpoint_leave(body, at.header, at.sink);
    }
    fn endpoint_closed(&mut self, body: &EndpointClosed, at: Arrival<'_>) {
        self.on_endpoint_closed(body, at.header, at.sink);
    }
    fn tree_branch(&mut self, body: &TreeBranch, at: Arrival<'_>) {
        self.on_tree_branch(body, at.header, at.sink);
    }
    fn tree_ready(&mut self, body: &TreeReady, at: Arrival<'_>) {
        self.on_tree_ready(body, at.header);
    }
    fn tree_missed(&mut self, body: &TreeMissed, at: Arrival<'_>) {
        self.on_tree_missed(body, at.header, at.sink);
    }
    fn program_start(&mut self, body: &ProgramStart, at: Arrival<'_>) {
        self.on_program_start(body, at.chan, at.header, at.sink);
    }
}

impl Monitor {
    /// Gives a message for this core to its operation. All of it but the header's source island and epoch is still an
    /// allegation.
    #[cold]
    pub(crate) fn deliver(&mut self, chan: Chan, message: &Message, header: &Header, sink: &mut dyn Sink) {
        if header.flags & flags::HAND_ON != 0 {
            self.hand_on(message, header, sink);
        }
        if proc::is_proc(message.kind) {
            return self.on_proc(message, header, sink);
        }
        if agree::glue::is_agree(message.kind) {
            return self.on_agree(message, header, sink);
        }
        if knowledge::is_advice(message.kind) {
            return self.on_advice(message, header, sink);
        }
        if let Err(at) = Peer::dispatch(self, message, Arrival { chan, header, number: message.flags, sink })
        {
            self.fault(message.kind, at.header, Refusal::BadKind, at.sink);
        }
    }

    /// A message of ours ended somewhere: whoever waits for its answer need not any longer.
    fn on_fault(&mut self, fault: &Fault, header: &Header, sink: &mut dyn Sink) {
        let refusal = Refusal::from_raw(fault.refusal);
        if proc::is_answer(fault.kind) {
            return self.proc_answer_lost(fault, header.request, sink);
        }
        if agree::glue::is_agree(fault.kind) {
            return self.agree_fault(fault, header);
        }
        if knowledge::is_advice(fault.kind) {
            return match fault.kind {
                TreeQuery::KIND => self.tree_refused(),
                MeasureQuery::KIND => self.measure_end(sink),
                _ => {}
            };
        }
        self.endpoint_fault(fault, header.request, refusal, sink);
        self.proc_fault(header.request, refusal, sink);
        self.ping_fault(header.request, refusal, sink);
        self.measure_fault(header.request, sink);
        self.stream_fault(header.request, refusal, sink);
        self.client_fault(header.request, refusal, sink);
    }
}

/// Numbers of requests: which table, which slot of it, and a count that tells a slot's users apart.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct RequestId {
    table: Requests,
    slot: u8,
    count: u8,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Requests {
    Ping = 1,
    Stream = 2,
    Client = 3,
    Proc = 4,
    Endpoint = 5,
    Measure = 6,
}

impl RequestId {
    pub(crate) const fn new(table: Requests, slot: usize, count: u8) -> Self {
        Self { table, slot: slot as u8 & 31, count }
    }

    pub(crate) const fn raw(self) -> u16 {
        (self.table as u16) << 13 | (self.slot as u16) << 8 | self.count as u16
    }

    /// The slot, if the number is of this table.
    pub(crate) const fn slot(raw: u16, table: Requests) -> Option<usize> {
        if raw >> 13 == table as u16 { Some((raw >> 8 & 31) as usize) } else { None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn request_numbers_name_their_slot() {
        let id = RequestId::new(Requests::Stream, 7, 200).raw();
        assert_eq!(RequestId::slot(id, Requests::Stream), Some(7));
        assert_eq!(RequestId::slot(id, Requests::Ping), None);
        assert_ne!(id, RequestId::new(Requests::Stream, 7, 201).raw());
    }
}
