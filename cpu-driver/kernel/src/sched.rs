//! Who runs, and when the clock must ring. Queues are threaded through the dispatcher objects.
//!
//! A *level* is a priority, and within it two queues: who was woken by an interrupt with a part of its slice left goes
//! before who waits for its turn. So a domain that waits for devices answers them at once, and yet none gets more than
//! a slice in each round of its priority, however often it waits: what is left of a slice is kept while it waits, and
//! a fresh one is had only at the end of the queue. Below all priorities are those whose budget is used up.

use crate::dispatcher::{Dcb, DcbRef};
use crate::memory::Memory;
use skerry_hal::Machine;

/// Dispatchers that one core can hold: bounds every walk of a queue, and with it a kernel entry that wakes them all.
pub const MAX_DISPATCHERS: u32 = 128;
/// Time slices a second.
const SLICES: u64 = 200;
/// Priorities there are; higher goes first.
pub const PRIORITIES: u32 = 8;
/// The priority of a new dispatcher.
pub const DEFAULT_PRIORITY: u32 = 3;
/// The level of those whose budget is used up.
pub const EXHAUSTED: u32 = 0;
/// Room for a level each: a power of two, so that an index is cut to it by one instruction.
const LEVELS: usize = (1 + 2 * PRIORITIES as usize).next_power_of_two();

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
    #[inline(never)]
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

/// What a dispatcher may use of the core; part of its object. All zero: no limit, no slice begun.
#[derive(Clone, Copy, Debug, Default)]
#[repr(C)]
pub struct Share {
    /// Ticks left of the slice it lost the core in; 0: its next one is whole.
    slice: u64,
    /// Ticks that it may run in a period; 0: no limit.
    budget: i64,
    period: u64,
    /// What is left of the budget, or has been overdrawn; until when; and since when it runs.
    left: i64,
    renewal: u64,
    since: u64,
    /// 0 to 7.
    priority: u32,
    /// The level it is queued at, or was taken from.
    pub level: u32,
    /// Its place among all.
    index: u32,
    /// It schedules threads: it hears of the end of its slice even if nobody else is ready.
    pub upcalls: bool,
}

impl Share {
    /// Sets priority and budget.
    pub const fn set(&mut self, priority: u32, budget: u64, period: u64, now: u64) {
        (self.priority, self.budget, self.period) = (priority, budget as i64, period);
        (self.left, self.renewal, self.since) = (self.budget, now.saturating_add(period), now);
    }

    /// Charges what it ran until `now`; starts a new period if it is time. What it ran beyond its budget because the clock
    /// rang late (a hypervisor had the core, say) is taken off the next; what it had because nobody else wanted it, is not.
    fn charge(&mut self, now: u64, ran: bool) {
        if ran && self.left > 0 {
            self.left -= (now - self.since) as i64;
        }
        self.since = now;
        if now >= self.renewal {
            (self.left, self.renewal) = (self.left.min(0) + self.budget, now.saturating_add(self.period));
        }
    }
}

/// The core's schedule.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct Schedule {
    /// Who has the core.
    pub current: DcbRef,
    /// Who waits for a time or for the doorbell.
    pub waiting: Queue,
    count: u32,
    /// Levels with somebody in them.
    levels: u32,
    /// When the current slice ends.
    slice_end: u64,
    /// When the current dispatcher stops although nobody else is ready; `u64::MAX`: never.
    budget_end: u64,
    /// When the first of the exhausted may have budget again, or earlier; `u64::MAX`: none is queued.
    pub renewal: u64,
    /// The earliest deadline of a waiter, or earlier; `u64::MAX`: none.
    pub earliest: u64,
    /// What the timer is set to; `u64::MAX`: nothing.
    pub armed: u64,
    /// Who wants the core.
    ready: [Queue; LEVELS],
    /// Every dispatcher that was started and is not dead.
    everyone: [DcbRef; MAX_DISPATCHERS as usize],
}

impl Schedule {
    /// Nobody there.
    #[expect(clippy::new_without_default, reason = "a core has one")]
    pub fn new() -> Self {
        Self {
            current: DcbRef::NONE,
            waiting: Queue::default(),
            everyone: [DcbRef::NONE; MAX_DISPATCHERS as usize],
            count: 0,
            levels: 0,
            ready: [Queue::default(); LEVELS],
            slice_end: 0,
            budget_end: u64::MAX,
            renewal: u64::MAX,
            earliest: u64::MAX,
            armed: u64::MAX,
        }
    }

    /// One more dispatcher. Answers `false` if there are [`MAX_DISPATCHERS`].
    #[must_use]
    pub fn add<M: Machine>(&mut self, memory: &mut Memory<M>, at: DcbRef) -> bool {
        let Some(place) = self.everyone.get_mut(self.count as usize) else { return false };
        *place = at;
        memory.dcb(at).share.index = self.count;
        self.count += 1;
        true
    }

    /// One less.
    pub fn drop<M: Machine>(&mut self, memory: &mut Memory<M>, at: DcbRef) {
        let index = memory.dcb(at).share.index;
        self.count -= 1;
        let last = self.everyone[self.count as usize % self.everyone.len()];
        self.everyone[index as usize % self.everyone.len()] = last;
        memory.dcb(last).share.index = index;
    }

    /// Dispatcher number `n`, in no order; `None` behind the last.
    pub fn nth(&self, n: usize) -> Option<DcbRef> {
        self.everyone[..self.count as usize % (self.everyone.len() + 1)].get(n).copied()
    }

    /// Queues `at`. Whoever goes on with a slice goes to the front; `woken`: if it has some left, before all others of its
    /// priority.
    pub fn enqueue<M: Machine>(&mut self, memory: &mut Memory<M>, at: DcbRef, woken: bool) {
        let share = &mut memory.dcb(at).share;
        let (front, mut level) = (share.slice != 0 && !woken, 1 + 2 * share.priority);
        level += u32::from(share.slice != 0 && woken);
        if share.budget != 0 {
            let now = memory.machine_ref().now();
            let share = &mut memory.dcb(at).share;
            share.charge(now, false);
            if share.left <= 0 {
                level = EXHAUSTED;
                self.renewal = self.renewal.min(share.renewal);
            }
        }
        memory.dcb(at).share.level = level;
        if self.levels == 0 && !self.current.is_none() {
            self.extend(memory);
        }
        self.levels |= 1 << level;
        let queue = &mut self.ready[level as usize % LEVELS];
        if front { queue.push_front(memory, at) } else { queue.push_back(memory, at) }
    }

    /// Takes out one that is queued.
    pub fn remove<M: Machine>(&mut self, memory: &mut Memory<M>, at: DcbRef) {
        let level = memory.dcb(at).share.level as usize % LEVELS;
        self.ready[level].remove(memory, at);
        if self.ready[level].is_empty() {
            self.levels &= !(1 << level);
        }
    }

    /// Gives the core to the first of the highest level. Answers whether anybody is ready.
    pub fn pick<M: Machine>(&mut self, memory: &mut Memory<M>) -> bool {
        let Some(level) = self.levels.checked_ilog2() else { return false };
        let next = self.ready[level as usize % LEVELS].first();
        self.remove(memory, next);
        let (now, whole) = (memory.machine_ref().now(), memory.machine_ref().frequency() / SLICES);
        let share = &mut memory.dcb(next).share;
        self.slice_end = now + if share.slice == 0 { whole } else { share.slice };
        share.slice = 0;
        self.current = next;
        self.budget_end = if share.upcalls { self.slice_end } else { u64::MAX };
        if share.budget != 0 {
            share.charge(now, false);
            // Exhausted and alone, it runs until it has budget again.
            let end = if share.left <= 0 { share.renewal } else { now.saturating_add(share.left as u64) };
            self.budget_end = self.budget_end.min(end);
        }
        true
    }

    /// Takes the core from whoever has it. What is left of the slice stays theirs if they `keep` it.
    #[inline(never)]
    pub fn release<M: Machine>(&mut self, memory: &mut Memory<M>, keep: bool) {
        let current = core::mem::take(&mut self.current);
        if keep || self.budget_end != u64::MAX {
            let now = memory.machine_ref().now();
            let share = &mut memory.dcb(current).share;
            share.slice = if keep { self.slice_end.saturating_sub(now) } else { 0 };
            if share.budget != 0 {
                share.charge(now, true);
            }
        }
    }

    /// Whether nobody who is ready goes before a dispatcher of `level`.
    #[inline]
    pub const fn leads(&self, level: u32) -> bool {
        self.levels >> level <= 1
    }

    /// Passes the core from the current dispatcher to `next`, with its slice, unless a limit is to be looked at or somebody
    /// goes before. Answers whether it did.
    #[inline]
    pub fn pass_to<M: Machine>(&mut self, memory: &mut Memory<M>, next: DcbRef) -> bool {
        let limit = memory.dcb(self.current).share.budget;
        let share = &mut memory.dcb(next).share;
        let level = 1 + 2 * share.priority;
        if limit | share.budget != 0 || !self.leads(level) {
            return false;
        }
        share.level = level;
        let end = if share.upcalls { self.slice_end } else { u64::MAX };
        // The timer is set for the one so far.
        if end < core::mem::replace(&mut self.budget_end, end) {
            self.ring_by(memory.machine(), end);
        }
        self.current = next;
        true
    }

    /// Somebody comes while one has the core alone, or its slice has ended and nobody who comes next is ready: one begins now.
    pub fn extend<M: Machine>(&mut self, memory: &Memory<M>) {
        let now = memory.machine_ref().now();
        if now >= self.slice_end {
            self.slice_end = now + memory.machine_ref().frequency() / SLICES;
        }
    }

    /// Whether the current one must stop at `now` although nobody of a higher level came.
    pub fn is_over<M: Machine>(&self, memory: &mut Memory<M>, now: u64) -> bool {
        // Who was woken gives way to those who wait for their turn.
        let level = memory.dcb(self.current).share.level;
        let floor = if level == EXHAUSTED { EXHAUSTED } else { (level - 1) | 1 };
        now >= self.budget_end || (now >= self.slice_end && self.levels >> floor != 0)
    }

    /// Queues those of the exhausted anew who have budget again.
    pub fn renew<M: Machine>(&mut self, memory: &mut Memory<M>) {
        let mut queue = core::mem::take(&mut self.ready[EXHAUSTED as usize]);
        self.levels &= !(1 << EXHAUSTED);
        self.renewal = u64::MAX;
        while !queue.is_empty() {
            let at = queue.first();
            queue.remove(memory, at);
            self.enqueue(memory, at, false);
        }
    }

    /// A waiter came that wants to be woken at `deadline` (0: never).
    #[inline]
    pub fn note_deadline(&mut self, deadline: u64) {
        if deadline != 0 {
            self.earliest = self.earliest.min(deadline);
        }
    }

    /// Sets the timer for whatever comes first. One that is set too early stays: it rings once in vain, which costs less
    /// than to set it at every switch.
    #[inline(never)]
    pub fn arm<M: Machine>(&mut self, machine: &mut M) {
        let mut want = self.earliest.min(self.budget_end);
        if self.levels != 0 {
            want = want.min(self.slice_end).min(self.renewal);
        }
        self.ring_by(machine, want);
    }

    #[inline(always)]
    fn ring_by<M: Machine>(&mut self, machine: &mut M, moment: u64) {
        if moment < self.armed {
            self.armed = moment;
            machine.set_deadline(Some(moment));
        }
    }
}

impl<C> Dcb<C> {
    /// Whether it is in the list of those who wait for a time or for the doorbell, if it waits.
    #[inline]
    pub const fn is_listed(&self) -> bool {
        self.deadline != 0 || self.mask & skerry_abi::dispatcher::event::DOORBELL != 0
    }
}

#[cfg(test)]
impl Schedule {
    /// Everybody in the run queues, each checked to be in its own.
    pub(crate) fn check_ready<M: Machine>(&self, memory: &mut Memory<M>) -> Vec<DcbRef> {
        let mut all = Vec::new();
        for (level, queue) in self.ready.iter().enumerate() {
            assert_eq!(self.levels >> level & 1 != 0, !queue.is_empty(), "level {level}");
            let mut at = queue.first();
            while !at.is_none() {
                assert_eq!(memory.dcb(at).share.level as usize, level);
                all.push(at);
                at = memory.dcb(at).next;
            }
        }
        all
    }
}
