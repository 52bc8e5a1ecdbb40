//! # `skerry-hal`: what a CPU driver asks of an instruction set
//!
//! The one seam between code that knows an ISA and code that does not (rule `isa-in-arch`). Everything above
//! `arch/` is generic over the traits here; everything that names a register lives below them. The paper draws
//! the same line: CPU drivers are specialised to the core's architecture, all else is hardware-neutral (§3.2).
//!
//! | module | what it holds |
//! | --- | --- |
//! | [`id`] | names that are unique in the whole system: [`CoreId`], [`IslandId`], [`Epoch`], and [`HwId`], a core's name on its own bus |
//! | [`addr`] | [`PhysAddr`], [`VirtAddr`], [`PhysRange`], page sizes, and the address-space layout both ISAs share |
//! | [`paging`] | [`PageFormat`]: how a page-table entry is spelt, as pure functions; one shape (512 entries, 4 levels) for both ISAs |
//! | [`context`] | [`UserContext`]: a user program's registers, as the CPU driver needs to see them |
//! | [`machine`] | [`Machine`]: everything else a core offers (clock, doorbell, address-space switch, interrupt lines, console) |
//! | [`print`] | [`Print`]: what a CPU driver says on its console, without `core::fmt` |
//! | `enums` | [`numbered!`] and [`reasons!`]: enums that are tables |
//! | [`entry`] | [`Handler`]: what the CPU driver offers to the trap stubs; [`Next`], how a kernel entry ends |
//!
//! An entry runs so: a stub in `arch/<isa>` saves the user registers in the running dispatcher's
//! [`UserContext`], calls one method of the [`Handler`], and does what the returned [`Next`] says. The kernel is
//! never interrupted, so no method here is re-entered.
//!
//! Neighbours: `arch/x86_64`, `arch/aarch64`, `arch/host` implement this; `cpu-driver/kernel` consumes it;
//! `boards/*` wire the two together.
#![cfg_attr(not(test), no_std)]
#![deny(unsafe_code)]

#[macro_use]
mod enums;

pub mod addr;
pub mod context;
pub mod entry;
pub mod id;
pub mod machine;
pub mod paging;
pub mod print;

pub use addr::{PAGE_SIZE, PhysAddr, PhysRange, VirtAddr};
pub use context::UserContext;
pub use entry::{Fault, FaultKind, Handler, Next};
pub use id::{CoreId, Epoch, HwId, Isa, IslandId};
pub use machine::{Machine, StartError};
pub use paging::{MapFlags, PageFormat, Pte};
pub use print::Print;
