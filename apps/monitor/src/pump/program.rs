//! The benchmarks that are the monitor's own: its meter, and the halves of one across islands, which get parts of the
//! monitor's windows. The half's lines become answers. All other programs are the process servers'.

use super::Pump;
use alloc::format;
use skerry_abi::domain::{Purpose, slot};
use skerry_abi::{CPtr, Error, Rights};
use skerry_urpc::Transport;
use skerry_urpc::formats::Refusal;
use skerry_urpc::formats::shell::{BenchQuery, Done, TextLine};
use skerry_urpc::wire::{Body, Header, encode};
use skerry_user::cap::SELF;
use skerry_user::chan::{Chan as UserChan, Peer};
use skerry_user::logging::error;
use skerry_user::spawn::{self, CHANNEL_EVENT, Child, Running, SpawnError};

/// RAM of a program.
const RAM: u64 = 256 << 10;
/// State of a dispatcher that has ended.
const DEAD: u64 = 3;

/// A program under way, and whose request it serves.
pub struct Program {
    chan: UserChan,
    running: Running,
    /// The shell's; `None` if another island asked.
    request: Option<u16>,
    lines: u32,
}

/// A capability for a program, and how it is listed.
pub struct Given {
    pub purpose: Purpose,
    pub cap: CPtr,
    /// Base, length and detail.
    pub what: (u64, u64, u64),
}

impl Pump {
    /// Starts a benchmark.
    pub(super) fn bench(&mut self, query: &BenchQuery, request: u16) {
        let len = query.name.iter().position(|byte| *byte == 0).unwrap_or(query.name.len());
        let name = core::str::from_utf8(&query.name[..len]).unwrap_or("?");
        if self.program.is_some() || self.meter.is_some() {
            return self.answer_done(request, Refusal::Busy as u16, 0);
        }
        let started = match name {
            "monitor.ping" => self.start_meter(request),
            "urpc.xisa" => self.bench_across(request),
            _ => Err(Refusal::BadRequest),
        };
        if let Err(refusal) = started {
            self.answer_done(request, refusal as u16, 0);
        }
    }

    /// Whether a program runs.
    pub(super) const fn has_program(&self) -> bool {
        self.program.is_some()
    }

    /// Starts the benchmarks' program with what `give` lists.
    pub(super) fn spawn(
        &mut self,
        name: &str,
        give: &[Given],
        request: Option<u16>,
    ) -> Result<(), SpawnError> {
        let missing = SpawnError::Refused("no bench in the bundle", Error::EmptySlot);
        let file = self.starter.bench.ok_or(missing)?;
        let domain = &mut self.domain;
        let wake = domain.mem.endpoint(SELF, CHANNEL_EVENT);
        let wake = wake.map_err(|error| SpawnError::Refused("own endpoint", error.into()))?;
        let args = format!("name={name}");
        let program = spawn::Program { name: "bench", file, args: &args };
        let mut child = Child::load_with(domain, &program, RAM)?;
        let mut furnish = || {
            child.grant(slot::KERNEL, slot::KERNEL, Rights::CONSOLE)?;
            for given in give {
                child.give(given.purpose, given.cap, given.what, Rights::all())?;
            }
            child.on_death(wake);
            let chan = child.connect_parent(domain, Peer::Monitor, wake, CHANNEL_EVENT)?;
            child.give_rest()?;
            Ok(chan)
        };
        let chan = match furnish() {
            Ok(chan) => chan,
            Err(error) => {
                child.abandon(domain);
                return Err(error);
            }
        };
        let running = child.start(domain)?;
        self.program = Some(Program { chan, running, request, lines: 0 });
        Ok(())
    }

    pub(super) fn arm_program(&mut self, on: bool) {
        if let Some(program) = &mut self.program {
            if on { program.chan.arm_wake() } else { program.chan.disarm_wake() }
        }
    }

    /// Passes on what the program says. Answers whether there was news.
    pub(super) fn poll_program(&mut self) -> bool {
        let Some(program) = &mut self.program else { return false };
        let (request, found) = (program.request, program.chan.try_recv());
        program.chan.kick();
        match found {
            Ok(Some(message)) => {
                if let Some(line) = message.body::<TextLine>() {
                    program.lines += u32::from(line.more == 0);
                    self.answer_some(request, &line);
                } else if let Some(done) = message.body::<Done>() {
                    self.end_program(request, done.refusal);
                }
                true
            }
            Ok(None) if program.running.dispatcher.state().is_ok_and(|state| state & 0xff != DEAD) => false,
            // It ended without a last word, or wrote nonsense.
            Ok(None) | Err(_) => {
                self.end_program(request, Refusal::Aborted as u16);
                true
            }
        }
    }

    fn answer_some<B: Body>(&mut self, request: Option<u16>, body: &B) {
        if let Some(request) = request {
            self.answer(request, body);
        }
    }

    fn end_program(&mut self, request: Option<u16>, refusal: u16) {
        let Some(Program { running, lines, .. }) = self.program.take() else { return };
        if let Err(error) = running.reclaim(&mut self.domain) {
            error!("bench: what it was made of does not come back: {error}");
        }
        self.answer_some(request, &Done { refusal, lines, ..Done::default() });
    }

    /// Answers with a line of text.
    pub(super) fn say(&mut self, request: u16, text: &str) {
        let pieces = text.as_bytes().chunks(TextLine::default().text.len());
        let last = pieces.len();
        for (n, part) in pieces.enumerate() {
            let mut line =
                TextLine { len: part.len() as u8, more: (n + 1 < last).into(), ..TextLine::default() };
            line.text[..part.len()].copy_from_slice(part);
            self.answer(request, &line);
        }
    }

    pub(super) fn answer<B: Body>(&mut self, request: u16, body: &B) {
        let header = Header { request, ..Header::default() };
        if let Some(shell) = self.shell {
            // The shell reads on while it waits; what does not fit is figures it will miss.
            let _full = skerry_monitor::Sink::send(&mut self.io, shell, &encode(&header, body));
        }
    }

    pub(super) fn answer_done(&mut self, request: u16, refusal: u16, lines: u32) {
        self.answer(request, &Done { refusal, lines, ..Done::default() });
    }
}
