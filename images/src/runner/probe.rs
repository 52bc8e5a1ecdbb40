//! Whether KVM works. A device file proves nothing, and neither do a few instructions: in containers and nested guests KVM
//! may be there and refuse, or run a guest until it comes to an instruction that it cannot do. So one core of what is to run
//! is booted.

use super::process::die_with_parent;
use super::{Options, qemu};
use crate::fleet::Fleet;
use std::io::{BufRead as _, BufReader, Read};
use std::process::{Child, Stdio};
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::time::{Duration, Instant};

/// How long the guest may take; with KVM it takes a few tenths of a second.
const TIMEOUT: Duration = Duration::from_secs(2);

/// Boots the guest from the images in `options`; `Err` says why KVM is of no use.
///
/// # Errors
/// No QEMU, no images, or the guest did not come up.
pub fn kvm(options: &Options) -> Result<(), String> {
    let (x86, arm) = match std::env::consts::ARCH {
        "x86_64" => (1, 0),
        "aarch64" => (0, 1),
        other => return Err(format!("no island has this host's ISA, {other}")),
    };
    let fleet = Fleet::pair(x86, arm).map_err(|cause| cause.to_string())?;
    let mut plain = Options::new(&options.images);
    (plain.path, plain.kvm) = (options.path.clone(), true);
    let mut command = qemu::command(&fleet, 0, &[], &plain).map_err(|cause| cause.to_string())?;
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    die_with_parent(&mut command);
    let mut child = command.spawn().map_err(|cause| cause.to_string())?;
    let found = comes_up(&mut child);
    // Fails only if it has ended.
    let _ = child.kill();
    let _ = child.wait();
    found
}

/// A line of the guest's, or one of QEMU's own.
enum Said {
    Guest(String),
    Qemu(String),
}

fn comes_up(child: &mut Child) -> Result<(), String> {
    let (said, heard) = channel();
    follow(child.stdout.take(), said.clone(), Said::Guest);
    follow(child.stderr.take(), said, Said::Qemu);
    let deadline = Instant::now() + TIMEOUT;
    let mut why = None;
    loop {
        match heard.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
            Ok(Said::Guest(line)) if line.contains("skerry: system up") => return Ok(()),
            Ok(Said::Guest(_)) => {}
            Ok(Said::Qemu(line)) if line.contains("internal error") => return Err(line),
            Ok(Said::Qemu(line)) => _ = why.get_or_insert(line),
            Err(RecvTimeoutError::Disconnected) => {
                return Err(why.unwrap_or("QEMU ended without a word".into()));
            }
            Err(RecvTimeoutError::Timeout) => {
                return Err(format!("a guest did not come up in {} s", TIMEOUT.as_secs()));
            }
        }
    }
}

fn follow(pipe: Option<impl Read + Send + 'static>, to: Sender<Said>, made: fn(String) -> Said) {
    let Some(pipe) = pipe else { return };
    std::thread::spawn(move || {
        for line in BufReader::new(pipe).split(b'\n').map_while(Result::ok) {
            if to.send(made(String::from_utf8_lossy(&line).trim().into())).is_err() {
                return;
            }
        }
    });
}
