//! The person's side of a running fleet: keys go to the first living island, the end of one is the end of all.

use super::System;
use crate::error::{Error, Result};
use rustix::termios::{LocalModes, OptionalActions, SpecialCodeIndex, Termios};
use std::io::{IsTerminal as _, Read as _};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

/// How often a QEMU is looked at.
const TICK: Duration = Duration::from_millis(100);

/// Lets a person use the fleet until an island powers off, all are lost, `stop` is set, or time is up. Answers why.
///
/// # Errors
/// Time is up.
pub fn interact(system: &System, stop: &AtomicBool, deadline: Option<Instant>) -> Result<String> {
    let _raw = Raw::enter();
    let keys = keyboard();
    let mut with = system.first_alive();
    loop {
        if stop.load(Ordering::Relaxed) {
            return Ok("interrupted".into());
        }
        if deadline.is_some_and(|deadline| Instant::now() >= deadline) {
            return Err(Error::Run("time is up".into()));
        }
        if let Some(index) = system.powered_off() {
            return Ok(format!("island {} powered off", system.fleet().islands[index].name));
        }
        let now = system.first_alive();
        if now != with {
            let Some(next) = now else { return Ok("no island is left".into()) };
            let name = |index: usize| &system.fleet().islands[index].name;
            let lost = with.map_or("", |index| name(index));
            eprintln!("\r\nxtask: island {lost} is lost; the keyboard is now with island {}\r", name(next));
            with = now;
        }
        match keys.recv_timeout(TICK) {
            Ok(bytes) => {
                if let Some(island) = with.and_then(|index| system.islands[index].as_ref()) {
                    // A console that is closed belongs to an island that just ended; the next turn notices.
                    let _ = island.process.write(&bytes);
                }
            }
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => std::thread::sleep(TICK),
        }
    }
}

/// Reads standard input on a thread of its own, which ends with the process.
fn keyboard() -> Receiver<Vec<u8>> {
    let (send, receive) = channel();
    std::thread::spawn(move || {
        let mut buffer = [0; 256];
        while let Ok(count @ 1..) = std::io::stdin().lock().read(&mut buffer) {
            if send.send(buffer[..count].to_vec()).is_err() {
                break;
            }
        }
    });
    receive
}

/// A terminal that passes every key on at once and echoes none (the island's console does); Ctrl-C still interrupts.
struct Raw {
    before: Termios,
}

impl Raw {
    fn enter() -> Option<Self> {
        let stdin = std::io::stdin();
        if !stdin.is_terminal() {
            return None;
        }
        let before = rustix::termios::tcgetattr(&stdin).ok()?;
        let mut raw = before.clone();
        raw.local_modes -= LocalModes::ICANON | LocalModes::ECHO;
        raw.special_codes[SpecialCodeIndex::VMIN] = 1;
        raw.special_codes[SpecialCodeIndex::VTIME] = 0;
        rustix::termios::tcsetattr(&stdin, OptionalActions::Now, &raw).ok()?;
        Some(Self { before })
    }
}

impl Drop for Raw {
    fn drop(&mut self) {
        // A terminal that is gone needs no restoring.
        let _ = rustix::termios::tcsetattr(std::io::stdin(), OptionalActions::Now, &self.before);
    }
}
