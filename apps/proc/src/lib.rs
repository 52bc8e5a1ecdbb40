//! # `skerry-app-proc`, the library: which processes a core has, and who waits for them
//!
//! Pure, so that it is tested on the host: [`table`] knows the processes and who listens to them, [`command`] takes the
//! text of a `spawn` apart, [`account`] limits how much RAM a process may ask for, [`portion`] how much of the core's time
//! it may have, [`cores`] on which cores it runs, [`entropy`] has random bytes. The binary beside it makes domains and moves messages.
//!
//! A process is *running*, then a *zombie* until somebody has waited for it, then forgotten. Whoever waits gets its
//! output, as far as he has granted credit; without credit the program waits, and without a listener its lines go to
//! the log.
#![cfg_attr(not(test), no_std)]
#![forbid(unsafe_code)]

extern crate alloc;

pub mod account;
pub mod command;
pub mod cores;
pub mod entropy;
pub mod portion;
pub mod table;
