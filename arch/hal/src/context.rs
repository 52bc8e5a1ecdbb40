//! A user program's registers, as the CPU driver needs to see them.

use crate::VirtAddr;
use zerocopy::FromZeros;

/// The whole register state of a user program on one ISA, in a layout that its trap stubs and the user library
/// share. Lives in a dispatcher object, and, for a preempted thread, in the dispatcher's page.
///
/// A system call saves and restores only what the calling convention preserves. Any method here that changes more
/// marks the context as *full*, and the stub then restores every register.
///
/// All zero is a value: a context is made by clearing the memory of its dispatcher, then [`start`](Self::start).
pub trait UserContext: Clone + FromZeros + 'static {
    /// Bytes that [`save_to`](Self::save_to) writes, floating-point state included. At most
    /// [`MAX_CONTEXT`](crate::context::MAX_CONTEXT).
    const SIZE: usize;

    /// A context that will run `entry` with stack pointer `sp` and `args` in the first argument registers; all else,
    /// floating-point state included, is zero. Interrupts are enabled in it.
    fn start(&mut self, entry: VirtAddr, sp: VirtAddr, args: [u64; 2]);

    /// Sets what a finished invocation returns: an error code (0 is success) and a value.
    fn set_result(&mut self, code: u64, value: u64);

    /// Sets the five further words that a finished call or wait returns.
    fn set_words(&mut self, words: [u64; 5]);

    /// Where the program stands.
    fn pc(&self) -> VirtAddr;

    /// Its stack pointer.
    fn sp(&self) -> VirtAddr;

    /// Writes the full state to `out`, which has [`SIZE`](Self::SIZE) bytes. Valid only after a trap that saved
    /// everything (interrupt or fault), not in a system call.
    fn save_to(&self, out: &mut [u8]);

    /// Takes the full state from `from`, which a user wrote: an allegation. Privileged bits are replaced by safe
    /// ones; returns `false`, changing nothing, if the program counter or stack pointer is not a user address.
    #[must_use]
    fn load_from(&mut self, from: &[u8]) -> bool;
}

/// Room for the register state of either ISA, in bytes.
pub const MAX_CONTEXT: usize = 1024;
