//! Two cores make different things of the same memory at the same time: one of them does, and the other hears why not.

use super::hold::retype;
use super::lend::{begin, share, take_back};
use super::page::order;
use super::{Case, World, Wrong, code, during, expect};
use skerry_user::abi::{CapType, PAGE_SIZE, Rights};
use skerry_user::agent::{Address, Refusal};
use skerry_user::{Error, println};

/// Pages of the memory.
const PAGES: u64 = 8;

pub fn fight(world: &mut World, to: Address, rounds: u64) -> Case {
    let (page, first) = begin(world, to)?;
    let ram = world.domain.mem.ram(PAGES * PAGE_SIZE, PAGE_SIZE, None).map_err(Error::from);
    let ram = during("RAM", ram)?.cap;
    let rights = Rights::READ | Rights::WRITE | Rights::GRANT;
    during("sharing RAM", share(world, ram, rights, to))?;
    expect("RAM", page.ask(order::TAKE, [0; 4])? & 0xff, CapType::Ram as u64)?;
    let (mut won, mut lost) = (0, 0);
    for round in 0..rounds {
        let at = round % (PAGES - 1);
        // Two pages against one, which they share; the types differ.
        page.give(order::RETYPE, [0, CapType::Ram as u64, at, 1]);
        let mine = code(retype(world, ram, CapType::Frame as u64, (at, 2)));
        let theirs = page.answer().ok_or(Wrong::Is("no answer in round", round))?;
        let occupied = Refusal::Occupied as u64;
        match (mine, theirs) {
            (0, theirs) if theirs == occupied => won += 1,
            (mine, 0) if mine == occupied => lost += 1,
            (mine, theirs) => return Err(Wrong::Is("both answers", mine << 32 | theirs)),
        }
        take_back(world, ram)?;
    }
    println!("ok {rounds} conflicts, each with one winner: {won} here, {lost} there");
    // Side by side where they do not touch.
    page.give(order::RETYPE, [0, CapType::Frame as u64, 0, 2]);
    expect("one part", code(retype(world, ram, CapType::CNode as u64, (4, 4))), 0)?;
    let theirs = page.answer().ok_or(Wrong::Is("no answer", 0))?;
    expect("the other part", theirs, 0)?;
    println!("ok parts that do not touch are free for both");
    // Who holds may take back what was made, too.
    expect("taken back there", page.ask(order::REVOKE, [0; 4])?, 0)?;
    expect("free again", code(retype(world, ram, CapType::Frame as u64, (0, PAGES))), 0)?;
    println!("ok the other side takes all of it back");
    expect("the end", page.ask(order::END, [0; 4])?, 0)?;
    take_back(world, first.cap)
}
