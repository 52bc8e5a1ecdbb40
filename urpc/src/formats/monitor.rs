//! Between monitors. Kinds 0x01xx.
//!
//! Advertisements ([`IslandAd`], [`CoreAd`]) carry `(epoch, seq)`: the higher pair is the newer one, and a monitor
//! that holds a newer one drops what comes. All other bodies are requests, answers, or one-way.

use skerry_hal::{CoreId, Epoch, IslandId};

/// States of a core in [`CoreAd::state`].
#[derive(Clone, Copy, PartialEq, Eq, Debug, PartialOrd, Ord)]
#[repr(u8)]
pub enum CoreState {
    /// Known from the firmware, not started yet.
    Present = 0,
    /// Being started.
    Starting = 1,
    /// Its monitor has reported.
    Up = 2,
    /// It could not be started.
    Failed = 3,
    /// It fell silent, or its island is lost.
    Lost = 4,
    /// It was taken off line, and can be started again.
    Off = 5,
}

impl CoreState {
    /// The state with this wire value.
    pub const fn from_raw(raw: u8) -> Option<Self> {
        Some(match raw {
            0 => Self::Present,
            1 => Self::Starting,
            2 => Self::Up,
            3 => Self::Failed,
            4 => Self::Lost,
            5 => Self::Off,
            _ => return None,
        })
    }

    /// The name that users see.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Present => "present",
            Self::Starting => "starting",
            Self::Up => "up",
            Self::Failed => "failed",
            Self::Lost => "lost",
            Self::Off => "off",
        }
    }
}

interface! {
    /// What a monitor takes from another.
    trait Peer as ToPeer {
        /// Asks for an [`EchoReply`] with the same body.
        fn echo(Echo) = 0x0100 {
            /// Of this request.
            seq: u64,
            /// Whatever the sender likes.
            words: [u64; 3],
        }
        /// Answers [`Echo`].
        fn echo_reply(EchoReply) = 0x0101 {
            /// As in the request.
            seq: u64,
            /// As in the request.
            words: [u64; 3],
        }
        /// A message could not be delivered or served; goes back to its sender under the request number of the message.
        fn fault(Fault) = 0x0102 {
            /// A [`Refusal`](super::refusal::Refusal).
            refusal: u16,
            /// Kind of the message.
            kind: u16,
            /// The core that gave it up.
            at: CoreId,
            /// Its destination.
            dst: CoreId,
        }
        /// What an island says of itself; flooded to every monitor.
        fn island_ad(IslandAd) = 0x0110 {
            /// Which island.
            island: IslandId,
            /// An [`Isa`](skerry_hal::Isa).
            isa: u8,
            /// 1 once every core of the island is up or was given up.
            settled: u8,
            /// Its epoch.
            epoch: Epoch,
            /// Higher is newer within the epoch.
            seq: u32,
            /// Cores that its firmware names.
            cores: u16,
            /// 0.
            reserved: u16,
            /// Bit n: its link to island n is up.
            links: u64,
            /// Bit n: it has a link to island n.
            wired: u64,
        }
        /// What is known of a core; from the core's monitor to its island's first, and from there flooded.
        fn core_ad(CoreAd) = 0x0111 {
            /// Which core.
            core: CoreId,
            /// Epoch of its island.
            epoch: Epoch,
            /// Higher is newer within the epoch.
            seq: u32,
            /// NUMA node.
            node: u16,
            /// Channels its monitor has to other monitors.
            channels: u16,
            /// An [`Isa`](skerry_hal::Isa).
            isa: u8,
            /// A [`CoreState`].
            state: u8,
            /// 0.
            reserved: [u8; 6],
            /// Ticks per second of its clock.
            frequency: u64,
        }
        /// An app core's monitor lives. Sent to the island's first monitor when nothing else was for a while.
        fn beat(Beat) = 0x0112 {
            /// Counts up.
            count: u64,
        }
        /// Asks an island's first monitor to take a core off line, or to start it again; answered with [`CorePowerDone`].
        fn core_power(CorePower) = 0x0114 {
            /// Which.
            core: CoreId,
            /// 1 on, 0 off.
            on: u8,
        }
        /// Answers [`CorePower`], when it is done.
        fn core_power_done(CorePowerDone) = 0x0115 {
            /// A [`Refusal`](super::refusal::Refusal) code, 0 for success.
            refusal: u16,
        }
        /// The first monitor wants this core to stop.
        fn core_leave(CoreLeave) = 0x0116 {
        }
        /// Answers [`CoreLeave`]. Where nothing is refused it is the core's last message.
        fn core_left(CoreLeft) = 0x0117 {
            /// A [`Refusal`](super::refusal::Refusal) code, 0 for success.
            refusal: u16,
        }
        /// An island was given up: nothing from this epoch, or from lower ones, counts any more. Flooded.
        fn island_loss(IslandLoss) = 0x0113 {
            /// Which.
            island: IslandId,
            /// 0.
            reserved: u16,
            /// In which epoch.
            epoch: Epoch,
            /// Who says so.
            by: CoreId,
        }
        /// What was known of an island does not count any more: from it on all advertisements are to be sent again.
        fn island_query(IslandQuery) = 0x0118 {
            /// Which.
            island: IslandId,
        }
        /// Asks a core's monitor to ping another's, and to answer with [`PingDone`].
        fn ping_start(PingStart) = 0x0120 {
            /// Who is pinged.
            to: CoreId,
            /// How often.
            count: u32,
        }
        /// Answers [`PingStart`]. Times are in ticks of the answering core's clock.
        fn ping_done(PingDone) = 0x0121 {
            /// A [`Refusal`](super::refusal::Refusal) code, 0 for success.
            refusal: u16,
            /// 0.
            reserved: u16,
            /// Round trips without an answer.
            lost: u32,
            /// Shortest round trip, exact.
            min: u64,
            /// Median.
            median: u64,
            /// 99th percentile.
            p99: u64,
        }
        /// Asks a core's monitor to send a checked stream to another's, and to answer with [`StreamDone`].
        fn stream_start(StreamStart) = 0x0130 {
            /// Who receives it.
            to: CoreId,
            /// 0.
            reserved: u32,
            /// How many messages.
            count: u64,
        }
        /// Announces a stream to its receiver, who answers with [`StreamAck`].
        fn stream_open(StreamOpen) = 0x0131 {
            /// How many messages will come.
            count: u64,
        }
        /// One message of a stream.
        fn stream_data(StreamData) = 0x0132 {
            /// Its number, from 0.
            seq: u64,
            /// [`stream_word`] of its number.
            check: [u64; 3],
        }
        /// Tells the sender how far the receiver has come.
        fn stream_ack(StreamAck) = 0x0133 {
            /// The number after that of the newest message received.
            next: u64,
            /// Those that were missing.
            lost: u64,
            /// Those that came late or twice.
            disorder: u64,
            /// Those whose check words were wrong.
            damaged: u64,
        }
        /// Answers [`StreamStart`].
        fn stream_done(StreamDone) = 0x0134 {
            /// A [`Refusal`](super::refusal::Refusal) code, 0 for success.
            refusal: u16,
            /// 0.
            reserved: [u16; 3],
            /// Messages received in order, as the receiver counted them.
            received: u64,
            /// Missing, late, doubled and damaged ones together.
            wrong: u64,
            /// How long it took, in ticks of the sender's clock.
            ticks: u64,
        }
        /// Asks the island's first monitor for a channel to another core of the island.
        fn bind_request(BindRequest) = 0x0140 {
            /// To whom.
            peer: CoreId,
            /// How many offers for this peer the asker has seen. An older request than the newest offer is ignored.
            generation: u32,
        }
        /// The first monitor has made a channel; both ends get one of these.
        fn bind_offer(BindOffer) = 0x0141 {
            /// To whom.
            peer: CoreId,
            /// Counts the offers for this pair, from 1.
            generation: u16,
            /// A [`Refusal`](super::refusal::Refusal) code: if it is not 0, there is no channel, and none will come.
            refusal: u16,
            /// Physical address of the block in memory local to the receiver of this offer.
            inbox: u64,
            /// Physical address of the block local to the peer.
            outbox: u64,
            /// Bytes in each block.
            bytes: u32,
            /// Slots in each block.
            slots: u16,
            /// Bytes from slot to slot.
            stride: u16,
        }
        /// One end could not adopt the channel it was offered, or lost it; to the first monitor, which tells the other.
        fn bind_failed(BindFailed) = 0x0142 {
            /// The other end.
            peer: CoreId,
            /// As in the offer.
            generation: u16,
        }
        /// Part of a line of log text, to the island's first monitor.
        fn log_text(LogText) = 0x0150 {
            /// A log level: 1 error … 5 trace.
            level: u8,
            /// 1 if the line goes on in the next message.
            more: u8,
            /// Bytes used of `text`.
            len: u8,
            /// Bytes of text that follow, UTF-8.
            text: [u8; 29],
        }
        /// Lines of log text were dropped for want of room.
        fn log_dropped(LogDropped) = 0x0151 {
            /// How many.
            lines: u64,
        }
        /// Sets what is logged, on one core.
        fn set_log_level(SetLogLevel) = 0x0152 {
            /// 0 off, 1 error … 5 trace.
            level: u8,
        }
        /// Turns the receiver's island off.
        fn power_off(PowerOff) = 0x0160 {
        }
        /// Asks for the endpoint that a domain of that core offers under this name; answered with [`EndpointFound`]. The
        /// asker's number names the connection in all that follows.
        fn endpoint_find(EndpointFind) = 0x0180 {
            /// The name.
            name: [u64; 2],
        }
        /// Answers [`EndpointFind`].
        fn endpoint_found(EndpointFound) = 0x0181 {
            /// A [`Refusal`](super::refusal::Refusal) code, 0 for success.
            refusal: u16,
            /// How many messages may be under way.
            window: u16,
        }
        /// A message to an endpoint, numbered by the message's flags.
        fn endpoint_data(EndpointData) = 0x0182 {
            /// What it says.
            words: [u64; 4],
        }
        /// So many messages of a connection have gone to the endpoint.
        fn endpoint_taken(EndpointTaken) = 0x0183 {
            /// All of them, modulo 2³².
            taken: u32,
        }
        /// From the end with the proxy, once in a while: so many messages were sent. Answered with [`EndpointTaken`], or
        /// [`EndpointClosed`] if that is not what came.
        fn endpoint_probe(EndpointProbe) = 0x0184 {
            /// All of them, modulo 2³².
            sent: u32,
        }
        /// The end with the proxy lets go.
        fn endpoint_leave(EndpointLeave) = 0x0185 {
        }
        /// The end with the endpoint lets go.
        fn endpoint_closed(EndpointClosed) = 0x0186 {
            /// A [`Refusal`](super::refusal::Refusal) code.
            refusal: u16,
        }
        /// For what the sender multicasts, the receiver is an aggregation node: it hands on to these cores. Answered with
        /// [`TreeReady`] when there is a channel to each.
        fn tree_branch(TreeBranch) = 0x0190 {
            /// The sender's number for the tree; a new one replaces the old.
            version: u32,
            /// How many cores came before.
            place: u16,
            /// How many there are in all; each part but the last is full.
            count: u16,
            /// Some of them, in the order in which they are told.
            cores: [CoreId; BRANCH],
        }
        /// Answers [`TreeBranch`].
        fn tree_ready(TreeReady) = 0x0191 {
            /// As there.
            version: u32,
        }
        /// Something that the receiver multicast did not get to a core, or made no sense there.
        fn tree_missed(TreeMissed) = 0x0192 {
            /// Which; the aggregation node itself stands for all that it hands on to.
            core: CoreId,
        }
        /// Asks the first monitor at the other end of a link to run the other half of a benchmark, over two domain channels
        /// of the window that the asker has taken and cleared.
        fn program_start(ProgramStart) = 0x0170 {
            /// Their numbers.
            channels: [u16; 2],
        }
    }
}

/// Cores in one [`TreeBranch`].
pub const BRANCH: usize = 6;

/// The check words of message `seq` of a stream: an invertible mix (the finaliser of SplitMix64), so that swapped or
/// torn words are found.
pub const fn stream_word(seq: u64) -> [u64; 3] {
    let mut out = [0; 3];
    let mut n = 0;
    while n < 3 {
        let mut z = seq.wrapping_add(n as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        out[n] = z ^ (z >> 31);
        n += 1;
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn core_states_round_trip() {
        for raw in 0..6 {
            assert_eq!(CoreState::from_raw(raw).unwrap() as u8, raw);
        }
        assert_eq!(CoreState::from_raw(6), None);
    }

    #[test]
    fn check_words_differ() {
        assert_ne!(stream_word(0), stream_word(1));
        assert_eq!(stream_word(0)[1], stream_word(1)[0], "a sliding sequence, so that shifts are caught by position");
        assert_ne!(stream_word(0)[0], stream_word(0)[1]);
    }
}
