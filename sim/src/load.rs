//! Requests of domains: pings, streams, tables. Each must be answered once, and in time.

use crate::node::{Node, Port};
use crate::plan::Plan;
use crate::rng::Rng;
use crate::world::BOUND;
use skerry_hal::{CoreId, IslandId};
use skerry_urpc::formats::Refusal;
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
}

/// Answers that a request may have at a core at a time.
const ROOM: usize = 4;

impl Load {
    /// A client's end of its channel.
    pub fn client() -> Port {
        Port::Client { inbox: Default::default(), room: ROOM }
    }

    /// Some request from `node`.
    pub fn issue(&mut self, plan: &Plan, node: &mut Node, now: u64, rng: &mut Rng) {
        let mut core = || {
            if rng.one_in(40) {
                return CoreId::new(IslandId(rng.below(70) as u16), rng.below(9) as u16);
            }
            let island = rng.below(plan.islands.len() as u64) as u16;
            CoreId::new(IslandId(island), rng.below(plan.islands[island as usize].into()) as u16)
        };
        let (from, to) = (core(), core());
        match rng.below(10) {
            0..6 => self.ping(node, from, to, rng.between(1, 6) as u32, now, false),
            6..8 => {
                let count = rng.between(1, 200);
                let query = StreamQuery { from, to, count, ..StreamQuery::default() };
                self.ask(node, &query, (from, to), count, now, 24, false);
            }
            8 => self.ask(node, &CoresQuery::default(), (from, to), 0, now, 4, false),
            _ => self.ask(node, &IslandsQuery::default(), (from, to), 0, now, 4, false),
        }
    }

    /// A ping; `sure` if nothing stands in its way.
    pub fn ping(&mut self, node: &mut Node, from: CoreId, to: CoreId, count: u32, now: u64, sure: bool) {
        let query = PingQuery { from, to, count, ..PingQuery::default() };
        self.ask(node, &query, (from, to), count.into(), now, u64::from(count) + 8, sure);
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
        let header = Header { request: self.number, ..Header::default() };
        let due = now + bounds * BOUND;
        let request = Request { what: B::KIND, from, to, count, issued: now, due, lines: 0, sure };
        self.open.insert((node.core, self.number), request);
        node.monitor.message(now, node.client, &wire::encode(&header, body), &mut node.ports);
    }

    /// Reads what the client of `node` was answered.
    ///
    /// # Errors
    /// What is wrong with an answer.
    pub fn read(&mut self, node: &mut Node) -> Result<bool, String> {
        let core = node.core;
        let Some(Port::Client { inbox, .. }) = node.ports.ports.get_mut(node.client.0 as usize) else {
            return Ok(false);
        };
        let busy = !inbox.is_empty();
        for message in inbox.drain(..) {
            let key = (core, message.header().request);
            let Some(request) = self.open.get_mut(&key) else {
                return Err(format!("an answer to request {} of {core}, which has no such", key.1));
            };
            let Some(done) = message.body::<Done>() else {
                request.lines += 1;
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
            let result = Refusal::result(done.refusal);
            if done.lines != request.lines && request.what != StreamQuery::KIND {
                return Err(format!("{request:?}: {} lines announced", done.lines));
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
        Ok(busy)
    }

    /// A request that should have been answered by now.
    pub fn late(&self, now: u64) -> Option<String> {
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
