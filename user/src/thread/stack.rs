//! Stacks, each with an unmapped page below; and the domain, which they are made of.

use super::common;
use super::mutex::{Mutex, MutexGuard};
use super::sched::with;
use super::span::{self, AtHome, at_home};
use super::table::Id;
use crate::Domain;
use crate::dispatch::Off;
use crate::lock::Exclusive;
use alloc::vec::Vec;
use core::ops::{Deref, DerefMut};
use core::sync::atomic::{AtomicU64, Ordering};
use skerry_abi::{Error, PAGE_SIZE};

/// A stack.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Stack {
    pub bottom: u64,
    pub top: u64,
}

impl Stack {
    /// Whether an address lies in the page below it, which is never mapped.
    pub const fn guards(&self, addr: u64) -> bool {
        addr < self.bottom && self.bottom - addr <= PAGE_SIZE
    }

    const fn len(&self) -> u64 {
        self.top - self.bottom
    }
}

/// Stacks of this domain, on whichever core.
pub(super) static STACKS: Exclusive<Pool> = Exclusive::new(Pool::new());

/// Stacks that nobody uses just now.
#[derive(Debug)]
pub(super) struct Pool(Vec<Stack>);

impl Pool {
    pub const fn new() -> Self {
        Self(Vec::new())
    }

    pub fn give(&mut self, stack: Stack) {
        self.0.push(stack);
    }

    /// The smallest that has `bytes`; of those, the one that was used last.
    pub fn take(&mut self, bytes: u64) -> Option<Stack> {
        let fits = self.0.iter().enumerate().rev().filter(|(_, stack)| stack.len() >= bytes);
        let (at, _) = fits.min_by_key(|(_, stack)| stack.len())?;
        Some(self.0.swap_remove(at))
    }
}

/// A new stack.
pub(super) fn make(bytes: u64) -> Result<Stack, Error> {
    let bytes = bytes.next_multiple_of(PAGE_SIZE);
    if span::count() > 1 {
        // A thread may go to any core.
        let bottom = common::map(bytes)?;
        return Ok(Stack { bottom, top: bottom + bytes });
    }
    let (_, view) = domain().zeroed(bytes, None)?;
    // It stays mapped: a thread may be on it, and after that it goes to the pool.
    Ok(Stack { bottom: view.addr, top: view.addr + view.len })
}

static DOMAIN: Mutex<Option<Domain>> = Mutex::new(None);

pub(super) fn keep_domain(domain: Domain) -> Result<(), Error> {
    let mut place = DOMAIN.lock();
    if place.is_some() {
        return Err(Error::BadState);
    }
    *place = Some(domain);
    Ok(())
}

/// The domain, for as long as this lives.
pub struct DomainGuard {
    domain: MutexGuard<'static, Option<Domain>>,
    /// Its capabilities are at home. Goes after the guard.
    _home: AtHome,
}

/// Who has the domain: 0, or its number and 1.
static HOLDER: AtomicU64 = AtomicU64::new(0);

/// The domain of a program with threads; waits until no other thread has it. Making a thread takes it too.
pub fn domain() -> DomainGuard {
    let home = at_home();
    let domain = DOMAIN.lock();
    let own = with(&Off::enter(), |state| state.table.current());
    HOLDER.store(own.map_or(0, |id| u64::from(id.number()) + 1), Ordering::Relaxed);
    DomainGuard { domain, _home: home }
}

/// Whether the thread that runs has the domain.
pub(super) fn holds_domain() -> bool {
    let own = with(&Off::enter(), |state| if state.me() == 0 { state.table.current() } else { None });
    own.is_some_and(has_domain)
}

/// Whether that thread has the domain.
pub(super) fn has_domain(thread: Id) -> bool {
    HOLDER.load(Ordering::Relaxed) == u64::from(thread.number()) + 1
}

impl Drop for DomainGuard {
    fn drop(&mut self) {
        HOLDER.store(0, Ordering::Relaxed);
    }
}

impl Deref for DomainGuard {
    type Target = Domain;

    fn deref(&self) -> &Domain {
        self.domain.as_ref().expect("`thread::start` comes first")
    }
}

impl DerefMut for DomainGuard {
    fn deref_mut(&mut self) -> &mut Domain {
        self.domain.as_mut().expect("`thread::start` comes first")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_smallest_stack_that_fits_is_used_again() {
        let mut pool = Pool::new();
        let stack = |bottom, len| Stack { bottom, top: bottom + len };
        for len in [0x8000, 0x2000, 0x4000] {
            pool.give(stack(0x10_0000, len));
        }
        assert_eq!(pool.take(0x3000), Some(stack(0x10_0000, 0x4000)));
        assert_eq!(pool.take(0x3000), Some(stack(0x10_0000, 0x8000)));
        assert_eq!(pool.take(0x3000), None);
    }

    #[test]
    fn the_page_below_a_stack_guards_it() {
        let stack = Stack { bottom: 0x10_0000, top: 0x11_0000 };
        assert!(stack.guards(0xf_f000) && stack.guards(0xf_ffff));
        assert!(!stack.guards(0x10_0000) && !stack.guards(0xf_efff) && !stack.guards(0x11_0000));
    }
}
