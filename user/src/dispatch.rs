//! Upcalls: a thread under a dispatcher of its own program (paper §4.5).
//!
//! A program normally runs disabled, and then the CPU driver takes it up where it was. One that wants to be told when a
//! thread of its loses the core names an upcall, and takes the thread up with [`resume`]: the CPU driver puts the
//! thread's registers into the dispatcher page, and enters the upcall on a stack of its own. Whatever frames the
//! scheduler had when it resumed the thread are gone by then: its state belongs into statics or the heap.
#![expect(unsafe_code, reason = "the dispatcher page is memory that the CPU driver writes too")]

use crate::cap::SELF;
use crate::sys::invoke;
use core::mem::offset_of;
use core::ptr::with_exposed_provenance_mut;
use skerry_abi::dispatcher::DispatcherPage;
use skerry_abi::domain::PAGE_VADDR;
use skerry_abi::{Error, Op};

/// What [`start`] takes.
#[derive(Clone, Copy)]
pub struct Thread {
    /// Its function.
    pub entry: extern "C" fn(u64) -> !,
    /// End of its stack.
    pub stack_top: u64,
    /// Its argument.
    pub arg: u64,
}

fn field<T>(offset: usize) -> *mut T {
    with_exposed_provenance_mut(PAGE_VADDR as usize + offset)
}

/// Leaves the scheduler's frames and runs a thread; when it loses the core, `upcall` is entered on the stack that ends
/// at `upcall_stack`.
///
/// # Errors
/// [`Error::BadArgument`] if a thread's registers do not fit, and what the CPU driver answers; else it does not return.
pub fn start(thread: &Thread, upcall: extern "C" fn() -> !, upcall_stack: u64) -> Result<(), Error> {
    let mut saved = [0; skerry_arch::user::CONTEXT_BYTES];
    if !skerry_arch::user::new_thread(&mut saved, thread.entry, thread.stack_top, thread.arg) {
        return Err(Error::BadArgument);
    }
    let at: *mut [u8; skerry_arch::user::CONTEXT_BYTES] = field(offset_of!(DispatcherPage, saved));
    // SAFETY: the spawner mapped the page there, read-write; this program is disabled, so the CPU driver leaves it alone.
    unsafe { at.write_volatile(saved) };
    let entry: *mut u64 = field(offset_of!(DispatcherPage, upcall));
    // SAFETY: as above.
    unsafe { entry.write_volatile(upcall as *const () as u64) };
    let stack: *mut u64 = field(offset_of!(DispatcherPage, upcall_stack));
    // SAFETY: as above.
    unsafe { stack.write_volatile(upcall_stack) };
    let valid: *mut u32 = field(offset_of!(DispatcherPage, saved_valid));
    // SAFETY: as above.
    unsafe { valid.write_volatile(1) };
    resume()
}

/// Takes the saved thread up again, and enables upcalls.
///
/// # Errors
/// [`Error::BadState`] if no thread is saved; else it does not return.
pub fn resume() -> Result<(), Error> {
    invoke(SELF.0, Op::Resume, [0; 5]).map(drop)
}
