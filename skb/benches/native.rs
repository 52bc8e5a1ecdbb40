//! The rule engine on the host: `cargo bench -p skerry-skb`. A line is `name value unit`.
//!
//! * `skb.multicast64`: from 10,000 facts that are records in a store to the multicast trees of all 64 source cores, as
//!   types: rules compiled, relations and indexes built, everything derived. Median of the rounds.
//! * `skb.multicast64.again`: the same trees once they have been worked out: 64 questions.
//! * `skb.multicast64.memory`: what relations, indexes and values take then; `.derived`: how many tuples were derived.

use skerry_skb::policy;
use skerry_skb::rules::{Knowledge, Limits};
use skerry_skb::sample::{machine, trees};
use std::time::Instant;

const ROUNDS: usize = 51;

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

fn milliseconds(since: Instant) -> f64 {
    since.elapsed().as_secs_f64() * 1e3
}

fn main() {
    // `cargo test --benches` passes `--test`: nothing to do there, a benchmark is no test.
    if std::env::args().any(|arg| arg == "--test") {
        return;
    }
    let store = machine();
    let (mut first, mut again, mut memory) = (vec![], vec![], (0, 0));
    for _ in 0..ROUNDS {
        let store = store.clone();
        let start = Instant::now();
        let mut knowledge = Knowledge::new(store, Limits::default());
        policy::load(&mut knowledge).expect("rules that ship");
        assert!(trees(&mut knowledge), "every core hears once");
        first.push(milliseconds(start));
        let start = Instant::now();
        trees(&mut knowledge);
        again.push(milliseconds(start));
        memory = knowledge.memory();
    }
    println!("skb.multicast64 {:.2} ms", median(first));
    println!("skb.multicast64.again {:.2} ms", median(again));
    println!("skb.multicast64.memory {} bytes", memory.0);
    println!("skb.multicast64.derived {} tuples", memory.1);
}
