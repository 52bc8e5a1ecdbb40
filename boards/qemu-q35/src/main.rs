//! # `qemu-q35`: QEMU's PC with the Q35 chipset
//!
//! A board is data and glue: what this machine asserts about itself ([`board::BOARD`]), and the way from the loader's
//! entry to the CPU driver's first program. Any PVH loader with this machine's devices will do.
//!
//! Flow: `skerry_pvh` → [`glue::skerry_first`], or `skerry_secondary` → [`glue::skerry_next`] → CPU driver → user mode.
#![cfg_attr(target_os = "none", no_std, no_main)]

#[cfg(target_os = "none")]
mod board;
#[cfg(target_os = "none")]
mod glue;

#[cfg(not(target_os = "none"))]
fn main() {}
