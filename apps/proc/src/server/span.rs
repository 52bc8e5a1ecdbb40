//! Domains over several cores, where they are at home: the further dispatchers of a program, asked for when it wants them of the
//! process servers of their cores, which get what the dispatchers share through the monitors ([`guest`](super::guest)).
//!
//! The program dies as one: when a dispatcher of it has ended, or somebody kills it, all are stopped, and only when no core has
//! anything of it any more is it taken back.

use super::Server;
use super::programs::{Program, start};
use alloc::format;
use alloc::vec::Vec;
use skerry_app_proc::portion::Portion;
use skerry_app_proc::table::{Asker, End};
use skerry_hal::CoreId;
use skerry_urpc::Transport;
use skerry_urpc::formats::Refusal;
use skerry_urpc::formats::proc::*;
use skerry_urpc::wire::{Header, encode};
use skerry_user::abi::domain::{IMAGE_VADDR, slot};
use skerry_user::abi::{CPtr, PAGE_SIZE, Rights};
use skerry_user::agent::{Address, ShareError, Ticket};
use skerry_user::cap::Dispatcher;
use skerry_user::logging::error;
use skerry_user::mem::Object;
use skerry_user::spawn::{self, Child, Further, OWN, Part, Running, SpawnError};

/// RAM of a further dispatcher, for page tables and capabilities.
const GRANT: u64 = 256 << 10;

/// What a program has that runs on several cores.
pub struct Span {
    /// Where: the first is this one.
    cores: Vec<CoreId>,
    /// What each of its dispatchers may have of its core's time.
    portion: Portion,
    /// What it has on all of them.
    common: Object,
    /// Its dispatchers on this core, besides the first.
    pub here: Vec<Running>,
    /// Those of other cores: our requests, until they are answered.
    away: Vec<Asker>,
    asked: bool,
    ending: bool,
}

impl Span {
    /// Over these cores.
    pub const fn new(cores: Vec<CoreId>, portion: Portion, common: Object) -> Self {
        Self { cores, portion, common, here: Vec::new(), away: Vec::new(), asked: false, ending: false }
    }

    /// Whether it has been asked for its end on other cores, and not every one has answered.
    pub const fn is_ending(&self) -> bool {
        self.ending && !self.away.is_empty()
    }
}

/// What a further dispatcher is made from.
pub struct Order<'a> {
    /// Its program.
    pub name: &'a str,
    /// Its beginning.
    pub further: Further<'a>,
    /// The common memory.
    pub common: Object,
    /// What it may have of its core's time.
    pub portion: Portion,
    /// Which it is, of how many.
    pub number: usize,
    /// See `number`.
    pub count: usize,
}

/// Something that another core's server is to have.
pub struct Sharing {
    cap: CPtr,
    to: Address,
    /// Whose, by our request.
    request: u16,
    ticket: Option<Ticket>,
}

impl Server {
    /// A program asks for its further dispatchers.
    pub(super) fn extend(&mut self, pid: u32, asked: &Extend) {
        if let Err(refusal) = self.extend_all(pid, asked) {
            self.extended(pid, refusal);
        }
    }

    /// Tells a program that there is a dispatcher that does not come.
    fn extended(&mut self, pid: u32, refusal: Refusal) {
        if let Some(program) = self.programs.get_mut(&pid) {
            let answer = Extended { refusal: refusal as u16, ..Extended::default() };
            // It asks once, and looks: there is room for the first, which is enough.
            let _room = program.chan.try_send(&encode(&Header::default(), &answer));
            program.chan.kick();
        }
    }

    fn extend_all(&mut self, pid: u32, asked: &Extend) -> Result<(), Refusal> {
        let program = self.programs.get_mut(&pid).ok_or(Refusal::NotFound)?;
        let (name, parts) = (program.name.clone(), program.running.parts.clone());
        let span = program.span.as_mut().filter(|span| !span.asked).ok_or(Refusal::BadRequest)?;
        span.asked = true;
        let (cores, common, portion) = (span.cores.clone(), span.common, span.portion);
        let end = asked.own.checked_add(asked.own_len.into()).ok_or(Refusal::BadRequest)?;
        for (number, core) in cores.iter().enumerate().skip(1) {
            let further = Further { parts: &parts, entry: asked.entry, own: (asked.own, end) };
            let order = Order { name: &name, further, common, portion, number, count: cores.len() };
            if *core == self.domain.info.core {
                let made = self.further(&order).map_err(|why| {
                    error!("{name}:{pid}: dispatcher {number}: {why}");
                    Refusal::NotMade
                })?;
                if let Some(span) = self.span(pid) {
                    span.here.push(made);
                }
            } else {
                let asker = self.ask_for(*core, &order)?;
                if let Some(span) = self.span(pid) {
                    span.away.push(asker);
                }
            }
        }
        Ok(())
    }

    fn span(&mut self, pid: u32) -> Option<&mut Span> {
        self.programs.get_mut(&pid)?.span.as_mut()
    }

    /// Asks another core's server for a dispatcher.
    fn ask_for(&mut self, core: CoreId, order: &Order<'_>) -> Result<Asker, Refusal> {
        self.last_request = self.last_request.wrapping_add(1).max(FIRST_REQUEST);
        let asker = Asker { core, request: self.last_request };
        let narrow = |at: u64| u32::try_from(at.wrapping_sub(IMAGE_VADDR)).map_err(|_| Refusal::BadRequest);
        let Further { parts, entry, own } = order.further;
        let (priority, budget) = order.portion.words();
        let mut ask = FurtherAsk {
            entry: narrow(entry)?,
            own: narrow(own.0)?,
            own_pages: u16::try_from((own.1 - own.0) / PAGE_SIZE).map_err(|_| Refusal::BadRequest)?,
            number: order.number as u8,
            count: order.count as u8,
            parts: parts.len() as u8 + 1,
            priority,
            budget,
            ..FurtherAsk::default()
        };
        let name = order.name.as_bytes();
        ask.name.get_mut(..name.len()).ok_or(Refusal::BadRequest)?.copy_from_slice(name);
        self.say(asker, &ask);
        let common = Part { at: 0, frame: order.common };
        for (part, common) in parts.iter().map(|part| (part, 0)).chain([(&common, 1)]) {
            let Part { at, frame: Object { base, len, .. } } = *part;
            self.say(asker, &FurtherPart { at, base, len, common, ..FurtherPart::default() });
        }
        Ok(asker)
    }

    /// Another core's server waits for what the dispatcher shares.
    pub(super) fn further_place(&mut self, asker: Asker, place: &FurtherPlace) {
        let whose = |program: &&Program| program.span.as_ref().is_some_and(|span| span.away.contains(&asker));
        let Some(program) = self.programs.values().find(whose) else { return };
        let caps = program.running.parts.iter().map(|part| part.frame.cap);
        let caps = caps.chain(program.span.iter().map(|span| span.common.cap));
        let to = Address { core: asker.core, number: place.number };
        let sharing = caps.map(|cap| Sharing { cap, to, request: asker.request, ticket: None });
        self.sharing.extend(sharing);
    }

    /// Goes on with what other cores are to have. Answers whether there was news.
    pub(super) fn poll_sharing(&mut self) -> bool {
        let mut news = false;
        let mut n = 0;
        while n < self.sharing.len() {
            let Some(agent) = &self.agent else { return false };
            let sharing = &mut self.sharing[n];
            let ended = match &sharing.ticket {
                Some(ticket) => agent.ended(ticket),
                None => match agent.share(sharing.cap, OWN, sharing.to) {
                    Ok(ticket) => {
                        sharing.ticket = Some(ticket);
                        news = true;
                        None
                    }
                    // Too many are under way: later.
                    Err(
                        ShareError::Refused(Refusal::Busy) | ShareError::Kernel(skerry_user::Error::Full),
                    ) => None,
                    Err(why) => Some(Err(why)),
                },
            };
            let Some(ended) = ended else {
                n += 1;
                continue;
            };
            news = true;
            let Sharing { to, request, .. } = self.sharing.swap_remove(n);
            if let Err(why) = ended {
                let asker = Asker { core: to.core, request };
                error!("core {} gets no part of a program: {why}", to.core);
                self.say(asker, &FurtherEnd::default());
            }
        }
        news
    }

    /// A dispatcher on another core has ended, or never was.
    pub(super) fn further_done(&mut self, asker: Asker, done: &Done) {
        let has = |program: &Program| program.span.as_ref().is_some_and(|span| span.away.contains(&asker));
        let Some((&pid, program)) = self.programs.iter_mut().find(|(_, program)| has(program)) else {
            return;
        };
        self.sharing.retain(|sharing| (sharing.to.core, sharing.request) != (asker.core, asker.request));
        let Some(span) = program.span.as_mut() else { return };
        span.away.retain(|other| *other != asker);
        if !span.ending && done.refusal != 0 {
            // It never came, or its core is lost: the program hears so, and ends by itself or with the next of its dispatchers.
            error!("{}:{pid}: no dispatcher on core {}", program.name, asker.core);
            let refusal = Refusal::from_raw(done.refusal);
            return self.extended(pid, refusal);
        }
        if !span.ending {
            let state = ProcessState::from_raw(done.state).unwrap_or(ProcessState::Vanished);
            program.end.get_or_insert(End { state, code: done.code, at: (done.addr, done.pc) });
        }
        self.ended(pid);
    }

    /// Sees to it that no dispatcher of a program is left on other cores; whether none is.
    pub(super) fn end_away(&mut self, pid: u32) -> bool {
        let Some(span) = self.span(pid) else { return true };
        let (away, begun) = (span.away.clone(), core::mem::replace(&mut span.ending, true));
        if !begun {
            away.iter().for_each(|asker| self.say(*asker, &FurtherEnd::default()));
        }
        away.is_empty()
    }

    /// Makes a further dispatcher on this core.
    pub(super) fn further(&mut self, order: &Order<'_>) -> Result<Running, SpawnError> {
        let Order { name, further, common, portion, number, count } = order;
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
            Ok(()) => start(child, domain, *portion),
            Err(error) => {
                child.abandon(domain);
                Err(error)
            }
        }
    }
}

/// Numbers of our own requests: the first is the entropy's.
const FIRST_REQUEST: u16 = 2;

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
