//! Dispatchers on this core of domains that are at home on others. Their server says of what they consist; the monitors bring the
//! capabilities, which go into slots that were offered, in whatever order; then the dispatcher is made of this core's RAM.

use super::Server;
use super::back::What;
use super::programs::fault_of;
use super::span::Order;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use skerry_app_proc::portion::Portion;
use skerry_app_proc::table::{Asker, End};
use skerry_urpc::formats::Refusal;
use skerry_urpc::formats::proc::*;
use skerry_user::abi::dispatcher::State;
use skerry_user::abi::domain::IMAGE_VADDR;
use skerry_user::abi::{CPtr, PAGE_SIZE};
use skerry_user::agent::MAX_OFFERED;
use skerry_user::cap::identify;
use skerry_user::logging::error;
use skerry_user::mem::Object;
use skerry_user::spawn::{Further, Part, Running};

/// Dispatchers of other cores' domains.
const MAX_GUESTS: usize = 32;
/// Parts of one.
const MAX_PARTS: u8 = 8;

/// One.
pub struct Guest {
    asker: Asker,
    ask: FurtherAsk,
    parts: Vec<FurtherPart>,
    /// The capabilities that have come.
    came: Vec<Object>,
    running: Option<Running>,
}

impl Guest {
    /// How many have not come.
    fn missing(&self) -> usize {
        if self.running.is_some() { 0 } else { self.parts.len() - self.came.len() }
    }

    fn wants(&self, base: u64, len: u64) -> bool {
        let is_it = |found: &Object| (found.base, found.len) == (base, len);
        let part = self.parts.iter().any(|part| (part.base, part.len) == (base, len));
        self.running.is_none() && part && !self.came.iter().any(is_it)
    }
}

/// All of them.
#[derive(Default)]
pub struct Guests {
    all: Vec<Guest>,
    /// Slots that the monitor may fill.
    offered: usize,
}

impl Guests {
    /// How many there are.
    pub const fn count(&self) -> usize {
        self.all.len()
    }

    /// Slots that the monitor may fill and that no dispatcher waits for: it went before its parts came. The next has them.
    pub fn spare(&self) -> u32 {
        self.offered.saturating_sub(self.wanted()) as u32
    }

    fn wanted(&self) -> usize {
        self.all.iter().map(Guest::missing).sum()
    }

    fn find(&mut self, asker: Asker) -> Option<&mut Guest> {
        self.all.iter_mut().find(|guest| guest.asker == asker)
    }
}

impl Server {
    /// Another core's server wants a dispatcher here.
    pub(super) fn further_ask(&mut self, asker: Asker, ask: &FurtherAsk) {
        let full = self.guests.count() >= MAX_GUESTS || !(2..=MAX_PARTS).contains(&ask.parts);
        match (&self.agent, self.retired) {
            (Some(_), false) if !full => {}
            (_, true) => return self.refuse(asker, Refusal::NotUp),
            (Some(_), _) => return self.refuse(asker, Refusal::Busy),
            (None, _) => return self.refuse(asker, Refusal::NotMade),
        }
        let (parts, came) = (Vec::new(), Vec::new());
        self.guests.all.push(Guest { asker, ask: *ask, parts, came, running: None });
    }

    /// One part of it.
    pub(super) fn further_part(&mut self, asker: Asker, part: &FurtherPart) {
        let Some(guest) = self.guests.find(asker) else { return };
        if guest.parts.len() < usize::from(guest.ask.parts) {
            guest.parts.push(*part);
        }
        if guest.parts.len() < usize::from(guest.ask.parts) {
            return;
        }
        let wanted = self.guests.wanted();
        while self.guests.offered < wanted {
            let Some(agent) = &self.agent else { return };
            let slot = if wanted > MAX_OFFERED { None } else { self.domain.mem.slot().ok() };
            if slot.is_none_or(|slot| agent.offer(slot).is_err()) {
                slot.into_iter().for_each(|slot| self.domain.mem.give_slot(slot));
                self.guests.all.retain(|guest| guest.asker != asker);
                return self.refuse(asker, Refusal::Busy);
            }
            self.guests.offered += 1;
        }
        if let Some(agent) = &self.agent {
            let number = agent.address().number;
            self.say(asker, &FurtherPlace { number, ..FurtherPlace::default() });
        }
    }

    /// Takes what has come, and looks who has ended. Answers whether there was news.
    pub(super) fn poll_guests(&mut self) -> bool {
        let mut news = false;
        while let Some(slot) = self.agent.as_ref().and_then(|agent| agent.arrived()) {
            news = true;
            self.guests.offered -= 1;
            self.came(slot);
        }
        let mut n = 0;
        while let Some(guest) = self.guests.all.get(n) {
            let state = guest.running.as_ref().and_then(|running| running.dispatcher.state().ok());
            if state.is_some_and(|state| state as u8 == State::Dead as u8) {
                let fault = guest.running.as_ref().and_then(|running| fault_of(running.dispatcher));
                let End { state, code, at: (addr, pc) } =
                    fault.unwrap_or(End::new(ProcessState::Vanished, 0));
                let done = Done { state: state as u8, code, addr, pc, ..Done::default() };
                let asker = guest.asker;
                self.end_guest(asker);
                self.say(asker, &done);
                news = true;
            } else {
                n += 1;
            }
        }
        news
    }

    fn came(&mut self, slot: CPtr) {
        let found = identify(slot).ok();
        let wants = |guest: &&mut Guest| found.as_ref().is_some_and(|id| guest.wants(id.base, id.len));
        let (Some(id), Some(guest)) = (&found, self.guests.all.iter_mut().find(wants)) else {
            // Whoever wanted it has gone.
            let _gone = self.domain.mem.delete(slot);
            return;
        };
        guest.came.push(Object { cap: slot, base: id.base, len: id.len });
        if guest.missing() > 0 {
            return;
        }
        let asker = guest.asker;
        if let Err(why) = self.make_guest(asker) {
            error!("a dispatcher for core {}: {why}", asker.core);
            self.end_guest(asker);
            self.refuse(asker, Refusal::NotMade);
        }
    }

    fn make_guest(&mut self, asker: Asker) -> Result<(), String> {
        let guest = self.guests.find(asker).ok_or("it has gone")?;
        let (ask, came) = (guest.ask, core::mem::take(&mut guest.came));
        let find =
            |part: &FurtherPart| came.iter().find(|o| (o.base, o.len) == (part.base, part.len)).copied();
        let mut common = None;
        let mut parts = Vec::new();
        for part in &guest.parts {
            match find(part) {
                Some(frame) if part.common != 0 => common = Some(frame),
                Some(frame) => parts.push(Part { at: part.at, frame }),
                None => {}
            }
        }
        let len = ask.name.iter().position(|byte| *byte == 0).unwrap_or(ask.name.len());
        let name = core::str::from_utf8(&ask.name[..len]).map_err(|_| "its name")?;
        let own = IMAGE_VADDR + u64::from(ask.own);
        let further = Further {
            parts: &parts,
            entry: IMAGE_VADDR + u64::from(ask.entry),
            own: (own, own + u64::from(ask.own_pages) * PAGE_SIZE),
        };
        let portion = Portion::of_words((ask.priority, ask.budget)).map_err(|bad| format!("{bad}"))?;
        let order = Order {
            name,
            further,
            common: common.ok_or("no common memory")?,
            portion,
            number: ask.number.into(),
            count: ask.count.into(),
        };
        let made = self.further(&order).map_err(|why| format!("{why}"));
        for object in &came {
            // The dispatcher has copies.
            let _gone = self.domain.mem.delete(object.cap);
        }
        let made = made?;
        if let Some(guest) = self.guests.find(asker) {
            guest.running = Some(made);
        }
        self.say(asker, &Spawned::default());
        Ok(())
    }

    /// Ends a dispatcher, and takes back what it was made of.
    fn end_guest(&mut self, asker: Asker) {
        let Some(at) = self.guests.all.iter().position(|guest| guest.asker == asker) else { return };
        let Guest { came, running, .. } = self.guests.all.swap_remove(at);
        for object in came {
            let _gone = self.domain.mem.delete(object.cap);
        }
        if let Some(running) = running {
            let estate = running.end(&mut self.domain);
            self.take_back(What::Estate(estate), "a dispatcher");
        }
    }

    /// Its server has no more use for it: it is gone when that has an answer.
    pub(super) fn further_end(&mut self, asker: Asker) {
        self.end_guest(asker);
        self.say(asker, &Done::default());
    }

    /// Its server is not there any more.
    pub(super) fn further_left(&mut self, asker: Asker) {
        self.end_guest(asker);
    }
}
