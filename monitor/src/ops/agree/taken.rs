//! Which numbers have come, each once.

/// The numbers that were taken: the highest, and which of the 64 up to it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash, Default)]
pub struct Taken {
    high: u32,
    bits: u64,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Number {
    New,
    Taken,
    /// Too old to tell.
    Old,
}

impl Taken {
    /// Takes a number.
    pub fn take(&mut self, seq: u32) -> Number {
        let ahead = seq.wrapping_sub(self.high) as i32;
        if ahead > 0 {
            self.bits = self.bits.checked_shl(ahead as u32).unwrap_or(0) | 1;
            self.high = seq;
            return Number::New;
        }
        let Some(bit) = 1_u64.checked_shl(ahead.unsigned_abs()) else { return Number::Old };
        if self.bits & bit != 0 {
            return Number::Taken;
        }
        self.bits |= bit;
        Number::New
    }

    /// Takes a number of which the lower half is known.
    pub fn take_half(&mut self, half: u16) -> Number {
        let ahead = half.wrapping_sub(self.high as u16) as i16;
        self.take(self.high.wrapping_add_signed(ahead.into()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_taken_once_in_any_order() {
        let mut taken = Taken::default();
        let answers = [1, 3, 2, 3, 2, 70, 4, 7, 71, 6].map(|seq| taken.take(seq));
        use Number::{New, Old, Taken as Again};
        assert_eq!(answers, [New, New, New, Again, Again, New, Old, New, New, Old]);
    }

    #[test]
    fn half_a_number_tells_which() {
        let mut taken = Taken::default();
        // Of half of all numbers the rest says whether they are new.
        for (half, answer) in
            [(1, Number::New), (60_000, Number::Old), (30_000, Number::New), (60_000, Number::New)]
        {
            assert_eq!(taken.take_half(half), answer, "{half}");
        }
        for (half, answer) in [(65_535, Number::New), (1, Number::New), (2, Number::New), (1, Number::Taken)]
        {
            assert_eq!(taken.take_half(half), answer, "{half}, behind all others");
        }
    }
}
