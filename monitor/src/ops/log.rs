//! Lines of text. The island's first monitor writes them; the others send theirs to it in pieces. A line that finds the
//! channel half full is dropped, and the number of those is said with the next one that is not. Servers of this core say
//! their lines, and those of the domains they started, to this monitor, as if they were its own.

use crate::chans::Role;
use crate::config::{MAX_LOG_LINE, MAX_QUEUE};
use crate::event::{Action, Chan, Sink};
use crate::monitor::Monitor;
use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use skerry_hal::CoreId;
use skerry_urpc::formats::Refusal;
use skerry_urpc::formats::log::{PIECE, pieces};
use skerry_urpc::formats::monitor::{LogDropped, LogText, SetLogLevel};

#[derive(Default)]
pub(crate) struct State {
    dropped: u64,
    partial: BTreeMap<CoreId, Vec<u8>>,
    /// The same, of servers of this core.
    local: BTreeMap<u16, Vec<u8>>,
    /// See [`heartbeat`](super::heartbeat).
    pub last_beat: u64,
    pub beats: u64,
}

impl Monitor {
    /// Writes a line of this core's to the log, here or on the first core.
    pub fn log(&mut self, now: u64, level: u8, text: &str, sink: &mut dyn Sink) {
        self.now = now;
        if self.is_first() {
            return sink.act(Action::Log { core: self.core, level, text: clean(text.as_bytes()) });
        }
        let text = cut(text);
        let count = text.len().div_ceil(PIECE).max(1);
        let room = self.chans.get(Chan(0)).map_or(0, |e| e.room());
        if !self.say_dropped(sink) || room < MAX_QUEUE / 2 + count {
            self.log.dropped += 1;
            return;
        }
        for piece in pieces(level, text.as_bytes()) {
            self.send_body(CoreId::new(self.island, 0), 0, &piece, sink);
        }
    }

    /// Says how many lines were dropped, if any were and there is room to say so.
    fn say_dropped(&mut self, sink: &mut dyn Sink) -> bool {
        let room = self.chans.get(Chan(0)).map_or(0, |e| e.room());
        if self.log.dropped > 0 && room > MAX_QUEUE / 2 {
            let lines = core::mem::take(&mut self.log.dropped);
            self.send_body(
                CoreId::new(self.island, 0),
                0,
                &LogDropped { lines, ..LogDropped::default() },
                sink,
            );
        }
        self.log.dropped == 0
    }

    pub(crate) fn log_tick(&mut self, sink: &mut dyn Sink) {
        if !self.is_first() {
            self.say_dropped(sink);
        }
    }

    /// A piece of a line, from a core of this island.
    pub(crate) fn on_log_text(&mut self, piece: &LogText, chan: Chan, sink: &mut dyn Sink) {
        let (Role::Core(core), true) = (self.chans.role(chan), self.is_first()) else {
            self.counters.bad += 1;
            return;
        };
        match join(self.log.partial.entry(core).or_default(), piece) {
            Ok(Some(text)) => sink.act(Action::Log { core, level: piece.level, text }),
            Ok(None) => {}
            Err(Lie) => self.counters.bad += 1,
        }
    }

    /// A piece of a line, from a server of this core.
    pub(crate) fn on_server_log(&mut self, piece: &LogText, chan: Chan, sink: &mut dyn Sink) {
        match join(self.log.local.entry(chan.0).or_default(), piece) {
            Ok(Some(text)) => self.log(self.now, piece.level, &text, sink),
            Ok(None) => {}
            Err(Lie) => self.counters.bad += 1,
        }
    }

    pub(crate) fn on_log_dropped(&mut self, dropped: &LogDropped, chan: Chan, sink: &mut dyn Sink) {
        if let Role::Core(core) = self.chans.role(chan) {
            sink.act(Action::Log {
                core,
                level: 2,
                text: format!("{} lines were dropped here", dropped.lines),
            });
        }
    }

    pub(crate) fn log_level_everywhere(&mut self, level: u8, sink: &mut dyn Sink) -> Result<(), Refusal> {
        if level > 5 {
            return Err(Refusal::BadRequest);
        }
        let body = SetLogLevel { level, ..SetLogLevel::default() };
        self.multicast_everywhere(&body, sink);
        sink.act(Action::LogLevel { level });
        Ok(())
    }

    pub(crate) fn on_set_log_level(&mut self, set: &SetLogLevel, sink: &mut dyn Sink) {
        sink.act(Action::LogLevel { level: set.level.min(5) });
    }
}

/// A length that is none.
struct Lie;

/// Adds a piece to a line; the line, if it is whole now.
fn join(line: &mut Vec<u8>, piece: &LogText) -> Result<Option<String>, Lie> {
    let text = piece.text.get(..piece.len.into()).ok_or(Lie)?;
    line.extend_from_slice(&text[..text.len().min(MAX_LOG_LINE - line.len())]);
    Ok((piece.more == 0).then(|| clean(&core::mem::take(line))))
}

/// At most [`MAX_LOG_LINE`] bytes of a text, whole characters.
fn cut(text: &str) -> &str {
    &text[..text.floor_char_boundary(MAX_LOG_LINE)]
}

/// A line as it may be shown: a peer's bytes must not move the cursor, end the line, or look like an answer to a
/// machine's request.
fn clean(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testkit::{Log, app, core, first, header_of, report};
    use crate::{Event, Sink};
    use skerry_urpc::wire::Body;
    use skerry_urpc::{Message, SendError};

    /// What an app core says in its log, as the first monitor writes it.
    fn through(text: &str) -> Vec<String> {
        let (mut sender, mut log) = (app(0, 1), Log::default());
        let (mut receiver, mut written) = (first(0, 2, &[]), Log::default());
        receiver.handle(0, Event::Start, &mut written);
        receiver.message(0, Chan(0), &report(core(0, 1)), &mut written);
        written.actions.clear();
        sender.log(0, 3, text, &mut log);
        for (_, message) in log.sent.drain(..) {
            receiver.message(0, Chan(0), &message, &mut written);
        }
        let text = |a| if let Action::Log { core: c, text, .. } = a { Some((c, text)) } else { None };
        let lines = written.actions.drain(..).filter_map(text);
        lines.map(|(c, text)| (assert_eq!(c, core(0, 1)), text).1).collect()
    }

    #[test]
    fn lines_arrive_whole_and_clean() {
        assert_eq!(through("short"), ["short"]);
        assert_eq!(through(""), [""]);
        let long = "ä".repeat(200);
        assert_eq!(through(&long), [&*long]);
        assert_eq!(through(&"x".repeat(2000)), ["x".repeat(MAX_LOG_LINE)]);
        assert_eq!(through("\u{1}a\nb\u{1b}[2J"), ["\u{fffd}a\u{fffd}b\u{fffd}[2J"]);
    }

    #[test]
    fn dropped_lines_are_counted_and_said() {
        struct Full(bool, Vec<Message>);
        impl Sink for Full {
            fn send(&mut self, _: Chan, message: &Message) -> Result<(), SendError> {
                if self.0 {
                    return Err(SendError::Full);
                }
                self.1.push(*message);
                Ok(())
            }
            fn act(&mut self, _: Action) {}
        }
        let (mut sender, mut sink) = (app(0, 1), Full(true, Vec::new()));
        for _ in 0..MAX_QUEUE {
            sender.log(0, 3, "line", &mut sink);
        }
        sink.0 = false;
        sender.flush(0, &mut sink);
        sender.log(0, 3, "again", &mut sink);
        let kept = sink.1.iter().filter(|m| m.kind == LogText::KIND).count();
        let said: u64 = sink.1.iter().filter_map(|m| m.body::<LogDropped>()).map(|d| d.lines).sum();
        assert_eq!(kept as u64 - 1 + said, MAX_QUEUE as u64);
        assert!(said > 0);
    }

    #[test]
    fn a_length_that_lies_is_refused() {
        let (mut receiver, mut written) = (first(0, 2, &[]), Log::default());
        receiver.handle(0, Event::Start, &mut written);
        let lie = LogText { len: 30, ..LogText::default() };
        let message = skerry_urpc::wire::encode(&header_of(core(0, 1), core(0, 0)), &lie);
        receiver.message(0, Chan(0), &message, &mut written);
        assert_eq!(receiver.counters().bad, 1);
    }
}
