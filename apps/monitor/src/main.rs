//! `monitor`: one on each core. Pumps events between channels, links, clients and the pure [`Monitor`].
#![no_std]
#![no_main]

extern crate alloc;

mod pump;

use alloc::vec::Vec;
use pump::Pump;
use skerry_abi::HwId;
use skerry_abi::domain::Purpose;
use skerry_monitor::{Config, LocalCore};
use skerry_skb::{CommandLine, Store, WireRecord};
use skerry_user::logging::{error, warn};
use skerry_user::vspace::R;
use skerry_user::{Domain, clock, log};

skerry_user::main!(main, heap = 2 << 20);

/// A request, or a core's start, may take so many times the bound that a peer may be silent.
const PATIENCE: u64 = 5;
/// How long to wait for islands that have not appeared, in milliseconds, unless the command line says it (`join_ms`).
const JOIN_MS: u64 = 30_000;

fn main(mut domain: Domain) {
    let args = domain.info.args();
    let Ok(cmdline) = CommandLine::parse(args.as_bytes()).inspect_err(|error| error!("{error}")) else {
        return;
    };
    // From here on they go the way of all lines, to the console's driver.
    log::queue(true);
    let store = facts(&mut domain);
    let island = store.island(cmdline.island);
    let me = domain.info.core;
    let first = me.local() == 0;
    let ms = |ms: u64| clock::ns_to_ticks(ms * 1_000_000);
    let bound = ms(cmdline.bound_ms.into());
    let mut config = Config::new(me, skerry_user::ISA);
    config.frequency = domain.info.frequency;
    config.node = island.node_of(me.local()).unwrap_or(0) as u16;
    config.bound = bound * PATIENCE;
    config.pause_bound = bound * PATIENCE;
    config.join_bound = ms(cmdline.get("join_ms").and_then(|t| t.parse().ok()).unwrap_or(JOIN_MS));
    config.start_window = 4;
    if first {
        let enabled = island.cores().into_iter().filter(|core| core.enabled);
        config.cores = enabled.map(|core| LocalCore { local: core.local, node: core.node as u16 }).collect();
        config.links = cmdline.links().map(|link| link.peer).collect();
    }
    let names: Vec<(u16, HwId)> = island.cores().iter().map(|core| (core.local, core.hw)).collect();
    Pump::new(domain, config, &cmdline, names, bound).run();
}

/// The facts: a listed frame on the first core, the third channel region on the others.
fn facts(domain: &mut Domain) -> Store {
    let mut store = Store::default();
    let listed = domain.info.caps_for(Purpose::Facts).next();
    let given = listed.map(|cap| (cap.cptr, cap.detail.min(cap.len), cap.len));
    let copied = || domain.info.caps_for(Purpose::Channel).nth(2).map(|cap| (cap.cptr, cap.len, cap.len));
    let Some((cap, used, len)) = given.or_else(copied) else { return store };
    let Ok(view) = domain.map(cap, len, R) else {
        warn!("facts cannot be mapped");
        return store;
    };
    let mut bytes = alloc::vec![0; used as usize];
    view.read(0, &mut bytes);
    for record in bytes.chunks_exact(size_of::<WireRecord>()) {
        // Behind the last record the frame is zero.
        if record.iter().all(|byte| *byte == 0) {
            break;
        }
        if let Err(error) = store.read_from(record) {
            warn!("facts: {error}");
        }
    }
    store
}
