//! What a domain can do as a dispatcher: forged registers, registers with others' secrets, an upcall where nothing is, loops.
#![expect(unsafe_code, reason = "the dispatcher page is memory that the CPU driver writes too")]

use crate::child::Child;
use crate::{Case, SURVIVED};
use core::hint::black_box;
use core::mem::offset_of;
use core::ptr::with_exposed_provenance_mut;
use core::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use core::time::Duration;
use skerry_abi::dispatcher::DispatcherPage;
use skerry_abi::domain::{PAGE_VADDR, slot};
use skerry_abi::op::word0;
use skerry_abi::{CPtr, Error, Op};
use skerry_arch::attack::{CLEARED, FORGERIES, SEEN, forge, hold, look, unprivileged};
use skerry_arch::user::{CONTEXT_BYTES, new_thread};
use skerry_hal::FaultKind::{Execute, Read};
use skerry_hal::addr::KERNEL;
use skerry_user::cap::{ROOT, SELF, VNode};
use skerry_user::sys::invoke;
use skerry_user::{Domain, clock, println, program};

/// Where nobody maps anything.
const UNMAPPED: u64 = 0x6000_0000_0000;
/// Longer than any other domain of the core lets go by without wanting it.
const LONG: Duration = Duration::from_secs(20);
/// Some slices.
const SHORT: Duration = Duration::from_millis(50);
/// Bytes of a stack.
const STACK: u64 = 16 << 10;

/// See [`Case`].
pub const CASES: &[Case] = &[
    Case { name: "forge-registers", ends: None, run: forge_registers },
    Case { name: "upcall-to-kernel", ends: None, run: upcall_to_kernel },
    Case { name: "upcall-to-nothing", ends: Some(Execute), run: upcall_to_nothing },
    Case { name: "fault-upcall-to-nothing", ends: Some(Execute), run: fault_upcall_to_nothing },
    Case { name: "registers", ends: None, run: registers },
    Case { name: "drop-everything", ends: Some(Read), run: drop_everything },
];

fn put<T>(offset: usize, value: T) {
    let at = with_exposed_provenance_mut::<T>(PAGE_VADDR as usize + offset);
    // SAFETY: the spawner mapped the page there, read-write; no reference to it exists.
    unsafe { at.write_volatile(value) };
}

fn spin_for(span: Duration) {
    let end = clock::ticks() + clock::span(span);
    while clock::ticks() < end {
        skerry_user::relax();
    }
}

static WRONG: AtomicU32 = AtomicU32::new(0);
static STACK_TOP: AtomicU64 = AtomicU64::new(0);

/// Tries every forgery in turn; each that is taken lands in a new thread, and nothing is left of the old one.
fn forge_registers(domain: &mut Domain) -> u8 {
    let Ok((_, stack)) = domain.zeroed(2 * STACK, None) else { return SURVIVED };
    STACK_TOP.store(stack.addr + STACK, Ordering::Relaxed);
    try_forgery(0)
}

fn try_forgery(index: u64) -> ! {
    let Some((what, refused, how)) = FORGERIES.get(index as usize) else {
        let wrong = WRONG.load(Ordering::Relaxed);
        println!("{index} tried, {wrong} answered wrongly");
        program::exit(if wrong == 0 { 0 } else { SURVIVED });
    };
    let mut saved = [0; CONTEXT_BYTES];
    // Two stacks in turn: this one is in use.
    let top = STACK_TOP.load(Ordering::Relaxed) + index % 2 * STACK;
    let made = new_thread(&mut saved, landed, top, index) && forge(&mut saved, *how);
    put(offset_of!(DispatcherPage, saved), saved);
    put(offset_of!(DispatcherPage, saved_valid), 1u32);
    let answer = invoke(SELF.0, Op::Resume, [0; 5]);
    if !made || !refused || answer != Err(Error::BadArgument) {
        println!("{what}: {answer:?}");
        WRONG.fetch_add(1, Ordering::Relaxed);
    }
    try_forgery(index + 1)
}

/// Where a forged thread comes out if it was taken.
extern "C" fn landed(index: u64) -> ! {
    put(offset_of!(DispatcherPage, disabled), 1u32);
    let known = FORGERIES.get(index as usize);
    if known.is_none_or(|(_, refused, _)| *refused) || !unprivileged() {
        println!("{}: taken", known.map_or("?", |(what, ..)| what));
        WRONG.fetch_add(1, Ordering::Relaxed);
    }
    try_forgery(index + 1)
}

/// What the holder has in its registers.
const SECRET: u64 = 0x5ec4_e75e_c4e7_5ec4;
/// System calls after which there might be something to see.
const LOOKS: u32 = 2_000;

static HOLDER: AtomicU32 = AtomicU32::new(0);
static HELD: AtomicU64 = AtomicU64::new(0);

/// A dispatcher with a secret in every register gives way, or loses the core, to this one: nothing of it shows here, after
/// whatever system call, and nothing of the CPU driver's own.
fn registers(domain: &mut Domain) -> u8 {
    let Ok((_, stack)) = domain.zeroed(STACK, None) else { return SURVIVED };
    let start = [holder as *const () as u64, stack.addr + STACK, 0];
    let Ok(child) = Child::start(domain, ROOT, VNode(slot::VSPACE), start) else { return SURVIVED };
    HOLDER.store(child.dispatcher.0.0, Ordering::Relaxed);
    let (mut wrong, mut seen) = (0, [0; SEEN]);
    for _ in 0..LOOKS {
        // All full before: what is 0 after was cleared.
        look(&[word0(SELF.0, Op::Nop), !0, !0, !0, !0, !0], &mut seen);
        wrong += seen[..CLEARED].iter().filter(|word| **word != 0).count();
        look(&[word0(SELF.0, Op::Yield), 0, 0, 0, 0, 0], &mut seen);
        // Disguised: to compare with the secret itself, this one would have it in a register, too.
        let odd = black_box(3);
        wrong += seen.iter().filter(|word| word.wrapping_mul(odd) == SECRET.wrapping_mul(3)).count();
    }
    let held = HELD.load(Ordering::Relaxed);
    println!("{held} times in all registers, {wrong} words seen");
    let stopped = child.dispatcher.stop();
    if wrong == 0 && held != 0 && stopped.is_ok() { 0 } else { SURVIVED }
}

extern "C" fn holder(_: u64) -> ! {
    loop {
        // Until it knows its own name, this is refused, and it loses the core in the end.
        hold(&[word0(CPtr(HOLDER.load(Ordering::Relaxed)), Op::Yield), 0, 0, 0, 0, 0], SECRET);
        HELD.fetch_add(1, Ordering::Relaxed);
    }
}

fn enable(upcall: u64, stack: u64) {
    put(offset_of!(DispatcherPage, upcall), upcall);
    put(offset_of!(DispatcherPage, upcall_stack), stack);
    put(offset_of!(DispatcherPage, disabled), 0u32);
}

/// An upcall that would enter the CPU driver is none: the program just goes on.
fn upcall_to_kernel(_: &mut Domain) -> u8 {
    for (upcall, stack) in
        [(KERNEL, KERNEL), (KERNEL + 0x1000, UNMAPPED), (!0, !0), (UNMAPPED, KERNEL), (1 << 47, 8)]
    {
        enable(upcall, stack);
        spin_for(SHORT);
        put(offset_of!(DispatcherPage, disabled), 1u32);
    }
    0
}

fn upcall_to_nothing(_: &mut Domain) -> u8 {
    enable(UNMAPPED, UNMAPPED);
    spin_for(LONG);
    put(offset_of!(DispatcherPage, disabled), 1u32);
    SURVIVED
}

fn fault_upcall_to_nothing(_: &mut Domain) -> u8 {
    enable(UNMAPPED, UNMAPPED);
    read_null()
}

fn read_null() -> u8 {
    // SAFETY: not at all: it must fault.
    let value = unsafe { with_exposed_provenance_mut::<u8>(8).read_volatile() };
    println!("read {value}");
    SURVIVED
}

/// Deletes all it has, its root CNode last; then it has nothing left but the core.
fn drop_everything(domain: &mut Domain) -> u8 {
    let end = domain.info.first_free.0 + 64;
    println!("dropping everything");
    for at in (0..end).rev().map(CPtr).filter(|at| *at != slot::ROOT) {
        // Most of them are empty.
        let _empty = ROOT.delete(at);
    }
    let _ = ROOT.delete(slot::ROOT);
    read_null()
}

/// Never gives the core up.
pub fn spin() -> u8 {
    println!("loop: for ever");
    loop {
        skerry_user::relax();
    }
}

/// Faults, handles the fault, faults: for ever.
pub fn fault_loop(domain: &mut Domain) -> u8 {
    extern "C" fn again() -> ! {
        put(offset_of!(DispatcherPage, disabled), 0u32);
        read_null();
        program::exit(SURVIVED)
    }
    let Ok((_, stack)) = domain.zeroed(STACK, None) else { return SURVIVED };
    println!("fault-loop: for ever");
    enable(again as *const () as u64, stack.addr + STACK);
    read_null()
}
