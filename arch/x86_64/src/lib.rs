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
//! | [`pvh`], [`regions`] | pure | what a PVH loader says, and what it means for the first domain |
//! | `attack` | user mode | what a program tries that may not, for `apps/attack` |
//! | [`user`] | user mode | the seam for user code: system call, clock, entry point |
//! | `boot` | privileged | entry from the loader or from another core, temporary tables |
//! | `space` | privileged | the CPU driver's own page tables, W^X, from memory in its slice |
//! | `cpu` | privileged | control registers and what CPUID says |
//! | `trap` | privileged | descriptor tables, stubs, the way out to user mode, the dump |
//! | `interrupt` | privileged | local APIC (xAPIC, x2APIC), doorbell, I/O APIC |
//! | `timer` | privileged | time-stamp counter, one-shot deadlines |
//! | `trampoline` | privileged | starting another core |
//! | `machine` | privileged | all of it as `skerry_hal::Machine` |
//! | `console` | privileged | the early UART |
//!
//! A core's life: `boot` → the board → `cpu`, `space`, `trap::init`, `machine` → the CPU driver → `trap::enter`.
//! From then on the core is in user mode, idle, or in one of the stubs of `trap`.
//!
//! Every core maps its own copy of the image at the same address, so a symbol of the image *is* per-core storage: no
//! segment base points to it, `swapgs` is never used, and both segment bases belong to user programs.
//!
//! Manuals cited as "SDM": Intel 64 and IA-32 Architectures Software Developer's Manual; "APM": AMD64 Architecture
//! Programmer's Manual.
#![cfg_attr(not(test), no_std)]

/// Declares the modules of the privileged half.
macro_rules! privileged {
    ($($name:ident)*) => { $(#[cfg(all(target_arch = "x86_64", target_os = "none"))] pub mod $name;)* };
}

#[cfg(all(target_arch = "x86_64", not(target_os = "none")))]
pub mod attack;
pub mod context;
pub mod paging;
pub mod pvh;
pub mod regions;
#[cfg(target_arch = "x86_64")]
pub mod user;
privileged! { boot console cpu interrupt machine space timer tables trampoline trap }

pub use context::Context;
pub use paging::X86Pages;
