//! How much of a core a program has: how often it comes round in a loop.

use alloc::vec::Vec;
use core::time::Duration;
use skerry_user::{clock, println};

/// Counts how often it comes round in each span, of a quarter of a second, of the core's clock, which is the same for all its
/// programs: the span's number, and the count. It wants the core all the time.
pub fn count(spans: u64) -> Vec<(u64, u64)> {
    let span = clock::span(Duration::from_millis(250));
    let mut counts: Vec<(u64, u64)> = Vec::with_capacity(spans as usize);
    let first = clock::ticks() / span;
    loop {
        let now = clock::ticks() / span;
        if now - first >= spans {
            return counts;
        }
        match counts.last_mut() {
            Some((at, count)) if *at == now => *count += 1,
            _ => counts.push((now, 1)),
        }
    }
}

/// A line for each.
pub fn say(counts: &[(u64, u64)]) {
    for (at, count) in counts {
        println!("span {at} turns {count}");
    }
}
