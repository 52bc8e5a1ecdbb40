//! All cores, the scheduler, and virtual time.

use crate::check;
use crate::ends::Ends;
use crate::faults::{self, Fault};
use crate::load::Load;
use crate::memory::{LAYOUT, Memory, Words};
use crate::node::{Node, Port, Ports};
use crate::plan::{Mutant, Plan};
use crate::rng::Rng;
use crate::server::Server;
use skerry_hal::{CoreId, Epoch, Isa, IslandId};
use skerry_monitor::{Action, Announce, Chan, Config, Event, Frames, LocalCore, Monitor};
use skerry_urpc::greeting::Identity;
use skerry_urpc::window::{Link, LinkConfig, Side, Window};
use skerry_urpc::{Channel, Layout};
use std::fmt;

/// The bound on silence and on answers, in ticks.
pub const BOUND: u64 = 100_000;
/// How long islands are waited for.
const JOIN: u64 = 6 * BOUND;
/// How long one core may be silent before it takes its island down.
const CORE_PAUSE: u64 = 8 * BOUND;
/// Longest time from one turn to the next, while there is work.
const STEP: u64 = 400;
/// When load and faults begin to end.
const CALM: u64 = 30 * BOUND;
/// How long everything then has to settle.
const SETTLE: u64 = 30 * BOUND;

/// What did not hold.
#[derive(Clone, Debug)]
pub struct Failure {
    /// In which run.
    pub seed: u64,
    /// When.
    pub at: u64,
    /// What.
    pub what: String,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "seed {}: after {} ticks: {}", self.seed, self.at, self.what)
    }
}

/// What a run did.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Summary {
    /// Turns that cores got.
    pub turns: u64,
    /// Requests that were served.
    pub served: u64,
    /// Requests that were refused.
    pub refused: u64,
    /// Round trips and stream messages that were answered for.
    pub messages: u64,
    /// Messages that were sent, of all kinds.
    pub sent: u64,
    /// Faults.
    pub faults: u64,
    /// A digest of all that happened: equal for equal seeds.
    pub digest: u64,
}

/// One island.
pub struct Island {
    /// Whether it runs.
    pub alive: bool,
    /// Stopped until then.
    pub paused_until: u64,
    /// How often it booted.
    pub lives: u32,
    /// Its cores that run, first core first.
    pub nodes: Vec<Node>,
    /// Cores on their way up: when, which, and their channel to the first.
    starting: Vec<(u64, CoreId, Frames)>,
    memory: Memory,
    /// Whether it offers the shell.
    pub shell: bool,
    /// What it said once the system was up: cores, islands.
    pub system: Option<(u32, u32)>,
    die: bool,
}

/// Everything.
pub struct World {
    /// What is simulated.
    pub plan: Plan,
    /// Now.
    pub now: u64,
    /// The islands.
    pub islands: Vec<Island>,
    /// The requests.
    pub load: Load,
    windows: Vec<((u16, u16), Words)>,
    faults: Vec<(u64, Fault)>,
    /// Deaths that survivors must agree on: island, epoch, until when.
    pub deaths: Vec<(IslandId, Epoch, u64)>,
    rng: Rng,
    next_load: u64,
    idle: usize,
    summary: Summary,
}

impl World {
    /// The world before its first step.
    pub fn new(plan: &Plan) -> Self {
        let mut rng = Rng::new(plan.seed);
        let faults = faults::draw(plan, &mut rng);
        let window = |&link| (link, Words::new(Window::min_bytes(0)));
        let mut world = Self {
            now: 0,
            islands: Vec::new(),
            load: Load::default(),
            windows: plan.links.iter().map(window).collect(),
            faults,
            deaths: Vec::new(),
            rng,
            next_load: BOUND,
            idle: 0,
            summary: Summary::default(),
            plan: plan.clone(),
        };
        for island in 0..plan.islands.len() {
            let first = CoreId::new(IslandId(island as u16), 0);
            world.islands.push(Island {
                alive: false,
                paused_until: 0,
                lives: 0,
                nodes: Vec::new(),
                starting: Vec::new(),
                memory: Memory::new(first),
                shell: false,
                system: None,
                die: false,
            });
            world.boot(island);
        }
        world
    }

    /// Plays to the end.
    ///
    /// # Errors
    /// The first thing that does not hold.
    pub fn run(mut self) -> Result<Summary, Failure> {
        let failure = |world: &Self, what| Failure { seed: world.plan.seed, at: world.now, what };
        while self.now < CALM + SETTLE {
            self.step().map_err(|what| failure(&self, what))?;
        }
        check::agreement(&self).map_err(|what| failure(&self, what))?;
        check::at_rest(&self).map_err(|what| failure(&self, what))?;
        for (island, from, to) in check::last_pings(&self) {
            let now = self.now;
            self.load.ping(&mut self.islands[island].nodes[0], from, to, 2, now, true);
            while !self.load.open.is_empty() {
                self.step().map_err(|what| failure(&self, what))?;
            }
        }
        let sent = self.islands.iter().flat_map(|i| &i.nodes).map(|n| n.ports.sent).sum();
        let Load { served, refused, messages, .. } = self.load;
        Ok(Summary { served, refused, messages, sent, ..self.summary })
    }

    /// Says what happens, if asked to.
    fn trace(&self, what: impl FnOnce() -> String) {
        if self.plan.trace {
            println!("[{:>9}] {}", self.now, what());
        }
    }

    /// One turn of one core.
    fn step(&mut self) -> Result<(), String> {
        self.apply_faults();
        if self.now >= self.next_load && self.now < CALM {
            self.next_load = self.now + self.rng.below(BOUND / 4);
            if let Some((island, node)) = self.any_node() {
                let mut rng = Rng::new(self.rng.next());
                self.load.issue(&self.plan, &mut self.islands[island].nodes[node], self.now, &mut rng);
            }
        }
        let Some((island, node)) = self.any_node() else {
            self.skip();
            return Ok(());
        };
        self.summary.turns += 1;
        let mut busy = self.start_due(island);
        let faults = self.plan.faults && self.now < CALM;
        let running = &mut self.islands[island].nodes[node];
        busy |= running
            .turn(self.now, &mut self.rng, faults)
            .map_err(|s| format!("{} took a message from {} in epoch {}", running.core, s.src, s.epoch))?;
        busy |= self.load.read(running, self.now)?;
        let new = self.now < CALM && self.now > BOUND;
        busy |= running.ends.turn(
            (self.now, new),
            &self.plan.islands,
            &mut self.rng,
            &mut running.monitor,
            &mut running.ports,
        )?;
        self.summary.digest = self.summary.digest.rotate_left(5) ^ running.ports.sent ^ self.now;
        for action in std::mem::take(&mut running.ports.actions) {
            self.act(island, node, action)?;
        }
        let ports = &self.islands[island].nodes[node].ports;
        let spent = if ports.patient { ports.fuel == Some(0) } else { ports.fuel.is_some() };
        if self.islands[island].die || spent {
            self.kill(island);
        }
        check::step(self, island)?;
        self.idle = if busy { 0 } else { self.idle + 1 };
        self.now += self.rng.below(STEP);
        let running: usize = self.islands.iter().map(|i| i.nodes.len()).sum();
        if self.idle > 3 * running {
            self.skip();
        }
        Ok(())
    }

    /// A core that can run.
    fn any_node(&mut self) -> Option<(usize, usize)> {
        let now = self.now;
        let runs = |i: &Island| i.alive && i.paused_until <= now;
        let all: Vec<(usize, usize)> = self
            .islands
            .iter()
            .enumerate()
            .filter(|(_, i)| runs(i))
            .flat_map(|(at, i)| {
                i.nodes.iter().enumerate().filter(|(_, n)| n.paused_until <= now).map(move |(n, _)| (at, n))
            })
            .collect();
        if all.is_empty() { None } else { Some(*self.rng.pick(&all)) }
    }

    /// Nobody has anything to do: on to when somebody has.
    fn skip(&mut self) {
        self.idle = 0;
        let mut next = self.now + BOUND / 8;
        for island in self.islands.iter().filter(|i| i.alive) {
            let nodes = island.nodes.iter().filter_map(Node::deadline);
            let holds = island.nodes.iter().flat_map(|n| n.ports.hold.iter().copied());
            let starts = island.starting.iter().map(|(at, ..)| *at);
            let ends = [island.paused_until];
            for at in nodes.chain(starts).chain(ends).chain(holds).filter(|at| *at > self.now) {
                next = next.min(at);
            }
        }
        self.now = next;
    }

    fn apply_faults(&mut self) {
        while let Some(&(at, fault)) = self.faults.first().filter(|(at, _)| *at <= self.now) {
            self.faults.remove(0);
            self.summary.faults += 1;
            self.trace(|| format!("{fault:?}"));
            match fault {
                Fault::Kill { island } if self.islands[island].alive => {
                    let node = self.rng.below(self.islands[island].nodes.len() as u64) as usize;
                    let fuel = self.rng.below(4) as u32;
                    // It dies when that core runs next, after so many messages.
                    self.islands[island].nodes[node].ports.fuel = Some(fuel);
                }
                Fault::KillAfter { island, sends } if self.islands[island].alive => {
                    let ports = &mut self.islands[island].nodes[0].ports;
                    (ports.fuel, ports.patient) = (Some(sends), true);
                }
                Fault::Pause { island, ticks } => {
                    self.islands[island].paused_until = at + ticks;
                    self.extend(ticks);
                }
                Fault::PauseCore { island, local, ticks } => {
                    let core = CoreId::new(IslandId(island as u16), local);
                    if let Some(node) = self.islands[island].nodes.iter_mut().find(|n| n.core == core) {
                        node.paused_until = at + ticks;
                        self.extend(ticks);
                    }
                }
                Fault::Restart { island } if !self.islands[island].alive => self.boot(island),
                Fault::Kill { .. } | Fault::KillAfter { .. } | Fault::Restart { .. } => {}
            }
        }
    }

    /// Whoever stood still could not answer, nor notice.
    fn extend(&mut self, ticks: u64) {
        self.load.extend(ticks);
        self.islands.iter_mut().flat_map(|i| &mut i.nodes).for_each(|n| n.ends.extend(ticks));
        self.deaths.iter_mut().for_each(|(.., due)| *due += ticks);
    }

    /// Nothing of the island runs any more.
    fn kill(&mut self, island: usize) {
        let id = IslandId(island as u16);
        let epoch = self.islands[island].nodes[0].monitor.epoch();
        self.trace(|| format!("island {id} is dead (epoch {epoch})"));
        let dead = &mut self.islands[island];
        (dead.alive, dead.die, dead.shell, dead.system) = (false, false, false, None);
        dead.nodes.clear();
        dead.starting.clear();
        self.load.forget(id);
        let stops =
            self.islands.iter().flat_map(|i| i.nodes.iter().map(|n| n.paused_until).chain([i.paused_until]));
        let paused = stops.max().unwrap_or(0).saturating_sub(self.now);
        self.deaths.push((id, epoch, self.now + 3 * BOUND + paused));
    }

    /// The first core of an island comes up.
    fn boot(&mut self, island: usize) {
        let id = IslandId(island as u16);
        let core = CoreId::new(id, 0);
        let mut config = Config::new(core, Isa::Host);
        (config.bound, config.join_bound, config.pause_bound) = (BOUND, JOIN, CORE_PAUSE);
        config.frequency = 1_000_000;
        config.start_window = 1 + self.rng.below(3) as u16;
        config.cores =
            (0..self.plan.islands[island]).map(|local| LocalCore { local, node: local / 2 }).collect();
        let mut windows = Vec::new();
        for ((a, b), words) in &self.windows {
            let peer = match id.0 {
                id if id == *a => *b,
                id if id == *b => *a,
                _ => continue,
            };
            let side = Side::of(id, IslandId(peer)).expect("a link joins two islands");
            let window = Window::new(words.block(), side, 0).expect("the window has room for one channel");
            windows.push((window, IslandId(peer)));
            config.links.push(IslandId(peer));
        }
        let previous = windows.iter().map(|(w, _)| w.previous_epoch()).max().unwrap_or_default();
        config.epoch = previous.next();
        let identity = Identity { core, epoch: config.epoch, features: 0 };
        let mut ports = Ports::new(self.plan.mutant, self.rng.next());
        for (n, (window, peer)) in windows.iter().enumerate() {
            let config = LinkConfig { identity, peer: *peer, bound: BOUND };
            ports.links.push(Link::new(window, config, self.now).expect("a window is never too small"));
            ports.put(Chan(n as u16), Port::Window);
        }
        let epoch = config.epoch;
        let monitor = Monitor::new(config, self.now);
        let node = self.node(core, monitor, ports);
        let booted = &mut self.islands[island];
        booted.memory = Memory::new(core);
        booted.memory.shares = self.plan.mutant == Some(Mutant::SharesBlocks);
        (booted.alive, booted.paused_until, booted.lives) = (true, 0, booted.lives + 1);
        booted.nodes = vec![node];
        self.trace(|| format!("island {id} boots in epoch {epoch}"));
    }

    /// A core with its monitor, which starts at once.
    fn node(&mut self, core: CoreId, mut monitor: Monitor, mut ports: Ports) -> Node {
        let client = monitor.open_client().expect("a new monitor has channels to spare");
        ports.put(client, Load::client());
        let server = monitor.open_server().expect("a new monitor has channels to spare");
        ports.put(server, Load::client());
        let events = vec![(self.now, Event::Start)];
        let (server, ends) = ((server, Server::default()), Ends::default());
        Node { core, monitor, ports, client, server, ends, events, paused_until: 0 }
    }

    /// Cores whose time has come are up.
    fn start_due(&mut self, island: usize) -> bool {
        let due = self.islands[island].starting.iter().position(|(at, ..)| *at <= self.now);
        let Some(due) = due else { return false };
        let (_, core, frames) = self.islands[island].starting.remove(due);
        let mut config = Config::new(core, Isa::Host);
        (config.bound, config.join_bound, config.pause_bound) = (BOUND, JOIN, CORE_PAUSE);
        config.node = core.local() / 2;
        config.frequency = 1_000_000;
        let mut ports = Ports::new(self.plan.mutant, self.rng.next());
        if let Some(channel) = self.channel(island, &frames) {
            ports.put(Chan(0), Port::Ring(channel));
        }
        let monitor = Monitor::new(config, self.now);
        let node = self.node(core, monitor, ports);
        self.islands[island].nodes.push(node);
        self.trace(|| format!("core {core} starts"));
        true
    }

    /// The end of a channel that sees these blocks.
    fn channel(&self, island: usize, frames: &Frames) -> Option<Channel> {
        let memory = &self.islands[island].memory;
        let layout = Layout { slots: frames.slots.into(), stride: frames.stride.into() };
        Channel::new(memory.block(frames.inbox)?, memory.block(frames.outbox)?, layout).ok()
    }

    /// Two new blocks.
    fn frames(&mut self, island: usize) -> Result<Frames, String> {
        let memory = &mut self.islands[island].memory;
        let made = |e| format!("a block for a channel of island {island}: {e}");
        let (inbox, outbox) = (memory.make().map_err(made)?, memory.make().map_err(made)?);
        let (bytes, slots, stride) = (LAYOUT.block_bytes() as u32, LAYOUT.slots as u16, LAYOUT.stride as u16);
        Ok(Frames { inbox, outbox, bytes, slots, stride })
    }

    /// Does what a monitor wants done: the part of a domain binary.
    fn act(&mut self, island: usize, node: usize, action: Action) -> Result<(), String> {
        let core = self.islands[island].nodes[node].core;
        if !matches!(action, Action::Log { level: 4.., .. }) {
            self.trace(|| format!("{core}: {action:?}"));
        }
        let later = self.now + self.rng.below(BOUND / 8);
        let fails = self.plan.faults && self.rng.one_in(24);
        match action {
            Action::StartCore { core, chan, .. } => {
                let frames = self.frames(island)?;
                if fails {
                    let failed = Event::StartFailed { core, why: "it does not exist".into() };
                    self.islands[island].nodes[node].events.push((later, failed));
                    return Ok(());
                }
                if let Some(channel) = self.channel(island, &frames) {
                    self.islands[island].nodes[node].ports.put(chan, Port::Ring(channel));
                }
                let swapped = Frames { inbox: frames.outbox, outbox: frames.inbox, ..frames };
                self.islands[island].starting.push((later, core, swapped));
            }
            Action::MakeChannel { a, b, .. } => {
                let frames = if fails { None } else { Some(self.frames(island)?) };
                self.islands[island].nodes[node].events.push((later, Event::ChannelMade { a, b, frames }));
            }
            Action::AdoptChannel { chan, frames, .. } => {
                let event = match self.channel(island, &frames).filter(|_| !fails) {
                    Some(channel) => {
                        self.islands[island].nodes[node].ports.put(chan, Port::Ring(channel));
                        Event::ChannelUp { chan }
                    }
                    None => Event::ChannelClosed { chan, why: "no memory to map it".into() },
                };
                self.islands[island].nodes[node].events.push((later, event));
            }
            Action::CloseChannel { chan } => self.islands[island].nodes[node].ports.put(chan, Port::Closed),
            Action::NewEpoch { epoch } => {
                let now = self.now;
                for link in &mut self.islands[island].nodes[node].ports.links {
                    link.rejoin(epoch, now)
                        .map_err(|e| format!("{core} cannot rejoin in epoch {epoch}: {e:?}"))?;
                }
            }
            Action::RefuseEpoch { link, epoch } => {
                self.islands[island].nodes[node].ports.links[link as usize].refuse(epoch);
            }
            Action::CoreSilent { .. } => self.islands[island].die = true,
            Action::Shell { offer } => self.islands[island].shell = offer,
            Action::Announce(Announce::System { cores, islands }) => {
                self.islands[island].system = Some((cores, islands));
            }
            Action::Proxy { token, proxy } => {
                self.islands[island].nodes[node].ends.answered(token, proxy, &mut self.rng)?;
            }
            Action::ProxyClosed { proxy, .. } => self.islands[island].nodes[node].ends.closed(proxy)?,
            Action::RunProgram { link, .. } => {
                return Err(format!("{core} runs a program for link {link}, though nobody asked"));
            }
            Action::StopCore => return Err(format!("{core} stops, though nobody asked")),
            Action::PowerOff => return Err(format!("{core} turns its island off, though nobody asked")),
            Action::Announce(Announce::Island { .. }) | Action::Log { .. } | Action::LogLevel { .. } => {}
        }
        Ok(())
    }
}
