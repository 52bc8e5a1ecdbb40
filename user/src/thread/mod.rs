//! Threads of a domain, scheduled by the domain itself (paper §4.5; Anderson et al., *Scheduler Activations*, 1991).
//!
//! The CPU driver runs a dispatcher; which of the domain's threads runs in it is decided here. A switch from one thread
//! to another is a function call, without the CPU driver. Only a thread that loses the core against its will is saved
//! by the CPU driver, which then *upcalls* the scheduler; such a thread is taken up again with `Op::Resume`.
//!
//! | module | what POSIX calls it |
//! | --- | --- |
//! | [`spawn`](mod@spawn) | create, join, detach |
//! | [`mutex`], [`condvar`], [`rwlock`], [`barrier`], [`once`] | the same |
//! | [`futex`] | (what the others could be made of, for whoever brings their own) |
//! | [`local`], [`tls`] | thread-specific data with destructors; initial-exec thread-local storage of the ELF file |
//! | [`demand`] | `mmap` of anonymous memory: filled when it is touched |
//! | [`fault`] | `SIGSEGV`: a handler for page faults, or an end that names the thread |
//! | [`span`], [`common`], `growth`, [`parallel`] | (none: a domain over several cores, its memory, its heap, loops on all of them) |
//! | [`table`] | run queue, waiters, timers; pure |
//! | [`sched`] | the scheduler: switches, upcalls, the one place where the domain waits |
//!
//! **Atomic** is what runs with the dispatcher disabled ([`dispatch::Off`](crate::dispatch::Off)): all threads of a dispatcher share
//! one core, so nothing else is needed. Allocation does so too: a thread that loses the core inside the allocator is
//! taken up right there, and gives the core up as soon as it leaves it.
//!
//! A program begins with one thread, `main`, and has none of this until it calls [`start`]. When `main` returns, the
//! program ends. A panic ends it too.

pub mod barrier;
mod block_on;
pub mod common;
pub mod condvar;
pub mod demand;
pub(crate) mod events;
pub mod fault;
pub mod futex;
pub(crate) mod growth;
pub mod local;
pub mod mutex;
pub mod once;
pub mod parallel;
mod peers;
pub mod rwlock;
pub mod sched;
pub mod span;
pub mod spawn;
mod stack;
pub mod table;
pub mod tls;
mod word;

pub use barrier::Barrier;
pub use block_on::block_on;
pub use condvar::Condvar;
pub use events::{sleep, sleep_until};
pub use local::Local;
pub use mutex::{Mutex, MutexGuard};
pub use once::{Once, OnceValue};
pub use parallel::parallel_for;
pub use rwlock::RwLock;
pub use sched::{name, start, yield_now};
pub use spawn::{Builder, JoinHandle, SpawnError, spawn};
pub use stack::{DomainGuard, domain};
pub use table::Id;
