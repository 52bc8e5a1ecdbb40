//! The pump: looks at everything a bounded number of times, then arms the wake requests and blocks.

mod across;
mod bind;
mod io;
mod link;
mod meter;
mod program;
mod start;

use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::time::Duration;
use io::{Io, Port};
use skerry_abi::dispatcher::event;
use skerry_abi::domain::{Purpose, slot};
use skerry_abi::{CPtr, HwId};
use skerry_monitor::{Action, Announce, Chan, Config, Event, Monitor};
use skerry_skb::CommandLine;
use skerry_urpc::Message;
use skerry_urpc::formats::console::Offer;
use skerry_urpc::formats::shell::BenchQuery;
use skerry_user::cap::{Core, KERNEL, SELF};
use skerry_user::chan::{Chan as UserChan, Peer, Wake};
use skerry_user::logging::set_max_level;
use skerry_user::spawn::CHANNEL_EVENT;
use skerry_user::{Domain, clock, log};

/// Rounds without news before the monitor blocks.
const SPIN: u32 = 64;
/// Messages taken from one channel before the next has its turn.
const BATCH: usize = 16;
/// The longest sleep while a link is up: nothing rings across it.
const LINK_SLEEP: Duration = Duration::from_millis(1);
/// The shortest.
const LINK_SLEEP_MIN: Duration = Duration::from_micros(50);
/// How often a link that is not up is looked at.
const GREETING_SLEEP: Duration = Duration::from_millis(10);

/// The monitor, and what it works on.
pub struct Pump {
    domain: Domain,
    monitor: Monitor,
    io: Io,
    names: BTreeMap<u16, HwId>,
    frames: BTreeMap<u64, CPtr>,
    starter: start::Starter,
    program: Option<program::Program>,
    meter: Option<meter::Meter>,
    /// The channel by which the pump is a client of the monitor.
    own: Option<Chan>,
    shell: Option<Chan>,
    sleep: u64,
}

impl Pump {
    /// Makes the monitor, and opens what it was given: the console and the shell, the channel to the first monitor, or
    /// the windows.
    pub fn new(
        mut domain: Domain,
        mut config: Config,
        cmdline: &CommandLine<'_>,
        names: Vec<(u16, HwId)>,
        bound: u64,
    ) -> Self {
        let names: BTreeMap<u16, HwId> = names.into_iter().collect();
        let mut io = Io::new(domain.info.core);
        let first = config.core.local() == 0;
        let starter = start::Starter::new(&mut domain, &config);
        if first {
            config.epoch = link::open(&mut domain, &mut io, &config, cmdline, bound);
            io.console = UserChan::listed(&mut domain, Peer::Console);
        } else if let Some(chan) = first_channel(&mut domain, &names) {
            io.put(Chan(0), Port::Chan(chan));
        }
        let mut monitor = Monitor::new(config, clock::ticks());
        let mut shell = None;
        if let Some(chan) = UserChan::listed(&mut domain, Peer::Shell)
            && let Some(client) = monitor.open_client()
        {
            io.put(client, Port::Chan(chan));
            shell = Some(client);
        }
        log::queue(true);
        let sleep = clock::span(LINK_SLEEP_MIN);
        Self {
            domain,
            monitor,
            io,
            names,
            frames: BTreeMap::new(),
            starter,
            program: None,
            meter: None,
            own: None,
            shell,
            sleep,
        }
    }

    /// Runs for ever.
    pub fn run(mut self) -> ! {
        self.handle(Event::Start);
        self.report_memory();
        let mut vain = 0;
        loop {
            let now = clock::ticks();
            if self.round(now) {
                vain = 0;
                self.sleep = clock::span(LINK_SLEEP_MIN);
                continue;
            }
            vain += 1;
            if vain < SPIN {
                skerry_user::relax();
                continue;
            }
            self.io.arm(true);
            self.arm_program(true);
            if !self.round(clock::ticks()) {
                self.block();
            }
            self.io.arm(false);
            self.arm_program(false);
            vain = SPIN / 2;
        }
    }

    /// Blocks until something rings, or it is time to look.
    fn block(&mut self) {
        let now = clock::ticks();
        let mut deadline = self.monitor.deadline().unwrap_or(u64::MAX);
        match self.io.links_state() {
            link::Links::None => {}
            link::Links::Waiting => deadline = deadline.min(now + clock::span(GREETING_SLEEP)),
            link::Links::Up => {
                deadline = deadline.min(now + self.sleep);
                self.sleep = (self.sleep * 2).min(clock::span(LINK_SLEEP));
            }
        }
        if self.io.has_backlog() || self.monitor.has_backlog() {
            deadline = deadline.min(now + clock::span(LINK_SLEEP));
        }
        let deadline = if deadline == u64::MAX { 0 } else { deadline.max(1) };
        // Whatever came, the next round looks at everything.
        let _came = SELF.wait(event::DOORBELL | CHANNEL_EVENT, deadline);
    }

    fn handle(&mut self, event: Event) {
        self.monitor.handle(clock::ticks(), event, &mut self.io);
    }

    /// Looks at everything once. Answers whether there was news.
    fn round(&mut self, now: u64) -> bool {
        let mut now = now;
        let mut news = false;
        for index in 0..self.io.ports.len() {
            let chan = Chan(index as u16);
            for _ in 0..BATCH {
                match self.io.recv(chan) {
                    Ok(Some(message)) => {
                        news = true;
                        self.take(chan, &message, now);
                        now = self.lap(message.kind, now);
                    }
                    Ok(None) => break,
                    Err(error) => {
                        self.io.put(chan, Port::None);
                        self.handle(Event::ChannelClosed { chan, why: alloc::format!("{error}") });
                        now = clock::ticks();
                        break;
                    }
                }
            }
        }
        news |= self.poll_program() | self.poll_meter();
        for event in self.io.poll_links(now) {
            news = true;
            self.handle(event);
        }
        while let Some(action) = self.io.actions.pop_front() {
            news = true;
            self.perform(action);
        }
        let now = clock::ticks();
        if self.monitor.deadline().is_some_and(|deadline| deadline <= now) {
            self.handle(Event::Tick);
        }
        self.monitor.flush(now, &mut self.io);
        news |= self.monitor.talks_to_itself();
        while let Some((level, line)) = log::drain() {
            self.monitor.log(now, level as u8, &line, &mut self.io);
        }
        self.io.flush_output();
        news
    }

    /// The end of a message's handling, which is the beginning of the next poll.
    fn lap(&mut self, kind: u16, since: u64) -> u64 {
        let now = clock::ticks();
        if let Some(meter) = &mut self.meter {
            meter.add(kind, now.saturating_sub(since));
        }
        now
    }

    fn take(&mut self, chan: Chan, message: &Message, now: u64) {
        if Some(chan) == self.shell
            && let Some(query) = message.body::<BenchQuery>()
        {
            return self.bench(&query, message.header().request);
        }
        self.monitor.message(now, chan, message, &mut self.io);
    }

    /// Does what the monitor wants done.
    fn perform(&mut self, action: Action) {
        match action {
            Action::StartCore { core, node, chan } => {
                let started = self.start_core(core, node, chan);
                if let Err(why) = started {
                    self.handle(Event::StartFailed { core, why });
                }
                self.report_memory();
            }
            Action::MakeChannel { a, node_a, b, node_b } => {
                let frames = self.make_channel(node_a, node_b);
                self.handle(Event::ChannelMade { a, b, frames });
            }
            Action::AdoptChannel { chan, peer, frames } => match self.adopt(chan, peer, &frames) {
                Ok(()) => self.handle(Event::ChannelUp { chan }),
                Err(error) => self.handle(Event::ChannelClosed { chan, why: alloc::format!("{error}") }),
            },
            Action::CloseChannel { chan } => self.io.put(chan, Port::None),
            Action::RefuseEpoch { link, epoch } => self.io.refuse(link, epoch),
            Action::NewEpoch { epoch } => self.io.rejoin(epoch, clock::ticks()),
            Action::Log { core, text, .. } => self.io.print_log(core, &text),
            Action::LogLevel { level } => set_max_level(log::filter_from(level)),
            Action::Announce(what) => {
                let island = self.domain.info.core.island();
                let text = match what {
                    Announce::Island { cores } => alloc::format!("skerry: island {island} up, {cores} cores"),
                    Announce::System { cores, islands } => {
                        alloc::format!("skerry: system up, {cores} cores on {islands} islands")
                    }
                };
                self.io.print(text.as_bytes());
            }
            Action::Shell { offer } => {
                self.io.say_to_console(&Offer { on: offer.into(), ..Offer::default() });
            }
            Action::RunProgram { link, channels } => self.run_peer(link, channels),
            Action::CoreSilent { .. } | Action::PowerOff => {
                self.io.leave();
                self.io.flush_output();
                // Give the console driver time to write what it has; then there is nobody to tell of a refusal.
                let until = clock::ticks() + clock::span(Duration::from_millis(20));
                let _came = SELF.wait(0, until);
                let _refused = KERNEL.power_off();
            }
        }
    }

    fn report_memory(&mut self) {
        let (core, node) = (self.domain.info.core, self.starter.node);
        let (total, free) = (self.domain.mem.ram.total(), self.domain.mem.ram.free());
        self.handle(Event::Memory { core, node, total, free });
    }
}

/// The channel to the first monitor: the first two channel regions, our inbox and our outbox.
fn first_channel(domain: &mut Domain, names: &BTreeMap<u16, HwId>) -> Option<UserChan> {
    let mut listed = domain.info.caps_for(Purpose::Channel).map(|cap| (cap.cptr, cap.len));
    let (inbox, outbox) = (listed.next()?, listed.next()?);
    let wake = names.get(&0).map_or(Wake::Never, |hw| Wake::Core(Core(slot::CORES), *hw));
    bind::over(domain, inbox, outbox, wake).ok()
}
