//! Messages to a dispatcher of this core (paper §4.5): events, rings, and the synchronous call that hands the core over.
//!
//! Nothing is allocated: a ring lies in the receiver's own frame, a caller waits in a list threaded through the
//! dispatcher objects, and its words stay in its own object until they are heard. What the receiver writes in a ring's
//! header is an allegation: no value of it reaches beyond the ring. What is usual goes a shorter way: `short`.

use crate::dispatcher::{DcbRef, KeptSlot, Letter, RING_BYTES, Ring, RingRef};
use crate::invoke::Call;
use crate::kernel::{Kernel, Outcome};
use core::mem::offset_of;
use skerry_abi::dispatcher::{State, event};
use skerry_abi::lrpc::{FIRST_OFFSET, Header, LINE, MAX_RINGS, MAX_SLOTS, WANTS_ROOM, kind, wake};
use skerry_abi::op::halves;
use skerry_abi::{CPtr, CapType, Error, PhysAddr, Rights};
use skerry_caps::{Cap, Store};
use skerry_hal::{Machine, UserContext};

/// Callers that one entry turns away at most, because the capability they sent could not be had.
const MAX_REFUSED: u32 = 16;

impl<M: Machine> Kernel<M> {
    pub(crate) fn make_endpoint(&mut self, call: &Call) -> Result<Outcome, Error> {
        if call.w[1] == 0 || call.w[1] & !event::USER != 0 {
            return Err(Error::BadArgument);
        }
        let to = self.destination(call.cptr_lo(2), call.cptr_hi(2))?;
        let mut cap = Cap::new(CapType::Endpoint, call.cap.base, call.cap.len, self.core);
        cap.rights = Rights::SIGNAL | Rights::GRANT;
        cap.extra = call.w[1];
        let mut index = 0;
        if call.w[3] != 0 {
            let at = DcbRef::new(PhysAddr(call.cap.base));
            let header = self.ring_header(at, call.w[3], call.w[4])?;
            let free = (0..MAX_RINGS as u64).find(|n| self.memory.ring(RingRef::new(at, *n)).header.0 == 0);
            index = free.ok_or(Error::Full)?;
            (cap.base, cap.len, cap.extra) = (RingRef::new(at, index).0, RING_BYTES, call.w[5]);
            // Whoever made the ring may take back what leads to it.
            cap.rights |= Rights::CONTROL;
            self.caps.insert(&mut self.memory, to, &cap)?;
            let ring = Ring { header, events: call.w[1], head: 0, mask: call.w[4] as u32 - 1 };
            *self.memory.ring(RingRef(cap.base)) = ring;
            for word in 0..LINE / 8 {
                self.memory.write_shared(PhysAddr(header.0 + word * 8), 0);
            }
        } else {
            self.caps.insert(&mut self.memory, to, &cap)?;
        }
        Ok(Outcome::Value(index))
    }

    /// Where the header of a ring lies that is to have `slots` and to begin at `offset` of the page frame.
    fn ring_header(&self, at: DcbRef, offset: u64, slots: u64) -> Result<PhysAddr, Error> {
        let Some(frame) = self.memory.slot(at.slot(KeptSlot::Page)).cap() else {
            return Err(Error::BadState);
        };
        let bytes = slots.saturating_add(1).saturating_mul(LINE);
        let inside = offset >= FIRST_OFFSET && offset.checked_add(bytes).is_some_and(|end| end <= frame.len);
        if !slots.is_power_of_two() || slots > MAX_SLOTS || !offset.is_multiple_of(LINE) || !inside {
            return Err(Error::BadArgument);
        }
        Ok(PhysAddr(frame.base + offset))
    }

    /// The last endpoint of a ring has gone.
    pub(crate) fn close_ring(&mut self, ring: RingRef) {
        self.memory.ring(ring).header = PhysAddr(0);
        self.irqs.forget_ring(ring, self.memory.machine());
        self.tell_room(ring.bit());
    }

    /// What an endpoint raises.
    pub(crate) fn events_of(&mut self, cap: &Cap) -> u64 {
        if cap.len == RING_BYTES { self.memory.ring(RingRef(cap.base)).events } else { cap.extra }
    }

    pub(crate) fn signal(&mut self, call: &Call) -> Result<Outcome, Error> {
        let at = self.receiver(call)?;
        let events = self.events_of(&call.cap);
        self.raise(at, events, false);
        Ok(self.after_waking(0))
    }

    /// The dispatcher behind the endpoint invoked, which lives.
    #[inline(never)]
    fn receiver(&mut self, call: &Call) -> Result<DcbRef, Error> {
        if call.cap.owner != self.core {
            return Err(Error::Remote);
        }
        let at = DcbRef::of_endpoint(call.cap.base);
        if self.memory.dcb(at).state() == State::Dead { Err(Error::PeerDied) } else { Ok(at) }
    }

    /// The same, and the endpoint's ring.
    #[inline]
    fn receiving_ring(&mut self, call: &Call) -> Result<(DcbRef, RingRef), Error> {
        let at = self.receiver(call)?;
        if call.cap.len == RING_BYTES { Ok((at, RingRef(call.cap.base))) } else { Err(Error::BadState) }
    }

    /// How many messages of a ring were not taken, and the first of them. More than there are slots is a lie, and as good as full.
    pub(crate) fn unread(&self, ring: &Ring) -> (u32, u32) {
        let tail = self.memory.read_shared(PhysAddr(ring.header.0 + offset_of!(Header, tail) as u64)) as u32;
        (ring.head.wrapping_sub(tail), tail)
    }

    /// Where message number `n` of a ring lies.
    pub(crate) const fn message(ring: &Ring, n: u32) -> u64 {
        ring.header.0 + LINE + (n & ring.mask) as u64 * LINE
    }

    /// Writes the next message, for which there is room.
    #[expect(clippy::too_many_arguments, reason = "in registers: an array would be written and read again")]
    pub(crate) fn post(&mut self, at: RingRef, a: u64, b: u64, c: u64, d: u64, e: u64, f: u64) {
        let ring = *self.memory.ring(at);
        let to = Self::message(&ring, ring.head);
        // Word by word, not in a loop: this is the common case, and code for size unrolls none.
        let mut put = |n: u64, word| self.memory.write_shared(PhysAddr(to + n * 8), word);
        put(0, a);
        put(1, b);
        put(2, c);
        put(3, d);
        put(4, e);
        put(5, f);
        let head = ring.head.wrapping_add(1);
        self.memory.ring(at).head = head;
        self.memory.write_shared(ring.header, u64::from(head));
    }

    /// Asks the receiver to say when there is room.
    pub(crate) fn want_room(&mut self, ring: &Ring) {
        let flags = PhysAddr(ring.header.0 + offset_of!(Header, flags) as u64);
        self.memory.write_shared(flags, WANTS_ROOM);
    }

    pub(crate) fn send(&mut self, call: &Call) -> Result<Outcome, Error> {
        let (at, to) = self.receiving_ring(call)?;
        let ring = *self.memory.ring(to);
        let current = self.schedule.current;
        if self.unread(&ring).0 > ring.mask {
            self.want_room(&ring);
            let dcb = self.memory.dcb(current);
            dcb.room |= to.bit();
            dcb.pending &= !event::ROOM;
            return Err(Error::Full);
        }
        let mut cap = 0;
        if call.lo(5) != 0 {
            let slot = self.memory.read_shared(PhysAddr(ring.header.0 + offset_of!(Header, receive) as u64));
            cap = self.transfer(current, call.cptr_lo(5), at, CPtr(slot as u32))?;
        }
        let [_, a, b, c, d, _] = *call.w;
        self.post(to, halves(kind::MESSAGE, cap), call.cap.extra, a, b, c, d);
        self.raise(at, ring.events, false);
        Ok(self.after_waking(0))
    }

    /// Copies the capability `from` of `giver` to the slot `to` of `taker`. Answers where it landed.
    fn transfer(&mut self, giver: DcbRef, from: CPtr, taker: DcbRef, to: CPtr) -> Result<u32, Error> {
        if from == CPtr::NULL {
            return Ok(0);
        }
        let (source, target) = (self.memory.dcb(giver).cspace, self.memory.dcb(taker).cspace);
        let from = self.slot_at(source, from)?;
        let at = self.slot_at(target, to).map_err(|_| Error::NoReceiveSlot)?;
        if !self.memory.slot(at).is_empty() {
            return Err(Error::NoReceiveSlot);
        }
        self.caps.copy(&mut self.memory, from, at, Rights::all())?;
        Ok(to.0)
    }

    pub(crate) fn room(&mut self, call: &Call) -> Result<Outcome, Error> {
        let at = RingRef::new(DcbRef::new(PhysAddr(call.cap.base)), call.w[1]);
        let ring = *self.memory.ring(at);
        if call.w[1] >= MAX_RINGS as u64 || ring.header.0 == 0 {
            return Err(Error::BadArgument);
        }
        if self.memory.dcb(at.receiver()).state() == State::Dead {
            // Its frame may be something else by now.
            return Err(Error::BadState);
        }
        self.memory.write_shared(PhysAddr(ring.header.0 + offset_of!(Header, flags) as u64), 0);
        self.post_irqs(at);
        self.tell_room(at.bit());
        Ok(self.after_waking(0))
    }

    /// Tells whoever met one of the rings full.
    fn tell_room(&mut self, bits: u64) {
        let mut n = 0;
        while let Some(at) = self.schedule.nth(n) {
            let dcb = self.memory.dcb(at);
            if dcb.room & bits != 0 {
                dcb.room &= !bits;
                self.raise(at, event::ROOM, false);
            }
            n += 1;
        }
    }

    pub(crate) fn call(&mut self, call: &Call) -> Result<Outcome, Error> {
        let (server, ring) = self.receiving_ring(call)?;
        let client = self.schedule.current;
        if client == server {
            return Err(Error::BadArgument);
        }
        let [_, a, b, c, d, e] = *call.w;
        let letter = Letter { ring, badge: call.cap.extra, words: [a, b, c, d, e] };
        self.memory.dcb(client).letter = letter;
        let dcb = self.memory.dcb(client);
        dcb.callee = server;
        dcb.set_state(State::Waiting);
        self.schedule.release(&mut self.memory, true);
        let mut callers = self.memory.dcb(server).callers;
        callers.push_back(&mut self.memory, client);
        self.memory.dcb(server).callers = callers;
        if !self.memory.dcb(server).serving {
            let events = self.memory.ring(ring).events;
            self.raise(server, events, false);
        } else if self.next_caller(server) {
            self.end_wait(server);
            self.memory.dcb(server).serving = false;
            self.schedule.enqueue(&mut self.memory, server, false);
        }
        Ok(Outcome::Switched)
    }

    /// Puts what `client` says into the registers of `server`, which then owes the answer.
    fn hear(&mut self, server: DcbRef, client: DcbRef) -> Result<(), Error> {
        let Letter { ring, badge, words: [a, b, c, d, caps] } = self.memory.dcb(client).letter;
        let mut cap = 0;
        if caps as u32 != 0 {
            let header = self.memory.ring(ring).header;
            if header.0 == 0 {
                // Its last endpoint has gone since.
                return Err(Error::NoReceiveSlot);
            }
            let slot = self.memory.read_shared(PhysAddr(header.0 + offset_of!(Header, receive) as u64));
            cap = self.transfer(client, CPtr(caps as u32), server, CPtr(slot as u32))?;
        }
        let dcb = self.memory.dcb(server);
        dcb.caller = client;
        dcb.context.set_result(0, badge);
        dcb.context.set_words([a, b, c, d, halves(cap, wake::CALL)]);
        Ok(())
    }

    /// Ends the call of `client` with a code and no words; who runs it is the caller's to say.
    #[inline]
    fn end_call(&mut self, client: DcbRef, code: u64) {
        let dcb = self.memory.dcb(client);
        dcb.callee = DcbRef::NONE;
        dcb.set_state(State::Ready);
        dcb.context.set_result(code, 0);
    }

    fn refuse(&mut self, client: DcbRef, error: Error) {
        self.end_call(client, error as u64);
        self.schedule.enqueue(&mut self.memory, client, false);
    }

    pub(crate) fn reply_wait(&mut self, call: &Call) -> Result<Outcome, Error> {
        let at = self.own(call)?;
        let client = self.memory.dcb(at).caller;
        if !client.is_none() {
            let mut cap = 0;
            if call.lo(5) != 0 {
                let to = CPtr((self.memory.dcb(client).letter.words[4] >> 32) as u32);
                cap = self.transfer(at, call.cptr_lo(5), client, to)?;
            }
            let [_, a, b, c, d, _] = *call.w;
            self.memory.dcb(at).caller = DcbRef::NONE;
            self.end_call(client, 0);
            self.memory.dcb(client).context.set_words([a, b, c, d, u64::from(cap)]);
        }
        let mask = u64::from(call.hi(5));
        if !self.next_caller(at) {
            let mut events = self.take_events(at, mask);
            if !self.memory.dcb(at).callers.is_empty() {
                // More callers came with what they do not have than one entry can turn away.
                events |= event::NOW;
            }
            if events == 0 {
                self.block(at, mask, 0);
                self.memory.dcb(at).serving = true;
                self.schedule.release(&mut self.memory, true);
                if !client.is_none() {
                    self.schedule.enqueue(&mut self.memory, client, false);
                }
                return Ok(Outcome::Switched);
            }
            let context = &mut self.memory.dcb(at).context;
            context.set_result(0, events);
            context.set_words([0; 5]);
        }
        if !client.is_none() {
            self.schedule.enqueue(&mut self.memory, client, false);
        }
        // The registers of `at` are as they should be, whether it goes on or not.
        if !self.schedule.leads(self.memory.dcb(at).share.level) {
            self.put_back(true);
        }
        Ok(Outcome::Switched)
    }

    /// Lets `at` hear the first caller that waits; answers whether there was one.
    fn next_caller(&mut self, at: DcbRef) -> bool {
        for _ in 0..MAX_REFUSED {
            let mut callers = self.memory.dcb(at).callers;
            let client = callers.first();
            if client.is_none() {
                return false;
            }
            callers.remove(&mut self.memory, client);
            self.memory.dcb(at).callers = callers;
            match self.hear(at, client) {
                Ok(()) => return true,
                Err(error) => self.refuse(client, error),
            }
        }
        false
    }

    /// The call that `at` waits in is forgotten: it stops.
    pub(crate) fn forget_call(&mut self, at: DcbRef) {
        let server = self.memory.dcb(at).callee;
        if self.memory.dcb(server).caller == at {
            self.memory.dcb(server).caller = DcbRef::NONE;
        } else {
            let mut callers = self.memory.dcb(server).callers;
            callers.remove(&mut self.memory, at);
            self.memory.dcb(server).callers = callers;
        }
        self.memory.dcb(at).callee = DcbRef::NONE;
    }

    /// `at` has stopped: nobody waits for its answers or for room in its rings.
    pub(crate) fn end_service(&mut self, at: DcbRef) {
        let caller = core::mem::take(&mut self.memory.dcb(at).caller);
        if !caller.is_none() {
            self.refuse(caller, Error::PeerDied);
        }
        let mut callers = core::mem::take(&mut self.memory.dcb(at).callers);
        while !callers.is_empty() {
            let client = callers.first();
            callers.remove(&mut self.memory, client);
            self.refuse(client, Error::PeerDied);
        }
        let rings = (0..MAX_RINGS as u64).map(|n| RingRef::new(at, n));
        let bits = rings.filter(|ring| self.memory.ring(*ring).header.0 != 0).fold(0, |all, r| all | r.bit());
        self.tell_room(bits);
    }
}
