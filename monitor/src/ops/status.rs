//! Tables for people: cores, islands, memory. One line is one message, and lines are sent as the client has room.

use crate::chans::Table;
use crate::event::{Chan, Sink};
use crate::monitor::Monitor;
use crate::table::Cursor;
use alloc::collections::BTreeMap;
use skerry_hal::{CoreId, IslandId};
use skerry_urpc::Message;
use skerry_urpc::formats::monitor::CoreState;
use skerry_urpc::formats::shell::{CoreLine, IslandLine, IslandState, MemoryLine};
use skerry_urpc::wire;

#[derive(Default)]
pub(crate) struct State {
    memory: BTreeMap<CoreId, (u32, u64, u64)>,
}

impl Monitor {
    pub(crate) fn on_memory(&mut self, core: CoreId, node: u32, total: u64, free: u64) {
        let own = self.islands.core(core).is_some() && core.island() == self.island;
        if own {
            self.status.memory.insert(core, (node, total, free));
        }
    }

    /// Sends on with the table that a client asked for, as far as there is room.
    pub(crate) fn list(&mut self, chan: Chan, sink: &mut dyn Sink) {
        while let Some(entry) = self.chans.get(chan)
            && let Some(mut listing) = entry.listing
        {
            let header = self.header(self.core, listing.request);
            let Some((id, core)) = self.islands.next(listing.at) else {
                if entry.room() > 0 {
                    if let Some(entry) = self.chans.get_mut(chan) {
                        entry.listing = None;
                    }
                    self.done(chan, listing.request, Ok(()), listing.lines, sink);
                }
                return;
            };
            let line: Option<Message> = match (listing.what, core) {
                (Table::Cores, Some(local)) => {
                    self.core_line(CoreId::new(id, local)).map(|l| wire::encode(&header, &l))
                }
                (Table::Memory, Some(local)) => {
                    self.memory_line(CoreId::new(id, local)).map(|l| wire::encode(&header, &l))
                }
                (Table::Islands, None) => self.island_line(id).map(|l| wire::encode(&header, &l)),
                _ => None,
            };
            listing.at = Cursor { island: id.0, core: core.map_or(1, |c| c + 2) };
            let Some(entry) = self.chans.get_mut(chan) else { return };
            if let Some(line) = line {
                if entry.send(chan, &line, sink).is_err() {
                    return;
                }
                listing.lines += 1;
            }
            entry.listing = Some(listing);
        }
    }

    fn core_line(&self, id: CoreId) -> Option<CoreLine> {
        let island = self.islands.get(id.island())?;
        let core = self.islands.core(id)?;
        // Of an island that cannot be reached nothing is known but what it last said of itself.
        let state = match island.state {
            IslandState::Lost | IslandState::Unreachable => CoreState::Lost,
            _ => core.state,
        };
        Some(CoreLine {
            core: id,
            epoch: island.epoch,
            isa: core.isa.or(island.isa).map_or(0, |isa| isa as u8),
            state: state as u8,
            node: core.node,
            channels: if id == self.core { self.chans.peers() } else { core.channels },
            reserved: 0,
            frequency: core.frequency,
            ..CoreLine::default()
        })
    }

    fn island_line(&self, id: IslandId) -> Option<IslandLine> {
        let island = self.islands.get(id)?;
        Some(IslandLine {
            island: id,
            isa: island.isa.map_or(0, |isa| isa as u8),
            state: island.state as u8,
            epoch: island.epoch,
            cores: island.cores.len() as u16,
            up: island.cores_up() as u16,
            leader: u8::from(self.leader() == Some(id)),
            links: island.links,
            ..IslandLine::default()
        })
    }

    fn memory_line(&self, core: CoreId) -> Option<MemoryLine> {
        let &(node, total, free) = self.status.memory.get(&core)?;
        Some(MemoryLine { core, node, total, free, ..MemoryLine::default() })
    }
}
