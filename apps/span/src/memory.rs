//! Memory that comes and goes on all cores at once.

use crate::moves::on;
use crate::report::{Outcome, Report, same};
use alloc::boxed::Box;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicU64, Ordering::Relaxed};
use skerry_user::thread::{common, demand, fault, span};
use skerry_user::vspace::{R, RW};

const PAGE: u64 = 4096;

pub fn run(report: &mut Report) {
    report.case("the heap is everywhere", heap);
    report.case("mapped on all cores, and gone from all", map);
    report.case("no more than there is", too_much);
    report.case("the heap grows from wherever it is too small", heap_grows);
    report.case("more heap than there can be is refused", heap_too_large);
    report.case("memory on demand, touched first by all at once", on_demand);
    report.case("a handler mends the faults of all cores", handler);
}

fn heap() -> Outcome {
    let mut handles = Vec::new();
    for n in 0..span::count() {
        handles.push(on(n, move || {
            (0..200).map(|k| Box::new([u64::from(n * 1000 + k); 32])).collect::<Vec<_>>()
        })?);
    }
    for (n, handle) in (0..).zip(handles) {
        let boxes = handle.join();
        let right = boxes.iter().zip(0..).all(|(bytes, k)| **bytes == [u64::from(n * 1000u32 + k); 32]);
        same((boxes.len(), right), (200, true))?;
    }
    Ok(())
}

#[expect(unsafe_code, reason = "memory that was mapped just now")]
fn word(addr: u64) -> &'static AtomicU64 {
    // SAFETY: who calls this has mapped it, and unmaps it when nobody uses it any more.
    unsafe { AtomicU64::from_ptr(core::ptr::with_exposed_provenance_mut(addr as usize)) }
}

/// Each dispatcher writes what the next one reads; after the last round all of it is free again.
fn map() -> Outcome {
    let error = |error| alloc::format!("{error}");
    let mut first = None;
    for round in 0..20u64 {
        let addr = common::map(4 * PAGE).map_err(error)?;
        first.get_or_insert(addr);
        for n in 0..span::count() {
            let value = round * 100 + u64::from(n);
            on(n, move || (0..4).for_each(|page| word(addr + page * PAGE).store(value + page, Relaxed)))?
                .join();
            let next = (n + 1) % span::count();
            let seen =
                on(next, move || (0..4).map(|page| word(addr + page * PAGE).load(Relaxed)).sum::<u64>())?;
            same(seen.join(), 4 * value + 6)?;
        }
        common::unmap(addr).map_err(error)?;
        same(common::unmap(addr).is_err(), true)?;
    }
    let again = common::map(4 * PAGE).map_err(error)?;
    same(Some(again), first)?;
    // From another dispatcher as well.
    on(span::count() - 1, move || common::unmap(again))?.join().map_err(error)
}

fn too_much() -> Outcome {
    same(common::map(1 << 40).is_err(), true)?;
    same(common::map(0).is_err(), true)?;
    same(common::unmap(common::COMMON).is_err(), true)
}

/// What all threads together keep, in pieces: more than the heap begins with.
const KEPT: usize = 1280 << 10;
const PIECE: usize = 8 << 10;

/// All dispatchers find the heap full at about the same time; what one has written another reads.
fn heap_grows() -> Outcome {
    let count = span::count();
    let pieces = KEPT / PIECE / count as usize;
    let value = |n: u32, k: usize| (n as usize * 100 + k) as u64;
    let mut handles = Vec::new();
    for n in 0..count {
        handles.push(on(n, move || {
            (0..pieces).map(|k| alloc::vec![value(n, k); PIECE / 8]).collect::<Vec<Vec<u64>>>()
        })?);
    }
    for (n, handle) in (0..).zip(handles) {
        let made = handle.join();
        let right = on((n + 1) % count, move || {
            let right = |(k, piece): (usize, &Vec<u64>)| piece.iter().all(|word| *word == value(n, k));
            made.len() == pieces && made.iter().enumerate().all(right)
        })?;
        same(right.join(), true)?;
    }
    Ok(())
}

fn heap_too_large() -> Outcome {
    for n in 0..span::count() {
        let refused = on(n, || Vec::<u8>::new().try_reserve_exact(1 << 30).is_err())?;
        same(refused.join(), true)?;
    }
    heap()
}

/// Each page is made of zeros once, whoever is first.
fn on_demand() -> Outcome {
    const PAGES: u64 = 24;
    let error = |error| alloc::format!("{error}");
    for step in [PAGE, 4 * PAGE] {
        let addr = demand::reserve(PAGES * PAGE, step, RW).map_err(error)?;
        let mut handles = Vec::new();
        for n in 0..span::count() {
            handles.push(on(n, move || {
                for page in 0..PAGES {
                    word(addr + page * PAGE + 8 * u64::from(n)).fetch_add(1, Relaxed);
                    word(addr + page * PAGE + PAGE - 8).fetch_add(1, Relaxed);
                }
            })?);
        }
        handles.into_iter().for_each(|handle| handle.join());
        for page in 0..PAGES {
            let all = (0..span::count()).map(|n| word(addr + page * PAGE + 8 * u64::from(n)).load(Relaxed));
            let seen = (all.sum::<u64>(), word(addr + page * PAGE + PAGE - 8).load(Relaxed));
            same(seen, (span::count().into(), span::count().into()))?;
            // The next round begins with what this one leaves.
            word(addr + page * PAGE).store(7, Relaxed);
        }
        demand::release(addr).map_err(error)?;
    }
    same(demand::reserve(PAGE, PAGE, R).is_err(), true)
}

/// The handler runs at home, and maps what is lacking on every core.
fn handler() -> Outcome {
    static MENDED: AtomicU64 = AtomicU64::new(0);
    let error = |error| alloc::format!("{error}");
    let addr = common::map(PAGE).map_err(error)?;
    common::unmap(addr).map_err(error)?;
    let made = fault::handle(move |fault| {
        MENDED.fetch_add(1, Relaxed);
        (addr..addr + PAGE).contains(&fault.addr) && span::here() == 0 && common::map(PAGE) == Ok(addr)
    });
    made.map_err(|error| alloc::format!("{error}"))?;
    for n in 0..span::count() {
        let there = on(n, move || {
            let before = 1.5 * f64::from(n);
            word(addr).store(n.into(), Relaxed);
            // It is where it was, with all it had.
            (span::here(), word(addr).load(Relaxed), before == 1.5 * f64::from(n))
        })?;
        same(there.join(), (n, n.into(), true))?;
        common::unmap(addr).map_err(error)?;
    }
    same(MENDED.load(Relaxed), span::count().into())
}
