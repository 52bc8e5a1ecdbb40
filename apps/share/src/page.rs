//! The frame by which one who lends tells one who holds what to do. Each writes words of his own.

use core::sync::atomic::AtomicU64;
use core::sync::atomic::Ordering::{Acquire, Release};
use core::time::Duration;
use skerry_user::cap::SELF;
use skerry_user::clock;
use skerry_user::spawn::CHANNEL_EVENT;
use skerry_user::vspace::Mapping;

/// Between looks at the other's word.
const LOOK: Duration = Duration::from_micros(200);
/// After so long in vain the other is not going to answer.
const PATIENCE: Duration = Duration::from_secs(20);

/// What is to be done: the second word; up to four more are arguments.
pub mod order {
    /// Answer with the argument and one.
    pub const ADD: u64 = 1;
    /// Take the next capability in; answer with its type | rights << 8.
    pub const TAKE: u64 = 2;
    /// The first word of the memory of capability number *n*, which is mapped.
    pub const READ: u64 = 3;
    /// Whether capability number *n* is still there.
    pub const HAS: u64 = 4;
    /// Makes one object of capability number *n*: type, first page, pages. Answers with what became of it.
    pub const RETYPE: u64 = 5;
    /// Shares capability number *n*: core, number, rights.
    pub const SHARE: u64 = 6;
    /// Takes back what was made of capability number *n*.
    pub const REVOKE: u64 = 7;
    /// End.
    pub const END: u64 = 8;
}

/// The frame.
pub struct Page {
    mapping: Mapping,
}

/// Waits a moment.
pub fn pause() {
    let _came = SELF.wait(CHANNEL_EVENT, clock::ticks() + clock::span(LOOK));
}

impl Page {
    pub const fn new(mapping: Mapping) -> Self {
        Self { mapping }
    }

    fn word(&self, n: u64) -> &'static AtomicU64 {
        self.mapping.word(8 * n)
    }

    /// Gives an order.
    pub fn give(&self, order: u64, args: [u64; 4]) {
        self.word(1).store(order, Release);
        for (n, arg) in args.into_iter().enumerate() {
            self.word(2 + n as u64).store(arg, Release);
        }
        let number = self.word(0).load(Acquire);
        self.word(0).store(number + 1, Release);
    }

    /// The answer to the last order; `None` if none comes.
    pub fn answer(&self) -> Option<u64> {
        let until = clock::ticks() + clock::span(PATIENCE);
        while self.word(8).load(Acquire) != self.word(0).load(Acquire) {
            if clock::ticks() > until {
                return None;
            }
            pause();
        }
        Some(self.word(9).load(Acquire))
    }

    /// Both.
    pub fn ask(&self, order: u64, args: [u64; 4]) -> Result<u64, super::Wrong> {
        self.give(order, args);
        self.answer().ok_or(super::Wrong::Is("no answer to", order))
    }

    /// The other side: the next order.
    pub fn next(&self) -> (u64, [u64; 4]) {
        while self.word(0).load(Acquire) == self.word(8).load(Acquire) {
            pause();
        }
        (self.word(1).load(Acquire), [2, 3, 4, 5].map(|n| self.word(n).load(Acquire)))
    }

    /// The other side: what came of it.
    pub fn tell(&self, value: u64) {
        self.word(9).store(value, Release);
        self.word(8).store(self.word(0).load(Acquire), Release);
    }
}
