//! Who runs, who waits, and when the clock must ring. Round robin with a time slice; whoever an interrupt woke goes
//! first. Queues are threaded through the dispatcher objects.

use crate::dispatcher::DcbRef;
use crate::memory::Memory;
use skerry_hal::Machine;

/// Dispatchers that one core can hold: bounds every walk of a queue, and with it a kernel entry that wakes them all.
pub const MAX_DISPATCHERS: u32 = 128;
/// Time slices a second.
const SLICES: u64 = 200;

/// A queue of dispatchers, doubly linked.
#[derive(Clone, Copy, Debug, Default)]
pub struct Queue {
    head: DcbRef,
    tail: DcbRef,
}

impl Queue {
    /// Whether nobody is in it.
    pub const fn is_empty(&self) -> bool {
        self.head.is_none()
    }
    /// The first.
    pub const fn first(&self) -> DcbRef {
        self.head
    }

    /// Adds one at the end.
    pub fn push_back<M: Machine>(&mut self, memory: &mut Memory<M>, at: DcbRef) {
        let dcb = memory.dcb(at);
        (dcb.prev, dcb.next) = (self.tail, DcbRef::NONE);
        if self.tail.is_none() {
            self.head = at;
        } else {
            memory.dcb(self.tail).next = at;
        }
        self.tail = at;
    }

    /// Adds one at the front.
    pub fn push_front<M: Machine>(&mut self, memory: &mut Memory<M>, at: DcbRef) {
        let dcb = memory.dcb(at);
        (dcb.prev, dcb.next) = (DcbRef::NONE, self.head);
        if self.head.is_none() {
            self.tail = at;
        } else {
            memory.dcb(self.head).prev = at;
        }
        self.head = at;
    }

    /// Takes one out that is in it.
    pub fn remove<M: Machine>(&mut self, memory: &mut Memory<M>, at: DcbRef) {
        let dcb = memory.dcb(at);
        let (prev, next) = (dcb.prev, dcb.next);
        if prev.is_none() {
            self.head = next;
        } else {
            memory.dcb(prev).next = next;
        }
        if next.is_none() {
            self.tail = prev;
        } else {
            memory.dcb(next).prev = prev;
        }
    }
}

/// The core's schedule.
#[derive(Clone, Copy, Debug, Default)]
pub struct Schedule {
    /// Who has the core.
    pub current: DcbRef,
    /// Who wants it.
    pub ready: Queue,
    /// Who waits for events.
    pub waiting: Queue,
    /// How many dispatchers there are, dead ones aside.
    pub count: u32,
    /// When the current slice ends.
    slice_end: u64,
    /// The earliest deadline of a waiter, or earlier; `u64::MAX`: none.
    earliest: u64,
    /// What the timer is set to; `u64::MAX`: nothing.
    armed: u64,
}

impl Schedule {
    /// Nobody there.
    pub fn new() -> Self {
        Self { earliest: u64::MAX, armed: u64::MAX, ..Self::default() }
    }

    /// A waiter came that wants to be woken at `deadline` (0: never).
    pub fn note_deadline(&mut self, deadline: u64) {
        if deadline != 0 {
            self.earliest = self.earliest.min(deadline);
        }
    }

    /// Starts a slice.
    pub fn start_slice<M: Machine>(&mut self, machine: &M) {
        self.slice_end = machine.now() + machine.frequency() / SLICES;
    }

    /// Whether the current slice is over at `now`.
    pub const fn slice_over(&self, now: u64) -> bool {
        now >= self.slice_end
    }

    /// Forgets the known deadlines; the caller notes those that are left.
    pub const fn forget_deadlines(&mut self) {
        self.earliest = u64::MAX;
    }

    /// Whether a waiter's deadline may have come at `now`.
    pub const fn deadline_due(&self, now: u64) -> bool {
        now >= self.earliest
    }

    /// The timer went off.
    pub const fn disarmed(&mut self) {
        self.armed = u64::MAX;
    }

    /// Sets the timer for whatever comes first.
    pub fn arm<M: Machine>(&mut self, machine: &mut M) {
        let slice = if self.ready.is_empty() { u64::MAX } else { self.slice_end };
        let want = self.earliest.min(slice);
        if want != self.armed {
            self.armed = want;
            machine.set_deadline((want != u64::MAX).then_some(want));
        }
    }
}
