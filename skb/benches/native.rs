//! The rule engine on the host: `cargo bench -p skerry-skb`. A line is `name value unit`.
//!
//! * `skb.multicast64`: from 10,000 facts that are records in a store to the multicast trees of all 64 source cores, as
//!   types: rules compiled, relations and indexes built, everything derived. Median of the rounds.
//! * `skb.multicast64.again`: the same trees once they have been worked out: 64 questions.
//! * `skb.multicast64.memory`: what relations, indexes and values take then; `.derived`: how many tuples were derived.

use skerry_skb::policy::{self, MulticastTree};
use skerry_skb::rules::{Knowledge, Limits};
use skerry_skb::*;
use std::time::Instant;

const ROUNDS: usize = 51;
const PACKAGES: u32 = 8;
const CORES: u16 = 64;
const FACTS: usize = 10_000;

/// 8 packages of 8 cores, a node each, as measured: latency and throughput of every pair; the rest is what cores can do.
fn machine() -> Store {
    let mut store = Store::new(FACTS);
    let origin = Origin { island: IslandId(0), epoch: Epoch(1), source: Source::Discovered };
    let mut add = |fact: Fact| store.add(origin, fact).expect("room for it");
    let core = |local| CoreId::new(IslandId(0), local);
    let package = |local: u16| u32::from(local) / (u32::from(CORES) / PACKAGES);
    add(Here { home: IslandId(0) }.into());
    for local in 0..CORES {
        add(Core { local, hw: HwId(local.into()), enabled: true, node: package(local) }.into());
        add(Package { core: core(local), package: package(local) }.into());
        for other in (0..CORES).filter(|&other| other != local) {
            let ns = match (package(local) ^ package(other)).count_ones() {
                0 => 269,
                hops => 300 + 7 * hops + (u32::from(local) * 31 + u32::from(other) * 17) % 5,
            };
            let (from, to) = (core(local), core(other));
            add(Latency { from, to, ns }.into());
            add(Throughput { from, to, per_ms: 1_000_000 / ns }.into());
        }
    }
    for from in 0..PACKAGES {
        for to in 0..PACKAGES {
            add(Distance { from, to, value: if from == to { 10 } else { 16 } }.into());
        }
    }
    for n in 0.. {
        if store.len() == FACTS {
            return store;
        }
        let name = Name::new(&format!("feature{}", n / CORES)).expect("short");
        store.add(origin, CpuFeature { core: core(n % CORES), name }).expect("room for it");
    }
    store
}

fn trees(knowledge: &mut Knowledge) -> usize {
    let tree = |local| MulticastTree::of(knowledge, CoreId::new(IslandId(0), local)).expect("a tree");
    (0..CORES)
        .map(tree)
        .map(|tree| tree.branches.iter().map(|branch| branch.children.len()).sum::<usize>())
        .sum()
}

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
        assert_eq!(
            trees(&mut knowledge),
            usize::from(CORES) * usize::from(CORES - 1),
            "every core hears once"
        );
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
