//! Taking a core off line, and starting it again, while the rest runs on (paper §3.3: power management and hotplug are
//! changes of a replicated membership like any other).
//!
//! Whoever wants it asks the island's first monitor, which does one such thing at a time. A core on which programs run
//! stays. One that goes has its process server start nothing more, says so to the first monitor as its last message,
//! and stops when that has left. The first monitor then advertises it as off; that comes to every other monitor in the
//! order of its channel, which closes its own channel to that core and ends whatever waited for it. A core that
//! is started again is new: its monitor knows nothing of the one before.

use crate::chans::Role;
use crate::event::{Action, Sink};
use crate::monitor::Monitor;
use skerry_hal::CoreId;
use skerry_urpc::Message;
use skerry_urpc::formats::Refusal;
use skerry_urpc::formats::monitor::{CoreLeave, CoreLeft, CorePower, CorePowerDone, CoreState};
use skerry_urpc::formats::proc::{Retire, Retired};
use skerry_urpc::wire::{self, Body, Header};

/// How much longer than an answer a core may take to come up, or to go.
const BOUNDS: u64 = 6;

/// What the first monitor is asked for.
struct Job {
    core: CoreId,
    asker: CoreId,
    request: u16,
    until: Option<u64>,
}

#[derive(Default)]
pub(crate) struct State {
    /// What is under way; the first monitor's.
    job: Option<Job>,
    /// How far this core is on its own way.
    leaving: Leaving,
}

#[derive(Clone, Copy, PartialEq, Eq, Default)]
enum Leaving {
    /// Nobody wants it to go.
    #[default]
    No,
    /// The process server has been asked.
    Asked,
    /// The last message has been given to the channel.
    Said,
    /// The binary has been told to stop.
    Gone,
}

impl Monitor {
    /// Somebody wants a core of this island on or off.
    pub(crate) fn on_core_power(&mut self, wanted: &CorePower, header: &Header, sink: &mut dyn Sink) {
        let (asker, request) = (header.src, header.request);
        let begun = self.begin_power(wanted.core, wanted.on != 0, sink);
        if begun == Ok(true) {
            let until = self.within(self.config.bound.saturating_mul(BOUNDS));
            self.offline.job = Some(Job { core: wanted.core, asker, request, until });
            self.start_cores(sink);
        } else {
            self.power_done(asker, request, begun.map(drop), sink);
        }
    }

    /// Answers whether something is under way now.
    fn begin_power(&mut self, core: CoreId, on: bool, sink: &mut dyn Sink) -> Result<bool, Refusal> {
        if !self.is_first() || core.island() != self.island {
            return Err(Refusal::BadRequest);
        }
        if core.local() == 0 {
            return if on { Ok(false) } else { Err(Refusal::FirstCore) };
        }
        let state = self.islands.core(core).ok_or(Refusal::Unknown)?.state;
        // One that was given up late may still report: its channel is there, and it has no other.
        let known = self.chans.iter().any(|(_, e)| e.role == Role::Core(core));
        match (on, state) {
            (true, CoreState::Up) | (false, CoreState::Off) => Ok(false),
            _ if self.offline.job.is_some() => Err(Refusal::Busy),
            (false, CoreState::Up) => {
                self.send_body(core, 0, &CoreLeave::default(), sink);
                Ok(true)
            }
            (true, CoreState::Off | CoreState::Failed) if !known => {
                self.settle(core, CoreState::Present, sink);
                Ok(true)
            }
            (_, CoreState::Lost) => Err(Refusal::Lost),
            (_, CoreState::Present | CoreState::Starting) => Err(Refusal::Busy),
            (true, _) | (false, CoreState::Failed) => Err(Refusal::NotUp),
        }
    }

    fn power_done(&mut self, asker: CoreId, request: u16, result: Result<(), Refusal>, sink: &mut dyn Sink) {
        let done = CorePowerDone { refusal: Refusal::code(result), ..CorePowerDone::default() };
        self.send_body(asker, request, &done, sink);
    }

    /// A core has come up, or it is known that it will not: whoever asked for it hears so.
    pub(crate) fn power_settled(&mut self, core: CoreId, result: Result<(), Refusal>, sink: &mut dyn Sink) {
        if let Some(job) = self.offline.job.take_if(|job| job.core == core) {
            self.power_done(job.asker, job.request, result, sink);
        }
    }

    /// The first monitor wants this core to go.
    pub(crate) fn on_core_leave(&mut self, header: &Header, sink: &mut dyn Sink) {
        if self.is_first() || header.src != CoreId::new(self.island, 0) {
            self.counters.bad += 1;
        } else if self.offline.leaving == Leaving::No {
            if !self.shares_nothing() {
                let left = CoreLeft { refusal: Refusal::Occupied as u16, ..CoreLeft::default() };
                return self.send_body(header.src, 0, &left, sink);
            }
            self.offline.leaving = Leaving::Asked;
            let retire = wire::encode(&self.header(self.core, 0), &Retire::default());
            if self.tell_server(&retire, sink).is_err() {
                // A core without a process server has no programs.
                self.on_retired(0, sink);
            }
        }
    }

    /// The process server speaks to the monitor itself. Answers whether it was that.
    pub(crate) fn server_retired(&mut self, message: &Message, sink: &mut dyn Sink) -> bool {
        if message.kind != Retired::KIND {
            return false;
        }
        if let Some(body) = message.body::<Retired>() {
            self.on_retired(body.running, sink);
        }
        true
    }

    fn on_retired(&mut self, running: u32, sink: &mut dyn Sink) {
        if self.offline.leaving != Leaving::Asked {
            return;
        }
        let result = if running == 0 { Ok(()) } else { Err(Refusal::InUse) };
        self.offline.leaving = if running == 0 { Leaving::Said } else { Leaving::No };
        let left = CoreLeft { refusal: Refusal::code(result), ..CoreLeft::default() };
        self.send_body(CoreId::new(self.island, 0), 0, &left, sink);
    }

    /// Whether this core may go soon, so that nothing of its is to be shared now.
    pub(crate) fn may_leave(&self) -> bool {
        self.offline.leaving != Leaving::No
    }

    /// Whether [`Monitor::flush`] is what this core still waits for.
    pub(crate) fn is_leaving(&self) -> bool {
        self.offline.leaving == Leaving::Said
    }

    /// Stops this core when its last word has left.
    pub(crate) fn leave_flush(&mut self, sink: &mut dyn Sink) {
        if self.is_leaving() && !self.has_backlog() {
            self.offline.leaving = Leaving::Gone;
            sink.act(Action::StopCore);
        }
    }

    /// A core goes, or will not.
    pub(crate) fn on_core_left(&mut self, left: &CoreLeft, header: &Header, sink: &mut dyn Sink) {
        let core = header.src;
        let lives = self.islands.core(core).is_some_and(|c| c.state == CoreState::Up);
        if !self.is_first() || core.island() != self.island || !lives {
            self.counters.bad += 1;
            return;
        }
        let result = Refusal::result(left.refusal);
        if result.is_ok() {
            self.drop_peer(core, sink);
            self.settle(core, CoreState::Off, sink);
        }
        self.power_settled(core, result, sink);
    }

    pub(crate) fn offline_deadline(&self) -> Option<u64> {
        self.offline.job.as_ref().and_then(|job| job.until)
    }

    /// Whoever asked need not wait longer than the bound. What was begun goes on.
    pub(crate) fn offline_tick(&mut self, sink: &mut dyn Sink) {
        if let Some(core) =
            self.offline.job.as_ref().filter(|job| self.is_past(job.until)).map(|job| job.core)
        {
            self.power_settled(core, Err(Refusal::TimedOut), sink);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{Chan, Event};
    use crate::testkit::{Log, app, core, first, message, report};
    use skerry_urpc::formats::monitor::CoreAd;

    /// The first monitor of three cores that are up, and their channels.
    fn three() -> (Monitor, Log) {
        let mut log = Log::default();
        let mut m = first(0, 3, &[]);
        m.handle(0, Event::Start, &mut log);
        m.message(1, Chan(0), &report(core(0, 1)), &mut log);
        m.message(2, Chan(1), &report(core(0, 2)), &mut log);
        log.sent.clear();
        log.actions.clear();
        (m, log)
    }

    fn ask(m: &mut Monitor, which: CoreId, on: u8, log: &mut Log) {
        let wanted = CorePower { core: which, on, ..CorePower::default() };
        m.message(3, Chan(0), &message(core(0, 1), core(0, 0), 7, &wanted), log);
    }

    fn answer(log: &mut Log) -> Option<Result<(), Refusal>> {
        let (chan, (header, done)) = log.take_sent::<CorePowerDone>()?;
        assert_eq!((chan, header.request), (Chan(0), 7));
        Some(Refusal::result(done.refusal))
    }

    fn left(m: &mut Monitor, refusal: u16, log: &mut Log) {
        let left = CoreLeft { refusal, ..CoreLeft::default() };
        m.message(4, Chan(1), &message(core(0, 2), core(0, 0), 0, &left), log);
    }

    #[test]
    fn a_core_goes_and_comes_back_as_a_new_one() {
        let (mut m, mut log) = three();
        ask(&mut m, core(0, 2), 0, &mut log);
        assert_eq!(log.take_sent::<CoreLeave>().map(|(chan, _)| chan), Some(Chan(1)));
        assert_eq!(answer(&mut log), None, "not before it has left");
        left(&mut m, 0, &mut log);
        assert_eq!(answer(&mut log), Some(Ok(())));
        assert_eq!(m.status_of(core(0, 2)), Err(Refusal::NotUp));
        assert!(log.take_action(|a| *a == Action::CloseChannel { chan: Chan(1) }).is_some());
        let ads = log.sent.iter().filter_map(|(_, m)| m.body::<CoreAd>());
        assert!(ads.into_iter().any(|ad| ad.core == core(0, 2) && ad.state == CoreState::Off as u8));
        ask(&mut m, core(0, 2), 0, &mut log);
        assert_eq!(answer(&mut log), Some(Ok(())), "it is off");
        ask(&mut m, core(0, 2), 1, &mut log);
        let Some(Action::StartCore { core: started, chan, .. }) = log.take_start() else { panic!("{log:?}") };
        assert_eq!((started, chan, answer(&mut log)), (core(0, 2), Chan(1), None));
        m.message(5, chan, &report(core(0, 2)), &mut log);
        assert_eq!((answer(&mut log), m.status_of(core(0, 2))), (Some(Ok(())), Ok(())));
    }

    #[test]
    fn who_asks_hears_why_not() {
        let (mut m, mut log) = three();
        for (which, on, why) in [
            (core(0, 0), 0, Refusal::FirstCore),
            (core(0, 9), 0, Refusal::Unknown),
            (core(1, 1), 0, Refusal::BadRequest),
        ] {
            ask(&mut m, which, on, &mut log);
            assert_eq!(answer(&mut log), Some(Err(why)), "{which}");
        }
        ask(&mut m, core(0, 2), 0, &mut log);
        ask(&mut m, core(0, 1), 0, &mut log);
        assert_eq!(answer(&mut log), Some(Err(Refusal::Busy)), "one at a time");
        left(&mut m, Refusal::InUse as u16, &mut log);
        assert_eq!((answer(&mut log), m.status_of(core(0, 2))), (Some(Err(Refusal::InUse)), Ok(())));
        ask(&mut m, core(0, 2), 0, &mut log);
        m.handle(m.deadline().unwrap(), Event::Tick, &mut log);
        assert_eq!(answer(&mut log), Some(Err(Refusal::TimedOut)));
        left(&mut m, 0, &mut log);
        assert_eq!(m.status_of(core(0, 2)), Err(Refusal::NotUp), "late, but it went");
    }

    #[test]
    fn a_core_stops_when_nothing_runs_and_its_last_word_has_left() {
        let (mut m, mut log) = (app(0, 2), Log::default());
        let server = m.open_server().unwrap();
        m.handle(0, Event::Start, &mut log);
        let leave = message(core(0, 0), core(0, 2), 0, &CoreLeave::default());
        let says = |running| wire::encode(&Header::default(), &Retired { running, ..Retired::default() });
        let said = |log: &mut Log| log.take_sent::<CoreLeft>().map(|(_, (_, l))| Refusal::result(l.refusal));
        m.message(1, Chan(0), &leave, &mut log);
        assert_eq!(log.take_sent::<Retire>().map(|(chan, _)| chan), Some(server));
        m.message(2, server, &says(1), &mut log);
        assert_eq!(said(&mut log), Some(Err(Refusal::InUse)));
        m.flush(2, &mut log);
        assert!(!log.actions.contains(&Action::StopCore), "it stays");
        m.message(3, Chan(0), &leave, &mut log);
        m.message(4, server, &says(0), &mut log);
        assert_eq!(said(&mut log), Some(Ok(())));
        m.flush(5, &mut log);
        m.flush(6, &mut log);
        assert_eq!(log.actions.iter().filter(|a| **a == Action::StopCore).count(), 1);
    }

    #[test]
    fn nobody_but_the_first_monitor_stops_a_core() {
        let (mut m, mut log) = (app(0, 2), Log::default());
        m.handle(0, Event::Start, &mut log);
        m.message(1, Chan(0), &message(core(0, 1), core(0, 2), 0, &CoreLeave::default()), &mut log);
        m.flush(2, &mut log);
        assert_eq!((m.counters().bad, log.actions.contains(&Action::StopCore)), (1, false));
    }
}
