//! The dispatcher object: a domain's presence on this core (paper §4.5).

use crate::sched::{Queue, Share};
use core::mem::offset_of;
use skerry_abi::cap::{DISPATCHER_BYTES, SLOT_BYTES};
use skerry_abi::dispatcher::{DispatcherPage, State};
use skerry_abi::lrpc::MAX_RINGS;
use skerry_caps::SlotRef;
use skerry_hal::{PhysAddr, VirtAddr};

/// Names a dispatcher object by its physical address. 0 names none.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[repr(transparent)]
pub struct DcbRef(u64);

impl DcbRef {
    /// No dispatcher.
    pub const NONE: Self = Self(0);

    /// The dispatcher object at `base`.
    pub const fn new(base: PhysAddr) -> Self {
        Self(base.0)
    }
    /// The dispatcher that an endpoint with this base belongs to: see [`RingRef`].
    pub const fn of_endpoint(base: u64) -> Self {
        Self(base & !(DISPATCHER_BYTES - 1))
    }
    /// Whether it names none.
    pub const fn is_none(self) -> bool {
        self.0 == 0
    }
    /// Where the object lies.
    pub const fn object(self) -> PhysAddr {
        PhysAddr(self.0)
    }
    /// The slot in the object that holds one of the capabilities it keeps.
    pub const fn slot(self, which: KeptSlot) -> SlotRef {
        SlotRef(self.0 + which as u64 * SLOT_BYTES)
    }
}

/// The capabilities a dispatcher object keeps, at its head: what it runs on cannot vanish under it.
#[derive(Clone, Copy)]
pub enum KeptSlot {
    /// Its root CNode.
    Cspace = 0,
    /// Its root page table.
    Vspace = 1,
    /// The frame of its dispatcher page.
    Page = 2,
    /// The endpoint to signal when it dies.
    Death = 3,
}

impl KeptSlot {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Cspace, Self::Vspace, Self::Page, Self::Death];
}

/// The rest of the object.
#[repr(C, align(64))]
pub struct Dcb<C> {
    /// Physical address of the root CNode.
    pub cspace: PhysAddr,
    /// Physical address of the root page table.
    pub vspace: PhysAddr,
    /// Physical address of the dispatcher page.
    pub page: PhysAddr,
    /// Events that came and were not taken.
    pub pending: u64,
    /// Events it waits for; none while it does not.
    pub mask: u64,
    /// When it wants to be woken at the latest, in ticks; 0: never, or it does not wait.
    pub deadline: u64,
    /// The doorbell count it last saw.
    pub doorbells: u64,
    /// Neighbours in the run queue, in the list of waiters, or among the callers of a server.
    pub next: DcbRef,
    /// See `next`.
    pub prev: DcbRef,
    state: u32,
    /// The fault it died of: its kind, and the address from bit 8 on; 0: none.
    pub fault: u64,
    /// Its part of the core.
    pub share: Share,
    /// Rings that were full when it sent, as [`RingRef::bit`] says.
    pub room: u64,
    /// Waits in `ReplyWait`: takes a call at once.
    pub serving: bool,
    /// Whom it must answer.
    pub caller: DcbRef,
    /// Who called and was not heard yet.
    pub callers: Queue,
    /// Whom it called, until the answer comes.
    pub callee: DcbRef,
    /// Its call, until it is heard.
    pub letter: Letter,
    /// User registers while it does not run. Last, so that the rest is near the beginning: its addresses are short.
    pub context: C,
}

/// A synchronous call under way.
#[derive(Clone, Copy, Debug, Default)]
#[repr(C)]
pub struct Letter {
    /// The ring of the endpoint called, which says where a capability lands.
    pub ring: RingRef,
    /// The endpoint's badge.
    pub badge: u64,
    /// What is said; the last word names the capability that comes with it, and the slot for one that comes back.
    pub words: [u64; 5],
}

/// Names the CPU driver's record of a ring by its physical address, which is also the base of its endpoints: it lies in
/// the object of the dispatcher that receives.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[repr(transparent)]
pub struct RingRef(pub u64);

/// Bytes of a record, and the length of an endpoint with a ring.
pub const RING_BYTES: u64 = 64;

impl RingRef {
    /// Record `index` of `at`.
    pub const fn new(at: DcbRef, index: u64) -> Self {
        Self(at.0 + DISPATCHER_BYTES - (1 + index % MAX_RINGS as u64) * RING_BYTES)
    }
    /// Who receives.
    pub const fn receiver(self) -> DcbRef {
        DcbRef::of_endpoint(self.0)
    }
    /// One bit of 64. Two rings may share it: whoever is told of room finds out by sending.
    pub const fn bit(self) -> u64 {
        1 << (((self.0 / RING_BYTES) ^ (self.0 / DISPATCHER_BYTES)) % 64)
    }
}

/// A ring, as the CPU driver remembers it: of what the receiver writes into the header nothing is kept.
#[derive(Clone, Copy, Debug)]
#[repr(C, align(64))]
pub struct Ring {
    /// Where its header is; 0: no such ring.
    pub header: PhysAddr,
    /// Events that a message raises.
    pub events: u64,
    /// Messages written so far.
    pub head: u32,
    /// Slots, less one.
    pub mask: u32,
}

const _: () = assert!(size_of::<Ring>() as u64 == RING_BYTES);

impl<C> Dcb<C> {
    /// Where it starts in the object, after the kept slots.
    pub const OFFSET: u64 = KeptSlot::ALL.len() as u64 * SLOT_BYTES;

    /// Fails to compile where an ISA's context does not fit.
    pub const FITS: () =
        assert!(size_of::<Self>() as u64 + Self::OFFSET + MAX_RINGS as u64 * RING_BYTES <= DISPATCHER_BYTES);

    /// What it is doing.
    pub const fn state(&self) -> State {
        match self.state {
            0 => State::New,
            1 => State::Ready,
            2 => State::Waiting,
            _ => State::Dead,
        }
    }

    /// Sets what it is doing.
    pub const fn set_state(&mut self, state: State) {
        self.state = state as u32;
    }
}

/// The words of a [`DispatcherPage`] that the CPU driver reads and writes, as offsets from its physical address.
pub mod page {
    use super::*;

    /// `disabled` in the low half, `saved_valid` in the high half.
    pub const FLAGS: u64 = offset_of!(DispatcherPage, disabled) as u64;
    /// Entry of the upcall.
    pub const UPCALL: u64 = offset_of!(DispatcherPage, upcall) as u64;
    /// Its stack pointer.
    pub const STACK: u64 = offset_of!(DispatcherPage, upcall_stack) as u64;
    /// Clock frequency.
    pub const FREQUENCY: u64 = offset_of!(DispatcherPage, frequency) as u64;
    /// The core in the low half, the reason of an upcall in the high half.
    pub const CORE: u64 = offset_of!(DispatcherPage, core) as u64;
    /// Kind of a fault.
    pub const FAULT_KIND: u64 = offset_of!(DispatcherPage, fault_kind) as u64;
    /// Its address.
    pub const FAULT_ADDR: u64 = offset_of!(DispatcherPage, fault_addr) as u64;
    /// Its code.
    pub const FAULT_CODE: u64 = offset_of!(DispatcherPage, fault_code) as u64;
    /// Registers of the preempted thread.
    pub const SAVED: u64 = offset_of!(DispatcherPage, saved) as u64;

    const _: () = assert!(offset_of!(DispatcherPage, saved_valid) as u64 == FLAGS + 4);
    const _: () = assert!(offset_of!(DispatcherPage, reason) as u64 == CORE + 4);
}

/// Where an upcall enters.
#[derive(Clone, Copy, Debug)]
pub struct Upcall {
    /// Program counter.
    pub entry: VirtAddr,
    /// Stack pointer.
    pub stack: VirtAddr,
}
