//! Mapping, protecting and unmapping through the address-space library: one page, and 16 MiB of 4 KiB pages. Frames and
//! page tables are in hand: what is measured is the library and the CPU driver, not where memory comes from.

use crate::SAMPLES;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use skerry_abi::PAGE_SIZE;
use skerry_user::mem::Object;
use skerry_user::vspace::{Backing, Hold, R, RW, VmError};
use skerry_user::{Domain, ISA, clock};

/// Bytes of the bulk figures.
const BULK: u64 = 16 << 20;
/// Rounds of the bulk figures: each is over four thousand pages.
const ROUNDS: usize = 101;
/// One page is mapped in the middle of as many others.
const OTHERS: u64 = 16;

/// Ticks that each of the three operations takes: map, protect, unmap.
type Times = [Vec<u64>; 3];

/// The figure with this name, if it is one of these: a line.
pub fn figure(domain: &mut Domain, name: &str) -> Option<Result<String, VmError>> {
    let (what, bulk) = match name.strip_suffix("_bulk") {
        Some(what) => (what, true),
        None => (name, false),
    };
    let which = ["vm.map", "vm.protect", "vm.unmap"].iter().position(|known| *known == what)?;
    let times = if bulk { self::bulk(domain) } else { one(domain) };
    Some(times.map(|mut times| {
        let ticks = median(&mut times[which]).saturating_sub(empty());
        let isa = ISA.name();
        if bulk {
            let tenths = (ticks * 10 * PAGE_SIZE + BULK / 2) / BULK;
            format!("{name}.{isa} {}.{} ticks", tenths / 10, tenths % 10)
        } else {
            format!("{name}.{isa} {ticks} ticks")
        }
    }))
}

fn median(ticks: &mut [u64]) -> u64 {
    ticks.sort_unstable();
    ticks[ticks.len() / 2]
}

/// Reading the clock.
fn empty() -> u64 {
    let mut ticks: Vec<u64> = (0..SAMPLES)
        .map(|_| {
            let start = clock::ticks();
            clock::ticks() - start
        })
        .collect();
    median(&mut ticks)
}

/// Maps, protects and unmaps `len` bytes at `va`, so many times.
fn measure(
    domain: &mut Domain,
    rounds: usize,
    (va, len): (u64, u64),
    backing: &Backing,
) -> Result<Times, VmError> {
    let Domain { mem, space, .. } = domain;
    let mut times = [const { Vec::new() }; 3];
    for _ in 0..=rounds {
        let start = clock::ticks();
        space.map_backing(mem, va, len, backing, RW)?;
        let mapped = clock::ticks();
        space.protect(va, len, R)?;
        let protected = clock::ticks();
        space.unmap_range(mem, va, len)?;
        let end = clock::ticks();
        for (times, ticks) in times.iter_mut().zip([mapped - start, protected - mapped, end - protected]) {
            times.push(ticks);
        }
    }
    // The first round made the tables.
    for times in &mut times {
        times.swap_remove(0);
    }
    Ok(times)
}

/// One page of a frame that is mapped nowhere else, others around it.
fn one(domain: &mut Domain) -> Result<Times, VmError> {
    let frame = domain.mem.frame(PAGE_SIZE)?;
    let va = domain.space.reserve(2 * OTHERS * PAGE_SIZE, PAGE_SIZE)?;
    for n in (0..2 * OTHERS).filter(|n| *n != OTHERS) {
        domain.space.fresh_at(&mut domain.mem, va + n * PAGE_SIZE, PAGE_SIZE, RW)?;
    }
    let backing = Backing { hold: Hold::Lent, ..Backing::of(frame.cap, 0) };
    let times = measure(domain, SAMPLES, (va + OTHERS * PAGE_SIZE, PAGE_SIZE), &backing);
    domain.space.release(&mut domain.mem, va)?;
    give_back(domain, frame)?;
    times
}

/// A frame of 16 MiB, in 4 KiB pages.
fn bulk(domain: &mut Domain) -> Result<Times, VmError> {
    let frame = domain.mem.frame(BULK)?;
    let va = domain.space.reserve(BULK, 2 << 20)?;
    let backing = Backing { large: false, ..Backing::of(frame.cap, 0) };
    let times = measure(domain, ROUNDS, (va, BULK), &backing);
    domain.space.release(&mut domain.mem, va)?;
    give_back(domain, frame)?;
    times
}

fn give_back(domain: &mut Domain, frame: Object) -> Result<(), VmError> {
    Ok(domain.mem.free(frame)?)
}
