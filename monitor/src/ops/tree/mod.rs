//! Multicast within an island (paper §5.1): the source tells one core of each other package, its *aggregation node*, which
//! hands on to the rest of that package; each is told the further away the sooner.
//!
//! Whom to tell is not for a monitor to know: it asks the knowledge base of its island for the tree of its own core, keeps it,
//! and asks anew when cores of the island come or go. Until there is a tree, and where nobody answers, it tells everybody
//! itself. To use its tree a source has each aggregation node take its part ([`TreeBranch`]); that one answers when it
//! has a channel to every core that it hands on to, whose buffers are local to their receivers like those of all
//! channels. So what a node hands on for a source is what that source last told it, on the same channel: the two never
//! have different trees in mind. The first monitor, which spreads what is known of the system, asks at once; others
//! when they first multicast.
//!
//! What is handed on may arrive before what was sent directly a moment earlier, and an aggregation node may go with messages
//! on their way. Whoever sees a gap says so ([`TreeMissed`]), and the source makes up for it.

use crate::chans::Role;
use crate::event::{Chan, Sink};
use crate::monitor::Monitor;
use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use skerry_hal::CoreId;
use skerry_urpc::Message;
use skerry_urpc::formats::knowledge::{EDGES, TreePart, TreeQuery};
use skerry_urpc::formats::monitor::{
    BRANCH, CoreState, SetLogLevel, ToPeer, TreeBranch, TreeMissed, TreeReady,
};
use skerry_urpc::formats::shell::IslandState;
use skerry_urpc::wire::{self, Body, Header, flags};

/// How often a question that was not answered is asked again. Then the direct way is kept until cores come or go.
const TRIES: u8 = 3;
/// Bounds that an answer may take.
const PATIENCE: u64 = 4;

/// How far the own tree is.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
enum Phase {
    /// There is none.
    #[default]
    Direct,
    /// The knowledge base was asked.
    Asked,
    /// Channels to these aggregation nodes are being made.
    Binding(Vec<CoreId>),
    /// These have not answered yet.
    Joining(Vec<CoreId>),
    /// It is in use.
    Ready,
}

/// What a source wants handed on.
#[derive(Default)]
struct Part {
    version: u32,
    cores: Vec<CoreId>,
    /// How many there will be.
    count: usize,
    /// Whether the source knows that it can be used.
    ready: bool,
}

#[derive(Default)]
pub(crate) struct State {
    phase: Phase,
    /// Counts questions.
    version: u32,
    tries: u8,
    until: Option<u64>,
    /// Cores that were up when it was asked for.
    of: Vec<CoreId>,
    /// Who tells whom.
    edges: Vec<[CoreId; 2]>,
    /// Whether something was multicast here.
    used: bool,
    /// By source.
    parts: BTreeMap<CoreId, Part>,
}

/// How a core is reached by a multicast of this one.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Hop {
    /// It is told, and hands on to nobody.
    Direct,
    /// It is told, and hands on.
    Node,
    /// Another hands on to it.
    Through,
}

impl Monitor {
    /// Cores of the own island may have come or gone.
    pub(crate) fn tree_recheck(&mut self, sink: &mut dyn Sink) {
        let Some(own) = self.islands.get(self.island) else { return };
        let up = |(n, core): (usize, &crate::table::Core)| {
            (core.state == CoreState::Up).then(|| CoreId::new(self.island, n as u16))
        };
        // Not before all is known of the island: an answer for a part of it would not be of use for long.
        let rising =
            |core: &crate::table::Core| matches!(core.state, CoreState::Present | CoreState::Starting);
        let settled = !own.cores.iter().any(rising);
        let of: Vec<CoreId> = own.cores.iter().enumerate().filter_map(up).collect();
        if of == self.tree.of || !settled {
            return;
        }
        self.tree_drop(sink);
        self.tree.parts.retain(|source, _| of.contains(source));
        self.tree.of = of;
        self.tree.tries = TRIES;
        if self.is_first() || self.tree.used {
            self.tree_want(sink);
        }
    }

    /// Asks for a tree, if one would be of use: two cores have nobody to hand on to.
    fn tree_want(&mut self, sink: &mut dyn Sink) {
        if self.tree.of.len() > 2 && !self.is_measuring() {
            self.tree_ask(sink);
        }
    }

    /// All has been measured that a tree depends on.
    pub(crate) fn tree_measured(&mut self, sink: &mut dyn Sink) {
        if self.tree.phase == Phase::Direct && self.tree.tries > 0 {
            self.tree_want(sink);
        }
    }

    fn tree_ask(&mut self, sink: &mut dyn Sink) {
        self.tree.version += 1;
        self.tree.tries -= 1;
        self.tree.until = self.within(self.config.bound.saturating_mul(PATIENCE));
        self.tree.edges.clear();
        self.tree.phase = Phase::Asked;
        let query = TreeQuery { version: self.tree.version, ..TreeQuery::default() };
        self.send_body(CoreId::new(self.island, 0), 0, &query, sink);
    }

    /// Tells everybody itself from now on.
    fn tree_drop(&mut self, sink: &mut dyn Sink) {
        let was = core::mem::take(&mut self.tree.phase);
        self.tree.until = None;
        if was == Phase::Ready {
            let told = self.tree.edges.iter().map(|[_, to]| *to);
            let through: Vec<CoreId> = told.filter(|to| self.tree_hop_in(*to) == Hop::Through).collect();
            through.into_iter().for_each(|core| self.make_up_for(core, sink));
        }
        self.tree.edges.clear();
    }

    /// Nobody answers, or nobody can.
    pub(crate) fn tree_refused(&mut self) {
        if self.tree.phase == Phase::Asked {
            self.tree.phase = Phase::Direct;
            self.tree.until = None;
        }
    }

    /// A piece of the answer.
    pub(crate) fn on_tree_part(&mut self, part: &TreePart, header: &Header, sink: &mut dyn Sink) {
        let (place, count) = (usize::from(part.place), usize::from(part.count));
        let from_first = header.src == CoreId::new(self.island, 0);
        let fresh = self.tree.phase == Phase::Asked && part.version == self.tree.version;
        if !from_first || !fresh || place != self.tree.edges.len() {
            self.counters.stale += 1;
            return;
        }
        let rest = count.saturating_sub(place).min(EDGES);
        self.tree.edges.extend_from_slice(&part.edges[..rest]);
        if self.tree.edges.len() < count {
            return;
        }
        // What is not told of the own island's cores that are up is told directly, and what is told of others not at all.
        let known = |core: &CoreId| self.tree.of.contains(core);
        let edges = core::mem::take(&mut self.tree.edges);
        self.tree.edges = edges.into_iter().filter(|edge| edge.iter().all(known)).collect();
        self.tree.until = self.within(self.config.bound.saturating_mul(PATIENCE));
        self.tree.phase = Phase::Binding(self.tree_nodes());
        self.tree_bound(sink);
    }

    /// Those whom this core tells and who tell others.
    fn tree_nodes(&self) -> Vec<CoreId> {
        let told = self.tree.edges.iter().filter(|[from, _]| *from == self.core).map(|[_, to]| *to);
        told.filter(|node| self.tree.edges.iter().any(|[from, _]| from == node)).collect()
    }

    /// There may be channels that there were not before.
    pub(crate) fn tree_bound(&mut self, sink: &mut dyn Sink) {
        if let Phase::Binding(nodes) = &mut self.tree.phase {
            let mut nodes = core::mem::take(nodes);
            nodes.retain(|node| !self.is_bound(*node, sink));
            self.tree.phase = Phase::Binding(nodes);
            if self.tree.phase == Phase::Binding(Vec::new()) {
                self.tree_join(sink);
            }
        }
        let sources: Vec<CoreId> =
            self.tree.parts.iter().filter(|(_, part)| !part.ready).map(|(source, _)| *source).collect();
        sources.into_iter().for_each(|source| self.tree_part_ready(source, sink));
    }

    fn tree_join(&mut self, sink: &mut dyn Sink) {
        let (nodes, version) = (self.tree_nodes(), self.tree.version);
        for &node in &nodes {
            let told = self.tree.edges.iter().filter(|[from, _]| *from == node);
            let cores: Vec<CoreId> = told.map(|[_, to]| *to).collect();
            for (n, some) in cores.chunks(BRANCH).enumerate() {
                let (place, count) = ((n * BRANCH) as u16, cores.len() as u16);
                let mut branch = TreeBranch { version, place, count, ..TreeBranch::default() };
                branch.cores[..some.len()].copy_from_slice(some);
                self.send_body(node, 0, &branch, sink);
            }
        }
        self.tree.phase = Phase::Joining(nodes);
        self.tree_joined(self.core);
    }

    /// An aggregation node is ready.
    fn tree_joined(&mut self, node: CoreId) {
        if let Phase::Joining(nodes) = &mut self.tree.phase {
            nodes.retain(|other| *other != node);
            if nodes.is_empty() {
                self.tree.phase = Phase::Ready;
                self.tree.until = None;
            }
        }
    }

    /// This core is to hand on for another.
    pub(crate) fn on_tree_branch(&mut self, branch: &TreeBranch, header: &Header, sink: &mut dyn Sink) {
        let (place, count) = (usize::from(branch.place), usize::from(branch.count));
        let own = |core: &CoreId| core.island() == self.island && *core != self.core;
        let rest = count.saturating_sub(place).min(BRANCH);
        if header.src.island() != self.island || !branch.cores[..rest].iter().all(own) {
            self.counters.bad += 1;
            return;
        }
        let part = self.tree.parts.entry(header.src).or_default();
        if place == 0 {
            *part = Part { version: branch.version, count, ..Part::default() };
        }
        if (part.version, part.cores.len()) != (branch.version, place) {
            return;
        }
        part.cores.extend_from_slice(&branch.cores[..rest]);
        self.tree_part_ready(header.src, sink);
    }

    fn tree_part_ready(&mut self, source: CoreId, sink: &mut dyn Sink) {
        let Some(part) = self.tree.parts.get(&source) else { return };
        let (cores, version) = (part.cores.clone(), part.version);
        // All are asked for before one is waited for.
        let bound = cores.iter().filter(|&&core| !self.is_bound(core, sink)).count() == 0;
        let Some(part) = self.tree.parts.get_mut(&source) else { return };
        if bound && part.cores.len() == part.count {
            part.ready = true;
            self.send_body(source, 0, &TreeReady { version, ..TreeReady::default() }, sink);
        }
    }

    pub(crate) fn on_tree_ready(&mut self, ready: &TreeReady, header: &Header) {
        if ready.version == self.tree.version {
            self.tree_joined(header.src);
        }
    }

    /// How a multicast of this core reaches another of the island.
    pub(crate) fn tree_hop(&self, core: CoreId) -> Hop {
        if self.tree.phase == Phase::Ready { self.tree_hop_in(core) } else { Hop::Direct }
    }

    fn tree_hop_in(&self, core: CoreId) -> Hop {
        let edges = &self.tree.edges;
        match edges.iter().find(|[_, to]| *to == core) {
            Some([from, _]) if *from != self.core => Hop::Through,
            Some(_) if edges.iter().any(|[from, _]| *from == core) => Hop::Node,
            _ => Hop::Direct,
        }
    }

    /// Sends to all other cores of the island that are up, as a source; `message` has the header that they see, but
    /// for whom it is for.
    pub(crate) fn multicast(&mut self, message: &Message, sink: &mut dyn Sink) {
        if !core::mem::replace(&mut self.tree.used, true) && !self.is_first() {
            self.tree_want(sink);
        }
        let Some(own) = self.islands.get(self.island) else { return };
        let up = own.cores.iter().enumerate().filter(|(_, core)| core.state == CoreState::Up);
        let cores: Vec<CoreId> = up.map(|(n, _)| CoreId::new(self.island, n as u16)).collect();
        for core in self.tree_order(cores) {
            let flags = match self.tree_hop(core) {
                Hop::Direct => 0,
                Hop::Node => flags::HAND_ON,
                Hop::Through => continue,
            };
            self.send_as(message, core, flags, sink);
        }
    }

    /// Sends to all other cores of the system that are up: to those of this island as a source, to each other island by its
    /// first core, which is one there.
    pub(crate) fn multicast_everywhere<B: ToPeer>(&mut self, body: &B, sink: &mut dyn Sink) {
        let message = wire::encode(&self.header(self.core, 0), body);
        let others = self.islands.iter().filter(|(id, _)| *id != self.island);
        let up = others.filter(|(_, island)| island.state == IslandState::Up);
        let firsts: Vec<CoreId> = up.map(|(id, _)| CoreId::new(id, 0)).collect();
        for first in firsts {
            self.send_as(&message, first, flags::HAND_ON, sink);
        }
        self.multicast(&message, sink);
    }

    /// The order in which this core tells others: as the tree says, and then those of whom it says nothing.
    fn tree_order(&self, mut cores: Vec<CoreId>) -> Vec<CoreId> {
        let told = self.tree.edges.iter().filter(|[from, _]| *from == self.core);
        let place = |core: &CoreId| told.clone().position(|[_, to]| to == core).unwrap_or(usize::MAX);
        cores.retain(|core| *core != self.core);
        cores.sort_by_key(place);
        cores
    }

    fn send_as(&mut self, message: &Message, dst: CoreId, flags: u8, sink: &mut dyn Sink) -> bool {
        let mut onward = *message;
        onward.set_header(&Header { dst, flags, ..message.header() });
        let sent = self.try_send(&onward, dst, sink).is_ok();
        self.counters.faults += u64::from(!sent);
        sent
    }

    /// Passes on what somebody multicasts, as an aggregation node, or as the core where it enters this island.
    pub(crate) fn hand_on(&mut self, message: &Message, header: &Header, sink: &mut dyn Sink) {
        let source = header.src;
        if source.island() != self.island && self.is_first() {
            // Nobody there decides what else is for all cores of this island.
            return match message.kind {
                SetLogLevel::KIND => self.multicast(message, sink),
                _ => self.counters.bad += 1,
            };
        }
        // What came from another island has its first core for a source here.
        let root = if source.island() == self.island { source } else { CoreId::new(self.island, 0) };
        let Some(part) = self.tree.parts.get(&root).filter(|part| part.ready) else {
            return self.tree_miss(root, self.core, sink);
        };
        for core in part.cores.clone() {
            if !self.send_as(message, core, 0, sink) && self.status_of(core).is_ok() {
                self.tree_miss(root, core, sink);
            }
        }
    }

    /// Something was lost on its way through a tree.
    pub(crate) fn tree_miss(&mut self, source: CoreId, core: CoreId, sink: &mut dyn Sink) {
        self.send_body(source, 0, &TreeMissed { core, ..TreeMissed::default() }, sink);
    }

    pub(crate) fn on_tree_missed(&mut self, missed: &TreeMissed, header: &Header, sink: &mut dyn Sink) {
        if header.src.island() != self.island {
            self.counters.bad += 1;
            return;
        }
        self.make_up_for(missed.core, sink);
        for core in self.tree_behind(missed.core) {
            self.make_up_for(core, sink);
        }
    }

    /// The first monitor sends all that it knows of the system to a core that may have missed something.
    fn make_up_for(&mut self, core: CoreId, sink: &mut dyn Sink) {
        let chan = self.chans.iter().find(|(_, e)| e.up && e.role == Role::Core(core));
        if let Some((chan, _)) = chan.filter(|_| self.is_first()) {
            self.sync_from_start(chan, sink);
        }
    }

    /// The channels in the order in which a multicast uses them, and which of those that are told hand on: what
    /// [`flood`](Self::flood) goes by.
    pub(super) fn told_directly(&self, except: Option<Chan>) -> Vec<(Chan, CoreId, u8)> {
        let links = &self.membership.links;
        let told = |(chan, entry): (Chan, &crate::chans::Entry)| {
            let (core, hop) = match entry.role {
                Role::Core(core) => (core, self.tree_hop(core)),
                Role::Link(n) => (CoreId::new(links[n as usize].peer, 0), Hop::Direct),
                Role::Free | Role::Client | Role::Server => return None,
            };
            let flags = if hop == Hop::Node { flags::HAND_ON } else { 0 };
            (entry.up && hop != Hop::Through && Some(chan) != except).then_some((chan, core, flags))
        };
        let mut told: Vec<_> = self.chans.iter().filter_map(told).collect();
        let first = self.tree.edges.iter().filter(|[from, _]| *from == self.core);
        told.sort_by_key(|(_, core, _)| first.clone().position(|[_, to]| to == core).unwrap_or(usize::MAX));
        told
    }

    /// What a core hands on to when it is told by this one.
    pub(super) fn tree_behind(&self, node: CoreId) -> Vec<CoreId> {
        self.tree.edges.iter().filter(|[from, _]| *from == node).map(|[_, to]| *to).collect()
    }

    pub(crate) fn tree_deadline(&self) -> Option<u64> {
        self.tree.until
    }

    pub(crate) fn tree_tick(&mut self, sink: &mut dyn Sink) {
        if self.is_past(self.tree.until) {
            self.tree.until = None;
            self.tree.phase = Phase::Direct;
            if self.tree.tries > 0 {
                self.tree_ask(sink);
            }
        }
    }

    /// Whether a multicast of this core takes a tree now.
    pub fn has_tree(&self) -> bool {
        self.tree.phase == Phase::Ready
    }
}

#[cfg(test)]
mod tests;
