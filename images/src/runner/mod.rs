//! Running a fleet: one QEMU for each island, their consoles, and every way for it to end.
//!
//! | file | what it does |
//! | --- | --- |
//! | this | [`System`]: a running fleet, as `xtask run` and the tests see it |
//! | [`qemu`] | finding QEMU; the command line of an island |
//! | [`process`] | starting it so that it dies with us, whatever kills us |
//! | [`console`] | what an island prints: kept, waited for, shown with a prefix |
//! | [`terminal`] | the person's keyboard goes to the first living island |
//! | [`probe`] | whether KVM works, found out by booting something |

pub mod console;
pub mod probe;
mod process;
pub mod qemu;
pub mod terminal;

use crate::error::{Error, Result};
use crate::fleet::Fleet;
use console::{Console, Screen};
use process::Process;
use std::fs::File;
use std::path::PathBuf;
use std::process::ExitStatus;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How to run a fleet.
#[derive(Clone, Debug)]
pub struct Options {
    /// Folder with `bundle.tar` and, for each board, the file its boot loader starts.
    pub images: PathBuf,
    /// Folders to look for QEMU in, as `PATH` lists them.
    pub path: std::ffi::OsString,
    /// Show consoles on standard output while running.
    pub show: bool,
    /// Use KVM for islands of the host's own ISA.
    pub kvm: bool,
    /// Wait for a debugger on TCP port 1234 + island.
    pub gdb: bool,
    /// Have QEMU count instructions: one tick of the guest's clock an instruction, all cores of an island on one thread,
    /// idle time skipped. For measuring; a second of an island is then no second of anything else.
    pub icount: bool,
    /// Islands that are in the fleet but not started.
    pub absent: Vec<usize>,
    /// Words to add to every island's command line.
    pub append: String,
    /// Arguments to add to every QEMU.
    pub qemu_args: Vec<String>,
}

impl Options {
    /// Images in `images`, QEMU from this process's `PATH`, nothing shown.
    pub fn new(images: impl Into<PathBuf>) -> Self {
        Self {
            images: images.into(),
            path: std::env::var_os("PATH").unwrap_or_default(),
            show: false,
            kvm: false,
            gdb: false,
            icount: false,
            absent: Vec::new(),
            append: String::new(),
            qemu_args: Vec::new(),
        }
    }
}

/// What a shell command printed and how it ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    /// Its output.
    pub lines: Vec<String>,
    /// 0, or what went wrong in the shell's numbering.
    pub status: i32,
}

/// A running fleet. Dropping it ends every QEMU.
pub struct System {
    fleet: Fleet,
    islands: Vec<Option<Island>>,
    windows: Vec<File>,
    screen: Arc<Screen>,
}

struct Island {
    process: Process,
    console: Arc<Console>,
}

impl System {
    /// Starts every island of the fleet but the absent ones.
    ///
    /// # Errors
    /// No QEMU, or one too old; an image that is not there; a QEMU that cannot be started.
    pub fn boot(fleet: &Fleet, options: &Options) -> Result<Self> {
        let windows =
            fleet.links.iter().map(|link| process::window(link.size.0)).collect::<Result<Vec<_>>>()?;
        let screen = Arc::new(Screen::new(options.show));
        let mut system = Self { fleet: fleet.clone(), islands: Vec::new(), windows, screen };
        for (index, island) in fleet.islands.iter().enumerate() {
            if options.absent.contains(&index) {
                system.islands.push(None);
                continue;
            }
            let command = qemu::command(fleet, index, &system.windows, options)?;
            let (process, output) = Process::start(command)?;
            let console = Console::follow(output, &island.name, &system.screen);
            system.islands.push(Some(Island { process, console }));
        }
        Ok(system)
    }

    /// The fleet that runs.
    pub fn fleet(&self) -> &Fleet {
        &self.fleet
    }

    /// Process numbers of the QEMUs that were started.
    pub fn process_ids(&self) -> Vec<u32> {
        self.islands.iter().flatten().map(|island| island.process.id()).collect()
    }

    fn island(&self, index: usize) -> Result<&Island> {
        let island = self.islands.get(index).and_then(Option::as_ref);
        island.ok_or_else(|| Error::Run(format!("island {index} was not started")))
    }

    /// Whether the island's QEMU still runs (it may be stopped).
    pub fn alive(&self, island: usize) -> bool {
        self.island(island).is_ok_and(|i| i.process.exit().is_none())
    }

    /// Waits until the island's QEMU has ended.
    ///
    /// # Errors
    /// Time is up, or it was never started; the error holds the ends of all consoles.
    pub fn wait_end(&self, island: usize, timeout: Duration) -> Result<ExitStatus> {
        let deadline = Instant::now() + timeout;
        loop {
            if let Some(status) = self.island(island)?.process.exit() {
                return Ok(status);
            }
            if Instant::now() >= deadline {
                return Err(self.blame(format!("island {island} still runs")));
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// The first island whose QEMU runs: the one that offers the shell.
    pub fn first_alive(&self) -> Option<usize> {
        (0..self.islands.len()).find(|&index| self.alive(index))
    }

    /// An island that ended by itself, as a guest does that powers off.
    pub fn powered_off(&self) -> Option<usize> {
        let ended = |island: &Island| island.process.exit().is_some_and(|status| status.success());
        (0..self.islands.len()).find(|&index| self.islands[index].as_ref().is_some_and(ended))
    }

    /// Waits until the first living island says that the system is up. All islands that are not given up are then part of it.
    ///
    /// # Errors
    /// Time is up, or a QEMU ended; the error holds the ends of all consoles.
    pub fn wait_up(&self, timeout: Duration) -> Result<String> {
        let first = self.first_alive().ok_or_else(|| Error::Run("no island runs".into()))?;
        self.wait_line(first, "skerry: system up", timeout)
    }

    /// Waits until an island has printed a line that contains `text`, and answers it.
    ///
    /// # Errors
    /// As for [`wait_up`](Self::wait_up).
    pub fn wait_line(&self, island: usize, text: &str, timeout: Duration) -> Result<String> {
        let found = self.island(island)?.console.wait_line(text, Instant::now() + timeout);
        found.map_err(|cause| self.blame(format!("island {island}: waiting for `{text}`: {cause}")))
    }

    /// Runs a shell command on an island.
    ///
    /// # Errors
    /// Time is up, or the island's QEMU ended; the error holds the ends of all consoles.
    pub fn exec(&self, island: usize, command: &str, timeout: Duration) -> Result<Reply> {
        let Island { process, console } = self.island(island)?;
        let reply = console.begin_request();
        let sent = process.write(format!("\x01{command}\n").as_bytes());
        sent.map_err(|cause| self.blame(format!("island {island}: `{command}`: {cause}")))?;
        let answer = console.wait_reply(reply, Instant::now() + timeout);
        answer.map_err(|cause| self.blame(format!("island {island}: `{command}`: {cause}")))
    }

    /// Ends an island at once (SIGKILL).
    ///
    /// # Errors
    /// It was never started.
    pub fn kill(&self, island: usize) -> Result<()> {
        self.island(island)?.process.kill();
        Ok(())
    }

    /// Freezes an island (SIGSTOP).
    ///
    /// # Errors
    /// It was never started, or has ended.
    pub fn stop(&self, island: usize) -> Result<()> {
        self.island(island)?.process.signal(rustix::process::Signal::STOP)
    }

    /// Lets a frozen island go on (SIGCONT).
    ///
    /// # Errors
    /// It was never started, or has ended.
    pub fn cont(&self, island: usize) -> Result<()> {
        self.island(island)?.process.signal(rustix::process::Signal::CONT)
    }

    /// The memory of a link's window, to look at or to scribble over.
    pub fn window(&self, link: usize) -> Option<&File> {
        self.windows.get(link)
    }

    /// All that an island has printed.
    pub fn console_log(&self, island: usize) -> String {
        self.island(island).map(|i| i.console.text()).unwrap_or_default()
    }

    /// `text`, and the ends of all consoles, for a person to find the cause.
    fn blame(&self, text: String) -> Error {
        let tails = self.islands.iter().zip(&self.fleet.islands).filter_map(|(running, island)| {
            let running = running.as_ref()?;
            let exit = running.process.exit().map(|status| format!(", ended: {status}")).unwrap_or_default();
            let tail = running.console.tail(40);
            Some(format!("\n--- console of island {}{exit}\n{tail}", island.name))
        });
        Error::Run(tails.fold(text, |all, tail| all + &tail))
    }
}
