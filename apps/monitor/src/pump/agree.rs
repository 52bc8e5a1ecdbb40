//! Domains of this core ask for what needs other cores: the ring they say it by, and its way through the monitor.

use super::Pump;
use super::clients::Wanted;
use alloc::vec::Vec;
use core::time::Duration;
use skerry_abi::CPtr;
use skerry_monitor::ops::agree::Span;
use skerry_urpc::formats::Refusal;
use skerry_urpc::formats::share::Say;
use skerry_user::cap::Endpoint;
use skerry_user::clock;
use skerry_user::logging::warn;
use skerry_user::lrpc::send;

/// Requests that are taken in before all else has its turn.
const BATCH: usize = 16;
/// How often it is looked whether those who have joined live.
const LOOK: Duration = Duration::from_secs(1);

impl Pump {
    /// A domain joins. `answers` is its own endpoint.
    pub(super) fn join(&mut self, answers: Endpoint) {
        if let Err(refusal) = self.admit(answers) {
            let _gone = send(answers, Say::Joined(Err(refusal)).words(), None);
            self.local.drop_cap(answers.0);
        }
    }

    fn admit(&mut self, answers: Endpoint) -> Result<(), Refusal> {
        let Some(ends) = &self.ends else { return Err(Refusal::BadRequest) };
        let number = self.local.clients.join(answers).inspect_err(|_| self.local.look = 0)?;
        let Ok(agents) = ends.agents.mint(&mut self.domain.mem, number.into()) else {
            // Its endpoint goes, too.
            self.local.clients.leave(number);
            return Err(Refusal::NoMemory);
        };
        let told = send(answers, Say::Joined(Ok(number)).words(), Some(agents.0));
        self.local.drop_cap(agents.0);
        if let Err(error) = told {
            // It will never ask; when it ends, it is taken out.
            warn!("a domain that joins cannot be told so: {error}");
        }
        Ok(())
    }

    /// Takes in what domains ask for, and goes on with what is under way. Answers whether there was news.
    pub(super) fn poll_agents(&mut self, now: u64) -> bool {
        let mut news = false;
        for _ in 0..BATCH {
            let Some(ends) = &mut self.ends else { break };
            let Some(message) = ends.agents.try_recv() else { break };
            news = true;
            if message.cap != CPtr::NULL {
                // What is not taken leads nowhere, and stays.
                match self.domain.mem.slot() {
                    Ok(next) => ends.agents.receive_into(next),
                    Err(error) => warn!("no slot for a domain's root: {error}"),
                }
            }
            self.local.clients.hear(&message);
            self.local.retry = true;
        }
        news |= self.ask_owners(now);
        if self.monitor.wants_to_agree() {
            news = true;
            self.monitor.agree(now, &mut self.local, &mut self.io);
        }
        while let Some((token, result)) = self.monitor.next_settled() {
            news = true;
            self.local.settled = true;
            if let Some(at) = self.local.clients.settled(token, result) {
                self.local.drop_cap(at);
            }
        }
        if !self.local.clients.is_empty() {
            self.look_after(now);
        }
        news
    }

    /// Asks for what domains have asked for since, or what was locked then.
    fn ask_owners(&mut self, now: u64) -> bool {
        if !self.local.clients.has_heard() || !core::mem::take(&mut self.local.retry) {
            return false;
        }
        let mut requests = Vec::new();
        for wanted in self.local.clients.admit(&mut self.domain.mem, self.monitor.core()) {
            match wanted {
                Wanted::Owner(token, request) => requests.push((token, request)),
                Wanted::Forget(token, space, base, len, cores) => {
                    let span = Span { base, end: base.saturating_add(len) };
                    let (local, io) = (&mut self.local, &mut self.io);
                    self.monitor.invalidate(now, token, space.into(), span, &cores, local, io);
                }
            }
        }
        if !requests.is_empty() {
            self.monitor.ask_owners(now, &requests, &mut self.local, &mut self.io);
        }
        true
    }

    fn look_after(&mut self, now: u64) {
        self.local.clients.flush();
        if now < self.local.look {
            return;
        }
        self.local.look = now + clock::span(LOOK);
        self.local.drop_stuck();
        for at in self.local.clients.bury() {
            self.local.drop_cap(at);
        }
    }
}

impl super::objects::Local {
    /// When to look after them, at the latest.
    pub fn deadline(&self) -> u64 {
        if self.clients.is_empty() { u64::MAX } else { self.look }
    }
}
