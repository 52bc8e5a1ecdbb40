//! # `skerry-app-pci`, the library: what is plugged in
//!
//! Scans a PCI host over a trait for its configuration space, so that it runs on the host over a made-up machine too.
//! It numbers buses where the firmware did not, measures the functions' address windows ("BARs"), leaves those where
//! they are that the firmware placed, places the others in the host's windows, turns memory decoding on, and reports
//! facts. A device is not trusted: what its registers say is checked, every list is bounded, nothing panics.
//!
//! | module | what it holds |
//! | --- | --- |
//! | [`config`] | [`ConfigSpace`], how the caller lets us at configuration space; registers; [`ecam_offset`] |
//! | [`tree`] | buses, bridges and functions; numbering |
//! | [`bar`] | measuring |
//! | [`place`] | placing, opening bridges, turning on |
//! | [`msix`] | capabilities: the table of messages, a virtio device's structures |
//! | [`its`] | a GICv3's translation service, in words |
//! | [`report`] | [`Scan`] to facts: functions, BARs, and windows to other islands |
//!
//! [`scan`] does all of it. The binary beside this library (`main.rs`) calls it with the host's ECAM mapped, and
//! hands the facts and the window frames to `init`.
//!
//! Why not `pci_types`: its access trait consists of `unsafe fn`s, which a crate that forbids unsafe code cannot
//! implement; and it sizes one BAR at a time, trusting it. Registers as in *PCI Local Bus Specification* 3.0, chapter
//! 6, and *PCI-to-PCI Bridge Architecture Specification* 1.2, chapter 3.
//!
//! Neighbours: `skb` for facts; `user/` (binary only).
#![cfg_attr(not(test), no_std)]
#![forbid(unsafe_code)]

extern crate alloc;

pub mod bar;
pub mod config;
pub mod its;
pub mod msix;
pub mod place;
pub mod report;
pub mod tree;

mod scan;

pub use bar::Bar;
pub use config::{ConfigSpace, Width, ecam_offset};
pub use report::facts;
pub use scan::{Problem, Scan, Trouble, scan};
pub use tree::{Bridge, Function};

#[cfg(test)]
mod tests;
