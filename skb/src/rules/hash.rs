//! One hash for tuples and values. It has no secret: who writes rules and facts is trusted not to want them slow, and
//! nothing is ever iterated in the order of hashes.

use core::hash::{Hash, Hasher};

/// A multiply-and-rotate hash.
#[derive(Default)]
pub(crate) struct Mix(u64);

const K: u64 = 0x517c_c1b7_2722_0a95;

impl Mix {
    fn word(&mut self, word: u64) {
        self.0 = (self.0.rotate_left(5) ^ word).wrapping_mul(K);
    }
}

impl Hasher for Mix {
    fn write(&mut self, bytes: &[u8]) {
        for chunk in bytes.chunks(8) {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            self.word(u64::from_le_bytes(word));
        }
    }
    fn write_u32(&mut self, word: u32) {
        self.word(word.into());
    }
    fn write_u64(&mut self, word: u64) {
        self.word(word);
    }
    /// The table takes its place from the low bits, which a multiplication stirs least.
    fn finish(&self) -> u64 {
        self.0 ^ self.0.rotate_left(32)
    }
}

/// The hash of a value.
pub(crate) fn of(value: &impl Hash) -> u64 {
    let mut mix = Mix::default();
    value.hash(&mut mix);
    mix.finish()
}

/// The hash of some words.
pub(crate) fn words(words: impl Iterator<Item = u32>) -> u64 {
    let mut mix = Mix::default();
    words.for_each(|word| mix.word(word.into()));
    mix.finish()
}
