//! `memory`: tests the address-space library and the heap where they run, a line a case; status 0 if all hold.
//!
//! `memory guard` runs over the end of its memory into the guard page behind it, `memory readonly` writes to a page after
//! taking that right away: both die of it, as they should.
#![no_std]
#![no_main]

extern crate alloc;

use alloc::vec::Vec;
use skerry_abi::PAGE_SIZE;
use skerry_hal::MapFlags;
use skerry_hal::addr::LARGE_PAGE;
use skerry_user::mem::MemError;
use skerry_user::vspace::{Backing, R, RW, RX, VmError};
use skerry_user::{Domain, Error, heap, println};

// Small, so that it has to grow.
skerry_user::main!(main, heap = 16 << 10);

/// What a case comes to: `Err` says what does not hold.
type Verdict = Result<(), &'static str>;

type Case = fn(&mut Domain) -> Verdict;

const CASES: [(&str, Case); 8] = [
    ("the heap grows", heap_grows),
    ("the heap says why it cannot grow", heap_ends),
    ("pages are as asked", pages),
    ("large pages", large),
    ("bad ranges", bad),
    ("never writable and executable", write_execute),
    ("rights that the frame lacks", rights),
    ("all comes back", all_back),
];

fn main(mut domain: Domain) -> u8 {
    match domain.info.args() {
        "guard" => over_the_end(&mut domain),
        "readonly" => write_read_only(&mut domain),
        _ => {}
    }
    let mut failed = 0;
    for (name, case) in CASES {
        match case(&mut domain) {
            Ok(()) => println!("ok {name}"),
            Err(what) => {
                println!("FAILED {name}: {what}");
                failed = 1;
            }
        }
    }
    failed
}

fn holds(condition: bool, what: &'static str) -> Verdict {
    if condition { Ok(()) } else { Err(what) }
}

fn store(at: u64, value: u64) {
    #[expect(unsafe_code, reason = "the program mapped it, or dies of it")]
    // SAFETY: nothing that the compiler knows lies there.
    unsafe {
        core::ptr::with_exposed_provenance_mut::<u64>(at as usize).write_volatile(value);
    }
}

fn load(at: u64) -> u64 {
    #[expect(unsafe_code, reason = "the program mapped it")]
    // SAFETY: as in `store`.
    unsafe {
        core::ptr::with_exposed_provenance::<u64>(at as usize).read_volatile()
    }
}

fn heap_grows(_: &mut Domain) -> Verdict {
    let mut pieces: Vec<Vec<u64>> = Vec::new();
    for n in 0..64u64 {
        pieces.push((0..1024).map(|word| n << 32 | word).collect());
    }
    let good =
        |n: usize, piece: &Vec<u64>| piece.iter().zip(0u64..).all(|(v, word)| *v == (n as u64) << 32 | word);
    holds(pieces.iter().enumerate().all(|(n, piece)| good(n, piece)), "what was written is not there")?;
    pieces.retain(|piece| piece[0] >> 32 & 1 == 0);
    let again: Vec<u64> = (0..16 << 10).collect();
    holds(
        pieces.iter().all(|piece| good((piece[0] >> 32) as usize, piece)),
        "another allocation wrote there",
    )?;
    holds(again.iter().zip(0u64..).all(|(v, word)| *v == word), "a large piece is not as written")
}

fn heap_ends(_: &mut Domain) -> Verdict {
    let mut much: Vec<u8> = Vec::new();
    holds(much.try_reserve_exact(1 << 30).is_err(), "there is a GiB of it")?;
    let lack = heap::lack().ok_or("no reason is given")?;
    holds(lack.asked == 1 << 30, "the reason is another's")?;
    holds(matches!(lack.cause, VmError::Memory(error) if error.is_lack()), "the cause is not memory")?;
    holds(much.try_reserve_exact(4096).is_ok(), "what failed has spoilt the heap")
}

fn pages(domain: &mut Domain) -> Verdict {
    let Domain { mem, space, .. } = domain;
    let view = space.fresh(mem, 64 * PAGE_SIZE, RW).map_err(|_| "not mapped")?;
    let at = view.addr;
    (0..64).for_each(|n| store(at + n * PAGE_SIZE, n));
    space.protect(at, 64 * PAGE_SIZE, R).map_err(|_| "not made read-only")?;
    holds((0..64).all(|n| load(at + n * PAGE_SIZE) == n), "what was written is not there")?;
    space.protect(at + 8 * PAGE_SIZE, PAGE_SIZE, RW).map_err(|_| "not made writable")?;
    store(at + 8 * PAGE_SIZE, 99);
    space.unmap_range(mem, at + PAGE_SIZE, 7 * PAGE_SIZE).map_err(|_| "not unmapped")?;
    holds(load(at) == 0 && load(at + 8 * PAGE_SIZE) == 99, "its neighbours have changed")?;
    space.unmap(mem, view);
    Ok(())
}

fn large(domain: &mut Domain) -> Verdict {
    let Domain { mem, space, .. } = domain;
    let view = space.fresh(mem, LARGE_PAGE, RW).map_err(|_| "not mapped")?;
    for at in (view.addr..view.addr + LARGE_PAGE).step_by(PAGE_SIZE as usize) {
        store(at, at);
    }
    let good = (view.addr..view.addr + LARGE_PAGE).step_by(PAGE_SIZE as usize).all(|at| load(at) == at);
    let part = space.unmap_range(mem, view.addr, PAGE_SIZE);
    let inside = part == Err(VmError::InLargePage(view.addr + PAGE_SIZE));
    space.unmap(mem, view);
    holds(good, "what was written is not there")?;
    holds(inside, "the pages are small")
}

fn bad(domain: &mut Domain) -> Verdict {
    let Domain { mem, space, .. } = domain;
    let frame = mem.frame(PAGE_SIZE).map_err(|_| "no frame")?;
    let at = space.reserve(4 * PAGE_SIZE, PAGE_SIZE).map_err(|_| "no addresses")?;
    let mut map = |va, len| space.map_at(mem, va, frame.cap, 0, len, RW).map(drop);
    holds(map(at, 0) == Err(VmError::Empty), "no length")?;
    holds(map(at + 1, PAGE_SIZE) == Err(VmError::Unaligned(at + 1)), "unaligned")?;
    let last = !(PAGE_SIZE - 1);
    holds(map(last, PAGE_SIZE) == Err(VmError::NotUser(last)), "the end of all addresses")?;
    holds(map(at, last) == Err(VmError::NotUser(at)), "overflow")?;
    holds(map(1 << 47, PAGE_SIZE) == Err(VmError::NotUser(1 << 47)), "the kernel's half")?;
    holds(map(at - PAGE_SIZE, PAGE_SIZE) == Err(VmError::NotReserved(at - PAGE_SIZE)), "the guard page")?;
    let outside = VmError::Refused("mapping", Error::BadArgument);
    holds(map(at, 2 * PAGE_SIZE) == Err(outside), "past the end of the frame")?;
    holds(map(at, PAGE_SIZE).is_ok() && map(at, PAGE_SIZE) == Err(VmError::Occupied(at)), "twice")?;
    space.release(mem, at).map_err(|_| "not released")?;
    mem.free(frame).map_err(|_| "not freed")
}

fn write_execute(domain: &mut Domain) -> Verdict {
    let Domain { mem, space, .. } = domain;
    let both = RW | MapFlags::EXECUTE;
    holds(space.fresh(mem, PAGE_SIZE, both).map(drop) == Err(VmError::WriteExecute), "mapped")?;
    let view = space.fresh(mem, PAGE_SIZE, RW).map_err(|_| "not mapped")?;
    holds(space.protect(view.addr, PAGE_SIZE, both) == Err(VmError::WriteExecute), "protected")?;
    holds(space.protect(view.addr, PAGE_SIZE, RX).is_ok(), "one after the other is allowed")?;
    space.unmap(mem, view);
    Ok(())
}

fn rights(domain: &mut Domain) -> Verdict {
    let Domain { mem, space, .. } = domain;
    let frame = mem.frame(PAGE_SIZE).map_err(|_| "no frame")?;
    let readable = mem.copy(frame.cap, skerry_abi::Rights::READ | skerry_abi::Rights::GRANT);
    let readable = readable.map_err(|_| "no copy")?;
    let at = space.reserve(PAGE_SIZE, PAGE_SIZE).map_err(|_| "no addresses")?;
    let refused = |result: Result<(), VmError>| matches!(result, Err(VmError::Refused(_, Error::NoRight)));
    let mapped = space.map_backing(mem, at, PAGE_SIZE, &Backing::of(readable, 0), RW).map(drop);
    holds(refused(mapped), "mapped writable")?;
    space.map_backing(mem, at, PAGE_SIZE, &Backing::of(readable, 0), R).map_err(|_| "not mapped")?;
    holds(refused(space.protect(at, PAGE_SIZE, RW)), "made writable")?;
    space.release(mem, at).map_err(|_| "not released")?;
    mem.delete(readable).map_err(|_| "not deleted")?;
    mem.free(frame).map_err(|_| "not freed")
}

fn all_back(domain: &mut Domain) -> Verdict {
    let Domain { mem, space, .. } = domain;
    // So that the lists have grown by then.
    for round in 0..100u64 {
        let (ram, slots) = (mem.free_ram(), mem.free_slots());
        let sizes = [1, 3 + round % 60, 600, 2];
        let views: Result<Vec<_>, _> =
            sizes.iter().map(|pages| space.fresh(mem, pages * PAGE_SIZE, RW)).collect();
        for view in views.map_err(|_| "not mapped")? {
            store(view.addr + view.len - 8, round);
            space.unmap(mem, view);
        }
        space.trim(mem);
        if round > 0 {
            holds(mem.free_ram() == ram, "RAM is missing")?;
            holds(mem.free_slots() == slots, "slots are missing")?;
        }
    }
    // More than any island has.
    let most = mem.free_ram();
    let lack = matches!(
        space.fresh(mem, 1 << 44, RW),
        Err(VmError::Memory(MemError::Ram(_) | MemError::Server(..)))
    );
    space.trim(mem);
    holds(lack, "more than there is")?;
    holds(mem.free_ram() == most, "RAM is missing after the end of it")
}

fn over_the_end(domain: &mut Domain) {
    if let Ok(view) = domain.space.fresh(&mut domain.mem, 4 * PAGE_SIZE, RW) {
        store(view.addr + view.len - 8, 1);
        println!("up to the end");
        store(view.addr + view.len, 1);
        println!("and past it");
    }
}

fn write_read_only(domain: &mut Domain) {
    if let Ok(view) = domain.space.fresh(&mut domain.mem, PAGE_SIZE, RW) {
        store(view.addr, 1);
        if domain.space.protect(view.addr, PAGE_SIZE, R).is_ok() {
            println!("read-only, {}", load(view.addr));
            store(view.addr, 2);
            println!("and written");
        }
    }
}
