//! `irq.deliver`: how long an interrupt takes to its driver, while this domain runs.
//!
//! This domain asks the driver for as many bytes as one buffer of the device holds, lets it run until it has rung the
//! device's bell and waits, and then reads the clock over and over. Where two readings lie far apart, the core was lost:
//! to the driver, if the time at which that had the interrupt's message in hand lies between them. What was before is the
//! last instruction that this domain ran, so that the kernel's entry, the wake-up, the switch and the driver's taking of
//! the message are all in it. Nothing of the way is there for this alone.

use super::drivers::Driver;
use alloc::vec::Vec;
use skerry_abi::CoreId;
use skerry_urpc::Transport;
use skerry_urpc::formats::device::{Fill, Measured, RANDOM};
use skerry_urpc::wire::{Header, encode};
use skerry_user::cap::SELF;
use skerry_user::clock;

/// Samples whose median counts.
pub const SAMPLES: usize = 1001;
/// Rounds after which it is given up.
const ROUNDS: usize = 16 * SAMPLES;
/// Bytes of a buffer of the device's.
const BUFFER: u32 = 64;
/// Ticks that one round waits for the interrupt.
const PATIENCE: u64 = 2_000_000;
/// Readings of the clock that lie so many times as far apart as they usually do say that the core was lost.
const LOST: u64 = 8;
/// The number of its requests, which no client's has: see `Service::ask`.
pub const NUMBER: u16 = 0;

/// A measurement under way.
pub struct Meter {
    /// Who asked for it.
    pub who: (CoreId, u16),
    samples: Vec<u64>,
    /// Ticks from one reading of the clock to the next.
    reading: u64,
    rounds: usize,
    /// Answers that are to come before the next round.
    owed: u32,
    /// When the core was lost, and when it was back: in the last round, and in the one before, whose interrupt is the last
    /// that the driver has told of.
    lost: [Option<(u64, u64)>; 2],
}

impl Meter {
    /// One that has not begun.
    pub fn new(who: (CoreId, u16)) -> Self {
        let mut readings: Vec<u64> = (0..SAMPLES).map(|_| clock::ticks().abs_diff(clock::ticks())).collect();
        readings.sort_unstable();
        let reading = readings[SAMPLES / 2];
        Self { who, samples: Vec::new(), reading, rounds: 0, owed: 0, lost: [None; 2] }
    }

    /// The driver has answered; what it said of its last interrupt came before.
    pub const fn answered(&mut self) {
        self.owed = self.owed.saturating_sub(1);
    }

    /// Takes what the last round found, and does the next one. What was measured, when there is enough.
    pub fn go_on(&mut self, driver: &mut Driver) -> Option<Measured> {
        if self.owed > 0 {
            let _refused = SELF.give_way();
            return None;
        }
        let came = driver.arrived.ticks;
        let [last, before] = self.lost;
        if let Some((from, _)) = before.filter(|(from, to)| (*from..*to).contains(&came)) {
            self.samples.push(came - from);
        }
        let chan = driver.chan.as_mut().filter(|_| self.samples.len() < SAMPLES && self.rounds < ROUNDS);
        let Some(chan) = chan else { return Some(self.measured()) };
        self.rounds += 1;
        let mut left = BUFFER;
        while left > 0 {
            let fill = Fill { bytes: left.min(RANDOM as u32), ..Fill::default() };
            // There is room: what was asked before has been answered.
            let _full = chan.try_send(&encode(&Header { request: NUMBER, ..Header::default() }, &fill));
            (left, self.owed) = (left - fill.bytes, self.owed + 1);
        }
        chan.kick();
        let _refused = SELF.give_way();
        self.lost = [self.watch(), last];
        None
    }

    /// Reads the clock until the core is lost; when that was, and when it was back.
    fn watch(&self) -> Option<(u64, u64)> {
        let lost = LOST * self.reading.max(1);
        let begin = clock::ticks();
        let mut last = begin;
        while last - begin < PATIENCE {
            let now = clock::ticks();
            if now - last > lost {
                return Some((last, now));
            }
            last = now;
        }
        None
    }

    fn measured(&mut self) -> Measured {
        self.samples.sort_unstable();
        let median = self.samples.get(self.samples.len() / 2).copied().unwrap_or(0);
        let count = self.samples.len() as u32;
        Measured { ticks: median.saturating_sub(self.reading), count, ..Measured::default() }
    }
}
