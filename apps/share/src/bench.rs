//! What is measured (`cargo xtask bench agreement`): samples that begin and end where they say so, and are counted from outside.

use super::lend::{begin, share, take_back};
use super::page::order;
use super::{Case, World, during, expect};
use alloc::vec::Vec;
use skerry_user::abi::{CPtr, CapType, PAGE_SIZE, Rights};
use skerry_user::agent::{Address, Ticket};
use skerry_user::cap::Make;
use skerry_user::vspace::RW;
use skerry_user::{Error, relax, sample};

/// Samples of each kind.
const SAMPLES: usize = 301;
/// Retypes under way at a time.
const DEEP: u64 = 16;

/// Computes, and never gives the core up.
pub fn busy() -> ! {
    loop {
        sample::look();
        relax();
    }
}

/// A page is unmapped, and every core of the island, `cores` of them, has forgotten it.
pub fn unmap(world: &mut World, cores: u32) -> Case {
    let (_ram, frame) = world.page()?;
    let mask = u64::MAX >> (64 - cores.clamp(1, 64));
    for _ in 0..SAMPLES {
        let mapping = during("mapping", world.domain.map(frame, PAGE_SIZE, RW))?;
        mapping.zero();
        let at = mapping.addr;
        sample::begin();
        world.domain.unmap(mapping);
        let ticket = during("asking", world.agent.forget(0, at, PAGE_SIZE, mask))?;
        during("forgetting", world.agent.wait(&ticket))?;
        sample::end();
    }
    Ok(())
}

/// RAM that two cores hold is retyped, first a page at a time, then [`DEEP`] pages.
pub fn retype(world: &mut World, to: Address) -> Case {
    let (page, _first) = begin(world, to)?;
    let ram = world.domain.mem.ram(DEEP * PAGE_SIZE, PAGE_SIZE, None).map_err(Error::from);
    let ram = during("RAM", ram)?.cap;
    during("sharing RAM", share(world, ram, Rights::all().difference(Rights::CONTROL), to))?;
    expect("RAM", page.ask(order::TAKE, [0; 4])? & 0xff, CapType::Ram as u64)?;
    let slots: Result<Vec<CPtr>, _> = (0..DEEP).map(|_| world.domain.mem.slot()).collect();
    let slots = during("slots", slots.map_err(Error::from))?;
    for deep in [1, DEEP] {
        for _ in 0..SAMPLES {
            sample::begin();
            let asked = slots[..deep as usize].iter().zip(0..).map(|(&slot, n)| {
                let (ty, offset) = (CapType::Frame, n * PAGE_SIZE);
                let make = Make { ty, level: 0, rights: Rights::all(), offset, len: PAGE_SIZE, count: 1 };
                during("asking", world.agent.retype_shared(ram, &make, slot))
            });
            let asked: Result<Vec<Ticket>, _> = asked.collect();
            for ticket in asked? {
                during("retyping", world.agent.wait(&ticket))?;
            }
            sample::end();
            take_back(world, ram)?;
        }
    }
    expect("the end", page.ask(order::END, [0; 4])?, 0)
}
