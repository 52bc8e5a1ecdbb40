//! Messages between dispatchers of one core (paper §4.5): what lies in a ring, and what a synchronous call answers.
//!
//! A ring is a header line and a power of two of message lines in the receiver's own dispatcher-page frame. The CPU
//! driver alone writes messages and [`Header::head`]; the receiver writes the rest, and whatever it writes there can
//! only hurt itself. Both run on one core, so that no barrier is needed.

use crate::CPtr;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// Rings of a dispatcher.
pub const MAX_RINGS: usize = 16;
/// Messages in a ring at most.
pub const MAX_SLOTS: u64 = 256;
/// Bytes of the header and of each message.
pub const LINE: u64 = 64;
/// Where in the frame of a dispatcher page the first ring may lie: behind the saved registers.
pub const FIRST_OFFSET: u64 = 64 + skerry_hal::context::MAX_CONTEXT as u64;

/// The line before the messages.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C, align(64))]
pub struct Header {
    /// Messages written so far, modulo 2³². By the CPU driver.
    pub head: u64,
    /// Messages taken so far, modulo 2³². By the receiver.
    pub tail: u64,
    /// The free slot in the receiver's space where the next capability lands, a [`CPtr`]; 0: none. By the receiver.
    pub receive: u64,
    /// [`WANTS_ROOM`], set by the CPU driver; the receiver answers with [`Op::Room`](crate::Op::Room), which clears it.
    pub flags: u64,
    reserved: [u64; 4],
}

/// Somebody met the ring full.
pub const WANTS_ROOM: u64 = 1;

/// One message.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C, align(64))]
pub struct Message {
    /// A [`kind`].
    pub kind: u32,
    /// Where the capability that came with it landed; null: none came.
    pub cap: CPtr,
    /// The badge of the endpoint it was sent to.
    pub badge: u64,
    /// What it says. Of an interrupt: line, and times it struck since the last message was taken.
    pub words: [u64; 4],
    reserved: [u64; 2],
}

/// What a message is.
pub mod kind {
    /// Somebody sent it.
    pub const MESSAGE: u32 = 1;
    /// An interrupt.
    pub const IRQ: u32 = 2;
}

/// What [`Op::ReplyWait`](crate::Op::ReplyWait) came back with: the high half of its last word.
pub mod wake {
    /// Events; the value says which.
    pub const EVENTS: u32 = 0;
    /// A call; the value is the endpoint's badge.
    pub const CALL: u32 = 1;
}

/// Flag of [`Op::Send`](crate::Op::Send): the receiver has the core at once, if it waits and nobody goes before it.
pub const HAND_OVER: u32 = 1;

const _: () = assert!(size_of::<Header>() as u64 == LINE && size_of::<Message>() as u64 == LINE);
