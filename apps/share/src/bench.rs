//! Figures (`cargo xtask bench agreement`), in ticks: instructions of all cores of the island together, where QEMU counts them,
//! with what they look in vain for between.

use super::lend::{begin, share, take_back};
use super::page::order;
use super::{Case, World, during, expect};
use alloc::vec::Vec;
use skerry_user::abi::{CPtr, CapType, PAGE_SIZE, Rights};
use skerry_user::agent::{Address, Ticket};
use skerry_user::cap::Make;
use skerry_user::vspace::RW;
use skerry_user::{Error, ISA, clock, println};

/// Samples of each figure, of which the median counts.
const SAMPLES: usize = 301;
/// Retypes under way at a time.
const DEEP: u64 = 16;

fn median(mut ticks: Vec<u64>) -> u64 {
    ticks.sort_unstable();
    ticks[ticks.len() / 2]
}

/// A page is unmapped, and every core of the island, `cores` of them, has forgotten it.
pub fn unmap(world: &mut World, cores: u32) -> Case {
    let (_ram, frame) = world.page()?;
    let mask = u64::MAX >> (64 - cores.clamp(1, 64));
    let mut ticks = Vec::with_capacity(SAMPLES);
    for _ in 0..SAMPLES {
        let mapping = during("mapping", world.domain.map(frame, PAGE_SIZE, RW))?;
        mapping.zero();
        let (at, start) = (mapping.addr, clock::ticks());
        world.domain.unmap(mapping);
        let ticket = during("asking", world.agent.forget(0, at, PAGE_SIZE, mask))?;
        during("forgetting", world.agent.wait(&ticket))?;
        ticks.push(clock::ticks() - start);
    }
    println!("unmap.total{cores}.{} {} ticks", ISA.name(), median(ticks));
    Ok(())
}

/// RAM that two cores hold is retyped, many pages at a time; what an operation costs each of the two.
pub fn retype(world: &mut World, to: Address) -> Case {
    let (page, _first) = begin(world, to)?;
    let ram = world.domain.mem.ram(DEEP * PAGE_SIZE, PAGE_SIZE, None).map_err(Error::from);
    let ram = during("RAM", ram)?.cap;
    during("sharing RAM", share(world, ram, Rights::all().difference(Rights::CONTROL), to))?;
    expect("RAM", page.ask(order::TAKE, [0; 4])? & 0xff, CapType::Ram as u64)?;
    let slots: Result<Vec<CPtr>, _> = (0..DEEP).map(|_| world.domain.mem.slot()).collect();
    let slots = during("slots", slots.map_err(Error::from))?;
    for deep in [1, DEEP] {
        let mut ticks = Vec::with_capacity(SAMPLES);
        for _ in 0..SAMPLES {
            let start = clock::ticks();
            let asked = slots[..deep as usize].iter().zip(0..).map(|(&slot, n)| {
                let (ty, offset) = (CapType::Frame, n * PAGE_SIZE);
                let make = Make { ty, level: 0, rights: Rights::all(), offset, len: PAGE_SIZE, count: 1 };
                during("asking", world.agent.retype_shared(ram, &make, slot))
            });
            let asked: Result<Vec<Ticket>, _> = asked.collect();
            for ticket in asked? {
                during("retyping", world.agent.wait(&ticket))?;
            }
            ticks.push((clock::ticks() - start) / (2 * deep));
            take_back(world, ram)?;
        }
        let name = if deep == 1 { "single" } else { "pipelined" };
        println!("twopc.{name}.{} {} ticks", ISA.name(), median(ticks));
    }
    expect("the end", page.ask(order::END, [0; 4])?, 0)
}
