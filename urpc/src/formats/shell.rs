//! Between a shell (or another domain) and the monitor of its core. Kinds 0x03xx.
//!
//! A request has a [`Header`](crate::wire::Header) of which the monitor uses only `request`. Every answer to it bears the same
//! number; the last one is [`Done`]. Several requests may be under way.

use skerry_hal::{CoreId, Epoch, IslandId};

/// States of an island in [`IslandLine::state`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum IslandState {
    /// Some island has a link to it; it has not been seen yet.
    Expected = 0,
    /// A member of the system.
    Up = 1,
    /// Given up; may return with a higher epoch.
    Lost = 2,
    /// The islands on the way to it are gone; nothing is known of itself.
    Unreachable = 3,
    /// Did not appear in time; may still come.
    Absent = 4,
}

impl IslandState {
    /// The state with this wire value.
    pub const fn from_raw(raw: u8) -> Option<Self> {
        Some(match raw {
            0 => Self::Expected,
            1 => Self::Up,
            2 => Self::Lost,
            3 => Self::Unreachable,
            4 => Self::Absent,
            _ => return None,
        })
    }

    /// The name that users see.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Expected => "expected",
            Self::Up => "up",
            Self::Lost => "lost",
            Self::Unreachable => "unreachable",
            Self::Absent => "absent",
        }
    }
}

interface! {
    /// What the monitor takes.
    trait Service as ToService {
        /// Asks for one [`CoreLine`] a core, in order of their ids.
        fn cores_query(CoresQuery) = 0x0300 {
        }
        /// Asks for one [`IslandLine`] an island.
        fn islands_query(IslandsQuery) = 0x0302 {
        }
        /// Asks for round trips between two monitors; answered with [`PingTicks`] and [`PingNanos`].
        fn ping_query(PingQuery) = 0x0304 {
            /// Who pings.
            from: CoreId,
            /// Who is pinged.
            to: CoreId,
            /// How often; at most [`MAX_PINGS`].
            count: u32,
        }
        /// Asks for a checked stream of messages from one monitor to another; answered with [`StreamReport`].
        fn stream_query(StreamQuery) = 0x0307 {
            /// Who sends.
            from: CoreId,
            /// Who receives and checks.
            to: CoreId,
            /// How many messages.
            count: u64,
        }
        /// Sets what is logged, on every core that is up.
        fn log_level_query(LogLevelQuery) = 0x0309 {
            /// 0 off, 1 error … 5 trace.
            level: u8,
        }
        /// Turns every island off.
        fn power_off_query(PowerOffQuery) = 0x030a {
        }
        /// Asks for one [`MemoryLine`] for this island.
        fn memory_query(MemoryQuery) = 0x030b {
        }
        /// Asks for a benchmark to be run on this core; answered with [`TextLine`]s.
        fn bench_query(BenchQuery) = 0x030d {
            /// Its name, padded with zeros.
            name: [u8; 32],
        }
        /// Takes a core off line, or starts it again.
        fn core_power_query(CorePowerQuery) = 0x030f {
            /// Which.
            core: CoreId,
            /// 1 on, 0 off.
            on: u8,
        }
    }
    /// What a domain takes from its monitor: answers, each under the number of its request.
    trait Client as ToClient {
        /// A core.
        fn core_line(CoreLine) = 0x0301 {
            /// Which.
            core: CoreId,
            /// Epoch of its island.
            epoch: Epoch,
            /// An [`Isa`](skerry_hal::Isa); 0 if not known.
            isa: u8,
            /// A [`CoreState`](super::monitor::CoreState).
            state: u8,
            /// NUMA node.
            node: u16,
            /// Channels its monitor has.
            channels: u16,
            /// 0.
            reserved: u16,
            /// Ticks per second of its clock.
            frequency: u64,
        }
        /// An island.
        fn island_line(IslandLine) = 0x0303 {
            /// Which.
            island: IslandId,
            /// An [`Isa`](skerry_hal::Isa); 0 if not known.
            isa: u8,
            /// An [`IslandState`].
            state: u8,
            /// Its epoch.
            epoch: Epoch,
            /// Cores that its firmware names.
            cores: u16,
            /// Cores that are up.
            up: u16,
            /// 1 for the island that offers the shell.
            leader: u8,
            /// 0.
            reserved: [u8; 3],
            /// Bit n: its link to island n is up.
            links: u64,
        }
        /// Figures of a ping in ticks of the pinging core's clock.
        fn ping_ticks(PingTicks) = 0x0305 {
            /// How many round trips were asked for.
            count: u32,
            /// How many had no answer.
            lost: u32,
            /// Shortest, exact.
            min: u64,
            /// Median.
            median: u64,
            /// 99th percentile.
            p99: u64,
        }
        /// The same figures in nanoseconds.
        fn ping_nanos(PingNanos) = 0x0306 {
            /// How many round trips were asked for.
            count: u32,
            /// How many had no answer.
            lost: u32,
            /// Shortest, exact.
            min: u64,
            /// Median.
            median: u64,
            /// 99th percentile.
            p99: u64,
        }
        /// How a stream went.
        fn stream_report(StreamReport) = 0x0308 {
            /// Messages received in order.
            received: u64,
            /// Missing, late, doubled and damaged ones together.
            wrong: u64,
            /// How long it took.
            nanos: u64,
        }
        /// Memory of one core.
        fn memory_line(MemoryLine) = 0x030c {
            /// Whose.
            core: CoreId,
            /// NUMA node.
            node: u32,
            /// Bytes it was given.
            total: u64,
            /// Bytes it has not used yet.
            free: u64,
        }
        /// Text for people and scripts, UTF-8.
        fn text_line(TextLine) = 0x030e {
            /// Bytes used of `text`.
            len: u8,
            /// 1 if the line goes on in the next answer.
            more: u8,
            /// The text.
            text: [u8; 30],
        }
        /// The last answer to a request.
        fn done(Done) = 0x03ff {
            /// A [`Refusal`](super::refusal::Refusal) code, 0 for success.
            refusal: u16,
            /// 0.
            reserved: u16,
            /// How many answers came before.
            lines: u32,
        }
    }
}

/// The most round trips that one request may ask for.
pub const MAX_PINGS: u32 = 10_000_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn island_states_round_trip() {
        for raw in 0..5 {
            assert_eq!(IslandState::from_raw(raw).unwrap() as u8, raw);
        }
        assert_eq!(IslandState::from_raw(5), None);
    }
}
