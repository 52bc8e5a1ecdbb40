//! The per-core root, and the three ways in.

use crate::dispatcher::{DcbRef, KeptSlot, Upcall, page};
use crate::memory::Memory;
use crate::ops::device::IrqTable;
use crate::sched::Schedule;
use skerry_abi::dispatcher::{State, disabled, event, reason};
use skerry_abi::op::halves;
use skerry_abi::{CapType, CoreId, PhysAddr, VirtAddr};
use skerry_caps::{Db, SlotRef, Store};
use skerry_hal::machine::Interrupt;
use skerry_hal::print::Line;
use skerry_hal::{Fault, Handler, Machine, Next, Print, UserContext};

/// What happened since boot; for [`Op::Counter`](skerry_abi::Op::Counter).
#[derive(Clone, Copy, Debug, Default)]
pub struct Counters {
    /// Entries that were not system calls on the short way.
    pub entries: u64,
    /// Switches from one dispatcher to another.
    pub switches: u64,
    /// Interrupts taken.
    pub interrupts: u64,
    /// Times the core went idle.
    pub idles: u64,
    /// Bytes that the console had no room for in time.
    pub dropped: u64,
}

/// Interrupts that one entry takes at most: other cores may ring faster than this one can listen. Those that are left
/// bring it back at once. (More than an ISA's stub can have taken before it calls.)
const MAX_INTERRUPTS: u32 = 64;

/// One core's CPU driver. What most entries look at comes first: near the beginning, its addresses are short.
#[repr(C)]
pub struct Kernel<M: Machine> {
    pub(crate) core: CoreId,
    /// Whose floating-point registers are in the core.
    float_owner: DcbRef,
    /// Whose address space is active.
    space_owner: DcbRef,
    /// The core's capabilities. (Public, as its memory is, for the simulator, which looks at both.)
    pub caps: Db,
    pub(crate) schedule: Schedule,
    /// The core's memory.
    pub memory: Memory<M>,
    /// CNodes that nobody can reach and that are to be emptied, linked through their own capabilities.
    pub(crate) doomed: SlotRef,
    pub(crate) counters: Counters,
    /// Times another core rang.
    pub(crate) doorbells: u64,
    pub(crate) irqs: IrqTable,
}

/// How an invocation ends for its caller.
pub(crate) enum Outcome {
    /// With a value, at once.
    Value(u64),
    /// Later, or with all registers replaced: the context is as it should be.
    Switched,
}

impl<M: Machine> Kernel<M> {
    pub(crate) fn new(core: CoreId, machine: M) -> Self {
        const { crate::dispatcher::Dcb::<M::Context>::FITS };
        Self {
            core,
            memory: Memory::new(machine),
            caps: Db::new(core),
            doomed: SlotRef::NONE,
            schedule: Schedule::new(),
            irqs: IrqTable::default(),
            counters: Counters::default(),
            doorbells: 0,
            float_owner: DcbRef::NONE,
            space_owner: DcbRef::NONE,
        }
    }

    /// Who this core is.
    pub const fn core(&self) -> CoreId {
        self.core
    }

    /// The machine, for the panic path.
    pub const fn machine(&mut self) -> &mut M {
        self.memory.machine()
    }

    /// Writes to the console what it has room for in time, and counts the rest.
    pub(crate) fn say(&mut self, bytes: &[u8]) {
        self.counters.dropped += self.memory.machine().console(bytes) as u64;
    }

    /// Picks who runs, and makes the core theirs.
    pub(crate) fn dispatch(&mut self) -> Next<M::Context> {
        if self.schedule.current.is_none() && !self.schedule.pick(&mut self.memory) {
            self.counters.idles += 1;
            self.schedule.arm(self.memory.machine());
            return Next::Idle;
        }
        self.schedule.arm(self.memory.machine());
        self.run(self.schedule.current)
    }

    /// A system call that has no short way. Its words come one by one: in memory, they would need a stack on every way.
    #[inline(never)]
    fn long_way(&mut self, a: u64, b: u64, c: u64, d: u64, e: u64, f: u64) -> Next<M::Context> {
        if let Some(next) = self.short_send(&[a, b, c, d, e, f]) {
            return self.run(next);
        }
        let current = self.schedule.current;
        let (code, value) = match self.operate(&[a, b, c, d, e, f]) {
            Ok(Outcome::Value(value)) => (0, value),
            Ok(Outcome::Switched) => return self.dispatch(),
            Err(error) => (error as u64, 0),
        };
        let context = &mut self.memory.dcb(current).context;
        context.set_result(code, value);
        Next::Run(context.into())
    }

    /// Makes the core `next`'s.
    pub(crate) fn run(&mut self, next: DcbRef) -> Next<M::Context> {
        self.load(next);
        Next::Run(self.memory.context_ptr(next))
    }

    #[inline]
    fn load(&mut self, next: DcbRef) {
        if self.float_owner != next {
            if !self.float_owner.is_none() {
                self.memory.with_context(self.float_owner, |m, c| m.save_float(c));
            }
            self.memory.with_context(next, |m, c| m.load_float(c));
            self.float_owner = next;
        }
        if self.space_owner != next {
            let root = self.memory.dcb(next).vspace;
            self.memory.machine().switch_space(root);
            self.space_owner = next;
            self.counters.switches += 1;
        }
    }

    /// The floating-point registers in the core are no longer those of any context.
    pub(crate) const fn drop_float(&mut self) {
        self.float_owner = DcbRef::NONE;
    }

    /// `at` goes: nothing may refer to it any more.
    pub(crate) fn forget(&mut self, at: DcbRef) {
        if self.float_owner == at {
            self.float_owner = DcbRef::NONE;
        }
        if self.space_owner == at {
            self.space_owner = DcbRef::NONE;
        }
        self.irqs.forget(at, self.memory.machine());
    }

    /// Takes the core from whoever has it; they are ready to go on.
    pub(crate) fn preempt(&mut self) {
        let current = self.schedule.current;
        self.upcall_if_enabled(current, None);
        self.put_back(true);
    }

    /// Queues the current dispatcher, with the rest of its slice if it may `keep` it.
    pub(crate) fn put_back(&mut self, keep: bool) {
        let current = self.schedule.current;
        self.schedule.release(&mut self.memory, keep);
        self.schedule.enqueue(&mut self.memory, current, false);
    }

    /// How an invocation ends with `value` that may have made others ready: whoever goes before the caller has the core.
    pub(crate) fn after_waking(&mut self, value: u64) -> Outcome {
        let current = self.schedule.current;
        if self.schedule.leads(self.memory.dcb(current).share.level) {
            self.schedule.arm(self.memory.machine());
            return Outcome::Value(value);
        }
        self.memory.dcb(current).context.set_result(0, value);
        self.put_back(true);
        Outcome::Switched
    }

    /// If `at` was running a thread, puts the thread into the dispatcher page and turns the context into an upcall.
    /// Only after an interrupt or fault, which saved all registers. Answers whether it did.
    fn upcall_if_enabled(&mut self, at: DcbRef, fault: Option<&Fault>) -> bool {
        let base = self.memory.dcb(at).page;
        let word = |kernel: &Self, offset| kernel.memory.read_shared(PhysAddr(base.0 + offset));
        let upcall =
            Upcall { entry: VirtAddr(word(self, page::UPCALL)), stack: VirtAddr(word(self, page::STACK)) };
        let limit = skerry_hal::addr::USER_END;
        if upcall.entry.0 == 0 || upcall.entry.0 >= limit || upcall.stack.0 >= limit {
            return false;
        }
        let flags = word(self, page::FLAGS);
        if flags as u32 != 0 {
            // It is told when it looks, before it enables upcalls.
            self.memory.write_shared(PhysAddr(base.0 + page::FLAGS), flags | u64::from(disabled::MISSED));
            return false;
        }
        let mut saved = [0u8; skerry_hal::context::MAX_CONTEXT];
        let saved = &mut saved[..M::Context::SIZE];
        let float_in_core = self.float_owner == at;
        self.memory.with_context(at, |machine, context| {
            if float_in_core {
                machine.save_float(context);
            }
            context.save_to(saved);
            context.start(upcall.entry, upcall.stack, [0, 0]);
        });
        self.drop_float();
        self.memory.copy_in(PhysAddr(base.0 + page::SAVED), saved);
        let why = fault.map_or(reason::PREEMPTED, |_| reason::FAULT);
        let mut put = |offset, value| self.memory.write_shared(PhysAddr(base.0 + offset), value);
        put(page::CORE, halves(self.core.raw(), why));
        if let Some(fault) = fault {
            put(page::FAULT_KIND, fault.kind as u64);
            put(page::FAULT_ADDR, fault.addr.0);
            put(page::FAULT_CODE, fault.code);
        }
        put(page::FLAGS, 1 | 1 << 32);
        true
    }

    /// Raises event bits on a dispatcher; `first`: it goes before others of its priority. Answers whether that made it
    /// ready.
    pub(crate) fn raise(&mut self, at: DcbRef, events: u64, first: bool) -> bool {
        let dcb = self.memory.dcb(at);
        dcb.pending |= events;
        let taken = dcb.pending & dcb.mask;
        if dcb.state() != State::Waiting || taken == 0 {
            return false;
        }
        self.wake(at, taken, first);
        true
    }

    /// Ends the wait of `at` with `events`.
    pub(crate) fn wake(&mut self, at: DcbRef, events: u64, first: bool) {
        self.end_wait(at);
        let dcb = self.memory.dcb(at);
        dcb.pending &= !events;
        if dcb.serving {
            dcb.serving = false;
            dcb.context.set_words([0; 5]);
        }
        dcb.context.set_result(0, events);
        self.schedule.enqueue(&mut self.memory, at, first);
    }

    /// Takes a waiter out of its list; it is in none then.
    #[inline]
    pub(crate) fn end_wait(&mut self, at: DcbRef) {
        let dcb = self.memory.dcb(at);
        dcb.set_state(State::Ready);
        if dcb.is_listed() {
            self.schedule.waiting.remove(&mut self.memory, at);
        }
        let dcb = self.memory.dcb(at);
        (dcb.mask, dcb.deadline) = (0, 0);
    }

    /// Wakes every waiter whose deadline has come or, if `rang`, that waits for the doorbell.
    fn wake_waiters(&mut self, now: u64, rang: bool) {
        let mut at = self.schedule.waiting.first();
        self.schedule.earliest = u64::MAX;
        while !at.is_none() {
            let doorbells = self.doorbells;
            let dcb = self.memory.dcb(at);
            let next = dcb.next;
            if rang && dcb.mask & event::DOORBELL != 0 {
                dcb.doorbells = doorbells;
                let events = event::DOORBELL | dcb.pending & dcb.mask;
                self.wake(at, events, true);
            } else if dcb.deadline != 0 && dcb.deadline <= now {
                self.wake(at, 0, true);
            } else {
                let deadline = dcb.deadline;
                self.schedule.note_deadline(deadline);
            }
            at = next;
        }
    }

    /// Stops a dispatcher for good and signals whoever wanted to know.
    pub(crate) fn kill(&mut self, at: DcbRef) {
        match self.memory.dcb(at).state() {
            State::Dead => return,
            State::Ready if self.schedule.current == at => self.schedule.current = DcbRef::NONE,
            State::Ready => self.schedule.remove(&mut self.memory, at),
            State::Waiting if !self.memory.dcb(at).callee.is_none() => self.forget_call(at),
            State::Waiting => self.end_wait(at),
            State::New => {}
        }
        if self.memory.dcb(at).state() != State::New {
            self.schedule.drop(&mut self.memory, at);
        }
        self.memory.dcb(at).set_state(State::Dead);
        self.memory.dcb(at).serving = false;
        self.forget(at);
        self.end_service(at);
        if let Some(cap) = self.memory.slot(at.slot(KeptSlot::Death)).cap()
            && cap.ty == CapType::Endpoint
        {
            let events = self.events_of(&cap);
            self.raise(DcbRef::of_endpoint(cap.base), events, false);
        }
        // Done with it. Kept, it would keep the dispatcher it signals, which may be this one, from ever going.
        let _ = self.shed(at.slot(KeptSlot::Death), false);
    }
}

impl<M: Machine> Handler<M::Context> for Kernel<M> {
    #[inline]
    fn syscall(&mut self, w: [u64; 6]) -> Next<M::Context> {
        if let Some(next) = self.short_way(&w) {
            return next;
        }
        self.long_way(w[0], w[1], w[2], w[3], w[4], w[5])
    }

    fn fault(&mut self, fault: Fault) -> Next<M::Context> {
        self.counters.entries += 1;
        let (current, core) = (self.schedule.current, self.core);
        if self.upcall_if_enabled(current, Some(&fault)) {
            return self.dispatch();
        }
        let context = &self.memory.dcb(current).context;
        let (pc, sp) = (context.pc(), context.sp());
        let mut out = Line::new();
        out.text("\r\nskerry ").decimal(core.island().0.into()).text(".").decimal(core.local().into());
        out.text(": domain at ").hex(current.object().0).text(" stopped by a ").text(fault.kind.name());
        out.text(" fault at ").hex(fault.addr.0).text(", pc ").hex(pc.0).text(", sp ").hex(sp.0);
        out.text(", code ").hex(fault.code).text("\r\n");
        self.say(out.as_bytes());
        self.memory.dcb(current).fault = fault.kind as u64 | fault.addr.0 << 8;
        self.kill(current);
        self.dispatch()
    }

    fn interrupt(&mut self) -> Next<M::Context> {
        self.counters.entries += 1;
        let mut rang = false;
        for _ in 0..MAX_INTERRUPTS {
            let Some(interrupt) = self.memory.machine().next_interrupt() else { break };
            self.counters.interrupts += 1;
            match interrupt {
                Interrupt::Timer => self.schedule.armed = u64::MAX,
                Interrupt::Doorbell => rang = true,
                Interrupt::Line(line) => self.deliver_irq(line),
            }
        }
        let now = self.memory.machine_ref().now();
        // However often it rang, it is one walk.
        self.doorbells += u64::from(rang);
        // One walk an entry: what is left undone is due still, and brings it back at once.
        let walked = rang || now >= self.schedule.earliest;
        if walked {
            self.wake_waiters(now, rang);
        }
        if now >= self.schedule.renewal && !walked {
            self.schedule.renew(&mut self.memory);
        }
        let current = self.schedule.current;
        if !current.is_none()
            && (!self.schedule.leads(self.memory.dcb(current).share.level)
                || self.schedule.is_over(&mut self.memory, now))
        {
            self.preempt();
        }
        // Nobody wants the core who may have it: else its clock would ring for the slice that has ended, without end.
        self.schedule.extend(&self.memory);
        self.dispatch()
    }
}
