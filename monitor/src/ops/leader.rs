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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{Chan, Event};
    use crate::testkit::{Log, core, first, island_says};
    use skerry_hal::Epoch;
    use skerry_urpc::formats::monitor::IslandAd;
    use skerry_urpc::wire::encode;

    #[test]
    fn the_system_is_announced_when_every_core_of_it_is_known() {
        let mut log = Log::default();
        let mut m = first(0, 1, &[1]);
        m.handle(0, Event::Start, &mut log);
        m.handle(1, Event::LinkUp { link: 0, epoch: Epoch(1), own: Epoch(1) }, &mut log);
        let [island, its_core] = island_says(1, 1, 1, 0b1, core(0, 0));
        let system = |a: &Action| matches!(a, Action::Announce(Announce::System { .. }));
        m.message(2, Chan(0), &island, &mut log);
        assert!(!log.actions.iter().any(system), "it has settled, but where is its core?");
        m.message(3, Chan(0), &its_core, &mut log);
        let whole = Action::Announce(Announce::System { cores: 2, islands: 2 });
        assert!(log.actions.contains(&whole), "{:?}", log.actions);
    }

    #[test]
    fn an_island_first_heard_of_after_the_wait_keeps_nobody_waiting() {
        let mut log = Log::default();
        let mut m = first(2, 1, &[1]);
        m.handle(0, Event::Start, &mut log);
        m.handle(100_000, Event::Tick, &mut log);
        assert!(log.actions.contains(&Action::Shell { offer: true }), "{:?}", log.actions);
        m.handle(100_001, Event::LinkUp { link: 0, epoch: Epoch(1), own: Epoch(1) }, &mut log);
        // It has a link to island 0 as well, which is not there.
        let [mut island, its_core] = island_says(1, 1, 1, 0b100, core(2, 0));
        let mut ad: IslandAd = island.body().unwrap();
        ad.wired = 0b101;
        island = encode(&island.header(), &ad);
        log.actions.clear();
        m.message(100_002, Chan(0), &island, &mut log);
        m.message(100_003, Chan(0), &its_core, &mut log);
        assert_eq!(m.leader(), Some(IslandId(1)));
        assert!(log.actions.contains(&Action::Shell { offer: false }), "{:?}", log.actions);
    }
}
