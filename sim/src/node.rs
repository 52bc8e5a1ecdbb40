//! One core: its monitor and all that the monitor's domain binary would keep for it.

use crate::caps::Caps;
use crate::ends::Ends;
use crate::kernel::{Core, Region};
use crate::mutants::Bug;
use crate::ports::{Port, Ports};
use crate::rng::Rng;
use crate::server::Server;
use crate::share::Share;
use skerry_app_skb::Service;
use skerry_hal::{CoreId, Epoch, IslandId};
use skerry_monitor::{Chan, Event, Monitor};
use skerry_urpc::Message;
use skerry_urpc::formats::Refusal;
use skerry_urpc::window::State;
use skerry_urpc::wire::Header;

/// A message of an epoch that the receiver knows to be given up was not dropped.
#[derive(Debug)]
pub struct StaleTaken {
    /// From where.
    pub src: CoreId,
    /// In which epoch.
    pub epoch: Epoch,
}

/// One core of one life of an island.
pub struct Node {
    /// Who it is.
    pub core: CoreId,
    /// Its CPU driver.
    pub kernel: Core,
    /// Domains that make, copy and take away objects.
    pub caps: Caps,
    /// What memory is to it, when that was last looked at, and changes since.
    pub regions: (Vec<Region>, usize),
    /// Its monitor.
    pub monitor: Monitor,
    /// Its transports.
    pub ports: Ports,
    /// The channel of the domain that makes requests.
    pub client: Chan,
    /// Its process server, and the channel to it.
    pub server: (Chan, Server),
    /// Domains that share capabilities with those of other cores.
    pub share: Share,
    /// Requests of theirs that have ended.
    pub settled: Vec<(u32, Result<(), Refusal>)>,
    /// The first core: the knowledge base of its island, and the channel to it.
    pub skb: Option<(Chan, Service)>,
    /// Domains with endpoints.
    pub ends: Ends,
    /// What comes to the monitor later, and when.
    pub events: Vec<(u64, Event)>,
    /// Stopped until then.
    pub paused_until: u64,
    /// Busy until then.
    pub free: u64,
    /// When its next turn is.
    pub wake: u64,
    /// When it looks at its links next.
    pub look: u64,
}

/// Messages that one turn takes from a channel at most.
const BATCH: u64 = 9;
/// Cycles after which a core that waits for something other than a message looks for it.
const AGAIN: u64 = 2_000;

impl Node {
    /// Lets the core run for a while: what the monitor does.
    ///
    /// # Errors
    /// If the monitor took a message that it must not take.
    pub fn turn(&mut self, now: u64, rng: &mut Rng, bound: u64) -> Result<(), StaleTaken> {
        (self.ports.clock, self.ports.spent) = (now, 0);
        if !self.ports.links.is_empty() && self.look <= now {
            self.look = now + rng.between(bound / 16, bound / 9);
            self.poll_links(now);
        }
        while let Some(at) = self.events.iter().position(|(due, _)| *due <= now) {
            let (_, event) = self.events.remove(at);
            self.monitor.handle(now, event, &mut self.ports);
        }
        self.serve(now, rng, bound);
        self.know(now);
        let count = self.ports.ports.len();
        self.ports.spent += count as u64 * self.ports.cost.poll;
        let first = rng.below(count as u64) as usize;
        for chan in (first..count).chain(0..first).map(|n| Chan(n as u16)) {
            let most = rng.between(1, BATCH);
            for _ in 0..most {
                match self.ports.receive(chan) {
                    Ok(Some(message)) => self.take(now, chan, message)?,
                    Ok(None) => break,
                    Err(why) => {
                        self.ports.put(chan, Port::Closed);
                        self.monitor.handle(now, Event::ChannelClosed { chan, why }, &mut self.ports);
                    }
                }
            }
        }
        if self.monitor.deadline().is_some_and(|at| at <= now) {
            self.monitor.handle(now, Event::Tick, &mut self.ports);
        }
        self.agree(now);
        self.monitor.flush(now, &mut self.ports);
        Ok(())
    }

    /// Lends the monitor the core's capabilities, if it has something to agree on.
    pub fn agree(&mut self, now: u64) {
        if self.monitor.wants_to_agree() {
            let Self { monitor, share, kernel, ports, .. } = self;
            share.lend(kernel, ports.bug(), |objects| monitor.agree(now, objects, ports));
            self.regions.1 += 1;
        }
        self.settled.extend(std::iter::from_fn(|| self.monitor.next_settled()));
    }

    /// Lets the process server run, and takes what it says.
    fn serve(&mut self, now: u64, rng: &mut Rng, bound: u64) {
        let (chan, server) = (self.server.0, &mut self.server.1);
        server.bound = bound;
        if let Some(Port::Client { inbox, .. }) = self.ports.ports.get_mut(chan.0 as usize) {
            inbox.drain(..).for_each(|message| server.take(now, &message));
        }
        server.run(now, rng);
        // What it says may lie for a while before the monitor looks.
        while self.ports.hold[chan.0 as usize] <= now
            && let Some(message) = self.server.1.said.pop_front()
        {
            self.monitor.message(now, chan, &message, &mut self.ports);
        }
        if self.ports.late > 0 && rng.one_in(16) {
            self.ports.hold[chan.0 as usize] = now + rng.below(self.ports.late);
        }
    }

    /// Lets the knowledge base take what the monitor has said, and answer.
    fn know(&mut self, now: u64) {
        let Some((chan, service)) = &mut self.skb else { return };
        if let Some(Port::Client { inbox, .. }) = self.ports.ports.get_mut(usize::from(chan.0)) {
            inbox.drain(..).for_each(|message| service.take(&message, now));
        }
        service.tick(now);
        while let Some(message) = service.outgoing() {
            self.monitor.message(now, *chan, &message, &mut self.ports);
        }
    }

    fn take(&mut self, now: u64, chan: Chan, mut message: Message) -> Result<(), StaleTaken> {
        let mut header = message.header();
        let (src, epoch) = (header.src, header.epoch);
        let refused = self.monitor.islands().get(src.island()).map_or(Epoch(0), |i| i.refused);
        let stale = src.island() != self.core.island() && epoch <= refused;
        if matches!(self.ports.bug(), Some(Bug::TakesStaleEpochs)) && stale {
            header.epoch = self.monitor.islands().get(src.island()).map_or(Epoch(0), |i| i.epoch);
            message.set_header(&header);
        }
        if let Some(Bug::OneForAll(kinds)) = self.ports.bug()
            && kinds.contains(&message.kind)
        {
            for local in (0..64).filter(|local| *local != src.local()) {
                let other = CoreId::new(src.island(), local);
                let mut copy = message;
                copy.set_header(&Header { src: other, ..header });
                self.monitor.message(now, chan, &copy, &mut self.ports);
            }
        }
        let before = self.monitor.counters().stale;
        self.monitor.message(now, chan, &message, &mut self.ports);
        if stale && self.monitor.counters().stale == before {
            return Err(StaleTaken { src, epoch });
        }
        Ok(())
    }

    /// What the links have to say.
    fn poll_links(&mut self, now: u64) {
        for link in 0..self.ports.links.len() {
            let was_up = matches!(self.ports.links[link].state(), State::Up(_));
            let Some(state) = self.ports.links[link].poll(now) else { continue };
            let link = link as u16;
            let event = match state {
                State::Up(agreed) => {
                    self.ports.renew(link);
                    let own = self.ports.links[usize::from(link)].epoch();
                    Event::LinkUp { link, epoch: agreed.epoch, own }
                }
                State::Refused { up_to } if !matches!(self.ports.bug(), Some(Bug::IgnoresRefusal)) => {
                    Event::EpochRefused { epoch: up_to }
                }
                State::Lost(why) if was_up => {
                    let missed = matches!(self.ports.bug(), Some(Bug::MissesLoss));
                    if missed && self.core.island() == IslandId(0) {
                        continue;
                    }
                    Event::LinkLost { link, why: why.to_string() }
                }
                _ => continue,
            };
            self.monitor.handle(now, event, &mut self.ports);
        }
    }

    /// When it has to run next, if nothing else comes.
    pub fn next(&self, now: u64) -> u64 {
        let events = self.events.iter().map(|(due, _)| *due);
        let looks = (!self.ports.links.is_empty()).then_some(self.look);
        // Room comes without a message, and what is said to domains of this core does; an answer may be there at once.
        let skb = self.skb.as_ref().map(|(chan, _)| *chan);
        let asked = [self.client, self.server.0].into_iter().chain(skb).any(|chan| {
            matches!(&self.ports.ports[chan.0 as usize], Port::Client { inbox, .. } if !inbox.is_empty())
        });
        let acts = !self.ports.actions.is_empty() || self.monitor.wants_to_agree();
        let goes_on = asked || acts || self.monitor.has_backlog() || self.ends.goes_on(&self.monitor);
        let again = goes_on.then_some(now + AGAIN);
        let known = self.skb.as_ref().and_then(|(_, service)| service.deadline());
        let said = self.server.1.said.front().map(|_| self.ports.hold[self.server.0.0 as usize]);
        let all = [self.monitor.deadline(), self.server.1.deadline(now), looks, again, known, said];
        all.into_iter().flatten().chain(events).chain(self.ports.next()).min().unwrap_or(u64::MAX)
    }
}
