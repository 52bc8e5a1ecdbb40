//! The system call: one invocation of one capability.

use skerry_abi::op::word0;
use skerry_abi::{CPtr, Error, Op};

// Tests run this library on the CPU driver that ships, over the simulated machine.
#[cfg(test)]
use crate::testing::{syscall, syscall_wide};
#[cfg(not(test))]
use skerry_arch::user::{syscall, syscall_wide};

/// Invokes `op` on the capability at `target`.
///
/// # Errors
/// What the CPU driver answers.
#[inline]
pub fn invoke(target: CPtr, op: Op, args: [u64; 5]) -> Result<u64, Error> {
    let [a, b, c, d, e] = args;
    match syscall([word0(target, op), a, b, c, d, e]) {
        (0, value) => Ok(value),
        (code, _) => Err(Error::from_code(code)),
    }
}

/// The same, for operations that answer five words more.
///
/// # Errors
/// What the CPU driver answers.
#[inline]
pub fn invoke_wide(target: CPtr, op: Op, args: [u64; 5]) -> Result<(u64, [u64; 5]), Error> {
    let [a, b, c, d, e] = args;
    match syscall_wide([word0(target, op), a, b, c, d, e]) {
        (0, value, words) => Ok((value, words)),
        (code, ..) => Err(Error::from_code(code)),
    }
}
