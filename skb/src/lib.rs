//! # `skerry-skb`: the system knowledge base
//!
//! What the system knows about the machine it runs on, as typed *facts*, and questions over them. Policy reads facts
//! instead of constants (rule `mechanism-below-policy-above`; paper §4.9): which cores there are, which memory is near
//! which core, where the PCI host keeps its windows. One store per island; facts carry who learnt them, when and how
//! ([`Origin`]), so that they can replicate between islands and leave with the island that owned them.
//!
//! | module | what it holds |
//! | --- | --- |
//! | [`fact`] | the one table of all kinds of facts, and [`Fact`], any of them |
//! | [`field`] | the types that a fact's fields may have, and how each is spelt in a record |
//! | [`wire`] | [`Record`], a fact with its origin; [`WireRecord`], its 64 bytes; conversion both ways, checked |
//! | [`store`] | [`Store`], a bounded set of records |
//! | [`query`] | [`View`]: typed questions about one island |
//! | [`rules`] | [`Knowledge`](rules::Knowledge): rules over facts, written at run time, and questions about what follows |
//! | [`policy`] | multicast trees, transports, driver placement, NUMA order: rule files, and their answers as types |
//! | [`sample`] | a machine of 64 cores and 10,000 facts, to measure with |
//! | [`cmdline`] | [`CommandLine`]: what the fleet runner asserts about an island |
//!
//! A fact flows so: `apps/init` turns firmware tables into facts and `apps/pci` adds its own; both hand them on as
//! [`WireRecord`]s, in a frame or in messages; the receiver decodes each one, which validates it, and
//! [`Store::insert`]s it; monitors and the shell ask a [`View`].
//!
//! All here is pure (rule `sans-io`), and no fact names an ISA's register: a bus address is a number that somebody else
//! makes sense of.
//!
//! Neighbours: below it only `arch/hal`, for the names of things; above it `monitor/` and `apps/`.
#![cfg_attr(not(test), no_std)]
#![forbid(unsafe_code)]

extern crate alloc;

pub mod cmdline;
pub mod fact;
pub mod field;
pub mod policy;
pub mod query;
pub mod rules;
pub mod sample;
pub mod store;
pub mod wire;

pub use cmdline::{CommandLine, CommandLineError, Link};
pub use fact::*;
pub use field::{
    CacheKind, Conduit, ConsoleKind, ControllerKind, InterruptPartKind, LinkKind, Name, PciAddress, PciSpace,
    TimerKind, Trigger,
};
pub use query::View;
pub use skerry_hal::{CoreId, Epoch, HwId, IslandId, PhysAddr, PhysRange};
pub use store::{Store, StoreError};
pub use wire::{Origin, Record, Source, WireError, WireRecord};

#[cfg(test)]
mod tests;
