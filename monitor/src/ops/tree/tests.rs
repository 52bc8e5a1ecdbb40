//! Monitors of one island, joined by channels that carry at once, and a knowledge base that draws trees by hand.

use crate::chans::Role;
use crate::config::MAX_QUEUE;
use crate::event::{Action, Chan, Event, Frames, Sink};
use crate::monitor::Monitor;
use crate::testkit::{app, core, first, header_of, island_says};
use skerry_hal::{CoreId, Epoch, IslandId};
use skerry_urpc::formats::knowledge::{
    CoreNews, EDGES, IslandNews, LatencyNews, MeasurePart, MeasureQuery, PollTime, TreePart, TreeQuery,
    WakeNews,
};
use skerry_urpc::formats::monitor::{CoreAd, CorePower, CoreState, Echo, SetLogLevel, TreeMissed};
use skerry_urpc::formats::shell::LogLevelQuery;
use skerry_urpc::wire::{self, Body, Header, flags};
use skerry_urpc::{Message, SendError};
use std::collections::{BTreeMap, VecDeque};

/// Where one monitor's output goes.
#[derive(Default)]
struct Out {
    sent: Vec<(Chan, Message)>,
    actions: Vec<Action>,
    /// No room there.
    full: Option<Chan>,
}

impl Sink for Out {
    fn send(&mut self, chan: Chan, message: &Message) -> Result<(), SendError> {
        if self.full == Some(chan) {
            return Err(SendError::Full);
        }
        self.sent.push((chan, *message));
        Ok(())
    }
    fn act(&mut self, action: Action) {
        self.actions.push(action);
    }
}

/// An island whose packages have two cores each.
struct Net {
    monitors: BTreeMap<u16, (Monitor, Out)>,
    wires: BTreeMap<(u16, Chan), (u16, Chan)>,
    /// Ends of channels that were adopted, by the lower block.
    half: BTreeMap<u64, (u16, Chan)>,
    blocks: u64,
    knowledge: Option<Chan>,
    /// What the knowledge base is told, questions included.
    told: Vec<Message>,
    /// What it wants measured.
    worth: Vec<[CoreId; 2]>,
    /// How long it wants cores to poll.
    polls: Vec<(u16, u32)>,
    /// Everything that went from core to core: who sent it, who got it.
    carried: Vec<(u16, u16, Message)>,
    now: u64,
}

impl Net {
    fn new(cores: u16, knows: bool) -> Self {
        Self::measuring(cores, knows, Vec::new())
    }

    fn measuring(cores: u16, knows: bool, worth: Vec<[CoreId; 2]>) -> Self {
        let mut monitor = first(0, cores, &[]);
        let knowledge = if knows { monitor.open_knowledge() } else { None };
        let mut net = Self {
            monitors: [(0, (monitor, Out::default()))].into(),
            wires: BTreeMap::new(),
            half: BTreeMap::new(),
            blocks: 0,
            knowledge,
            told: Vec::new(),
            worth,
            polls: Vec::new(),
            carried: Vec::new(),
            now: 0,
        };
        net.event(0, Event::Start);
        net.settle();
        net
    }

    fn event(&mut self, at: u16, event: Event) {
        self.now += 1;
        let (monitor, out) = self.monitors.get_mut(&at).unwrap();
        monitor.handle(self.now, event, out);
    }

    fn deliver(&mut self, at: u16, chan: Chan, message: &Message) {
        self.now += 1;
        if let Some((monitor, out)) = self.monitors.get_mut(&at) {
            monitor.message(self.now, chan, message, out);
        }
    }

    /// Carries what was sent and does what is wanted, until nothing is left.
    fn settle(&mut self) {
        loop {
            let mut work: VecDeque<(u16, Chan, Message)> = VecDeque::new();
            let mut acts = Vec::new();
            for (&at, (monitor, out)) in &mut self.monitors {
                monitor.flush(self.now, out);
                work.extend(out.sent.drain(..).map(|(chan, message)| (at, chan, message)));
                acts.extend(out.actions.drain(..).map(|action| (at, action)));
            }
            if work.is_empty() && acts.is_empty() {
                return;
            }
            for (from, chan, message) in work {
                if (from, Some(chan)) == (0, self.knowledge) {
                    self.told.push(message);
                    self.answer(&message);
                } else if let Some(&(to, chan)) = self.wires.get(&(from, chan)) {
                    self.carried.push((from, to, message));
                    self.deliver(to, chan, &message);
                }
            }
            acts.into_iter().for_each(|(at, action)| self.perform(at, action));
        }
    }

    fn perform(&mut self, at: u16, action: Action) {
        match action {
            Action::StartCore { core, chan, .. } => {
                self.wires.insert((at, chan), (core.local(), Chan(0)));
                self.wires.insert((core.local(), Chan(0)), (at, chan));
                self.monitors.insert(core.local(), (app(0, core.local()), Out::default()));
                self.event(core.local(), Event::Start);
            }
            Action::MakeChannel { a, b, .. } => {
                self.blocks += 2;
                let (inbox, outbox) = (self.blocks, self.blocks + 1);
                let frames = Frames { inbox, outbox, bytes: 4096, slots: 32, stride: 64 };
                self.event(at, Event::ChannelMade { a, b, frames: Some(frames) });
            }
            Action::AdoptChannel { chan, frames, .. } => {
                let end = (at, chan);
                match self.half.remove(&frames.inbox.min(frames.outbox)) {
                    Some(other) => {
                        self.wires.insert(end, other);
                        self.wires.insert(other, end);
                        self.event(other.0, Event::ChannelUp { chan: other.1 });
                        self.event(at, Event::ChannelUp { chan });
                    }
                    None => drop(self.half.insert(frames.inbox.min(frames.outbox), end)),
                }
            }
            Action::Poll { ns } => self.polls.push((at, ns)),
            _ => {}
        }
    }

    /// One node for each other package: its lowest core.
    fn answer(&mut self, message: &Message) {
        if let Some(MeasureQuery { version, .. }) = message.body() {
            let worth = core::mem::take(&mut self.worth);
            let mut part = MeasurePart { version, count: worth.len() as u16, ..MeasurePart::default() };
            part.pairs[..worth.len()].copy_from_slice(&worth);
            let header = Header { dst: message.header().src, ..Header::default() };
            self.deliver(0, self.knowledge.unwrap(), &wire::encode(&header, &part));
        }
        let Some(query) = message.body::<TreeQuery>() else { return };
        let (source, of) = (message.header().src, |local: u16| core(0, local));
        let mine = source.local() / 2;
        let mut up: Vec<u16> = self.monitors.keys().copied().collect();
        up.retain(|n| self.monitors[&0].0.status_of(of(*n)).is_ok() && *n != source.local());
        let node = |n: u16| up.iter().copied().find(|other| other / 2 == n / 2).unwrap();
        let parent = |n: u16| if n / 2 == mine || node(n) == n { source } else { of(node(n)) };
        let edges: Vec<[CoreId; 2]> = up.iter().map(|&n| [parent(n), of(n)]).collect();
        for (n, some) in edges.chunks(EDGES).enumerate() {
            let place = (n * EDGES) as u16;
            let mut part =
                TreePart { version: query.version, place, count: edges.len() as u16, ..TreePart::default() };
            part.edges[..some.len()].copy_from_slice(some);
            let header = Header { dst: source, ..Header::default() };
            self.deliver(0, self.knowledge.unwrap(), &wire::encode(&header, &part));
        }
    }

    /// Who told whom a message of this kind since the last look, the addressee behind it.
    fn heard<B: Body>(&mut self) -> Vec<(u16, u16)> {
        let mut all = Vec::new();
        for (from, to, message) in self.carried.drain(..) {
            if message.kind == B::KIND {
                all.push((from, to));
            }
        }
        all
    }

    fn log_level(&mut self, at: u16, level: u8) {
        let (monitor, _) = self.monitors.get_mut(&at).unwrap();
        let client = monitor.open_client().unwrap();
        let query = LogLevelQuery { level, ..LogLevelQuery::default() };
        self.deliver(at, client, &wire::encode(&Header::default(), &query));
        self.settle();
    }

    fn power(&mut self, which: u16, on: u8) {
        let wanted = CorePower { core: core(0, which), on, ..CorePower::default() };
        let message = wire::encode(&header_of(core(0, 1), core(0, 0)), &wanted);
        let (_, chan) = self.wires[&(1, Chan(0))];
        self.deliver(0, chan, &message);
        self.settle();
        if on == 0 {
            // It has no programs, so it has gone.
            self.monitors.remove(&which);
            self.wires.retain(|(from, _), (to, _)| *from != which && *to != which);
        }
    }
}

#[test]
fn what_is_known_spreads_through_one_node_of_each_package() {
    let mut net = Net::new(6, true);
    assert!(net.monitors[&0].0.has_tree());
    net.carried.clear();
    let ad = CoreAd { core: core(0, 5), channels: 77, isa: 1, state: 2, ..CoreAd::default() };
    let (_, chan) = net.wires[&(5, Chan(0))];
    net.deliver(0, chan, &wire::encode(&header_of(core(0, 5), core(0, 0)), &ad));
    net.settle();
    let mut told = net.heard::<CoreAd>();
    told.sort_unstable();
    assert_eq!(told, [(0, 1), (0, 2), (0, 4), (2, 3), (4, 5)]);
    for (monitor, _) in net.monitors.values() {
        assert_eq!(monitor.islands().core(core(0, 5)).unwrap().channels, 77);
    }
    // One that leaves is known to have left, though nothing may have come through its node.
    net.power(4, 0);
    for (monitor, _) in net.monitors.values() {
        assert_eq!(monitor.islands().core(core(0, 4)).unwrap().state, CoreState::Off);
    }
}

#[test]
fn any_core_is_a_source_when_it_first_has_something_to_say() {
    let mut net = Net::new(6, true);
    net.log_level(3, 4);
    let first = net.heard::<SetLogLevel>();
    assert!(first.contains(&(3, 2)) && first.iter().filter(|(from, _)| *from != 3).count() >= 3, "{first:?}");
    assert!(net.monitors[&3].0.has_tree());
    net.log_level(3, 2);
    let mut told = net.heard::<SetLogLevel>();
    told.sort_unstable();
    assert_eq!(told, [(0, 1), (3, 0), (3, 2), (3, 4), (4, 5)]);
}

#[test]
fn without_a_knowledge_base_everybody_is_told_directly() {
    let mut net = Net::new(6, false);
    assert!(!net.monitors[&0].0.has_tree());
    net.log_level(0, 4);
    let mut told = net.heard::<SetLogLevel>();
    told.sort_unstable();
    assert_eq!(told, [(0, 1), (0, 2), (0, 3), (0, 4), (0, 5)]);
}

#[test]
fn a_tree_is_asked_for_anew_when_cores_come_and_go() {
    let mut net = Net::new(6, true);
    let questions = |net: &Net| net.told.iter().filter(|m| m.kind == TreeQuery::KIND).count();
    assert_eq!(questions(&net), 1, "the first's");
    net.log_level(4, 4);
    assert_eq!(questions(&net), 2, "and that of whoever multicasts");
    // The node of its package goes, and what it handed on comes directly.
    net.power(2, 0);
    let news = net.told.iter().filter_map(|m| m.body::<CoreNews>()).collect::<Vec<_>>();
    assert_eq!(news.iter().map(|n| (n.core, n.up)).collect::<Vec<_>>(), [(core(0, 2), 0)]);
    assert_eq!(questions(&net), 2 + 2);
    assert_eq!(net.monitors[&3].0.islands().core(core(0, 2)).unwrap().state, CoreState::Off);
    net.carried.clear();
    net.log_level(0, 4);
    let mut told = net.heard::<SetLogLevel>();
    told.sort_unstable();
    assert_eq!(told, [(0, 1), (0, 3), (0, 4), (4, 5)], "core 3 stands for its package");
    net.power(2, 1);
    assert_eq!(net.told.iter().filter_map(|m| m.body::<CoreNews>()).next_back().map(|n| n.up), Some(1));
    net.carried.clear();
    net.log_level(0, 3);
    assert!(net.heard::<SetLogLevel>().contains(&(2, 3)));
}

#[test]
fn the_knowledge_base_hears_of_islands_and_their_epochs() {
    let (mut out, mut m) = (Out::default(), first(0, 1, &[1]));
    let knowledge = m.open_knowledge().unwrap();
    m.handle(0, Event::Start, &mut out);
    m.handle(1, Event::LinkUp { link: 0, epoch: Epoch(1), own: Epoch(1) }, &mut out);
    for says in island_says(1, 1, 2, 1, core(0, 0)) {
        m.message(2, Chan(0), &says, &mut out);
    }
    m.handle(3, Event::LinkLost { link: 0, why: "silent".into() }, &mut out);
    let to_it = out.sent.iter().filter(|(chan, _)| *chan == knowledge);
    let news: Vec<(u16, u32, u8)> =
        to_it.filter_map(|(_, m)| m.body::<IslandNews>()).map(|n| (n.island.0, n.epoch.0, n.up)).collect();
    assert_eq!(news, [(0, 1, 1), (1, 1, 1), (1, 1, 0)]);
}

#[test]
fn a_silent_knowledge_base_is_asked_again_and_then_left_alone() {
    let mut net = Net::new(4, true);
    net.log_level(1, 4);
    net.log_level(2, 4);
    net.knowledge = None;
    // One that is gone does not count.
    let asked =
        |net: &Net| net.carried.iter().filter(|(from, _, m)| *from != 3 && m.kind == TreeQuery::KIND).count();
    net.carried.clear();
    net.power(3, 0);
    for _ in 0..6 {
        net.now += 10_000;
        for at in [0, 1, 2] {
            net.event(at, Event::Tick);
        }
        net.settle();
    }
    assert_eq!(asked(&net), 2 * 3, "each but the first by message, three times");
    assert!(!net.monitors[&0].0.has_tree());
}

#[test]
fn who_misses_something_is_sent_all_of_it() {
    let mut net = Net::new(4, true);
    let told = |net: &Net| net.carried.iter().filter(|(from, to, _)| (*from, *to) == (0, 3)).count();
    // Node 2 has no room for core 3, and its queue is full.
    let chan = (0..9).map(Chan).find(|chan| net.wires.get(&(2, *chan)).is_some_and(|w| w.0 == 3)).unwrap();
    let (monitor, out) = net.monitors.get_mut(&2).unwrap();
    assert_eq!(monitor.chans.role(chan), Role::Core(core(0, 3)));
    out.full = Some(chan);
    net.carried.clear();
    for n in 0..=MAX_QUEUE as u32 {
        let level = SetLogLevel { level: (n % 5) as u8, ..SetLogLevel::default() };
        let header = Header { flags: flags::HAND_ON, ..header_of(core(0, 0), core(0, 2)) };
        net.deliver(2, Chan(0), &wire::encode(&header, &level));
    }
    net.settle();
    assert_eq!(net.carried.iter().filter(|(_, _, m)| m.kind == TreeMissed::KIND).count(), 1);
    assert!(told(&net) > 4, "the whole table");
}

#[test]
fn an_aggregation_node_of_another_tree_says_so() {
    let mut net = Net::new(4, true);
    net.carried.clear();
    let header = Header { flags: flags::HAND_ON, ..header_of(core(0, 3), core(0, 1)) };
    net.deliver(1, Chan(0), &wire::encode(&header, &SetLogLevel::default()));
    net.settle();
    let missed = net.carried.iter().filter_map(|(_, _, m)| m.body::<TreeMissed>()).next();
    assert_eq!(missed.map(|m| m.core), Some(core(0, 1)));
    // From another island everybody takes what is for everybody, and nothing else.
    let bad = net.monitors[&0].0.counters().bad;
    assert_eq!((bad, net.monitors[&0].0.islands().get(IslandId(1))), (0, None));
}

#[test]
fn what_messages_take_is_measured_before_a_tree_is_drawn() {
    // One of them is not there.
    let worth = [[core(0, 0), core(0, 1)], [core(0, 2), core(0, 9)], [core(0, 2), core(0, 3)]];
    let net = Net::measuring(5, true, worth.into());
    let known: Vec<Option<[CoreId; 2]>> = net
        .told
        .iter()
        .filter(|message| matches!(message.kind, LatencyNews::KIND | TreeQuery::KIND))
        .map(|message| message.body::<LatencyNews>().map(|news| [news.from, news.to]))
        .collect();
    assert_eq!(known, [Some([core(0, 0), core(0, 1)]), Some([core(0, 2), core(0, 3)]), None]);
    assert!(net.monitors[&0].0.has_tree());
    // As long as it does not get shorter, a series four times as long; no third one.
    let counts = |at| net.carried.iter().filter(move |(_, to, m)| *to == at && m.kind == Echo::KIND).count();
    assert_eq!((counts(1), counts(3)), (8 + 32, 8 + 32));
}

#[test]
fn a_core_is_told_how_long_to_poll_once_it_has_said_what_waking_takes() {
    let mut net = Net::new(3, true);
    let now = net.now;
    let (monitor, out) = net.monitors.get_mut(&2).unwrap();
    monitor.took_to_wake(now, 700, out);
    net.settle();
    let told = net.told.iter().find_map(|m| m.body::<WakeNews>().map(|news| (m.header().src, news.ns)));
    assert_eq!(told, Some((core(0, 2), 700)));
    let header = Header { dst: core(0, 2), ..Header::default() };
    let time = PollTime { ns: 500, ..PollTime::default() };
    net.deliver(0, net.knowledge.unwrap(), &wire::encode(&header, &time));
    net.settle();
    assert_eq!(net.polls, [(2, 500)]);
}
