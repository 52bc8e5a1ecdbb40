//! # `skerry-kernel`: the CPU driver of one core
//!
//! Event-driven, single-threaded, never preempted; shares no memory with any other core and does not know how many there
//! are (paper §4.3, rule `own-core-only`). It authorises, protects, time-slices and delivers local events. It has no
//! heap and no static variable: a [`Kernel`] lies in its core's own slice, and every object it keeps for a user lies in
//! RAM that the user retyped (rule `user-pays`).
//!
//! | module | what it does |
//! | --- | --- |
//! | [`kernel`] | [`Kernel`], the per-core root, and the three ways in: system call, fault, interrupt |
//! | [`boot`] | builds the core's first domain: `init` on an island's first core, `monitor` elsewhere |
//! | [`dispatcher`] | the dispatcher object, upcalls |
//! | [`sched`] | who runs, who waits, when the clock must ring |
//! | [`cspace`] | finds the slot a [`CPtr`](skerry_abi::CPtr) names |
//! | [`invoke`], [`ops`] | a system call is an invocation of a capability: one file an object type |
//! | `short` | the short ways of LRPC |
//! | [`memory`] | the only `unsafe` module: physical memory as slots, tables, dispatchers |
//!
//! Generic over [`Machine`](skerry_hal::Machine): the same code runs on both ISAs and, over `arch/host`, under test.
//! Neighbours: `caps` decides what an operation may do, `abi` says what it is called, a board wires it to an ISA.
#![cfg_attr(not(test), no_std)]
#![deny(unsafe_code)]

pub mod boot;
pub mod cspace;
pub mod dispatcher;
pub mod invoke;
pub mod kernel;
pub mod memory;
pub mod ops;
pub mod sched;
mod short;

pub use boot::BootError;
pub use kernel::Kernel;

#[cfg(test)]
mod tests;
