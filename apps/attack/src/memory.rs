//! Memory that is not the domain's own, or not for what it is tried for.
#![expect(unsafe_code, reason = "each of these accesses is wrong on purpose, and is the domain's last")]

use crate::child::Child;
use crate::{Case, SURVIVED};
use alloc::vec::Vec;
use core::hint::black_box;
use core::ptr::with_exposed_provenance_mut;
use skerry_abi::domain::{IMAGE_VADDR, INFO_VADDR, STACK_TOP, slot};
use skerry_abi::{Error, PAGE_SIZE, Rights};
use skerry_arch::attack::{NON_CANONICAL, NULL_SYSCALL, jump_to};
use skerry_hal::FaultKind::{Execute, Read, Write};
use skerry_hal::addr::{DEVICES, KERNEL, PHYSMAP};
use skerry_hal::paging::{ROOT_LEVEL, index, span};
use skerry_user::cap::{ROOT, SELF, VNode};
use skerry_user::vspace::{RW, RX, Space};
use skerry_user::{Domain, clock, println};

/// Where nobody maps anything.
const UNMAPPED: u64 = 0x6000_0000_0000;
/// Where `victim` keeps its secret, in an address space of its own.
const SECRET: u64 = 1 << 44;
/// What `victim` keeps there.
const VALUE: u64 = 0x7365_6372_6574;
/// The last page below the upper half.
const LAST_PAGE: u64 = 0x7fff_ffff_f000;

macro_rules! at {
    ($what:ident, $addr:expr) => {
        |_| {
            $what($addr);
            SURVIVED
        }
    };
}

/// See [`Case`].
pub const CASES: &[Case] = &[
    Case { name: "read-kernel", ends: Some(Read), run: at!(read, KERNEL) },
    Case { name: "read-all-memory", ends: Some(Read), run: at!(read, PHYSMAP + 0x20_0000) },
    Case { name: "read-kernel-devices", ends: Some(Read), run: at!(read, DEVICES) },
    Case { name: "read-null", ends: Some(Read), run: at!(read, 8) },
    Case { name: "read-unmapped", ends: Some(Read), run: at!(read, UNMAPPED) },
    Case { name: "read-domain", ends: Some(Read), run: at!(read, SECRET) },
    Case { name: "read-between", ends: Some(NON_CANONICAL), run: at!(read, 1 << 60) },
    Case { name: "write-kernel", ends: Some(Write), run: at!(write, KERNEL + 0x1000) },
    Case { name: "write-all-memory", ends: Some(Write), run: at!(write, PHYSMAP + 0x20_0000) },
    Case { name: "write-kernel-devices", ends: Some(Write), run: at!(write, DEVICES) },
    Case { name: "write-null", ends: Some(Write), run: at!(write, 8) },
    Case { name: "write-unmapped", ends: Some(Write), run: at!(write, UNMAPPED) },
    Case { name: "write-domain", ends: Some(Write), run: at!(write, SECRET) },
    Case { name: "write-code", ends: Some(Write), run: at!(write, list_address()) },
    Case { name: "write-info", ends: Some(Write), run: at!(write, INFO_VADDR) },
    Case { name: "execute-kernel", ends: Some(Execute), run: at!(execute, KERNEL) },
    Case { name: "execute-all-memory", ends: Some(Execute), run: at!(execute, PHYSMAP + 0x20_0000) },
    Case { name: "execute-null", ends: Some(Execute), run: at!(execute, 16) },
    Case { name: "execute-unmapped", ends: Some(Execute), run: at!(execute, UNMAPPED) },
    Case { name: "execute-stack", ends: Some(Execute), run: at!(execute, STACK_TOP - PAGE_SIZE) },
    Case { name: "execute-data", ends: Some(Execute), run: execute_data },
    Case { name: "execute-heap", ends: Some(Execute), run: execute_heap },
    Case { name: "overflow-stack", ends: Some(Write), run: |_| overflow(black_box(0)) as u8 },
    Case { name: "unmap-itself", ends: Some(Execute), run: unmap_itself },
    Case { name: "return-above", ends: None, run: return_above },
];

fn read(addr: u64) {
    // SAFETY: not at all: it must fault.
    let value = unsafe { with_exposed_provenance_mut::<u64>(addr as usize).read_volatile() };
    println!("read {value:#x} at {addr:#x}");
}

fn write(addr: u64) {
    // SAFETY: not at all: it must fault.
    unsafe { with_exposed_provenance_mut::<u64>(addr as usize).write_volatile(VALUE) };
    println!("wrote at {addr:#x}");
}

fn execute(addr: u64) {
    // SAFETY: not at all: it must fault.
    let code = unsafe { core::mem::transmute::<usize, extern "C" fn()>(black_box(addr) as usize) };
    code();
    println!("executed at {addr:#x}");
}

/// An address of code, aligned for a word.
fn list_address() -> u64 {
    (crate::list as *const () as u64) & !7
}

fn execute_data(_: &mut Domain) -> u8 {
    static DATA: core::sync::atomic::AtomicU64 = core::sync::atomic::AtomicU64::new(0);
    execute(DATA.as_ptr() as u64);
    SURVIVED
}

fn execute_heap(_: &mut Domain) -> u8 {
    let code: Vec<u8> = NULL_SYSCALL.repeat(8);
    execute(code.as_ptr() as u64 & !7);
    SURVIVED
}

/// Calls itself until the page below the stack.
fn overflow(depth: u64) -> u64 {
    let frame = black_box([depth; 64]);
    if depth == u64::MAX {
        return 0;
    }
    overflow(black_box(depth + 1)) + frame[(depth % 64) as usize]
}

/// Takes its own code away, by the page table that it may change.
fn unmap_itself(_: &mut Domain) -> u8 {
    let done = VNode(slot::VSPACE).unmap(0, 1, 0);
    println!("unmapped the first {} GiB: {done:?}", span(ROOT_LEVEL) >> 30);
    SURVIVED
}

/// A system call in the last bytes of user space, which returns to the first address that is not its own. A child tries
/// it, in an address space that has this page alone.
fn return_above(domain: &mut Domain) -> u8 {
    let mut tried = || -> Result<_, Error> {
        let (code, view) = domain.zeroed(PAGE_SIZE, None)?;
        // Entries up there are refused: it has to jump.
        let last = LAST_PAGE + PAGE_SIZE - NULL_SYSCALL.len() as u64;
        view.write(0, &jump_to(last));
        view.write(last - LAST_PAGE, NULL_SYSCALL);
        let copy = domain.mem.copy(code.cap, Rights::all())?;
        let mut space = Space::new(VNode(domain.mem.vnode(ROOT_LEVEL)?.cap));
        let tables = [domain.mem.vnode(2)?.cap, domain.mem.vnode(1)?.cap, domain.mem.vnode(0)?.cap];
        let place = |level| index(LAST_PAGE, level) as u32;
        space.root().map(place(3), 1, tables[0], RW, 0)?;
        VNode(tables[0]).map(place(2), 1, tables[1], RW, 0)?;
        VNode(tables[1]).map(place(1), 1, tables[2], RW, 0)?;
        VNode(tables[2]).map(place(0), 1, copy, RX, 0)?;
        space.map_at(&mut domain.mem, IMAGE_VADDR, code.cap, 0, PAGE_SIZE, RX)?;
        Child::start(domain, ROOT, space.root(), [IMAGE_VADDR, IMAGE_VADDR, 0])?.end()
    };
    match tried() {
        Ok(Some(Execute)) => 0,
        other => {
            println!("return-above: {other:?}");
            SURVIVED
        }
    }
}

/// Keeps a secret in memory of its own, until it is killed, or somebody has changed it: then it exits with 1.
pub fn victim(domain: &mut Domain) -> u8 {
    let mut map = || -> Result<_, Error> {
        let frame = domain.mem.frame(PAGE_SIZE)?;
        let reserved = domain.space.reserve(PAGE_SIZE, SECRET)?;
        if reserved != SECRET {
            return Err(Error::SlotInUse);
        }
        Ok(domain.space.map_at(&mut domain.mem, SECRET, frame.cap, 0, PAGE_SIZE, RW)?)
    };
    if let Err(error) = map() {
        println!("victim: {error}");
        return 3;
    }
    let secret = with_exposed_provenance_mut::<u64>(SECRET as usize);
    // SAFETY: mapped above, for this alone.
    unsafe { secret.write_volatile(VALUE) };
    println!("victim: {VALUE:#x} is at {SECRET:#x}");
    loop {
        let _came = SELF.wait(0, clock::ticks() + clock::span(core::time::Duration::from_millis(5)));
        // SAFETY: as above.
        if unsafe { secret.read_volatile() } != VALUE {
            println!("victim: somebody has changed it");
            return 1;
        }
    }
}

/// Takes all the memory that it can have, touches it, and dies of a fault.
pub fn hog(domain: &mut Domain) -> u8 {
    let mut pages = 0u64;
    for size in [1u64 << 20, 64 << 10, PAGE_SIZE] {
        while let Ok((_, view)) = domain.zeroed(size, None) {
            pages += view.len / PAGE_SIZE;
        }
    }
    println!("hog: {pages} pages are mine");
    write(8);
    SURVIVED
}
