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
use skerry_user::cap::{Endpoint, SELF};
use skerry_user::lrpc::{Ring, Rings, send};
use skerry_user::remote::{Broker, Refusal, answer};
use skerry_user::spawn::CHANNEL_EVENT;
use skerry_user::{Domain, ISA, clock, println};

skerry_user::main!(main, heap = 32 << 10);

/// The other end is gone.
const GONE: u8 = 3;
/// How long to wait before a name that is not there yet is asked for again, and how often.
const AGAIN: (Duration, u32) = (Duration::from_millis(100), 100);

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

/// Sends, waiting while there is no room.
fn until_room(mut send: impl FnMut() -> Result<(), Error>) -> Result<(), Error> {
    loop {
        match send() {
            Err(Error::Full) => sleep(Duration::from_millis(20)),
            sent => return sent,
        }
    }
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

/// The endpoint that `core` offers under a name, once it does.
fn find(broker: Broker, ring: &mut Ring, (core, name): (CoreId, &str)) -> Option<Endpoint> {
    for _ in 0..AGAIN.1 {
        if let Err(error) = until_room(|| broker.want(core, name, ring.endpoint())) {
            println!("{name} cannot be asked for: {error}");
            return None;
        }
        let message = loop {
            match ring.try_recv() {
                Some(message) => break message,
                None => drop(SELF.wait(CHANNEL_EVENT, 0)),
            }
        };
        match answer(&message) {
            Some(Ok(endpoint)) => return Some(endpoint),
            Some(Err(Refusal::NotFound)) => sleep(AGAIN.0),
            Some(Err(refusal)) => {
                println!("{name} of {core}: {refusal}");
                return None;
            }
            None => {}
        }
    }
    println!("{name} of {core}: nobody offers it");
    None
}

fn post(broker: Broker, mut ring: Ring, to: (CoreId, &str), count: u64) -> u8 {
    let Some(endpoint) = find(broker, &mut ring, to) else { return GONE };
    let (core, name) = to;
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
