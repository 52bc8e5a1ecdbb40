//! What the seven payload words of a message mean: a [`Header`] of three words, a [`Body`] of four.
//!
//! All of it is little-endian and of fixed width (rule `wire-is-neutral`); both ISAs run little-endian, which is
//! asserted, so that the words in memory are the words on the wire.

use crate::Message;
use skerry_hal::{CoreId, Epoch};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

const _: () =
    assert!(cfg!(target_endian = "little"), "the wire is little-endian, and so must the machine be");

/// Bytes of a [`Body`].
pub const BODY_BYTES: usize = 32;
/// Words of a [`Header`].
pub const HEADER_WORDS: usize = 3;

/// Who sends to whom.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Header {
    /// The core it comes from.
    pub src: CoreId,
    /// The core it is for.
    pub dst: CoreId,
    /// The epoch of the sender's island.
    pub epoch: Epoch,
    /// How many more cores may relay it.
    pub hops: u8,
    /// See [`flags`].
    pub flags: u8,
    /// The sender's number for the request; an answer carries the same.
    pub request: u16,
    /// Room for an authentication tag; 0 so far.
    pub tag: u64,
}

const _: () = assert!(size_of::<Header>() == 8 * HEADER_WORDS);

/// Bits of [`Header::flags`].
pub mod flags {
    /// The message answers one with the same request number.
    pub const REPLY: u8 = 1;
    /// The receiver hands it on to the cores that it is an aggregation node for, as seen from the sender.
    pub const HAND_ON: u8 = 2;
}

/// The fixed-size content of one kind of message.
pub trait Body: FromBytes + IntoBytes + Immutable + KnownLayout + Copy {
    /// Tells it from all others.
    const KIND: u16;
}

/// The message that carries `body`.
#[inline]
pub fn encode<B: Body>(header: &Header, body: &B) -> Message {
    const { assert!(size_of::<B>() == BODY_BYTES) };
    let mut words = [0; 7];
    let head: [u64; HEADER_WORDS] = zerocopy::transmute!(*header);
    words[..HEADER_WORDS].copy_from_slice(&head);
    words[HEADER_WORDS..].as_mut_bytes().copy_from_slice(body.as_bytes());
    Message { words, kind: B::KIND, flags: 0 }
}

impl Message {
    /// Its header.
    #[inline]
    pub fn header(&self) -> Header {
        let [a, b, c, ..] = self.words;
        zerocopy::transmute!([a, b, c])
    }

    /// Replaces the header.
    #[inline]
    pub fn set_header(&mut self, header: &Header) {
        let head: [u64; HEADER_WORDS] = zerocopy::transmute!(*header);
        self.words[..HEADER_WORDS].copy_from_slice(&head);
    }

    /// Its body, if it is of this kind.
    #[inline]
    pub fn body<B: Body>(&self) -> Option<B> {
        const { assert!(size_of::<B>() == BODY_BYTES) };
        if self.kind != B::KIND {
            return None;
        }
        B::read_from_bytes(self.words[HEADER_WORDS..].as_bytes()).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::formats::echo::{Echo, check};
    use skerry_hal::IslandId;

    #[test]
    fn what_is_encoded_is_found_again() {
        let header = Header {
            src: CoreId::new(IslandId(1), 2),
            dst: CoreId::new(IslandId(3), 4),
            epoch: Epoch(5),
            hops: 6,
            flags: flags::REPLY,
            request: 7,
            tag: 8,
        };
        let body = Echo { number: 9, check: check(9), ..Echo::default() };
        let message = encode(&header, &body);
        assert_eq!(message.kind, Echo::KIND);
        assert_eq!(message.header(), header);
        assert_eq!(message.body(), Some(body));
        assert_eq!(message.words, [0x0003_0004_0001_0002, 0x0007_0106_0000_0005, 8, 9, check(9), 0, 0]);
        let other = Message { kind: 1, ..message };
        assert_eq!(other.body::<Echo>(), None);
    }
}
