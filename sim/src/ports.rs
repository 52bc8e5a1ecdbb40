//! A monitor's sink: the transports that ship, wires that delay what they carry, and a list of what the monitor wants done.

use crate::faults::Damage;
use crate::mutants::{Bug, Mutant};
use crate::rng::Rng;
use crate::topology::{Cost, Path};
use crate::wire::Wire;
use skerry_hal::{CoreId, IslandId};
use skerry_monitor::{Action, Chan, Sink};
use skerry_urpc::window::{Link, State};
use skerry_urpc::{Channel, Message, SendError, Transport};
use std::collections::VecDeque;

/// What a monitor's channel number stands for.
pub enum Port {
    /// Nothing, or something that was closed.
    Closed,
    /// A channel to a core of the island.
    Ring(Channel, Ends),
    /// The link of the same number.
    Window(Ends),
    /// A domain on this core, its process server or a client, which has room for some messages.
    Client {
        /// What it has not read yet.
        inbox: VecDeque<Message>,
        /// How many fit.
        room: usize,
    },
}

/// How what a channel carries travels.
pub struct Ends {
    /// The core at the other end.
    pub peer: CoreId,
    /// To us.
    pub inbox: Wire,
    /// From us.
    pub outbox: Wire,
    /// What that costs.
    pub path: Path,
    /// What happens to the next message that is sent.
    pub damage: Option<Damage>,
}

/// A monitor's sink.
pub struct Ports {
    /// By channel number.
    pub ports: Vec<Port>,
    /// Until when nothing is seen on it: a late message.
    pub hold: Vec<u64>,
    /// The island's links (first monitor).
    pub links: Vec<Link>,
    /// What is to be done.
    pub actions: Vec<Action>,
    /// Who will see something, and when.
    pub notices: Vec<(CoreId, u64)>,
    /// Links whose newest message something happens to.
    pub damaged: Vec<(IslandId, Damage)>,
    /// Messages until the island dies, in the middle of what it does.
    pub fuel: Option<u32>,
    /// It dies then, and not when its turn ends.
    pub patient: bool,
    /// A bug to find.
    pub mutant: Option<&'static Mutant>,
    /// Messages are delayed by chance, some by this much.
    pub late: u64,
    /// Where chance comes from.
    pub rng: Rng,
    /// When the turn began, and what was spent since.
    pub clock: u64,
    /// Cycles of this turn.
    pub spent: u64,
    /// What a core does.
    pub cost: Cost,
    swapped: Option<(Chan, Message)>,
    /// Messages sent.
    pub sent: u64,
}

/// How much later than it must a message is seen at most, in transfers of its line; one in so many excepted.
const DELAY: (u64, u64) = (4, 64);

impl Ports {
    /// No ports yet.
    pub fn new(mutant: Option<&'static Mutant>, late: u64, cost: Cost, seed: u64) -> Self {
        Self {
            ports: Vec::new(),
            hold: Vec::new(),
            links: Vec::new(),
            actions: Vec::new(),
            notices: Vec::new(),
            damaged: Vec::new(),
            fuel: None,
            patient: false,
            mutant,
            late,
            rng: Rng::new(seed),
            clock: 0,
            spent: 0,
            cost,
            swapped: None,
            sent: 0,
        }
    }

    /// The bug to find.
    pub fn bug(&self) -> Option<Bug> {
        self.mutant.map(|m| m.bug)
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

    /// The link of a channel is up anew: what was sent in its last session does not come.
    pub fn renew(&mut self, link: u16) {
        if let Some(Port::Window(ends)) = self.ports.get(link as usize) {
            ends.outbox.forget(u64::MAX);
        }
    }

    /// Nothing goes wrong by chance any more.
    pub fn calm(&mut self) {
        self.late = 0;
        if self.patient {
            self.fuel = None;
        }
        for port in &mut self.ports {
            if let Port::Ring(_, ends) | Port::Window(ends) = port {
                ends.damage = None;
            }
        }
    }

    fn transmit(&mut self, chan: Chan, message: &Message) -> Result<(), SendError> {
        let now = self.clock + self.spent;
        let ends = match self.ports.get_mut(chan.0 as usize) {
            Some(Port::Client { inbox, room }) => {
                if inbox.len() >= *room {
                    return Err(SendError::Full);
                }
                inbox.push_back(*message);
                self.sent += 1;
                return Ok(());
            }
            Some(Port::Ring(channel, ends)) => {
                channel.try_send(message)?;
                ends
            }
            Some(Port::Window(ends)) => {
                let link = self.links.get_mut(chan.0 as usize).and_then(Link::channel);
                link.ok_or(SendError::Closed)?.try_send(message)?;
                ends
            }
            Some(Port::Closed) | None => return Err(SendError::Closed),
        };
        self.sent += 1;
        // The line is taken from the receiver's cache; others may be on their way at the same time.
        self.spent += self.cost.send + ends.path.line / self.cost.parallel;
        let mut seen = now + self.cost.send + ends.path.line;
        if self.late > 0 {
            let most = if self.rng.one_in(DELAY.1) { self.late } else { DELAY.0 * ends.path.line };
            seen += self.rng.below(most);
        }
        let seen = ends.outbox.sent(seen, ends.path.gap);
        self.notices.push((ends.peer, seen));
        // One that was taken already cannot be lost any more.
        let strikes = |damage: &Damage| *damage != Damage::Lost || ends.outbox.pending() > 1;
        if let Some(damage) = ends.damage.filter(strikes) {
            ends.damage = None;
            self.damaged.push((ends.peer.island(), damage));
        }
        Ok(())
    }

    /// The next message on a channel that can be seen by now: `Err` if the transport failed.
    pub fn receive(&mut self, chan: Chan) -> Result<Option<Message>, String> {
        let now = self.clock + self.spent;
        if self.hold[chan.0 as usize] > now {
            return Ok(None);
        }
        let (found, ends) = match &mut self.ports[chan.0 as usize] {
            Port::Closed | Port::Client { .. } => return Ok(None),
            Port::Ring(channel, ends) => {
                if ends.inbox.next().is_none_or(|at| at > now) {
                    return Ok(None);
                }
                (channel.try_recv(), ends)
            }
            Port::Window(ends) => {
                // The peer may have sent before this end was up. What was on its way in an earlier session is not there.
                let link = self.links.get_mut(chan.0 as usize).and_then(Link::channel);
                let Some(channel) = link.filter(|_| ends.inbox.next().is_none_or(|at| at <= now)) else {
                    return Ok(None);
                };
                // What is wrong with it, the link says.
                (channel.try_recv().or(Ok(None)), ends)
            }
        };
        match found {
            Ok(Some(message)) => {
                ends.inbox.took();
                self.spent += self.cost.receive + ends.path.line;
                Ok(Some(message))
            }
            Ok(None) => {
                ends.inbox.forget(now);
                Ok(None)
            }
            Err(why) => Err(why.to_string()),
        }
    }

    /// When the next message can be seen on any channel.
    pub fn next(&self) -> Option<u64> {
        let is_up = |link: usize| self.links.get(link).is_some_and(|l| matches!(l.state(), State::Up(_)));
        let seen = |(n, (port, hold)): (usize, (&Port, &u64))| match port {
            Port::Window(_) if !is_up(n) => None,
            Port::Ring(_, ends) | Port::Window(ends) => ends.inbox.next().map(|at| at.max(*hold)),
            Port::Closed | Port::Client { .. } => None,
        };
        self.ports.iter().zip(&self.hold).enumerate().filter_map(seen).min()
    }

    /// Whether a bug of these kinds strikes.
    fn strikes(&mut self, kind: u16, kinds: &[u16], one_in: u64) -> bool {
        kinds.contains(&kind) && self.rng.one_in(one_in)
    }

    /// Sends with a bug.
    fn mutated(&mut self, bug: Bug, chan: Chan, message: &Message) -> Result<(), SendError> {
        match bug {
            Bug::Drops(kinds, one_in) if self.strikes(message.kind, kinds, one_in) => return Ok(()),
            Bug::Doubles(kinds, one_in) if self.strikes(message.kind, kinds, one_in) => {
                self.transmit(chan, message)?;
            }
            Bug::Swaps(kinds, one_in) if kinds.contains(&message.kind) && !self.is_client(chan) => {
                if let Some((at, held)) = self.swapped.take() {
                    self.transmit(chan, message)?;
                    let _ = self.transmit(at, &held);
                    return Ok(());
                }
                if self.rng.one_in(one_in) {
                    self.swapped = Some((chan, *message));
                    return Ok(());
                }
            }
            Bug::Rewrites(kind, change) if message.kind == kind => {
                let mut other = *message;
                change(&mut other);
                return self.transmit(chan, &other);
            }
            _ => {}
        }
        self.transmit(chan, message)
    }

    fn is_client(&self, chan: Chan) -> bool {
        matches!(self.ports.get(chan.0 as usize), Some(Port::Client { .. }))
    }
}

impl Sink for Ports {
    fn send(&mut self, chan: Chan, message: &Message) -> Result<(), SendError> {
        if let Some(fuel) = &mut self.fuel {
            // Dead: whatever the monitor still does in this call never happened.
            let Some(left) = fuel.checked_sub(1) else { return Ok(()) };
            *fuel = left;
        }
        match self.bug() {
            Some(bug) => self.mutated(bug, chan, message),
            None => self.transmit(chan, message),
        }
    }

    fn act(&mut self, action: Action) {
        if self.fuel != Some(0) {
            self.actions.push(action);
        }
    }
}
