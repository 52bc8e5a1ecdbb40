//! The knowledge base of an island: the service that ships, with the rules that ship, over what is to be known of a simulated
//! island. So the trees by which the monitors multicast are drawn by the policy that draws them on a real machine.

use crate::topology::Topology;
use skerry_app_skb::Service;
use skerry_app_skb::replica::Pace;
use skerry_hal::{CoreId, Epoch, HwId, IslandId};
use skerry_skb::policy::MulticastTree;
use skerry_skb::rules::{Knowledge, Limits};
use skerry_skb::{Core, Here, Latency, LinkEnd, LinkKind, Origin, Package, Source, Store, policy};
use std::cell::RefCell;
use std::collections::BTreeMap;

/// A machine, and what its islands know in an epoch.
type Known = (Option<Topology>, BTreeMap<(u16, u32), Knowledge>);

thread_local! {
    /// What islands of the last machine know when they boot: worked out once, and not for each seed.
    static KNOWN: RefCell<Known> = RefCell::default();
}

/// The knowledge base of an island that boots in this epoch. Other islands are asked again in a part of `bound`.
///
/// # Panics
/// If there is more to know than a store has room for, or the rules that ship are at fault.
pub fn service(machine: &Topology, island: IslandId, epoch: Epoch, bound: u64) -> Service {
    let knowledge = KNOWN.with_borrow_mut(|(of, known)| {
        if of.as_ref() != Some(machine) {
            known.clear();
            *of = Some(machine.clone());
        }
        known.entry((island.0, epoch.0)).or_insert_with(|| boots(machine, island, epoch)).clone()
    });
    Service::new(knowledge, island, epoch, Pace { retry: bound / 8, look: 2 * bound })
}

fn boots(machine: &Topology, island: IslandId, epoch: Epoch) -> Knowledge {
    let mut knowledge = Knowledge::new(facts(machine, island, epoch), Limits::default());
    policy::load(&mut knowledge).unwrap_or_else(|error| panic!("{error}"));
    let tree = MulticastTree::of(&mut knowledge, CoreId::new(island, 0));
    tree.unwrap_or_else(|error| panic!("{error}"));
    knowledge
}

fn facts(machine: &Topology, id: IslandId, epoch: Epoch) -> Store {
    let island = usize::from(id.0);
    let mut store = Store::default();
    let mut add = |source, fact: skerry_skb::Fact| {
        let origin = Origin { island: id, epoch, source };
        store.add(origin, fact).unwrap_or_else(|error| panic!("{error}"))
    };
    add(Source::Asserted, Here { home: id }.into());
    let shape = &machine.islands[island];
    let ns = |path| (machine.latency(path) * 1000 / machine.mhz) as u32;
    for local in 0..shape.cores {
        let package = u32::from(local / shape.package);
        let hw = HwId(local.into());
        add(Source::Discovered, Core { local, hw, enabled: true, node: package }.into());
        add(Source::Discovered, Package { core: CoreId::new(id, local), package }.into());
    }
    // One pair of cores for each two packages, as it would be measured; what a message takes inside one is measured.
    let packages = machine.packages(island);
    let apart = (0..packages).flat_map(|p| (0..packages).map(move |q| (p, q))).filter(|(p, q)| p != q);
    for (p, q) in apart {
        let (a, b) = (p * shape.package, q * shape.package);
        if b < shape.cores && b / shape.package == q {
            let (from, to) = (CoreId::new(id, a), CoreId::new(id, b));
            add(Source::Measured, Latency { from, to, ns: ns(machine.path(island, a, b)) }.into());
        }
    }
    for &(a, b) in machine.links.iter().filter(|(a, b)| [*a, *b].contains(&id.0)) {
        let peer = IslandId(if a == id.0 { b } else { a });
        let (core, kind) = (CoreId::new(id, 0), LinkKind::SharedMemory);
        add(Source::Asserted, LinkEnd { core, peer, kind, ns: ns(machine.link) }.into());
    }
    store
}
