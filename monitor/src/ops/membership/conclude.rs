//! What follows from the table of islands: who is reachable, who is lost, where messages go, for whom to wait.

use crate::chans::Role;
use crate::event::{Chan, Sink};
use crate::monitor::Monitor;
use crate::table::{Core, Known};
use alloc::format;
use alloc::string::ToString;
use alloc::vec::Vec;
use skerry_hal::{CoreId, Epoch, IslandId};
use skerry_urpc::formats::monitor::{CoreState, IslandQuery};
use skerry_urpc::formats::shell::IslandState;
use skerry_urpc::wire;

impl Monitor {
    /// Draws all conclusions from the table: who is reachable, what is lost, where messages go.
    pub(crate) fn recompute(&mut self, sink: &mut dyn Sink) {
        let via = self.islands.routes(self.island);
        let (me, first) = (self.island, self.is_first());
        // Of an island that is first heard of after the wait, nobody expects anything.
        let waits = self.config.join_bound == 0 || self.membership.join_until.is_some();
        let mut joined = Vec::new();
        let mut silent = None;
        for (id, island) in self.islands.iter_mut().filter(|(id, _)| *id != me) {
            let index = id.0 as usize;
            let reachable = via[index].is_some() && island.epoch > island.refused;
            let link = |peer| self.membership.links.iter().position(|l| l.peer == peer);
            self.to_island[index] = match via[index] {
                _ if !reachable => None,
                Some(next) if first => link(next).map(|n| Chan(n as u16)),
                _ => Some(Chan(0)),
            };
            let was = island.state;
            island.state = match was {
                _ if reachable => IslandState::Up,
                IslandState::Up => {
                    island.known = Known::Stale;
                    IslandState::Unreachable
                }
                IslandState::Expected if !waits => IslandState::Absent,
                was => was,
            };
            // What a greeting on an own link says is newer than what was advertised.
            let greeted = link(id).and_then(|n| self.membership.links[n].up);
            self.accepted[index] = greeted.unwrap_or(if reachable { island.epoch } else { Epoch(0) });
            if was != IslandState::Up && reachable {
                joined.push((id, island.epoch, island.cores.len()));
            }
            let failed = link(id).map(|n| &self.membership.links[n]);
            if failed.is_some_and(|l| l.up.is_none() && l.failed == island.epoch && l.failed > island.refused)
                && island.state == IslandState::Unreachable
            {
                silent = Some((id, island.epoch));
            }
        }
        self.route_cores();
        for (id, epoch, cores) in joined {
            if first {
                self.note(3, format!("island {id} joined in epoch {epoch} with {cores} cores"), sink);
            }
        }
        if let Some((id, epoch)) = silent {
            return self.give_up(id, epoch, self.core, None, sink);
        }
        self.ask_again(&via, sink);
        self.recheck(sink);
        self.leader_check(sink);
    }

    /// Draws those that follow from what is new about a core: it leads nowhere, unless it is of this island.
    pub(super) fn conclude_core(&mut self, core: CoreId, sink: &mut dyn Sink) {
        if core.island() == self.island {
            return self.recompute(sink);
        }
        self.recheck(sink);
        self.leader_check(sink);
    }

    /// Asks for islands that could not be reached, and to which somebody who can be has a link now. Most often their
    /// advertisement is on its way already.
    fn ask_again(&mut self, via: &[Option<IslandId>], sink: &mut dyn Sink) {
        let me = self.island;
        let way = |link: &IslandId| via.get(usize::from(link.0)).copied().flatten();
        let mut questions = Vec::new();
        for (id, island) in self.islands.iter().filter(|(_, i)| i.known != Known::Fresh) {
            let leads = |(at, other): &(IslandId, &crate::table::Island)| {
                *at != me && way(at).is_some() && other.links >> id.0 & 1 == 1
            };
            let through = self.islands.iter().find(leads).map(|(at, _)| at);
            let asked = through.map_or(Known::Stale, Known::Asked);
            if asked != island.known {
                questions.push((id, through, asked));
            }
        }
        for (id, through, asked) in questions {
            // An app core asks its first monitor, who asks on.
            let next = through.and_then(|at| if self.is_first() { way(&at) } else { Some(me) });
            let query = IslandQuery { island: id, ..IslandQuery::default() };
            let sent = next.is_none_or(|next| {
                let to = CoreId::new(next, 0);
                let message = wire::encode(&self.header(to, 0), &query);
                self.try_send(&message, to, sink).is_ok()
            });
            if sent && let Some(island) = self.islands.get_mut(id) {
                island.known = asked;
            }
        }
    }

    /// Which channel leads to which core of the own island.
    fn route_cores(&mut self) {
        self.to_core.clear();
        for (chan, entry) in self.chans.iter() {
            let Role::Core(core) = entry.role else { continue };
            let index = core.local() as usize;
            let lives = !self.is_first() || self.islands.core(core).is_some_and(|c| c.state == CoreState::Up);
            if entry.up && lives {
                if self.to_core.len() <= index {
                    self.to_core.resize(index + 1, None);
                }
                self.to_core[index] = Some(chan);
            }
        }
    }

    /// Whoever waits for something that will not come need not any longer.
    pub(crate) fn recheck(&mut self, sink: &mut dyn Sink) {
        self.ping_recheck(sink);
        self.stream_recheck(sink);
        self.client_recheck(sink);
        self.proc_recheck(sink);
        self.endpoint_recheck(sink);
        self.agree_recheck();
        self.knowledge_recheck(sink);
        self.measure_recheck(sink);
        self.tree_recheck(sink);
    }

    pub(crate) fn membership_deadline(&self) -> Option<u64> {
        self.membership.join_until
    }

    pub(crate) fn membership_tick(&mut self, sink: &mut dyn Sink) {
        if !self.is_past(self.membership.join_until) {
            return;
        }
        self.membership.join_until = None;
        let absent: Vec<_> = self
            .islands
            .iter_mut()
            .filter(|(_, island)| island.state == IslandState::Expected)
            .map(|(id, island)| {
                island.state = IslandState::Absent;
                id.to_string()
            })
            .collect();
        if !absent.is_empty() && self.is_first() {
            self.note(2, format!("going on without island {}", absent.join(", ")), sink);
        }
        self.leader_check(sink);
    }

    /// Whether islands are still waited for, or cores of those that are up: an island may have settled before this
    /// replica has heard of all its cores.
    pub(crate) fn is_joining(&self) -> bool {
        let unsettled = |c: &Core| matches!(c.state, CoreState::Present | CoreState::Starting);
        self.islands.iter().any(|(_, island)| match island.state {
            IslandState::Expected => true,
            IslandState::Up => !island.settled || island.cores.iter().any(unsettled),
            IslandState::Absent | IslandState::Lost | IslandState::Unreachable => false,
        })
    }
}
