//! The same bytes everywhere: host, x86 guest and ARM guest make one vector of every message and compare.
//!
//! Each body is filled field by field with numbers that follow from its kind, and, beside it, the bytes that the fields
//! must have on the wire are written down one after the other, little-endian. Where the compiler of some ISA laid a body
//! out differently, the two differ, and [`check`] names the message; [`crc`] is what machines compare with each other.

use super::{Kind, PROTOCOLS, SAMPLES};
use crate::message::Message;
use crate::wire::{BODY_BYTES, Header};
use skerry_hal::{CoreId, Epoch, IslandId};

/// Fills fields with numbers, and notes the bytes they must have on the wire.
pub struct Source {
    state: u64,
    bytes: [u8; 64],
    used: usize,
}

impl Source {
    fn new(seed: u64) -> Self {
        Self { state: seed, bytes: [0; 64], used: 0 }
    }

    /// The next `N` bytes: those of a field whose little-endian form they are.
    fn take<const N: usize>(&mut self) -> [u8; N] {
        self.state = self.state.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(0x1405_7b7e_f767_814f);
        let all = (self.state ^ self.state >> 29).to_le_bytes();
        let mut taken = [0; N];
        taken.copy_from_slice(&all[..N]);
        self.bytes[self.used..self.used + N].copy_from_slice(&taken);
        self.used += N;
        taken
    }

    /// Closes a body: what its fields left is zero.
    pub(super) fn body(&self) -> [u8; BODY_BYTES] {
        core::array::from_fn(|i| self.bytes[i])
    }
}

/// A type that a field can have.
pub trait Sample {
    /// A value that follows from where `source` stands.
    fn sample(source: &mut Source) -> Self;
}

macro_rules! integers {
    ($($ty:ty)*) => {$(
        impl Sample for $ty {
            fn sample(source: &mut Source) -> Self {
                Self::from_le_bytes(source.take())
            }
        }
    )*};
}

integers!(u8 u16 u32 u64);

impl<T: Sample, const N: usize> Sample for [T; N] {
    fn sample(source: &mut Source) -> Self {
        core::array::from_fn(|_| T::sample(source))
    }
}

impl Sample for CoreId {
    fn sample(source: &mut Source) -> Self {
        Self::from_raw(u32::sample(source))
    }
}

impl Sample for Epoch {
    fn sample(source: &mut Source) -> Self {
        Self(u32::sample(source))
    }
}

impl Sample for IslandId {
    fn sample(source: &mut Source) -> Self {
        Self(u16::sample(source))
    }
}

fn header(source: &mut Source) -> Header {
    Header {
        src: Sample::sample(source),
        dst: Sample::sample(source),
        epoch: Sample::sample(source),
        hops: Sample::sample(source),
        flags: Sample::sample(source),
        request: Sample::sample(source),
        tag: Sample::sample(source),
    }
}

/// How one kind of message is made: given a header and a source, the message and the bytes of its body.
pub type Maker = fn(&Header, &mut Source) -> (Message, [u8; BODY_BYTES]);

/// Every kind of message with its maker, in the order of their numbers, wherever they are declared.
fn kinds() -> impl Iterator<Item = (&'static Kind, &'static Maker)> {
    let all = || {
        let makers = SAMPLES.iter().flat_map(|makers| *makers);
        PROTOCOLS.iter().flat_map(|(_, kinds)| *kinds).zip(makers)
    };
    let after = move |last: Option<u16>| {
        all()
            .filter(|(kind, _)| last.is_none_or(|last| kind.number > last))
            .min_by_key(|(kind, _)| kind.number)
    };
    core::iter::successors(after(None), move |(kind, _)| after(Some(kind.number)))
}

/// The messages: each with the 64 bytes it must have, `sequence` being its number.
fn messages() -> impl Iterator<Item = (&'static str, Message, [u8; 64])> {
    kinds().enumerate().map(|(sequence, (kind, make))| {
        let mut source = Source::new(kind.number.into());
        let header = header(&mut source);
        let mut wire = source.bytes;
        source = Source::new(!u64::from(kind.number));
        let (message, body) = make(&header, &mut source);
        wire[24..56].copy_from_slice(&body);
        wire[56..60].copy_from_slice(&(sequence as u32).to_le_bytes());
        wire[60..62].copy_from_slice(&kind.number.to_le_bytes());
        (kind.name, message, wire)
    })
}

/// The bytes of the `index`-th message as this machine puts them into a slot; `None` past the last.
pub fn vector(index: usize) -> Option<[u8; 64]> {
    messages().nth(index).map(|(_, message, _)| slot_bytes(&message, index as u32))
}

fn slot_bytes(message: &Message, sequence: u32) -> [u8; 64] {
    let words = message.words.into_iter().chain([message.last_word(sequence)]);
    let mut bytes = [0; 64];
    for (to, word) in bytes.chunks_exact_mut(8).zip(words) {
        // As the machine itself lays the word out in memory.
        to.copy_from_slice(&word.to_ne_bytes());
    }
    bytes
}

/// Compares every message with what it must be; `Err` names the first that differs.
pub fn check() -> Result<usize, &'static str> {
    let mut count = 0;
    for (name, message, wire) in messages() {
        if slot_bytes(&message, count as u32) != wire {
            return Err(name);
        }
        count += 1;
    }
    Ok(count)
}

/// CRC-32 (IEEE 802.3, reflected) over all vectors.
pub fn crc() -> u32 {
    let mut crc = !0;
    for (sequence, (_, message, _)) in messages().enumerate() {
        crc = update(crc, &slot_bytes(&message, sequence as u32));
    }
    !crc
}

fn update(mut crc: u32, bytes: &[u8]) -> u32 {
    for byte in bytes {
        crc ^= u32::from(*byte);
        for _ in 0..8 {
            crc = crc >> 1 ^ (0xedb8_8320 & (crc & 1).wrapping_neg());
        }
    }
    crc
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_crc_is_the_well_known_one() {
        assert_eq!(!update(!0, b"123456789"), 0xcbf4_3926);
    }

    #[test]
    fn every_message_is_what_it_must_be() {
        let kinds: usize = PROTOCOLS.iter().map(|(_, kinds)| kinds.len()).sum();
        assert_eq!(check(), Ok(kinds));
        assert!(vector(kinds - 1).is_some());
        assert_eq!(vector(kinds), None);
    }
}
