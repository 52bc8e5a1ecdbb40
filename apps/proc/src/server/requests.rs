//! What askers want.

use super::Server;
use super::memory::KEY_REQUEST;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use skerry_app_proc::command::Command;
use skerry_app_proc::table::{Asker, End};
use skerry_bundle::Kind;
use skerry_urpc::Message;
use skerry_urpc::formats::Refusal;
use skerry_urpc::formats::device::Random;
use skerry_urpc::formats::proc::*;
use skerry_user::abi::CPtr;
use skerry_user::abi::cap::CNODE_SLOTS;
use skerry_user::cap::ROOT;

impl Server {
    /// A request, as the monitor passed it on.
    pub(super) fn take(&mut self, message: &Message) {
        let header = message.header();
        let asker = Asker { core: header.src, request: header.request };
        if let Some(piece) = message.body::<Spawn>() {
            self.piece(asker, &piece);
        } else if let Some(wait) = message.body::<Wait>() {
            match self.table.wait(wait.pid, asker) {
                Ok(None) => {}
                Ok(Some(end)) => self.tell_end(asker, wait.pid, end),
                Err(refusal) => self.refuse(asker, refusal),
            }
        } else if let Some(kill) = message.body::<Kill>() {
            match self.kill(kill.pid) {
                Ok(()) => self.say(asker, &Done { pid: kill.pid, ..Done::default() }),
                Err(refusal) => self.refuse(asker, refusal),
            }
        } else if message.body::<List>().is_some() {
            self.list(asker);
        } else if message.body::<MemoryQuery>().is_some() {
            let state = self.memory();
            self.say(asker, &state);
            self.say(asker, &Done::default());
        } else if let Some(credit) = message.body::<Credit>() {
            self.table.credit(asker, credit.pieces);
        } else if message.body::<Leave>().is_some() {
            self.unfinished.remove(&asker);
            self.table.leave(asker);
            self.further_left(asker);
        } else if message.body::<Retire>().is_some() {
            let running = (self.programs.len() + self.guests.count()) as u32;
            self.retired |= running == 0;
            self.say(asker, &Retired { running, ..Retired::default() });
        } else if let Some(random) = message.body::<Random>() {
            self.entropy.take(&random);
        } else if let Some(ask) = message.body::<FurtherAsk>() {
            self.further_ask(asker, &ask);
        } else if let Some(part) = message.body::<FurtherPart>() {
            self.further_part(asker, &part);
        } else if message.body::<FurtherEnd>().is_some() {
            self.further_end(asker);
        } else if let Some(place) = message.body::<FurtherPlace>() {
            self.further_place(asker, &place);
        } else if let Some(done) = message.body::<Done>().filter(|_| header.request != KEY_REQUEST) {
            self.further_done(asker, &done);
        } else if let Some(done) = message.body::<Done>() {
            // It asks for nothing else.
            self.entropy.done(Refusal::from_raw(done.refusal));
        }
    }

    fn piece(&mut self, asker: Asker, piece: &Spawn) {
        let text = piece.text.get(..usize::from(piece.len)).unwrap_or(&[]);
        let mut whole = self.unfinished.remove(&asker).unwrap_or_default();
        if whole.len() + text.len() > MAX_COMMAND {
            return self.refuse(asker, Refusal::BadRequest);
        }
        whole.push_str(&String::from_utf8_lossy(text));
        if piece.more != 0 {
            self.unfinished.insert(asker, whole);
            return;
        }
        let started = match Command::parse(&whole) {
            _ if self.retired => Err((Refusal::NotUp, String::from("the core is going off line"))),
            Ok(command) => self.spawn(&command, (piece.wait != 0).then_some(asker)),
            Err(bad) => Err((Refusal::BadRequest, format!("{bad}"))),
        };
        match started {
            Ok(pid) => {
                self.say(asker, &Spawned { pid, ..Spawned::default() });
                if piece.wait == 0 {
                    self.say(asker, &Done { pid, ..Done::default() });
                }
            }
            Err((refusal, why)) => {
                self.explain(asker, &why);
                self.refuse(asker, refusal);
            }
        }
    }

    /// The file of a program; or a line that says which there are.
    pub(super) fn file(&self, name: &str) -> Result<&'static [u8], String> {
        let isa = skerry_user::ISA.name();
        let domains = || self.bundle.members().filter(|m| m.kind == Kind::Domain && m.isa == isa);
        if let Some(member) = domains().find(|member| member.name == name) {
            return Ok(member.data);
        }
        let names: Vec<&str> = domains().map(|member| member.name).collect();
        Err(format!("no program `{name}` for {isa}; there are {}", names.join(", ")))
    }

    fn list(&mut self, asker: Asker) {
        let lines: Vec<Process> = self
            .table
            .iter()
            .map(|(pid, process)| {
                let end = process.end.unwrap_or(End::new(ProcessState::Running, 0));
                let mut line = Process {
                    pid,
                    ram: (process.ram >> 10) as u32,
                    state: end.state as u8,
                    code: end.code,
                    ..Process::default()
                };
                let len = process.name.len().min(line.name.len());
                line.name[..len].copy_from_slice(&process.name.as_bytes()[..len]);
                line
            })
            .collect();
        lines.iter().for_each(|line| self.say(asker, line));
        self.say(asker, &Done::default());
    }

    /// What there is to give, and how many capabilities the CPU driver keeps for it: counted, not remembered.
    fn memory(&self) -> MemoryState {
        let mem = &self.domain.mem;
        // A CNode that is not there is known by its first slot; the very first of all names nothing.
        let slot = |node, slot| ROOT.is_free(CPtr::new(node, slot)).ok();
        let slots = |node| (u32::from(node == 0)..CNODE_SLOTS).map_while(move |n| slot(node, n));
        let caps = (0..CNODE_SLOTS).flat_map(slots).filter(|free| !free).count();
        MemoryState {
            total: mem.total_ram(),
            free: mem.free_ram(),
            slots: mem.free_slots() + self.guests.spare(),
            caps: caps as u32,
            running: self.programs.len() as u32,
            ..MemoryState::default()
        }
    }

    /// Says a line of text to an asker.
    fn explain(&mut self, asker: Asker, text: &str) {
        let pieces = text.as_bytes().chunks(Output::default().text.len());
        let last = pieces.len();
        for (n, part) in pieces.enumerate() {
            let mut out = Output { len: part.len() as u8, more: (n + 1 < last).into(), ..Output::default() };
            out.text[..part.len()].copy_from_slice(part);
            self.say(asker, &out);
        }
    }

    pub(super) fn refuse(&mut self, asker: Asker, refusal: Refusal) {
        self.say(asker, &Done { refusal: refusal as u16, ..Done::default() });
    }

    /// Tells an asker how a process ended.
    pub(super) fn tell_end(&mut self, asker: Asker, pid: u32, end: End) {
        let End { state, code, at: (addr, pc) } = end;
        self.say(asker, &Done { pid, state: state as u8, code, addr, pc, ..Done::default() });
    }
}
