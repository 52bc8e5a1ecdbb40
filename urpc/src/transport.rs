//! What every channel offers, whatever carries its messages.

use crate::Message;
use core::fmt;

/// One end of a duplex, ordered, reliable channel of messages. Nothing here blocks.
pub trait Transport {
    /// Sends, or says why it cannot now.
    fn try_send(&mut self, message: &Message) -> Result<(), SendError>;

    /// Takes the next message, if one has come. After an error the channel is closed for good.
    fn try_recv(&mut self) -> Result<Option<Message>, RecvError>;

    /// Whether the peer has asked to be woken when there is something for it. Call after sending (and after
    /// receiving, if the peer may wait for room); if it says yes, ring the peer's doorbell.
    fn peer_wants_wake(&self) -> bool;

    /// Asks the peer to ring when there is something to receive, or room to send again. The caller must then look once
    /// more with [`try_recv`](Self::try_recv) before it blocks: what the peer sent before it saw the request comes
    /// without a ring.
    fn arm_wake(&mut self);

    /// Takes the request back.
    fn disarm_wake(&mut self);
}

/// Why a message was not sent.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SendError {
    /// The peer has not consumed enough yet; try again later.
    Full,
    /// The channel is closed.
    Closed,
}

/// Why nothing more will be received.
///
/// Aligned like a word, so that in a `Result<Option<Message>, RecvError>` it lies over a word of the message: over a part
/// of one, the compiler would move that message in bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(align(8))]
pub enum RecvError {
    /// The peer wrote something that no correct peer writes.
    Corrupt(Field),
    /// The channel was closed.
    Closed,
}

/// A field that a peer writes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Field {
    /// A slot's sequence number.
    Sequence,
    /// The count of consumed messages in a credit line.
    Credit,
    /// A greeting's magic number.
    Magic,
    /// A greeting's version.
    Version,
    /// A greeting's feature bits.
    Features,
    /// A greeting's slot count and stride.
    Layout,
    /// A greeting's core.
    Core,
    /// A greeting's epoch, or the epoch it accepts.
    Epoch,
    /// A greeting's heartbeat.
    Heartbeat,
    /// A greeting's refused epoch.
    Refused,
}

impl Field {
    /// Its name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Sequence => "sequence",
            Self::Credit => "credit",
            Self::Magic => "magic",
            Self::Version => "version",
            Self::Features => "features",
            Self::Layout => "layout",
            Self::Core => "core",
            Self::Epoch => "epoch",
            Self::Heartbeat => "heartbeat",
            Self::Refused => "refused",
        }
    }
}

impl fmt::Display for Field {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl fmt::Display for SendError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Full => "the channel is full",
            Self::Closed => "the channel is closed",
        })
    }
}

impl fmt::Display for RecvError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Corrupt(field) => write!(f, "the peer wrote a bad {field}"),
            Self::Closed => f.write_str("the channel is closed"),
        }
    }
}

impl core::error::Error for SendError {}
impl core::error::Error for RecvError {}
