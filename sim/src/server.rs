//! A process server: the table of processes that ships, over processes that only print and end.
//!
//! The text of a spawn is a number. Its process prints that number as many times as [`lines`] says, then exits. So whoever
//! waits can tell whether he hears what he asked for, and all of it.

use crate::rng::Rng;
use skerry_app_proc::table::{Asker, End, Output, Table};
use skerry_urpc::Message;
use skerry_urpc::formats::Refusal;
use skerry_urpc::formats::proc::{self, Done, ProcessState, Service};
use skerry_urpc::wire::{Body, Header, encode};
use std::collections::{BTreeMap, VecDeque};

/// How often a process prints its number: at times more than may be under way.
pub const fn lines(number: u32) -> u32 {
    number % 50
}

struct Running {
    number: u32,
    left: u32,
    ends: u64,
}

/// The server of one core.
#[derive(Default)]
pub struct Server {
    table: Table,
    running: BTreeMap<u32, Running>,
    /// What it says, until the monitor takes it.
    pub said: VecDeque<Message>,
    now: u64,
    /// The bound of the run: how long a process lives is counted in it.
    pub bound: u64,
}

impl Server {
    /// Takes in what the monitor passed on.
    pub fn take(&mut self, now: u64, message: &Message) {
        self.now = now;
        let header = message.header();
        let asker = Asker { core: header.src, request: header.request };
        let _not_for_servers = self.dispatch(message, asker);
    }

    /// Lets the processes run.
    pub fn run(&mut self, now: u64, rng: &mut Rng) {
        let pids: Vec<u32> = self.running.keys().copied().collect();
        for pid in pids.into_iter().filter(|_| rng.one_in(2)) {
            let Some(process) = self.running.get_mut(&pid) else { continue };
            if process.left == 0 {
                if process.ends <= now {
                    self.running.remove(&pid);
                    self.end(pid, End::new(ProcessState::Exited, 7));
                }
                continue;
            }
            let to = self.table.output(pid);
            if to != Output::Hold {
                process.left -= 1;
            }
            if let Output::To(asker) = to {
                let text = process.number.to_le_bytes();
                let mut line = proc::Output { len: 4, ..proc::Output::default() };
                line.text[..4].copy_from_slice(&text);
                self.say(asker, &line);
            }
        }
    }

    /// How many processes run.
    pub fn running(&self) -> usize {
        self.running.len()
    }

    /// When a process goes on or ends, at the earliest.
    pub fn deadline(&self, now: u64) -> Option<u64> {
        let due = |p: &Running| if p.left > 0 { now + 1_000 } else { p.ends.max(now + 1_000) };
        self.running.values().map(due).min()
    }

    fn end(&mut self, pid: u32, end: End) {
        if let Some(asker) = self.table.end(pid, end) {
            self.say(asker, &Done { pid, state: end.state as u8, code: end.code, ..Done::default() });
        }
        while self.table.trim().is_some() {}
    }

    fn say<B: Body>(&mut self, to: Asker, body: &B) {
        let header = Header { dst: to.core, request: to.request, ..Header::default() };
        self.said.push_back(encode(&header, body));
    }

    fn done(&mut self, asker: Asker, result: Result<u32, Refusal>) {
        let done = match result {
            Ok(pid) => Done { pid, ..Done::default() },
            Err(refusal) => Done { refusal: refusal as u16, ..Done::default() },
        };
        self.say(asker, &done);
    }
}

impl Service<Asker> for Server {
    type Outcome = ();

    fn spawn(&mut self, spawn: &proc::Spawn, asker: Asker) {
        let number = u32::from_le_bytes([spawn.text[0], spawn.text[1], spawn.text[2], spawn.text[3]]);
        match self.table.add("printer", 4096, (spawn.wait != 0).then_some(asker)) {
            Ok(pid) => {
                let ends = self.now + u64::from(number % 16) * self.bound / 8;
                self.running.insert(pid, Running { number, left: lines(number), ends });
                self.say(asker, &proc::Spawned { pid, ..proc::Spawned::default() });
                if spawn.wait == 0 {
                    self.done(asker, Ok(pid));
                }
            }
            Err(refusal) => self.done(asker, Err(refusal)),
        }
    }

    fn wait(&mut self, wait: &proc::Wait, asker: Asker) {
        match self.table.wait(wait.pid, asker) {
            Ok(None) => {}
            Ok(Some(_)) => self.done(asker, Ok(wait.pid)),
            Err(refusal) => self.done(asker, Err(refusal)),
        }
    }

    fn kill(&mut self, kill: &proc::Kill, asker: Asker) {
        let found = self.running.remove(&kill.pid).ok_or(Refusal::NotFound);
        if found.is_ok() {
            self.end(kill.pid, End::new(ProcessState::Killed, 0));
        }
        self.done(asker, found.map(|_| kill.pid));
    }

    fn list(&mut self, _: &proc::List, asker: Asker) {
        let pids: Vec<u32> = self.table.iter().map(|(pid, _)| pid).collect();
        pids.iter().for_each(|&pid| self.say(asker, &proc::Process { pid, ..proc::Process::default() }));
        self.done(asker, Ok(0));
    }

    fn memory_query(&mut self, _: &proc::MemoryQuery, asker: Asker) {
        // There is no memory here to tell of.
        self.done(asker, Ok(0));
    }

    fn credit(&mut self, credit: &proc::Credit, asker: Asker) {
        self.table.credit(asker, credit.pieces);
    }

    fn leave(&mut self, _: &proc::Leave, asker: Asker) {
        self.table.leave(asker);
    }

    // Its programs have one dispatcher each.
    fn further_ask(&mut self, _: &proc::FurtherAsk, asker: Asker) {
        self.done(asker, Err(Refusal::BadRequest));
    }

    fn further_part(&mut self, _: &proc::FurtherPart, _: Asker) {}

    fn further_end(&mut self, _: &proc::FurtherEnd, _: Asker) {}
}
