//! The benchmarks, a domain that the shell has this monitor run: its lines become answers.

use super::Pump;
use alloc::format;
use skerry_abi::Rights;
use skerry_abi::domain::slot;
use skerry_urpc::Transport;
use skerry_urpc::formats::Refusal;
use skerry_urpc::formats::shell::{BenchQuery, Done, TextLine};
use skerry_urpc::wire::{Body, Header, encode};
use skerry_user::cap::SELF;
use skerry_user::chan::{Chan as UserChan, Peer};
use skerry_user::logging::error;
use skerry_user::spawn::{CHANNEL_EVENT, Child, Running, SpawnError};

/// RAM of a program.
const RAM: u64 = 256 << 10;
/// State of a dispatcher that has ended.
const DEAD: u64 = 3;

/// A program under way, and whose request it serves.
pub struct Program {
    chan: UserChan,
    running: Running,
    request: u16,
    lines: u32,
}

impl Pump {
    /// Starts a benchmark.
    pub(super) fn bench(&mut self, query: &BenchQuery, request: u16) {
        let len = query.name.iter().position(|byte| *byte == 0).unwrap_or(query.name.len());
        let name = core::str::from_utf8(&query.name[..len]).unwrap_or("?");
        if self.program.is_some() {
            return self.answer_done(request, Refusal::Busy as u16, 0);
        }
        match self.spawn(name) {
            Ok((chan, running)) => self.program = Some(Program { chan, running, request, lines: 0 }),
            Err(why) => {
                error!("bench: {why}");
                self.answer_done(request, Refusal::Busy as u16, 0);
            }
        }
    }

    fn spawn(&mut self, name: &str) -> Result<(UserChan, Running), SpawnError> {
        let missing = SpawnError::Refused("no bench in the bundle", skerry_abi::Error::EmptySlot);
        let file = self.starter.bench.ok_or(missing)?;
        let domain = &mut self.domain;
        let mut child = Child::load(domain, "bench", file, &format!("name={name}"))?;
        child.grant(slot::KERNEL, slot::KERNEL, Rights::CONSOLE)?;
        child.give_ram(domain, RAM)?;
        let own = domain.mem.endpoint(SELF, CHANNEL_EVENT);
        let wake = own.map_err(|error| SpawnError::Refused("own endpoint", error))?;
        child.on_death(wake);
        let chan = child.connect_parent(domain, Peer::Monitor, wake)?;
        Ok((chan, child.start(domain)?))
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
                    self.answer(request, &line);
                } else if let Some(done) = message.body::<Done>() {
                    let lines = program.lines;
                    self.program = None;
                    self.answer_done(request, done.refusal, lines);
                }
                true
            }
            Ok(None) if program.running.dispatcher.state() != Ok(DEAD) => false,
            // It ended without a last word, or wrote nonsense.
            Ok(None) | Err(_) => {
                let lines = program.lines;
                self.program = None;
                self.answer_done(request, Refusal::Aborted as u16, lines);
                true
            }
        }
    }

    fn answer<B: Body>(&mut self, request: u16, body: &B) {
        let header = Header { request, ..Header::default() };
        if let Some(shell) = self.shell {
            // The shell reads on while it waits; what does not fit is figures it will miss.
            let _full = skerry_monitor::Sink::send(&mut self.io, shell, &encode(&header, body));
        }
    }

    fn answer_done(&mut self, request: u16, refusal: u16, lines: u32) {
        self.answer(request, &Done { refusal, lines, ..Done::default() });
    }
}
