//! The dispatcher page: upcalls, and switching them off (paper §4.5).
//!
//! A program normally runs disabled, and then the CPU driver takes it up where it was. One that wants to be told when a
//! thread of its loses the core names an upcall, and enables upcalls while a thread runs: the CPU driver puts the
//! thread's registers into the dispatcher page, and enters the upcall on a stack of its own, disabled. Whatever frames
//! the scheduler had when it resumed the thread are gone by then: its state belongs into statics or the heap.
#![expect(unsafe_code, reason = "the dispatcher page is memory that the CPU driver writes too")]

use crate::cap::SELF;
use crate::sys::invoke;
use crate::thread::sched::OWN;
use core::marker::PhantomData;
use core::mem::offset_of;
use core::ptr::with_exposed_provenance_mut;
use core::sync::atomic::{AtomicU32, AtomicU64, Ordering, compiler_fence};
use skerry_abi::dispatcher::{DispatcherPage, disabled as bits, reason};
use skerry_abi::domain::PAGE_VADDR;
use skerry_abi::{Error, Op};
use skerry_arch::user::CONTEXT_BYTES;
use skerry_hal::FaultKind;

/// A thread's registers, in the ISA's own layout.
pub type Registers = [u8; CONTEXT_BYTES];

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

fn word32(offset: usize) -> &'static AtomicU32 {
    let at = with_exposed_provenance_mut(PAGE_VADDR as usize + offset);
    // SAFETY: the spawner mapped the page there, for good; the word is aligned, and only used so by this program.
    unsafe { AtomicU32::from_ptr(at) }
}

fn word64(offset: usize) -> &'static AtomicU64 {
    let at = with_exposed_provenance_mut(PAGE_VADDR as usize + offset);
    // SAFETY: as in `word32`.
    unsafe { AtomicU64::from_ptr(at) }
}

fn disabled() -> &'static AtomicU32 {
    word32(offset_of!(DispatcherPage, disabled))
}

fn saved() -> *mut Registers {
    with_exposed_provenance_mut(PAGE_VADDR as usize + offset_of!(DispatcherPage, saved))
}

/// Copies the registers of the thread that lost the core out of the page.
pub fn take_saved(to: &mut Registers) {
    word32(offset_of!(DispatcherPage, saved_valid)).store(0, Ordering::Relaxed);
    // SAFETY: the page is mapped there; the CPU driver writes this part only for an enabled thread, and none runs.
    unsafe { to.as_mut_ptr().copy_from_nonoverlapping(saved().cast(), CONTEXT_BYTES) };
}

/// Puts a thread's registers into the page, for [`resume`]. The dispatcher is disabled.
pub fn put_saved(from: &Registers) {
    // SAFETY: as in `take_saved`.
    unsafe { saved().cast::<u8>().copy_from_nonoverlapping(from.as_ptr(), CONTEXT_BYTES) };
    word32(offset_of!(DispatcherPage, saved_valid)).store(1, Ordering::Relaxed);
}

/// Whether the upcall came because of a fault.
pub fn is_fault() -> bool {
    word32(offset_of!(DispatcherPage, reason)).load(Ordering::Relaxed) == reason::FAULT
}

/// What the fault was: kind, address, and the ISA's own words.
pub fn fault() -> (FaultKind, u64, u64) {
    let kind = word32(offset_of!(DispatcherPage, fault_kind)).load(Ordering::Relaxed);
    let addr = word64(offset_of!(DispatcherPage, fault_addr)).load(Ordering::Relaxed);
    let code = word64(offset_of!(DispatcherPage, fault_code)).load(Ordering::Relaxed);
    (FaultKind::from_raw(kind).unwrap_or(FaultKind::Other), addr, code)
}

/// From now on, a thread that loses the core while upcalls are enabled is saved, and `upcall` entered on the stack that
/// ends at `stack`. The program goes on disabled.
pub fn set_upcall(upcall: extern "C" fn() -> !, stack: u64) {
    word64(offset_of!(DispatcherPage, upcall_stack)).store(stack, Ordering::Relaxed);
    word64(offset_of!(DispatcherPage, upcall)).store(upcall as *const () as u64, Ordering::Relaxed);
}

/// Takes upcalls back: what faults next stops the dispatcher.
pub fn clear_upcall() {
    word64(offset_of!(DispatcherPage, upcall)).store(0, Ordering::Relaxed);
}

/// Leaves the scheduler's frames and runs a thread; when it loses the core, `upcall` is entered on the stack that ends
/// at `upcall_stack`.
///
/// # Errors
/// [`Error::BadArgument`] if a thread's registers do not fit, and what the CPU driver answers; else it does not return.
pub fn start(thread: &Thread, upcall: extern "C" fn() -> !, upcall_stack: u64) -> Result<(), Error> {
    let mut registers = [0; CONTEXT_BYTES];
    if !skerry_arch::user::new_thread(&mut registers, thread.entry, thread.stack_top, thread.arg) {
        return Err(Error::BadArgument);
    }
    put_saved(&registers);
    set_upcall(upcall, upcall_stack);
    resume()
}

/// Takes the saved thread up again, and enables upcalls.
///
/// # Errors
/// [`Error::BadState`] if no thread is saved; else it does not return.
pub fn resume() -> Result<(), Error> {
    invoke(SELF.0, Op::Resume, [0; 5]).map(drop)
}

/// Whether this dispatcher has a scheduler; without one it is always disabled.
pub(crate) fn is_scheduled() -> bool {
    OWN.scheduled.load(Ordering::Relaxed)
}

/// Whether upcalls are switched off just now.
pub(crate) fn is_off() -> bool {
    disabled().load(Ordering::Relaxed) != 0
}

/// The program goes down: from now on nobody but the thread that runs gets the core.
pub(crate) fn unscheduled() {
    if OWN.scheduled.swap(false, Ordering::Relaxed) {
        disabled().store(bits::OFF, Ordering::Relaxed);
        clear_upcall();
    }
}

/// While it lives the dispatcher is disabled: no other thread of it runs. They nest.
#[derive(Debug)]
pub struct Off {
    outermost: bool,
    /// It is about the thread that made it.
    _own: PhantomData<*mut ()>,
}

impl Off {
    /// Switches upcalls off.
    #[inline]
    pub fn enter() -> Self {
        let outermost = is_scheduled() && disabled().load(Ordering::Relaxed) == 0;
        if outermost {
            disabled().store(bits::OFF, Ordering::Relaxed);
            compiler_fence(Ordering::SeqCst);
        }
        Self { outermost, _own: PhantomData }
    }

    /// For who was switched to for the first time: the dispatcher is disabled, and will be enabled when this goes.
    pub(crate) const fn inherited() -> Self {
        Self { outermost: true, _own: PhantomData }
    }
}

impl Drop for Off {
    #[inline]
    fn drop(&mut self) {
        if self.outermost {
            compiler_fence(Ordering::SeqCst);
            if disabled().load(Ordering::Relaxed) & bits::MISSED != 0 {
                self.make_good();
            }
            disabled().store(0, Ordering::Relaxed);
        }
    }
}

impl Off {
    /// The core was lost meanwhile: others have their turn now.
    #[cold]
    fn make_good(&self) {
        disabled().store(bits::OFF, Ordering::Relaxed);
        crate::thread::sched::missed(self);
    }
}
