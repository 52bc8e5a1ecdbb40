//! The memory a dispatcher shares with its CPU driver, and the events it can wait for (paper §4.5).
//!
//! A dispatcher is *disabled* while it runs its own scheduler, and *enabled* while it runs a thread. Losing the core
//! while enabled, it later gets an *upcall*: the CPU driver has put the thread's registers into
//! [`DispatcherPage::saved`], set `disabled`, and enters at `upcall` on `upcall_stack`. Losing the core while disabled,
//! it goes on where it was. A fault while enabled is an upcall too, at once: `reason` tells, and `saved` holds the thread
//! that faulted. A fault while disabled, or without an upcall to enter, is the dispatcher's death. AArch64 cannot restore every register and the PC in user mode, so on both ISAs the
//! dispatcher takes a saved thread up again with [`Op::Resume`](crate::Op::Resume).

use skerry_hal::CoreId;
use skerry_hal::context::MAX_CONTEXT;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// Event bits of [`Op::Wait`](crate::Op::Wait).
pub mod event {
    /// Another core rang: look at your channels.
    pub const DOORBELL: u64 = 1;
    /// A ring that answered `Full` has room: send again.
    pub const ROOM: u64 = 2;
    /// Always there. With it in the mask a wait is a look.
    pub const NOW: u64 = 4;
    /// First bit that endpoints may use; the lower ones are the CPU driver's.
    pub const FIRST_USER: u32 = 8;
    /// All bits that endpoints may use.
    pub const USER: u64 = !0 << FIRST_USER;
}

/// Bits of [`DispatcherPage::disabled`]. 0: a thread runs, and upcalls are enabled.
pub mod disabled {
    /// The scheduler runs.
    pub const OFF: u32 = 1;
    /// Set by the CPU driver: the core was lost meanwhile, which would have been an upcall.
    pub const MISSED: u32 = 2;
}

/// Why an upcall came.
pub mod reason {
    /// The thread lost the core.
    pub const PREEMPTED: u32 = 0;
    /// The thread did what it must not.
    pub const FAULT: u32 = 1;
}

/// What a dispatcher is doing. [`Op::State`](crate::Op::State) answers it in the lowest byte, and above it the
/// [`FaultKind`](skerry_hal::FaultKind) it died of, 0 if of none.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u32)]
pub enum State {
    /// Made, not started.
    New = 0,
    /// Wants the core.
    Ready = 1,
    /// Waits for an event.
    Waiting = 2,
    /// Stopped by `Stop` or by a fault; will not run again.
    Dead = 3,
}

/// One page, mapped read-write in the domain.
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C, align(64))]
pub struct DispatcherPage {
    /// Not 0 while the dispatcher runs its own scheduler, see [`disabled`]. Written by both, on the one core.
    pub disabled: u32,
    /// Set by the CPU driver when `saved` holds a thread; cleared by the dispatcher.
    pub saved_valid: u32,
    /// Where an upcall enters; 0: none, the program is always resumed where it was.
    pub upcall: u64,
    /// Stack pointer at an upcall.
    pub upcall_stack: u64,
    /// Ticks per second of the clock. Written by the CPU driver at `Configure`.
    pub frequency: u64,
    /// The core it runs on. Written by the CPU driver at `Configure`.
    pub core: CoreId,
    /// Why the upcall came, a [`reason`]. Written by the CPU driver, like the fields below.
    pub reason: u32,
    /// At a fault: its [`FaultKind`](skerry_hal::FaultKind).
    pub fault_kind: u32,
    reserved: u32,
    /// At a fault: the address, as in [`Fault::addr`](skerry_hal::Fault::addr).
    pub fault_addr: u64,
    /// At a fault: the ISA's own words.
    pub fault_code: u64,
    /// The preempted thread's registers, in the ISA's own layout.
    pub saved: [u8; MAX_CONTEXT],
    tail: [u8; 4096 - 64 - MAX_CONTEXT],
}

const _: () = assert!(size_of::<DispatcherPage>() == 4096);
