//! What the trap stubs call, and how a kernel entry ends.

use crate::VirtAddr;
use core::ptr::NonNull;

/// How a kernel entry ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next<C> {
    /// Run the user program whose state is here. If it is the one that made the system call, and its context is not
    /// marked full, the stub takes the short way back.
    Run(NonNull<C>),
    /// Nothing to run: wait for an interrupt, then call [`Handler::interrupt`].
    Idle,
}

crate::numbered! {
    /// Why a user program stopped without asking to. The numbers cross the kernel boundary; 0 is no fault.
    pub enum FaultKind: u32 {
        /// A load from unmapped or forbidden memory.
        Read = 1,
        /// A store to unmapped or read-only memory.
        Write = 2,
        /// An instruction fetch from unmapped or non-executable memory.
        Execute = 3,
        /// An undefined or privileged instruction.
        Instruction = 4,
        /// Misalignment, division by zero, floating-point trap and the like.
        Arithmetic = 5,
        /// A breakpoint or single step.
        Debug = 6,
        /// Anything else the ISA reports.
        Other = 7,
    }
}

/// A user program's fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fault {
    /// What it tried.
    pub kind: FaultKind,
    /// The address it tried it on (for memory faults), else the program counter.
    pub addr: VirtAddr,
    /// The ISA's own words: x86 vector and error code, ARM `ESR_EL1`.
    pub code: u64,
}

/// The CPU driver, as the trap stubs see it. `C` is the ISA's [`UserContext`](crate::UserContext).
///
/// The stub has saved the running program's state in the context that the last [`Next::Run`] named: all of it for
/// [`fault`](Self::fault) and [`interrupt`](Self::interrupt), only what the calling convention preserves for
/// [`syscall`](Self::syscall).
pub trait Handler<C> {
    /// A system call with its six words.
    fn syscall(&mut self, words: [u64; 6]) -> Next<C>;
    /// A fault in the running program.
    fn fault(&mut self, fault: Fault) -> Next<C>;
    /// One or more interrupts are pending; the handler asks [`Machine::next_interrupt`](crate::Machine::next_interrupt)
    /// which. Also called after idling.
    fn interrupt(&mut self) -> Next<C>;
}
