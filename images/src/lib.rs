//! # `skerry-images`: from compiled files to running islands (host)
//!
//! | module | what it does |
//! | --- | --- |
//! | [`pack`] | CPU drivers and domains of both ISAs → one bundle (read back by `skerry-bundle`, which guests link too) |
//! | [`arm_image`] | a CPU driver's ELF file → the flat arm64 `Image` that ARM boot loaders start |
//! | [`elf`] | facts about linked files; leaving out what only debuggers read |
//! | [`first`] | a core's first domain, laid out for its CPU driver |
//! | [`fleet`] | the fleet file, read and checked |
//! | [`runner`] | a QEMU for each island: consoles, shell commands, faults, and a clean end |
//!
//! Neighbours: `xtask` and `tests` drive it; below it `skerry-bundle`, and of `urpc` the layout of a window.
#![deny(unsafe_code)]

pub mod arm_image;
pub mod elf;
pub mod error;
pub mod first;
pub mod fleet;
pub mod pack;
pub mod runner;

pub use error::{Error, Result};
