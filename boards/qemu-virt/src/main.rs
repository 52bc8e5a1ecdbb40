//! QEMU's `virt` machine: see the library beside this binary. On the host there is no board, only the pure modules' tests.
#![cfg_attr(target_os = "none", no_std, no_main)]

#[cfg(target_os = "none")]
mod entry;
#[cfg(target_os = "none")]
mod facts;

#[cfg(not(target_os = "none"))]
fn main() {}
