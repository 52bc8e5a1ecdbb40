//! Requests of domains: pings, streams, tables, processes. Each must be answered once, and in time.

use crate::node::Node;
use crate::ports::Port;
use crate::rng::Rng;
use crate::server;
use skerry_hal::{CoreId, IslandId};
use skerry_monitor::ops::client::{ping_bounds, stream_bounds};
use skerry_urpc::formats::Refusal;
use skerry_urpc::formats::proc::{self, Credit, Kill, List, ProcessState, Spawn, WINDOW, Wait};
use skerry_urpc::formats::shell::*;
use skerry_urpc::wire::{self, Body, Header};
use std::collections::BTreeMap;

/// A request that is not answered yet.
#[derive(Clone, Copy, Debug)]
#[expect(dead_code, reason = "all of it is printed when an answer is wrong")]
pub struct Request {
    what: u16,
    from: CoreId,
    to: CoreId,
    count: u64,
    issued: u64,
    /// When the last answer must have come.
    pub due: u64,
    lines: u32,
    /// Nothing is in its way: it must succeed.
    sure: bool,
}

/// All requests of a run.
#[derive(Default)]
pub struct Load {
    /// By who asked and its number.
    pub open: BTreeMap<(CoreId, u16), Request>,
    number: u16,
    /// Answered with success.
    pub served: u64,
    /// Answered with a refusal.
    pub refused: u64,
    /// Round trips and stream messages that were answered for.
    pub messages: u64,
    /// The bound of the run.
    bound: u64,
    /// When the first of them must have been answered, or sooner.
    soonest: u64,
}

/// Answers that a client has room for, at least; one for so many cores of the system, for its first monitors have long
/// turns, and tables of all cores.
const ROOM: (usize, usize) = (4, 8);

/// Bounds by which an answer may be later than its monitor gives it up: what is queued before and behind it.
const SLACK: u64 = 4;

/// Bounds that a table of all cores may take: it comes a few lines a turn, and a first monitor's turns are long while its
/// cores come up and make channels for its tree.
const TABLE: u64 = 8;

impl Load {
    /// No requests yet.
    pub fn new(bound: u64) -> Self {
        Self { bound, soonest: u64::MAX, ..Self::default() }
    }

    /// A client's end of its channel, in a system of so many cores.
    pub fn client(cores: usize) -> Port {
        Port::Client { inbox: Default::default(), room: ROOM.0.max(cores / ROOM.1) }
    }

    /// The request of domains on `node` that a number stands for. `islands`: the cores of each.
    pub fn issue(&mut self, islands: &[u16], node: &mut Node, now: u64, what: u64) {
        let rng = &mut Rng::new(what);
        let core = |rng: &mut Rng| {
            if rng.one_in(40) {
                return CoreId::new(IslandId(rng.below(70) as u16), rng.below(9) as u16);
            }
            let island = rng.below(islands.len() as u64) as u16;
            CoreId::new(IslandId(island), rng.below(islands[island as usize].into()) as u16)
        };
        let (from, to) = (core(rng), core(rng));
        let Node { ends, monitor, ports, .. } = node;
        match rng.below(32) {
            0..6 => self.ping(node, from, to, rng.between(1, 6) as u32, now, false),
            6..8 => {
                let count = rng.between(1, 200);
                let query = StreamQuery { from, to, count, ..StreamQuery::default() };
                self.ask(node, &query, (from, to), count, now, stream_bounds(count) + SLACK, false);
            }
            8 => self.ask(node, &CoresQuery::default(), (from, to), 0, now, TABLE, false),
            9 => self.ask(node, &IslandsQuery::default(), (from, to), 0, now, 4, false),
            10..14 => self.process(node, to, now, rng),
            14..21 => {
                let island = to.island().0 as usize;
                if islands.get(island).is_some_and(|cores| to.local() < *cores) {
                    ends.want(now, now + 3 * self.bound, to, monitor, ports);
                }
            }
            21 => ends.withdraw(now, monitor, ports),
            22..24 => ends.leave(now, monitor, ports),
            _ => {
                node.caps.act(&mut node.kernel, rng);
                node.regions.1 += 1;
            }
        }
    }

    /// A ping; `sure` if nothing stands in its way.
    pub fn ping(&mut self, node: &mut Node, from: CoreId, to: CoreId, count: u32, now: u64, sure: bool) {
        let query = PingQuery { from, to, count, ..PingQuery::default() };
        self.ask(node, &query, (from, to), count.into(), now, ping_bounds(count) + SLACK, sure);
    }

    /// A request to a process server.
    fn process(&mut self, node: &mut Node, to: CoreId, now: u64, rng: &mut Rng) {
        let pid = rng.between(1, 12) as u32;
        let pair = (node.core, to);
        match rng.below(8) {
            0..4 => {
                let number = self.number.wrapping_add(1);
                let mut spawn = Spawn { wait: rng.one_in(2).into(), len: 4, ..Spawn::default() };
                spawn.text[..4].copy_from_slice(&u32::from(number).to_le_bytes());
                let lines = if spawn.wait == 1 { server::lines(number.into()) } else { 0 };
                self.ask(node, &spawn, pair, lines.into(), now, 16, false);
            }
            4 => self.ask(node, &Wait { pid, ..Wait::default() }, pair, 0, now, 16, false),
            5 => self.ask(node, &Kill { pid, ..Kill::default() }, pair, 0, now, 16, false),
            _ => self.ask(node, &List::default(), pair, 0, now, 16, false),
        }
    }

    #[expect(clippy::too_many_arguments, reason = "what makes up a request")]
    fn ask<B: Body>(
        &mut self,
        node: &mut Node,
        body: &B,
        (from, to): (CoreId, CoreId),
        count: u64,
        now: u64,
        bounds: u64,
        sure: bool,
    ) {
        self.number = self.number.wrapping_add(1);
        let header = Header { request: self.number, dst: to, ..Header::default() };
        let due = now + bounds * self.bound;
        self.soonest = self.soonest.min(due);
        let request = Request { what: B::KIND, from, to, count, issued: now, due, lines: 0, sure };
        self.open.insert((node.core, self.number), request);
        node.monitor.message(now, node.client, &wire::encode(&header, body), &mut node.ports);
    }

    /// Reads what the client of `node` was answered.
    ///
    /// # Errors
    /// What is wrong with an answer.
    pub fn read(&mut self, node: &mut Node, now: u64) -> Result<(), String> {
        let core = node.core;
        let Some(Port::Client { inbox, .. }) = node.ports.ports.get_mut(node.client.0 as usize) else {
            return Ok(());
        };
        let mut credits = Vec::new();
        for message in inbox.drain(..) {
            let key = (core, message.header().request);
            let Some(request) = self.open.get_mut(&key) else {
                return Err(format!("an answer to request {} of {core}, which has no such", key.1));
            };
            let done = message.body::<Done>().map(|d| (d.refusal, d.lines));
            let done = done.or_else(|| message.body::<proc::Done>().map(|d| (d.refusal, request.lines)));
            let Some((refusal, announced)) = done else {
                request.lines += 1;
                if let Some(output) = message.body::<proc::Output>() {
                    let number =
                        u32::from_le_bytes([output.text[0], output.text[1], output.text[2], output.text[3]]);
                    if request.what == Spawn::KIND && number != u32::from(key.1) {
                        return Err(format!("{request:?}, number {}, hears what {number} prints", key.1));
                    }
                    if request.lines % (WINDOW / 2) == 0 {
                        let credit = Credit { pieces: WINDOW / 2, ..Credit::default() };
                        let header = Header { request: key.1, dst: request.to, ..Header::default() };
                        credits.push(wire::encode(&header, &credit));
                    }
                }
                if let Some(ticks) = message.body::<PingTicks>() {
                    if request.sure && ticks.lost > 0 || u64::from(ticks.count) != request.count {
                        return Err(format!("{request:?}: {ticks:?}"));
                    }
                    self.messages += u64::from(ticks.count - ticks.lost);
                }
                if let Some(report) = message.body::<StreamReport>() {
                    self.messages += report.received;
                }
                continue;
            };
            let request = self.open.remove(&key).expect("it was just found");
            let result = Refusal::result(refusal);
            if announced != request.lines && request.what != StreamQuery::KIND {
                return Err(format!("{request:?}: {announced} lines announced"));
            }
            if request.what == Spawn::KIND && result.is_ok() {
                // Killed ones have printed less.
                let printed = u64::from(request.lines) - 1;
                let killed =
                    message.body::<proc::Done>().is_some_and(|d| d.state == ProcessState::Killed as u8);
                if printed > request.count || printed < request.count && !killed {
                    return Err(format!("{request:?}: {printed} lines"));
                }
            }
            match result {
                Ok(()) => self.served += 1,
                Err(refusal @ (Refusal::Damaged | Refusal::BadKind | Refusal::Other)) => {
                    return Err(format!("{request:?} ended with: {refusal}"));
                }
                Err(refusal) if request.sure => {
                    return Err(format!(
                        "{request:?} ended with: {refusal}, though nothing stands in its way"
                    ));
                }
                Err(_) => self.refused += 1,
            }
        }
        for credit in credits {
            node.monitor.message(now, node.client, &credit, &mut node.ports);
        }
        Ok(())
    }

    /// A request that should have been answered by now.
    pub fn late(&mut self, now: u64) -> Option<String> {
        if now <= self.soonest {
            return None;
        }
        self.soonest = self.open.values().map(|r| r.due).min().unwrap_or(u64::MAX);
        let ((core, number), request) = self.open.iter().find(|(_, r)| r.due < now)?;
        Some(format!(
            "request {number} of {core} is not answered: {request:?}, issued {} ago",
            now - request.issued
        ))
    }

    /// Nobody waits there any more.
    pub fn forget(&mut self, island: IslandId) {
        self.open.retain(|(core, _), _| core.island() != island);
    }

    /// Whoever stood still could not answer.
    pub fn extend(&mut self, ticks: u64) {
        self.open.values_mut().for_each(|r| r.due += ticks);
    }
}
