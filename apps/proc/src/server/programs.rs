//! Making programs, listening to them, and their ends.

use super::back::What;
use super::memory::Share;
use super::span::Span;
use super::{BATCH, MAX_WAITING, Server};
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use skerry_app_proc::command::{Command, bytes};
use skerry_app_proc::portion::{PERIOD, Portion};
use skerry_app_proc::table::{Asker, End, Output as To};
use skerry_hal::CoreId;
use skerry_urpc::formats::Refusal;
use skerry_urpc::formats::monitor::LogText;
use skerry_urpc::formats::proc::{Exit, Extend, Output, ProcessState, Say};
use skerry_urpc::{Message, Transport};
use skerry_user::abi::domain::{Purpose, slot};
use skerry_user::abi::{Error, Rights};
use skerry_user::cap::Dispatcher;
use skerry_user::chan::{Chan, Peer};
use skerry_user::clock;
use skerry_user::log::Unfinished;
use skerry_user::logging::{info, log};
use skerry_user::program::ROOM_EVENT;
use skerry_user::spawn::{self, Child, Running, SpawnError};
use skerry_user::{Domain, ISA};

/// RAM that a program gets to spend, besides what it is made of, unless its environment says otherwise (`RAM=`).
const RAM: u64 = 512 << 10;
/// RAM that it may ask the memory server for, unless its environment says otherwise (`LIMIT=`).
const LIMIT: u64 = 64 << 20;
/// Memory that a program over several cores has on all of them, unless its environment says otherwise (`COMMON=`).
const COMMON: u64 = 4 << 20;
/// The most that any of these may be.
const MAX_RAM: u64 = 256 << 20;
/// State of a dispatcher that has ended.
const DEAD: u64 = 3;

/// A program that runs.
pub struct Program {
    pub chan: Chan,
    pub running: Running,
    /// What it has on several cores.
    pub span: Option<Span>,
    pub share: Share,
    pub name: String,
    /// Its last word, or how it was ended.
    pub end: Option<End>,
    /// A line of which more is to come, for the log.
    line: String,
    /// The same of its own log.
    log: Unfinished,
}

impl Program {
    /// Bytes of RAM that it has.
    pub fn bytes(&self) -> u64 {
        let further: u64 = self.span.iter().flat_map(|span| &span.here).map(Running::bytes).sum();
        self.running.bytes() + further + self.share.account.used()
    }
}

/// What became of a program's next message.
enum Heard {
    Something,
    Nothing,
    Ended,
}

impl Server {
    /// Starts a program; its number, or what is wrong.
    pub(super) fn spawn(
        &mut self,
        command: &Command<'_>,
        waiter: Option<Asker>,
    ) -> Result<u32, (Refusal, String)> {
        let name = command.name;
        let file = self.file(name).map_err(|why| (Refusal::NotFound, why))?;
        self.table.room().map_err(|refusal| (refusal, String::from("too many programs run on that core")))?;
        let size = |key: &str, default| match command.var(key) {
            None => Ok(default),
            Some(text) => bytes(text).filter(|n| (4096..=MAX_RAM).contains(n)).ok_or_else(|| {
                let why = format!("{key}={text}: use a number of bytes, or with K or M, from 4K to 256M");
                (Refusal::BadRequest, why)
            }),
        };
        let (grant, limit) = (size("RAM", RAM)?, size("LIMIT", LIMIT)?);
        let cores = command.cores.map(|cores| cores.of(self.domain.info.core)).transpose();
        let cores = cores.map_err(|bad| (Refusal::BadRequest, format!("{bad}")))?;
        let common = cores.map(|cores| Ok((cores, size("COMMON", COMMON)?))).transpose()?;
        let pid = self.table.add(name, 0, waiter).map_err(|refusal| (refusal, String::new()))?;
        match self.make(pid, command, file, (grant, limit), common) {
            Ok(program) => {
                self.table.set_ram(pid, program.bytes());
                self.programs.insert(pid, program);
                Ok(pid)
            }
            Err(error) => {
                self.table.forget(pid);
                Err((refusal_of(&error), format!("{name}: {error}")))
            }
        }
    }

    fn make(
        &mut self,
        pid: u32,
        command: &Command<'_>,
        file: &[u8],
        (grant, limit): (u64, u64),
        common: Option<(Vec<CoreId>, u64)>,
    ) -> Result<Program, SpawnError> {
        let endpoint = self.calls.mint(&mut self.domain.mem, pid.into());
        let endpoint = endpoint.map_err(|error| SpawnError::Refused("an endpoint", error))?;
        let share = Share::new(endpoint, limit);
        let (domain, bell) = (&mut self.domain, self.bell);
        let Command { portion, env, name, args, .. } = command;
        let extra = common.as_ref().map_or(0, |(_, len)| len.next_multiple_of(4096));
        let made = Child::load_with(domain, &spawn::Program { name, file, args }, grant + extra);
        let furnished = made.and_then(|mut child| {
            let give = || {
                let gap = if env.is_empty() { "" } else { " " };
                child.set_env(&format!("CORE={} ISA={}{gap}{env}", domain.info.core, ISA.name()))?;
                // For its counters. What it says goes another way.
                child.grant(slot::KERNEL, slot::KERNEL, Rights::empty())?;
                child.give(Purpose::Memory, endpoint.0, (0, 0, 0), Rights::SIGNAL)?;
                if let Some(broker) = domain.listed(Purpose::Endpoint, Peer::Broker as u64) {
                    let rights = Rights::SIGNAL | Rights::GRANT;
                    child.give(Purpose::Endpoint, broker.cptr, (0, 0, Peer::Broker as u64), rights)?;
                }
                child.on_death(bell);
                let chan = child.connect_parent(domain, Peer::Proc, bell, ROOM_EVENT)?;
                let mut span = None;
                if let Some((cores, _)) = common {
                    child.grant(slot::CORES, slot::CORES, Rights::SIGNAL)?;
                    let common = child.give_common(extra, cores.len() as u64)?;
                    span = Some(Span::new(cores, *portion, common));
                }
                child.give_rest()?;
                Ok((chan, span))
            };
            match give() {
                Ok((chan, span)) => Ok(((chan, span), start(child, domain, *portion)?)),
                Err(error) => {
                    child.abandon(domain);
                    Err(error)
                }
            }
        });
        match furnished {
            Ok(((chan, span), running)) => {
                let (name, line, log) = ((*name).into(), String::new(), Unfinished::default());
                Ok(Program { chan, running, span, share, name, end: None, line, log })
            }
            Err(error) => {
                self.close(share, name);
                Err(error)
            }
        }
    }

    /// Ends a program.
    pub(super) fn kill(&mut self, pid: u32) -> Result<(), Refusal> {
        if self.table.get(pid).is_none_or(|process| process.end.is_some()) {
            return Err(Refusal::NotFound);
        }
        if let Some(program) = self.programs.get_mut(&pid) {
            program.stop();
            program.end.get_or_insert(End::new(ProcessState::Killed, 0));
        }
        Ok(())
    }

    /// Listens to all programs. Answers whether there was news.
    pub(super) fn poll_programs(&mut self) -> bool {
        let mut news = false;
        let mut after = 0;
        while let Some((&pid, _)) = self.programs.range(after..).next() {
            after = pid + 1;
            for _ in 0..BATCH {
                match self.hear(pid) {
                    Heard::Something => news = true,
                    Heard::Nothing => break,
                    Heard::Ended => {
                        news = true;
                        self.ended(pid);
                        break;
                    }
                }
            }
        }
        news
    }

    fn hear(&mut self, pid: u32) -> Heard {
        if self.waiting.len() >= MAX_WAITING || !self.table.takes_output(pid) {
            return Heard::Nothing;
        }
        let Some(program) = self.programs.get_mut(&pid) else { return Heard::Nothing };
        if program.span.as_ref().is_some_and(Span::is_ending) {
            return Heard::Nothing;
        }
        // Asked before its channel is looked at: what it says before it dies is there then.
        let dead = program.dispatchers().any(|dispatcher| dispatcher.state() == Ok(DEAD));
        match program.chan.try_recv() {
            Ok(Some(message)) => {
                program.chan.kick();
                self.said(pid, &message);
                Heard::Something
            }
            Ok(None) if !dead => Heard::Nothing,
            Ok(None) => Heard::Ended,
            Err(_) => {
                // It wrote nonsense to its channel: nothing it says can be relied on.
                program.stop();
                program.end = None;
                Heard::Ended
            }
        }
    }

    fn said(&mut self, pid: u32, message: &Message) {
        let Some(program) = self.programs.get_mut(&pid) else { return };
        if let Some(exit) = message.body::<Exit>() {
            program.end.get_or_insert(End::new(ProcessState::Exited, exit.status));
            return;
        }
        if let Some(asked) = message.body::<Extend>() {
            return self.extend(pid, &asked);
        }
        if let Some(piece) = message.body::<LogText>() {
            if let Some((level, text)) = program.log.take(&piece) {
                log!(level, "{}:{pid}: {text}", program.name);
            }
            return;
        }
        let Some(say) = message.body::<Say>() else { return };
        let len = say.len.min(say.text.len() as u8);
        match self.table.output(pid) {
            To::To(asker) => {
                let piece = Output { len, more: say.more, text: say.text, ..Output::default() };
                self.say(asker, &piece);
            }
            // `hear` has seen that it does not have to wait.
            To::Log | To::Hold => {
                let text = String::from_utf8_lossy(&say.text[..usize::from(len)]);
                if program.line.len() < skerry_user::log::MAX_LINE {
                    program.line.push_str(&text);
                }
                if say.more == 0 {
                    info!("{}:{pid}: {}", program.name, core::mem::take(&mut program.line));
                }
            }
        }
    }

    pub(super) fn ended(&mut self, pid: u32) {
        if let Some(program) = self.programs.get_mut(&pid) {
            program.stop();
            let fault = program.dispatchers().find_map(fault_of);
            program.end = program.end.or(fault);
        }
        if !self.end_away(pid) {
            return;
        }
        let Some(program) = self.programs.remove(&pid) else { return };
        // Its channel goes with this, before the memory that it lies in.
        let Program { running, span, share, name, end, .. } = program;
        let end = end.unwrap_or(End::new(ProcessState::Vanished, 0));
        let (further, whose) = (span.into_iter().flat_map(|span| span.here), format!("{name}:{pid}"));
        for running in further.chain([running]) {
            let estate = running.end(&mut self.domain);
            self.take_back(What::Estate(estate), &whose);
        }
        self.close(share, &whose);
        if let Some(asker) = self.table.end(pid, end) {
            self.tell_end(asker, pid, end);
        }
        self.table.trim();
    }
}

/// Lets a dispatcher run, with its portion of the core.
pub(super) fn start(child: Child, domain: &mut Domain, portion: Portion) -> Result<Running, SpawnError> {
    let (budget, period) = portion.budget(clock::span(PERIOD));
    let refused = |error| SpawnError::Refused("priority and budget", error);
    child.start_with(domain, |_, dispatcher| {
        dispatcher.schedule(portion.priority(), budget, period).map_err(refused)
    })
}

/// The fault that a dispatcher died of, if of one.
pub(super) fn fault_of(dispatcher: Dispatcher) -> Option<End> {
    let kind = dispatcher.fault().ok()??;
    let at = dispatcher.fault_at().ok()?;
    Some(End { state: ProcessState::Faulted, code: kind as u8, at })
}

fn refusal_of(error: &SpawnError) -> Refusal {
    match error {
        SpawnError::Refused(_, Error::Full) => Refusal::NoMemory,
        _ => Refusal::NotMade,
    }
}
