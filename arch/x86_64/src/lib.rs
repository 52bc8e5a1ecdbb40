//! # `skerry-arch-x86_64`: AMD64 / Intel 64
//!
//! Everything that knows this ISA. Two halves: *pure* modules, which any host compiles and tests, and the privileged
//! half, which exists only in a CPU driver (`x86_64-unknown-none`). The paper's CPU driver is "specialised to the
//! core's architecture" here and nowhere else (§3.2, §4.3).
//!
//! | module | half | what |
//! | --- | --- | --- |
//! | [`paging`] | pure | how a page-table entry is spelt |
//! | [`context`] | pure | a user program's registers |
//! | [`user`] | user mode | the seam for user code: system call, clock, entry point |
//!
//! Manuals cited as "SDM": Intel 64 and IA-32 Architectures Software Developer's Manual; "APM": AMD64 Architecture
//! Programmer's Manual.
#![cfg_attr(not(test), no_std)]

pub mod context;
pub mod paging;
#[cfg(target_arch = "x86_64")]
pub mod user;

pub use context::Context;
pub use paging::X86Pages;
