//! A machine to measure with: 64 cores of which 10,000 facts are known.

use crate::policy::MulticastTree;
use crate::rules::Knowledge;
use crate::*;

const PACKAGES: u32 = 8;
const CORES: u16 = 64;
const FACTS: usize = 10_000;

/// 8 packages of 8 cores, a node each, as measured: latency and throughput of every pair; the rest is what cores can do.
pub fn machine() -> Store {
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
        let name = Name::new(&alloc::format!("feature{}", n / CORES)).expect("short");
        store.add(origin, CpuFeature { core: core(n % CORES), name }).expect("room for it");
    }
    store
}

/// Draws the multicast trees of all source cores; whether in each every other core hears once.
pub fn trees(knowledge: &mut Knowledge) -> bool {
    (0..CORES).all(|local| {
        let tree = MulticastTree::of(knowledge, CoreId::new(IslandId(0), local));
        let hear =
            |tree: MulticastTree| tree.branches.iter().map(|branch| branch.children.len()).sum::<usize>();
        tree.is_ok_and(|tree| hear(tree) == usize::from(CORES - 1))
    })
}
