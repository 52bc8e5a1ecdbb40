//! Domains that offer an endpoint, and domains that send to those of other cores through proxies.
//!
//! Every core offers one. Each proxy that a core comes to has a sender with a number of its own, who sends 0, 1, 2, …:
//! whoever receives sees at once what was lost, doubled or changed places.

use crate::ports::Ports;
use crate::rng::Rng;
use skerry_hal::{CoreId, Epoch, IslandId};
use skerry_monitor::Monitor;
use skerry_urpc::formats::Refusal;
use std::collections::BTreeMap;

/// Most of what a sender says.
const MESSAGES: u64 = 40;

/// Who sends to a proxy.
#[derive(Clone, Copy, Debug)]
pub struct Sender {
    /// The owner of the endpoint.
    pub core: CoreId,
    /// His number.
    pub id: u64,
    /// How many he has sent.
    pub sent: u64,
    /// How many he will.
    limit: u64,
}

/// The domains of a core that do so.
#[derive(Debug, Default)]
pub struct Ends {
    offered: Option<u32>,
    /// Endpoints that were offered so far.
    made: u32,
    /// By the proxy's number.
    pub senders: BTreeMap<u8, Sender>,
    /// What came from each sender.
    pub heard: BTreeMap<u64, u64>,
    /// Who wants an endpoint, whose, and until when he must have been answered.
    pub wanted: BTreeMap<u32, (CoreId, u64)>,
    tokens: u32,
    /// Proxies that were handed out, and that were taken back.
    pub proxies: (u64, u64),
}

fn name(core: CoreId) -> [u64; 2] {
    [0x656d_616e, core.raw().into()]
}

impl Ends {
    /// Lets them do something.
    ///
    /// # Errors
    /// If a message came that should not have.
    pub fn turn(
        &mut self,
        now: u64,
        rng: &mut Rng,
        monitor: &mut Monitor,
        ports: &mut Ports,
    ) -> Result<(), String> {
        if self.offered.is_none() {
            self.made += 1;
            self.offered = Some(self.made);
            monitor
                .offer_endpoint(name(monitor.core()), self.made)
                .map_err(|e| format!("its own name: {e}"))?;
        }
        for (&proxy, sender) in &mut self.senders {
            if sender.sent < sender.limit && rng.one_in(3) && monitor.proxy_has_room(proxy) {
                monitor.proxy_message(now, proxy, [sender.id, sender.sent, !sender.id, sender.sent], ports);
                sender.sent += 1;
            }
        }
        let ready: Vec<_> = monitor.deliveries().collect();
        for (handle, _, [id, n, inverse, same]) in ready {
            if rng.one_in(3) {
                // The endpoint is full.
                continue;
            }
            let next = self.heard.entry(id).or_default();
            if *next != n || inverse != !id || same != n {
                return Err(format!("{} hears {n} of {id:x} after {next}", monitor.core()));
            }
            *next += 1;
            monitor.delivered(now, handle, ports);
        }
        Ok(())
    }

    /// Asks for the endpoint of `core`, to be answered by `due`.
    pub fn want(&mut self, now: u64, due: u64, core: CoreId, monitor: &mut Monitor, ports: &mut Ports) {
        self.tokens += 1;
        self.wanted.insert(self.tokens, (core, due));
        monitor.want_endpoint(now, self.tokens, core, name(core), ports);
    }

    /// Whoever offered the endpoint dies.
    pub fn withdraw(&mut self, now: u64, monitor: &mut Monitor, ports: &mut Ports) {
        if let Some(endpoint) = self.offered.take() {
            monitor.endpoint_gone(now, endpoint, ports);
        }
    }

    /// Whoever had the first proxy lets go of it.
    pub fn leave(&mut self, now: u64, monitor: &mut Monitor, ports: &mut Ports) {
        if let Some(proxy) = self.senders.keys().next() {
            monitor.proxy_gone(now, *proxy, ports);
        }
    }

    /// Whether they have something to do though nothing comes.
    pub fn goes_on(&self, monitor: &Monitor) -> bool {
        self.offered.is_none()
            || self.senders.iter().any(|(proxy, s)| s.sent < s.limit && monitor.proxy_has_room(*proxy))
            || monitor.deliveries().next().is_some()
    }

    /// A domain is answered.
    ///
    /// # Errors
    /// If it had not asked.
    pub fn answered(&mut self, token: u32, proxy: Result<u8, Refusal>, rng: &mut Rng) -> Result<(), String> {
        let (core, _) = self.wanted.remove(&token).ok_or(format!("nobody wants endpoint {token}"))?;
        if let Ok(proxy) = proxy {
            self.proxies.0 += 1;
            let sender = Sender { core, id: rng.next(), sent: 0, limit: rng.below(MESSAGES) };
            if self.senders.insert(proxy, sender).is_some() {
                return Err(format!("proxy {proxy} is handed out twice"));
            }
        }
        Ok(())
    }

    /// A proxy is taken back.
    ///
    /// # Errors
    /// If it was not there.
    pub fn closed(&mut self, proxy: u8) -> Result<(), String> {
        self.proxies.1 += 1;
        self.senders.remove(&proxy).map(drop).ok_or(format!("proxy {proxy} is taken back twice"))
    }

    /// Who should have been answered by now.
    pub fn late(&self, now: u64) -> Option<String> {
        let (token, (core, _)) = self.wanted.iter().find(|(_, (_, due))| *due < now)?;
        Some(format!("want {token} of {core}'s endpoint is not answered"))
    }

    /// Whoever stood still could not answer.
    pub fn extend(&mut self, ticks: u64) {
        self.wanted.values_mut().for_each(|(_, due)| *due += ticks);
    }
}

/// Whether a core still has a proxy for an endpoint of `island` in an epoch up to `epoch`.
pub fn leads_to(monitor: &Monitor, island: IslandId, epoch: Epoch) -> bool {
    monitor.proxies().any(|(_, core, of)| core.island() == island && of <= epoch)
}
