//! What goes into a monitor and what comes out.

use alloc::string::String;
use skerry_hal::{CoreId, Epoch};
use skerry_urpc::formats::Refusal;
use skerry_urpc::{Message, SendError};

/// One of a monitor's channels. The binary keeps its transports under these numbers. A first monitor's link `n` is
/// channel `n`; another monitor's channel to the first is channel 0; all others are named by an [`Action`] or by
/// [`Monitor::open_client`](crate::Monitor::open_client).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Hash)]
pub struct Chan(pub u16);

/// Where the two blocks of a new channel are, in physical memory of the island.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Frames {
    /// The block local to the one who reads this.
    pub inbox: u64,
    /// The block local to its peer.
    pub outbox: u64,
    /// Bytes in each.
    pub bytes: u32,
    /// Slots in each.
    pub slots: u16,
    /// Bytes from slot to slot.
    pub stride: u16,
}

/// What happened. Messages come through [`Monitor::message`](crate::Monitor::message).
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Event {
    /// Everything is in place; once, before all else.
    Start,
    /// The window (or other transport) of a link has agreed with its peer.
    LinkUp {
        /// Which link.
        link: u16,
        /// The epoch that the peer's greeting named.
        epoch: Epoch,
        /// The epoch that our own named.
        own: Epoch,
    },
    /// A link's peer fell silent, or the link was closed.
    LinkLost {
        /// Which link.
        link: u16,
        /// One line for people.
        why: String,
    },
    /// A peer refuses our epoch: we were given up.
    EpochRefused {
        /// The epoch it refuses.
        epoch: Epoch,
    },
    /// A core asked for with [`Action::StartCore`] could not be started.
    StartFailed {
        /// Which.
        core: CoreId,
        /// One line for people.
        why: String,
    },
    /// Answers [`Action::MakeChannel`].
    ChannelMade {
        /// As in the action.
        a: CoreId,
        /// As in the action.
        b: CoreId,
        /// The blocks as `a` sees them; `None` if there is no memory.
        frames: Option<Frames>,
    },
    /// Answers [`Action::AdoptChannel`]: it can be used.
    ChannelUp {
        /// Which.
        chan: Chan,
    },
    /// A channel's transport failed, or could not be adopted. Not for links.
    ChannelClosed {
        /// Which.
        chan: Chan,
        /// One line for people.
        why: String,
    },
    /// Memory of a core of this island, for the `mem` table.
    Memory {
        /// Whose.
        core: CoreId,
        /// NUMA node.
        node: u32,
        /// Bytes it was given.
        total: u64,
        /// Bytes it has not used.
        free: u64,
    },
    /// Time has passed: at the latest when [`Monitor::deadline`](crate::Monitor::deadline) has.
    Tick,
}

/// A line that everybody waits for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Announce {
    /// `skerry: island N up, M cores`.
    Island {
        /// Cores that are up.
        cores: u32,
    },
    /// `skerry: system up, C cores on I islands`.
    System {
        /// Cores that are up.
        cores: u32,
        /// Islands that are up.
        islands: u32,
    },
}

/// What a monitor wants done.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Action {
    /// Start a core of the island, with a channel to it under `chan`. If that fails: [`Event::StartFailed`].
    StartCore {
        /// Which.
        core: CoreId,
        /// Its NUMA node.
        node: u16,
        /// The number of the channel to its monitor.
        chan: Chan,
    },
    /// Allocate the two blocks of a channel, each on its receiver's node; answer with [`Event::ChannelMade`].
    MakeChannel {
        /// One end.
        a: CoreId,
        /// Its NUMA node.
        node_a: u16,
        /// The other end.
        b: CoreId,
        /// Its NUMA node.
        node_b: u16,
    },
    /// Map the two blocks of a channel; answer with [`Event::ChannelUp`] or [`Event::ChannelClosed`].
    AdoptChannel {
        /// The number to keep it under.
        chan: Chan,
        /// The other end.
        peer: CoreId,
        /// The blocks.
        frames: Frames,
    },
    /// Let go of a channel.
    CloseChannel {
        /// Which.
        chan: Chan,
    },
    /// The island at the other end of a link was given up by others in this epoch: refuse it.
    RefuseEpoch {
        /// Which link.
        link: u16,
        /// The epoch, and all lower ones.
        epoch: Epoch,
    },
    /// The island has a new epoch: greet all windows anew.
    NewEpoch {
        /// It.
        epoch: Epoch,
    },
    /// Write a line of log text.
    Log {
        /// Whose.
        core: CoreId,
        /// 1 error … 5 trace.
        level: u8,
        /// The line, without control characters.
        text: String,
    },
    /// Log up to this level from now on.
    LogLevel {
        /// 0 off, 1 error … 5 trace.
        level: u8,
    },
    /// Write a line that everybody waits for.
    Announce(Announce),
    /// Offer the shell on this island, or stop to.
    Shell {
        /// Which of the two.
        offer: bool,
    },
    /// A core of this island has been silent for too long. The rule is that it takes its island down with it.
    CoreSilent {
        /// Which.
        core: CoreId,
    },
    /// The first monitor at the other end of a link wants the other half of a benchmark to be run here.
    RunProgram {
        /// Which link.
        link: u16,
        /// The domain channels of the window to run it over.
        channels: [u16; 2],
    },
    /// Answers [`Monitor::want_endpoint`](crate::Monitor::want_endpoint): hand out the proxy of this number, or say why not.
    Proxy {
        /// What the asker was called.
        token: u32,
        /// The proxy's number.
        proxy: Result<u8, Refusal>,
    },
    /// Nothing that is sent to a proxy arrives any more: take its capabilities back. Its number may be used again.
    ProxyClosed {
        /// Which.
        proxy: u8,
        /// Why.
        why: Refusal,
    },
    /// Poll so long before blocking, as the knowledge base says.
    Poll {
        /// Nanoseconds.
        ns: u32,
    },
    /// Turn the island off.
    PowerOff,
    /// Stop this core, after what was sent so far: it went off line.
    StopCore,
}

/// Where a monitor's output goes: implemented by the domain binary, by tests and by the simulator.
pub trait Sink {
    /// Sends on a channel now, or says why not. The monitor keeps what did not fit.
    fn send(&mut self, chan: Chan, message: &Message) -> Result<(), SendError>;
    /// Does something, or notes it to be done. Must not call back into the monitor.
    fn act(&mut self, action: Action);
}
