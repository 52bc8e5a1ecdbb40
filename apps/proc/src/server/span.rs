//! Domains over several cores: the further dispatchers of a program, made when it asks for them.
//!
//! The program dies as one: when a dispatcher of it has ended, or somebody kills it, all are stopped before anything is taken back.

use super::Server;
use super::programs::Program;
use alloc::format;
use alloc::vec::Vec;
use skerry_hal::CoreId;
use skerry_urpc::Transport;
use skerry_urpc::formats::Refusal;
use skerry_urpc::formats::proc::{Extend, Extended};
use skerry_urpc::wire::{Header, encode};
use skerry_user::abi::Rights;
use skerry_user::abi::domain::slot;
use skerry_user::cap::Dispatcher;
use skerry_user::logging::error;
use skerry_user::mem::Object;
use skerry_user::spawn::{self, Child, Further, Running, SpawnError};

/// RAM of a further dispatcher, for page tables and capabilities.
const GRANT: u64 = 256 << 10;

/// What a program has that runs on several cores.
pub struct Span {
    /// Where: the first is this one.
    pub cores: Vec<CoreId>,
    /// What it has on all of them.
    pub common: Object,
    /// Its dispatchers on this core, besides the first.
    pub here: Vec<Running>,
    asked: bool,
}

impl Span {
    /// Over these cores.
    pub const fn new(cores: Vec<CoreId>, common: Object) -> Self {
        Self { cores, common, here: Vec::new(), asked: false }
    }
}

/// What a further dispatcher is made from.
struct Order<'a> {
    name: &'a str,
    further: Further<'a>,
    common: Object,
    number: usize,
    count: usize,
}

impl Server {
    /// A program asks for its further dispatchers.
    pub(super) fn extend(&mut self, pid: u32, asked: &Extend) {
        let refusal = match self.extend_all(pid, asked) {
            Ok(()) => return,
            Err(refusal) => refusal,
        };
        if let Some(program) = self.programs.get_mut(&pid) {
            let answer = Extended { refusal: refusal as u16, ..Extended::default() };
            // It has asked once, and looks: there is room.
            let _room = program.chan.try_send(&encode(&Header::default(), &answer));
            program.chan.kick();
        }
    }

    fn extend_all(&mut self, pid: u32, asked: &Extend) -> Result<(), Refusal> {
        let program = self.programs.get_mut(&pid).ok_or(Refusal::NotFound)?;
        let name = program.name.clone();
        let parts = program.running.parts.clone();
        let span = program.span.as_mut().filter(|span| !span.asked).ok_or(Refusal::BadRequest)?;
        span.asked = true;
        let (cores, common) = (span.cores.clone(), span.common);
        for (number, core) in cores.iter().enumerate().skip(1) {
            let end = asked.own.checked_add(asked.own_len.into()).ok_or(Refusal::BadRequest)?;
            let further = Further { parts: &parts, entry: asked.entry, own: (asked.own, end) };
            let order = Order { name: &name, further, common, number, count: cores.len() };
            if *core != self.domain.info.core {
                return Err(Refusal::NotMade);
            }
            let made = self.further(&order).map_err(|why| {
                error!("{name}:{pid}: dispatcher {number}: {why}");
                Refusal::NotMade
            })?;
            if let Some(span) = self.programs.get_mut(&pid).and_then(|program| program.span.as_mut()) {
                span.here.push(made);
            }
        }
        Ok(())
    }

    /// Makes a further dispatcher on this core.
    fn further(&mut self, order: &Order<'_>) -> Result<Running, SpawnError> {
        let Order { name, further, common, number, count } = order;
        let file = self.file(name).map_err(|_| SpawnError::TooMuch)?;
        let args = format!("dispatcher={number}");
        let program = spawn::Program { name, file, args: &args };
        let (domain, bell) = (&mut self.domain, self.bell);
        let mut child = Child::further(domain, &program, further, GRANT)?;
        child.on_death(bell);
        let given = child
            .grant(slot::CORES, slot::CORES, Rights::SIGNAL)
            .and_then(|()| child.have_common(common, *count as u64))
            .and_then(|()| child.give_rest());
        match given {
            Ok(()) => child.start(domain),
            Err(error) => {
                child.abandon(domain);
                Err(error)
            }
        }
    }
}

impl Program {
    /// Its dispatchers on this core.
    pub fn dispatchers(&self) -> impl Iterator<Item = Dispatcher> {
        let further = self.span.iter().flat_map(|span| &span.here).map(|running| running.dispatcher);
        [self.running.dispatcher].into_iter().chain(further)
    }

    /// Stops all of them.
    pub fn stop(&self) {
        for dispatcher in self.dispatchers() {
            // It may have ended by itself.
            let _refused = dispatcher.stop();
        }
    }
}
