//! The rule engine in a guest: the figure that `skb/benches/native.rs` takes on the host.

use skerry_skb::policy;
use skerry_skb::rules::{Knowledge, Limits};
use skerry_skb::sample::{machine, trees};
use skerry_user::clock;

/// Ticks from 10,000 facts in a store to the multicast trees of all 64 source cores.
pub fn multicast64() -> Option<u64> {
    let store = machine();
    let start = clock::ticks();
    let mut knowledge = Knowledge::new(store, Limits::default());
    policy::load(&mut knowledge).ok()?;
    trees(&mut knowledge).then(|| clock::ticks() - start)
}
