//! The kernel's side of endpoints that cross cores: rings for what domains say and for proxies, and sends to real ones.
//!
//! The first ring is the *broker's*: programs offer and want endpoints there. Each proxy has a ring of its own, so that one
//! whose owner does not read fills, and is full for its senders, without holding up the others. A proxy that is closed has
//! every capability for its ring taken back; the ring serves the next.

use super::Pump;
use super::io::Io;
use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::time::Duration;
use skerry_abi::{CPtr, CoreId, Error, Rights};
use skerry_monitor::Monitor;
use skerry_monitor::config::MAX_PROXIES;
use skerry_urpc::formats::Refusal;
use skerry_urpc::formats::share::JOIN;
use skerry_user::cap::{Endpoint, ROOT};
use skerry_user::logging::{error, warn};
use skerry_user::lrpc::{Message, Ring, Rings, send};
use skerry_user::remote::{ANSWER, BROKER_SLOTS, ask};
use skerry_user::spawn::CHANNEL_EVENT;
use skerry_user::{Domain, clock};

/// Messages in the ring of a proxy. With the broker's and the next one's, the rings fill the page that they lie in.
const PROXY_SLOTS: u32 = 2;
/// Messages in the ring of those who share capabilities with other cores.
const AGENT_SLOTS: u32 = 16;
/// How often it is looked whether those who offered or wanted an endpoint live.
const LOOK: Duration = Duration::from_secs(1);

/// What this core's domains offer and want.
pub struct Ends {
    broker: Ring,
    /// Of those who share capabilities; each has an endpoint with a badge of its own.
    pub agents: Ring,
    /// The proxies' rings, by number.
    rings: Vec<Ring>,
    /// Endpoints that are offered, by the number that the monitor knows them by.
    offers: BTreeMap<u32, Endpoint>,
    /// Where answers go, by token.
    wants: BTreeMap<u32, Endpoint>,
    /// Whose a proxy is.
    users: BTreeMap<u8, Endpoint>,
    last: u32,
    look: u64,
}

impl Ends {
    /// Makes the rings. On the island's first core `init` has made the broker's; on others its endpoint is for the process
    /// server.
    pub fn new(domain: &mut Domain, first: bool) -> Result<Self, Error> {
        let mut rings = Rings::new(domain)?;
        let broker = if first {
            rings.adopt(BROKER_SLOTS, CHANNEL_EVENT)?
        } else {
            rings.make(&mut domain.mem, BROKER_SLOTS, CHANNEL_EVENT)?
        };
        let mut proxies = Vec::new();
        for _ in 0..MAX_PROXIES {
            proxies.push(rings.make(&mut domain.mem, PROXY_SLOTS, CHANNEL_EVENT)?);
        }
        broker.receive_into(domain.mem.slot()?);
        let agents = rings.make(&mut domain.mem, AGENT_SLOTS, CHANNEL_EVENT)?;
        agents.receive_into(domain.mem.slot()?);
        let (offers, wants, users) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
        Ok(Self { broker, agents, rings: proxies, offers, wants, users, last: 0, look: 0 })
    }

    /// The broker's endpoint.
    pub const fn broker(&self) -> Endpoint {
        self.broker.endpoint()
    }

    /// When to look at something, at the latest.
    pub fn deadline(&self) -> u64 {
        if self.offers.is_empty() && self.users.is_empty() { u64::MAX } else { self.look }
    }

    fn number(&mut self) -> u32 {
        self.last = self.last.wrapping_add(1);
        self.last
    }
}

impl Pump {
    /// Looks at all rings, and sends on what has come for endpoints here. Answers whether there was news.
    pub(super) fn poll_ends(&mut self, now: u64) -> bool {
        let Some(ends) = &mut self.ends else { return false };
        let asked = ends.broker.try_recv();
        let mut news = asked.is_some();
        for &proxy in ends.users.keys() {
            while self.monitor.proxy_has_room(proxy)
                && let Some(message) = ends.rings.get_mut(usize::from(proxy)).and_then(Ring::try_recv)
            {
                self.monitor.proxy_message(now, proxy, message.words, &mut self.io);
                news = true;
            }
        }
        if !ends.offers.is_empty() {
            news |= deliver(&mut self.monitor, ends, &mut self.io, now);
        }
        let look = now >= ends.deadline();
        if let Some(message) = asked {
            self.ask(now, &message);
        }
        if look {
            self.due = None;
            self.look_for_the_dead(now);
        }
        news
    }

    /// A domain offers or wants something.
    fn ask(&mut self, now: u64, message: &Message) {
        let Some(ends) = &mut self.ends else { return };
        if message.cap == CPtr::NULL {
            return warn!("a domain names no endpoint");
        }
        match self.domain.mem.slot() {
            Ok(next) => ends.broker.receive_into(next),
            Err(error) => {
                // The capability is dropped, and its slot takes the next.
                error!("no slot for an endpoint: {error:?}");
                let _empty = ROOT.delete(message.cap);
                return;
            }
        }
        let ([first, low, high, _], endpoint) = (message.words, Endpoint(message.cap));
        let core = CoreId::from_raw((first >> 32) as u32);
        match first as u32 {
            JOIN => self.join(endpoint),
            ask::OFFER => self.offer(now, [low, high], endpoint),
            ask::WANT if core == self.monitor.core() => self.introduce(now, [low, high], endpoint),
            ask::WANT => {
                let token = ends.number();
                ends.wants.insert(token, endpoint);
                self.monitor.want_endpoint(now, token, core, [low, high], &mut self.io);
            }
            _ => {
                warn!("a domain asks for something unknown");
                drop_cap(&mut self.domain, endpoint);
            }
        }
    }

    fn offer(&mut self, now: u64, name: [u64; 2], endpoint: Endpoint) {
        if self.monitor.offered_here(name).is_some() {
            // Perhaps by one who has ended since.
            self.look_for_the_dead(now);
        }
        let Some(ends) = &mut self.ends else { return };
        let number = ends.number();
        match self.monitor.offer_endpoint(name, number) {
            Ok(()) => drop(ends.offers.insert(number, endpoint)),
            Err(refusal) => {
                warn!("an endpoint cannot be offered: {refusal}");
                drop_cap(&mut self.domain, endpoint);
            }
        }
    }

    /// Gives a domain what another of this core offers: the endpoint itself, without the right to take it back.
    fn introduce(&mut self, now: u64, name: [u64; 2], reply: Endpoint) {
        self.look_for_the_dead(now);
        let Some(ends) = &mut self.ends else { return };
        let offered = self.monitor.offered_here(name).and_then(|number| ends.offers.get(&number));
        let sent = match offered {
            Some(endpoint) => hand_out(&mut self.domain, reply, 0, |at| {
                ROOT.copy_in(endpoint.0, at, Rights::SIGNAL | Rights::GRANT).map(|()| Endpoint(at))
            }),
            None => refuse(reply, Refusal::NotFound),
        };
        if let Err(error) = sent {
            warn!("who wanted an endpoint cannot be told: {error}");
        }
        drop_cap(&mut self.domain, reply);
    }

    /// The monitor's answer to who wanted an endpoint.
    pub(super) fn answer_want(&mut self, token: u32, proxy: Result<u8, Refusal>) {
        let Some(ends) = &mut self.ends else { return };
        let Some(reply) = ends.wants.remove(&token) else { return };
        let sent = match proxy {
            Ok(proxy) => {
                let ring = ends.rings.get(usize::from(proxy));
                let mint = |at| ring.ok_or(Error::Full)?.endpoint().mint(at, token.into());
                match hand_out(&mut self.domain, reply, proxy.into(), mint) {
                    Ok(()) => {
                        ends.users.insert(proxy, reply);
                        return;
                    }
                    Err(error) => {
                        self.monitor.proxy_gone(clock::ticks(), proxy, &mut self.io);
                        Err(error)
                    }
                }
            }
            Err(refusal) => refuse(reply, refusal),
        };
        if let Err(error) = sent {
            warn!("who wanted an endpoint cannot be told: {error}");
        }
        drop_cap(&mut self.domain, reply);
    }

    /// Takes a proxy back.
    pub(super) fn close_proxy(&mut self, proxy: u8) {
        let Some(ends) = &mut self.ends else { return };
        if let Some(ring) = ends.rings.get_mut(usize::from(proxy))
            && let Err(error) = ring.revoke()
        {
            error!("proxy {proxy} cannot be taken back: {error}");
        }
        if let Some(user) = ends.users.remove(&proxy) {
            drop_cap(&mut self.domain, user);
        }
    }

    /// Nobody tells when a domain ends that offered or wanted an endpoint: its own endpoint does.
    fn look_for_the_dead(&mut self, now: u64) {
        let Some(ends) = &mut self.ends else { return };
        ends.look = now + clock::span(LOOK);
        let gone = |endpoint: &Endpoint| endpoint.signal().is_err();
        let users: Vec<u8> = ends.users.iter().filter(|(_, e)| gone(e)).map(|(n, _)| *n).collect();
        for proxy in users {
            self.monitor.proxy_gone(now, proxy, &mut self.io);
        }
        let dead: Vec<(u32, Endpoint)> = ends.offers.extract_if(.., |_, e| gone(e)).collect();
        for (number, endpoint) in dead {
            self.monitor.endpoint_gone(now, number, &mut self.io);
            drop_cap(&mut self.domain, endpoint);
        }
    }
}

/// Sends a capability that `make` puts into a slot to who wanted it.
fn hand_out(
    domain: &mut Domain,
    reply: Endpoint,
    word: u64,
    make: impl FnOnce(CPtr) -> Result<Endpoint, Error>,
) -> Result<(), Error> {
    let at = domain.mem.slot()?;
    let made = make(at).inspect_err(|_| domain.mem.give_slot(at))?;
    let sent = send(reply, [ANSWER.into(), word, 0, 0], Some(made.0));
    drop_cap(domain, made);
    sent
}

/// Tells who wanted an endpoint why there is none.
fn refuse(reply: Endpoint, refusal: Refusal) -> Result<(), Error> {
    send(reply, [u64::from(ANSWER) | (refusal as u64) << 32, 0, 0, 0], None)
}

/// Sends what has come for endpoints here, as far as they have room.
fn deliver(monitor: &mut Monitor, ends: &Ends, io: &mut Io, now: u64) -> bool {
    let mut news = false;
    loop {
        let waiting: Vec<_> = monitor.deliveries().collect();
        let mut sent = false;
        for (handle, number, words) in waiting {
            let Some(endpoint) = ends.offers.get(&number) else { continue };
            match send(*endpoint, words, None) {
                Ok(()) => {
                    monitor.delivered(now, handle, io);
                    sent = true;
                }
                // Event `ROOM` says when there is room.
                Err(Error::Full) => {}
                // Its slot is emptied when the dead are looked for.
                Err(_) => monitor.endpoint_gone(now, number, io),
            }
        }
        if !sent {
            return news;
        }
        news = true;
    }
}

fn drop_cap(domain: &mut Domain, endpoint: Endpoint) {
    if let Err(error) = domain.mem.delete(endpoint.0) {
        warn!("an endpoint's slot is lost: {error:?}");
    }
}
