//! A bounded histogram of durations: the minimum exact, quantiles to one part in 32.
//!
//! Log-linear, after the idea of HdrHistogram: each power of two is divided into [`STEPS`] equal steps, so the
//! relative error is bounded and the size is fixed, whatever a clock counts.

use alloc::boxed::Box;

/// Steps in each power of two.
const STEPS: u64 = 32;
const STEP_BITS: u32 = STEPS.trailing_zeros();
const BUCKETS: usize = (64 - STEP_BITS as usize + 1) * STEPS as usize;

/// Counts durations.
pub struct Histogram {
    counts: Box<[u32; BUCKETS]>,
    total: u64,
    min: u64,
}

impl Default for Histogram {
    fn default() -> Self {
        Self::new()
    }
}

impl Histogram {
    /// An empty one.
    pub fn new() -> Self {
        Self { counts: Box::new([0; BUCKETS]), total: 0, min: u64::MAX }
    }

    /// Counts `value`.
    #[inline]
    pub fn add(&mut self, value: u64) {
        let count = &mut self.counts[bucket(value)];
        *count = count.saturating_add(1);
        self.total += 1;
        self.min = self.min.min(value);
    }

    /// How many were counted.
    pub fn total(&self) -> u64 {
        self.total
    }

    /// The smallest; 0 if there is none.
    pub fn min(&self) -> u64 {
        if self.total == 0 { 0 } else { self.min }
    }

    /// The value that `percent` of all are at or below, to the middle of its step; 0 if there is none.
    pub fn quantile(&self, percent: u64) -> u64 {
        let rank = (self.total * percent).div_ceil(100).max(1);
        let mut seen = 0;
        for (index, &count) in self.counts.iter().enumerate() {
            seen += u64::from(count);
            if seen >= rank {
                return middle(index).max(self.min());
            }
        }
        0
    }
}

/// Which bucket counts `value`.
const fn bucket(value: u64) -> usize {
    if value < STEPS {
        return value as usize;
    }
    let power = 63 - value.leading_zeros() - STEP_BITS;
    ((power as u64 + 1) * STEPS + ((value >> power) - STEPS)) as usize
}

/// The middle of a bucket.
const fn middle(index: usize) -> u64 {
    let (power, step) = (index as u64 / STEPS, index as u64 % STEPS);
    if power == 0 {
        return step;
    }
    let width = 1 << (power - 1);
    (STEPS + step) * width + width / 2
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_value_lies_within_a_thirty_second_of_its_bucket() {
        let mut value = 1_u64;
        while value < u64::MAX / 3 {
            for v in [value, value + 1, value * 2 - 1] {
                let error = middle(bucket(v)).abs_diff(v);
                assert!(error <= v / STEPS, "{v}: off by {error}");
            }
            value = value * 3 / 2 + 1;
        }
        assert!(bucket(u64::MAX) < BUCKETS);
    }

    #[test]
    fn quantiles_of_a_ramp() {
        let mut h = Histogram::new();
        for v in 1..=1000 {
            h.add(v);
        }
        assert_eq!((h.min(), h.total()), (1, 1000));
        assert!(h.quantile(50).abs_diff(500) <= 16, "{}", h.quantile(50));
        assert!(h.quantile(99).abs_diff(990) <= 31, "{}", h.quantile(99));
    }

    #[test]
    fn one_value_is_every_quantile() {
        let mut h = Histogram::new();
        h.add(1_000_003);
        assert_eq!(h.min(), 1_000_003);
        assert!(h.quantile(1) >= h.min() && h.quantile(50) == h.quantile(99));
    }

    #[test]
    fn an_empty_one_says_zero() {
        let h = Histogram::new();
        assert_eq!((h.min(), h.quantile(50), h.quantile(99)), (0, 0, 0));
    }
}
