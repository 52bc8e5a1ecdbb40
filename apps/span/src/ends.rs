//! How a domain over several cores comes to its end when one of its dispatchers does.

use crate::moves::on;
use skerry_user::thread::{self, common, demand, span};
use skerry_user::vspace::RW;
use skerry_user::{println, relax};

#[expect(unsafe_code, reason = "what must not be done")]
fn store(at: u64) {
    // SAFETY: there is nothing; that is the point.
    unsafe { core::ptr::with_exposed_provenance_mut::<u64>(at as usize).write_volatile(1) };
}

/// Has a thread of that dispatcher do it, while those of all others are busy.
pub fn end(deed: &str, there: u32) -> u8 {
    let what: fn() = match deed {
        "write" => || store(0x1234),
        "unmapped" => || {
            if let Ok(addr) = common::map(4096) {
                store(addr);
                let _gone = common::unmap(addr);
                store(addr);
            }
        },
        "guard" => || {
            if let Ok(addr) = demand::reserve(4096, 4096, RW) {
                store(addr);
                store(addr + 4096);
            }
        },
        "panic" => || panic!("as asked"),
        "exit" => || skerry_user::program::exit(9),
        "spin" => || loop {
            relax();
        },
        "main" => return 5,
        _ => {
            println!("end: write, unmapped, guard, panic, exit, spin or main");
            return 2;
        }
    };
    let busy = || loop {
        thread::yield_now();
        relax();
    };
    for other in (1..span::count()).filter(|other| *other != there) {
        if let Ok(handle) = on::<()>(other, busy) {
            handle.detach();
        }
    }
    match on(there, what) {
        Ok(handle) => handle.join(),
        Err(error) => println!("{error}"),
    }
    0
}
