//! Which island offers the shell, and the two lines that everybody waits for.
//!
//! The leader is the lowest island that is up. It takes part in nothing but that: no operation needs a leader, and two
//! for a moment (while the news spreads) are no harm but a second prompt.

use crate::event::{Action, Announce, Sink};
use crate::monitor::Monitor;
use skerry_hal::IslandId;
use skerry_urpc::formats::shell::IslandState;

#[derive(Default)]
pub(crate) struct State {
    island_said: bool,
    system_said: bool,
    offers: bool,
}

impl Monitor {
    /// The island that offers the shell, once it is known who is there.
    pub fn leader(&self) -> Option<IslandId> {
        let up = self.islands.iter().find(|(_, island)| island.state == IslandState::Up);
        up.map(|(id, _)| id).filter(|_| !self.is_joining())
    }

    /// Something changed in who is there.
    pub(crate) fn leader_check(&mut self, sink: &mut dyn Sink) {
        if !self.is_first() {
            return;
        }
        if let Some(own) = self.islands.get(self.island)
            && own.settled
            && !self.leader.island_said
        {
            self.leader.island_said = true;
            sink.act(Action::Announce(Announce::Island { cores: own.cores_up() }));
        }
        let Some(leader) = self.leader() else { return };
        if leader == self.island && !self.leader.system_said {
            let cores = self.islands.iter().map(|(_, i)| i.cores_up()).sum();
            let islands = self.islands.iter().filter(|(_, i)| i.state == IslandState::Up).count() as u32;
            sink.act(Action::Announce(Announce::System { cores, islands }));
        }
        self.leader.system_said = true;
        let offer = leader == self.island;
        if offer != self.leader.offers {
            self.leader.offers = offer;
            sink.act(Action::Shell { offer });
        }
    }
}
