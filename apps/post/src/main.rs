//! `post`: two programs that send each other numbered messages, on whichever cores of whichever ISA.
//!
//! | arguments | what it does |
//! | --- | --- |
//! | `serve=NAME count=N` | offers an endpoint under that name, and takes N messages, which must come in order |
//! | `send=NAME core=I.L count=N` | wants the endpoint that core offers under the name, and sends N messages to it |
//! | … `slow` | a server that dawdles: its ring fills, and senders wait for room |
//!
//! Status 0: all was sent or received. 1: something was lost, doubled or refused. 3: the other end is gone.
#![no_std]
#![no_main]

extern crate alloc;

use core::time::Duration;
use skerry_user::abi::dispatcher::event;
use skerry_user::abi::{CoreId, Error, IslandId};
use skerry_user::cap::SELF;
use skerry_user::lrpc::{Ring, Rings, send};
use skerry_user::remote::{Broker, until_room};
use skerry_user::spawn::CHANNEL_EVENT;
use skerry_user::{Domain, ISA, clock, println};

skerry_user::main!(main, heap = 32 << 10);

/// The other end is gone.
const GONE: u8 = 3;

fn main(mut domain: Domain) -> u8 {
    let made = Rings::new(&mut domain)
        .and_then(|mut rings| rings.make(&mut domain.mem, 8, CHANNEL_EVENT))
        .and_then(|ring| Ok((ring, domain.mem.slot()?)));
    let (ring, receive) = match made {
        Ok(made) => made,
        Err(error) => return fail("no ring", error),
    };
    ring.receive_into(receive);
    let Some(broker) = Broker::listed(&domain) else {
        println!("no endpoint of the monitor");
        return 1;
    };
    let info = domain.info;
    let count = info.arg("count").and_then(|n| n.parse().ok()).unwrap_or(1);
    let core = info.arg("core").and_then(core_id);
    match (info.arg("serve"), info.arg("send"), core) {
        (Some(name), ..) => {
            let slow = info.args().split(' ').any(|word| word == "slow");
            serve(broker, ring, name, count, slow)
        }
        (_, Some(name), Some(core)) => post(broker, ring, (core, name), count),
        _ => {
            println!("usage: post serve=NAME count=N [slow] | post send=NAME core=ISLAND.LOCAL count=N");
            2
        }
    }
}

fn core_id(text: &str) -> Option<CoreId> {
    let (island, local) = text.split_once('.')?;
    Some(CoreId::new(IslandId(island.parse().ok()?), local.parse().ok()?))
}

fn fail(what: &str, error: Error) -> u8 {
    println!("{what}: {error}");
    1
}

fn sleep(time: Duration) {
    let _came = SELF.wait(event::ROOM, clock::ticks() + clock::span(time));
}

fn serve(broker: Broker, mut ring: Ring, name: &str, count: u64, slow: bool) -> u8 {
    let endpoint = ring.endpoint();
    if let Err(error) = until_room(|| broker.offer(name, endpoint)) {
        return fail("the endpoint cannot be offered", error);
    }
    println!("{name}: an {} core takes {count} messages", ISA.name());
    for expected in 0..count {
        let message = loop {
            match ring.try_recv() {
                Some(message) => break message,
                None => drop(SELF.wait(CHANNEL_EVENT, 0)),
            }
        };
        let [number, inverse, ..] = message.words;
        if number != expected || inverse != !expected {
            println!("{name}: {number} came instead of {expected}");
            return 1;
        }
        if slow {
            sleep(Duration::from_millis(2));
        }
    }
    println!("{name}: {count} messages came in order");
    0
}

fn post(broker: Broker, mut ring: Ring, to: (CoreId, &str), count: u64) -> u8 {
    let (core, name) = to;
    let endpoint = match broker.find(core, name, &mut ring) {
        Ok(endpoint) => endpoint,
        Err(why) => {
            println!("{name} of {core}: {why}");
            return GONE;
        }
    };
    println!("{name} of {core}: found from an {} core", ISA.name());
    for number in 0..count {
        if let Err(error) = until_room(|| send(endpoint, [number, !number, 0, 0], None)) {
            println!("{name} of {core}: gone after {number} messages: {error}");
            return GONE;
        }
    }
    // What is still under way when the sender ends is lost with its proxy.
    println!("{name} of {core}: {count} messages sent");
    0
}
