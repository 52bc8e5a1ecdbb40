//! Physical memory as the CPU driver's own objects. All `unsafe` of the crate is here.
#![expect(unsafe_code, reason = "the one place where physical addresses become references")]

use crate::dispatcher::{Dcb, DcbRef, Ring, RingRef};
use core::ptr::NonNull;
use core::sync::atomic::{AtomicU64, Ordering};
use skerry_caps::{Slot, SlotRef, Store};
use skerry_hal::paging::ENTRIES;
use skerry_hal::{Machine, PhysAddr};

/// Lends the objects that lie in RAM.
///
/// Soundness: every address that comes in here was taken from a capability, and the capability database makes sure that
/// a page of RAM is one kind of object at a time; slots, tables and dispatchers are 64-byte aligned and valid for any
/// bit pattern. The CPU driver is the only code on the only core that touches them, and each borrow lasts as long as
/// that of `self`.
pub struct Memory<M> {
    machine: M,
}

impl<M: Machine> Memory<M> {
    /// Takes the machine whose memory this is.
    pub const fn new(machine: M) -> Self {
        Self { machine }
    }

    /// The machine.
    pub const fn machine(&mut self) -> &mut M {
        &mut self.machine
    }

    /// The machine, to look at.
    pub const fn machine_ref(&self) -> &M {
        &self.machine
    }

    /// The dispatcher object at `at`.
    #[inline]
    pub fn dcb(&mut self, at: DcbRef) -> &mut Dcb<M::Context> {
        let mut ptr = self.dcb_ptr(at);
        // SAFETY: see the type; `at` came from a Dispatcher capability or from a link in another dispatcher.
        unsafe { ptr.as_mut() }
    }

    /// The record of a ring.
    #[inline]
    pub fn ring(&mut self, at: RingRef) -> &mut Ring {
        let mut ptr = self.machine.phys(PhysAddr(at.0)).cast::<Ring>();
        // SAFETY: see the type; `at` came from an Endpoint capability, and lies in a dispatcher object behind its `Dcb`.
        unsafe { ptr.as_mut() }
    }

    fn dcb_ptr(&self, at: DcbRef) -> NonNull<Dcb<M::Context>> {
        self.machine.phys(PhysAddr(at.object().0 + Dcb::<M::Context>::OFFSET)).cast()
    }

    /// The register state of the dispatcher at `at`, for the trap stubs.
    pub fn context_ptr(&mut self, at: DcbRef) -> NonNull<M::Context> {
        NonNull::from(&mut self.dcb(at).context)
    }

    /// Runs `f` on the machine and the registers of `at` at once.
    pub fn with_context<R>(&mut self, at: DcbRef, f: impl FnOnce(&mut M, &mut M::Context) -> R) -> R {
        let mut ptr = self.dcb_ptr(at);
        // SAFETY: as in `dcb`; the machine itself lies elsewhere, so the two borrows do not meet.
        let dcb = unsafe { ptr.as_mut() };
        f(&mut self.machine, &mut dcb.context)
    }

    /// A page-table entry.
    pub fn entry(&self, table: PhysAddr, index: usize) -> u64 {
        self.entries(table, index, 1)[0].load(Ordering::Relaxed)
    }

    /// Sets a page-table entry.
    pub fn set_entry(&mut self, table: PhysAddr, index: usize, value: u64) {
        self.entries(table, index, 1)[0].store(value, Ordering::Relaxed);
    }

    /// `count` page-table entries from `first`: atomic, since the hardware walker reads them at any time.
    #[inline]
    pub fn entries(&self, table: PhysAddr, first: usize, count: usize) -> &[AtomicU64] {
        let first = first % ENTRIES;
        let ptr = self.machine.phys(PhysAddr(table.0 + first as u64 * 8)).cast();
        // SAFETY: see the type, and no more than the table has; the walker sets no bit (accessed and dirty are preset).
        unsafe { core::slice::from_raw_parts(ptr.as_ptr(), count.min(ENTRIES - first)) }
    }

    /// Clears `len` bytes of RAM that are no object yet.
    pub fn clear(&mut self, at: PhysAddr, len: u64) {
        let ptr = self.machine.phys(at);
        // SAFETY: the caller holds the range exclusively: it was just carved out of RAM.
        unsafe { ptr.write_bytes(0, len as usize) }
    }

    /// Reads a word of memory that a user shares and may change at any time.
    pub fn read_shared(&self, at: PhysAddr) -> u64 {
        let ptr = self.machine.phys(at).cast::<u64>();
        // SAFETY: `at` lies in a frame that a dispatcher was configured with, is 8-byte aligned, and any bits are a u64.
        unsafe { ptr.read_volatile() }
    }

    /// Writes a word of such memory.
    pub fn write_shared(&mut self, at: PhysAddr, value: u64) {
        let ptr = self.machine.phys(at).cast::<u64>();
        // SAFETY: as in `read_shared`.
        unsafe { ptr.write_volatile(value) }
    }

    /// Copies out of memory that a user shares.
    pub fn copy_out(&self, at: PhysAddr, to: &mut [u8]) {
        let (ptr, len) = (self.machine.phys(at), to.len());
        // SAFETY: the range lies in the frame of a dispatcher page, which only this core's user can write, and it is
        // not running.
        unsafe { ptr.copy_to_nonoverlapping(NonNull::from(to).cast(), len) }
    }

    /// Copies into memory that a user shares, or that is no object yet.
    pub fn copy_in(&mut self, at: PhysAddr, from: &[u8]) {
        let ptr = self.machine.phys(at);
        // SAFETY: as in `copy_out`, or the range was just carved out of RAM.
        unsafe { ptr.copy_from_nonoverlapping(NonNull::from(from).cast(), from.len()) }
    }

    /// Copies between two ranges of RAM that do not meet, the second no object yet.
    pub fn copy_within(&mut self, from: PhysAddr, to: PhysAddr, len: u64) {
        let (from, to) = (self.machine.phys(from), self.machine.phys(to));
        // SAFETY: boot code only: the source is the starter's file, the target was just carved out of RAM.
        unsafe { from.copy_to_nonoverlapping(to, len as usize) }
    }

    /// Bytes of RAM that nothing changes while they are looked at: the first domain's file.
    pub fn bytes(&self, at: PhysAddr, len: u64) -> &[u8] {
        let ptr = self.machine.phys(at);
        // SAFETY: boot code only: the range is RAM that the starter handed over with the boot record.
        unsafe { core::slice::from_raw_parts(ptr.as_ptr(), len as usize) }
    }
}

impl<M: Machine> Store for Memory<M> {
    #[inline]
    fn slot(&self, at: SlotRef) -> &Slot {
        let ptr = self.machine.phys(PhysAddr(at.0)).cast();
        // SAFETY: see the type; slots lie in CNodes or at the head of dispatcher objects, outside any `Dcb`.
        unsafe { ptr.as_ref() }
    }

    #[inline]
    fn slot_mut(&mut self, at: SlotRef) -> &mut Slot {
        let mut ptr = self.machine.phys(PhysAddr(at.0)).cast();
        // SAFETY: as above; `self` is borrowed mutably.
        unsafe { ptr.as_mut() }
    }
}
