//! An [`Agreement`] in a [`Monitor`]. What comes is kept until [`Monitor::agree`], to which the binary lends its core's
//! capabilities: so a batch is worked off at once, and a monitor that shares nothing pays one look at a flag.

use super::asker::Request;
use super::{Agreement, Cx, Objects, Out, Span};
use crate::event::Sink;
use crate::monitor::Monitor;
use alloc::collections::{BTreeMap, VecDeque};
use alloc::vec::Vec;
use skerry_hal::{CoreId, Epoch, IslandId};
use skerry_urpc::Message;
use skerry_urpc::formats::Refusal;
use skerry_urpc::formats::agree::Ask;
use skerry_urpc::formats::monitor::{CoreState, Fault};
use skerry_urpc::wire::{Body, Header};

/// Messages that wait for [`Monitor::agree`]. One beyond goes back as [`Busy`](Refusal::Busy), and is sent again.
pub const MAX_INBOX: usize = 1024;

/// The high byte of the kinds of `urpc::formats::agree`.
const PROTOCOL: u16 = 0x02;

pub(crate) const fn is_agree(kind: u16) -> bool {
    kind >> 8 == PROTOCOL
}

pub(crate) struct State {
    agreement: Agreement,
    /// Whether the binary lends capabilities.
    on: bool,
    inbox: VecDeque<Message>,
    settled: VecDeque<(u32, Result<(), Refusal>)>,
    /// The epoch in which each island is dealt with.
    epochs: BTreeMap<u16, Epoch>,
    /// Somebody may have been lost.
    recheck: bool,
    /// The last [`Monitor::agree`] left something that could have gone on.
    more: bool,
}

impl State {
    pub fn new(core: CoreId) -> Self {
        Self {
            agreement: Agreement::new(core),
            on: false,
            inbox: VecDeque::new(),
            settled: VecDeque::new(),
            epochs: BTreeMap::new(),
            recheck: false,
            more: false,
        }
    }
}

impl State {
    /// Whether this core takes part.
    pub const fn is_on(&self) -> bool {
        self.on
    }
}

/// Where an agreement's messages go.
struct Post<'a> {
    monitor: &'a mut Monitor,
    sink: &'a mut dyn Sink,
}

impl Out for Post<'_> {
    fn send(&mut self, to: CoreId, message: &Message) -> Result<(), Refusal> {
        let mut message = *message;
        message.set_header(&self.monitor.header(to, message.header().request));
        if to.island() != self.monitor.island {
            let epoch = self.monitor.epoch_of(to.island());
            message.flags = epoch.0 as u16;
            self.monitor.agree.epochs.entry(to.island().0).or_insert(epoch);
        }
        self.monitor.try_send(&message, to, self.sink)
    }

    fn status(&self, core: CoreId) -> Result<(), Refusal> {
        self.monitor.status_of(core)
    }

    fn settle(&mut self, token: u32, result: Result<(), Refusal>) {
        self.monitor.agree.settled.push_back((token, result));
    }
}

/// What binaries do.
impl Monitor {
    /// From now on this core takes part: the binary calls [`agree`](Self::agree) whenever
    /// [`wants_to_agree`](Self::wants_to_agree) says so. Until then who asks is told that it does not understand.
    pub fn open_agreement(&mut self) {
        self.agree.on = true;
    }

    /// Whether [`agree`](Self::agree) has something to do.
    #[inline]
    pub fn wants_to_agree(&self) -> bool {
        !self.agree.inbox.is_empty() || self.agree.recheck || self.agree.more
    }

    /// Works off what has come about capabilities that several cores hold, as far as it goes in one piece.
    pub fn agree(&mut self, now: u64, objects: &mut dyn Objects, sink: &mut dyn Sink) {
        self.now = self.now.max(now);
        if core::mem::take(&mut self.agree.recheck) {
            self.agree_losses(objects, sink);
        }
        let inbox = core::mem::take(&mut self.agree.inbox);
        let fresh: Vec<Message> = inbox.into_iter().filter(|message| self.counts(message)).collect();
        let more = self.with_agreement(objects, sink, |agreement, cx| {
            for message in &fresh {
                let Header { src, request, .. } = message.header();
                match message.body::<Fault>() {
                    Some(fault) => undelivered(agreement, &fault, request, cx),
                    None => agreement.message(src, message, cx),
                }
            }
            agreement.run(cx)
        });
        self.agree.more = more;
    }

    /// Domains of this core, known as tokens, ask for something; [`next_settled`](Self::next_settled) answers each.
    pub fn ask_owners(
        &mut self,
        now: u64,
        requests: &[(u32, Request)],
        objects: &mut dyn Objects,
        sink: &mut dyn Sink,
    ) {
        self.now = self.now.max(now);
        self.agree.more = self.with_agreement(objects, sink, |agreement, cx| {
            for (token, request) in requests {
                agreement.ask(*token, request, cx);
            }
            agreement.run(cx)
        });
    }

    /// Has `cores` of this island forget translations; [`next_settled`](Self::next_settled) answers.
    #[expect(clippy::too_many_arguments, reason = "what, where, whom, and the world")]
    pub fn invalidate(
        &mut self,
        now: u64,
        token: u32,
        space: u64,
        span: Span,
        cores: &[CoreId],
        objects: &mut dyn Objects,
        sink: &mut dyn Sink,
    ) {
        self.now = self.now.max(now);
        self.with_agreement(objects, sink, |agreement, cx| {
            agreement.invalidate(token, space, span, cores, cx);
        });
    }

    /// Whether nothing is under way that this core has a part in, but what waits for islands that cannot be reached and that
    /// nobody has judged.
    pub fn is_agreed(&self) -> bool {
        let cut_off = |core: CoreId| self.status_of(core) == Err(Refusal::Unreachable);
        let agreement = &self.agree.agreement;
        self.agree.inbox.is_empty() && (agreement.is_quiet() || agreement.waits_for_none_but(&cut_off))
    }

    /// Everything of which it keeps a limited number: what, how many, and how many at most.
    pub fn agreement_sizes(&self) -> [(&'static str, usize, usize); 6] {
        let [ops, parts, asked, holders, invalidations] = self.agree.agreement.sizes();
        [
            ("operations", ops, super::MAX_OPS),
            ("parts", parts, super::MAX_PARTS),
            ("requests", asked, super::MAX_ASKED),
            ("entries of holders", holders, super::holders::MAX_ENTRIES),
            ("invalidations", invalidations, super::invalidate::MAX_INVALIDATIONS),
            ("messages", self.agree.inbox.len(), MAX_INBOX),
        ]
    }

    /// The next request that has ended, and how.
    pub fn next_settled(&mut self) -> Option<(u32, Result<(), Refusal>)> {
        self.agree.settled.pop_front()
    }
}

/// What the monitor does.
impl Monitor {
    fn with_agreement<R>(
        &mut self,
        objects: &mut dyn Objects,
        sink: &mut dyn Sink,
        call: impl FnOnce(&mut Agreement, &mut Cx<'_>) -> R,
    ) -> R {
        let core = self.core;
        let mut agreement = core::mem::replace(&mut self.agree.agreement, Agreement::new(core));
        let (now, bound) = (self.now, self.config.bound);
        let result =
            call(&mut agreement, &mut Cx { now, bound, objects, out: &mut Post { monitor: self, sink } });
        self.agree.agreement = agreement;
        result
    }

    /// Keeps a message of that protocol.
    pub(crate) fn on_agree(&mut self, message: &Message, header: &Header, sink: &mut dyn Sink) {
        if !self.agree.on {
            return self.fault(message.kind, header, Refusal::BadKind, sink);
        }
        if self.agree.inbox.len() >= MAX_INBOX || self.may_leave() {
            return self.fault(message.kind, header, Refusal::Busy, sink);
        }
        self.agree.inbox.push_back(*message);
    }

    /// Whether this core can go off line without others losing something: nothing is under way, and nobody holds what is
    /// its own, which would go with it.
    pub(crate) fn shares_nothing(&self) -> bool {
        self.agree.agreement.is_quiet()
            && self.agree.agreement.holders.is_empty()
            && self.agree.inbox.is_empty()
    }

    /// One of its messages ended somewhere.
    pub(crate) fn agree_fault(&mut self, fault: &Fault, header: &Header) {
        if self.agree.inbox.len() < MAX_INBOX {
            self.agree.inbox.push_back(skerry_urpc::wire::encode(header, fault));
        }
    }

    /// Whether both ends of a message are still who they were when it was sent.
    fn counts(&mut self, message: &Message) -> bool {
        let header = message.header();
        let island = header.src.island();
        if island == self.island || message.kind >> 8 != PROTOCOL {
            return true;
        }
        let counts = self.accepts(&header) && message.flags == self.epoch.0 as u16;
        if counts {
            self.agree.epochs.entry(island.0).or_insert(header.epoch);
        } else {
            self.counters.stale += 1;
        }
        counts
    }

    pub(crate) fn agree_recheck(&mut self) {
        self.agree.recheck = self.agree.on;
    }

    /// Lets go of everybody who is lost, or is another than before.
    fn agree_losses(&mut self, objects: &mut dyn Objects, sink: &mut dyn Sink) {
        let own = *self.agree.epochs.entry(self.island.0).or_insert(self.epoch);
        let epochs = &self.agree.epochs;
        let is_lost = |core: &CoreId| {
            let island = core.island();
            let foreign = island != self.island;
            let is_off = self.islands.core(*core).is_some_and(|c| c.state == CoreState::Off);
            match self.status_of(*core) {
                _ if is_off || foreign && own != self.epoch => true,
                Err(Refusal::Lost) => true,
                // It may be back under the epoch it had.
                Err(Refusal::Unreachable) => false,
                // A core that has sent something may be known to be up only later.
                Ok(()) | Err(_) => {
                    foreign && epochs.get(&island.0).is_some_and(|&epoch| self.is_void(island, epoch))
                }
            }
        };
        let lost: Vec<CoreId> = self.agree.agreement.concerns().into_iter().filter(is_lost).collect();
        self.agree.epochs.insert(self.island.0, self.epoch);
        if lost.is_empty() {
            return;
        }
        let gone = |island: u16| lost.iter().any(|core| core.island() == IslandId(island));
        let me = self.island.0;
        self.agree.epochs.retain(|&island, _| island == me || !gone(island));
        self.with_agreement(objects, sink, |agreement, cx| agreement.lost(&|core| lost.contains(&core), cx));
    }

    pub(crate) fn agree_deadline(&self) -> Option<u64> {
        self.agree.agreement.deadline()
    }

    /// A deadline has come: [`agree`](Self::agree) looks for it.
    pub(crate) fn agree_tick(&mut self) {
        self.agree.more |= self.is_past(self.agree_deadline());
    }
}

/// A message did not get to its receiver.
fn undelivered(agreement: &mut Agreement, fault: &Fault, number: u16, cx: &mut Cx<'_>) {
    let refusal = Refusal::from_raw(fault.refusal);
    match fault.kind {
        Ask::KIND => agreement.refused(number, fault.dst, refusal, cx),
        _ => agreement.unsent(number, fault.dst, refusal),
    }
}

#[cfg(test)]
mod tests;
