//! Capabilities for endpoints of other cores (paper §4.5, §4.8): the receiving monitor keeps a *proxy*, an endpoint of its
//! own, and what is sent to it goes to the owner's monitor, which sends it to the real one.
//!
//! ```text
//! domain ─► proxy ring ─► its monitor ══ EndpointData, numbered ══► owner's monitor ─► queue ─► endpoint ─► domain
//!                                     ◄═ EndpointTaken, cumulative ═
//! ```
//!
//! *Back-pressure*: no more than a window of messages is under way from a proxy; while it is full the binary leaves the
//! proxy's ring alone, so that it fills, and its senders are told `Full` by the CPU driver. *Loss*: messages are
//! numbered, and an end that finds a gap closes; once in a bound the proxy's end says how many it has sent, so that both
//! ends find out what a relay swallowed. Island, core or channel lost, epoch void: each end lets go by itself. Messages
//! arrive in order and once, up to where the connection ended; how far that was only the receiver knows.
//!
//! Here: what binaries do. `said`: what the monitors say to each other. `loss`: how an end lets go.

mod loss;
mod said;

use super::{RequestId, Requests};
use crate::config::{ENDPOINT_WINDOW, MAX_OFFERS, MAX_PROXIES};
use crate::event::{Action, Sink};
use crate::monitor::Monitor;
use alloc::collections::VecDeque;
use alloc::vec::Vec;
use skerry_hal::{CoreId, Epoch};
use skerry_urpc::formats::Refusal;
use skerry_urpc::formats::monitor::{EndpointData, EndpointFind};
use skerry_urpc::wire;

/// Bounds without a probe after which a proxy is taken for gone.
const SILENCE: u64 = 4;

/// What a message to an endpoint says.
pub type Words = [u64; 4];

/// A proxy here for an endpoint there.
#[derive(Clone, Copy)]
struct Proxy {
    core: CoreId,
    epoch: Epoch,
    request: u16,
    /// Who wants it, until it is there.
    token: Option<u32>,
    /// The name, until it was asked for.
    name: Option<[u64; 2]>,
    window: u32,
    sent: u32,
    taken: u32,
    /// When it is probed, or, before it is there, given up.
    due: Option<u64>,
}

/// An endpoint of a domain here, by what the binary calls it.
#[derive(Clone, Copy)]
struct Offer {
    name: [u64; 2],
    endpoint: u32,
}

/// A proxy there for an endpoint here.
struct Remote {
    core: CoreId,
    epoch: Epoch,
    request: u16,
    endpoint: u32,
    /// What it is called here: unlike any other for a long time.
    handle: u32,
    queue: VecDeque<Words>,
    came: u32,
    taken: u32,
    said: u32,
    until: Option<u64>,
}

impl Remote {
    fn is(&self, core: CoreId, request: u16) -> bool {
        (self.core, self.request) == (core, request)
    }
}

#[derive(Default)]
pub(crate) struct State {
    proxies: [Option<Proxy>; MAX_PROXIES],
    offers: Vec<Offer>,
    remotes: Vec<Remote>,
    count: u8,
    handle: u32,
}

impl Monitor {
    /// A domain of this core offers an endpoint, which the binary calls `endpoint`.
    ///
    /// # Errors
    /// [`Refusal::Busy`] if the name is taken, or too many are.
    pub fn offer_endpoint(&mut self, name: [u64; 2], endpoint: u32) -> Result<(), Refusal> {
        let state = &mut self.endpoint;
        if state.offers.len() >= MAX_OFFERS || state.offers.iter().any(|o| o.name == name) {
            return Err(Refusal::Busy);
        }
        state.offers.push(Offer { name, endpoint });
        Ok(())
    }

    /// What the binary calls the endpoint that a domain of this core offers under a name.
    pub fn offered_here(&self, name: [u64; 2]) -> Option<u32> {
        self.endpoint.offers.iter().find(|o| o.name == name).map(|o| o.endpoint)
    }

    /// An endpoint is no more: neither its name nor what leads to it.
    pub fn endpoint_gone(&mut self, now: u64, endpoint: u32, sink: &mut dyn Sink) {
        self.now = self.now.max(now);
        self.endpoint.offers.retain(|o| o.endpoint != endpoint);
        self.close_remotes(|r| r.endpoint == endpoint, Refusal::Lost, sink);
    }

    /// A domain wants the endpoint that `core` offers under a name; [`Action::Proxy`] answers `token`.
    pub fn want_endpoint(&mut self, now: u64, token: u32, core: CoreId, name: [u64; 2], sink: &mut dyn Sink) {
        self.now = self.now.max(now);
        if let Err(refusal) = self.ask_endpoint(token, core, name, sink) {
            sink.act(Action::Proxy { token, proxy: Err(refusal) });
        }
    }

    fn ask_endpoint(
        &mut self,
        token: u32,
        core: CoreId,
        name: [u64; 2],
        sink: &mut dyn Sink,
    ) -> Result<(), Refusal> {
        self.status_of(core)?;
        let slot = self.endpoint.proxies.iter().position(Option::is_none).ok_or(Refusal::Busy)?;
        self.endpoint.count = self.endpoint.count.wrapping_add(1);
        let request = RequestId::new(Requests::Endpoint, slot, self.endpoint.count).raw();
        let (epoch, due) = (self.epoch_of(core.island()), self.within(self.config.bound));
        let (token, name) = (Some(token), Some(name));
        self.endpoint.proxies[slot] =
            Some(Proxy { core, epoch, request, token, name, window: 0, sent: 0, taken: 0, due });
        self.endpoint_bound(sink);
        Ok(())
    }

    /// Asks for what waited for a channel: a message through the island's first monitor and one past it could overtake
    /// each other.
    pub(crate) fn endpoint_bound(&mut self, sink: &mut dyn Sink) {
        for slot in 0..MAX_PROXIES {
            let Some(proxy) = self.endpoint.proxies[slot] else { continue };
            let (Some(name), core) = (proxy.name, proxy.core) else { continue };
            if !self.is_bound(core, sink) {
                continue;
            }
            let find = EndpointFind { name, ..EndpointFind::default() };
            let find = wire::encode(&self.header(core, proxy.request), &find);
            let asked = self.try_send(&find, core, sink);
            if let Some(entry) = &mut self.endpoint.proxies[slot] {
                entry.name = None;
            }
            if let Err(refusal) = asked {
                self.drop_proxy(slot as u8, refusal, sink);
            }
        }
    }

    /// The proxies that are there, and where what is sent to them goes.
    pub fn proxies(&self) -> impl Iterator<Item = (u8, CoreId, Epoch)> {
        let all = self.endpoint.proxies.iter().enumerate();
        all.filter_map(|(n, p)| p.filter(|p| p.token.is_none()).map(|p| (n as u8, p.core, p.epoch)))
    }

    /// Whether a message of this proxy may be passed on now. If not, it must stay where it is.
    pub fn proxy_has_room(&self, proxy: u8) -> bool {
        let proxy = self.endpoint.proxies.get(usize::from(proxy)).and_then(Option::as_ref);
        proxy.is_some_and(|p| p.token.is_none() && p.sent.wrapping_sub(p.taken) < p.window)
    }

    /// Passes a message of a proxy on; only if it [has room](Self::proxy_has_room).
    pub fn proxy_message(&mut self, now: u64, proxy: u8, words: Words, sink: &mut dyn Sink) {
        self.now = self.now.max(now);
        if !self.proxy_has_room(proxy) {
            return;
        }
        let Some(Some(entry)) = self.endpoint.proxies.get_mut(usize::from(proxy)) else { return };
        let (core, request, number) = (entry.core, entry.request, entry.sent);
        entry.sent = number.wrapping_add(1);
        let body = EndpointData { words, ..EndpointData::default() };
        let mut message = wire::encode(&self.header(core, request), &body);
        message.flags = number as u16;
        if let Err(refusal) = self.try_send(&message, core, sink) {
            self.leave_proxy(proxy, refusal, sink);
        }
    }

    /// Nobody has a capability for this proxy any more.
    pub fn proxy_gone(&mut self, now: u64, proxy: u8, sink: &mut dyn Sink) {
        self.now = self.now.max(now);
        self.leave_proxy(proxy, Refusal::Aborted, sink);
    }

    /// The oldest message of each connection to an endpoint here: its handle, the endpoint, what it says. To be sent, and
    /// then reported with [`delivered`](Self::delivered).
    pub fn deliveries(&self) -> impl Iterator<Item = (u32, u32, Words)> {
        self.endpoint.remotes.iter().filter_map(|r| Some((r.handle, r.endpoint, *r.queue.front()?)))
    }

    /// That message is in the endpoint's ring.
    pub fn delivered(&mut self, now: u64, handle: u32, sink: &mut dyn Sink) {
        self.now = self.now.max(now);
        let Some(remote) = self.endpoint.remotes.iter_mut().find(|r| r.handle == handle) else { return };
        if remote.queue.pop_front().is_some() {
            remote.taken = remote.taken.wrapping_add(1);
            let owed = remote.taken.wrapping_sub(remote.said);
            if owed >= u32::from(ENDPOINT_WINDOW / 2) || remote.queue.is_empty() {
                let (core, request) = (remote.core, remote.request);
                self.say_taken(core, request, sink);
            }
        }
    }

    /// How many proxies are there or asked for, and how many proxies of others lead here.
    pub fn endpoints_open(&self) -> (usize, usize) {
        (self.endpoint.proxies.iter().flatten().count(), self.endpoint.remotes.len())
    }
}

#[cfg(test)]
mod tests;
