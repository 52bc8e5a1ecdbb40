//! One core's counts. Its own thread alone writes them; whoever reports reads them.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Entries of a core between two reports without a record.
pub const NEWS: u64 = 1 << 14;

/// Before a core has left the CPU driver for the first time: it boots, and nothing is counted.
const BOOTS: u64 = u64::MAX;

/// A core's counts.
pub struct Core {
    /// Instructions of the entry under way; 0: it is outside; [`BOOTS`].
    running: AtomicU64,
    /// Where the entry under way began.
    began: AtomicU64,
    /// The most instructions of an entry.
    pub longest: AtomicU64,
    /// Where that one began.
    pub at: AtomicU64,
    /// Entries so far.
    pub entries: AtomicU64,
}

impl Core {
    /// A core that boots.
    pub const fn new() -> Self {
        Self {
            running: AtomicU64::new(BOOTS),
            began: AtomicU64::new(0),
            longest: AtomicU64::new(0),
            at: AtomicU64::new(0),
            entries: AtomicU64::new(0),
        }
    }

    /// An instruction of the CPU driver.
    pub fn step(&self, pc: u64) {
        match self.running.load(Relaxed) {
            BOOTS => {}
            0 => {
                self.began.store(pc, Relaxed);
                self.running.store(1, Relaxed);
            }
            steps => self.running.store(steps + 1, Relaxed),
        }
    }

    /// That was the entry's last. Answers whether it is a record.
    pub fn leave(&self) -> bool {
        let steps = self.running.load(Relaxed);
        self.running.store(0, Relaxed);
        if steps == BOOTS {
            return false;
        }
        self.entries.store(self.entries.load(Relaxed) + 1, Relaxed);
        let record = steps > self.longest.load(Relaxed);
        if record {
            self.longest.store(steps, Relaxed);
            self.at.store(self.began.load(Relaxed), Relaxed);
        }
        record
    }
}
