//! What the knowledge base of this island hears from its monitors, beside what clients ask it: the first monitor, which has
//! the channel to it, tells it what cores and islands come and go, and passes on what the others ask for, and what the
//! knowledge bases of the islands tell each other.

use crate::event::Sink;
use crate::monitor::Monitor;
use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use skerry_hal::{CoreId, Epoch};
use skerry_urpc::Message;
use skerry_urpc::formats::Refusal;
use skerry_urpc::formats::knowledge::{
    CoreNews, IslandNews, LatencyNews, LogPart, LogQuery, LogState, MeasurePart, MeasureQuery, PollTime,
    TreePart, TreeQuery, WakeNews,
};
use skerry_urpc::formats::monitor::CoreState;
use skerry_urpc::formats::shell::IslandState;
use skerry_urpc::wire::{self, Body, Header};

/// Whether a kind passes between monitors and the knowledge base outside sessions.
pub(crate) const fn is_advice(kind: u16) -> bool {
    matches!(kind >> 4, 0x081 | 0x082)
}

/// Whether a kind is one knowledge base's to another.
const fn is_replicas(kind: u16) -> bool {
    matches!(kind, LogQuery::KIND | LogPart::KIND | LogState::KIND)
}

/// Whether a kind is a question or news from a monitor of the island.
const fn is_monitors(kind: u16) -> bool {
    matches!(kind, TreeQuery::KIND | MeasureQuery::KIND | LatencyNews::KIND | WakeNews::KIND)
}

/// What it was told last.
#[derive(Default)]
pub(crate) struct State {
    /// Cores that take no part.
    off: Vec<CoreId>,
    /// Each island's epoch, and whether it can be reached.
    islands: BTreeMap<u16, (Epoch, bool)>,
}

impl Monitor {
    /// Tells the knowledge base what has changed. What finds no room is told next time.
    pub(crate) fn knowledge_recheck(&mut self, sink: &mut dyn Sink) {
        if self.knowledge_chan().is_none() {
            return;
        }
        let news: Vec<(u16, Epoch, bool)> = self
            .islands
            .iter()
            .map(|(id, island)| (id.0, island.epoch, island.state == IslandState::Up))
            .filter(|&(id, epoch, up)| {
                self.knowledge.islands.get(&id).map_or(up, |&told| told != (epoch, up))
            })
            .collect();
        for (id, epoch, up) in news {
            let island = skerry_hal::IslandId(id);
            let body = IslandNews { island, up: up.into(), epoch, ..IslandNews::default() };
            if self.tell_knowledge(self.core, &body, sink).is_ok() {
                self.knowledge.islands.insert(id, (epoch, up));
            }
        }
        let Some(own) = self.islands.get(self.island) else { return };
        let core = |n: usize| CoreId::new(self.island, n as u16);
        let changed = |(n, state): (usize, CoreState)| match state {
            CoreState::Up => self.knowledge.off.contains(&core(n)).then_some((core(n), true)),
            CoreState::Failed | CoreState::Lost | CoreState::Off => {
                (!self.knowledge.off.contains(&core(n))).then_some((core(n), false))
            }
            CoreState::Present | CoreState::Starting => None,
        };
        let states = own.cores.iter().map(|core| core.state).enumerate();
        let news: Vec<(CoreId, bool)> = states.filter_map(changed).collect();
        for (core, up) in news {
            let body = CoreNews { core, up: up.into(), ..CoreNews::default() };
            if self.tell_knowledge(self.core, &body, sink).is_ok() {
                self.knowledge.off.retain(|off| *off != core);
                self.knowledge.off.extend((!up).then_some(core));
            }
        }
    }

    /// Says something to it that comes from `src`.
    fn tell_knowledge<B: Body>(&mut self, src: CoreId, body: &B, sink: &mut dyn Sink) -> Result<(), Refusal> {
        self.pass_to_knowledge(src, &wire::encode(&Header::default(), body), sink)
    }

    fn pass_to_knowledge(
        &mut self,
        src: CoreId,
        message: &Message,
        sink: &mut dyn Sink,
    ) -> Result<(), Refusal> {
        let chan = self.knowledge_chan().ok_or(Refusal::NoServer)?;
        let mut onward = *message;
        onward.set_header(&Header { src, ..self.header(self.core, 0) });
        self.chans.get_mut(chan).ok_or(Refusal::NoServer)?.send(chan, &onward, sink)
    }

    /// A monitor of the island asks, or is answered; or another island's knowledge base says something.
    pub(crate) fn on_advice(&mut self, message: &Message, header: &Header, sink: &mut dyn Sink) {
        if is_replicas(message.kind) && self.is_first() && self.is_replica(header.src) {
            // What does not get there is asked for again.
            if self.pass_to_knowledge(header.src, message, sink).is_err() {
                self.counters.faults += 1;
            }
            return;
        }
        let asked = match message.kind {
            kind if is_monitors(kind) && header.src.island() == self.island => {
                self.pass_to_knowledge(header.src, message, sink)
            }
            _ => self.advised(message, header, sink).ok_or(Refusal::BadKind),
        };
        if let Err(refusal) = asked {
            self.fault(message.kind, header, refusal, sink);
        }
    }

    /// It answers this monitor. `None` if that is no answer.
    fn advised(&mut self, message: &Message, header: &Header, sink: &mut dyn Sink) -> Option<()> {
        if let Some(part) = message.body::<TreePart>() {
            self.on_tree_part(&part, header, sink);
        } else if let Some(part) = message.body::<MeasurePart>() {
            self.on_measure_part(&part, header, sink);
        } else if let Some(time) = message.body::<PollTime>() {
            self.on_poll_time(&time, header, sink);
        } else {
            return None;
        }
        Some(())
    }

    /// Whether another island's knowledge base is at that core.
    fn is_replica(&self, core: CoreId) -> bool {
        core.local() == 0 && core.island() != self.island
    }

    /// It answers a monitor, or says something to another island's.
    pub(crate) fn knowledge_says(&mut self, message: &Message, sink: &mut dyn Sink) {
        let dst = message.header().dst;
        let may = match message.kind {
            TreePart::KIND | MeasurePart::KIND | PollTime::KIND => dst.island() == self.island,
            kind => is_replicas(kind) && self.is_replica(dst),
        };
        if !may {
            self.counters.bad += 1;
            return;
        }
        let mut onward = *message;
        onward.set_header(&self.header(dst, 0));
        self.send(&onward, dst, sink);
    }
}
