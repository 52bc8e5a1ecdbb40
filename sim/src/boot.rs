//! Cores come up, and a monitor's orders are carried out: the part of a domain binary.

use crate::caps::Caps;
use crate::check;
use crate::ends;
use crate::faults::CORE_PAUSE;
use crate::kernel::Core;
use crate::knowledge;
use crate::load::Load;
use crate::memory::{LAYOUT, Memory};
use crate::mutants::Bug;
use crate::node::Node;
use crate::ports::{Ends, Port, Ports};
use crate::server::Server;
use crate::share::{Share, Space};
use crate::topology::Path;
use crate::wire::Wire;
use crate::world::{Island, World};
use skerry_abi::domain::slot;
use skerry_abi::{CapType, Error, Op, PAGE_SIZE, PhysAddr, PhysRange};
use skerry_hal::{CoreId, Isa, IslandId};
use skerry_monitor::{Action, Announce, Chan, Config, Event, Frames, LocalCore, Monitor};
use skerry_urpc::greeting::Identity;
use skerry_urpc::window::{Link, LinkConfig, Side, Window};
use skerry_urpc::{Channel, Layout};

/// How long islands are waited for, in bounds.
const JOIN: u64 = 6;

/// A core on its way up.
pub struct Rising {
    /// Which.
    pub core: CoreId,
    /// Its channel to the first core.
    pub frames: Frames,
    /// Its RAM.
    pub part: PhysRange,
}

impl World {
    /// What every monitor is told.
    fn config(&self, core: CoreId) -> Config {
        let (bound, island) = (self.plan.bound, core.island().0 as usize);
        let mut config = Config::new(core, Isa::Host);
        (config.bound, config.join_bound, config.pause_bound) = (bound, JOIN * bound, CORE_PAUSE * bound);
        config.frequency = self.plan.machine.mhz * 1_000_000;
        config.node = core.local() / self.plan.machine.islands[island].package;
        config
    }

    fn ports(&mut self) -> Ports {
        let late = if self.is_rough() && self.plan.kinds.has("late") { self.plan.bound / 3 } else { 0 };
        Ports::new(self.plan.mutant, late, self.plan.machine.cost, self.rng.next())
    }

    /// An island's windows: what it sees of each, which island is at the other end, the wire to there and the one back.
    pub(crate) fn windows_of(&self, island: usize) -> impl Iterator<Item = (Window, IslandId, [Wire; 2])> {
        let id = island as u16;
        let all = self.plan.machine.links.iter().zip(&self.windows);
        all.filter(move |((a, b), _)| [*a, *b].contains(&id)).map(move |((a, b), (words, [up, down]))| {
            let (peer, wires) = if id == *a { (*b, [up, down]) } else { (*a, [down, up]) };
            let side = Side::of(IslandId(id), IslandId(peer)).expect("a link joins two islands");
            let window = Window::new(words.block(), side, 0).expect("the window has room for one channel");
            (window, IslandId(peer), wires.map(Wire::clone))
        })
    }

    /// The first core of an island comes up.
    pub(crate) fn boot(&mut self, island: usize) {
        let id = IslandId(island as u16);
        let core = CoreId::new(id, 0);
        let mut config = self.config(core);
        config.start_window = 1 + self.rng.below(3) as u16;
        let package = self.plan.machine.islands[island].package;
        config.cores =
            (0..self.cores[island]).map(|local| LocalCore { local, node: local / package }).collect();
        let mut ports = self.ports();
        let mut windows = Vec::new();
        for (n, (window, peer, [outbox, inbox])) in self.windows_of(island).enumerate() {
            let (peer, path) = (CoreId::new(peer, 0), self.plan.machine.link);
            ports.put(Chan(n as u16), Port::Window(Ends { peer, inbox, outbox, path, damage: None }));
            windows.push((window, peer.island()));
            config.links.push(peer.island());
        }
        let previous = windows.iter().map(|(w, _)| w.previous_epoch()).max().unwrap_or_default();
        config.epoch = previous.next();
        let identity = Identity { core, epoch: config.epoch, features: 0 };
        for (window, peer) in &windows {
            let config = LinkConfig { identity, peer: *peer, bound: self.plan.bound };
            ports.links.push(Link::new(window, config, self.now).expect("a window is never too small"));
        }
        let epoch = config.epoch;
        let monitor = Monitor::new(config, self.now);
        let cores = self.cores[island];
        let booted = &mut self.islands[island];
        (booted.memory, booted.space) = (Memory::new(cores), Space::default());
        let ram = &booted.memory.ram;
        let kernel = Core::boot(ram, core, ram.whole(), &[]).expect("an island has RAM for its first core");
        (booted.alive, booted.paused_until, booted.lives) = (true, 0, booted.lives + 1);
        self.join(core, kernel, monitor, ports);
        self.trace(|| format!("island {id} boots in epoch {epoch}"));
    }

    /// A core with its monitor, which starts at once.
    fn join(&mut self, core: CoreId, kernel: Core, mut monitor: Monitor, mut ports: Ports) {
        let cores = self.plan.machine.cores();
        let client = monitor.open_client().expect("a new monitor has channels to spare");
        ports.put(client, Load::client(cores));
        let server = monitor.open_server().expect("a new monitor has channels to spare");
        ports.put(server, Load::client(cores));
        let skb = (core.local() == 0).then(|| {
            let chan = monitor.open_knowledge().expect("a new monitor has channels to spare");
            ports.put(chan, Load::client(cores));
            (chan, knowledge::service(&self.plan.machine, core.island(), monitor.epoch(), self.plan.bound))
        });
        let events = vec![(self.now, Event::Start)];
        let (server, ends) = ((server, Server::default()), ends::Ends::default());
        let (wake, look) = (u64::MAX, self.now);
        let (caps, regions, paused_until, free) = (Caps::default(), (Vec::new(), 1), 0, 0);
        monitor.open_agreement();
        let share = Share::new(core, kernel.roots.clone());
        let settled = Vec::new();
        let node = Node {
            core,
            kernel,
            caps,
            regions,
            monitor,
            ports,
            client,
            server,
            share,
            settled,
            skb,
            ends,
            events,
            paused_until,
            free,
            wake,
            look,
        };
        let host = core.island().0 as usize;
        let island = &mut self.islands[host];
        island.places[usize::from(core.local())] = Some(island.nodes.len());
        island.nodes.push(node);
        let place = island.nodes.len() - 1;
        self.wake(host, place, self.now);
    }

    /// The first of the cores on their way is up.
    ///
    /// # Errors
    /// Why its CPU driver does not boot.
    pub(crate) fn rise(&mut self, island: usize) -> Result<(), String> {
        if self.islands[island].rising.is_empty() {
            return Ok(());
        }
        let Rising { core, frames, part } = self.islands[island].rising.remove(0);
        let listed = [frames.inbox, frames.outbox].map(|at| PhysRange::new(PhysAddr(at), PAGE_SIZE));
        let kernel = Core::boot(&self.islands[island].memory.ram, core, part, &listed)?;
        let config = self.config(core);
        let mut ports = self.ports();
        if let Some(port) = self.ring(core, CoreId::new(core.island(), 0), &frames) {
            ports.put(Chan(0), port);
        }
        let monitor = Monitor::new(config, self.now);
        self.join(core, kernel, monitor, ports);
        self.trace(|| format!("core {core} starts"));
        let place = self.islands[island].nodes.len() - 1;
        check::types(self, island, place)
    }

    /// The end of a channel that sees these blocks.
    fn ring(&self, core: CoreId, peer: CoreId, frames: &Frames) -> Option<Port> {
        let island = core.island().0 as usize;
        let memory = &self.islands[island].memory;
        let layout = Layout { slots: frames.slots.into(), stride: frames.stride.into() };
        let ((into, inbox), (out, outbox)) = (memory.block(frames.inbox)?, memory.block(frames.outbox)?);
        let channel = Channel::new(into, out, layout).ok()?;
        let path: Path = self.plan.machine.path(island, core.local(), peer.local());
        Some(Port::Ring(channel, Ends { peer, inbox, outbox, path, damage: None }))
    }

    /// Two new blocks.
    fn frames(&mut self, island: usize) -> Result<Frames, String> {
        let again = self.plan.mutant.is_some_and(|m| matches!(m.bug, Bug::SharesBlocks));
        let Island { memory, nodes, .. } = &mut self.islands[island];
        let made = |e| format!("a block for a channel of island {island}: {e}");
        let mut make = || memory.make(&mut nodes[0].kernel, again).map_err(made);
        let (inbox, outbox) = (make()?, make()?);
        nodes[0].regions.1 += 1;
        let (bytes, slots, stride) = (LAYOUT.block_bytes() as u32, LAYOUT.slots as u16, LAYOUT.stride as u16);
        Ok(Frames { inbox, outbox, bytes, slots, stride })
    }

    /// A core gets capabilities for the two blocks of a channel that the first core has made.
    fn hold(&mut self, island: usize, node: usize, frames: &Frames) -> Result<(), Error> {
        let Island { memory, nodes, .. } = &mut self.islands[island];
        if node > 0 {
            let owner = nodes[0].core;
            for at in [frames.inbox, frames.outbox] {
                nodes[node].kernel.adopt(owner, at, PAGE_SIZE)?;
            }
            nodes[node].regions.1 += 1;
        }
        let bug = self.plan.mutant.map(|m| m.bug);
        if let (Some(Bug::RetypesHeld), Some(frame)) = (bug, memory.frame(frames.inbox)) {
            let (first, offset) = (&mut nodes[0].kernel, frames.inbox);
            first.invoke(slot::ROOT, Op::Delete, &[frame.0.into()])?;
            let offset = offset - first.base;
            first.retype(first.ram.0, CapType::VNode, 0, offset, PAGE_SIZE, frame)?;
            nodes[0].regions.1 += 1;
        }
        Ok(())
    }

    /// Does what a monitor wants done: the part of a domain binary.
    ///
    /// # Errors
    /// What it should not have wanted.
    pub(crate) fn act(&mut self, island: usize, node: usize, action: Action) -> Result<(), String> {
        let core = self.islands[island].nodes[node].core;
        if !matches!(action, Action::Log { level: 4.., .. }) {
            self.trace(|| format!("{core}: {action:?}"));
        }
        let later = self.now + self.rng.below(self.plan.bound / 8);
        let fails = self.is_rough() && self.plan.kinds.has("start") && self.rng.one_in(24);
        match action {
            Action::StartCore { core: started, chan, .. } => {
                let frames = self.frames(island)?;
                if fails {
                    let failed = Event::StartFailed { core: started, why: "it does not exist".into() };
                    self.islands[island].nodes[node].events.push((later, failed));
                    return Ok(());
                }
                if let Some(port) = self.ring(core, started, &frames) {
                    self.islands[island].nodes[node].ports.put(chan, port);
                }
                let frames = Frames { inbox: frames.outbox, outbox: frames.inbox, ..frames };
                let part = self.islands[island].nodes[node].kernel.give(started);
                let part = part.map_err(|e| format!("RAM for {started}: {e}"))?;
                self.islands[island].rising.push(Rising { core: started, frames, part });
                self.rises(island, later);
            }
            Action::MakeChannel { a, b, .. } => {
                let frames = if fails { None } else { Some(self.frames(island)?) };
                self.islands[island].nodes[node].events.push((later, Event::ChannelMade { a, b, frames }));
            }
            Action::AdoptChannel { chan, peer, frames } => {
                let held = self.hold(island, node, &frames).is_ok();
                let event = match self.ring(core, peer, &frames).filter(|_| held && !fails) {
                    Some(port) => {
                        self.islands[island].nodes[node].ports.put(chan, port);
                        Event::ChannelUp { chan }
                    }
                    None => Event::ChannelClosed { chan, why: "no memory to map it".into() },
                };
                self.islands[island].nodes[node].events.push((later, event));
                check::types(self, island, node)?;
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
            Action::Announce(Announce::Island { .. })
            | Action::Log { .. }
            | Action::LogLevel { .. }
            | Action::Poll { .. } => {}
        }
        Ok(())
    }
}
