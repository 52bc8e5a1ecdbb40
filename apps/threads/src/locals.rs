//! What every thread has for itself.

use crate::basic::{made, small};
use crate::report::{Outcome, Report, same};
use alloc::vec::Vec;
use core::cell::Cell;
use core::sync::atomic::{AtomicU32, Ordering::Relaxed};
use skerry_user::thread::{self, Local};

pub fn run(report: &mut Report) {
    report.case("thread-specific data, and its end", specific);
    report.case("initial-exec TLS of the ELF file", elf_tls);
}

static DROPPED: AtomicU32 = AtomicU32::new(0);

struct Counted(Cell<u32>);

impl Drop for Counted {
    fn drop(&mut self) {
        DROPPED.fetch_add(self.0.get(), Relaxed);
    }
}

fn specific() -> Outcome {
    static VALUE: Local<Counted> = Local::new(|| Counted(Cell::new(100)));
    static NEVER: Local<Counted> = Local::new(|| Counted(Cell::new(5000)));
    let add = |n| VALUE.with(|value| value.0.replace(value.0.get() + n) + n);
    let mut handles = Vec::new();
    for n in 1..=3 {
        handles.push(made(small("own", move || {
            add(n);
            thread::yield_now();
            add(n)
        }))?);
    }
    same(add(7), 107)?;
    let found: Vec<u32> = handles.into_iter().map(|handle| handle.join()).collect();
    same(found.as_slice(), &[102, 104, 106])?;
    // The last of them may be on its way out still.
    while DROPPED.load(Relaxed) != 312 {
        thread::yield_now();
    }
    let handle = made(small("never looks", || ()))?;
    handle.join();
    let _looked = || NEVER.with(|value| value.0.get());
    same((add(0), DROPPED.load(Relaxed)), (107, 312))
}

mod elf {
    #![expect(unsafe_code, reason = "what the linker put there")]

    unsafe extern "C" {
        fn skerry_tls(which: u64) -> *mut u64;
    }

    /// This thread's word.
    pub fn get(which: u64) -> (u64, usize) {
        // SAFETY: `user_tls!` defines it, and what it points to is this thread's.
        let at = unsafe { skerry_tls(which) };
        // SAFETY: as above.
        (unsafe { at.read_volatile() }, at.addr())
    }

    /// Sets it.
    pub fn set(which: u64, value: u64) {
        // SAFETY: as above.
        let at = unsafe { skerry_tls(which) };
        // SAFETY: as above.
        unsafe { at.write_volatile(value) };
    }
}

pub use elf::{get as tls, set as set_tls};

/// Whether this thread's variables are as in the file.
fn fresh() -> Outcome {
    same((tls(0).0, tls(1).0, tls(1).1 % 64), (0x5ca1_ab1e, 0, 0))
}

fn elf_tls() -> Outcome {
    fresh()?;
    set_tls(0, 1);
    set_tls(1, 2);
    let mut handles = Vec::new();
    for n in 10..13 {
        handles.push(made(small("own", move || {
            fresh()?;
            set_tls(0, n);
            set_tls(1, n * n);
            thread::yield_now();
            same((tls(0).0, tls(1).0), (n, n * n))
        }))?);
    }
    for handle in handles {
        handle.join()?;
    }
    same((tls(0).0, tls(1).0), (1, 2))
}
