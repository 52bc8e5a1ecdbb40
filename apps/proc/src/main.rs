//! `proc`: one on each core. Holds the core's RAM, starts programs from the bundle, knows which there are.
#![no_std]
#![no_main]

extern crate alloc;

mod server;

use skerry_user::{Domain, log};

skerry_user::main!(main, heap = 512 << 10);

fn main(domain: Domain) {
    if let Some(server) = server::Server::new(domain) {
        log::queue(true);
        server.run();
    }
}
