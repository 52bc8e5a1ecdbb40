//! Faults that are mended, and ends of a program.
#![expect(unsafe_code, reason = "touches memory that is not there")]

use crate::basic::{made, small};
use crate::report::{Outcome, Report, same};
use alloc::vec::Vec;
use core::sync::atomic::{AtomicU64, Ordering::Relaxed};
use skerry_user::abi::PAGE_SIZE;
use skerry_user::thread::{self, fault};
use skerry_user::vspace::RW;
use skerry_user::{println, relax};

/// Pages that are mapped when somebody touches them.
const PAGES: u64 = 6;

static FIRST: AtomicU64 = AtomicU64::new(0);
/// Which of them are mapped, a bit each.
static MENDED: AtomicU64 = AtomicU64::new(0);

pub fn run(report: &mut Report) {
    report.case("pages on demand", on_demand);
}

/// Maps the page, if it is one of those.
fn mend(fault: &fault::Fault) -> bool {
    let first = FIRST.load(Relaxed);
    let page = fault.addr & !(PAGE_SIZE - 1);
    if first == 0 || page < first || page >= first + PAGES * PAGE_SIZE {
        return false;
    }
    let bit = 1 << ((page - first) / PAGE_SIZE);
    if MENDED.load(Relaxed) & bit != 0 {
        // Two threads had touched it before it was there.
        return true;
    }
    let mut guard = thread::domain();
    let domain = &mut *guard;
    let Ok(frame) = domain.mem.frame(PAGE_SIZE) else { return false };
    let mapped = domain.space.map_at(&mut domain.mem, page, frame.cap, 0, PAGE_SIZE, RW);
    if let Ok(view) = &mapped {
        view.zero();
        view.write(0, &(page - first + 1).to_le_bytes());
        MENDED.fetch_or(bit, Relaxed);
    }
    mapped.is_ok()
}

fn on_demand() -> Outcome {
    let first = thread::domain().space.reserve(PAGES * PAGE_SIZE, PAGE_SIZE);
    FIRST.store(first.map_err(|error| alloc::format!("{error}"))?, Relaxed);
    made(fault::handle(mend))?;
    let mut handles = Vec::new();
    for n in 0..3 {
        handles.push(made(small("touches", move || {
            let mut sum = 0;
            for page in (n..PAGES).chain(0..n) {
                let at = FIRST.load(Relaxed) + page * PAGE_SIZE;
                let at = core::ptr::with_exposed_provenance_mut::<u64>(at as usize);
                // SAFETY: the address was reserved, and is mapped as soon as it is touched.
                sum += unsafe { at.read_volatile() };
            }
            sum
        }))?);
    }
    let all = (0..PAGES).map(|page| page * PAGE_SIZE + 1).sum::<u64>();
    for handle in handles {
        same(handle.join(), all)?;
    }
    same(MENDED.load(Relaxed), (1 << PAGES) - 1)
}

/// Uses up its stack.
#[inline(never)]
fn deeper(n: u64) -> u64 {
    if n == u64::MAX {
        return 0;
    }
    let mut room = [n; 64];
    core::hint::black_box(&mut room);
    deeper(n + 1) + room[n as usize % 64]
}

/// Comes to the end that is asked for.
pub fn end(deed: &str) -> u8 {
    let what: fn() = match deed {
        "stack" => || {
            core::hint::black_box(deeper(0));
        },
        "write" => || {
            // SAFETY: it is not: nothing is mapped there, and that is the point.
            unsafe { core::ptr::with_exposed_provenance_mut::<u8>(0x1234).write_volatile(1) }
        },
        "panic" => || panic!("as asked"),
        "deadlock" => || {
            let lock = thread::Mutex::new(());
            let _held = lock.lock();
            let _never = lock.lock();
        },
        "status" => return 7,
        "spin" => || loop {
            relax();
        },
        _ => {
            println!("end: stack, write, panic, deadlock, status or spin");
            return 2;
        }
    };
    match thread::spawn("doomed", what) {
        Ok(handle) => handle.join(),
        Err(error) => println!("{error}"),
    }
    0
}
