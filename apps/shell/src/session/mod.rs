//! One conversation at a time: a line from the console, questions to the monitor, lines back.

mod devices;
mod processes;

use alloc::string::String;
use alloc::vec::Vec;
use core::cell::Cell;
use skerry_app_shell::command::{COMMANDS, Command, explain, parse};
use skerry_app_shell::table::{self, Figures};
use skerry_hal::CoreId;
use skerry_urpc::Message;
use skerry_urpc::formats::Refusal;
use skerry_urpc::formats::console::{ANSWER, End, STATUS, output};
use skerry_urpc::formats::knowledge::What;
use skerry_urpc::formats::shell::*;
use skerry_urpc::wire::{Body, Header, encode};
use skerry_user::chan::AsyncChan;

/// Exit status of a command that was understood but could not be done.
const FAILED: u8 = 1;
/// Exit status of a line that was not understood.
const MISUSED: u8 = 2;

/// Benchmarks that the monitor runs.
const MONITORS: [&str; 2] = ["monitor.ping", "urpc.xisa"];
/// Those that need a second program beside them, and that.
const WITH_PEER: (&str, &str) = ("lrpc.", "bench name=lrpc.peer");
/// The benchmarks' program measures operations on much memory.
const BENCH_ENV: &str = "RAM=32M";

/// The shell's two channels.
pub struct Session {
    console: AsyncChan,
    monitor: AsyncChan,
    core: CoreId,
    request: Cell<u16>,
}

/// The channel to a domain that the shell needs is closed.
pub struct Gone;

impl Session {
    /// A session between console driver and monitor of `core`.
    pub const fn new(console: AsyncChan, monitor: AsyncChan, core: CoreId) -> Self {
        Self { console, monitor, core, request: Cell::new(0) }
    }

    /// The channel to the console driver.
    pub const fn console(&self) -> &AsyncChan {
        &self.console
    }

    async fn write(&self, text: &[u8], end: End) -> Result<(), Gone> {
        for piece in output(text, end) {
            self.console.send(&encode(&Header::default(), &piece)).await.map_err(|_| Gone)?;
        }
        Ok(())
    }

    /// Asks for the next command.
    pub async fn prompt(&self) -> Result<(), Gone> {
        self.write(b"skerry> ", End::Prompt).await
    }

    /// Writes one line, marked if a machine asked.
    async fn line(&self, text: &str, machine: bool) -> Result<(), Gone> {
        let mut marked = Vec::with_capacity(text.len() + 1);
        if machine {
            marked.push(ANSWER);
        }
        marked.extend_from_slice(text.as_bytes());
        self.write(&marked, End::Line).await
    }

    /// Does what a line asks.
    pub async fn run(&self, line: &str, machine: bool) -> Result<(), Gone> {
        let status = match parse(line) {
            Ok(Command::Repeat { count, command }) => self.repeat(count, &command, machine).await?,
            Ok(command) => self.command(command, machine).await?,
            Err(error) => {
                self.line(&error, machine).await?;
                MISUSED
            }
        };
        if machine {
            let mut last = Vec::from([STATUS, b' ']);
            last.extend_from_slice(alloc::format!("{status}").as_bytes());
            self.write(&last, End::Line).await?;
        }
        Ok(())
    }

    async fn repeat(&self, count: u64, command: &Command, machine: bool) -> Result<u8, Gone> {
        for n in 1..=count {
            let status = self.command(command.clone(), machine).await?;
            if status != 0 {
                self.line(&alloc::format!("repeat: number {n} of {count} failed"), machine).await?;
                return Ok(status);
            }
        }
        Ok(0)
    }

    async fn command(&self, command: Command, machine: bool) -> Result<u8, Gone> {
        match command {
            // `repeat` does not nest.
            Command::Empty | Command::Repeat { .. } => Ok(0),
            Command::Help(about) => self.help(about, machine).await,
            Command::Cores => {
                self.line(table::CORES, machine).await?;
                let spell = |message: &Message| message.body::<CoreLine>().map(|line| table::core(&line));
                self.ask("cores", &CoresQuery::default(), machine, spell).await
            }
            Command::Islands => {
                self.line(table::ISLANDS, machine).await?;
                let spell = |message: &Message| message.body::<IslandLine>().map(|line| table::island(&line));
                self.ask("islands", &IslandsQuery::default(), machine, spell).await
            }
            Command::Memory => self.memory(machine).await,
            Command::Ping { from, to, count } => {
                let query = PingQuery { from, to, count, ..PingQuery::default() };
                let spell = move |message: &Message| ping_line(from, to, message);
                self.ask("ping", &query, machine, spell).await
            }
            Command::Stream { from, to, count } => {
                let query = StreamQuery { from, to, count, ..StreamQuery::default() };
                let spell = move |message: &Message| {
                    message.body::<StreamReport>().map(|report| table::stream(from, to, &report))
                };
                self.ask("stream", &query, machine, spell).await
            }
            Command::Log(level) => {
                let query = LogLevelQuery { level, ..LogLevelQuery::default() };
                self.ask("log", &query, machine, |_| None).await
            }
            Command::Power { core, on } => {
                let query = CorePowerQuery { core, on: on.into(), ..CorePowerQuery::default() };
                self.ask("core", &query, machine, |_| None).await
            }
            Command::Bench(name) => self.bench(&name, machine).await,
            Command::Spawn { core, text, wait } => self.spawn(core, &text, wait, machine).await,
            Command::Wait(pid) => self.wait(pid, machine).await,
            Command::Kill(pid) => self.kill(pid, machine).await,
            Command::Drivers => self.drivers(machine).await,
            Command::Entropy { island, bytes } => self.entropy(island, bytes, machine).await,
            Command::Restart { island, driver } => self.restart(island, &driver, machine).await,
            Command::Ask(text) => self.knowledge("skb", What::Question, &text, machine).await,
            Command::Rules(text) => self.knowledge("rules", What::Rules, &text, machine).await,
            Command::Processes => self.processes(machine).await,
            Command::Exit => self.ask("exit", &PowerOffQuery::default(), machine, |_| None).await,
        }
    }

    async fn help(&self, about: Option<String>, machine: bool) -> Result<u8, Gone> {
        let Some(about) = about else {
            for help in COMMANDS {
                self.line(&explain(help.name).unwrap_or_default(), machine).await?;
            }
            return Ok(0);
        };
        match explain(&about) {
            Some(text) => self.line(&text, machine).await.map(|()| 0),
            None => {
                let text = alloc::format!("help: `{about}` is no command; `help` lists the commands");
                self.line(&text, machine).await.map(|()| MISUSED)
            }
        }
    }

    /// The monitor runs those that measure the monitors themselves; all others are a program like any other.
    async fn bench(&self, name: &str, machine: bool) -> Result<u8, Gone> {
        if name == devices::IRQ {
            return self.interrupts(machine).await;
        }
        if !MONITORS.contains(&name) {
            let text = alloc::format!("{BENCH_ENV} bench name={name}");
            if !name.starts_with(WITH_PEER.0) {
                return self.spawn(self.core, &text, true, machine).await;
            }
            let Some(peer) = self.start(self.core, WITH_PEER.1).await? else {
                return self
                    .line("bench: no second program could be started; see `ps`", machine)
                    .await
                    .map(|()| FAILED);
            };
            let status = self.spawn(self.core, &text, true, machine).await?;
            self.kill(peer, machine).await?;
            return Ok(status);
        }
        let mut query = BenchQuery::default();
        let Some(room) = query.name.get_mut(..name.len()) else {
            self.line("bench: no benchmark has so long a name; `help bench` lists them", machine).await?;
            return Ok(MISUSED);
        };
        room.copy_from_slice(name.as_bytes());
        let spell = |message: &Message| {
            let line = message.body::<TextLine>()?;
            let len = usize::from(line.len).min(line.text.len());
            core::str::from_utf8(&line.text[..len]).ok().map(String::from)
        };
        self.ask("bench", &query, machine, spell).await
    }

    /// Sends a question, and writes each answer as `spell` says until the last. A text may come in several answers.
    async fn ask<B: Body>(
        &self,
        what: &str,
        query: &B,
        machine: bool,
        spell: impl Fn(&Message) -> Option<String>,
    ) -> Result<u8, Gone> {
        let request = self.number();
        let header = Header { request, ..Header::default() };
        self.monitor.send(&encode(&header, query)).await.map_err(|_| Gone)?;
        let mut unfinished = String::new();
        loop {
            let message = self.answer(request).await?;
            if let Some(done) = message.body::<Done>() {
                if done.refusal == 0 {
                    return Ok(0);
                }
                let why = Refusal::from_raw(done.refusal);
                let way_out = if what == "bench" { "help bench" } else { "cores" };
                let text = alloc::format!("{what}: {why}; see `{way_out}`");
                return self.line(&text, machine).await.map(|()| FAILED);
            }
            let Some(text) = spell(&message) else { continue };
            unfinished.push_str(&text);
            if message.body::<TextLine>().is_some_and(|line| line.more != 0) {
                continue;
            }
            self.line(&core::mem::take(&mut unfinished), machine).await?;
        }
    }
}

fn ping_line(from: CoreId, to: CoreId, message: &Message) -> Option<String> {
    if let Some(t) = message.body::<PingTicks>() {
        let figures = Figures { count: t.count, lost: t.lost, times: [t.min, t.median, t.p99] };
        return Some(table::ping(from, to, &figures, "ticks"));
    }
    let t = message.body::<PingNanos>()?;
    let figures = Figures { count: t.count, lost: t.lost, times: [t.min, t.median, t.p99] };
    Some(table::ping(from, to, &figures, "ns"))
}
