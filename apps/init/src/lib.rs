//! # `skerry-app-init`, the library: what the firmware says, as facts
//!
//! Firmware describes a machine in ACPI tables (PCs) or a flattened device tree (boards). Skerry reads both in user
//! space (rule `user-pays`; paper §4.9: "device enumeration ... populates the SKB"), here, and turns them into
//! [`skerry_skb`] facts. Nothing is assumed of the tables: each is copied out of memory once, then every length,
//! offset and value is checked, and what is wrong ends in a [`TableError`] that names table and field. No input makes
//! this code panic or loop; how much it reads is bounded by [`limit`].
//!
//! | module | what it holds |
//! | --- | --- |
//! | [`phys`] | [`PhysMem`], how the caller lets us read physical memory |
//! | [`error`] | [`DiscoverError`], [`TableError`] |
//! | [`acpi`] | RSDP → RSDT/XSDT → MADT, SRAT, SLIT, MCFG, SPCR, HPET, FADT |
//! | [`fdt`] | validated device tree → cores, memory, interrupt controller, PCI hosts, console |
//! | [`cores`] | how an island's cores are numbered |
//!
//! [`discover`] does all of it. The binary beside this library (`main.rs`) calls it on the real memory, hands the
//! store to `pci` and the monitor, and spawns them.
//!
//! ACPI tables are laid out with `zerocopy` here rather than with the `acpi` crate, and the tree is re-emitted before
//! the `fdt` crate sees it: docs/decisions/0003-facts.md says why.
#![cfg_attr(not(test), no_std)]
#![cfg_attr(not(test), forbid(unsafe_code))]

extern crate alloc;

pub mod acpi;
pub mod cores;
pub mod error;
pub mod fdt;
pub mod limit;
pub mod phys;

mod discover;

pub use discover::{Firmware, discover};
pub use error::{DiscoverError, Problem, TableError};
pub use phys::PhysMem;

#[cfg(test)]
mod tests;
