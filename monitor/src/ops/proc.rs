//! Requests to process servers: a client's go to the core they name, and answers come back.
//!
//! A *session* is one request of a client of this core, at whatever core its server is; an *asker* is one at the server
//! of this core, from whatever core it comes. Each is closed by the server's last answer, or when the core at the other
//! end is lost: then the client hears so, and the server is told that nobody listens any more.

use super::{RequestId, Requests};
use crate::chans::Role;
use crate::config::{MAX_ASKERS, MAX_SESSIONS};
use crate::event::{Chan, Sink};
use crate::monitor::Monitor;
use alloc::vec::Vec;
use skerry_hal::{CoreId, Epoch};
use skerry_urpc::Message;
use skerry_urpc::formats::Refusal;
use skerry_urpc::formats::monitor::Fault;
use skerry_urpc::formats::proc::{Credit, Done, Leave, is_answer, is_request};
use skerry_urpc::wire::{self, Body, Header};

#[derive(Clone, Copy)]
struct Session {
    chan: Chan,
    /// The client's own number.
    answer: u16,
    /// Ours.
    request: u16,
    core: CoreId,
    epoch: Epoch,
}

/// A request at the server of this core.
#[derive(Clone, Copy)]
struct Asker {
    core: CoreId,
    request: u16,
    epoch: Epoch,
}

#[derive(Default)]
pub(crate) struct State {
    server: Option<Chan>,
    sessions: [Option<Session>; MAX_SESSIONS],
    askers: Vec<Asker>,
    count: u8,
}

/// Whether a kind passes between clients and process servers.
pub(crate) const fn is_proc(kind: u16) -> bool {
    is_request(kind) || is_answer(kind)
}

impl Monitor {
    /// A channel for the process server of this core, up at once; `None` at the limit.
    pub fn open_server(&mut self) -> Option<Chan> {
        self.proc.server = self.chans.add(Role::Server, true);
        self.proc.server
    }

    /// A message of a client's to a process server.
    pub(crate) fn proc_request(&mut self, chan: Chan, message: &Message, sink: &mut dyn Sink) {
        let Header { request: answer, dst, .. } = message.header();
        let known = self.proc.sessions.iter().flatten().find(|s| (s.chan, s.answer) == (chan, answer));
        let sent = match known {
            Some(&session) => self.proc_forward(session, message, sink),
            // Its session has ended meanwhile.
            None if matches!(message.kind, Credit::KIND | Leave::KIND) => Ok(()),
            None => match self.proc_open(chan, answer, dst) {
                Ok(session) => self.proc_forward(session, message, sink),
                Err(refusal) => return self.proc_refuse(chan, answer, refusal, sink),
            },
        };
        if let Err((request, refusal)) = sent {
            self.proc_fault(request, refusal, sink);
        }
    }

    fn proc_open(&mut self, chan: Chan, answer: u16, core: CoreId) -> Result<Session, Refusal> {
        self.status_of(core)?;
        let slot = self.proc.sessions.iter().position(Option::is_none).ok_or(Refusal::Busy)?;
        self.proc.count = self.proc.count.wrapping_add(1);
        let request = RequestId::new(Requests::Proc, slot, self.proc.count).raw();
        let session = Session { chan, answer, request, core, epoch: self.epoch_of(core.island()) };
        self.proc.sessions[slot] = Some(session);
        Ok(session)
    }

    fn proc_forward(
        &mut self,
        session: Session,
        message: &Message,
        sink: &mut dyn Sink,
    ) -> Result<(), (u16, Refusal)> {
        let mut onward = *message;
        onward.set_header(&self.header(session.core, session.request));
        if message.kind == Leave::KIND {
            let _ = self.take_session(session.request, session.core);
        }
        self.try_send(&onward, session.core, sink).map_err(|refusal| (session.request, refusal))
    }

    fn take_session(&mut self, request: u16, core: CoreId) -> Option<Session> {
        let slot = RequestId::slot(request, Requests::Proc)?;
        self.proc.sessions.get_mut(slot)?.take_if(|s| s.request == request && s.core == core)
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
        let known = self.proc.askers.iter().any(|a| (a.core, a.request) == (core, request));
        if !known {
            if matches!(message.kind, Credit::KIND | Leave::KIND) {
                return;
            }
            if self.proc.askers.len() >= MAX_ASKERS {
                return self.fault(message.kind, header, Refusal::Busy, sink);
            }
            let epoch = self.epoch_of(core.island());
            self.proc.askers.push(Asker { core, request, epoch });
        }
        if message.kind == Leave::KIND {
            self.proc.askers.retain(|a| (a.core, a.request) != (core, request));
        }
        if let Err(refusal) = self.serve_with(message, sink) {
            self.proc.askers.retain(|a| (a.core, a.request) != (core, request));
            self.fault(message.kind, header, refusal, sink);
        }
    }

    fn serve_with(&mut self, message: &Message, sink: &mut dyn Sink) -> Result<(), Refusal> {
        let chan = self.proc.server.ok_or(Refusal::NoServer)?;
        self.chans.get_mut(chan).ok_or(Refusal::NoServer)?.send(chan, message, sink)
    }

    fn proc_answer(&mut self, message: &Message, header: &Header, sink: &mut dyn Sink) {
        let slot = RequestId::slot(header.request, Requests::Proc);
        let found = slot.and_then(|slot| *self.proc.sessions.get(slot)?);
        let Some(session) = found.filter(|s| s.request == header.request && s.core == header.src) else {
            return;
        };
        if message.kind == Done::KIND {
            let _ = self.take_session(session.request, session.core);
        }
        let mut onward = *message;
        onward.set_header(&Header { src: session.core, ..self.header(self.core, session.answer) });
        self.proc_to_client(session.chan, &onward, sink);
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

    /// What the server of this core says: an answer to one of its askers.
    pub(crate) fn server_message(&mut self, message: &Message, sink: &mut dyn Sink) {
        let Header { dst, request, .. } = message.header();
        let known = self.proc.askers.iter().position(|a| (a.core, a.request) == (dst, request));
        let (true, Some(index)) = (is_answer(message.kind), known) else {
            self.counters.bad += 1;
            return;
        };
        if message.kind == Done::KIND {
            self.proc.askers.swap_remove(index);
        }
        let mut onward = *message;
        onward.set_header(&self.header(dst, request));
        self.send(&onward, dst, sink);
    }

    /// A message between client and server ended somewhere.
    pub(crate) fn proc_fault(&mut self, request: u16, refusal: Refusal, sink: &mut dyn Sink) {
        let slot = RequestId::slot(request, Requests::Proc);
        let found = slot.and_then(|slot| *self.proc.sessions.get(slot)?).filter(|s| s.request == request);
        if let Some(session) = found {
            let _ = self.take_session(request, session.core);
            self.proc_refuse(session.chan, session.answer, refusal, sink);
        }
    }

    /// An answer of this core's server did not arrive: its asker is not served any more.
    pub(crate) fn proc_answer_lost(&mut self, fault: &Fault, request: u16, sink: &mut dyn Sink) {
        self.proc_drop_askers(|a| (a.core, a.request) == (fault.dst, request), sink);
    }

    fn proc_drop_askers(&mut self, which: impl Fn(&Asker) -> bool, sink: &mut dyn Sink) {
        let gone: Vec<Asker> = self.proc.askers.extract_if(.., |a| which(a)).collect();
        for asker in gone {
            let header = Header { src: asker.core, ..self.header(self.core, asker.request) };
            if self.serve_with(&wire::encode(&header, &Leave::default()), sink).is_err() {
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
        let gone: Vec<(CoreId, u16)> = self
            .proc
            .askers
            .iter()
            .filter(|a| self.status_of(a.core).is_err() || self.is_void(a.core.island(), a.epoch))
            .map(|a| (a.core, a.request))
            .collect();
        self.proc_drop_askers(|a| gone.contains(&(a.core, a.request)), sink);
    }

    /// The channel to `peer` is gone, and with it perhaps a request or its answer.
    pub(crate) fn proc_way_lost(&mut self, peer: CoreId, sink: &mut dyn Sink) {
        for slot in 0..MAX_SESSIONS {
            if let Some(session) = self.proc.sessions[slot].filter(|s| s.core == peer) {
                self.proc_fault(session.request, Refusal::Aborted, sink);
            }
        }
        self.proc_drop_askers(|a| a.core == peer, sink);
    }

    /// A client's channel is closed: its servers need not answer.
    pub(crate) fn proc_client_gone(&mut self, chan: Chan, sink: &mut dyn Sink) {
        for slot in 0..MAX_SESSIONS {
            if let Some(session) = self.proc.sessions[slot].take_if(|s| s.chan == chan) {
                self.send_body(session.core, session.request, &Leave::default(), sink);
            }
        }
    }

    /// The server of this core has ended: its askers hear so.
    pub(crate) fn proc_server_gone(&mut self, sink: &mut dyn Sink) {
        self.proc.server = None;
        for asker in core::mem::take(&mut self.proc.askers) {
            let done = Done { refusal: Refusal::NoServer as u16, ..Done::default() };
            self.send_body(asker.core, asker.request, &done, sink);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Event;
    use crate::testkit::{Log, core, joined, message};
    use skerry_urpc::formats::proc::{List, Output, Wait};

    fn ask<B: Body>(request: u16, to: CoreId, body: &B) -> Message {
        wire::encode(&Header { request, dst: to, ..Header::default() }, body)
    }

    fn done(log: &mut Log) -> Option<(u16, Refusal)> {
        let (_, (header, done)) = log.take_sent::<Done>()?;
        Some((header.request, Refusal::from_raw(done.refusal)))
    }

    #[test]
    fn a_request_goes_to_its_core_and_the_answers_come_back() {
        let (mut m, mut log) = joined();
        let client = m.open_client().unwrap();
        let far = core(1, 0);
        m.message(3, client, &ask(7, far, &List::default()), &mut log);
        let (chan, (header, _)) = log.take_sent::<List>().expect("on its way");
        assert_eq!((chan, header.dst), (Chan(0), far));
        m.message(4, Chan(0), &message(core(1, 1), core(0, 0), header.request, &Output::default()), &mut log);
        assert!(log.take_sent::<Output>().is_none(), "of a core that was not asked");
        m.message(4, Chan(0), &message(far, core(0, 0), header.request, &Output::default()), &mut log);
        let (chan, (answer, _)) = log.take_sent::<Output>().expect("an answer");
        assert_eq!((chan, answer.request, answer.src), (client, 7, far));
        m.message(5, client, &ask(7, far, &Credit { pieces: 1, ..Credit::default() }), &mut log);
        assert_eq!(log.take_sent::<Credit>().map(|(_, (h, _))| h.request), Some(header.request));
        for _ in 0..2 {
            m.message(6, Chan(0), &message(far, core(0, 0), header.request, &Done::default()), &mut log);
        }
        assert!(log.take_sent::<Done>().is_some());
        assert!(log.take_sent::<Done>().is_none(), "the last answer is the last");
        m.message(7, client, &ask(7, far, &Credit::default()), &mut log);
        assert!(log.take_sent::<Credit>().is_none(), "its session has ended");
    }

    #[test]
    fn what_cannot_be_asked_is_refused() {
        let (mut m, mut log) = joined();
        let client = m.open_client().unwrap();
        for (to, refusal) in [(core(9, 0), Refusal::Unknown), (core(1, 1), Refusal::NotUp)] {
            m.message(3, client, &ask(1, to, &List::default()), &mut log);
            assert_eq!(done(&mut log), Some((1, refusal)));
        }
        m.message(3, client, &ask(2, core(0, 0), &List::default()), &mut log);
        m.flush(4, &mut log);
        assert_eq!(done(&mut log), Some((2, Refusal::NoServer)));
        for n in 0..=MAX_SESSIONS as u16 {
            m.message(5, client, &ask(10 + n, core(1, 0), &Wait::default()), &mut log);
        }
        assert_eq!(done(&mut log), Some((10 + MAX_SESSIONS as u16, Refusal::Busy)));
        m.handle(6, Event::LinkLost { link: 0, why: "silent".into() }, &mut log);
        let lost = core::iter::from_fn(|| done(&mut log)).filter(|d| d.1 == Refusal::Lost).count();
        assert_eq!(lost, MAX_SESSIONS, "everybody hears of the loss");
        assert!(m.proc.sessions.iter().all(Option::is_none));
    }

    #[test]
    fn a_server_hears_who_does_not_listen_any_more() {
        let (mut m, mut log) = joined();
        let server = m.open_server().unwrap();
        let far = core(1, 0);
        m.message(3, Chan(0), &message(far, core(0, 0), 5, &Wait { pid: 3, ..Wait::default() }), &mut log);
        let (chan, (header, wait)) = log.take_sent::<Wait>().expect("served");
        assert_eq!((chan, header.src, header.request, wait.pid), (server, far, 5, 3));
        m.message(4, server, &ask(6, far, &Output::default()), &mut log);
        assert!(log.take_sent::<Output>().is_none(), "nobody asked under that number");
        m.message(4, server, &ask(5, far, &Output::default()), &mut log);
        assert_eq!(log.take_sent::<Output>().map(|(chan, _)| chan), Some(Chan(0)));
        m.handle(5, Event::LinkLost { link: 0, why: "silent".into() }, &mut log);
        let (chan, (header, _)) = log.take_sent::<Leave>().expect("told");
        assert_eq!((chan, header.src, header.request), (server, far, 5));
        assert!(m.proc.askers.is_empty());
    }

    #[test]
    fn the_end_of_a_server_ends_what_it_was_asked() {
        let (mut m, mut log) = joined();
        let server = m.open_server().unwrap();
        m.message(3, Chan(0), &message(core(1, 0), core(0, 0), 5, &Wait::default()), &mut log);
        m.handle(4, Event::ChannelClosed { chan: server, why: "dead".into() }, &mut log);
        assert_eq!(done(&mut log), Some((5, Refusal::NoServer)));
        m.message(3, Chan(0), &message(core(1, 0), core(0, 0), 6, &Wait::default()), &mut log);
        let (_, (header, fault)) = log.take_sent::<Fault>().expect("a fault");
        assert_eq!((header.request, fault.refusal), (6, Refusal::NoServer as u16));
    }

    #[test]
    fn askers_are_bounded() {
        let (mut m, mut log) = joined();
        let _server = m.open_server().unwrap();
        for n in 0..=MAX_ASKERS as u16 {
            m.message(3, Chan(0), &message(core(1, 0), core(0, 0), n, &Wait::default()), &mut log);
        }
        let (_, (header, fault)) = log.take_sent::<Fault>().expect("a fault");
        assert_eq!((header.request, fault.refusal), (MAX_ASKERS as u16, Refusal::Busy as u16));
    }
}
