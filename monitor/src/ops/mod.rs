//! One operation a file. Each adds methods to [`Monitor`] and keeps its own `State` there.
//!
//! | file | what it agrees on |
//! | --- | --- |
//! | [`membership`] | which islands and cores there are; links; what is lost, in which epoch |
//! | [`flood`] | how that spreads |
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
//! | [`power`] | turning everything off |

pub mod bind;
pub mod client;
pub mod flood;
pub mod heartbeat;
pub mod leader;
pub mod log;
pub mod membership;
pub mod ping;
pub mod power;
pub mod proc;
pub mod program;
pub mod start;
pub mod status;
pub mod stream;

use crate::{Chan, Monitor, Sink};
use skerry_urpc::Message;
use skerry_urpc::formats::Refusal;
use skerry_urpc::formats::monitor::*;
use skerry_urpc::wire::{Body, Header};

impl Monitor {
    /// Gives a message for this core to its operation. All of it but the header's source island and epoch is still an
    /// allegation.
    #[cold]
    pub(crate) fn deliver(&mut self, chan: Chan, message: &Message, header: &Header, sink: &mut dyn Sink) {
        if proc::is_proc(message.kind) {
            return self.on_proc(message, header, sink);
        }
        macro_rules! dispatch {
            ($($body:ident => $method:ident($($arg:expr),*);)*) => {
                match message.kind {
                    $($body::KIND => if let Some(body) = message.body::<$body>() {
                        self.$method(&body, $($arg,)* sink);
                    },)*
                    kind => self.fault(kind, header, Refusal::BadKind, sink),
                }
            };
        }
        dispatch! {
            EchoReply => on_echo_reply(header);
            StreamData => on_stream_data(header);
            StreamAck => on_stream_ack(header);
            Fault => on_fault(header);
            IslandAd => on_island_ad(chan, header);
            CoreAd => on_core_ad(chan, header);
            IslandLoss => on_island_loss(chan, header);
            Beat => on_beat();
            PingStart => on_ping_start(header);
            PingDone => on_ping_done(header);
            StreamStart => on_stream_start(header);
            StreamOpen => on_stream_open(header);
            StreamDone => on_stream_done(header);
            BindRequest => on_bind_request(chan, header);
            BindOffer => on_bind_offer(chan, header);
            BindFailed => on_bind_failed(chan, header);
            LogText => on_log_text(chan);
            LogDropped => on_log_dropped(chan);
            SetLogLevel => on_set_log_level();
            PowerOff => on_power_off();
            ProgramStart => on_program_start(chan, header);
        }
    }

    /// A message of ours ended somewhere: whoever waits for its answer need not any longer.
    fn on_fault(&mut self, fault: &Fault, header: &Header, sink: &mut dyn Sink) {
        let refusal = Refusal::from_raw(fault.refusal);
        if skerry_urpc::formats::proc::is_answer(fault.kind) {
            return self.proc_answer_lost(fault, header.request, sink);
        }
        self.proc_fault(header.request, refusal, sink);
        self.ping_fault(header.request, refusal, sink);
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
