//! Time: the counter that every core of an island shares, and its units.

use core::sync::atomic::{AtomicU64, Ordering};
use core::time::Duration;

static FREQUENCY: AtomicU64 = AtomicU64::new(0);

/// Sets the counter's frequency; the runtime does so once.
pub(crate) fn set_frequency(hz: u64) {
    FREQUENCY.store(hz, Ordering::Relaxed);
}

/// Ticks per second.
pub fn frequency() -> u64 {
    FREQUENCY.load(Ordering::Relaxed).max(1)
}

/// The counter.
#[inline]
pub fn ticks() -> u64 {
    skerry_arch::user::ticks()
}

/// Nanoseconds in so many ticks.
pub fn ticks_to_ns(ticks: u64) -> u64 {
    scale(ticks, 1_000_000_000, frequency())
}

/// Ticks in so many nanoseconds.
pub fn ns_to_ticks(ns: u64) -> u64 {
    scale(ns, frequency(), 1_000_000_000)
}

/// Ticks in a span.
pub fn span(duration: Duration) -> u64 {
    ns_to_ticks(u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX))
}

/// Nanoseconds since the counter's zero.
pub fn now_ns() -> u64 {
    ticks_to_ns(ticks())
}

fn scale(value: u64, to: u64, from: u64) -> u64 {
    u64::try_from(u128::from(value) * u128::from(to) / u128::from(from)).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scaling_neither_overflows_nor_loses_the_unit() {
        assert_eq!(scale(62_500_000, 1_000_000_000, 62_500_000), 1_000_000_000);
        assert_eq!(scale(u64::MAX, 1_000_000_000, 1), u64::MAX);
        assert_eq!(scale(3, 1_000_000_000, 2), 1_500_000_000);
    }
}
