//! The heap of a domain over several cores grows: by common memory, which is mapped on all of them before anybody has it.
//!
//! No dispatcher can do that in the middle of an allocation: it takes a thread that goes home, has the domain, and waits until
//! all other dispatchers have answered. So it is done after one that failed, by the thread whose it was, which then tries again.
//! What the change itself allocates, on every core, comes from a piece that is set aside until then; and so does what is
//! lacking to those who cannot wait (a scheduler; who has the domain). The next thread that can sees to it that there
//! is such a piece again.
//!
//! What is set aside has an end. Whoever has the domain may allocate less than [`RESERVE`] in a full heap, and must not wait for
//! a thread that allocates.
#![expect(unsafe_code, reason = "a piece of the heap that is given back to it")]

use super::mutex::Mutex;
use super::{common, stack};
use crate::dispatch;
use crate::heap::{self, SLACK, STEP};
use core::alloc::Layout;
use core::ptr::NonNull;
use core::sync::atomic::AtomicU64;
use core::sync::atomic::Ordering::{AcqRel, Relaxed, Release};
use skerry_abi::Error;

/// What is set aside: 32 KiB.
const RESERVE: Layout = Layout::new::<[u128; 2048]>();

/// Where it lies; or that the heap does not grow here, that it is spent, or that there was none to be had.
static RESERVED: AtomicU64 = AtomicU64::new(ALONE);
const ALONE: u64 = 0;
const SPENT: u64 = 1;
const LACKING: u64 = 2;

/// One thread at a time.
static GROWING: Mutex<()> = Mutex::new(());

/// An allocator that does not grow.
pub(crate) trait Plain {
    /// Takes a piece.
    fn take(&self, layout: Layout) -> Option<NonNull<u8>>;

    /// Gives it back.
    ///
    /// # Safety
    /// It was taken so, and nobody uses it.
    unsafe fn give(&self, at: NonNull<u8>, layout: Layout);
}

/// From now on the heap grows so.
pub(super) fn begin() {
    RESERVED.store(SPENT, Relaxed);
}

/// Whether there is something to do [`after`] an allocation that was `made` or not.
#[inline]
pub(crate) fn is_due(made: bool) -> bool {
    let reserved = RESERVED.load(Relaxed);
    reserved == SPENT || (!made && reserved != ALONE)
}

/// Sees to it that what was not made is, if it can be, and that something is set aside.
#[cold]
pub(crate) fn after(heap: &dyn Plain, layout: Layout, made: Option<NonNull<u8>>) -> Option<NonNull<u8>> {
    if made.is_none() {
        spend(heap);
    }
    if !dispatch::is_scheduled() || dispatch::is_off() || stack::holds_domain() {
        return made.or_else(|| heap.take(layout));
    }
    let _one = GROWING.lock();
    let made = made.or_else(|| heap.take(layout)).or_else(|| {
        // If there is no more, that shows at once.
        let _full = grow(layout);
        heap.take(layout)
    });
    if RESERVED.load(Relaxed) == SPENT {
        let set_aside = heap.take(RESERVE).or_else(|| {
            let _full = grow(RESERVE);
            heap.take(RESERVE)
        });
        // If there is none, nobody looks again until something is not made.
        let at = set_aside.map_or(LACKING, |at| at.as_ptr().expose_provenance() as u64);
        RESERVED.store(at, Release);
    }
    made
}

/// What was set aside may be had.
fn spend(heap: &dyn Plain) {
    let at = RESERVED.swap(SPENT, AcqRel);
    if at == SPENT || at == LACKING {
        return;
    }
    if let Some(at) = NonNull::new(core::ptr::with_exposed_provenance_mut(at as usize)) {
        // SAFETY: it was taken from there to be set aside, and who reads its place writes another thing there.
        unsafe { heap.give(at, RESERVE) };
    }
}

/// Gives the heap what `layout` needs, or more.
fn grow(layout: Layout) -> Result<(), Error> {
    if heap::has_more() {
        return Ok(());
    }
    let need = (layout.size() as u64).saturating_add(layout.align() as u64).saturating_add(SLACK);
    let len = need.max(STEP).checked_next_multiple_of(skerry_abi::PAGE_SIZE).ok_or(Error::Full)?;
    let addr = common::map(len)?;
    heap::give(addr, len);
    Ok(())
}
