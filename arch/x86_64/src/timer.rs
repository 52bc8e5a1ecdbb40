//! The clock is the time-stamp counter; deadlines come from the local APIC's timer, by point in time where the
//! processor can (TSC-deadline mode, SDM vol. 3 §10.5.4.1), else counted down.

use crate::cpu::Features;
use crate::interrupt::LocalApic;
use x86_64::instructions::port::Port;
use x86_64::registers::model_specific::Msr;

/// `IA32_TSC_DEADLINE`.
const TSC_DEADLINE: Msr = Msr::new(0x6e0);
/// Ticks of a PC's interval timer per second (Intel 8254 data sheet).
const PIT_FREQUENCY: u64 = 1_193_182;
/// How long the calibration takes, in ticks of the interval timer: 20 ms.
const PIT_SPAN: u16 = 23_864;

/// How fast this machine's clocks run.
#[derive(Clone, Copy, Debug)]
pub struct Rates {
    /// Ticks of the time-stamp counter per second.
    pub clock: u64,
    /// Ticks of the local APIC timer per second; 0 if nobody measured it, as TSC-deadline mode does not need it.
    pub apic: u64,
}

/// This core's deadline.
#[derive(Debug)]
pub struct Timer {
    apic: LocalApic,
    /// APIC timer ticks per clock tick, times 2³²; 0 in TSC-deadline mode.
    scale: u64,
    deadline: Option<u64>,
}

/// The time-stamp counter.
#[inline]
pub fn now() -> u64 {
    // SAFETY: reads a counter that every 64-bit processor has.
    unsafe { core::arch::x86_64::_rdtsc() }
}

impl Timer {
    /// Sets the timer up, with no deadline.
    pub fn new(features: &Features, apic: LocalApic, rates: Rates) -> Self {
        let scale = if features.tsc_deadline {
            apic.timer_deadline();
            0
        } else {
            apic.timer_one_shot();
            ((u128::from(rates.apic) << 32) / u128::from(rates.clock.max(1))) as u64
        };
        Self { apic, scale, deadline: None }
    }

    /// Asks for an interrupt at `deadline`. One that has passed comes at once.
    #[inline(never)]
    pub fn set(&mut self, deadline: Option<u64>) {
        if self.deadline != deadline {
            self.deadline = deadline;
            self.arm();
        }
    }

    /// The timer has struck: has the deadline really passed? If not (a far one is reached in several steps), the
    /// timer is started again. A deadline that has passed is gone.
    pub fn struck(&mut self) -> bool {
        match self.deadline {
            Some(deadline) if now() < deadline => {
                self.arm();
                false
            }
            Some(_) => {
                self.deadline = None;
                true
            }
            None => false,
        }
    }

    fn arm(&self) {
        if self.scale == 0 {
            // 0 disarms; a point in the past strikes at once.
            let point = self.deadline.map_or(0, |deadline| deadline.max(1));
            let mut register = TSC_DEADLINE;
            // SAFETY: the processor has the register (`Features::tsc_deadline`).
            unsafe { register.write(point) };
            return;
        }
        let count = self.deadline.map_or(0, |deadline| {
            let ticks = deadline.saturating_sub(now());
            let count = (u128::from(ticks) * u128::from(self.scale)) >> 32;
            // Never 0, which would stop the timer; at most what the register holds, and then again.
            count.clamp(1, u128::from(u32::MAX)) as u32
        });
        self.apic.timer_start(count);
    }
}

/// Measures the clocks against the interval timer, once, on an island's first core.
pub fn calibrate(features: &Features, apic: LocalApic) -> Rates {
    apic.timer_one_shot();
    apic.timer_start(u32::MAX);
    pit_start();
    let (tsc_0, apic_0, pit_0) = sample(apic);
    loop {
        let (tsc, left, pit) = sample(apic);
        let span = pit_0.wrapping_sub(pit);
        if span >= PIT_SPAN {
            let per_second = |ticks: u64| ticks * PIT_FREQUENCY / u64::from(span);
            apic.timer_start(0);
            return Rates {
                clock: features.tsc_frequency.unwrap_or_else(|| per_second(tsc - tsc_0)),
                apic: per_second(u64::from(apic_0 - left)),
            };
        }
        core::hint::spin_loop();
    }
}

/// All three counters at as nearly one moment as can be had: of a few tries, the one that took the shortest. On a
/// virtual machine anything may happen between two reads.
fn sample(apic: LocalApic) -> (u64, u32, u16) {
    let mut best = (u64::MAX, (0, 0, 0));
    for _ in 0..8 {
        let before = now();
        pit_latch();
        let left = apic.timer_left();
        let after = now();
        let pit = pit_read();
        if after - before < best.0 {
            best = (after - before, (before + (after - before) / 2, left, pit));
        }
    }
    best.1
}

/// Channel 2 counts down from 65535 and around (mode 2 would do as well; mode 0 raises no interrupt anywhere).
fn pit_start() {
    let mut gate = Port::<u8>::new(0x61);
    // SAFETY: system control port B of a PC.
    let old = unsafe { gate.read() };
    // SAFETY: gate on, speaker off.
    unsafe { gate.write(old & !2 | 1) };
    for (port, value) in [(0x43, 0xb0), (0x42, 0xff), (0x42, 0xff)] {
        // SAFETY: the interval timer of a PC; channel 2 drives the speaker, which is off.
        unsafe { Port::<u8>::new(port).write(value) };
    }
}

/// Remembers what channel 2 has left to count, for `pit_read`.
fn pit_latch() {
    // SAFETY: the latch command of a PC's interval timer.
    unsafe { Port::<u8>::new(0x43).write(0x80) };
}

/// The count latched last.
fn pit_read() -> u16 {
    let mut count = Port::<u8>::new(0x42);
    // SAFETY: reads the latched count, low byte first.
    let low = unsafe { count.read() };
    // SAFETY: as above.
    let high = unsafe { count.read() };
    u16::from_le_bytes([low, high])
}
