//! The pump: looks at everything a bounded number of times, then arms the wake requests and blocks.

mod across;
mod agree;
mod bind;
mod clients;
mod endpoint;
mod io;
mod link;
mod meter;
mod objects;
mod place;
mod program;
mod server;
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
use skerry_urpc::formats::console::Offer;
use skerry_urpc::formats::shell::BenchQuery;
use skerry_urpc::{Message, RecvError, Transport};
use skerry_user::cap::{Core, KERNEL, SELF};
use skerry_user::chan::{Chan as UserChan, Peer, Wake};
use skerry_user::logging::{error, set_max_level};
use skerry_user::spawn::{CHANNEL_EVENT, CONSOLE_DEATH, SERVER_DEATH};
use skerry_user::{Domain, clock, log, sample};

/// Rounds from one look at the deadlines to the next, while there is news.
const TICK: u32 = 16;
/// How long it blocks to find out what waking takes, and how often.
const NAP: Duration = Duration::from_micros(100);
const NAPS: usize = 9;
/// The longest that it polls before the knowledge base says how long to: what takes longer to wake was disturbed.
const POLL: Duration = Duration::from_micros(100);
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
    /// Endpoints that cross cores; `None` if the CPU driver refused the rings.
    ends: Option<endpoint::Ends>,
    /// Capabilities that other cores hold, too, and who asks for them.
    local: objects::Local,
    /// The channel by which the pump is a client of the monitor.
    own: Option<Chan>,
    shell: Option<Chan>,
    server: Option<Chan>,
    sleep: u64,
    /// How long it polls after the last news before it blocks.
    poll: u64,
    /// When polling ends; 0: somebody of this core waits for the core.
    until: u64,
    /// Whether peers have been asked to ring.
    armed: bool,
    rounds: u32,
    /// Short rounds since the last whole one.
    short: u32,
    /// When the monitor is to look at something at the latest, as far as nothing has happened to it since.
    due: Option<Option<u64>>,
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
        let ends = endpoint::Ends::new(&mut domain, first).inspect_err(|e| error!("rings: {e}")).ok();
        let mut monitor = Monitor::new(config, clock::ticks());
        monitor.open_agreement();
        let clients = clients::Clients::new(clock::ticks() as u32 >> 1);
        let local = objects::Local::new(domain.info.core, domain.mem, clients);
        let mut shell = None;
        if let Some(chan) = UserChan::listed(&mut domain, Peer::Shell)
            && let Some(client) = monitor.open_client()
        {
            io.put(client, Port::Chan(chan));
            shell = Some(client);
        }
        let broker = ends.as_ref().map(endpoint::Ends::broker);
        let server = server::open(&mut domain, &mut monitor, &mut io, broker);
        if let Some(chan) = UserChan::listed(&mut domain, Peer::Pci)
            && let Some(server) = monitor.open_devices()
        {
            io.put(server, Port::Chan(chan));
        }
        if let Some(chan) = UserChan::listed(&mut domain, Peer::Skb)
            && let Some(server) = monitor.open_knowledge()
        {
            io.put(server, Port::Chan(chan));
        }
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
            ends,
            local,
            own: None,
            shell,
            server,
            sleep,
            poll: 0,
            until: 0,
            armed: false,
            rounds: 0,
            short: 0,
            due: None,
        }
    }

    /// Runs for ever.
    pub fn run(mut self) -> ! {
        self.handle(Event::Start);
        self.report_memory();
        let wake = wake_time();
        self.poll = wake.min(clock::span(POLL));
        let ns = u32::try_from(clock::ticks_to_ns(wake)).unwrap_or(u32::MAX);
        self.monitor.took_to_wake(clock::ticks(), ns, &mut self.io);
        loop {
            sample::look();
            let now = clock::ticks();
            let news = self.round(now);
            if news {
                self.sleep = clock::span(LINK_SLEEP_MIN);
            }
            if self.polls(now, news) {
                if !news {
                    skerry_user::relax();
                }
            } else if self.armed && !news {
                self.block();
                self.arm(false);
            } else {
                self.arm(true);
            }
        }
    }

    /// Whether it looks again before it blocks.
    fn polls(&mut self, now: u64, news: bool) -> bool {
        let settled = core::mem::take(&mut self.local.settled);
        if news {
            self.until = if settled { 0 } else { now + self.poll };
        }
        let polls = now < self.until;
        if polls && self.armed {
            self.arm(false);
        }
        polls
    }

    /// Asks all peers to ring, or not to.
    fn arm(&mut self, on: bool) {
        self.armed = on;
        self.io.arm(on);
        self.arm_program(on);
    }

    /// Blocks until something rings, or it is time to look.
    fn block(&mut self) {
        let now = clock::ticks();
        let due = *self.due.get_or_insert_with(|| self.monitor.deadline());
        let mut deadline = due.unwrap_or(u64::MAX);
        if deadline <= now {
            return self.handle(Event::Tick);
        }
        deadline = deadline.min(self.ends.as_ref().map_or(u64::MAX, endpoint::Ends::deadline));
        deadline = deadline.min(self.local.deadline());
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
        // Whatever else came, the next round looks at everything.
        let all = event::DOORBELL | event::ROOM | CHANNEL_EVENT | SERVER_DEATH | CONSOLE_DEATH;
        let came = SELF.wait(all, deadline).unwrap_or(0);
        let woken = clock::ticks();
        self.until = woken + self.poll / 2;
        if came & SERVER_DEATH != 0 {
            self.server_ended();
        }
        if came & CONSOLE_DEATH != 0 {
            self.io.console_ended();
        }
    }

    fn handle(&mut self, event: Event) {
        self.due = None;
        self.monitor.handle(clock::ticks(), event, &mut self.io);
    }

    /// Looks at everything once. Answers whether there was news. Where the channels had nothing but what was answered at once, it
    /// leaves it at that, so many times.
    fn round(&mut self, now: u64) -> bool {
        let (mut news, mut turned) = (false, false);
        for index in 0..self.io.ports.len() {
            let chan = Chan(index as u16);
            for _ in 0..BATCH {
                let found = match &mut self.io.ports[index] {
                    Port::Chan(port) => echoes(port, &mut self.monitor, chan, &mut self.meter),
                    _ => Found::from(self.io.recv(chan)),
                };
                match found {
                    Found::Nothing => break,
                    Found::Message(message) => self.take(chan, &message),
                    Found::Unsent(message) => self.monitor.send_late(&message, &mut self.io),
                    Found::Echoes => {
                        turned = true;
                        break;
                    }
                    Found::Closed(error) => {
                        self.io.put(chan, Port::None);
                        self.handle(Event::ChannelClosed { chan, why: alloc::format!("{error}") });
                        break;
                    }
                }
                news = true;
            }
        }
        if turned && !news && self.short < TICK {
            self.short += 1;
            return true;
        }
        self.short = 0;
        news |= self.poll_program() | self.poll_meter() | self.poll_ends(now) | self.poll_agents(now);
        for event in self.io.poll_links(now) {
            news = true;
            self.handle(event);
        }
        while let Some(action) = self.io.actions.pop_front() {
            news = true;
            self.perform(action);
        }
        let now = clock::ticks();
        // Finding the next deadline costs more than all else in a round.
        self.rounds = self.rounds.wrapping_add(1);
        if self.rounds.is_multiple_of(TICK) && self.monitor.deadline().is_some_and(|deadline| deadline <= now)
        {
            self.handle(Event::Tick);
        }
        let flushed = self.monitor.flush(now, &mut self.io);
        news |= self.monitor.talks_to_itself();
        while let Some((level, line)) = log::drain() {
            self.monitor.log(now, level as u8, &line, &mut self.io);
            self.due = None;
        }
        self.io.flush_output();
        if news || flushed {
            self.due = None;
        }
        news || turned
    }

    fn take(&mut self, chan: Chan, message: &Message) {
        if self.shell == Some(chan)
            && let Some(query) = message.body::<BenchQuery>()
        {
            return self.bench(&query, message.header().request);
        }
        self.monitor.message(clock::ticks(), chan, message, &mut self.io);
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
            Action::Proxy { token, proxy } => self.answer_want(token, proxy),
            Action::ProxyClosed { proxy, .. } => self.close_proxy(proxy),
            Action::Poll { ns } => self.poll = clock::ns_to_ticks(ns.into()),
            Action::RunProgram { link, channels } => self.run_peer(link, channels),
            Action::StopCore => self.stop_core(),
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

    /// Stops this core; the first monitor finds the word in the block that we write of the channel to it.
    fn stop_core(&mut self) {
        let outbox = self.domain.info.caps_for(Purpose::Channel).nth(1).map(|cap| cap.cptr);
        if let Some(Err(error)) = outbox.map(|told| KERNEL.stop_core(told)) {
            error!("the core cannot be stopped: {error}");
        }
    }

    fn report_memory(&mut self) {
        let (core, node) = (self.domain.info.core, self.starter.node);
        let (total, free) = (self.domain.mem.total_ram(), self.domain.mem.free_ram());
        self.handle(Event::Memory { core, node, total, free });
    }
}

/// What blocking and being woken by an interrupt take, in ticks: how much longer a nap takes than it should. The median of
/// some.
fn wake_time() -> u64 {
    let nap = clock::span(NAP);
    let mut times = [0; NAPS];
    for time in &mut times {
        let start = clock::ticks();
        let _came = SELF.wait(0, start + nap);
        *time = (clock::ticks() - start).saturating_sub(nap);
    }
    times.sort_unstable();
    times[NAPS / 2]
}

/// What a look at a channel found.
enum Found {
    Nothing,
    /// Echoes only, all of them answered.
    Echoes,
    Message(Message),
    /// What should have gone back at once, and found no room.
    Unsent(Message),
    Closed(RecvError),
}

impl From<Result<Option<Message>, RecvError>> for Found {
    fn from(found: Result<Option<Message>, RecvError>) -> Self {
        match found {
            Ok(Some(message)) => Self::Message(message),
            Ok(None) => Self::Nothing,
            Err(error) => Self::Closed(error),
        }
    }
}

/// Sends a neighbour's echoes back where they are found, until there is something else, or nothing more.
fn echoes(port: &mut UserChan, monitor: &mut Monitor, chan: Chan, meter: &mut Option<meter::Meter>) -> Found {
    let mut nothing = Found::Nothing;
    let mut now = clock::ticks();
    for _ in 0..BATCH {
        let mut message = match port.try_recv() {
            Ok(Some(message)) => message,
            Ok(None) => break,
            Err(error) => return Found::Closed(error),
        };
        port.kick();
        let kind = message.kind;
        if !monitor.turn(now, chan, &mut message) {
            return Found::Message(message);
        }
        if port.try_send(&message).is_err() {
            return Found::Unsent(message);
        }
        port.kick();
        nothing = Found::Echoes;
        let found = core::mem::replace(&mut now, clock::ticks());
        if let Some(meter) = meter {
            meter.add(kind, now - found);
        }
    }
    nothing
}

/// The channel to the first monitor: the first two channel regions, our inbox and our outbox.
fn first_channel(domain: &mut Domain, names: &BTreeMap<u16, HwId>) -> Option<UserChan> {
    let mut listed = domain.info.caps_for(Purpose::Channel).map(|cap| (cap.cptr, cap.len));
    let (inbox, outbox) = (listed.next()?, listed.next()?);
    let wake = names.get(&0).map_or(Wake::Never, |hw| Wake::Core(Core(slot::CORES), *hw));
    bind::over(domain, inbox, outbox, wake).ok()
}
