//! A QEMU that cannot outlive us: killed when dropped, and by the operating system if we are killed.

use crate::error::{Error, Result};
use rustix::process::{Pid, Signal};
use std::fs::File;
use std::io::Write as _;
use std::os::fd::AsRawFd as _;
use std::os::unix::process::CommandExt as _;
use std::process::{Child, ChildStdin, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// One child.
pub struct Process {
    child: Mutex<Child>,
    input: Mutex<Option<ChildStdin>>,
}

impl Process {
    /// Starts `command` in a process group of its own, so that a Ctrl-C in the terminal reaches us, not it.
    pub fn start(mut command: Command) -> Result<(Self, ChildStdout)> {
        let name = command.get_program().display().to_string();
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::inherit()).process_group(0);
        die_with_parent(&mut command);
        let mut child = command.spawn().map_err(Error::file(&name))?;
        let input = child.stdin.take();
        let output = child.stdout.take();
        let process = Self { child: Mutex::new(child), input: Mutex::new(input) };
        let output = output.ok_or_else(|| Error::Run(format!("{name} has no output")))?;
        Ok((process, output))
    }

    /// Types on the island's console.
    pub fn write(&self, bytes: &[u8]) -> Result<()> {
        let mut input = self.input.lock().unwrap_or_else(PoisonError::into_inner);
        let pipe = input.as_mut().ok_or_else(|| Error::Run("the console is closed".into()))?;
        pipe.write_all(bytes)
            .and_then(|()| pipe.flush())
            .map_err(|cause| Error::Run(format!("the console: {cause}")))
    }

    /// How it ended, if it did.
    pub fn exit(&self) -> Option<ExitStatus> {
        self.child().try_wait().ok().flatten()
    }

    /// Ends it at once, and waits until it is gone.
    pub fn kill(&self) {
        let mut child = self.child();
        // Fails only if it is gone already.
        let _ = child.kill();
        let _ = child.wait();
    }

    /// Its number.
    pub fn id(&self) -> u32 {
        self.child().id()
    }

    /// Sends another signal.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        let child = self.child();
        let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
        let pid = pid.ok_or_else(|| Error::Run("no process number".into()))?;
        rustix::process::kill_process(pid, signal).map_err(|cause| Error::Run(format!("signal: {cause}")))
    }

    fn child(&self) -> MutexGuard<'_, Child> {
        self.child.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Has the operating system kill the child when the thread that starts it ends.
#[expect(unsafe_code, reason = "the only way to run something between fork and exec")]
pub fn die_with_parent(command: &mut Command) {
    let set = || Ok(rustix::process::set_parent_process_death_signal(Some(Signal::KILL))?);
    // SAFETY: between fork and exec only async-signal-safe calls are allowed; this is one system call, and nothing
    // that allocates or locks.
    unsafe {
        command.pre_exec(set);
    }
}

/// Memory of `bytes` zeros that two QEMUs can share through [`path`]. It has no name in a file system, so nothing is
/// left behind whatever happens.
pub fn window(bytes: u64) -> Result<File> {
    let cannot =
        |cause: std::io::Error| Error::Run(format!("cannot make a window of {bytes} bytes: {cause}"));
    let fd = rustix::fs::memfd_create("skerry-window", rustix::fs::MemfdFlags::CLOEXEC);
    let file = File::from(fd.map_err(|cause| cannot(cause.into()))?);
    file.set_len(bytes).map_err(cannot)?;
    Ok(file)
}

/// A path by which another process of this user can open `window`.
pub fn path(window: &File) -> String {
    format!("/proc/{}/fd/{}", std::process::id(), window.as_raw_fd())
}
