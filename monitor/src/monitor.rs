//! The monitor: takes messages in, delivers or relays them, keeps what finds no room.

use crate::chans::{Chans, Role};
use crate::config::{Config, MAX_HOPS, MAX_ISLANDS};
use crate::event::{Action, Chan, Event, Sink};
use crate::ops;
use crate::table::Islands;
use alloc::collections::VecDeque;
use alloc::string::String;
use alloc::vec::Vec;
use skerry_hal::{CoreId, Epoch, IslandId};
use skerry_urpc::Message;
use skerry_urpc::formats::Refusal;
use skerry_urpc::formats::agree::{Invalidate, Invalidated};
use skerry_urpc::formats::monitor::{Echo, EchoReply, Fault};
use skerry_urpc::wire::{self, Body, Header};

/// What was dropped, and how much was passed on.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Counters {
    /// Messages and advertisements from an epoch that no longer counts, or from an island not known.
    pub stale: u64,
    /// Messages with a field no correct peer sends.
    pub bad: u64,
    /// Messages passed on towards other cores.
    pub relayed: u64,
    /// Messages that could not be passed on or delivered.
    pub faults: u64,
}

/// One core's monitor.
pub struct Monitor {
    pub(crate) config: Config,
    pub(crate) core: CoreId,
    pub(crate) island: IslandId,
    pub(crate) epoch: Epoch,
    pub(crate) now: u64,
    pub(crate) chans: Chans,
    pub(crate) islands: Islands,
    /// The epoch in which messages from each island are taken; 0: none.
    pub(crate) accepted: [Epoch; MAX_ISLANDS],
    /// The channel towards each island.
    pub(crate) to_island: [Option<Chan>; MAX_ISLANDS],
    /// The channel to each core of the own island.
    pub(crate) to_core: Vec<Option<Chan>>,
    pub(crate) counters: Counters,
    /// Messages to itself.
    pub(crate) loopback: VecDeque<Message>,
    pub(crate) membership: ops::membership::State,
    pub(crate) start: ops::start::State,
    pub(crate) bind: ops::bind::State,
    pub(crate) ping: ops::ping::State,
    pub(crate) stream: ops::stream::State,
    pub(crate) client: ops::client::State,
    pub(crate) proc: ops::proc::State,
    pub(crate) endpoint: ops::endpoint::State,
    pub(crate) agree: ops::agree::glue::State,
    pub(crate) tree: ops::tree::State,
    pub(crate) knowledge: ops::knowledge::State,
    pub(crate) measure: ops::measure::State,
    pub(crate) log: ops::log::State,
    pub(crate) leader: ops::leader::State,
    pub(crate) power: ops::power::State,
    pub(crate) offline: ops::offline::State,
    pub(crate) status: ops::status::State,
    pub(crate) heartbeat: ops::heartbeat::State,
}

/// Messages to itself that one call delivers; the rest waits for [`Monitor::flush`].
const LOOPBACK_BATCH: usize = 64;

impl Monitor {
    /// The monitor that `config` describes. `now` is its clock; a call whose time is earlier than the last one's counts as
    /// made at that.
    pub fn new(config: Config, now: u64) -> Self {
        let mut chans = Chans::default();
        let mut to_core = Vec::new();
        let core = config.core;
        if core.local() == 0 {
            for n in 0..config.links.len() as u16 {
                let _ = chans.add(Role::Link(n), false);
            }
        } else if let Some(first) = chans.add(Role::Core(CoreId::new(core.island(), 0)), true) {
            to_core.push(Some(first));
        }
        let mut monitor = Self {
            core,
            island: core.island(),
            epoch: config.epoch,
            now,
            chans,
            islands: Islands::default(),
            accepted: [Epoch(0); MAX_ISLANDS],
            to_island: [None; MAX_ISLANDS],
            to_core,
            counters: Counters::default(),
            loopback: VecDeque::new(),
            membership: ops::membership::State::new(&config, now),
            start: ops::start::State::default(),
            bind: ops::bind::State::default(),
            ping: ops::ping::State::default(),
            stream: ops::stream::State::default(),
            client: ops::client::State::default(),
            proc: ops::proc::State::default(),
            endpoint: ops::endpoint::State::default(),
            agree: ops::agree::glue::State::new(core),
            tree: ops::tree::State::default(),
            knowledge: ops::knowledge::State::default(),
            measure: ops::measure::State::default(),
            log: ops::log::State::default(),
            leader: ops::leader::State::default(),
            power: ops::power::State::default(),
            offline: ops::offline::State::default(),
            status: ops::status::State::default(),
            heartbeat: ops::heartbeat::State::default(),
            config,
        };
        monitor.found_island();
        monitor
    }

    /// Whose monitor it is.
    pub fn core(&self) -> CoreId {
        self.core
    }

    /// The epoch of its island.
    pub fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// What was dropped, and how much was passed on.
    pub fn counters(&self) -> Counters {
        self.counters
    }

    /// What islands and cores there are.
    pub fn islands(&self) -> &Islands {
        &self.islands
    }

    /// Whether it is its island's first.
    pub fn is_first(&self) -> bool {
        self.core.local() == 0
    }

    /// How many messages wait for room in the channel where most do.
    pub fn longest_queue(&self) -> usize {
        self.chans.iter().map(|(_, e)| e.waiting()).max().unwrap_or(0)
    }

    /// A channel for a domain of this core, up at once; `None` at the limit.
    pub fn open_client(&mut self) -> Option<Chan> {
        self.chans.add(Role::Client, true)
    }

    /// Takes in the message that came on `chan`.
    #[inline]
    pub fn message(&mut self, now: u64, chan: Chan, message: &Message, sink: &mut dyn Sink) {
        self.now = self.now.max(now);
        let Some(entry) = self.chans.get_mut(chan) else { return };
        entry.heard = now;
        let role = entry.role;
        if !entry.up {
            return self.early(chan, role, message, sink);
        }
        let header = message.header();
        match role {
            Role::Free => return,
            Role::Client => self.client_request(chan, message, sink),
            Role::Server => self.server_message(chan, message, sink),
            Role::Core(_) | Role::Link(_) if !self.accepts(&header) => {
                self.counters.stale += 1;
                return;
            }
            Role::Core(_) | Role::Link(_) if header.dst != self.core => self.relay(message, header, sink),
            Role::Core(_) | Role::Link(_) if message.kind == Echo::KIND => {
                return self.echo(message, &header, sink);
            }
            Role::Core(_) | Role::Link(_) if message.kind == EchoReply::KIND => {
                if let Some(body) = message.body::<EchoReply>() {
                    self.on_echo_reply(&body, &header, sink);
                }
            }
            Role::Core(_) | Role::Link(_) => self.deliver(chan, message, &header, sink),
        }
        self.run_loopback(sink);
    }

    /// Makes of a neighbour's echo its answer, or of the answer to an echo of ours the next echo, to be sent back on
    /// `chan` at once; should that not be possible, [`send_late`](Self::send_late) takes it. The short way that
    /// `monitor.ping` measures. So is a neighbour answered whose domain has lost a mapping: for binaries whose core forgets all
    /// translations of others when it comes to its monitor. `false`: the message is what it was, and for [`message`](Self::message).
    #[inline(always)]
    pub fn turn(&mut self, now: u64, chan: Chan, message: &mut Message) -> bool {
        let Some(entry) = self.chans.get_mut(chan) else { return false };
        let header = message.header();
        if entry.role != Role::Core(header.src) || !entry.is_clear() || header.dst != self.core {
            return false;
        }
        if message.kind == Invalidate::KIND {
            let Some(Invalidate { seq, .. }) = message.body().filter(|_| self.agree.is_on()) else {
                return false;
            };
            entry.heard = now;
            let done = Invalidated { seq, ..Invalidated::default() };
            *message = wire::encode(&self.header(header.src, header.request), &done);
            return true;
        }
        let kind = match message.kind {
            Echo::KIND => EchoReply::KIND,
            EchoReply::KIND => Echo::KIND,
            _ => return false,
        };
        if kind == Echo::KIND && !self.ping.turn(now, message, &header) {
            return false;
        }
        entry.heard = now;
        message.kind = kind;
        message.set_header(&self.header(header.src, header.request));
        true
    }

    /// Sends what [`turn`](Self::turn) has made, or keeps it until there is room.
    #[cold]
    pub fn send_late(&mut self, message: &Message, sink: &mut dyn Sink) {
        let Header { dst, request, .. } = message.header();
        if let Err(refusal) = self.try_send(message, dst, sink) {
            self.counters.faults += 1;
            if message.kind == Echo::KIND {
                self.ping_fault(request, refusal, sink);
            }
        }
    }

    /// A message on a channel that is not up: the peer adopted a new channel sooner, or a link is down.
    #[cold]
    fn early(&mut self, chan: Chan, role: Role, message: &Message, sink: &mut dyn Sink) {
        if matches!(role, Role::Core(_)) && !self.is_first() {
            self.on_channel_up(chan, sink);
            self.message(self.now, chan, message, sink);
        } else {
            self.counters.stale += 1;
        }
    }

    /// Takes in what else happened.
    pub fn handle(&mut self, now: u64, event: Event, sink: &mut dyn Sink) {
        self.now = self.now.max(now);
        match event {
            Event::Start => self.on_start(sink),
            Event::LinkUp { link, epoch, own } => self.on_link_up(link, epoch, own, sink),
            Event::LinkLost { link, why } => self.on_link_lost(link, &why, sink),
            Event::EpochRefused { epoch } => self.on_epoch_refused(epoch, sink),
            Event::StartFailed { core, why } => self.on_start_failed(core, &why, sink),
            Event::ChannelMade { a, b, frames } => self.on_channel_made(a, b, frames, sink),
            Event::ChannelUp { chan } => self.on_channel_up(chan, sink),
            Event::ChannelClosed { chan, why } => self.on_channel_closed(chan, &why, sink),
            Event::Memory { core, node, total, free } => self.on_memory(core, node, total, free),
            Event::Tick => {}
        }
        self.tick(sink);
        self.run_loopback(sink);
    }

    /// Sends what waits for room, as far as there is some now. Call it after a batch of messages and events, and
    /// again soon while [`has_backlog`](Self::has_backlog). Answers whether there was anything to do.
    pub fn flush(&mut self, now: u64, sink: &mut dyn Sink) -> bool {
        self.now = self.now.max(now);
        self.run_loopback(sink);
        if !self.has_backlog() && !self.power.is_pending() && !self.is_leaving() {
            return false;
        }
        for index in 0.. {
            let Some(entry) = self.chans.get_mut(Chan(index)) else { break };
            if entry.has_backlog() && entry.drain(Chan(index), sink) {
                self.sync(Chan(index), sink);
                self.list(Chan(index), sink);
            }
        }
        self.pump_streams(sink);
        self.run_loopback(sink);
        self.power_flush(sink);
        self.leave_flush(sink);
        true
    }

    /// Whether something waits for room.
    pub fn has_backlog(&self) -> bool {
        !self.loopback.is_empty()
            || self.chans.iter().any(|(_, e)| e.has_backlog())
            || self.stream.is_stalled()
    }

    /// Whether it has messages for itself: [`flush`](Self::flush) at once makes progress.
    pub fn talks_to_itself(&self) -> bool {
        !self.loopback.is_empty()
    }

    /// When [`Event::Tick`] is due at the latest, if nothing else happens.
    pub fn deadline(&self) -> Option<u64> {
        [
            self.membership_deadline(),
            self.start_deadline(),
            self.bind_deadline(),
            self.ping_deadline(),
            self.stream_deadline(),
            self.client_deadline(),
            self.proc_deadline(),
            self.endpoint_deadline(),
            self.agree_deadline(),
            self.tree_deadline(),
            self.measure_deadline(),
            self.heartbeat_deadline(),
            self.power_deadline(),
            self.offline_deadline(),
        ]
        .into_iter()
        .flatten()
        .min()
    }

    fn tick(&mut self, sink: &mut dyn Sink) {
        self.membership_tick(sink);
        self.start_tick(sink);
        self.bind_tick(sink);
        self.ping_tick(sink);
        self.stream_tick(sink);
        self.client_tick(sink);
        self.proc_tick(sink);
        self.endpoint_tick(sink);
        self.agree_tick();
        self.tree_tick(sink);
        self.measure_tick(sink);
        self.heartbeat_tick(sink);
        self.log_tick(sink);
        self.offline_tick(sink);
        self.power_flush(sink);
    }

    /// Whether the sender's epoch counts. Within an island there is no older epoch: its memory died with it.
    #[inline]
    pub(crate) fn accepts(&self, header: &Header) -> bool {
        let island = header.src.island();
        island == self.island
            || (header.epoch != Epoch(0) && self.accepted.get(island.0 as usize) == Some(&header.epoch))
    }

    /// The answer to an [`Echo`]: same body, other header. The path that `monitor.ping` measures.
    #[inline]
    fn echo(&mut self, message: &Message, header: &Header, sink: &mut dyn Sink) {
        let mut reply = *message;
        reply.kind = EchoReply::KIND;
        reply.set_header(&self.header(header.src, header.request));
        self.send(&reply, header.src, sink);
    }

    /// The header of a message of ours.
    #[inline]
    pub(crate) fn header(&self, dst: CoreId, request: u16) -> Header {
        Header { src: self.core, dst, epoch: self.epoch, hops: MAX_HOPS, flags: 0, request, tag: 0 }
    }

    /// Where a message for `dst` goes next.
    #[inline]
    pub(crate) fn route(&self, dst: CoreId) -> Option<Chan> {
        if dst.island() == self.island {
            match self.to_core.get(dst.local() as usize) {
                Some(&Some(chan)) => Some(chan),
                _ if self.is_first() => None,
                _ => Some(Chan(0)),
            }
        } else {
            *self.to_island.get(dst.island().0 as usize)?
        }
    }

    /// Sends towards `dst`, or says why it cannot.
    #[inline]
    pub(crate) fn try_send(
        &mut self,
        message: &Message,
        dst: CoreId,
        sink: &mut dyn Sink,
    ) -> Result<(), Refusal> {
        if dst == self.core {
            self.loopback.push_back(*message);
            return Ok(());
        }
        let chan = self.route(dst).ok_or(Refusal::Unreachable)?;
        self.chans.get_mut(chan).ok_or(Refusal::Unreachable)?.send(chan, message, sink)
    }

    /// Sends towards `dst`; what cannot be sent is counted.
    #[inline]
    pub(crate) fn send(&mut self, message: &Message, dst: CoreId, sink: &mut dyn Sink) {
        if self.try_send(message, dst, sink).is_err() {
            self.counters.faults += 1;
        }
    }

    /// Sends a body towards `dst` under a request number.
    pub(crate) fn send_body<B: Body>(&mut self, dst: CoreId, request: u16, body: &B, sink: &mut dyn Sink) {
        let message = wire::encode(&self.header(dst, request), body);
        self.send(&message, dst, sink);
    }

    /// Passes a message on that is for another core.
    fn relay(&mut self, message: &Message, mut header: Header, sink: &mut dyn Sink) {
        let sent = match header.hops.checked_sub(1) {
            None => Err(Refusal::HopLimit),
            Some(hops) => {
                header.hops = hops;
                let mut onward = *message;
                onward.set_header(&header);
                self.try_send(&onward, header.dst, sink)
            }
        };
        match sent {
            Ok(()) => self.counters.relayed += 1,
            Err(refusal) => {
                let known = self.status_of(header.dst).err();
                self.fault(message.kind, &header, known.unwrap_or(refusal), sink);
            }
        }
    }

    /// Tells the sender of a message that it ended here; unless the message itself said such a thing.
    pub(crate) fn fault(&mut self, kind: u16, header: &Header, refusal: Refusal, sink: &mut dyn Sink) {
        self.counters.faults += 1;
        if kind != Fault::KIND {
            let fault =
                Fault { refusal: refusal as u16, kind, at: self.core, dst: header.dst, ..Fault::default() };
            self.send_body(header.src, header.request, &fault, sink);
        }
    }

    /// Delivers messages to itself.
    fn run_loopback(&mut self, sink: &mut dyn Sink) {
        // What an answer to itself begins waits for the next call, which has a later time.
        for _ in 0..self.loopback.len().min(LOOPBACK_BATCH) {
            let Some(message) = self.loopback.pop_front() else { return };
            let header = message.header();
            if message.kind == Echo::KIND {
                self.echo(&message, &header, sink);
            } else {
                self.deliver(Chan(u16::MAX), &message, &header, sink);
            }
        }
    }

    /// `bound` from now; `None` if there is none.
    pub(crate) fn within(&self, bound: u64) -> Option<u64> {
        (bound > 0).then(|| self.now.saturating_add(bound))
    }

    /// Whether a deadline has passed.
    pub(crate) fn is_past(&self, deadline: Option<u64>) -> bool {
        deadline.is_some_and(|at| at <= self.now)
    }

    /// Writes a line of its own to the log.
    pub(crate) fn note(&mut self, level: u8, text: String, sink: &mut dyn Sink) {
        if self.is_first() {
            sink.act(Action::Log { core: self.core, level, text });
        } else {
            self.log(self.now, level, &text, sink);
        }
    }
}
