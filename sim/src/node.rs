//! One core: its monitor and all that the monitor's domain binary would keep for it.

use crate::ends::Ends;
use crate::plan::Mutant;
use crate::rng::Rng;
use crate::server::Server;
use skerry_hal::{CoreId, Epoch, IslandId};
use skerry_monitor::{Action, Chan, Event, Monitor, Sink};
use skerry_urpc::formats::monitor::{PingDone, StreamData, StreamDone};
use skerry_urpc::window::{Link, State};
use skerry_urpc::wire::Body;
use skerry_urpc::{Channel, Message, SendError, Transport};
use std::collections::VecDeque;

/// What a monitor's channel number stands for.
pub enum Port {
    /// Nothing, or something that was closed.
    Closed,
    /// A channel to a core of the island.
    Ring(Channel),
    /// The link of the same number.
    Window,
    /// A domain on this core, its process server or a client, which has room for some messages.
    Client {
        /// What it has not read yet.
        inbox: VecDeque<Message>,
        /// How many fit.
        room: usize,
    },
}

/// A monitor's sink: transports that ship, and a list of what it wants done.
pub struct Ports {
    /// By channel number.
    pub ports: Vec<Port>,
    /// Until when nothing is seen on it: a late message.
    pub hold: Vec<u64>,
    /// The island's links (first monitor).
    pub links: Vec<Link>,
    /// What is to be done.
    pub actions: Vec<Action>,
    /// Messages until the island dies, in the middle of what it does.
    pub fuel: Option<u32>,
    /// It dies then, and not when its turn ends.
    pub patient: bool,
    /// A bug to find.
    pub mutant: Option<Mutant>,
    /// Where the bug gets its chances from.
    pub rng: Rng,
    swapped: Option<(Chan, Message)>,
    /// Messages sent.
    pub sent: u64,
}

impl Ports {
    /// No ports yet.
    pub fn new(mutant: Option<Mutant>, seed: u64) -> Self {
        Self {
            ports: Vec::new(),
            hold: Vec::new(),
            links: Vec::new(),
            actions: Vec::new(),
            fuel: None,
            patient: false,
            mutant,
            rng: Rng::new(seed),
            swapped: None,
            sent: 0,
        }
    }

    /// Puts something under a channel number.
    pub fn put(&mut self, chan: Chan, port: Port) {
        let index = chan.0 as usize;
        while self.ports.len() <= index {
            self.ports.push(Port::Closed);
            self.hold.push(0);
        }
        self.ports[index] = port;
        self.hold[index] = 0;
    }

    fn transport(&mut self, chan: Chan) -> Option<&mut dyn Transport> {
        match self.ports.get_mut(chan.0 as usize)? {
            Port::Ring(channel) => Some(channel),
            Port::Window => Some(self.links.get_mut(chan.0 as usize)?.channel()?),
            Port::Closed | Port::Client { .. } => None,
        }
    }

    fn transmit(&mut self, chan: Chan, message: &Message) -> Result<(), SendError> {
        self.sent += 1;
        if let Some(Port::Client { inbox, room }) = self.ports.get_mut(chan.0 as usize) {
            if inbox.len() >= *room {
                return Err(SendError::Full);
            }
            inbox.push_back(*message);
            return Ok(());
        }
        self.transport(chan).map_or(Err(SendError::Closed), |t| t.try_send(message))
    }

    /// The next message on a channel: `Err` if the transport failed.
    fn receive(&mut self, chan: Chan) -> Result<Option<Message>, String> {
        self.transport(chan).map_or(Ok(None), |t| t.try_recv().map_err(|e| e.to_string()))
    }
}

impl Sink for Ports {
    fn send(&mut self, chan: Chan, message: &Message) -> Result<(), SendError> {
        if let Some(fuel) = &mut self.fuel {
            // Dead: whatever the monitor still does in this call never happened.
            let Some(left) = fuel.checked_sub(1) else { return Ok(()) };
            *fuel = left;
        }
        let is_client = matches!(self.ports.get(chan.0 as usize), Some(Port::Client { .. }));
        match self.mutant {
            Some(Mutant::DropsAnswers)
                if [PingDone::KIND, StreamDone::KIND].contains(&message.kind) && self.rng.one_in(4) =>
            {
                return Ok(());
            }
            Some(Mutant::DoublesStream) if message.kind == StreamData::KIND && self.rng.one_in(40) => {
                self.transmit(chan, message)?;
            }
            Some(Mutant::SwapsStream) if message.kind == StreamData::KIND && !is_client => {
                if let Some((at, held)) = self.swapped.take() {
                    self.transmit(chan, message)?;
                    let _ = self.transmit(at, &held);
                    return Ok(());
                }
                if self.rng.one_in(40) {
                    self.swapped = Some((chan, *message));
                    return Ok(());
                }
            }
            _ => {}
        }
        self.transmit(chan, message)
    }

    fn act(&mut self, action: Action) {
        if self.fuel != Some(0) {
            self.actions.push(action);
        }
    }
}

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
    /// Its monitor.
    pub monitor: Monitor,
    /// Its transports.
    pub ports: Ports,
    /// The channel of the domain that makes requests.
    pub client: Chan,
    /// Its process server, and the channel to it.
    pub server: (Chan, Server),
    /// Domains with endpoints.
    pub ends: Ends,
    /// What comes to the monitor later, and when.
    pub events: Vec<(u64, Event)>,
    /// Stopped until then.
    pub paused_until: u64,
}

impl Node {
    /// Lets the core run for a while. Answers whether anything happened.
    ///
    /// # Errors
    /// If the monitor took a message that it must not take.
    pub fn turn(&mut self, now: u64, rng: &mut Rng, faults: bool) -> Result<bool, StaleTaken> {
        let mut busy = self.poll_links(now);
        while let Some(at) = self.events.iter().position(|(due, _)| *due <= now) {
            let (_, event) = self.events.remove(at);
            self.monitor.handle(now, event, &mut self.ports);
            busy = true;
        }
        busy |= self.serve(now, rng);
        let count = self.ports.ports.len();
        let first = rng.below(count as u64) as usize;
        for n in 0..count {
            let chan = Chan(((first + n) % count) as u16);
            if self.ports.hold[chan.0 as usize] > now {
                continue;
            }
            for _ in 0..rng.between(1, 9) {
                match self.ports.receive(chan) {
                    Ok(Some(message)) => self.take(now, chan, message)?,
                    Ok(None) => break,
                    Err(why) => {
                        self.ports.put(chan, Port::Closed);
                        self.monitor.handle(now, Event::ChannelClosed { chan, why }, &mut self.ports);
                    }
                }
                busy = true;
            }
            if faults && rng.one_in(64) {
                self.ports.hold[chan.0 as usize] = now + rng.below(crate::world::BOUND / 3);
            }
        }
        if self.monitor.deadline().is_some_and(|at| at <= now) {
            self.monitor.handle(now, Event::Tick, &mut self.ports);
            busy = true;
        }
        self.monitor.flush(now, &mut self.ports);
        Ok(busy)
    }

    /// Lets the process server run, and takes what it says.
    fn serve(&mut self, now: u64, rng: &mut Rng) -> bool {
        let (chan, server) = (self.server.0, &mut self.server.1);
        let mut busy = false;
        if let Some(Port::Client { inbox, .. }) = self.ports.ports.get_mut(chan.0 as usize) {
            busy |= !inbox.is_empty();
            inbox.drain(..).for_each(|message| server.take(now, &message));
        }
        busy |= server.run(now, rng);
        // What it says may lie for a while before the monitor looks.
        while self.ports.hold[chan.0 as usize] <= now
            && let Some(message) = self.server.1.said.pop_front()
        {
            self.monitor.message(now, chan, &message, &mut self.ports);
            busy = true;
        }
        if rng.one_in(16) {
            self.ports.hold[chan.0 as usize] = now + rng.below(crate::world::BOUND / 3);
        }
        busy
    }

    fn take(&mut self, now: u64, chan: Chan, mut message: Message) -> Result<(), StaleTaken> {
        let mut header = message.header();
        let (src, epoch) = (header.src, header.epoch);
        let refused = self.monitor.islands().get(src.island()).map_or(Epoch(0), |i| i.refused);
        let stale = src.island() != self.core.island() && epoch <= refused;
        if self.ports.mutant == Some(Mutant::TakesStaleEpochs) && stale {
            header.epoch = self.monitor.islands().get(src.island()).map_or(Epoch(0), |i| i.epoch);
            message.set_header(&header);
        }
        let before = self.monitor.counters().stale;
        self.monitor.message(now, chan, &message, &mut self.ports);
        if stale && self.monitor.counters().stale == before {
            return Err(StaleTaken { src, epoch });
        }
        Ok(())
    }

    /// What the links have to say.
    fn poll_links(&mut self, now: u64) -> bool {
        let mut busy = false;
        for link in 0..self.ports.links.len() {
            let was_up = matches!(self.ports.links[link].state(), State::Up(_));
            let Some(state) = self.ports.links[link].poll(now) else { continue };
            let link = link as u16;
            let event = match state {
                State::Up(agreed) => Event::LinkUp { link, epoch: agreed.epoch },
                State::Refused { up_to } if self.ports.mutant != Some(Mutant::IgnoresRefusal) => {
                    Event::EpochRefused { epoch: up_to }
                }
                State::Lost(why) if was_up => {
                    if self.ports.mutant == Some(Mutant::MissesLoss) && self.core.island() == IslandId(0) {
                        continue;
                    }
                    Event::LinkLost { link, why: why.to_string() }
                }
                _ => continue,
            };
            self.monitor.handle(now, event, &mut self.ports);
            busy = true;
        }
        busy
    }

    /// When it has to run next, if nothing comes.
    pub fn deadline(&self) -> Option<u64> {
        let events = self.events.iter().map(|(due, _)| *due);
        self.monitor.deadline().into_iter().chain(events).chain(self.server.1.deadline()).min()
    }
}
