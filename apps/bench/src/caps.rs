//! Capability operations, invocation by invocation, among so many capabilities that the CPU driver knows.

use crate::SAMPLES;
use alloc::vec::Vec;
use skerry_abi::cap::{CNODE_BYTES, CNODE_SLOTS};
use skerry_abi::domain::slot;
use skerry_abi::op::halves;
use skerry_abi::{CPtr, CapType, Error, Op, PAGE_SIZE, Rights};
use skerry_user::cap::{CNode, Make, ROOT, VNode, clear, retype};
use skerry_user::mem::MemError;
use skerry_user::sys::invoke;
use skerry_user::vspace::{R, RW};
use skerry_user::{Domain, clock};

/// Index in the root of the first CNode that is hung up here.
const FIRST_NODE: u32 = 100;
/// Pages of the RAM that the capabilities lie in.
const PAGES: u64 = 1024;
/// Every so many pages one has no frame: room for what is measured, all over the index.
const HOLE: u64 = 8;
/// Slots for what is measured.
const SPARE: u32 = 2;

/// A figure's name without its ISA, and its ticks.
pub type Lines = Vec<(alloc::string::String, u64)>;

/// The figures of this name, if it is one of these.
pub fn figures(domain: &mut Domain, name: &str) -> Option<Result<Lines, MemError>> {
    let parts = name.strip_prefix("cap.").and_then(|rest| rest.split_once('.'));
    let (what, count) = parts.map_or((name, 0), |(what, count)| (what, count.parse().unwrap_or(0)));
    let ticks = match what {
        "cap.noop" => Ok(noop()),
        "clear" => cleared(domain),
        "retype" | "delete" => among(domain, count, what == "retype"),
        "cap.pages" => return Some(pages(domain)),
        "kernel.longest" => longest(domain),
        _ => return None,
    };
    Some(ticks.map(|ticks| [(name.into(), ticks)].into()))
}

/// The median of what `timed` takes, after `before` each time, the reading of the clock taken off.
fn median<T>(
    mut before: impl FnMut(u64) -> Result<T, MemError>,
    mut timed: impl FnMut(&T) -> Result<(), Error>,
    mut after: impl FnMut(T) -> Result<(), Error>,
) -> Result<u64, MemError> {
    let mut times = [const { Vec::new() }; 2];
    for n in 0..SAMPLES as u64 {
        let ready = before(n)?;
        let start = clock::ticks();
        let end = clock::ticks();
        timed(&ready)?;
        let [empty, full] = [end - start, clock::ticks() - end];
        times[0].push(empty);
        times[1].push(full);
        after(ready)?;
    }
    let [empty, full] = times.map(|mut times: Vec<u64>| {
        times.sort_unstable();
        times[SAMPLES / 2]
    });
    Ok(full.saturating_sub(empty))
}

fn noop() -> u64 {
    crate::median(|| {
        let _nothing = invoke(slot::ROOT, Op::Nop, [0; 5]);
    })
}

fn cleared(domain: &mut Domain) -> Result<u64, MemError> {
    let frame = domain.mem.frame(PAGE_SIZE)?.cap;
    median(|_| Ok(()), |()| clear(frame, 0, PAGE_SIZE), |()| Ok(()))
}

/// A frame of one page.
fn page(number: u64) -> Make {
    let offset = number * PAGE_SIZE;
    Make { ty: CapType::Frame, level: 0, rights: Rights::all(), offset, len: PAGE_SIZE, count: 1 }
}

/// A retype of a page of RAM, or the deletion of a copy, while the CPU driver knows `count` capabilities more.
fn among(domain: &mut Domain, count: u32, retyping: bool) -> Result<u64, MemError> {
    let mem = &mut domain.mem;
    let ram = mem.ram(PAGES * PAGE_SIZE, PAGE_SIZE, None)?.cap;
    let nodes = (count + SPARE).div_ceil(CNODE_SLOTS);
    for n in 0..nodes {
        ROOT.attach(CNode(mem.cnode()?.cap), FIRST_NODE + n)?;
    }
    let slot = |n: u32| CPtr::new(FIRST_NODE + n / CNODE_SLOTS, n % CNODE_SLOTS);
    let pages: Vec<u64> = (0..PAGES).filter(|page| page % HOLE != 0).collect();
    // One frame a page, all over the RAM and in no order, then copies of them.
    let frames = count.min(pages.len() as u32);
    for n in 0..count {
        if n < frames {
            retype(ram, &page(pages[n as usize * 353 % pages.len()]), slot(n))?;
        } else {
            ROOT.copy_in(slot(n % frames), slot(n), Rights::all())?;
        }
    }
    let (at, copy) = (slot(count), slot(count + 1));
    // Steps that meet all holes, and all frames, in no order.
    let hole = |n: u64| page(n * 37 % (PAGES / HOLE) * HOLE);
    let frame = |n: u64| slot((n * 37 % u64::from(frames)) as u32);
    let ticks = if retyping {
        median(|n| Ok(hole(n)), |make| retype(ram, make, at), |_| ROOT.delete(at))
    } else {
        median(|n| Ok(ROOT.copy_in(frame(n), copy, Rights::all())?), |()| ROOT.delete(copy), |()| Ok(()))
    };
    ROOT.revoke_made(ram)?;
    ticks
}

/// What the CPU driver itself takes to map, protect and unmap one page and a leaf table full.
fn pages(domain: &mut Domain) -> Result<Lines, MemError> {
    let mem = &mut domain.mem;
    let mut leaf = VNode(slot::VSPACE);
    for level in [2, 1, 0] {
        let table = VNode(mem.vnode(level)?.cap);
        leaf.map(if level == 2 { 250 } else { 0 }, 1, table.0, R, 0)?;
        leaf = table;
    }
    let frame = mem.frame(512 * PAGE_SIZE)?.cap;
    let mut lines = Lines::new();
    for count in [1, 512] {
        let mapped = |_| Ok(leaf.map(0, count, frame, RW, 0)?);
        let map = median(|_| Ok(()), |()| leaf.map(0, count, frame, RW, 0), |()| leaf.unmap(0, count, 0))?;
        let protect = median(mapped, |()| leaf.protect(0, count, R).map(drop), |()| leaf.unmap(0, count, 0))?;
        let read_only = |_| Ok(leaf.map(0, count, frame, R, 0)?);
        let allow =
            median(read_only, |()| leaf.protect(0, count, RW).map(drop), |()| leaf.unmap(0, count, 0))?;
        let unmap = median(mapped, |()| leaf.unmap(0, count, 0), |()| Ok(()))?;
        let copy = mem.slot()?;
        let copied = |_| {
            ROOT.copy_in(frame, copy, Rights::all())?;
            Ok(leaf.map(0, count, copy, RW, 0)?)
        };
        let delete = median(copied, |()| ROOT.delete(copy), |()| Ok(()))?;
        for (what, ticks) in
            [("map", map), ("protect", protect), ("allow", allow), ("unmap", unmap), ("delete", delete)]
        {
            lines.push((alloc::format!("cap.pages.{what}.{count}"), ticks));
        }
    }
    Ok(lines)
}

/// Rounds of which the least counts, where an entry cannot be made twice in one round.
const ROUNDS: usize = 11;

/// The longest of the entries that do the most work: what a program can make the CPU driver do at once.
fn longest(domain: &mut Domain) -> Result<u64, MemError> {
    let mut most = pages(domain)?.into_iter().map(|(_, ticks)| ticks).max().unwrap_or(0);
    let mem = &mut domain.mem;
    let frame = mem.frame(MOST)?.cap;
    most = most.max(median(|_| Ok(()), |()| clear(frame, 0, MOST), |()| Ok(()))?);
    let ram = mem.ram(4 << 20, PAGE_SIZE, None)?.cap;
    ROOT.attach(CNode(mem.cnode()?.cap), FIRST_NODE)?;
    let at = |n| CPtr::new(FIRST_NODE, n);
    for (ty, len, count) in [
        (CapType::CNode, CNODE_BYTES, 2),
        (CapType::VNode, PAGE_SIZE, 4),
        (CapType::Dispatcher, PAGE_SIZE, 4),
    ] {
        let level = if ty == CapType::VNode { 3 } else { 0 };
        let make = Make { ty, level, rights: Rights::all(), offset: 0, len, count };
        let made = |()| (0..count).try_for_each(|n| ROOT.delete(at(n)));
        most = most.max(median(|_| Ok(()), |()| retype(ram, &make, at(0)), made)?);
    }
    // Taking back: each entry of a revocation, as it goes.
    let mut entries: Vec<u64> = Vec::new();
    for _ in 0..ROUNDS {
        fill(ram, at)?;
        let mut n = 0;
        loop {
            let start = clock::ticks();
            let left = invoke(slot::ROOT, Op::Revoke, [halves(ram.0, 1), 0, 0, 0, 0])?;
            let ticks = clock::ticks() - start;
            match entries.get_mut(n) {
                Some(least) => *least = ticks.min(*least),
                None => entries.push(ticks),
            }
            if left == 0 {
                break;
            }
            n += 1;
        }
    }
    Ok(most.max(entries.into_iter().max().unwrap_or(0)))
}

/// Bytes that one invocation clears at most.
const MOST: u64 = 32 << 10;

/// Makes of `ram` what takes long to take back: a full CNode, tables that are full of a frame, dispatchers.
fn fill(ram: CPtr, at: impl Fn(u32) -> CPtr) -> Result<(), MemError> {
    let make = |ty, offset, len, count, to| {
        retype(ram, &Make { ty, level: 0, rights: Rights::all(), offset, len, count }, to)
    };
    make(CapType::Frame, 0, 512 * PAGE_SIZE, 1, at(0))?;
    make(CapType::CNode, 2 << 20, CNODE_BYTES, 1, at(1))?;
    ROOT.attach(CNode(at(1)), FIRST_NODE + 1)?;
    let inside = |n| CPtr::new(FIRST_NODE + 1, n);
    for n in 0..4 {
        make(CapType::VNode, (3 << 20) + u64::from(n) * PAGE_SIZE, PAGE_SIZE, 1, at(2 + n))?;
        make(CapType::Dispatcher, (3 << 20) + u64::from(4 + n) * PAGE_SIZE, PAGE_SIZE, 1, inside(n))?;
        ROOT.copy_in(at(0), inside(4 + n), Rights::all())?;
        VNode(at(2 + n)).map(0, 512, inside(4 + n), RW, 0)?;
    }
    Ok((8..CNODE_SLOTS).try_for_each(|n| ROOT.copy_in(at(0), inside(n), Rights::all()))?)
}
