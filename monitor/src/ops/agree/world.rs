//! A small world for tests: cores, and messages that arrive in any order. It is a value, so that a search can go back to it.

use super::asker::{Request, What};
use super::model::{Bug, Cap, PAGE, Store};
use super::owner::Phase;
use super::{Agreement, Cx, Out, Region};
use crate::testkit::core;
use skerry_abi::CapType;
use skerry_hal::{CoreId, Epoch};
use skerry_urpc::Message;
use skerry_urpc::formats::Refusal;
use skerry_urpc::formats::agree::{Create, Done, Prepare, Settled, Vote};
use skerry_urpc::wire::{self, Body};
use std::collections::BTreeMap;
use std::hash::{Hash, Hasher};

/// A message under way.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Flight {
    pub from: usize,
    pub epoch: Epoch,
    pub to: usize,
    pub message: Message,
}

impl Flight {
    /// To be put in order, so that worlds that differ in nothing else are the same.
    fn key(&self) -> (usize, usize, u32, u16, u16, [u64; 7]) {
        let Message { kind, flags, words } = self.message;
        (self.from, self.to, self.epoch.0, flags, kind, words)
    }
}

/// What a core sent and settled.
struct Post<'a> {
    from: usize,
    epoch: Epoch,
    flights: &'a mut Vec<Flight>,
    answers: &'a mut BTreeMap<u32, Vec<Result<(), Refusal>>>,
    accepts: &'a [Epoch],
}

impl Out for Post<'_> {
    fn send(&mut self, to: CoreId, message: &Message) -> Result<(), Refusal> {
        self.status(to)?;
        let to = usize::from(to.island().0);
        let flags = self.accepts[to].0 as u16;
        let message = Message { flags, ..*message };
        self.flights.push(Flight { from: self.from, epoch: self.epoch, to, message });
        Ok(())
    }
    fn status(&self, core: CoreId) -> Result<(), Refusal> {
        match self.accepts.get(usize::from(core.island().0)) {
            Some(Epoch(0)) => Err(Refusal::Lost),
            Some(_) => Ok(()),
            None => Err(Refusal::Unknown),
        }
    }
    fn settle(&mut self, token: u32, result: Result<(), Refusal>) {
        self.answers.entry(token).or_default().push(result);
    }
}

impl Agreement {
    /// Begins everything at once ([`Bug::NoQueue`]).
    fn begin_all(&mut self, cx: &mut Cx<'_>) {
        for n in 0..self.ops.len() {
            if self.ops[n].phase == Phase::Queued
                && let Err(refusal) = self.begin(n, cx)
            {
                (self.ops[n].verdict, self.ops[n].phase) = (Err(refusal), Phase::Over);
            }
        }
    }
}

/// A copy for another core.
pub fn transfer(owner: usize, region: Region, to: usize) -> Request {
    Request { owner: at(owner), region, what: What::Transfer { to: at(to), whom: 7, rights: 0xff } }
}

/// The end of what was made of it, and if so asked of its copies.
pub fn revoke(owner: usize, region: Region, copies: bool) -> Request {
    Request { owner: at(owner), region, what: What::Revoke { copies } }
}

/// New objects of some pages of it.
pub fn retype(owner: usize, region: Region, new: CapType, first: u32, pages: u32) -> Request {
    Request { owner: at(owner), region, what: What::Retype { new, first, pages } }
}

/// Three cores of which the first owns an object, and the others as many as asked for hold copies.
pub fn shared(region: Region, copies: usize) -> World {
    let mut world = World::new(3);
    world.own(0, region);
    for n in 1..=copies {
        world.ask(0, n as u32, &transfer(0, region, n));
        world.settle();
        assert_eq!(world.answers(n as u32), [Ok(())]);
    }
    world.check().and_then(|()| world.check_quiet()).expect("nothing is wrong");
    world
}

/// One core.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Node {
    pub agreement: Agreement,
    pub store: Store,
    pub epoch: Epoch,
    pub dead: bool,
    /// The epoch in which it takes messages of each core; 0: it is lost.
    pub accepts: Vec<Epoch>,
}

/// All cores, and what is under way.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct World {
    pub nodes: Vec<Node>,
    pub flights: Vec<Flight>,
    /// By token.
    pub answers: BTreeMap<u32, Vec<Result<(), Refusal>>>,
    pub now: u64,
    pub bound: u64,
    pub bug: Option<Bug>,
}

impl Hash for World {
    fn hash<H: Hasher>(&self, state: &mut H) {
        for node in &self.nodes {
            (&node.agreement, &node.store, node.epoch.0, node.dead).hash(state);
            node.accepts.iter().for_each(|epoch| epoch.0.hash(state));
        }
        for flight in &self.flights {
            flight.key().hash(state);
        }
        self.answers.hash(state);
        self.now.hash(state);
    }
}

/// The core of node `n`. Every core is an island, so that it can be lost alone.
pub fn at(n: usize) -> CoreId {
    core(n as u16, 0)
}

impl World {
    /// Cores that share nothing.
    pub fn new(cores: usize) -> Self {
        let node = |n| Node {
            agreement: Agreement::new(at(n)),
            store: Store { core: at(n), pace: 1, ..Store::default() },
            epoch: Epoch(1),
            dead: false,
            accepts: vec![Epoch(1); cores],
        };
        let nodes = (0..cores).map(node).collect();
        Self { nodes, flights: Vec::new(), answers: BTreeMap::new(), now: 0, bound: 0, bug: None }
    }

    /// The same, with something wrong from now on.
    pub fn with_bug(mut self, bug: Bug) -> Self {
        self.bug = Some(bug);
        self.nodes.iter_mut().for_each(|node| node.store.bug = Some(bug));
        self
    }

    /// Gives a core an object of its own.
    pub fn own(&mut self, n: usize, region: Region) {
        let cap = Cap { region, owner: at(n), locked: false, remote: false, anchor: false };
        self.nodes[n].store.caps.push(cap);
    }

    /// Calls the agreement of core `n`.
    pub fn with(&mut self, n: usize, call: impl FnOnce(&mut Agreement, &mut Cx<'_>)) {
        let sent = self.flights.len();
        let Node { agreement, store, epoch, accepts, .. } = &mut self.nodes[n];
        let (flights, answers) = (&mut self.flights, &mut self.answers);
        let mut out = Post { from: n, epoch: *epoch, flights, answers, accepts };
        let mut cx = Cx { now: self.now, bound: self.bound, objects: store, out: &mut out };
        call(agreement, &mut cx);
        if self.bug == Some(Bug::NoQueue) {
            agreement.begin_all(&mut cx);
        }
        while agreement.run(&mut cx) {}
        for n in sent..self.flights.len() {
            self.spoil(n);
        }
        self.flights.sort_by_key(Flight::key);
    }

    /// What a bug does to a message that was just sent.
    fn spoil(&mut self, n: usize) {
        let Flight { from, to, message, .. } = self.flights[n];
        let vote = message.body::<Vote>();
        let changed = match self.bug {
            Some(Bug::NoIsYes) => vote.map(|vote| Vote { refusal: 0, ..vote }),
            Some(Bug::SaysNone) => vote.map(|vote| Vote { none: 1, ..vote }),
            _ => None,
        };
        if let Some(vote) = changed {
            self.flights[n].message =
                Message { flags: message.flags, ..wire::encode(&message.header(), &vote) };
        }
        if self.bug == Some(Bug::VoteSkipped)
            && let Some(Prepare { seq, asked: 0, .. }) = message.body()
        {
            let vote = wire::encode(&message.header(), &Vote { seq, ..Vote::default() });
            let (epoch, flags) = (self.nodes[to].epoch, self.nodes[from].epoch.0 as u16);
            self.flights[n] = Flight { from: to, epoch, to: from, message: Message { flags, ..vote } };
        }
        if self.bug == Some(Bug::HolderLate)
            && let Some(Create { base, len, ty, .. }) = message.body()
            && let Some(ty) = CapType::from_raw(ty)
        {
            self.nodes[from].agreement.holders.remove(&Region { ty, base, len }, at(to));
        }
        if self.bug == Some(Bug::AnsweredTwice) && message.kind == Settled::KIND {
            let token = self.answers.keys().next_back().copied();
            token.into_iter().for_each(|token| self.answers.entry(token).or_default().push(Ok(())));
        }
    }

    /// A domain of core `n` asks.
    pub fn ask(&mut self, n: usize, token: u32, request: &Request) {
        let region = request.region;
        let part = match request.what {
            What::Retype { new, first, pages } => {
                let base = region.base + u64::from(first) * PAGE;
                Region { ty: new, base, len: u64::from(pages) * PAGE }
            }
            _ => region,
        };
        self.nodes[n].store.wants.insert(token, (region, part));
        self.answers.entry(token).or_default();
        self.with(n, |agreement, cx| agreement.ask(token, request, cx));
    }

    /// The message at place `n` arrives.
    pub fn deliver(&mut self, n: usize) {
        let flight = self.flights.remove(n);
        self.take(&flight);
    }

    fn take(&mut self, flight: &Flight) {
        let Flight { from, epoch, to, message } = *flight;
        let node = &mut self.nodes[to];
        let old_sender = node.accepts[from] != epoch && self.bug != Some(Bug::SenderEpochUnchecked);
        let old_self = node.epoch.0 as u16 != message.flags && self.bug != Some(Bug::ReceiverEpochUnchecked);
        if node.dead || old_sender || old_self {
            return;
        }
        if self.bug == Some(Bug::NumbersForgotten) {
            node.agreement.taken.clear();
        }
        let for_all = match self.bug {
            Some(Bug::OneVoteForAll) => message.kind == Vote::KIND,
            Some(Bug::OneDoneForAll) => message.kind == Done::KIND,
            _ => false,
        };
        let from_whom = if for_all { 0..self.nodes.len() } else { from..from + 1 };
        let late = self.late_holder(flight);
        for from in from_whom {
            self.with(to, |agreement, cx| {
                if let Some(region) = late {
                    let _full = agreement.holders.add(&region, at(from), true);
                }
                agreement.message(at(from), &message, cx);
            });
        }
    }

    /// The holder that is written down now, by [`Bug::HolderLate`].
    fn late_holder(&self, flight: &Flight) -> Option<Region> {
        let seq = flight.message.body::<Done>()?.seq;
        let op = self.nodes[flight.to].agreement.ops.iter().find(|op| op.seq == seq)?;
        (self.bug == Some(Bug::HolderLate) && op.phase == Phase::Creating).then_some(op.region)
    }

    /// Everything arrives.
    pub fn settle(&mut self) {
        while !self.flights.is_empty() {
            self.deliver(0);
        }
    }

    /// A core and its island are gone. Nobody knows yet.
    pub fn kill(&mut self, n: usize) {
        self.nodes[n].dead = true;
        self.nodes[n].store.caps.clear();
    }

    /// It is back, in a new epoch, and knows nothing.
    pub fn revive(&mut self, n: usize) {
        let epoch = Epoch(self.nodes[n].epoch.0 + 1);
        let (bug, accepts) = (self.bug, vec![Epoch(0); self.nodes.len()]);
        let (agreement, store) =
            (Agreement::new(at(n)), Store { core: at(n), pace: 1, bug, ..Store::default() });
        self.nodes[n] = Node { agreement, store, epoch, dead: false, accepts };
        self.nodes[n].accepts[n] = epoch;
    }

    /// Core `n` hears that `other` is lost.
    pub fn hear(&mut self, n: usize, other: usize) {
        self.nodes[n].accepts[other] = Epoch(0);
        if self.bug != Some(Bug::LossIgnored) {
            self.with(n, |agreement, cx| agreement.lost(&|core| core == at(other), cx));
        }
    }

    /// Core `n` and `other` meet in their present epochs.
    pub fn meet(&mut self, n: usize, other: usize) {
        self.nodes[n].accepts[other] = self.nodes[other].epoch;
        self.nodes[other].accepts[n] = self.nodes[n].epoch;
    }

    /// The next deadline of any core has come; `false` if there is none.
    pub fn pass_time(&mut self) -> bool {
        let next = self.nodes.iter().filter(|n| !n.dead).filter_map(|n| n.agreement.deadline()).min();
        let Some(next) = next else { return false };
        self.now = self.now.max(next);
        for n in 0..self.nodes.len() {
            if !self.nodes[n].dead {
                self.with(n, |_, _| ());
            }
        }
        true
    }

    /// The answers of a request.
    pub fn answers(&self, token: u32) -> &[Result<(), Refusal>] {
        self.answers.get(&token).map_or(&[], Vec::as_slice)
    }

    /// How many capabilities for an object core `n` has, the monitor's own aside.
    pub fn copies(&self, n: usize, region: Region) -> usize {
        self.nodes[n].store.caps.iter().filter(|c| c.region == region && !c.anchor).count()
    }

    /// What must hold at every moment; if not, why.
    pub fn check(&self) -> Result<(), String> {
        let caps = || {
            let all = self.nodes.iter().enumerate();
            all.flat_map(|(n, node)| node.store.caps.iter().map(move |cap| (n, cap)))
        };
        for (n, a) in caps() {
            for (m, b) in caps() {
                let apart = a.region == b.region || !a.region.span().overlaps(b.region.span());
                if !apart && !a.region.could_make(&b.region) && !b.region.could_make(&a.region) {
                    return Err(format!("conflicting: {:?} on {n}, {:?} on {m}", a.region, b.region));
                }
            }
        }
        for (n, node) in self.nodes.iter().enumerate().filter(|(_, node)| !node.dead) {
            let open = node.agreement.parts.iter().map(|part| part.claim.region);
            let free = |region: &Region| node.store.caps.iter().any(|c| c.region == *region && !c.locked);
            if let Some(region) = open.into_iter().find(free) {
                return Err(format!("core {n} has agreed about {region:?}, and it can be changed there"));
            }
        }
        let twice = self.answers.iter().find(|(_, answers)| answers.len() > 1);
        twice.map_or(Ok(()), |(token, all)| Err(format!("request {token} has {all:?}")))
    }

    /// What must hold when nothing is under way any more.
    pub fn check_quiet(&self) -> Result<(), String> {
        for (n, node) in self.nodes.iter().enumerate().filter(|(_, node)| !node.dead) {
            if !node.agreement.is_quiet() {
                return Err(format!("core {n} waits for ever: {:?}", node.agreement));
            }
            for cap in &node.store.caps {
                let owner = usize::from(cap.owner.island().0);
                let known = &self.nodes[owner].agreement.holders;
                if cap.locked {
                    return Err(format!("core {n}: {cap:?} is locked for ever"));
                }
                if n != owner && !known.holds(&cap.region, at(n)) {
                    return Err(format!("core {n}: its owner does not know of {cap:?}"));
                }
                if cap.anchor && known.parties(&cap.region, cap.region.span()).is_empty() {
                    return Err(format!("core {n}: {cap:?} is kept for nobody"));
                }
            }
        }
        Ok(())
    }
}
