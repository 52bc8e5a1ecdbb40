//! `init`: the first domain of an island. It holds every capability, and ends when it has handed them all on.
//!
//! bundle → facts → PCI scan → monitor, console, shell, each with channels to those it talks to. A step that fails is
//! reported; the rest goes on without what it would have given.
#![no_std]
#![no_main]

extern crate alloc;

mod boot;

use skerry_user::Domain;
use skerry_user::logging::{error, info};

skerry_user::main!(main, heap = 8 << 20);

fn main(mut domain: Domain) {
    info!("skerry {}, {} KiB of RAM free", env!("CARGO_PKG_VERSION"), domain.mem.free_ram() >> 10);
    let Some(bundle) = boot::bundle::open(&mut domain) else {
        error!("without a bundle there is nothing to start");
        return;
    };
    let mut facts = boot::facts::discover(&mut domain);
    // Made first, for the PCI domain has a channel to it.
    let args = domain.info.args();
    let mut monitor = bundle.child(&mut domain, "monitor", args);
    let windows = boot::pci::scan(&mut domain, &bundle, &mut facts, monitor.as_mut());
    boot::children::start(&mut domain, &bundle, &facts, &windows, monitor);
}
