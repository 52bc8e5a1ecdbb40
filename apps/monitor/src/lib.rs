//! # `skerry-app-monitor`, the library: a CPU driver's file, and where its parts go in a core's slice
//!
//! Pure, so that it is tested on the host. The binary beside it pumps events between the machine and
//! [`skerry_monitor`], which decides everything else.
#![cfg_attr(not(test), no_std)]
#![forbid(unsafe_code)]

extern crate alloc;

pub mod driver;
