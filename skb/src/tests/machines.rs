//! The paper's four machines (§4.1) as facts, with the latencies of its table 2 between cores that differ in how they
//! are joined; and the fleets' two islands. What the rules say about them is what one would draw by hand.

use crate::policy::{self, MulticastTree, Transport};
use crate::rules::{Knowledge, Limits};
use crate::*;
use proptest::prelude::*;

fn core(island: u16, local: u16) -> CoreId {
    CoreId::new(IslandId(island), local)
}

fn origin(island: u16, source: Source) -> Origin {
    Origin { island: IslandId(island), epoch: Epoch(1), source }
}

/// Packages of so many cores; `ns` of two cores, where it was measured.
struct Machine<'a> {
    packages: u16,
    each: u16,
    ns: &'a dyn Fn(u16, u16) -> Option<u32>,
}

impl Machine<'_> {
    fn add_to(&self, store: &mut Store, island: u16) {
        let cores = self.packages * self.each;
        let mut add = |source, fact: Fact| store.add(origin(island, source), fact).unwrap();
        for local in 0..cores {
            let node = u32::from(local / self.each);
            let hw = HwId(local.into());
            add(Source::Discovered, Core { local, hw, enabled: true, node: 0 }.into());
            add(Source::Discovered, Package { core: core(island, local), package: node }.into());
            for other in (0..cores).filter(|&other| other != local) {
                if let Some(ns) = (self.ns)(local, other) {
                    let (from, to) = (core(island, local), core(island, other));
                    add(Source::Measured, Latency { from, to, ns }.into());
                }
            }
        }
    }

    fn knowledge(&self) -> Knowledge {
        let mut store = Store::new(20_000);
        self.add_to(&mut store, 0);
        knowing(store, 0)
    }
}

fn knowing(mut store: Store, home: u16) -> Knowledge {
    store.add(origin(home, Source::Asserted), Here { home: IslandId(home) }).unwrap();
    let mut knowledge = Knowledge::new(store, Limits::default());
    policy::load(&mut knowledge).unwrap_or_else(|error| panic!("{error}"));
    knowledge
}

/// The tree, as `parent: children` by local number (`island.local` outside island 0).
fn drawn(knowledge: &mut Knowledge, source: CoreId) -> Vec<String> {
    let name = |core: &CoreId| {
        if core.island() == IslandId(0) { core.local().to_string() } else { core.to_string() }
    };
    let tree = MulticastTree::of(knowledge, source).unwrap_or_else(|error| panic!("{error}"));
    let branch = |branch: &policy::Branch| {
        let children: Vec<String> = branch.children.iter().map(name).collect();
        format!("{}: {}", name(&branch.parent), children.join(" "))
    };
    tree.branches.iter().map(branch).collect()
}

/// The 2×4-core Intel: two packages of two dies of two cores, a cache for each die, one bus for all.
fn intel_2x4(a: u16, b: u16) -> Option<u32> {
    Some(if a / 2 == b / 2 { 68 } else { 214 })
}

fn amd_2x2(a: u16, b: u16) -> Option<u32> {
    Some(if a / 2 == b / 2 { 161 } else { 190 })
}

/// Four packages in a square: the one across is two hops away.
fn amd_4x4(a: u16, b: u16) -> Option<u32> {
    Some([179, 218, 223][((a / 4) ^ (b / 4)).count_ones() as usize])
}

/// Eight packages in a ladder of two columns: neighbours are joined, the rest counts as two hops.
fn amd_8x4(a: u16, b: u16) -> Option<u32> {
    let (p, q) = (a / 4, b / 4);
    let joined = p ^ q == 1 || p % 2 == q % 2 && p.abs_diff(q) == 2;
    Some(if p == q {
        269
    } else if joined {
        307
    } else {
        309
    })
}

#[test]
fn the_intel_machine_has_one_bus() {
    let mut knowledge = Machine { packages: 2, each: 4, ns: &intel_2x4 }.knowledge();
    assert_eq!(
        drawn(&mut knowledge, core(0, 0)),
        ["0: 2 3 4 1", "4: 6 7 5"],
        "the other die is as far as the other package"
    );
    assert_eq!(drawn(&mut knowledge, core(0, 6)), ["0: 2 3 1", "6: 0 4 5 7"]);
}

#[test]
fn the_small_amd_machine_has_two_packages() {
    let mut knowledge = Machine { packages: 2, each: 2, ns: &amd_2x2 }.knowledge();
    assert_eq!(drawn(&mut knowledge, core(0, 0)), ["0: 2 1", "2: 3"]);
    assert_eq!(drawn(&mut knowledge, core(0, 3)), ["0: 1", "3: 0 2"]);
}

#[test]
fn the_square_is_told_across_first() {
    let mut knowledge = Machine { packages: 4, each: 4, ns: &amd_4x4 }.knowledge();
    assert_eq!(
        drawn(&mut knowledge, core(0, 0)),
        ["0: 12 4 8 1 2 3", "4: 5 6 7", "8: 9 10 11", "12: 13 14 15"]
    );
    assert_eq!(
        drawn(&mut knowledge, core(0, 6)),
        ["0: 1 2 3", "6: 8 0 12 4 5 7", "8: 9 10 11", "12: 13 14 15"]
    );
}

#[test]
fn the_ladder_is_told_far_ends_first() {
    let mut knowledge = Machine { packages: 8, each: 4, ns: &amd_8x4 }.knowledge();
    let tree = drawn(&mut knowledge, core(0, 0));
    assert_eq!(tree[0], "0: 12 16 20 24 28 4 8 1 2 3", "packages 1 and 2 are joined to package 0");
    assert_eq!(
        tree[1..],
        [
            "4: 5 6 7",
            "8: 9 10 11",
            "12: 13 14 15",
            "16: 17 18 19",
            "20: 21 22 23",
            "24: 25 26 27",
            "28: 29 30 31"
        ]
    );
}

#[test]
fn a_near_core_of_a_package_hands_on() {
    // Core 0 reaches core 5 sooner than core 4.
    let ns = |a: u16, b: u16| Some(if (a, b) == (0, 5) { 200 } else { 218 - u32::from(a / 4 == b / 4) * 39 });
    let mut knowledge = Machine { packages: 2, each: 4, ns: &ns }.knowledge();
    assert_eq!(drawn(&mut knowledge, core(0, 0)), ["0: 5 1 2 3", "5: 4 6 7"]);
}

#[test]
fn what_was_not_measured_is_guessed_in_the_right_order() {
    // One pair of each kind was measured.
    let some = |a: u16, b: u16| amd_4x4(a, b).filter(|_| a.is_multiple_of(4) && b % 4 == 1);
    let mut knowledge = Machine { packages: 4, each: 4, ns: &some }.knowledge();
    assert_eq!(
        drawn(&mut knowledge, core(0, 0)),
        ["0: 12 4 8 1 2 3", "4: 5 6 7", "8: 9 10 11", "12: 13 14 15"]
    );
    // Nothing was, but somebody has said how the packages are joined.
    let mut knowledge = Machine { packages: 4, each: 4, ns: &|_, _| None }.knowledge();
    for (from, to) in [(0, 1), (1, 3), (3, 2), (2, 0)] {
        let fact = Interconnect { from, to }.into();
        knowledge.insert(Record { fact, origin: origin(0, Source::Asserted) }).unwrap();
    }
    assert_eq!(
        drawn(&mut knowledge, core(0, 5)),
        ["0: 1 2 3", "5: 8 0 12 4 6 7", "8: 9 10 11", "12: 13 14 15"]
    );
    // Nobody has said anything.
    let mut knowledge = Machine { packages: 2, each: 2, ns: &|_, _| None }.knowledge();
    assert_eq!(drawn(&mut knowledge, core(0, 0)), ["0: 2 1", "2: 3"]);
}

#[test]
fn cores_come_and_go() {
    let mut knowledge = Machine { packages: 2, each: 4, ns: &intel_2x4 }.knowledge();
    let off = Record { fact: Offline { core: core(0, 4) }.into(), origin: origin(0, Source::Asserted) };
    knowledge.insert(off).unwrap();
    assert_eq!(
        drawn(&mut knowledge, core(0, 0)),
        ["0: 2 3 5 1", "5: 6 7"],
        "another core of the package hands on"
    );
    assert_eq!(drawn(&mut knowledge, core(0, 4)), [""; 0]);
    assert!(knowledge.remove(&off));
    assert_eq!(drawn(&mut knowledge, core(0, 0)), ["0: 2 3 4 1", "4: 6 7 5"]);
}

/// Islands of two packages of two cores, in a row: the last core of each holds the link to the next one's first.
fn row(islands: u16, home: u16) -> Knowledge {
    let mut store = Store::default();
    for island in 0..islands {
        Machine { packages: 2, each: 2, ns: &amd_2x2 }.add_to(&mut store, island);
        let mut end = |local, peer| {
            let link = LinkEnd {
                core: core(island, local),
                peer: IslandId(peer),
                kind: LinkKind::SharedMemory,
                ns: 5000,
            };
            store.add(origin(island, Source::Measured), link).unwrap();
        };
        if island > 0 {
            end(0, island - 1);
        }
        if island + 1 < islands {
            end(3, island + 1);
        }
    }
    knowing(store, home)
}

#[test]
fn other_islands_are_entered_through_who_holds_the_link() {
    let mut knowledge = row(3, 0);
    assert_eq!(
        drawn(&mut knowledge, core(0, 0)),
        ["0: 2 1", "2: 3", "3: 1.0", "1.0: 1.2 1.1", "1.2: 1.3", "1.3: 2.0", "2.0: 2.2 2.1", "2.2: 2.3"]
    );
    let mut middle = row(3, 1);
    assert_eq!(
        drawn(&mut middle, core(1, 1)),
        ["0: 1", "3: 0 2", "1.0: 3", "1.1: 1.2 1.0", "1.2: 1.3", "1.3: 2.0", "2.0: 2.2 2.1", "2.2: 2.3"]
    );
    assert_eq!(middle.forget(IslandId(2)), 4 + 4 + 12 + 1);
    assert_eq!(drawn(&mut middle, core(1, 1)), ["0: 1", "3: 0 2", "1.0: 3", "1.1: 1.2 1.0", "1.2: 1.3"]);
}

#[test]
fn a_window_is_held_by_the_first_core_until_somebody_says_otherwise() {
    let mut store = Store::default();
    for (island, peer) in [(0, 1), (1, 0)] {
        Machine { packages: 1, each: 2, ns: &amd_2x2 }.add_to(&mut store, island);
        let range = PhysRange::new(PhysAddr(1 << 32), 1 << 24);
        let window = Window { link: 0, address: PciAddress::default(), range, peer: Some(IslandId(peer)) };
        store.add(origin(island, Source::Discovered), window).unwrap();
    }
    let mut knowledge = knowing(store, 0);
    assert_eq!(drawn(&mut knowledge, core(0, 1)), ["0: 1.0", "1: 0", "1.0: 1.1"]);
    let end = LinkEnd { core: core(1, 1), peer: IslandId(0), kind: LinkKind::SharedMemory, ns: 900 };
    knowledge.insert(Record { fact: end.into(), origin: origin(1, Source::Measured) }).unwrap();
    assert_eq!(drawn(&mut knowledge, core(0, 1)), ["0: 1.1", "1: 0", "1.1: 1.0"]);
}

#[test]
fn a_transport_is_chosen() {
    let mut knowledge = row(3, 0);
    let mut between = |a, b| Transport::between(&mut knowledge, a, b).unwrap();
    assert_eq!(between(core(0, 1), core(0, 1)), Some(Transport::Local));
    assert_eq!(between(core(0, 1), core(0, 3)), Some(Transport::Memory));
    assert_eq!(between(core(0, 3), core(1, 0)), Some(Transport::Link(LinkKind::SharedMemory)));
    assert_eq!(between(core(0, 2), core(1, 0)), Some(Transport::Relay));
    assert_eq!(between(core(0, 3), core(2, 0)), Some(Transport::Relay));
    assert_eq!(between(core(0, 3), core(3, 0)), None, "there is no such island");
}

/// Four cores in two nodes, and a node of memory alone.
fn nodes() -> Knowledge {
    let mut store = Store::default();
    let mut add = |fact: Fact| store.add(origin(0, Source::Discovered), fact).unwrap();
    for local in 0..4 {
        add(Core { local, hw: HwId(0), enabled: true, node: u32::from(local / 2) }.into());
    }
    for node in 0..3 {
        add(MemoryNode { node, range: PhysRange::new(PhysAddr(u64::from(node) << 30), 1 << 30) }.into());
    }
    for (from, to, value) in [(0, 2, 40), (2, 0, 40), (1, 2, 15), (2, 1, 15)] {
        add(Distance { from, to, value }.into());
    }
    for (device, class) in
        [(1, 0x06_00_00), (2, 0x02_00_00), (3, 0x01_08_02), (4, 0x02_00_00), (5, 0x02_00_00)]
    {
        let address = PciAddress::new(0, 0, device, 0);
        add(PciDevice { address, vendor: 1, device: 2, class, pin: 0, noted_line: 255 }.into());
        if device > 2 {
            add(DeviceNear { address, node: 2 }.into());
        }
    }
    let (address, node) = (PciAddress::new(0, 0, 5, 0), 0);
    store.add(origin(0, Source::Asserted), DeviceNear { address, node }).unwrap();
    knowing(store, 0)
}

#[test]
fn memory_comes_from_near() {
    let mut knowledge = nodes();
    let mut order = |local| policy::memory_order(&mut knowledge, core(0, local)).unwrap();
    assert_eq!(order(0), [0, 1, 2]);
    assert_eq!(order(3), [1, 2, 0]);
    let mut plain = Machine { packages: 2, each: 2, ns: &amd_2x2 }.knowledge();
    assert_eq!(policy::memory_order(&mut plain, core(0, 3)).unwrap(), [0], "no memory has a node");
}

#[test]
fn devices_are_driven_from_near() {
    let mut knowledge = nodes();
    let mut driver = |device| policy::driver_core(&mut knowledge, PciAddress::new(0, 0, device, 0)).unwrap();
    assert_eq!(driver(1), None, "a bridge");
    assert_eq!(driver(2), Some(core(0, 0)), "nobody knows where it is");
    assert_eq!(driver(3), Some(core(0, 2)), "node 2 has no cores, and node 1 is nearest to it");
    assert_eq!(driver(4), Some(core(0, 3)), "the next one of the node is dealt to the next core");
    assert_eq!(driver(5), Some(core(0, 1)), "somebody says that it is at node 0");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 100, failure_persistence: None, ..Default::default() })]

    /// Whatever was measured: every core is told exactly once, by one that was told before.
    #[test]
    fn every_core_hears_once(
        (packages, each, source) in (1..5u16, 1..5u16).prop_flat_map(|(p, e)| (Just(p), Just(e), 0..p * e)), seed: u64, share in 0..8u64,
    ) {
        let ns = |a: u16, b: u16| {
            let mut random = super::wire::random(seed ^ u64::from(a) << 16 ^ u64::from(b));
            (random() % 8 < share).then(|| (random() % 5) as u32 + 100)
        };
        let mut knowledge = Machine { packages, each, ns: &ns }.knowledge();
        let tree = MulticastTree::of(&mut knowledge, core(0, source)).unwrap();
        let (mut told, mut next) = (vec![core(0, source)], 0);
        while let Some(&parent) = told.get(next) {
            told.extend(tree.children(parent));
            next += 1;
        }
        told.sort_unstable();
        prop_assert_eq!(told, (0..packages * each).map(|local| core(0, local)).collect::<Vec<_>>());
        prop_assert!(tree.children(core(0, source)).len() < usize::from(packages + each));
    }
}
