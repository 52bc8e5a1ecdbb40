//! What a program has of the process server that started it: lines of output, and an exit status.
//!
//! A domain that no process server started (a driver, the monitor) writes its lines to the log instead, and its status
//! is nobody's concern.

use crate::chan::{Chan, Peer};
use crate::domain::Domain;
use crate::thread::Mutex;
use crate::thread::events::{Sleeper, wait_event};
use crate::thread::span::{self, at_home};
use crate::{clock, log, rt};
use ::log::Level;
use alloc::string::String;
use core::fmt::{self, Write};
use core::sync::atomic::{AtomicBool, Ordering};
use core::time::Duration;
use skerry_abi::dispatcher::event;
use skerry_abi::domain::Purpose;
use skerry_urpc::Transport;
use skerry_urpc::formats::Refusal;
use skerry_urpc::formats::log::pieces;
use skerry_urpc::formats::proc::{Exit, Extend, Extended, Say};
use skerry_urpc::wire::{Body, Header, encode};

/// Exit status of a program that panicked.
pub const PANICKED: u8 = 101;
/// The event by which the process server says that there is room for output.
pub const ROOM_EVENT: u64 = 1 << (event::FIRST_USER + 1);
/// How long to sleep before the room is looked at again, rung or not.
const PATIENCE: Duration = Duration::from_millis(20);

static OUT: Mutex<Option<Chan>> = Mutex::new(None);
/// Whether there is one.
static REPORTS: AtomicBool = AtomicBool::new(false);

/// What a program's `main` may answer.
pub trait Status {
    /// The exit status: 0 for success.
    fn status(self) -> u8;
}

impl Status for () {
    fn status(self) -> u8 {
        0
    }
}

impl Status for u8 {
    fn status(self) -> u8 {
        self
    }
}

/// Opens the channel to the process server, if it is one that started this domain: it is the memory server then, too. (The
/// monitor has a channel to it as well.)
pub(crate) fn init(domain: &mut Domain) {
    if domain.info.caps_for(Purpose::Memory).next().is_some() {
        let out = Chan::listed(domain, Peer::Proc);
        REPORTS.store(out.is_some(), Ordering::Relaxed);
        *OUT.lock() = out;
    }
}

/// Whether a process server takes what this domain says.
pub(crate) fn reports() -> bool {
    REPORTS.load(Ordering::Relaxed)
}

/// Writes a line to the log, by way of the process server. Waits for room.
pub(crate) fn log(level: Level, text: &[u8]) {
    let _home = at_home();
    if let Some(chan) = OUT.lock().as_mut() {
        pieces(level as u8, text).for_each(|piece| send(chan, &piece));
    }
}

/// Says why the program cannot go on, from wherever it is: without waiting, and without a word if there is no room.
pub(crate) fn last_words(text: &[u8]) {
    if span::leave_to_home(text, false) {
        return;
    }
    let Some(mut out) = OUT.try_lock() else { return log::early_line(text) };
    let Some(chan) = out.as_mut() else { return log::early_line(text) };
    for piece in pieces(Level::Error as u8, text) {
        // The program is at its end: nobody waits for room any more.
        let _full = chan.try_send(&encode(&Header::default(), &piece));
    }
    chan.kick();
    // Giving it back could wake a thread, and there is no scheduler any more that could.
    core::mem::forget(out);
}

/// Writes a line: to whoever waits for the program, or else to the log. Waits for room.
pub fn line(text: &str) {
    let _home = at_home();
    match OUT.lock().as_mut() {
        Some(chan) => say(chan, text.as_bytes()),
        None => log::early_line(text.as_bytes()),
    }
}

/// Asks for dispatchers on the other cores that the program was started for.
pub(crate) fn extend(asked: &Extend) {
    if let Some(chan) = OUT.lock().as_mut() {
        send(chan, asked);
    }
}

/// Whether they may still come.
///
/// # Errors
/// What the process server answered.
pub(crate) fn extended() -> Result<(), Refusal> {
    let mut out = OUT.lock();
    let chan = out.as_mut().ok_or(Refusal::NoServer)?;
    match chan.try_recv() {
        Ok(Some(message)) => {
            chan.kick();
            message.body::<Extended>().map_or(Ok(()), |answer| Refusal::result(answer.refusal))
        }
        Ok(None) => Ok(()),
        Err(_) => Err(Refusal::NoServer),
    }
}

/// Writes a line of a panic, even where the panic came in the middle of another line: to the log then.
pub(crate) fn complain(text: &[u8]) {
    match OUT.try_lock().as_deref_mut() {
        Some(Some(chan)) => say(chan, text),
        _ => log::early_line(text),
    }
}

fn say(chan: &mut Chan, text: &[u8]) {
    let pieces = text.chunks(Say::default().text.len());
    let last = pieces.len();
    if last == 0 {
        send(chan, &Say::default());
    }
    for (n, part) in pieces.enumerate() {
        let mut say = Say { len: part.len() as u8, more: (n + 1 < last).into(), ..Say::default() };
        say.text[..part.len()].copy_from_slice(part);
        send(chan, &say);
    }
}

/// Ends the program with an exit status, 0 for success.
pub fn exit(status: u8) -> ! {
    let _home = at_home();
    if let Some(chan) = OUT.lock().as_mut() {
        send(chan, &Exit { status, ..Exit::default() });
    }
    rt::stop();
}

/// Ends the program; a line that was cut short by the panic does not hold it up.
pub(crate) fn exit_after_panic() -> ! {
    if let Some(mut out) = OUT.try_lock()
        && let Some(chan) = out.as_mut()
    {
        send(chan, &Exit { status: PANICKED, ..Exit::default() });
    }
    rt::stop();
}

fn send<B: Body>(chan: &mut Chan, body: &B) {
    let message = encode(&Header::default(), body);
    while chan.try_send(&message).is_err() {
        chan.arm_wake();
        let sent = chan.try_send(&message).is_ok();
        if !sent {
            let until = clock::ticks() + clock::span(PATIENCE);
            let _came = wait_event(ROOM_EVENT, until, &Sleeper::default());
        }
        chan.disarm_wake();
        if sent {
            break;
        }
    }
    chan.kick();
}

/// A line under construction.
#[doc(hidden)]
pub fn format(args: fmt::Arguments<'_>) {
    let mut text = String::new();
    // A failing `Display` leaves what it wrote.
    let _cut = text.write_fmt(args);
    for part in text.split('\n') {
        line(part);
    }
}

/// Writes a line of output, as in `std`.
#[macro_export]
macro_rules! println {
    ($($arg:tt)*) => { $crate::program::format(::core::format_args!($($arg)*)) };
}
