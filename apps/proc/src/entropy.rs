//! Random bytes for the programs of a core: a generator, whose key comes from the island's random device. Who is asked for
//! bytes has no key at first, wants one, and goes on once it has come; so no device is asked that nobody needs.

use chacha20::ChaCha20Rng;
use chacha20::rand_core::{Rng, SeedableRng};
use skerry_urpc::formats::Refusal;
use skerry_urpc::formats::device::{RANDOM, Random, RandomQuery};

/// Bytes of a key.
pub const KEY: usize = 32;
/// Words that one answer holds.
pub const WORDS: usize = 3;
/// Answers to one key: then another is mixed in. The old one serves until it has come.
const LASTS: u32 = 1 << 16;

/// Why there are no bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Dry {
    /// A key was asked for; ask again.
    Soon,
    /// The device was asked, and refused. Asking again asks it again.
    Refused(Refusal),
}

/// The generator, and where its next key is.
#[derive(Default)]
pub struct Entropy {
    generator: Option<ChaCha20Rng>,
    /// What came of the key that was asked for; `None`: none was.
    coming: Option<([u8; KEY], usize)>,
    /// Answers since the last key.
    answers: u32,
    refused: Option<Refusal>,
}

impl Entropy {
    /// The next words. `ask` sends the request for a key.
    ///
    /// # Errors
    /// [`Dry`].
    pub fn next(&mut self, ask: impl FnOnce(&RandomQuery)) -> Result<[u64; WORDS], Dry> {
        if let Some(refusal) = self.refused.take()
            && self.generator.is_none()
        {
            return Err(Dry::Refused(refusal));
        }
        if self.coming.is_none() && (self.generator.is_none() || self.answers >= LASTS) {
            self.coming = Some(([0; KEY], 0));
            ask(&RandomQuery { bytes: KEY as u32, ..RandomQuery::default() });
        }
        let generator = self.generator.as_mut().ok_or(Dry::Soon)?;
        self.answers = self.answers.saturating_add(1);
        Ok(core::array::from_fn(|_| generator.next_u64()))
    }

    /// Bytes of the key.
    pub fn take(&mut self, random: &Random) {
        let Some((key, have)) = &mut self.coming else { return };
        let len = usize::from(random.len).min(RANDOM).min(KEY - *have);
        key[*have..*have + len].copy_from_slice(&random.bytes[..len]);
        *have += len;
    }

    /// The last answer to the request for a key. What was there before is mixed in: it cannot be less random for that.
    pub fn done(&mut self, refusal: Refusal) {
        match self.coming.take() {
            Some((mut key, KEY)) => {
                if let Some(old) = &mut self.generator {
                    let mut mixed = [0; KEY];
                    old.fill_bytes(&mut mixed);
                    key.iter_mut().zip(mixed).for_each(|(byte, old)| *byte ^= old);
                }
                (self.generator, self.answers) = (Some(ChaCha20Rng::from_seed(key)), 0);
            }
            Some(_) => (self.refused, self.answers) = (Some(refusal), 0),
            None => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn give(entropy: &mut Entropy, byte: u8) {
        let random = Random { len: RANDOM as u8, bytes: [byte; RANDOM], ..Random::default() };
        entropy.take(&random);
        entropy.take(&random);
        entropy.done(Refusal::Other);
    }

    #[test]
    fn nothing_comes_without_a_key_and_it_is_asked_for_once() {
        let (mut entropy, mut asked) = (Entropy::default(), 0);
        for _ in 0..3 {
            assert_eq!(entropy.next(|query| asked += query.bytes), Err(Dry::Soon));
        }
        assert_eq!(asked, KEY as u32);
        give(&mut entropy, 7);
        let first = entropy.next(|_| panic!("it has a key")).unwrap();
        assert_ne!(first, entropy.next(|_| panic!("it has a key")).unwrap());
    }

    #[test]
    fn a_refusal_is_told_once_and_then_asked_again() {
        let mut entropy = Entropy::default();
        assert_eq!(entropy.next(|_| ()), Err(Dry::Soon));
        entropy.take(&Random { len: 5, ..Random::default() });
        entropy.done(Refusal::NotFound);
        assert_eq!(entropy.next(|_| panic!("not yet")), Err(Dry::Refused(Refusal::NotFound)));
        let mut asked = false;
        assert_eq!(entropy.next(|_| asked = true), Err(Dry::Soon));
        assert!(asked, "a key cut short is none");
    }

    #[test]
    fn another_key_comes_in_time_and_depends_on_the_first() {
        let words = |first| {
            let mut entropy = Entropy::default();
            let _soon = entropy.next(|_| ());
            give(&mut entropy, first);
            let mut asked = 0;
            for _ in 0..=LASTS {
                assert!(entropy.next(|_| asked += 1).is_ok(), "the old one serves meanwhile");
            }
            assert_eq!(asked, 1);
            give(&mut entropy, 9);
            entropy.next(|_| panic!("it has a key")).unwrap()
        };
        assert_ne!(words(1), words(2));
    }
}
