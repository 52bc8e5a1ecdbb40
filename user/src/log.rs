//! The `log` facade: whole lines, `[  s.mmm island.local name] text`.
//!
//! While a machine boots they go to the early console. A domain that goes on after that puts them in a queue instead, and
//! hands them to whoever started it, from where they reach the console's driver ([`flush`], [`Unfinished`]). A program's
//! lines go to its process server, which says whose they are.

use crate::cap::KERNEL;
use crate::chan::Chan;
use crate::dispatch::Off;
use crate::{clock, program};
use alloc::collections::VecDeque;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt::{self, Write};
use core::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use log::{Level, LevelFilter, Log, Metadata, Record};
use skerry_abi::CoreId;
use skerry_urpc::formats::log::pieces;
use skerry_urpc::formats::monitor::LogText;
use skerry_urpc::wire::{Header, encode};
use skerry_urpc::{Message, Transport};
use spin::Mutex;

/// Bytes of a line; what is longer is cut.
pub const MAX_LINE: usize = 240;
/// Lines that wait to be drained; more are dropped and counted.
pub const MAX_QUEUED: usize = 64;

struct Logger;

static LOGGER: Logger = Logger;
static CORE: AtomicU32 = AtomicU32::new(0);
static NAME: Mutex<&'static str> = Mutex::new("?");
static QUEUED: AtomicBool = AtomicBool::new(false);
static QUEUE: Mutex<VecDeque<(Level, String)>> = Mutex::new(VecDeque::new());
static DROPPED: AtomicU32 = AtomicU32::new(0);
/// What is left of the line that [`flush`] is sending.
static SENDING: Mutex<VecDeque<Message>> = Mutex::new(VecDeque::new());

/// A line of bounded length.
pub struct Line {
    bytes: [u8; MAX_LINE],
    len: usize,
}

impl Line {
    /// The empty line.
    pub const fn new() -> Self {
        Self { bytes: [0; MAX_LINE], len: 0 }
    }

    /// What it holds.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes[..self.len]
    }
}

impl Default for Line {
    fn default() -> Self {
        Self::new()
    }
}

impl Write for Line {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for byte in text.bytes() {
            if self.len == MAX_LINE {
                break;
            }
            // A line is one line, and never begins with what marks a machine's answer.
            self.bytes[self.len] = if byte < b' ' { b' ' } else { byte };
            self.len += 1;
        }
        Ok(())
    }
}

/// Writes one line to the early console.
pub fn early_line(text: &[u8]) {
    for chunk in text.chunks(32) {
        // There is nowhere to report to that the console does not work.
        let _refused = KERNEL.console_write(chunk);
    }
    let _refused = KERNEL.console_write(b"\n");
}

/// Starts logging.
pub(crate) fn init(core: CoreId, name: &'static str, level: LevelFilter) {
    CORE.store(core.raw(), Ordering::Relaxed);
    *NAME.lock() = name;
    // Fails only if it was done before.
    let _again = log::set_logger(&LOGGER);
    log::set_max_level(level);
}

/// From now on lines go into the queue that [`drain`] empties, instead of to the early console.
pub fn queue(on: bool) {
    QUEUED.store(on, Ordering::Relaxed);
}

/// The next queued line.
pub fn drain() -> Option<(Level, String)> {
    QUEUE.lock().pop_front()
}

/// Queues a line of another domain's, as it came.
pub fn pass_on(level: Level, text: String) {
    let mut queue = QUEUE.lock();
    if queue.len() == MAX_QUEUED {
        DROPPED.fetch_add(1, Ordering::Relaxed);
    } else {
        queue.push_back((level, text));
    }
}

/// Sends queued lines over `chan`, as far as there is room. Answers whether any went.
pub fn flush(chan: &mut Chan) -> bool {
    let mut sending = SENDING.lock();
    let mut sent = false;
    loop {
        while let Some(message) = sending.front() {
            if chan.try_send(message).is_err() {
                break;
            }
            sending.pop_front();
            sent = true;
        }
        let next = if sending.is_empty() { drain() } else { None };
        let Some((level, line)) = next else { break };
        sending.extend(pieces(level as u8, line.as_bytes()).map(|p| encode(&Header::default(), &p)));
        if QUEUE.lock().is_empty() {
            let dropped = DROPPED.swap(0, Ordering::Relaxed);
            if dropped > 0 {
                log::warn!("{dropped} lines were dropped here");
            }
        }
    }
    if sent {
        chan.kick();
    }
    sent
}

/// The line that a domain is saying, piece by piece.
#[derive(Debug, Default)]
pub struct Unfinished(Vec<u8>);

impl Unfinished {
    /// Takes a piece; the line and its level, if it is whole now. What is too long is cut.
    pub fn take(&mut self, piece: &LogText) -> Option<(Level, String)> {
        let text = &piece.text[..piece.text.len().min(piece.len.into())];
        self.0.extend_from_slice(&text[..text.len().min(2 * MAX_LINE - self.0.len())]);
        let whole = (piece.more == 0).then(|| core::mem::take(&mut self.0))?;
        let level = filter_from(piece.level).to_level().unwrap_or(Level::Error);
        Some((level, String::from_utf8_lossy(&whole).into_owned()))
    }
}

/// The level with this number: 0 off, 1 error … 5 trace.
pub const fn filter_from(level: u8) -> LevelFilter {
    match level {
        0 => LevelFilter::Off,
        1 => LevelFilter::Error,
        2 => LevelFilter::Warn,
        3 => LevelFilter::Info,
        4 => LevelFilter::Debug,
        _ => LevelFilter::Trace,
    }
}

/// `[  s.mmm island.local name] text`.
fn prefix(line: &mut Line, ns: u64, core: CoreId, name: &str) -> fmt::Result {
    let ms = ns / 1_000_000;
    write!(line, "[{:3}.{:03} {core} {name}] ", ms / 1000, ms % 1000)
}

impl Log for Logger {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.level() <= log::max_level()
    }

    fn log(&self, record: &Record<'_>) {
        if !self.enabled(record.metadata()) {
            return;
        }
        let mut line = Line::new();
        // `Line` cuts, it never fails; a failing `Display` leaves what it wrote.
        if program::reports() {
            let _cut = write!(line, "{}", record.args());
            return program::log(record.level(), line.as_bytes());
        }
        let core = CoreId::from_raw(CORE.load(Ordering::Relaxed));
        // No thread loses the core to another one of the program while it holds a lock, or has written half a line.
        let _off = Off::enter();
        let _cut = prefix(&mut line, clock::now_ns(), core, *NAME.lock());
        if record.level() <= Level::Warn {
            let _cut = write!(line, "{}: ", if record.level() == Level::Warn { "warning" } else { "error" });
        }
        let _cut = write!(line, "{}", record.args());
        if QUEUED.load(Ordering::Relaxed) {
            pass_on(record.level(), String::from_utf8_lossy(line.as_bytes()).into_owned());
        } else {
            early_line(line.as_bytes());
        }
    }

    fn flush(&self) {}
}

#[cfg(test)]
mod tests {
    use super::*;
    use skerry_abi::IslandId;

    #[test]
    fn a_line_is_one_line() {
        let mut line = Line::new();
        prefix(&mut line, 12_345_678_901, CoreId::new(IslandId(1), 2), "init").unwrap();
        write!(line, "\u{1}two\nlines").unwrap();
        assert_eq!(line.as_bytes(), b"[ 12.345 1.2 init]  two lines");
    }

    #[test]
    fn a_line_in_pieces_is_whole_again_and_bounded() {
        let mut unfinished = Unfinished::default();
        let text = "x".repeat(100);
        let lines: Vec<_> = pieces(2, text.as_bytes()).filter_map(|piece| unfinished.take(&piece)).collect();
        assert_eq!(lines, [(Level::Warn, text)]);
        let endless = LogText { level: 9, more: 1, len: 255, ..LogText::default() };
        assert!((0..100).all(|_| unfinished.take(&endless).is_none()));
        let (level, line) = unfinished.take(&LogText { more: 0, ..endless }).unwrap();
        assert_eq!((level, line.len()), (Level::Trace, 2 * MAX_LINE));
    }

    #[test]
    fn a_long_line_is_cut() {
        let mut line = Line::new();
        write!(line, "{}", "x".repeat(1000)).unwrap();
        assert_eq!(line.as_bytes().len(), MAX_LINE);
    }
}
