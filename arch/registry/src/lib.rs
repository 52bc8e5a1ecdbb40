//! # `skerry-arch`: the registry of instruction sets
//!
//! The one file that picks an ISA by target (rule `isa-in-arch`): whatever is built on it names no ISA at all. It
//! re-exports the *user seam*, the little that a user program cannot say in portable Rust: the system call
//! instruction, the clock, a pause, a fence, the entry point. An ISA's `user` module has the same names everywhere:
//!
//! | name | what |
//! | --- | --- |
//! | `user::syscall(words)` | an invocation: six words in, code and value out |
//! | `user::ticks()` | the clock, in the ticks of `DomainInfo::frequency` |
//! | `user::relax()` | a hint inside a polling loop |
//! | `user::full_fence()` | orders every load and store before it against every one after |
//! | `user::new_thread(..)` | writes the registers of a thread that will call a function |
//! | `user::switch(..)`, `user::new_stack(..)` | from one thread of a domain to another, without the CPU driver |
//! | `user::set_thread_pointer(..)`, `user::TLS_BELOW`, … | thread-local storage |
//! | `user::random()` | a random number of the processor's own, where it has a source |
//! | `user::ISA`, `user::CONTEXT_BYTES` | the instruction set, and the size of a saved thread |
//! | `user::publish_code(..)` | writes code back to memory, for a core that will start in it with its caches off |
//! | `user_tls!()` | defines thread-local variables as a compiler would: for tests |
//! | `user_start!()` | defines `_start`, which relocates the program and calls `skerry_main` |
//!
//! `attack` is what `apps/attack` tries and may not: instructions, forged registers.
//!
//! Adding an ISA adds one folder beside this one and one block here.
#![no_std]

#[cfg(all(target_arch = "aarch64", not(target_abi = "softfloat")))]
pub use skerry_arch_aarch64::{attack, user, user_start, user_tls};
#[cfg(target_arch = "x86_64")]
pub use skerry_arch_x86_64::{attack, user, user_start, user_tls};
