//! Memory that comes and goes on all cores at once.

use crate::moves::on;
use crate::report::{Outcome, Report, same};
use alloc::boxed::Box;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicU64, Ordering::Relaxed};
use skerry_user::thread::{common, span};

const PAGE: u64 = 4096;

pub fn run(report: &mut Report) {
    report.case("the heap is everywhere", heap);
    report.case("mapped on all cores, and gone from all", map);
    report.case("no more than there is", too_much);
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
