//! `share`: capabilities that domains of several cores hold (paper §4.7), asked for as any program would.
//!
//! | arguments | what it does |
//! | --- | --- |
//! | `hold` | takes what comes, says where it is reached, and does what the words in the first frame that came say; it dies of a fault when that frame is taken from it |
//! | `lend to=CORE:NUMBER` | lends memory to one that holds, and takes it back |
//! | `refused to=CORE:NUMBER` | asks for what must not be |
//! | `busy` | keeps its core from idling, for ever |
//! | `unmap cores=N` | measured: a page goes, and N cores forget it |
//! | `retype to=CORE:NUMBER` | measured: memory of two cores is retyped, one page and many at a time |
//! | `fight to=CORE:NUMBER rounds=N` | both make different things of the same memory, again and again |
//!
//! Status 0: all as it should be, a line `ok …` for each case.
#![no_std]
#![no_main]

extern crate alloc;

mod bench;
mod fight;
mod hold;
mod lend;
mod page;

use skerry_user::abi::{CoreId, IslandId};
use skerry_user::agent::{Address, Agent, ShareError};
use skerry_user::lrpc::Rings;
use skerry_user::spawn::CHANNEL_EVENT;
use skerry_user::{Domain, Error, println};

skerry_user::main!(main, heap = 64 << 10);

/// Messages in the ring for what the monitor says.
const SLOTS: u32 = 16;

/// The program, and what it shares by.
struct World {
    domain: Domain,
    agent: Agent,
}

/// Why a case did not go as it should.
enum Wrong {
    /// Something was refused that should not have been.
    Refused(&'static str, ShareError),
    /// Something else came out.
    Is(&'static str, u64),
}

type Case = Result<(), Wrong>;

/// Says what was refused.
fn during<T>(what: &'static str, result: Result<T, impl Into<ShareError>>) -> Result<T, Wrong> {
    result.map_err(|why| Wrong::Refused(what, why.into()))
}

fn main(mut domain: Domain) -> u8 {
    let args = domain.info.args();
    if args == "busy" {
        bench::busy();
    }
    let ring =
        Rings::new(&mut domain).and_then(|mut rings| rings.make(&mut domain.mem, SLOTS, CHANNEL_EVENT));
    let agent = ring.map_err(ShareError::from).and_then(|ring| Agent::join(&mut domain, ring));
    let agent = match agent {
        Ok(agent) => agent,
        Err(why) => {
            println!("share: cannot join: {why}");
            return 1;
        }
    };
    let to = domain.info.arg("to").and_then(address);
    let cores = domain.info.arg("cores").and_then(|n| n.parse().ok()).unwrap_or(1);
    let rounds = domain.info.arg("rounds").and_then(|n| n.parse().ok()).unwrap_or(1);
    let mut world = World { domain, agent };
    let done = match (args.split(' ').next(), to) {
        (Some("hold"), _) => hold::hold(&mut world),
        (Some("lend"), Some(to)) => lend::lend(&mut world, to),
        (Some("refused"), Some(to)) => lend::refused(&mut world, to),
        (Some("unmap"), _) => bench::unmap(&mut world, cores),
        (Some("retype"), Some(to)) => bench::retype(&mut world, to),
        (Some("fight"), Some(to)) => fight::fight(&mut world, to, rounds),
        _ => {
            println!(
                "usage: share hold | share busy | share lend|refused|fight|retype to=ISLAND.LOCAL:NUMBER [rounds=N] | share unmap cores=N"
            );
            return 2;
        }
    };
    match done {
        Ok(()) => 0,
        Err(Wrong::Refused(what, why)) => {
            println!("share: {what}: {why}");
            1
        }
        Err(Wrong::Is(what, value)) => {
            println!("share: {what}: {value:#x}");
            1
        }
    }
}

fn address(text: &str) -> Option<Address> {
    let (core, number) = text.split_once(':')?;
    let (island, local) = core.split_once('.')?;
    let core = CoreId::new(IslandId(island.parse().ok()?), local.parse().ok()?);
    Some(Address { core, number: number.parse().ok()? })
}

/// What an answer looks like as a word: 0 for success.
fn code(result: Result<(), ShareError>) -> u64 {
    match result {
        Ok(()) => 0,
        Err(ShareError::Refused(refusal)) => refusal as u64,
        Err(ShareError::Kernel(error)) => error as u64 | 1 << 32,
    }
}

/// Answers `Err` with what a word is unless it is `expected`.
fn expect(what: &'static str, is: u64, expected: u64) -> Case {
    if is == expected { Ok(()) } else { Err(Wrong::Is(what, is)) }
}

impl World {
    /// A frame of a page, made of RAM of its own, in this order.
    fn page(&mut self) -> Result<(skerry_user::mem::Object, skerry_user::abi::CPtr), Wrong> {
        use skerry_user::abi::{CapType, PAGE_SIZE};
        let mem = &mut self.domain.mem;
        let ram = during("RAM", mem.ram(PAGE_SIZE, PAGE_SIZE, None).map_err(Error::from))?;
        let frame = mem.part_of(ram.cap, CapType::Frame, 0, PAGE_SIZE).map_err(Error::from);
        Ok((ram, during("a frame", frame)?))
    }
}
