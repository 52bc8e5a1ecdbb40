//! # `skerry-app-console`, the library: what a serial console shows and reads
//!
//! Pure, so that it is tested on the host: [`edit`] turns received bytes into lines, [`screen`] turns clients' pieces
//! into whole lines beside a prompt, [`backlog`] holds them until the transmitter takes them. The binary beside it drives the UART.
#![cfg_attr(not(test), no_std)]
#![forbid(unsafe_code)]

extern crate alloc;

pub mod backlog;
pub mod edit;
pub mod screen;
