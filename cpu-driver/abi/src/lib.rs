//! # `skerry-abi`: what crosses the kernel boundary
//!
//! Every number, layout and name that a CPU driver and a user program must agree on. The two are built by different
//! compilers' targets and, across a bundle, at different times: so all of it is `repr(C)`, fixed-width and asserted.
//!
//! | module | what it holds |
//! | --- | --- |
//! | [`cap`] | capability types, rights, [`CPtr`] |
//! | [`op`] | operations: a system call *is* an invocation of a capability (paper §4.7) |
//! | [`error`] | [`Error`], what an invocation answers when it does not succeed |
//! | [`boot`] | [`boot::CoreBoot`], what boot glue or a monitor hands to a new core's CPU driver |
//! | [`domain`] | [`domain::DomainInfo`], what a spawner hands to a new domain, and its well-known slots |
//! | [`dispatcher`] | [`dispatcher::DispatcherPage`], the memory a dispatcher shares with its CPU driver |
//! | [`lrpc`] | rings of messages between dispatchers of one core |
//!
//! Neighbours: `cpu-driver/kernel` implements it, `user/` wraps it. Below it only `arch/hal`, whose names it re-exports.
#![cfg_attr(not(test), no_std)]
#![forbid(unsafe_code)]

pub mod boot;
pub mod cap;
pub mod dispatcher;
pub mod domain;
pub mod error;
pub mod lrpc;
pub mod op;

pub use cap::{CPtr, CapType, Rights};
pub use error::Error;
pub use op::Op;
pub use skerry_hal::machine::{FIRST_MESSAGE, IRQ_TABLES_ALIGN, IRQ_TABLES_BYTES};
pub use skerry_hal::{CoreId, Epoch, HwId, Isa, IslandId, PAGE_SIZE, PhysAddr, PhysRange, VirtAddr};
