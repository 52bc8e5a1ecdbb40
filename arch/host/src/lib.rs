//! # `skerry-arch-host`: a simulated machine, the third ISA
//!
//! What `arch/x86_64` and `arch/aarch64` are to real cores, this is to a test or a simulation: the same traits, over an
//! arena of ordinary memory. Time, interrupts and devices are the test's to give. So the CPU driver that ships runs,
//! unchanged, under a debugger, under proptest and in the simulator (rule `sim-is-real`).
//!
//! | module | what it holds |
//! | --- | --- |
//! | [`machine`] | [`Arena`], an island's RAM; [`HostMachine`], one core; [`Outside`], the test's end of a core |
//! | [`context`] | [`Context`], a user program's registers: a program counter, a stack pointer and a few words |
//! | [`program`] | [`executable`], a program that never runs |
//! | [`paging`] | [`Pages`], a page-table spelling of its own |
//!
//! Neighbours: implements `arch/hal`; used by `cpu-driver/kernel`'s tests and by `sim`.
#![deny(unsafe_code)]

pub mod context;
pub mod machine;
pub mod paging;
pub mod program;

pub use context::Context;
pub use machine::{Arena, HostMachine, Outside};
pub use paging::Pages;
pub use program::executable;
