//! One who lends: memory goes to another core and comes back.

use super::page::{Page, order, pause};
use super::{Case, World, Wrong, code, during, expect};
use core::sync::atomic::Ordering::Release;
use skerry_user::abi::{CPtr, CapType, PAGE_SIZE, Rights};
use skerry_user::agent::{Address, Refusal, ShareError, Ticket};
use skerry_user::mem::Object;
use skerry_user::vspace::RW;
use skerry_user::{Error, println};

const BOTH: Rights = Rights::READ.union(Rights::WRITE).union(Rights::GRANT);

/// Shares and waits.
pub fn share(world: &World, cap: CPtr, rights: Rights, to: Address) -> Result<(), ShareError> {
    world.agent.share(cap, rights, to).and_then(|ticket| world.agent.wait(&ticket))
}

/// Lends the frame that orders are given by; and the RAM that takes it back.
pub fn begin(world: &mut World, to: Address) -> Result<(Page, Object), Wrong> {
    let (ram, frame) = world.page()?;
    let mapping = during("mapping", world.domain.map(frame, PAGE_SIZE, RW))?;
    mapping.zero();
    during("sharing the first", share(world, frame, BOTH, to))?;
    Ok((Page::new(mapping), ram))
}

/// Takes something back that others hold.
pub fn take_back(world: &World, ram: CPtr) -> Case {
    let ticket = during("taking it back", world.agent.revoke_made(ram))?;
    if !ticket.is_remote() {
        return Err(Wrong::Is("it was taken back without a word to who holds it", 0));
    }
    during("taking it back", world.agent.wait(&ticket))
}

pub fn lend(world: &mut World, to: Address) -> Case {
    let (page, first) = begin(world, to)?;
    expect("an answer", page.ask(order::ADD, [41, 0, 0, 0])?, 42)?;
    println!("ok a frame that two cores map");
    let (ram, frame) = world.page()?;
    let mapping = during("mapping", world.domain.map(frame, PAGE_SIZE, RW))?;
    let word = mapping.word(0);
    word.store(0x5e_a5, Release);
    during("sharing", share(world, frame, Rights::READ | Rights::GRANT, to))?;
    let rights = u64::from((Rights::READ | Rights::GRANT).bits());
    expect("what came", page.ask(order::TAKE, [0; 4])?, CapType::Frame as u64 | rights << 8)?;
    expect("what is in it", page.ask(order::READ, [0; 4])?, 0x5e_a5)?;
    word.store(7, Release);
    expect("what is in it now", page.ask(order::READ, [0; 4])?, 7)?;
    println!("ok one writes what the other reads");
    take_back(world, ram.cap)?;
    expect("what was taken back is there", page.ask(order::HAS, [0; 4])?, 0)?;
    println!("ok it is taken back");
    let (alone, _frame) = world.page()?;
    let ticket = during("taking back what nobody else has", world.agent.revoke_made(alone.cap))?;
    expect("others were asked", u64::from(ticket != Ticket::Done), 0)?;
    println!("ok what nobody else has is taken back without a word to others");
    // It dies of its next look at the page, and the CPU driver says so on a console that is not the lines' own.
    rest();
    take_back(world, first.cap)?;
    rest();
    Ok(())
}

/// Lets lines that were said reach the console.
fn rest() {
    (0..1_000).for_each(|_| pause());
}

/// What must not be.
pub fn refused(world: &mut World, to: Address) -> Case {
    let near = to.core.island() == world.agent.address().core.island();
    let (ram, frame) = world.page()?;
    let nobody = Address { number: to.number ^ 0x4000_0000, ..to };
    let weak = world.domain.mem.copy(frame, Rights::READ | Rights::GRANT).map_err(Error::from);
    let stuck = world.domain.mem.copy(frame, Rights::READ | Rights::WRITE).map_err(Error::from);
    let (weak, stuck) = (during("a copy", weak)?, during("a copy", stuck)?);
    let mine = skerry_user::abi::domain::slot::ROOT;
    let cases = [
        ("RAM leaves its island", !near, ram.cap, BOTH, to, Refusal::MayNotCross),
        ("a frame leaves its island", !near, frame, BOTH, to, Refusal::MayNotCross),
        ("a CNode leaves its core", near, mine, BOTH, to, Refusal::MayNotCross),
        ("rights grow", true, weak, BOTH, to, Refusal::NoCap),
        ("without GRANT", true, stuck, BOTH, to, Refusal::NoCap),
        ("nothing is shared", true, CPtr(250), BOTH, to, Refusal::NoCap),
        ("nobody gets it", near, frame, BOTH, nobody, Refusal::NotFound),
    ];
    for (what, _, cap, rights, to, why) in cases.into_iter().filter(|case| case.1) {
        expect(what, code(share(world, cap, rights, to)), why as u64)?;
        println!("ok {what}: {why}");
    }
    if near {
        let (page, _) = begin(world, to)?;
        let sent = (0..64).find_map(|_| share(world, frame, Rights::READ | Rights::GRANT, to).err());
        expect("a full queue", code(sent.map_or(Ok(()), Err)), Refusal::Busy as u64)?;
        println!("ok a full queue: {}", Refusal::Busy);
        expect("what came", page.ask(order::TAKE, [0; 4])? & 0xff, CapType::Frame as u64)?;
        during("sharing again", share(world, frame, Rights::READ | Rights::GRANT, to))?;
        println!("ok there is room again");
        expect("the end", page.ask(order::END, [0; 4])?, 0)?;
    }
    Ok(())
}
