//! `attack`: tries to hurt the CPU driver and other domains. `attack CASE` tries one thing; `attack list` names them all,
//! and what becomes of this domain then. One that outlives its crime exits with a status other than 0.
//!
//! | module | what it tries |
//! | --- | --- |
//! | [`memory`] | memory that is not its own, or not for that; returns that end above user space |
//! | [`caps`] | capabilities and arguments that must be refused with a typed error |
//! | [`threads`] | forged registers, hostile dispatcher pages, loops |
//! | [`child`] | a dispatcher of its own making, where the crime must not be its own end |
//! | [`fuzz`] | a million invocations of garbage |
//! | `skerry_arch::attack` | instructions that need privilege |
#![no_std]
#![no_main]

extern crate alloc;

mod caps;
mod child;
mod fuzz;
mod memory;
mod threads;
mod words;

use skerry_arch::attack::INSTRUCTIONS;
use skerry_hal::FaultKind;
use skerry_user::{Domain, println};

skerry_user::main!(main, heap = 128 << 10);

/// Status of a domain that did what must not be possible.
const SURVIVED: u8 = 9;
/// Status of a domain that was asked for something it does not know.
const UNKNOWN: u8 = 2;

/// A thing to try, and what it ends in: a fault, or, for `None`, status 0.
struct Case {
    name: &'static str,
    ends: Option<FaultKind>,
    run: fn(&mut Domain) -> u8,
}

fn cases() -> impl Iterator<Item = &'static Case> {
    memory::CASES.iter().chain(caps::CASES).chain(threads::CASES)
}

fn main(mut domain: Domain) -> u8 {
    let mut words = domain.info.args().split(' ');
    let name = words.next().unwrap_or("");
    match name {
        "list" => list(),
        "fuzz" => fuzz::run(&mut domain, words),
        "victim" => memory::victim(&mut domain),
        "loop" => threads::spin(),
        "fault-loop" => threads::fault_loop(&mut domain),
        "hog" => memory::hog(&mut domain),
        _ => {
            if let Some(case) = cases().find(|case| case.name == name) {
                let status = (case.run)(&mut domain);
                return if case.ends.is_some() { survived(name) } else { status };
            }
            let Some(instruction) = INSTRUCTIONS.iter().find(|i| Some(i.name) == name.strip_prefix('!'))
            else {
                println!("attack CASE: `attack list` names them");
                return UNKNOWN;
            };
            (instruction.run)();
            if instruction.ends.is_some() { survived(name) } else { 0 }
        }
    }
}

fn survived(name: &str) -> u8 {
    println!("{name}: nothing stopped it");
    SURVIVED
}

/// `CASE END`, where END is a fault's name or `lives`.
fn list() -> u8 {
    let end = |ends: Option<FaultKind>| ends.map_or("lives", FaultKind::name);
    for case in cases() {
        println!("{} {}", case.name, end(case.ends));
    }
    for instruction in INSTRUCTIONS {
        println!("!{} {}", instruction.name, end(instruction.ends));
    }
    0
}
