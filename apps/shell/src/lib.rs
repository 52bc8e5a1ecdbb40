//! # `skerry-app-shell`, the library: what the shell understands and how it answers
//!
//! Pure, so that it is tested on the host: [`command`] parses a line, [`table`] spells the answers. The binary beside
//! it talks to the console driver and the monitor.
#![cfg_attr(not(test), no_std)]
#![forbid(unsafe_code)]

extern crate alloc;

pub mod command;
pub mod table;
