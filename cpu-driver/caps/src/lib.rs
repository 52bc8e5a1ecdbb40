//! # `skerry-caps`: the capability logic of one core
//!
//! Pure: no hardware, no memory of its own, no `unsafe`. Slots live in CNodes, which live in RAM that users paid for;
//! the CPU driver lends them through [`Store`]. So the same code runs in the kernel, in the simulator and under proptest.
//!
//! | module | what it holds |
//! | --- | --- |
//! | [`types`] | the one table of capability types: what may become what, what may cross cores and islands |
//! | [`slot`] | [`Slot`], 64 bytes: a capability and its place in the index |
//! | [`index`] | [`Index`]: all of the core's capabilities, ordered by address; finds copies, descendants and overlaps in logarithmic time |
//! | [`db`] | [`Db`]: insert, copy, retype, delete — the rules, over the index |
//!
//! Barrelfish keeps the same index (its *mapping database*) and the same rules with three times the code; what made it
//! heavy, types with fields of their own, is here a range and one spare word. Paper §4.7.
//!
//! A slot's layout already carries what agreement between cores needs: the owner core, a mark that copies exist
//! elsewhere, a lock for an operation in flight. Operations answer [`Remote`](skerry_abi::Error::Remote) or
//! [`Busy`](skerry_abi::Error::Busy) where another core has a say.
//!
//! Neighbours: `cpu-driver/abi` below; `cpu-driver/kernel` and `sim` above.
#![cfg_attr(not(test), no_std)]
#![forbid(unsafe_code)]

pub mod db;
pub mod index;
pub mod slot;
pub mod types;

pub use db::Db;
pub use index::Index;
pub use slot::{Cap, Class, Slot, SlotRef, Store};

#[cfg(any(test, feature = "check"))]
mod for_tests;
#[cfg(test)]
mod tests;
