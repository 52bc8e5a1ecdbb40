//! How much RAM a process may have besides what it was made of.

/// Pieces of RAM that a process may have: each costs the server a slot.
pub const MAX_PIECES: u32 = 128;

/// The account of a process.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Account {
    limit: u64,
    used: u64,
    pieces: u32,
}

impl Account {
    /// An empty one.
    pub const fn new(limit: u64) -> Self {
        Self { limit, used: 0, pieces: 0 }
    }

    /// Notes a piece. Answers `false`, noting nothing, if it is too much.
    #[must_use]
    pub const fn take(&mut self, len: u64) -> bool {
        if len > self.limit - self.used || self.pieces == MAX_PIECES {
            return false;
        }
        self.used += len;
        self.pieces += 1;
        true
    }

    /// A piece that was noted has come back.
    pub const fn give(&mut self, len: u64) {
        self.used = self.used.saturating_sub(len);
        self.pieces = self.pieces.saturating_sub(1);
    }

    /// Bytes noted.
    pub const fn used(&self) -> u64 {
        self.used
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_byte_and_no_piece_beyond_the_limit() {
        let mut account = Account::new(10);
        assert!(account.take(6) && !account.take(5) && account.take(4) && !account.take(1));
        account.give(6);
        assert_eq!((account.used(), account.take(u64::MAX), account.take(6)), (4, false, true));
        let mut account = Account::new(u64::MAX);
        assert!((0..MAX_PIECES).all(|_| account.take(1)) && !account.take(1));
        account.give(1);
        assert!(account.take(1));
    }
}
