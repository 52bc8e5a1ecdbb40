//! The other cores of the island: the first monitor has them started, a few at a time, and goes on without those that
//! cannot be or that do not report in time (paper §4.3: CPU drivers share nothing, so each core boots by itself).

use crate::chans::Role;
use crate::event::{Action, Chan, Sink};
use crate::monitor::Monitor;
use alloc::format;
use alloc::vec::Vec;
use skerry_hal::CoreId;
use skerry_urpc::formats::Refusal;
use skerry_urpc::formats::monitor::CoreState;

/// How much longer than an answer a core may take to come up.
const START_BOUNDS: u64 = 4;

struct Pending {
    core: CoreId,
    chan: Chan,
    until: Option<u64>,
}

#[derive(Default)]
pub(crate) struct State {
    /// Cores on their way up.
    pending: Vec<Pending>,
}

impl Monitor {
    /// Starts as many cores as may be on their way up at the same time.
    pub(crate) fn start_cores(&mut self, sink: &mut dyn Sink) {
        while self.start.pending.len() < self.config.start_window.max(1) as usize {
            let present = |s| s == CoreState::Present;
            let Some(own) = self.islands.get(self.island) else { return };
            let Some(local) = own.cores.iter().position(|c| present(c.state)) else { return };
            let core = CoreId::new(self.island, local as u16);
            if !self.config.cores.iter().any(|c| c.local as usize == local) {
                self.settle(core, CoreState::Failed, sink);
                continue;
            }
            let Some(chan) = self.chans.add(Role::Core(core), true) else {
                self.note(1, format!("no channel left for core {core}"), sink);
                self.settle(core, CoreState::Failed, sink);
                continue;
            };
            let until = self.within(self.config.bound.saturating_mul(START_BOUNDS));
            self.start.pending.push(Pending { core, chan, until });
            let node = self.islands.core(core).map_or(0, |c| c.node);
            self.settle(core, CoreState::Starting, sink);
            sink.act(Action::StartCore { core, node, chan });
        }
    }

    /// A core of the island now stands there.
    pub(crate) fn settle(&mut self, core: CoreId, state: CoreState, sink: &mut dyn Sink) {
        if let Some(entry) = self.islands.core_mut(core) {
            entry.state = state;
            self.changed_core(core, sink);
        }
    }

    /// A core's monitor has reported for the first time.
    pub(crate) fn on_core_up(&mut self, core: CoreId, chan: Chan, sink: &mut dyn Sink) {
        self.start.pending.retain(|p| p.core != core);
        if let Some(entry) = self.chans.get_mut(chan) {
            entry.heard = self.now;
        }
        self.channels_changed(sink);
        self.power_settled(core, Ok(()), sink);
        self.start_cores(sink);
    }

    pub(crate) fn on_start_failed(&mut self, core: CoreId, why: &str, sink: &mut dyn Sink) {
        let Some(index) = self.start.pending.iter().position(|p| p.core == core) else { return };
        let pending = self.start.pending.remove(index);
        self.note(1, format!("core {core} could not be started: {why}"), sink);
        self.chans.remove(pending.chan);
        self.settle(core, CoreState::Failed, sink);
        self.power_settled(core, Err(Refusal::NotUp), sink);
        self.start_cores(sink);
    }

    pub(crate) fn start_deadline(&self) -> Option<u64> {
        self.start.pending.iter().filter_map(|p| p.until).min()
    }

    /// Gives up waiting for cores that did not report. Their channel stays: a late one is welcome.
    pub(crate) fn start_tick(&mut self, sink: &mut dyn Sink) {
        while let Some(index) = self.start.pending.iter().position(|p| self.is_past(p.until)) {
            let core = self.start.pending.remove(index).core;
            self.note(1, format!("core {core} was started but does not report"), sink);
            self.settle(core, CoreState::Failed, sink);
            self.power_settled(core, Err(Refusal::NotUp), sink);
            self.start_cores(sink);
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::event::{Action, Event};
    use crate::testkit::{Log, core, first};
    use skerry_urpc::formats::monitor::CoreState;

    #[test]
    fn cores_start_one_after_the_other_and_a_failed_one_holds_nobody_up() {
        let mut log = Log::default();
        let mut m = first(0, 4, &[]);
        m.handle(0, Event::Start, &mut log);
        let Some(Action::StartCore { core: one, chan, .. }) = log.take_start() else { panic!("{log:?}") };
        assert_eq!((one, log.take_start()), (core(0, 1), None));
        m.handle(1, Event::StartFailed { core: one, why: "no".into() }, &mut log);
        assert_eq!(m.islands().core(one).unwrap().state, CoreState::Failed);
        let Some(Action::StartCore { core: two, chan: next, .. }) = log.take_start() else {
            panic!("{log:?}")
        };
        assert_eq!((two, next), (core(0, 2), chan), "the number is used again");
        m.message(2, next, &crate::testkit::report(two), &mut log);
        assert_eq!(m.islands().core(two).unwrap().state, CoreState::Up);
        let Some(Action::StartCore { core: three, .. }) = log.take_start() else { panic!("{log:?}") };
        assert_eq!(three, core(0, 3));
        let late = m.deadline().unwrap();
        m.handle(late, Event::Tick, &mut log);
        assert_eq!(m.islands().core(three).unwrap().state, CoreState::Failed);
        assert!(m.islands().get(m.core().island()).unwrap().settled);
    }

    #[test]
    fn a_late_report_is_welcome() {
        let mut log = Log::default();
        let mut m = first(0, 2, &[]);
        m.handle(0, Event::Start, &mut log);
        let Some(Action::StartCore { chan, .. }) = log.take_start() else { panic!("{log:?}") };
        m.handle(m.deadline().unwrap(), Event::Tick, &mut log);
        assert_eq!(m.status_of(core(0, 1)).unwrap_err(), skerry_urpc::formats::Refusal::NotUp);
        m.message(u64::MAX / 2, chan, &crate::testkit::report(core(0, 1)), &mut log);
        assert_eq!(m.status_of(core(0, 1)), Ok(()));
    }
}
