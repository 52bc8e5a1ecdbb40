//! Dispatchers: set up, start, stop, wait, resume, schedule.

use crate::dispatcher::{DcbRef, KeptSlot, page};
use crate::invoke::Call;
use crate::kernel::{Kernel, Outcome};
use crate::sched::{DEFAULT_PRIORITY, PRIORITIES};
use skerry_abi::dispatcher::{State, event};
use skerry_abi::{CPtr, CapType, Error, PAGE_SIZE, PhysAddr, Rights, VirtAddr};
use skerry_caps::{SlotRef, Store};
use skerry_hal::addr::USER_END;
use skerry_hal::paging::ROOT_LEVEL;
use skerry_hal::{Machine, UserContext};

impl<M: Machine> Kernel<M> {
    pub(crate) fn configure(&mut self, call: &Call) -> Result<Outcome, Error> {
        let at = DcbRef::new(PhysAddr(call.cap.base));
        if self.memory.dcb(at).state() != State::New || !self.memory.dcb(at).cspace.eq(&PhysAddr(0)) {
            return Err(Error::BadState);
        }
        // GRANT for all, as the object keeps copies: no copy may fail when others have been made.
        let rights = Rights::WRITE | Rights::GRANT;
        let (cspace, _) = self.lookup_as(call.cptr_lo(1), CapType::CNode, rights)?;
        let (vspace, table) = self.lookup_as(call.cptr_hi(1), CapType::VNode, rights)?;
        let (frame, page) = self.lookup_as(call.cptr_lo(2), CapType::Frame, rights | Rights::READ)?;
        let (death, signals) = match call.cptr_hi(2) {
            CPtr::NULL => (None, self.core),
            cptr => {
                let (at, cap) = self.lookup_as(cptr, CapType::Endpoint, Rights::SIGNAL | Rights::GRANT)?;
                (Some(at), cap.owner)
            }
        };
        // The CPU driver itself reaches into the page and into the endpoint's dispatcher, and is in the root table.
        if [page.owner, table.owner, signals].iter().any(|owner| *owner != self.core) {
            return Err(Error::Remote);
        }
        if table.level != ROOT_LEVEL || page.len < PAGE_SIZE || call.w[3] >= USER_END || call.w[4] >= USER_END
        {
            return Err(Error::BadArgument);
        }
        if let Some(death) = death {
            self.caps.copy(&mut self.memory, death, at.slot(KeptSlot::Death), Rights::all())?;
        }
        self.prepare(at, [cspace, vspace, frame], [call.w[3], call.w[4], call.w[5]])?;
        Ok(Outcome::Value(0))
    }

    /// Fills in a new dispatcher object: what it keeps copies of (root CNode, root table, page), and the entry, stack pointer
    /// and argument that it starts with.
    pub(crate) fn prepare(&mut self, at: DcbRef, kept: [SlotRef; 3], start: [u64; 3]) -> Result<(), Error> {
        let mut bases = [PhysAddr(0); 3];
        for ((which, from), base) in KeptSlot::ALL.into_iter().zip(kept).zip(&mut bases) {
            self.caps.copy(&mut self.memory, from, at.slot(which), Rights::all())?;
            *base = PhysAddr(self.memory.slot(from).cap().ok_or(Error::EmptySlot)?.base);
        }
        let (core, frequency) = (self.core, self.memory.machine_ref().frequency());
        let dcb = self.memory.dcb(at);
        [dcb.cspace, dcb.vspace, dcb.page] = bases;
        dcb.share.set(DEFAULT_PRIORITY, 0, 0, 0);
        dcb.context.start(VirtAddr(start[0]), VirtAddr(start[1]), [start[2], 0]);
        let base = bases[2].0;
        self.memory.write_shared(PhysAddr(base + page::FREQUENCY), frequency);
        self.memory.write_shared(PhysAddr(base + page::CORE), u64::from(core.raw()));
        // Disabled until it says otherwise: a program without a scheduler of its own just runs.
        self.memory.write_shared(PhysAddr(base + page::FLAGS), 1);
        Ok(())
    }

    pub(crate) fn start(&mut self, call: &Call) -> Result<Outcome, Error> {
        self.make_ready(DcbRef::new(PhysAddr(call.cap.base)))?;
        Ok(self.after_waking(0))
    }

    pub(crate) fn make_ready(&mut self, at: DcbRef) -> Result<(), Error> {
        let dcb = self.memory.dcb(at);
        if dcb.state() != State::New || dcb.cspace.0 == 0 {
            return Err(Error::BadState);
        }
        if !self.schedule.add(&mut self.memory, at) {
            return Err(Error::Full);
        }
        self.memory.dcb(at).set_state(State::Ready);
        self.schedule.enqueue(&mut self.memory, at, false);
        Ok(())
    }

    pub(crate) fn stop(&mut self, call: &Call) -> Result<Outcome, Error> {
        let at = DcbRef::new(PhysAddr(call.cap.base));
        let own = self.schedule.current == at;
        self.kill(at);
        Ok(if own { Outcome::Switched } else { self.after_waking(0) })
    }

    pub(crate) fn state(&mut self, call: &Call) -> Result<Outcome, Error> {
        let dcb = self.memory.dcb(DcbRef::new(PhysAddr(call.cap.base)));
        let word = dcb.state() as u64 | dcb.fault << 8;
        Ok(Outcome::Value(if call.w[1] == 0 { word } else { dcb.context.pc().0 }))
    }

    pub(crate) fn set_schedule(&mut self, call: &Call) -> Result<Outcome, Error> {
        let (at, now) = (DcbRef::new(PhysAddr(call.cap.base)), self.memory.machine_ref().now());
        let [priority, budget, period] = [call.w[1], call.w[2], call.w[3]];
        if priority >= u64::from(PRIORITIES) || budget > period {
            return Err(Error::BadArgument);
        }
        let (own, queued) = (self.schedule.current == at, self.memory.dcb(at).state() == State::Ready);
        // Out of its queue, or off the core, while that which says where it belongs changes.
        if own {
            self.memory.dcb(at).context.set_result(0, 0);
            self.schedule.release(&mut self.memory, true);
        } else if queued {
            self.schedule.remove(&mut self.memory, at);
        }
        self.memory.dcb(at).share.set(priority as u32, budget, period, now);
        if queued {
            self.schedule.enqueue(&mut self.memory, at, false);
        }
        Ok(if own { Outcome::Switched } else { self.after_waking(0) })
    }

    /// The caller's own dispatcher, if that is what the invoked capability is for.
    pub(crate) fn own(&self, call: &Call) -> Result<DcbRef, Error> {
        let at = DcbRef::new(PhysAddr(call.cap.base));
        if self.schedule.current == at { Ok(at) } else { Err(Error::BadState) }
    }

    /// The events of `mask` that came for `at`, which are cleared.
    #[inline(never)]
    pub(crate) fn take_events(&mut self, at: DcbRef, mask: u64) -> u64 {
        let doorbells = self.doorbells;
        let dcb = self.memory.dcb(at);
        let mut events = (dcb.pending | event::NOW) & mask;
        dcb.pending &= !events;
        if mask & event::DOORBELL != 0 && dcb.doorbells != doorbells {
            dcb.doorbells = doorbells;
            events |= event::DOORBELL;
        }
        events
    }

    pub(crate) fn wait(&mut self, call: &Call) -> Result<Outcome, Error> {
        let at = self.own(call)?;
        let (mask, deadline) = (call.w[1], call.w[2]);
        let events = self.take_events(at, mask);
        if events != 0 || (deadline != 0 && deadline <= self.memory.machine_ref().now()) {
            return Ok(Outcome::Value(events));
        }
        self.block(at, mask, deadline);
        self.schedule.release(&mut self.memory, true);
        Ok(Outcome::Switched)
    }

    /// The current dispatcher waits; who has the core then is the caller's to say.
    #[inline(never)]
    pub(crate) fn block(&mut self, at: DcbRef, mask: u64, deadline: u64) {
        let dcb = self.memory.dcb(at);
        (dcb.mask, dcb.deadline) = (mask, deadline);
        dcb.set_state(State::Waiting);
        if dcb.is_listed() {
            self.schedule.waiting.push_back(&mut self.memory, at);
            self.schedule.note_deadline(deadline);
        }
    }

    pub(crate) fn yield_core(&mut self, call: &Call) -> Result<Outcome, Error> {
        let at = self.own(call)?;
        let upcall = PhysAddr(self.memory.dcb(at).page.0 + page::UPCALL);
        self.memory.dcb(at).share.upcalls = self.memory.read_shared(upcall) != 0;
        self.memory.dcb(at).context.set_result(0, 0);
        self.put_back(false);
        Ok(Outcome::Switched)
    }

    pub(crate) fn resume(&mut self, call: &Call) -> Result<Outcome, Error> {
        let at = self.own(call)?;
        let base = self.memory.dcb(at).page.0;
        if self.memory.read_shared(PhysAddr(base + page::FLAGS)) >> 32 == 0 {
            return Err(Error::BadState);
        }
        let mut saved = [0u8; skerry_hal::context::MAX_CONTEXT];
        let saved = &mut saved[..M::Context::SIZE];
        self.memory.copy_out(PhysAddr(base + page::SAVED), saved);
        if !self.memory.dcb(at).context.load_from(saved) {
            return Err(Error::BadArgument);
        }
        self.drop_float();
        self.memory.write_shared(PhysAddr(base + page::FLAGS), 0);
        Ok(Outcome::Switched)
    }
}
