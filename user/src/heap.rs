//! The program's heap: an arena in its own data to begin with, and when that is full, frames of the domain's RAM, mapped
//! one behind the other at [`HEAP`](crate::vspace::column::HEAP). When the domain's RAM is used up, the memory server is asked
//! ([`MoreRam`](crate::mem::MoreRam)). In a domain over several cores it is memory that all of them have instead, and who finds
//! too little of it has more mapped on all of them (`thread/growth.rs`).
//!
//! Which piece goes to whom is the crate `talc`'s work; where more comes from, this module's. It grows by an eighth of
//! what it has, at least [`STEP`]. What it has grown by stays its own.
//!
//! An allocation that fails answers null, as ever; [`lack`] says why, and a panic prints it.
#![expect(unsafe_code, reason = "an allocator hands out memory that the compiler knows nothing of")]

use crate::cap::VNode;
use crate::lock::Exclusive;
use crate::mem::{OWN, Store};
use crate::thread::growth;
use crate::vspace::VmError;
use crate::vspace::column::{Column, HEAP};
use core::alloc::{GlobalAlloc, Layout};
use core::cell::UnsafeCell;
use core::fmt;
use core::mem::MaybeUninit;
use core::ptr::{NonNull, null_mut, with_exposed_provenance_mut};
use core::sync::atomic::{AtomicBool, Ordering};
use skerry_abi::PAGE_SIZE;
use skerry_abi::domain::slot;
use talc::DefaultBinning;
use talc::base::Talc;
use talc::base::binning::Binning;
use talc::source::Source;

/// Bytes that the heap grows by at least.
pub const STEP: u64 = 64 << 10;
/// Bytes that it may have at most, its first arena aside.
const MOST: u64 = 64 << 30;
/// What the allocator may need beside what was asked for.
pub(crate) const SLACK: u64 = 256;

/// Why the heap could not grow.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct OutOfMemory {
    /// Bytes asked of the allocator.
    pub asked: usize,
    /// Bytes that it had been given before, its first arena aside.
    pub had: u64,
    /// The cause.
    pub cause: VmError,
}

impl fmt::Display for OutOfMemory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "no {} bytes of heap, which has grown by {}: {}", self.asked, self.had, self.cause)
    }
}

static LACK: Exclusive<Option<OutOfMemory>> = Exclusive::new(None);

/// Why the last allocation that failed did.
pub fn lack() -> Option<OutOfMemory> {
    LACK.try_with(|lack| *lack).flatten()
}

/// Memory that is mapped already, from where to where, in which the heap goes on growing: in a domain over several cores, where no
/// dispatcher can map it for all in the middle of an allocation.
static COMMON: Exclusive<Option<(u64, u64)>> = Exclusive::new(None);
/// Whether the heap has grown beyond its first arena.
static GROWN: AtomicBool = AtomicBool::new(false);

/// From now on the heap grows in these `len` bytes at `start`, which nobody else uses, and in what is [given](give) to it. Refused
/// if it has grown before.
pub(crate) fn go_on_in(start: u64, len: u64) -> bool {
    COMMON.with(|common| *common = Some((start, start + len)));
    !GROWN.load(Ordering::Relaxed)
}

/// Memory for the heap that it has not taken yet.
static GIVEN: Exclusive<Option<(u64, u64)>> = Exclusive::new(None);

/// Whether there is some.
pub(crate) fn has_more() -> bool {
    GIVEN.with(|given| given.is_some())
}

/// Lets the heap have `len` bytes at `start`, which are mapped wherever it is, when it lacks some. There are none that it
/// [has not taken](has_more).
pub(crate) fn give(start: u64, len: u64) {
    GIVEN.with(|given| *given = Some((start, start + len)));
    LACK.with(|lack| *lack = None);
}

/// Where the allocator gets more from.
#[derive(Debug)]
struct Grow {
    store: &'static Store,
    column: Column,
    /// End of what the allocator has of the column; 0: it has nothing of it.
    top: usize,
}

/// The first `need` bytes of a range, in whole pages, or more; `Some(None)`: there are not so many.
fn take(range: &mut (u64, u64), need: u64) -> Option<Option<(u64, u64)>> {
    let (start, end) = *range;
    let wanted = need.max(STEP).checked_next_multiple_of(PAGE_SIZE).and_then(|len| start.checked_add(len));
    let taken = wanted.filter(|to| *to <= end);
    if let Some(to) = taken {
        range.0 = to;
    }
    Some(taken.map(|to| (start, to)))
}

impl Grow {
    const fn new(store: &'static Store) -> Self {
        Self { store, column: Column::new(VNode(slot::VSPACE), HEAP, MOST), top: 0 }
    }

    /// Maps what `layout` needs, or more: from where to where.
    fn more(&mut self, layout: Layout) -> Result<(u64, u64), OutOfMemory> {
        let (start, size) = (self.column.end(), layout.size() as u64);
        let need = size.saturating_add(layout.align() as u64).saturating_add(SLACK);
        if let Some(taken) = COMMON.with(|common| take(common.as_mut()?, need)) {
            return taken.ok_or(OutOfMemory {
                asked: layout.size(),
                had: 0,
                cause: VmError::Addresses(need),
            });
        }
        GROWN.store(true, Ordering::Relaxed);
        let had = start - HEAP;
        let grown = self.column.grow(self.store, need.max(STEP).max(had / 8));
        let grown = grown.or_else(|_| self.column.grow(self.store, need));
        match grown {
            Ok(bytes) => Ok((start, start + bytes)),
            Err(cause) => Err(OutOfMemory { asked: layout.size(), had, cause }),
        }
    }
}

// SAFETY: what is claimed and extended was just mapped for this heap alone, one piece behind the other, and stays;
// nothing that `more` calls allocates (`mem::Store`, `vspace::Column`).
unsafe impl Source for Grow {
    fn acquire<B: Binning>(talc: &mut Talc<Self, B>, layout: Layout) -> Result<(), ()> {
        if let Some((start, end)) = GIVEN.with(Option::take) {
            let base = with_exposed_provenance_mut(start as usize);
            // SAFETY: the range is mapped, read-write, on every core of the domain, and nobody else's.
            return unsafe { talc.claim(base, (end - start) as usize) }.map(drop).ok_or(());
        }
        let (start, end) = talc.source.more(layout).map_err(|why| {
            LACK.with(|lack| *lack = Some(why));
        })?;
        let new_end = with_exposed_provenance_mut::<u8>(end as usize);
        let top = match NonNull::new(with_exposed_provenance_mut(talc.source.top)) {
            // SAFETY: `old` is what the allocator said the end was, and the memory up to `new_end` is mapped.
            Some(old) => Some(unsafe { talc.extend(old, new_end) }),
            None => {
                let base = with_exposed_provenance_mut(start as usize);
                // SAFETY: the range is mapped, read-write, and nobody else's.
                unsafe { talc.claim(base, (end - start) as usize) }
            }
        };
        talc.source.top = top.ok_or(())?.as_ptr().expose_provenance();
        Ok(())
    }
}

/// What a heap begins with: `N` bytes of the program's own zeroed data, which its spawner paid for. A static of its own:
/// in one with the heap, which is not all zero, it would lie in the program's file.
pub struct Arena<const N: usize>(UnsafeCell<MaybeUninit<[u8; N]>>);

// SAFETY: it is reached only through the heap that was made from it, which lets one caller in at a time.
unsafe impl<const N: usize> Sync for Arena<N> {}

impl<const N: usize> Arena<N> {
    /// `N` bytes.
    #[expect(clippy::new_without_default, reason = "it belongs in a static")]
    pub const fn new() -> Self {
        Self(UnsafeCell::new(MaybeUninit::zeroed()))
    }
}

/// The program's heap.
pub struct Heap {
    talc: Exclusive<Talc<Grow, DefaultBinning>>,
}

impl Heap {
    /// An empty heap: everything fails until [`init`](Self::init).
    #[expect(clippy::new_without_default, reason = "it belongs in a static")]
    pub const fn new() -> Self {
        Self { talc: Exclusive::new(Talc::new(Grow::new(&OWN))) }
    }

    /// Makes `arena`, which no other heap was given, available. Called once, before anything is allocated.
    pub fn init<const N: usize>(&'static self, arena: &'static Arena<N>) {
        self.talc.with(|talc| {
            if !talc.is_metadata_established() {
                // SAFETY: the arena is static, `N` bytes, and belongs to the heap alone, which is empty still. If it is
                // too small for the allocator's own data, the heap grows at once.
                let _end = unsafe { talc.claim(arena.0.get().cast(), N) };
            }
        });
    }
}

/// As the allocator does, without any growth.
impl growth::Plain for Heap {
    fn take(&self, layout: Layout) -> Option<NonNull<u8>> {
        // SAFETY: whoever asks wants more than 0 bytes.
        self.talc.with(|talc| unsafe { talc.allocate(layout) })
    }

    unsafe fn give(&self, at: NonNull<u8>, layout: Layout) {
        // SAFETY: the caller's promise, passed on.
        self.talc.with(|talc| unsafe { talc.deallocate(at.as_ptr(), layout) });
    }
}

// SAFETY: forwards to an allocator, one caller at a time.
unsafe impl GlobalAlloc for Heap {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller's promise, passed on.
        let made = self.talc.with(|talc| unsafe { talc.allocate(layout) });
        if growth::is_due(made.is_some()) {
            return growth::after(self, layout, made).map_or(null_mut(), NonNull::as_ptr);
        }
        made.map_or(null_mut(), NonNull::as_ptr)
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        // SAFETY: the caller's promise, passed on.
        self.talc.with(|talc| unsafe { talc.deallocate(at, layout) });
    }

    unsafe fn realloc(&self, at: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // SAFETY: the caller's promise, passed on.
        if self.talc.with(|talc| unsafe { talc.try_realloc_in_place(at, layout, size) }) {
            return at;
        }
        // SAFETY: the caller's promise: `size`, rounded up to the alignment, does not overflow.
        let wanted = unsafe { Layout::from_size_align_unchecked(size, layout.align()) };
        // SAFETY: the caller's promise: `size` is not 0.
        let new = unsafe { self.alloc(wanted) };
        if !new.is_null() {
            // SAFETY: both are as long, and distinct.
            unsafe { new.copy_from_nonoverlapping(at, layout.size().min(size)) };
            // SAFETY: the caller's promise; the block is not used any more.
            unsafe { self.dealloc(at, layout) };
        }
        new
    }
}
