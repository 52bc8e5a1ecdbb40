//! # `skerry-arch-aarch64`: the CPU driver's and the user's view of an AArch64 core
//!
//! Everything that names an Arm register. The paper specialises CPU drivers to their core (§4.3); this crate is that
//! specialisation, behind the traits of `arch/hal`.
//!
//! | module | what it holds | compiled for |
//! | --- | --- | --- |
//! | [`paging`] | how a page-table entry is spelt | everything, tested on the host |
//! | [`context`] | a user program's registers | everything, tested on the host |
//! | [`space`] | the CPU driver's own address space, as a value | everything, tested on the host |
//! | `boot` | from the firmware's jump to Rust: EL2 → EL1, early tables, high half | CPU driver |
//! | `trap`, `dump` | stubs for system calls, faults, interrupts; what is printed when the CPU driver itself fails | CPU driver |
//! | `mmu` | making tables effective, TLB and cache maintenance, the window to devices | CPU driver |
//! | `interrupt`, `gic_*` | GIC versions 2 and 3 as one core sees them | CPU driver |
//! | `timer`, `console`, `psci` | the virtual timer, the PL011, firmware calls | CPU driver |
//! | `machine` | [`Machine`](skerry_hal::Machine) over all of these, vector registers | CPU driver |
//! | `attack` | what a program tries that may not, for `apps/attack` | domains |
//! | `user` | the seam for user code: system call, clock, `_start` | domains |
//!
//! The CPU driver's target is soft-float (`target_abi = "softfloat"`): it never touches a vector register, and that
//! is also how this crate knows which half of it is wanted.
//!
//! Flow: `boot` → the board's `skerry_board_entry` → [`space`] and `mmu` make the final address space → `machine` →
//! the kernel's `boot` → `trap::install`, `trap::enter`; from then on `trap` calls the kernel.
//!
//! Neighbours: `arch/hal` above which everything is generic; `boards/*` which wire this to the kernel.
#![cfg_attr(not(test), no_std)]
#![warn(unsafe_op_in_unsafe_fn)]

pub mod context;
pub mod paging;
pub mod space;

/// Modules of the CPU driver, which name registers that only exist there.
macro_rules! cpu_driver {
    ($($(#[$doc:meta])* $vis:vis $name:ident)*) => { $(
        #[cfg(all(target_arch = "aarch64", target_os = "none", target_abi = "softfloat"))]
        $vis mod $name;
    )* };
}
cpu_driver! {
    boot gic_distributor gic_v2 gic_v3 timer
    pub console pub dump pub interrupt pub machine pub mmu pub psci pub trap
}

#[cfg(all(target_arch = "aarch64", not(target_abi = "softfloat")))]
pub mod attack;
#[cfg(all(target_arch = "aarch64", not(target_abi = "softfloat")))]
pub mod user;
