//! Faults that are mended, and ends of a program.
#![expect(unsafe_code, reason = "touches memory that is not there")]

use crate::basic::{made, small};
use crate::report::{Outcome, Report, same};
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicU64, Ordering::Relaxed};
use skerry_hal::MapFlags;
use skerry_user::abi::PAGE_SIZE;
use skerry_user::thread::{self, demand, fault};
use skerry_user::vspace::{R, RW};
use skerry_user::{println, relax};

/// Pages that are mapped when somebody touches them.
const PAGES: u64 = 6;

static FIRST: AtomicU64 = AtomicU64::new(0);
/// Which of them are mapped, a bit each.
static MENDED: AtomicU64 = AtomicU64::new(0);

pub fn run(report: &mut Report) {
    report.case("a handler of the program's own", on_demand);
    report.case("memory on demand is zero and made when touched", touched);
    report.case("memory on demand comes from the memory server", served);
}

fn at(addr: u64) -> *mut u64 {
    core::ptr::with_exposed_provenance_mut(addr as usize)
}

/// Reads a word that is there as soon as it is touched, or is the end of the program.
fn load(addr: u64) -> u64 {
    // SAFETY: nothing that the compiler knows lies there.
    unsafe { at(addr).read_volatile() }
}

/// Writes one.
fn store(addr: u64, value: u64) {
    // SAFETY: as for `load`.
    unsafe { at(addr).write_volatile(value) }
}

fn range(pages: u64, step: u64, flags: MapFlags) -> Result<u64, String> {
    demand::reserve(pages * PAGE_SIZE, step * PAGE_SIZE, flags).map_err(|error| format!("{error}"))
}

fn release(addr: u64) -> Outcome {
    demand::release(addr).map_err(|error| format!("{error}"))
}

/// RAM that is in use, and RAM that there is.
fn ram() -> (u64, u64) {
    let domain = thread::domain();
    let (total, free) = (domain.mem.total_ram(), domain.mem.free_ram());
    (total - free, total)
}

fn touched() -> Outcome {
    const PAGES: u64 = 1024;
    let first = range(PAGES, 4, RW)?;
    let (before, _) = ram();
    let mut handles = Vec::new();
    for n in 0..3 {
        handles.push(made(small("touches", move || {
            // The same page at once, and one each.
            let shared = load(first);
            let own = first + (8 + n) * PAGE_SIZE;
            let held = load(own + 8);
            store(own + 8, n + 1);
            (shared, held, load(own + 8))
        }))?);
    }
    for (n, handle) in handles.into_iter().enumerate() {
        same(handle.join(), (0, 0, n as u64 + 1))?;
    }
    // Two steps, page tables, and what the books took.
    let (after, _) = ram();
    let spent = (after - before) / PAGE_SIZE;
    if !(8..128).contains(&spent) {
        return Err(format!("{spent} pages for 8 that were touched, of {PAGES}"));
    }
    release(first)?;
    same(release(first).is_err(), true)
}

fn served() -> Outcome {
    const PAGES: u64 = 512;
    let first = range(PAGES, 16, RW)?;
    let (_, before) = ram();
    let pages = (0..PAGES).map(|page| first + page * PAGE_SIZE);
    for page in pages.clone() {
        same(load(page), 0)?;
        store(page, page);
    }
    if let Some(page) = pages.clone().find(|page| load(*page) != *page) {
        return Err(format!("what was written at {page:#x} is not there"));
    }
    let (used, after) = ram();
    if after <= before {
        return Err(format!("{after} bytes of RAM are no more than {before}"));
    }
    release(first)?;
    same(used - ram().0 >= PAGES * PAGE_SIZE, true)
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
    FIRST.store(first.map_err(|error| format!("{error}"))?, Relaxed);
    made(fault::handle(mend))?;
    let mut handles = Vec::new();
    for n in 0..3 {
        handles.push(made(small("touches", move || {
            let mut sum = 0;
            for page in (n..PAGES).chain(0..n) {
                sum += load(FIRST.load(Relaxed) + page * PAGE_SIZE);
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
        "write" => || store(0x1234, 1),
        "outside" => || {
            let _first = range(4, 1, RW);
            store(0x1234, 1);
        },
        "guard" => || {
            if let Ok(first) = range(4, 1, RW) {
                store(first + 3 * PAGE_SIZE, 1);
                store(first + 4 * PAGE_SIZE, 1);
            }
        },
        "forbidden" => || {
            if let Ok(first) = range(4, 1, R) {
                store(first + load(first), 1);
            }
        },
        "lack" => || {
            if let Ok(first) = range(1 << 20, 1, RW) {
                (0..1 << 20).for_each(|page| store(first + page * PAGE_SIZE, 1));
            }
        },
        "holder" => || {
            if let Ok(first) = range(4, 1, RW) {
                let _domain = thread::domain();
                store(first, 1);
            }
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
            println!(
                "end: stack, write, outside, guard, forbidden, lack, holder, panic, deadlock, status or spin"
            );
            return 2;
        }
    };
    match thread::spawn("doomed", what) {
        Ok(handle) => handle.join(),
        Err(error) => println!("{error}"),
    }
    0
}
