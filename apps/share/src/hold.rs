//! One who holds: takes what comes, and does as he is told.

use super::page::{Page, order};
use super::{Case, World, Wrong, code, during};
use alloc::vec::Vec;
use core::sync::atomic::Ordering::Acquire;
use skerry_user::abi::{CPtr, CapType, CoreId, PAGE_SIZE, Rights};
use skerry_user::agent::{Address, ShareError};
use skerry_user::cap::{self, Make};
use skerry_user::vspace::{Mapping, R, RW};
use skerry_user::{Error, println};

/// Capabilities that may come before any is taken in.
const OFFERED: usize = 4;

pub fn hold(world: &mut World) -> Case {
    for _ in 0..OFFERED {
        offer(world)?;
    }
    let at = world.agent.address();
    println!("share: holds {}:{}", at.core, at.number);
    let first = take(world)?;
    let page = Page::new(during("mapping the first", world.domain.map(first, PAGE_SIZE, RW))?);
    let mut held: Vec<(CPtr, Option<Mapping>)> = Vec::new();
    loop {
        let (order, [n, a, b, c]) = page.next();
        let cap = held.get(n as usize).map_or(CPtr::NULL, |held| held.0);
        let value = match order {
            order::ADD => n + 1,
            order::TAKE => {
                let at = take(world)?;
                let what = during("what came", cap::identify(at))?;
                let mapping = match what.ty {
                    CapType::Frame => Some(during("mapping", world.domain.map(at, PAGE_SIZE, R))?),
                    _ => None,
                };
                held.push((at, mapping));
                what.ty as u64 | u64::from(what.rights.bits()) << 8
            }
            order::READ => {
                let mapping = held.get(n as usize).and_then(|held| held.1.as_ref());
                mapping.map_or(u64::MAX, |mapping| mapping.word(0).load(Acquire))
            }
            order::HAS => cap::identify(cap).is_ok().into(),
            order::RETYPE => code(retype(world, cap, a, (b, c))),
            order::SHARE => {
                let to = Address { core: CoreId::from_raw(a as u32), number: b as u32 };
                let rights = Rights::from_bits_truncate(c as u8);
                code(world.agent.share(cap, rights, to).and_then(|ticket| world.agent.wait(&ticket)))
            }
            order::REVOKE => code(world.agent.revoke_made(cap).and_then(|ticket| world.agent.wait(&ticket))),
            _ => {
                page.tell(0);
                return Ok(());
            }
        };
        page.tell(value);
    }
}

fn offer(world: &mut World) -> Case {
    let slot = during("a slot", world.domain.mem.slot().map_err(Error::from))?;
    during("offering a slot", skerry_user::remote::until_room(|| world.agent.offer(slot)))
}

fn take(world: &mut World) -> Result<CPtr, Wrong> {
    let at = world.agent.receive_waiting();
    offer(world)?;
    Ok(at)
}

/// Makes an object of pages `first`, … of RAM, in a slot of which nothing is heard again: whoever owns the RAM takes it back.
pub fn retype(world: &mut World, ram: CPtr, ty: u64, (first, pages): (u64, u64)) -> Result<(), ShareError> {
    let ty = CapType::from_raw(ty as u8).ok_or(Error::BadArgument)?;
    let at = world.domain.mem.slot().map_err(Error::from)?;
    let (offset, len) = (first * PAGE_SIZE, pages * PAGE_SIZE);
    let make = Make { ty, level: 0, rights: Rights::all(), offset, len, count: 1 };
    let made = world.agent.retype(ram, &make, at).and_then(|ticket| world.agent.wait(&ticket));
    if made.is_err() {
        world.domain.mem.give_slot(at);
    }
    made
}
