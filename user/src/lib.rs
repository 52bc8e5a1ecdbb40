//! # `skerry-user`: what every domain links
//!
//! A domain is an ordinary program with a root CNode full of capabilities and nothing else: this crate turns those into
//! memory, channels, children and time. It knows no instruction set; what it needs of one comes through `skerry-arch`.
//!
//! | module | what it holds |
//! | --- | --- |
//! | [`rt`] | [`main!`]: from `_start` to the program's `main`; panics |
//! | [`sys`] | the system call: one invocation of one capability |
//! | [`cap`] | typed capabilities: [`cap::Ram`], [`cap::Frame`], [`cap::VNode`], … |
//! | [`cspace`] | [`cspace::Slots`]: which capability slots are free |
//! | [`ram`] | [`ram::Pool`]: which RAM is free, by NUMA node |
//! | [`mem`] | [`mem::Memory`]: both together: objects made on demand and taken back (rule `user-pays`) |
//! | [`vspace`] | [`vspace::Space`]: an address space, the domain's own or a child's: map, unmap, protect, reserve |
//! | [`heap`] | the allocator, and what it grows by |
//! | [`domain`] | [`domain::Domain`]: what this domain was given, and all of the above for itself |
//! | [`info`] | [`info::Info`]: what a domain was told, read |
//! | [`image`] | checks a static-PIE ELF file and plans its segments; pure |
//! | [`more`] | RAM, and random bytes, from the memory server of the core |
//! | [`program`] | what a program has of the process server that started it: output, exit status |
//! | [`spawn`] | [`spawn::Child`]: a new domain, piece by piece |
//! | [`chan`] | [`chan::Chan`]: a URPC channel with a way to wake its peer |
//! | [`lrpc`] | messages between domains of one core: rings, calls |
//! | [`pair`] | calls by a pair of rings, for which one thread waits and not the domain |
//! | [`agent`] | capabilities that other cores hold, too: sharing them, and what needs their agreement |
//! | [`interrupt`] | a driver's interrupt line: messages with a count |
//! | [`exec`] | the executor: tasks, timers, bounded polling, then one blocking wait |
//! | [`dispatch`] | upcalls, and switching them off (paper §4.5) |
//! | [`thread`] | threads under this domain's own scheduler, and all that they wait with |
//! | [`entropy`] | random bytes, or an error |
//! | [`log`], [`clock`] | the log, and the ways to the console; ticks and nanoseconds |
//!
//! The flow: `_start` → [`main!`] → [`domain::Domain::take`] → the program spawns tasks on [`exec::Executor`] → each
//! polls channels; when none is ready the executor arms their wake requests and blocks in the CPU driver.
//!
//! Neighbours: `apps/` above; `cpu-driver/abi`, `urpc`, `arch` below.
#![cfg_attr(not(test), no_std)]
#![deny(unsafe_code)]

extern crate alloc;

pub mod agent;
pub mod cap;
pub mod chan;
pub mod clock;
pub mod cspace;
pub mod dispatch;
pub mod domain;
pub mod entropy;
pub mod exec;
pub mod heap;
pub mod image;
pub mod info;
pub mod interrupt;
mod lock;
pub mod log;
pub mod lrpc;
pub mod mem;
pub mod more;
pub mod pair;
pub mod program;
pub mod ram;
pub mod remote;
pub mod rt;
pub mod sample;
pub mod spawn;
pub mod sys;
#[cfg(test)]
mod testing;
pub mod thread;
mod view;
pub mod vspace;

pub use ::log as logging;
pub use domain::Domain;
pub use skerry_abi as abi;
pub use skerry_abi::Error;
pub use skerry_arch::user::{ISA, full_fence, relax};
pub use skerry_arch::{user_start, user_tls};
