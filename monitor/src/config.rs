//! What a monitor is told when it is made, and the limits it keeps.

use alloc::vec::Vec;
use skerry_hal::{CoreId, Epoch, Isa, IslandId};

/// A core of the monitor's own island, as the firmware names it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct LocalCore {
    /// Its number on the island.
    pub local: u16,
    /// Its NUMA node.
    pub node: u16,
}

/// What a monitor is told when it is made. Times are in ticks of its core's clock.
#[derive(Clone, Debug)]
pub struct Config {
    /// Whose monitor it is. Local number 0 makes it its island's *first* monitor.
    pub core: CoreId,
    /// The core's instruction set.
    pub isa: Isa,
    /// The core's NUMA node.
    pub node: u16,
    /// The island's epoch. Monitors other than the first may say 0: they are told.
    pub epoch: Epoch,
    /// Ticks per second.
    pub frequency: u64,
    /// First monitor: the island's cores; its own may be listed or not. Others: empty.
    pub cores: Vec<LocalCore>,
    /// First monitor: where its links lead; link `n` is [`Chan`](crate::Chan) `n`. Others: empty.
    pub links: Vec<IslandId>,
    /// How long to wait for an answer, and for a core that is being started. 0: for ever.
    pub bound: u64,
    /// How long a core of the island may be silent before it is given up. 0: for ever.
    pub pause_bound: u64,
    /// How long to wait, from the start, for an island that has not appeared yet. 0: for ever.
    pub join_bound: u64,
    /// How many cores may be on their way up at the same time.
    pub start_window: u16,
}

impl Config {
    /// A monitor of `core` with nothing else to it, and no bounds.
    pub fn new(core: CoreId, isa: Isa) -> Self {
        Self {
            core,
            isa,
            node: 0,
            epoch: Epoch(u32::from(core.local() == 0)),
            frequency: 1_000_000_000,
            cores: Vec::new(),
            links: Vec::new(),
            bound: 0,
            pause_bound: 0,
            join_bound: 0,
            start_window: 1,
        }
    }
}

/// Islands have numbers below this: sets of islands are one word on the wire. An advertisement of a higher one is
/// dropped and counted.
pub const MAX_ISLANDS: usize = 64;
/// Cores of an island have numbers below this.
pub const MAX_CORES: usize = 1024;
/// Channels of one monitor, clients included. At the limit, binding and [`open_client`](crate::Monitor::open_client)
/// fail.
pub const MAX_CHANS: usize = 2048;
/// Messages that wait for room in one channel. At the limit a request is refused as
/// [`Busy`](skerry_urpc::formats::Refusal::Busy), an advertisement is made up for by sending the whole table later.
pub const MAX_QUEUE: usize = 256;
/// Relays that a message may pass.
pub const MAX_HOPS: u8 = 16;
/// Pings that a monitor runs at a time.
pub const MAX_PINGS: usize = 4;
/// Streams that a monitor sends, and that it receives, at a time.
pub const MAX_STREAMS: usize = 8;
/// Messages of a stream that may be on their way.
pub const STREAM_WINDOW: u64 = 32;
/// Requests of clients that wait for another monitor.
pub const MAX_PENDING: usize = 16;
/// Requests of clients at process servers.
pub const MAX_SESSIONS: usize = 16;
/// Requests at the process server of a core, from all cores.
pub const MAX_ASKERS: usize = 64;
/// Channels made for one pair of cores before they are left to the relay.
pub const MAX_REBINDS: u16 = 4;
/// Bytes of one line of log text. What is longer is cut.
pub const MAX_LOG_LINE: usize = 512;
/// Endpoints of other cores that a core holds proxies for, at a time.
pub const MAX_PROXIES: usize = 8;
/// Names under which domains of a core offer endpoints.
pub const MAX_OFFERS: usize = 16;
/// Proxies of all cores for endpoints of one core.
pub const MAX_REMOTES: usize = 64;
/// Messages that may be under way from one proxy.
pub const ENDPOINT_WINDOW: u16 = 16;
