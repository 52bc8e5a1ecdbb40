//! Entropy: the processor's own source where it has one and user mode may use it, else whoever the program names. The
//! programs of a process server have that from the start ([`more`](crate::more)): it has its key from the island's random
//! device. Where there is neither, the answer is an error, never a number that is not random.

use crate::lock::Exclusive;
use core::fmt;

/// There is no source of entropy, or it has run dry.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct NoEntropy;

impl fmt::Display for NoEntropy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("no source of entropy: the processor has none, and no driver was named")
    }
}

/// Someone who has random bytes.
pub trait Source: Sync {
    /// Fills all of `to`.
    ///
    /// # Errors
    /// [`NoEntropy`]; what is in `to` then is worth nothing.
    fn fill(&self, to: &mut [u8]) -> Result<(), NoEntropy>;
}

static SOURCE: Exclusive<Option<&'static dyn Source>> = Exclusive::new(None);

/// Names who is asked where the processor has no source of its own.
pub fn set_source(source: &'static dyn Source) {
    SOURCE.with(|place| *place = Some(source));
}

/// Fills `to` with random bytes.
///
/// # Errors
/// [`NoEntropy`]; what is in `to` then is worth nothing.
pub fn fill(to: &mut [u8]) -> Result<(), NoEntropy> {
    fill_from(skerry_arch::user::random, SOURCE.with(|source| *source), to)
}

fn fill_from(
    mut own: impl FnMut() -> Option<u64>,
    source: Option<&dyn Source>,
    to: &mut [u8],
) -> Result<(), NoEntropy> {
    for at in (0..to.len()).step_by(8) {
        let part = &mut to[at..];
        let Some(word) = own() else { return source.ok_or(NoEntropy)?.fill(part) };
        let len = part.len().min(8);
        part[..len].copy_from_slice(&word.to_le_bytes()[..len]);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Fives;

    impl Source for Fives {
        fn fill(&self, to: &mut [u8]) -> Result<(), NoEntropy> {
            to.fill(5);
            Ok(())
        }
    }

    #[test]
    fn the_processor_comes_first_then_the_driver_then_an_error() {
        let mut bytes = [0; 11];
        assert_eq!(fill_from(|| Some(0x0202_0202_0202_0202), None, &mut bytes), Ok(()));
        assert_eq!(bytes, [2; 11]);
        assert_eq!(fill_from(|| None, Some(&Fives), &mut bytes), Ok(()));
        assert_eq!(bytes, [5; 11]);
        assert_eq!(fill_from(|| None, None, &mut bytes), Err(NoEntropy));
        // It runs dry after a word.
        let mut words = [7u64].into_iter();
        assert_eq!(fill_from(|| words.next(), Some(&Fives), &mut bytes), Ok(()));
        assert_eq!(bytes, [7, 0, 0, 0, 0, 0, 0, 0, 5, 5, 5]);
    }
}
