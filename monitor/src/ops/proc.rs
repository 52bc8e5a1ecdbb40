//! Requests to the servers of a core, those for processes, devices and knowledge: a client's go to the core they name, and
//! answers come back.
//!
//! A *session* is one request of a client of this core, at whatever core its server is; an *asker* is one at the server
//! of this core, from whatever core it comes. Each is closed by the server's last answer, or when the core at the other
//! end is lost: then the client hears so, and the server is told that nobody listens any more.
//!
//! What a relay loses (its island died, its queue was full) nobody reports. So both ends number what they send
//! ([`Message::flags`]), and a gap ends the session with [`Refusal::Aborted`]; a session without traffic probes once in a
//! bound whether it is still known at the other end. The server knows askers by a number of this monitor's: an answer to
//! an asker of a lost epoch is never taken for one to its successor, however alike their requests.

use super::{RequestId, Requests};
use crate::chans::Role;
use crate::config::{MAX_ASKERS, MAX_SESSIONS};
use crate::event::{Chan, Sink};
use crate::monitor::Monitor;
use alloc::vec::Vec;
use skerry_hal::{CoreId, Epoch};
use skerry_urpc::Message;
use skerry_urpc::formats::Refusal;
use skerry_urpc::formats::knowledge::Ask;
use skerry_urpc::formats::monitor::{Fault, LogText};
use skerry_urpc::formats::proc::{self, Credit, Done, FurtherAsk, FurtherEnd, FurtherPart, Leave, Spawn};
use skerry_urpc::formats::{device, knowledge};
use skerry_urpc::wire::{self, Body, Header};

/// Bounds without a probe after which an asker is taken for gone.
const SILENCE: u64 = 4;

#[derive(Clone, Copy)]
struct Session {
    chan: Chan,
    /// The client's own number.
    answer: u16,
    /// Ours.
    request: u16,
    core: CoreId,
    epoch: Epoch,
    /// Numbers of the next message to the server and of the next one from it.
    next: (u16, u16),
    /// When the other end is probed.
    probe: Option<u64>,
}

/// A request at the server of this core.
#[derive(Clone, Copy)]
struct Asker {
    core: CoreId,
    request: u16,
    epoch: Epoch,
    /// The channel to the server.
    server: Chan,
    /// What the server knows it by.
    handle: u16,
    /// Numbers of the next message to the client and of the next one from it.
    next: (u16, u16),
    /// When it is taken for gone if it does not probe.
    until: Option<u64>,
}

impl Asker {
    fn is(&self, core: CoreId, request: u16) -> bool {
        (self.core, self.request) == (core, request)
    }
}

#[derive(Default)]
pub(crate) struct State {
    server: Option<Chan>,
    devices: Option<Chan>,
    knowledge: Option<Chan>,
    sessions: [Option<Session>; MAX_SESSIONS],
    askers: Vec<Asker>,
    count: u8,
    handle: u16,
}

/// Whether a kind is a client's to a server.
pub(crate) const fn is_request(kind: u16) -> bool {
    proc::is_request(kind) || device::is_request(kind) || knowledge::is_request(kind)
}

/// Whether a kind is a server's to a client.
pub(crate) const fn is_answer(kind: u16) -> bool {
    proc::is_answer(kind) || device::is_answer(kind)
}

/// Whether a kind passes between clients and servers.
pub(crate) const fn is_proc(kind: u16) -> bool {
    is_request(kind) || is_answer(kind)
}

/// Whether a kind is what process servers alone ask of each other.
const fn is_servers(kind: u16) -> bool {
    matches!(kind, FurtherAsk::KIND | FurtherPart::KIND | FurtherEnd::KIND)
}

/// Whether a message makes sense only as part of a request that is known.
fn goes_on(message: &Message) -> bool {
    matches!(message.kind, Credit::KIND | Leave::KIND | FurtherPart::KIND | FurtherEnd::KIND)
        || message.body::<Spawn>().is_some_and(|s| s.piece != 0)
        || message.body::<Ask>().is_some_and(|ask| ask.piece != 0)
}

impl Monitor {
    /// A channel for the process server of this core, up at once; `None` at the limit.
    pub fn open_server(&mut self) -> Option<Chan> {
        self.proc.server = self.chans.add(Role::Server, true);
        self.proc.server
    }

    /// A channel for the PCI domain of this core, up at once; `None` at the limit.
    pub fn open_devices(&mut self) -> Option<Chan> {
        self.proc.devices = self.chans.add(Role::Server, true);
        self.proc.devices
    }

    /// A channel for the knowledge base of this island, up at once; `None` at the limit.
    pub fn open_knowledge(&mut self) -> Option<Chan> {
        self.proc.knowledge = self.chans.add(Role::Server, true);
        self.proc.knowledge
    }

    /// The channel to it.
    pub(crate) fn knowledge_chan(&self) -> Option<Chan> {
        self.proc.knowledge
    }

    /// How many requests to servers are open: those of clients here, and those at the server here.
    pub fn open_requests(&self) -> (usize, usize) {
        (self.proc.sessions.iter().flatten().count(), self.proc.askers.len())
    }

    /// Says something of this monitor's own to the process server of this core.
    pub(crate) fn tell_server(&mut self, message: &Message, sink: &mut dyn Sink) -> Result<(), Refusal> {
        let chan = self.proc.server.ok_or(Refusal::NoServer)?;
        self.chans.get_mut(chan).ok_or(Refusal::NoServer)?.send(chan, message, sink)
    }

    /// A message of a client's to a process server.
    pub(crate) fn proc_request(&mut self, chan: Chan, message: &Message, sink: &mut dyn Sink) {
        if is_servers(message.kind) && self.proc.server != Some(chan) {
            return self.proc_refuse(chan, message.header().request, Refusal::BadRequest, sink);
        }
        let Header { request: answer, dst, .. } = message.header();
        let sessions = self.proc.sessions.iter().flatten();
        let known = sessions.clone().find(|s| (s.chan, s.answer) == (chan, answer)).map(|s| s.request);
        let request = match known {
            Some(request) => request,
            // Its session has ended meanwhile.
            None if goes_on(message) => return,
            None => match self.proc_open(chan, answer, dst) {
                Ok(request) => request,
                Err(refusal) => return self.proc_refuse(chan, answer, refusal, sink),
            },
        };
        self.proc_forward(request, message, sink);
    }

    fn proc_open(&mut self, chan: Chan, answer: u16, core: CoreId) -> Result<u16, Refusal> {
        self.status_of(core)?;
        let slot = self.proc.sessions.iter().position(Option::is_none).ok_or(Refusal::Busy)?;
        self.proc.count = self.proc.count.wrapping_add(1);
        let request = RequestId::new(Requests::Proc, slot, self.proc.count).raw();
        let (epoch, probe) = (self.epoch_of(core.island()), self.within(self.config.bound));
        self.proc.sessions[slot] = Some(Session { chan, answer, request, core, epoch, next: (0, 0), probe });
        Ok(request)
    }

    fn session(&mut self, request: u16) -> Option<&mut Option<Session>> {
        let slot = RequestId::slot(request, Requests::Proc)?;
        self.proc.sessions.get_mut(slot).filter(|s| s.is_some_and(|s| s.request == request))
    }

    fn proc_forward(&mut self, request: u16, message: &Message, sink: &mut dyn Sink) {
        let probe = self.within(self.config.bound);
        let Some(entry) = self.session(request) else { return };
        let Some(session) = entry.as_mut() else { return };
        let (core, number) = (session.core, session.next.0);
        session.next.0 = number.wrapping_add(1);
        session.probe = probe;
        if message.kind == Leave::KIND {
            *entry = None;
        }
        let mut onward = *message;
        onward.flags = number;
        onward.set_header(&self.header(core, request));
        if let Err(refusal) = self.try_send(&onward, core, sink) {
            self.proc_fault(request, refusal, sink);
        }
    }

    /// A request for the server of this core, or an answer for a client of this core.
    pub(crate) fn on_proc(&mut self, message: &Message, header: &Header, sink: &mut dyn Sink) {
        if is_answer(message.kind) {
            self.proc_answer(message, header, sink);
        } else {
            self.proc_serve(message, header, sink);
        }
    }

    fn proc_serve(&mut self, message: &Message, header: &Header, sink: &mut dyn Sink) {
        let (core, request) = (header.src, header.request);
        let index = match self.proc.askers.iter().position(|a| a.is(core, request)) {
            Some(index) => index,
            // Its first message was lost, or it was given up here.
            None if goes_on(message) || message.flags != 0 => {
                if message.kind != Leave::KIND {
                    self.fault(message.kind, header, Refusal::Aborted, sink);
                }
                return;
            }
            None if self.proc.askers.len() >= MAX_ASKERS => {
                return self.fault(message.kind, header, Refusal::Busy, sink);
            }
            None => {
                let which = match message.kind {
                    kind if device::is_request(kind) => self.proc.devices,
                    kind if knowledge::is_request(kind) => self.proc.knowledge,
                    _ => self.proc.server,
                };
                let Some(server) = which else {
                    return self.fault(message.kind, header, Refusal::NoServer, sink);
                };
                let (epoch, handle) = (self.epoch_of(core.island()), self.new_handle());
                let next = (0, 0);
                self.proc.askers.push(Asker { core, request, epoch, server, handle, next, until: None });
                self.proc.askers.len() - 1
            }
        };
        let until = self.within(self.config.bound.saturating_mul(SILENCE));
        let asker = &mut self.proc.askers[index];
        if message.flags != asker.next.1 {
            self.proc_drop_askers(|a| a.is(core, request), sink);
            return self.fault(message.kind, header, Refusal::Aborted, sink);
        }
        asker.next.1 = asker.next.1.wrapping_add(1);
        asker.until = until;
        let asker = *asker;
        if message.body::<Credit>().is_some_and(|credit| credit.pieces == 0) {
            return;
        }
        if message.kind == Leave::KIND {
            self.proc.askers.swap_remove(index);
        }
        if let Err(refusal) = self.ask_server(&asker, message, sink) {
            self.proc.askers.retain(|a| !a.is(core, request));
            self.fault(message.kind, header, refusal, sink);
        }
    }

    /// A number that no asker has. The last one to have had it is long gone.
    fn new_handle(&mut self) -> u16 {
        loop {
            self.proc.handle = self.proc.handle.wrapping_add(1);
            if self.proc.askers.iter().all(|a| a.handle != self.proc.handle) {
                return self.proc.handle;
            }
        }
    }

    fn ask_server(&mut self, asker: &Asker, message: &Message, sink: &mut dyn Sink) -> Result<(), Refusal> {
        let mut onward = *message;
        onward.flags = 0;
        onward.set_header(&Header { src: asker.core, ..self.header(self.core, asker.handle) });
        self.chans.get_mut(asker.server).ok_or(Refusal::NoServer)?.send(asker.server, &onward, sink)
    }

    fn proc_answer(&mut self, message: &Message, header: &Header, sink: &mut dyn Sink) {
        let probe = self.within(self.config.bound);
        let Some(entry) = self.session(header.request) else { return };
        let Some(session) = entry.as_mut().filter(|s| s.core == header.src) else { return };
        if message.flags != session.next.1 {
            return self.proc_break(header.request, sink);
        }
        session.next.1 = session.next.1.wrapping_add(1);
        session.probe = probe;
        let (chan, core, answer) = (session.chan, session.core, session.answer);
        if message.kind == Done::KIND {
            *entry = None;
        }
        let mut onward = *message;
        onward.flags = 0;
        onward.set_header(&Header { src: core, ..self.header(self.core, answer) });
        self.proc_to_client(chan, &onward, sink);
    }

    /// Something of a session was lost: both ends are told.
    fn proc_break(&mut self, request: u16, sink: &mut dyn Sink) {
        let Some(Some(session)) = self.session(request).map(Option::take) else { return };
        self.proc_leave(&session, sink);
        self.proc_refuse(session.chan, session.answer, Refusal::Aborted, sink);
    }

    fn proc_leave(&mut self, session: &Session, sink: &mut dyn Sink) {
        let mut leave = wire::encode(&self.header(session.core, session.request), &Leave::default());
        leave.flags = session.next.0;
        self.send(&leave, session.core, sink);
    }

    fn proc_to_client(&mut self, chan: Chan, message: &Message, sink: &mut dyn Sink) {
        if self.chans.get_mut(chan).is_none_or(|e| e.send(chan, message, sink).is_err()) {
            self.counters.faults += 1;
        }
    }

    fn proc_refuse(&mut self, chan: Chan, answer: u16, refusal: Refusal, sink: &mut dyn Sink) {
        let done = Done { refusal: refusal as u16, ..Done::default() };
        let message = wire::encode(&self.header(self.core, answer), &done);
        self.proc_to_client(chan, &message, sink);
    }

    /// What a server of this core says: an answer to one of its askers, a line for the log, or a request for
    /// the service of a device, or to another core's server for a dispatcher, for which it is a client like any other.
    pub(crate) fn server_message(&mut self, chan: Chan, message: &Message, sink: &mut dyn Sink) {
        if self.proc.server == Some(chan) && self.server_retired(message, sink) {
            return;
        }
        if self.proc.knowledge == Some(chan) && super::knowledge::is_advice(message.kind) {
            return self.knowledge_says(message, sink);
        }
        if let Some(piece) = message.body::<LogText>() {
            return self.on_server_log(&piece, chan, sink);
        }
        if device::is_request(message.kind) || is_servers(message.kind) {
            return self.proc_request(chan, message, sink);
        }
        let Header { dst, request, .. } = message.header();
        let asker = |a: &Asker| (a.core, a.handle, a.server) == (dst, request, chan);
        let known = self.proc.askers.iter().position(asker);
        let (true, Some(index)) = (is_answer(message.kind), known) else {
            // It may not have heard yet that the asker is gone.
            self.counters.stale += 1;
            return;
        };
        let asker = &mut self.proc.askers[index];
        let (request, number) = (asker.request, asker.next.0);
        asker.next.0 = number.wrapping_add(1);
        if message.kind == Done::KIND {
            self.proc.askers.swap_remove(index);
        }
        let mut onward = *message;
        onward.flags = number;
        onward.set_header(&self.header(dst, request));
        if self.try_send(&onward, dst, sink).is_err() {
            // The asker finds out by its next probe, for which there is room again.
            self.counters.faults += 1;
            self.proc_drop_askers(|a| a.is(dst, request), sink);
        }
    }

    /// A message between client and server ended somewhere.
    pub(crate) fn proc_fault(&mut self, request: u16, refusal: Refusal, sink: &mut dyn Sink) {
        if let Some(Some(session)) = self.session(request).map(Option::take) {
            self.proc_refuse(session.chan, session.answer, refusal, sink);
        }
    }

    /// An answer of this core's server did not arrive: its asker is not served any more.
    pub(crate) fn proc_answer_lost(&mut self, fault: &Fault, request: u16, sink: &mut dyn Sink) {
        self.proc_drop_askers(|a| a.is(fault.dst, request), sink);
    }

    fn proc_drop_askers(&mut self, which: impl Fn(&Asker) -> bool, sink: &mut dyn Sink) {
        let gone: Vec<Asker> = self.proc.askers.extract_if(.., |a| which(a)).collect();
        for asker in gone {
            let leave = wire::encode(&Header::default(), &Leave::default());
            if self.ask_server(&asker, &leave, sink).is_err() {
                self.counters.faults += 1;
            }
        }
    }

    /// Whoever is at the other end of a request and cannot be heard any more is given up.
    pub(crate) fn proc_recheck(&mut self, sink: &mut dyn Sink) {
        for slot in 0..MAX_SESSIONS {
            let Some(session) = self.proc.sessions[slot] else { continue };
            if let Err(refusal) = self.status_of(session.core) {
                self.proc_fault(session.request, refusal, sink);
            } else if self.is_void(session.core.island(), session.epoch) {
                self.proc_fault(session.request, Refusal::Aborted, sink);
            }
        }
        let gone: Vec<u16> = self
            .proc
            .askers
            .iter()
            .filter(|a| self.status_of(a.core).is_err() || self.is_void(a.core.island(), a.epoch))
            .map(|a| a.handle)
            .collect();
        self.proc_drop_askers(|a| gone.contains(&a.handle), sink);
    }

    /// The channel to `peer` is gone, and with it perhaps a request or its answer.
    pub(crate) fn proc_way_lost(&mut self, peer: CoreId, sink: &mut dyn Sink) {
        for slot in 0..MAX_SESSIONS {
            if let Some(session) = self.proc.sessions[slot].filter(|s| s.core == peer) {
                self.proc_break(session.request, sink);
            }
        }
        self.proc_drop_askers(|a| a.core == peer, sink);
    }

    /// A client's channel is closed: its servers need not answer.
    pub(crate) fn proc_client_gone(&mut self, chan: Chan, sink: &mut dyn Sink) {
        for slot in 0..MAX_SESSIONS {
            if let Some(session) = self.proc.sessions[slot].take_if(|s| s.chan == chan) {
                self.proc_leave(&session, sink);
            }
        }
    }

    /// A server of this core has ended: its askers hear so.
    pub(crate) fn proc_server_gone(&mut self, chan: Chan, sink: &mut dyn Sink) {
        let State { server, devices, knowledge, .. } = &mut self.proc;
        for server in [server, devices, knowledge] {
            let _ = server.take_if(|server| *server == chan);
        }
        let gone: Vec<Asker> = self.proc.askers.extract_if(.., |a| a.server == chan).collect();
        for asker in gone {
            let done = Done { refusal: Refusal::NoServer as u16, ..Done::default() };
            let mut last = wire::encode(&self.header(asker.core, asker.request), &done);
            last.flags = asker.next.0;
            self.send(&last, asker.core, sink);
        }
    }

    pub(crate) fn proc_deadline(&self) -> Option<u64> {
        let probes = self.proc.sessions.iter().flatten().filter_map(|s| s.probe);
        probes.chain(self.proc.askers.iter().filter_map(|a| a.until)).min()
    }

    pub(crate) fn proc_tick(&mut self, sink: &mut dyn Sink) {
        for slot in 0..MAX_SESSIONS {
            let due = self.proc.sessions[slot].filter(|s| self.is_past(s.probe));
            if let Some(session) = due {
                let probe = wire::encode(&Header::default(), &Credit::default());
                self.proc_forward(session.request, &probe, sink);
            }
        }
        let now = self.now;
        self.proc_drop_askers(|a| a.until.is_some_and(|until| until <= now), sink);
    }
}

#[cfg(test)]
mod tests;
