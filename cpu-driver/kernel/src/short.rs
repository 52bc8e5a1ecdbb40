//! The short ways of LRPC (paper §4.3: the common case in few instructions): a call to a server that waits, its answer,
//! and a message that hands the core over. No capability comes along, nobody has a budget or a deadline, and nobody who is
//! ready goes before whoever is to run. Whatever is unusual answers `None`, with nothing changed, and goes the long way
//! (`ops::endpoint`), which says what these mean.
//!
//! The core goes from one to the other with the rest of the slice, so that no clock is read.

use crate::dispatcher::{DcbRef, RING_BYTES, RingRef};
use crate::kernel::Kernel;
use skerry_abi::dispatcher::{State, event};
use skerry_abi::lrpc::{HAND_OVER, kind, wake};
use skerry_abi::op::halves;
use skerry_abi::{CPtr, CapType, Op, Rights};
use skerry_caps::{Slot, Store};
use skerry_hal::{Machine, Next, UserContext};

impl<M: Machine> Kernel<M> {
    /// Does what the six words ask for, if it has a short way. No function is called on any, so that nothing needs the stack.
    #[inline]
    pub(crate) fn short_way(&mut self, w: &[u64; 6]) -> Option<Next<M::Context>> {
        const NOP: u32 = Op::Nop as u32;
        const CALL: u32 = Op::Call as u32;
        const REPLY_WAIT: u32 = Op::ReplyWait as u32;
        let next = match (w[0] >> 32) as u32 {
            NOP => {
                if w[0] as u32 != 0 && self.invoked(w[0])?.is_empty() {
                    return None;
                }
                let context = &mut self.memory.dcb(self.schedule.current).context;
                context.set_result(0, 0);
                return Some(Next::Run(context.into()));
            }
            CALL if w[5] as u32 == 0 => self.short_call(w)?,
            REPLY_WAIT if w[5] as u32 == 0 => self.short_reply(w)?,
            _ => return None,
        };
        Some(self.run(next))
    }

    #[inline]
    fn invoked(&mut self, word: u64) -> Option<&Slot> {
        let root = self.own_root();
        let at = self.find_slot(root, CPtr(word as u32))?;
        Some(self.memory.slot(at))
    }

    /// The ring behind the endpoint that `word` names.
    #[inline]
    fn ring_invoked(&mut self, word: u64) -> Option<(RingRef, u64)> {
        let core = self.core;
        let cap = self.invoked(word).filter(|slot| slot.is(CapType::Endpoint))?.cap()?;
        let fits = cap.len == RING_BYTES && cap.owner == core && cap.rights.contains(Rights::SIGNAL);
        fits.then_some((RingRef(cap.base), cap.extra))
    }

    fn short_call(&mut self, w: &[u64; 6]) -> Option<DcbRef> {
        let (ring, badge) = self.ring_invoked(w[0])?;
        let (client, server) = (self.schedule.current, ring.receiver());
        let dcb = self.memory.dcb(server);
        if !dcb.serving || dcb.mask & event::DOORBELL != 0 || !self.schedule.pass_to(&mut self.memory, server)
        {
            return None;
        }
        let dcb = self.memory.dcb(server);
        (dcb.serving, dcb.mask, dcb.caller) = (false, 0, client);
        dcb.set_state(State::Ready);
        dcb.context.set_result(0, badge);
        dcb.context.set_words([w[1], w[2], w[3], w[4], halves(0, wake::CALL)]);
        let dcb = self.memory.dcb(client);
        (dcb.callee, dcb.letter.words[4]) = (server, w[5]);
        dcb.set_state(State::Waiting);
        Some(server)
    }

    fn short_reply(&mut self, w: &[u64; 6]) -> Option<DcbRef> {
        let server = self.schedule.current;
        let cap = self.invoked(w[0]).filter(|slot| slot.is(CapType::Dispatcher))?.cap()?;
        let mask = w[5] >> 32;
        let dcb = self.memory.dcb(server);
        let client = dcb.caller;
        let comes = (dcb.pending | event::NOW | event::DOORBELL) & mask;
        if cap.base != server.object().0 || client.is_none() || comes != 0 || !dcb.callers.is_empty() {
            return None;
        }
        if !self.schedule.pass_to(&mut self.memory, client) {
            return None;
        }
        let dcb = self.memory.dcb(server);
        (dcb.serving, dcb.mask, dcb.caller) = (true, mask, DcbRef::NONE);
        dcb.set_state(State::Waiting);
        let dcb = self.memory.dcb(client);
        dcb.callee = DcbRef::NONE;
        dcb.set_state(State::Ready);
        dcb.context.set_result(0, 0);
        dcb.context.set_words([w[1], w[2], w[3], w[4], 0]);
        Some(client)
    }

    /// The same for a message, which is long enough to have a stack.
    pub(crate) fn short_send(&mut self, w: &[u64; 6]) -> Option<DcbRef> {
        if w[0] >> 32 != Op::Send as u64 || w[5] != halves(0, HAND_OVER) {
            return None;
        }
        let (to, badge) = self.ring_invoked(w[0])?;
        let ring = *self.memory.ring(to);
        let (sender, at) = (self.schedule.current, to.receiver());
        let dcb = self.memory.dcb(at);
        let taken = (dcb.pending | ring.events) & dcb.mask;
        // Whoever waits for nothing has no mask.
        if taken == 0 || dcb.serving || dcb.is_listed() {
            return None;
        }
        if self.unread(&ring).0 > ring.mask || !self.schedule.pass_to(&mut self.memory, at) {
            return None;
        }
        self.post(to, kind::MESSAGE.into(), badge, w[1], w[2], w[3], w[4]);
        let dcb = self.memory.dcb(at);
        dcb.pending = (dcb.pending | ring.events) & !taken;
        dcb.mask = 0;
        dcb.set_state(State::Ready);
        dcb.context.set_result(0, taken);
        self.memory.dcb(sender).context.set_result(0, 0);
        self.schedule.enqueue(&mut self.memory, sender, false);
        self.schedule.arm(self.memory.machine());
        Some(at)
    }
}
