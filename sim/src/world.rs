//! All cores, the scheduler, and virtual time.

use crate::agreed;
use crate::boot::Rising;
use crate::check;
use crate::faults::Fault;
use crate::load::Load;
use crate::memory::{Memory, Words};
use crate::node::Node;
use crate::plan::{CALM, Plan};
use crate::ports::Port;
use crate::rng::Rng;
use crate::share::Space;
use skerry_hal::{CoreId, Epoch, IslandId};
use skerry_monitor::ops::agree::Region as Object;
use skerry_urpc::window::Window;
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::fmt;
use std::panic::AssertUnwindSafe;

/// How long everything has to settle when load and faults have ended, in bounds.
const SETTLE: u64 = 60;

/// Plays one plan to its end.
///
/// # Errors
/// The first thing that did not hold, with the time at which it was seen; a panic of what ships is one.
pub fn run(plan: &Plan) -> Result<Summary, Failure> {
    // Whatever a panic leaves half done is the world's, which nobody sees any more.
    let played = std::panic::catch_unwind(AssertUnwindSafe(|| World::new(plan).run()));
    played.unwrap_or_else(|cause| {
        let text = cause.downcast_ref::<String>().map(String::as_str);
        let text = text.or(cause.downcast_ref::<&str>().copied()).unwrap_or_default();
        Err(Failure { seed: plan.seed, at: 0, what: format!("panic: {text}") })
    })
}

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
        write!(f, "seed {}: after {} cycles: {}", self.seed, self.at, self.what)
    }
}

/// What a run did.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Summary {
    /// Turns that cores got.
    pub turns: u64,
    /// Cycles that passed.
    pub cycles: u64,
    /// Requests that were served.
    pub served: u64,
    /// Requests that were refused.
    pub refused: u64,
    /// Round trips and stream messages that were answered for.
    pub messages: u64,
    /// Messages that were sent, of all kinds.
    pub sent: u64,
    /// Requests about what cores share that were done, and that were refused, on cores which live at the end.
    pub agreed: [u64; 2],
    /// Invocations that cores which live at the end served, that they refused, and that another core has a say in.
    pub caps: [u64; 3],
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
    /// Which of them a core is.
    pub(crate) places: Vec<Option<usize>>,
    /// Cores on their way up.
    pub(crate) rising: Vec<Rising>,
    pub(crate) memory: Memory,
    /// An address space that its cores share.
    pub(crate) space: Space,
    /// Whether it offers the shell.
    pub shell: bool,
    /// What it said once the system was up: cores, islands.
    pub system: Option<(u32, u32)>,
    pub(crate) die: bool,
}

/// What comes next.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Item {
    /// The next fault.
    Fault,
    /// The next request.
    Op,
    /// All is looked at.
    Look,
    /// A core of a life of an island is up.
    Rise { island: usize, life: u32 },
    /// A turn of one of its cores that run.
    Turn { island: usize, life: u32, node: usize },
}

/// Everything.
pub struct World {
    /// What is simulated.
    pub plan: Plan,
    /// Cores of each island.
    pub cores: Vec<u16>,
    /// Now, in cycles.
    pub now: u64,
    /// The islands.
    pub islands: Vec<Island>,
    /// The requests.
    pub load: Load,
    pub(crate) windows: Vec<(Words, [crate::wire::Wire; 2])>,
    next_fault: usize,
    next_op: usize,
    /// What comes, by time; at the same time, in an order that the seed decides.
    agenda: BinaryHeap<Reverse<(u64, u64, Item)>>,
    /// Deaths that survivors must agree on: island, epoch, until when.
    pub deaths: Vec<(IslandId, Epoch, u64)>,
    /// Revocations that were begun, by island of the owner.
    pub(crate) revoked: Vec<(CoreId, Object)>,
    pub(crate) rng: Rng,
    /// All was as it should be when it was looked at last.
    rests: bool,
    /// When a message in a window was damaged last: its receiver may see that only when the next one comes.
    struck: u64,
    summary: Summary,
}

impl World {
    /// The world before its first step.
    pub fn new(plan: &Plan) -> Self {
        let window = |_: &_| (Words::new(Window::min_bytes(0)), Default::default());
        let mut world = Self {
            now: 0,
            cores: plan.cores(),
            islands: Vec::new(),
            load: Load::new(plan.bound),
            windows: plan.machine.links.iter().map(window).collect(),
            next_fault: 0,
            next_op: 0,
            agenda: BinaryHeap::new(),
            deaths: Vec::new(),
            revoked: Vec::new(),
            rng: Rng::new(plan.seed),
            rests: false,
            struck: 0,
            summary: Summary::default(),
            plan: plan.clone(),
        };
        for island in 0..world.cores.len() {
            world.islands.push(Island::new(world.cores[island]));
            world.boot(island);
        }
        world.follow(plan.faults.first().map(|(at, _)| *at), Item::Fault);
        world.follow(plan.ops.first().map(|(at, _)| *at), Item::Op);
        world.follow(Some(plan.bound), Item::Look);
        world
    }

    /// Plays to the end.
    ///
    /// # Errors
    /// The first thing that does not hold.
    pub fn run(mut self) -> Result<Summary, Failure> {
        let failure = |world: &Self, what| Failure { seed: world.plan.seed, at: world.now, what };
        let end = (CALM + SETTLE) * self.plan.bound;
        while !self.rests {
            if self.now >= end {
                let why = check::agreement(&self).and_then(|()| check::at_rest(&self));
                let why = why.and_then(|()| agreed::at_end(&mut self));
                let what = why.err().unwrap_or_else(|| "it never comes to rest".into());
                return Err(failure(&self, what));
            }
            self.step().map_err(|what| failure(&self, what))?;
        }
        for (island, from, to) in check::last_pings(&mut self) {
            let now = self.now;
            self.load.ping(&mut self.islands[island].nodes[0], from, to, 2, now, true);
            self.deliver(island, 0);
            while !self.load.open.is_empty() {
                self.step().map_err(|what| failure(&self, what))?;
            }
        }
        agreed::at_end(&mut self).map_err(|what| failure(&self, what))?;
        check::all_types(&mut self).map_err(|what| failure(&self, what))?;
        let nodes = || self.islands.iter().flat_map(|i| &i.nodes);
        let sent = nodes().map(|n| n.ports.sent).sum();
        let agreed = [0, 1].map(|n| nodes().map(|node| node.share.counts[n]).sum());
        let caps = [0, 1, 2].map(|n| nodes().map(|node| node.caps.counts[n]).sum());
        let Load { served, refused, messages, .. } = self.load;
        Ok(Summary { served, refused, messages, sent, caps, agreed, cycles: self.now, ..self.summary })
    }

    /// Says what happens, if asked to.
    pub(crate) fn trace(&self, what: impl FnOnce() -> String) {
        if self.plan.trace {
            println!("[{:>9}] {}", self.now, what());
        }
    }

    /// Whether load and faults have ended, and all is as it should be.
    pub(crate) fn at_rest(&self) -> bool {
        let over = !self.is_rough()
            && self.now > self.struck + self.plan.bound
            && self.next_fault == self.plan.faults.len()
            && self.next_op == self.plan.ops.len();
        let stopped = |i: &Island| {
            i.paused_until > self.now
                || i.nodes.iter().any(|n| n.paused_until > self.now)
                || !i.rising.is_empty()
        };
        over && self.load.open.is_empty()
            && self.deaths.is_empty()
            && !self.islands.iter().any(|i| i.alive && stopped(i))
            && self
                .islands
                .iter()
                .flat_map(|i| &i.nodes)
                .all(|n| n.ends.wanted.is_empty() && n.share.asked.is_empty() && n.monitor.is_agreed())
            && check::agreement(self).is_ok()
            && check::at_rest(self).is_ok()
    }

    /// Whether things may still go wrong by chance.
    pub(crate) fn is_rough(&self) -> bool {
        self.now < CALM * self.plan.bound
    }

    /// Puts something on the agenda.
    fn follow(&mut self, at: Option<u64>, item: Item) {
        if let Some(at) = at {
            self.agenda.push(Reverse((at, self.rng.next(), item)));
        }
    }

    /// The next thing that happens.
    pub(crate) fn step(&mut self) -> Result<(), String> {
        let Some(Reverse((at, _, item))) = self.agenda.pop() else {
            return Err("nothing happens any more".into());
        };
        self.now = self.now.max(at);
        match item {
            Item::Fault => {
                let (_, fault) = self.plan.faults[self.next_fault];
                self.next_fault += 1;
                self.follow(self.plan.faults.get(self.next_fault).map(|(at, _)| *at), Item::Fault);
                self.apply(fault);
            }
            Item::Op => {
                let (_, op) = self.plan.ops[self.next_op];
                self.next_op += 1;
                self.follow(self.plan.ops.get(self.next_op).map(|(at, _)| *at), Item::Op);
                if let Some(node) = self.place(op.island, op.local)
                    && self.stopped(op.island, node) <= self.now
                {
                    let running = &mut self.islands[op.island].nodes[node];
                    self.load.issue(&self.cores, running, self.now, op.what);
                    agreed::act(self, op.island, node, op.what)?;
                    self.deliver(op.island, node);
                    check::types(self, op.island, node)?;
                }
            }
            Item::Look => {
                self.follow(Some(self.now + self.plan.bound / 4), Item::Look);
                if !self.is_rough() {
                    self.islands.iter_mut().flat_map(|i| &mut i.nodes).for_each(|n| n.ports.calm());
                }
                check::look(self)?;
                self.rests = self.at_rest();
            }
            Item::Rise { island, life } => {
                if self.islands[island].lives == life {
                    self.rise(island)?;
                }
            }
            Item::Turn { island, life, node } => {
                let host = &self.islands[island];
                // A core that was woken sooner, or an island that died since.
                if host.lives != life || host.nodes.get(node).is_none_or(|n| n.wake != at) {
                    return Ok(());
                }
                let stopped = self.stopped(island, node);
                if stopped > self.now {
                    self.islands[island].nodes[node].wake = u64::MAX;
                    self.wake(island, node, stopped);
                } else {
                    self.turn(island, node)?;
                }
            }
        }
        Ok(())
    }

    /// One turn of one core.
    fn turn(&mut self, island: usize, node: usize) -> Result<(), String> {
        self.summary.turns += 1;
        let now = self.now;
        let running = &mut self.islands[island].nodes[node];
        running.wake = u64::MAX;
        running
            .turn(now, &mut self.rng, self.plan.bound)
            .map_err(|s| format!("{} took a message from {} in epoch {}", running.core, s.src, s.epoch))?;
        self.load.read(running, now)?;
        running.ends.turn(now, &mut self.rng, &mut running.monitor, &mut running.ports)?;
        running.free = now + running.ports.spent;
        self.summary.digest = self.summary.digest.rotate_left(5) ^ running.ports.sent ^ now;
        for action in std::mem::take(&mut running.ports.actions) {
            self.act(island, node, action)?;
        }
        self.deliver(island, node);
        agreed::settled(self, island, node)?;
        check::types(self, island, node)?;
        check::step(self, island, node)?;
        let ports = &self.islands[island].nodes[node].ports;
        let spent = if ports.patient { ports.fuel == Some(0) } else { ports.fuel.is_some() };
        if self.islands[island].die || spent {
            self.kill(island);
        }
        Ok(())
    }

    /// What a core has sent is on its way; its next turn is on the agenda.
    pub(crate) fn deliver(&mut self, island: usize, node: usize) {
        let ports = &mut self.islands[island].nodes[node].ports;
        let (notices, damaged) = (std::mem::take(&mut ports.notices), std::mem::take(&mut ports.damaged));
        for (peer, damage) in damaged {
            let pair = (peer.0.min(island as u16), peer.0.max(island as u16));
            if let Some(link) = self.plan.machine.links.iter().position(|link| *link == pair) {
                // The lower island, side A, reads the first block and writes the second.
                self.windows[link].0.damage(pair.0 == island as u16, damage);
                self.struck = self.now;
            }
        }
        for (core, at) in &notices {
            let host = core.island().0 as usize;
            if let Some(place) = self.islands[host].places[usize::from(core.local())] {
                self.wake(host, place, *at);
            }
        }
        let running = &mut self.islands[island].nodes[node];
        // The room in it is used again.
        running.ports.notices = notices;
        running.ports.notices.clear();
        let next = running.next(self.now);
        self.wake(island, node, next);
    }

    /// A core runs at `at`, or sooner.
    pub(crate) fn wake(&mut self, island: usize, node: usize, at: u64) {
        let life = self.islands[island].lives;
        let running = &mut self.islands[island].nodes[node];
        let at = at.max(running.free).max(self.now);
        if at < running.wake {
            running.wake = at;
            self.follow(Some(at), Item::Turn { island, life, node });
        }
    }

    /// A core of `island` comes up at `at`.
    pub(crate) fn rises(&mut self, island: usize, at: u64) {
        let life = self.islands[island].lives;
        self.follow(Some(at), Item::Rise { island, life });
    }

    fn apply(&mut self, fault: Fault) {
        self.summary.faults += 1;
        self.trace(|| fault.to_string());
        let now = self.now;
        match fault {
            Fault::Kill { island, node, sends } if self.islands[island].alive => {
                let nodes = self.islands[island].nodes.len();
                // It dies when that core runs next, after so many messages.
                self.islands[island].nodes[node % nodes].ports.fuel = Some(sends);
                self.wake(island, node % nodes, now);
            }
            Fault::KillAfter { island, sends } if self.islands[island].alive => {
                let ports = &mut self.islands[island].nodes[0].ports;
                (ports.fuel, ports.patient) = (Some(sends), true);
            }
            Fault::Pause { island, ticks } => {
                self.islands[island].paused_until = now + ticks;
                self.extend(ticks);
            }
            Fault::PauseCore { island, local, ticks } => {
                if let Some(node) = self.place(island, local) {
                    self.islands[island].nodes[node].paused_until = now + ticks;
                    self.extend(ticks);
                }
            }
            Fault::Late { island, local, chan, ticks } => {
                if let Some(node) = self.place(island, local) {
                    let hold = &mut self.islands[island].nodes[node].ports.hold;
                    let chan = usize::from(chan) % hold.len();
                    hold[chan] = now + ticks;
                }
            }
            Fault::Link { link, up, damage } => {
                let (lower, higher) = self.plan.machine.links[link];
                let (from, to) = if up { (lower, higher) } else { (higher, lower) };
                if let Some(first) = self.islands[from as usize].nodes.first_mut() {
                    for port in &mut first.ports.ports {
                        if let Port::Window(ends) = port
                            && ends.peer.island() == IslandId(to)
                        {
                            ends.damage = Some(damage);
                        }
                    }
                }
            }
            Fault::Restart { island } if !self.islands[island].alive => self.boot(island),
            Fault::Kill { .. } | Fault::KillAfter { .. } | Fault::Restart { .. } => {}
        }
    }

    /// Until when a core stands still.
    fn stopped(&self, island: usize, node: usize) -> u64 {
        self.islands[island].paused_until.max(self.islands[island].nodes[node].paused_until)
    }

    fn place(&self, island: usize, local: u16) -> Option<usize> {
        self.islands[island].places.get(usize::from(local)).copied().flatten()
    }

    /// Whoever stood still could not answer, nor notice.
    fn extend(&mut self, ticks: u64) {
        self.load.extend(ticks);
        for node in self.islands.iter_mut().flat_map(|i| &mut i.nodes) {
            node.ends.extend(ticks);
            node.share.extend(ticks);
        }
        self.deaths.iter_mut().for_each(|(.., due)| *due += ticks);
    }

    /// Nothing of the island runs any more.
    fn kill(&mut self, island: usize) {
        let id = IslandId(island as u16);
        // It may have died before it told anybody of a new one.
        let told = self.windows_of(island).map(|(window, ..)| window.previous_epoch()).max();
        let epoch = self.islands[island].nodes[0].monitor.epoch();
        let epoch = told.map_or(epoch, |told| told.min(epoch));
        self.trace(|| format!("island {id} is dead (epoch {epoch})"));
        let dead = &mut self.islands[island];
        (dead.alive, dead.die, dead.shell, dead.system) = (false, false, false, None);
        dead.nodes.clear();
        dead.places.fill(None);
        dead.rising.clear();
        self.load.forget(id);
        let stops =
            self.islands.iter().flat_map(|i| i.nodes.iter().map(|n| n.paused_until).chain([i.paused_until]));
        let paused = stops.max().unwrap_or(0).saturating_sub(self.now);
        self.deaths.push((id, epoch, self.now + 3 * self.plan.bound + paused));
    }
}

impl Island {
    fn new(cores: u16) -> Self {
        Self {
            alive: false,
            paused_until: 0,
            lives: 0,
            nodes: Vec::new(),
            places: vec![None; cores.into()],
            rising: Vec::new(),
            memory: Memory::new(cores),
            space: Space::default(),
            shell: false,
            system: None,
            die: false,
        }
    }
}
