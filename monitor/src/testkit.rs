//! What the unit tests share: a sink that notes everything, and monitors to begin with.

use crate::config::{Config, LocalCore};
use crate::event::{Action, Chan, Event, Sink};
use crate::monitor::Monitor;
use skerry_hal::{CoreId, Epoch, Isa, IslandId};
use skerry_urpc::formats::monitor::{CoreAd, IslandAd};
use skerry_urpc::wire::{self, Body, Header};
use skerry_urpc::{Message, SendError};

/// Notes what a monitor wants.
#[derive(Default, Debug)]
pub struct Log {
    pub sent: Vec<(Chan, Message)>,
    pub actions: Vec<Action>,
}

impl Sink for Log {
    fn send(&mut self, chan: Chan, message: &Message) -> Result<(), SendError> {
        self.sent.push((chan, *message));
        Ok(())
    }
    fn act(&mut self, action: Action) {
        self.actions.push(action);
    }
}

impl Log {
    /// Takes the first message of a kind.
    pub fn take_sent<B: Body>(&mut self) -> Option<(Chan, (Header, B))> {
        let at = self.sent.iter().position(|(_, m)| m.kind == B::KIND)?;
        let (chan, message) = self.sent.remove(at);
        Some((chan, (message.header(), message.body()?)))
    }

    /// Takes the first order to start a core.
    pub fn take_start(&mut self) -> Option<Action> {
        self.take_action(|a| matches!(a, Action::StartCore { .. }))
    }

    /// Takes the first action of some sort.
    pub fn take_action(&mut self, sort: impl Fn(&Action) -> bool) -> Option<Action> {
        let at = self.actions.iter().position(sort)?;
        Some(self.actions.remove(at))
    }
}

pub fn core(island: u16, local: u16) -> CoreId {
    CoreId::new(IslandId(island), local)
}

/// The first monitor of an island of `cores` cores, with links to `peers`; the bound is 1000 ticks.
pub fn first(island: u16, cores: u16, peers: &[u16]) -> Monitor {
    let mut config = Config::new(core(island, 0), Isa::Host);
    config.bound = 1000;
    config.join_bound = 100_000;
    config.cores = (0..cores).map(|local| LocalCore { local, node: local / 2 }).collect();
    config.links = peers.iter().map(|&p| IslandId(p)).collect();
    Monitor::new(config, 0)
}

/// Another monitor of an island.
pub fn app(island: u16, local: u16) -> Monitor {
    let mut config = Config::new(core(island, local), Isa::Host);
    config.bound = 1000;
    Monitor::new(config, 0)
}

pub fn header_of(src: CoreId, dst: CoreId) -> Header {
    Header { src, dst, epoch: Epoch(1), hops: 16, ..Header::default() }
}

/// A message of epoch 1.
pub fn message<B: Body>(src: CoreId, dst: CoreId, request: u16, body: &B) -> Message {
    wire::encode(&Header { request, ..header_of(src, dst) }, body)
}

/// What a core's monitor first says.
pub fn report(from: CoreId) -> Message {
    let ad = CoreAd { core: from, epoch: Epoch(1), isa: Isa::Host as u8, state: 2, ..CoreAd::default() };
    message(from, CoreId::new(from.island(), 0), 0, &ad)
}

/// What an island of epoch 1 with `cores` cores says of itself, its first core's record with it.
pub fn island_says(island: u16, seq: u32, cores: u16, links: u64, to: CoreId) -> [Message; 2] {
    let ad = IslandAd {
        island: IslandId(island),
        isa: 1,
        settled: 1,
        epoch: Epoch(1),
        seq,
        cores,
        links,
        wired: links,
        ..IslandAd::default()
    };
    let from = core(island, 0);
    let first = CoreAd {
        core: from,
        epoch: Epoch(1),
        seq,
        isa: 1,
        state: 2,
        frequency: 2_000_000_000,
        ..CoreAd::default()
    };
    [message(from, to, 0, &ad), message(from, to, 0, &first)]
}

/// The first monitor of island 0, of one core, joined with island 1, of two cores of which the first is up.
pub fn joined() -> (Monitor, Log) {
    let mut log = Log::default();
    let mut m = first(0, 1, &[1]);
    m.handle(0, Event::Start, &mut log);
    m.handle(1, Event::LinkUp { link: 0, epoch: Epoch(1), own: Epoch(1) }, &mut log);
    for message in island_says(1, 1, 2, 1, core(0, 0)) {
        m.message(2, Chan(0), &message, &mut log);
    }
    log.sent.clear();
    (m, log)
}
