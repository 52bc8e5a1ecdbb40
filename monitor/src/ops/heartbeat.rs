//! Whether the island's cores live.
//!
//! Each monitor but the first says so when it has said nothing else to the first for a quarter of the bound. The first
//! suspects a core that was silent for the whole of it; if it is still silent a beat later, it is reported as lost and by
//! [`Action::CoreSilent`]. The beat is for islands that stood still as a whole (a virtual machine that is stopped and
//! continued): then it was the first that did not listen, and the others need a moment to speak. What the binary does
//! then is the board's policy; the rule is that such a core takes its island down (nothing can reset one core from outside
//! on every ISA). Silence between islands is the business of the link's window, which raises `LinkLost`.

use crate::chans::Role;
use crate::event::{Action, Sink};
use crate::monitor::Monitor;
use alloc::format;
use skerry_hal::CoreId;
use skerry_urpc::formats::monitor::{Beat, CoreState};

/// Beats in a bound.
const BEATS: u64 = 4;

#[derive(Default)]
pub(crate) struct State {
    /// Since when some core is suspected.
    suspected: Option<u64>,
}

impl Monitor {
    /// The message itself is the news; [`Monitor::message`] has noted when it came.
    pub(crate) fn on_beat(&mut self, _: &Beat, _: &mut dyn Sink) {}

    pub(crate) fn heartbeat_deadline(&self) -> Option<u64> {
        let bound = self.config.pause_bound;
        if bound == 0 {
            return None;
        }
        if !self.is_first() {
            return Some(self.log.last_beat.saturating_add(bound / BEATS));
        }
        if let Some(since) = self.heartbeat.suspected {
            return Some(since.saturating_add(bound / BEATS));
        }
        let lives = |core| self.islands.core(core).is_some_and(|c| c.state == CoreState::Up);
        self.chans
            .iter()
            .filter(|(_, e)| matches!(e.role, Role::Core(core) if lives(core)))
            .map(|(_, e)| e.heard.saturating_add(bound))
            .min()
    }

    pub(crate) fn heartbeat_tick(&mut self, sink: &mut dyn Sink) {
        let bound = self.config.pause_bound;
        if bound == 0 {
            return;
        }
        if !self.is_first() {
            if self.now >= self.log.last_beat.saturating_add(bound / BEATS) {
                self.log.last_beat = self.now;
                self.log.beats += 1;
                let beat = Beat { count: self.log.beats, ..Beat::default() };
                self.send_body(CoreId::new(self.island, 0), 0, &beat, sink);
            }
            return;
        }
        let late = self.chans.iter().find_map(|(_, e)| match e.role {
            Role::Core(core) if e.up && self.now >= e.heard.saturating_add(bound) => {
                let lives = self.islands.core(core).is_some_and(|c| c.state == CoreState::Up);
                lives.then_some(core)
            }
            _ => None,
        });
        match (late, self.heartbeat.suspected) {
            (None, _) => self.heartbeat.suspected = None,
            (Some(_), None) => self.heartbeat.suspected = Some(self.now),
            (Some(core), Some(since)) if self.now >= since.saturating_add(bound / BEATS) => {
                self.core_silent(core, sink);
            }
            (Some(_), Some(_)) => {}
        }
    }

    /// A core of the island is given up. It is welcome if it reports again.
    pub(crate) fn core_silent(&mut self, core: CoreId, sink: &mut dyn Sink) {
        let Some(entry) = self.islands.core_mut(core).filter(|_| core.island() == self.island) else {
            return;
        };
        if entry.state == CoreState::Up && self.core.local() == 0 {
            entry.state = CoreState::Lost;
            self.note(1, format!("core {core} is silent"), sink);
            self.changed_core(core, sink);
            sink.act(Action::CoreSilent { core });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{Chan, Event};
    use crate::testkit::{Log, core, first, report};

    /// A monitor whose second core has come up, and bounds its pauses; that core's channel.
    fn watched() -> (Monitor, Chan, Log) {
        let mut log = Log::default();
        let mut m = first(0, 2, &[]);
        m.config.pause_bound = 1000;
        m.handle(0, Event::Start, &mut log);
        let Some(Action::StartCore { chan, .. }) = log.take_start() else { panic!("{log:?}") };
        m.message(10, chan, &report(core(0, 1)), &mut log);
        (m, chan, log)
    }

    #[test]
    fn a_silent_core_is_reported_once_and_may_come_back() {
        let (mut m, chan, mut log) = watched();
        m.handle(1009, Event::Tick, &mut log);
        assert_eq!(m.status_of(core(0, 1)), Ok(()));
        assert_eq!(m.deadline(), Some(1010));
        m.handle(1010, Event::Tick, &mut log);
        assert_eq!((m.status_of(core(0, 1)), m.deadline()), (Ok(()), Some(1260)), "suspected");
        m.handle(1260, Event::Tick, &mut log);
        m.handle(1261, Event::Tick, &mut log);
        let silent = |a: &&Action| matches!(a, Action::CoreSilent { .. });
        assert_eq!(log.actions.iter().filter(silent).count(), 1);
        assert_eq!(m.status_of(core(0, 1)), Err(skerry_urpc::formats::Refusal::Lost));
        m.message(1262, chan, &report(core(0, 1)), &mut log);
        assert_eq!(m.status_of(core(0, 1)), Ok(()));
    }

    #[test]
    fn an_island_that_stood_still_takes_none_of_its_cores_for_dead() {
        let (mut m, chan, mut log) = watched();
        for stood_still in [20_000, 50_000] {
            m.handle(stood_still, Event::Tick, &mut log);
            m.message(stood_still + 20, chan, &report(core(0, 1)), &mut log);
            m.handle(stood_still + 300, Event::Tick, &mut log);
        }
        assert!(log.actions.iter().all(|a| !matches!(a, Action::CoreSilent { .. })));
    }
}
