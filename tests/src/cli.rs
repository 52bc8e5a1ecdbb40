//! Driving `cargo xtask` itself, as a person or a script does.

use rustix::process::{Pid, Signal, kill_process_group};
use std::ffi::OsStr;
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

/// How often something is looked at that cannot be waited for.
const TICK: Duration = Duration::from_millis(20);

/// The program behind `cargo xtask`, or `None`, said aloud, where the tests are not run by it.
pub fn xtask() -> Option<PathBuf> {
    let program = std::env::var_os("SKERRY_XTASK").map(PathBuf::from);
    if program.is_none() {
        eprintln!("no SKERRY_XTASK: nothing is run; `cargo xtask test` sets it");
    }
    program
}

/// What a command line did.
#[derive(Debug)]
pub struct Done {
    /// Whether it exited with 0.
    pub success: bool,
    /// Its standard output.
    pub out: String,
    /// Its standard error.
    pub err: String,
}

impl Done {
    /// What it said at the end for people: the last line of standard error that is no news of the build.
    pub fn complaint(&self) -> &str {
        self.err.lines().rev().find(|line| line.starts_with("xtask: ")).unwrap_or_default()
    }
}

impl From<Output> for Done {
    fn from(output: Output) -> Self {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Self { success: output.status.success(), out: text(&output.stdout), err: text(&output.stderr) }
    }
}

/// Runs `cargo xtask` with these arguments to its end; `None` as for [`xtask`].
pub fn run(args: &[&str]) -> Option<Done> {
    let output = Command::new(xtask()?).args(args).stdin(Stdio::null()).output();
    Some(output.expect("xtask starts").into())
}

/// The same, with another `PATH`.
pub fn run_with_path(path: impl AsRef<OsStr>, args: &[&str]) -> Option<Done> {
    let output = Command::new(xtask()?).args(args).env("PATH", path).stdin(Stdio::null()).output();
    Some(output.expect("xtask starts").into())
}

/// Starts `cargo xtask` as the leader of a process group of its own, as a shell with job control does.
pub fn start(args: &[&str]) -> Option<Child> {
    let mut command = Command::new(xtask()?);
    command.args(args).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0);
    Some(command.spawn().expect("xtask starts"))
}

/// What a Ctrl-C in the terminal does: SIGINT to the whole group.
pub fn interrupt(child: &Child) {
    kill_process_group(pid(child.id()), Signal::INT).expect("it runs");
}

/// Processes that `parent` started and that still run.
pub fn children(parent: &Child) -> Vec<u32> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir("/proc").expect("/proc").flatten() {
        let Some(id) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
        let stat = std::fs::read_to_string(entry.path().join("stat")).unwrap_or_default();
        // `pid (name) state ppid …` (proc(5)); the name may hold anything.
        let after_name = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
        if after_name.split_whitespace().nth(1) == Some(&parent.id().to_string()) {
            found.push(id);
        }
    }
    found
}

/// Waits until `done`, or panics with `what` after `timeout`.
pub fn wait_until(what: &str, timeout: Duration, mut done: impl FnMut() -> bool) {
    let deadline = Instant::now() + timeout;
    while !done() {
        assert!(Instant::now() < deadline, "still waiting: {what}");
        std::thread::sleep(TICK);
    }
}

/// Whether there is such a process (one that has ended and was not waited for counts as gone).
pub fn is_running(id: u32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{id}/stat")).unwrap_or_default();
    let state = stat.rsplit_once(") ").and_then(|(_, rest)| rest.chars().next());
    state.is_some_and(|state| state != 'Z')
}

fn pid(id: u32) -> Pid {
    Pid::from_raw(id.cast_signed()).expect("a process number")
}
