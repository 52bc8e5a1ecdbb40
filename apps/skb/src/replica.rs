//! How what islands have learnt gets to the others (paper section 4.9): each knowledge base keeps a log of its own island's
//! facts, and reads those of all islands that it can reach.
//!
//! ```text
//! reader  LogQuery(epoch, generation, from) ─►  log
//!         ◄─ LogPart … LogPart, LogState(len, upto)
//!         ◄─ LogState(len, NEWS)                       when it has become longer
//! ```
//!
//! A log only grows; when more of it is void than holds, it is written anew in another generation, which is read from its
//! start. Nothing of a reader's is kept where the log is. A reader that has not heard what it asked for asks again, after ever
//! longer times, and looks for news that were lost once in a while.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use skerry_hal::{Epoch, IslandId};
use skerry_skb::{Fact, Record, WireError, WireRecord};
use skerry_urpc::formats::knowledge::{HOLDS, LAST, LOG_BYTES, LogPart, LogQuery, LogState, NEWS};
use zerocopy::{FromBytes, IntoBytes};

/// Entries in one answer.
pub const BATCH: u16 = 8;
/// Entries of a log that are void before it is written anew, beside as many as hold.
const SLACK: usize = 64;
/// A query without an answer is repeated after [`Pace::retry`], and each time after twice as long, so many times.
const DOUBLINGS: u32 = 5;
/// Bytes of a record.
const RECORD: usize = size_of::<WireRecord>();
/// Parts of the longest record.
const PARTS: usize = RECORD.div_ceil(LOG_BYTES);

/// How long a reader waits, in ticks.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Pace {
    /// For an answer.
    pub retry: u64,
    /// From one look for news to the next, if there are none.
    pub look: u64,
}

/// Whether other islands are told a fact. Which island somebody is at is not for others.
const fn is_told(fact: &Fact) -> bool {
    !matches!(fact, Fact::Here(_))
}

/// What this island has learnt, in the order in which it has.
pub struct Log {
    epoch: Epoch,
    generation: u16,
    entries: Vec<(bool, Record)>,
    /// Entries that hold.
    live: usize,
}

impl Log {
    /// The first log of an epoch.
    pub fn new<'a>(epoch: Epoch, known: impl Iterator<Item = &'a Record>) -> Self {
        let mut log = Self { epoch, generation: 0, entries: Vec::new(), live: 0 };
        log.renew(epoch, known);
        log
    }

    /// Writes it anew: these are all that hold. The last generation is forgotten.
    pub fn renew<'a>(&mut self, epoch: Epoch, known: impl Iterator<Item = &'a Record>) {
        self.epoch = epoch;
        self.generation = self.generation.wrapping_add(1).max(1);
        self.entries = known.filter(|record| is_told(&record.fact)).map(|record| (true, *record)).collect();
        self.entries.truncate(usize::from(NEWS) - 1);
        self.live = self.entries.len();
    }

    /// Adds what has begun to hold, or holds no longer. Answers `false` where it is time to write it anew.
    #[must_use]
    pub fn note(&mut self, holds: bool, record: &Record) -> bool {
        if is_told(&record.fact) {
            self.entries.push((holds, *record));
            self.live = if holds { self.live + 1 } else { self.live.saturating_sub(1) };
        }
        self.entries.len() <= 2 * self.live + SLACK && self.entries.len() < usize::from(NEWS)
    }

    /// How long it is.
    pub fn state(&self, upto: u16) -> LogState {
        let (epoch, generation, len) = (self.epoch, self.generation, self.entries.len() as u16);
        LogState { epoch, generation, len, upto, ..LogState::default() }
    }

    /// What answers a query.
    pub fn answer(&self, query: &LogQuery) -> (Vec<LogPart>, LogState) {
        let from = usize::from(query.from);
        if (query.epoch, query.generation) != (self.epoch, self.generation) || from > self.entries.len() {
            return (Vec::new(), self.state(NEWS));
        }
        let upto = self.entries.len().min(from + usize::from(BATCH));
        let parts = (from..upto).flat_map(|entry| self.parts(entry)).collect();
        (parts, self.state(upto as u16))
    }

    fn parts(&self, entry: usize) -> impl Iterator<Item = LogPart> + use<> {
        let (holds, record) = &self.entries[entry];
        let mut bytes = [0; PARTS * LOG_BYTES];
        bytes[..RECORD].copy_from_slice(WireRecord::encode(record).as_bytes());
        let used = bytes.iter().rposition(|&byte| byte != 0).map_or(1, |last| last + 1);
        let (count, holds) = (used.div_ceil(LOG_BYTES), if *holds { HOLDS } else { 0 });
        let (epoch, generation, entry) = (self.epoch, self.generation, entry as u16);
        (0..count).map(move |n| {
            let flags = holds | if n + 1 == count { LAST } else { 0 };
            let mut part = LogPart { epoch, generation, entry, part: n as u8, flags, ..LogPart::default() };
            part.bytes.copy_from_slice(&bytes[n * LOG_BYTES..(n + 1) * LOG_BYTES]);
            part
        })
    }
}

/// How far another island's log has been read.
struct Reader {
    epoch: Epoch,
    generation: u16,
    /// The next entry, and the next part of it.
    next: (u16, u8),
    bytes: [u8; PARTS * LOG_BYTES],
    /// Whether an answer is awaited, and how often in vain.
    asked: Option<u32>,
    /// When to ask, if nothing comes.
    due: u64,
}

/// What comes of a [`LogState`].
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Step {
    /// What was read of that island is void.
    pub forget: bool,
    /// The next question.
    pub ask: Option<LogQuery>,
}

/// The logs of other islands, as far as they have been read.
pub struct Readers {
    pace: Pace,
    readers: BTreeMap<u16, Reader>,
}

impl Readers {
    /// Nothing yet.
    pub const fn new(pace: Pace) -> Self {
        Self { pace, readers: BTreeMap::new() }
    }

    /// An island can be reached, in this epoch. What was read in another is void: then it is `true`, and its log is read from
    /// the start as soon as [`due`](Self::due) says.
    pub fn open(&mut self, island: IslandId, epoch: Epoch, now: u64) -> bool {
        if let Some(reader) = self.readers.get_mut(&island.0).filter(|reader| reader.epoch == epoch) {
            (reader.asked, reader.due) = (None, now);
            return false;
        }
        let bytes = [0; PARTS * LOG_BYTES];
        let reader = Reader { epoch, generation: 0, next: (0, 0), bytes, asked: None, due: now };
        self.readers.insert(island.0, reader);
        true
    }

    /// An island cannot be reached any more.
    pub fn close(&mut self, island: IslandId) {
        self.readers.remove(&island.0);
    }

    /// Islands whose logs are read.
    pub fn islands(&self) -> impl Iterator<Item = IslandId> {
        self.readers.keys().map(|&island| IslandId(island))
    }

    /// Part of an island's log. Answers the entry that it completes: whether it holds, and what.
    ///
    /// # Errors
    /// [`WireError`]: it means nothing, or is not that island's to say. It counts as read.
    pub fn part(&mut self, island: IslandId, part: &LogPart) -> Option<Result<(bool, Record), WireError>> {
        let reader = self.readers.get_mut(&island.0)?;
        let known = (part.epoch, part.generation, (part.entry, part.part));
        let at = usize::from(part.part) * LOG_BYTES;
        if known != (reader.epoch, reader.generation, reader.next) {
            return None;
        }
        reader.bytes.get_mut(at..at + LOG_BYTES)?.copy_from_slice(&part.bytes);
        if part.flags & LAST == 0 {
            reader.next.1 += 1;
            return None;
        }
        reader.next = (reader.next.0 + 1, 0);
        let bytes = core::mem::replace(&mut reader.bytes, [0; PARTS * LOG_BYTES]);
        let wire = WireRecord::read_from_bytes(&bytes[..RECORD]).ok()?;
        let own = |record: Record| {
            let origin = (record.origin.island, record.origin.epoch);
            let said = origin == (island, reader.epoch) && is_told(&record.fact);
            if said { Ok(record) } else { Err(WireError { kind: "record", field: "origin" }) }
        };
        Some(wire.decode().and_then(own).map(|record| (part.flags & HOLDS != 0, record)))
    }

    /// How long an island's log is.
    pub fn state(&mut self, island: IslandId, state: &LogState, now: u64) -> Step {
        let mut step = Step::default();
        let Some(reader) = self.readers.get_mut(&island.0) else { return step };
        if state.epoch != reader.epoch {
            return step;
        }
        if state.generation != reader.generation {
            // What was on its way when the log was written anew.
            let newer = (state.generation.wrapping_sub(reader.generation) as i16) > 0;
            if reader.generation != 0 && !newer {
                return step;
            }
            step.forget = reader.next.0 > 0;
            (reader.generation, reader.next, reader.asked) = (state.generation, (0, 0), None);
        }
        match reader.asked {
            // The answer is on its way.
            Some(_) if state.upto == NEWS => return step,
            // Something of it was lost.
            Some(_) if state.upto != reader.next.0 => return step,
            _ => {}
        }
        if reader.next.0 < state.len {
            step.ask = Some(reader.ask(0, now + self.pace.retry));
        } else {
            (reader.asked, reader.due) = (None, now + self.pace.look);
        }
        step
    }

    /// What is to be asked now.
    pub fn due(&mut self, now: u64) -> Option<(IslandId, LogQuery)> {
        let (&island, reader) = self.readers.iter_mut().find(|(_, reader)| reader.due <= now)?;
        let vain = reader.asked.map_or(0, |vain| (vain + 1).min(DOUBLINGS));
        Some((IslandId(island), reader.ask(vain, now + (self.pace.retry << vain))))
    }

    /// When that is, if nothing comes before.
    pub fn deadline(&self) -> Option<u64> {
        self.readers.values().map(|reader| reader.due).min()
    }
}

impl Reader {
    fn ask(&mut self, vain: u32, due: u64) -> LogQuery {
        // A part of an entry is as good as none.
        self.next.1 = 0;
        (self.asked, self.due) = (Some(vain), due);
        let (epoch, generation, from) = (self.epoch, self.generation, self.next.0);
        LogQuery { epoch, generation, from, ..LogQuery::default() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use skerry_hal::CoreId;
    use skerry_skb::{Here, Latency, Name, Offline, Origin, Setting, Source};

    const A: IslandId = IslandId(0);
    const PACE: Pace = Pace { retry: 10, look: 1_000 };

    fn record(n: u16) -> Record {
        let core = |n| CoreId::new(A, n);
        let origin = Origin { island: A, epoch: Epoch(3), source: Source::Measured };
        let fact = match n % 3 {
            0 => Offline { core: core(n) }.into(),
            1 => Latency { from: core(n), to: core(n + 1), ns: u32::MAX }.into(),
            // As long as they come.
            _ => Setting { name: Name::new("poll_rounds").unwrap(), value: u64::MAX }.into(),
        };
        Record { fact, origin }
    }

    /// Asks, and hears the answer but for the messages that `lost` names, until all is read or nothing goes on. Answers what
    /// was read, and how many messages came.
    fn read(
        log: &Log,
        readers: &mut Readers,
        now: u64,
        mut lost: impl FnMut(usize) -> bool,
    ) -> (Vec<(bool, Record)>, usize) {
        let (mut read, mut count) = (Vec::new(), 0);
        let mut ask = readers.due(now).map(|(_, query)| query);
        while let Some(query) = ask.take() {
            let (parts, state) = log.answer(&query);
            for part in &parts {
                count += 1;
                if !lost(count) {
                    read.extend(readers.part(A, part).map(Result::unwrap));
                }
            }
            count += 1;
            if !lost(count) {
                let step = readers.state(A, &state, now);
                if step.forget {
                    read.clear();
                }
                ask = step.ask;
            }
        }
        (read, count)
    }

    fn readers() -> Readers {
        let mut readers = Readers::new(PACE);
        assert!(readers.open(A, Epoch(3), 0));
        readers
    }

    #[test]
    fn a_log_is_read_in_its_order_and_then_what_is_new() {
        let known: Vec<Record> = (0..50).map(record).collect();
        let mut log = Log::new(Epoch(3), known.iter());
        let mut readers = readers();
        let all: Vec<(bool, Record)> = known.iter().map(|record| (true, *record)).collect();
        assert_eq!(read(&log, &mut readers, 0, |_| false).0, all);
        assert_eq!(readers.deadline(), Some(PACE.look));
        assert!(readers.due(PACE.look - 1).is_none(), "nothing to ask");

        assert!(log.note(false, &record(7)) && log.note(true, &record(50)));
        let ask = readers.state(A, &log.state(NEWS), 5).ask.expect("there is something new");
        assert_eq!(ask.from, 50);
        let (parts, _) = log.answer(&ask);
        let new: Vec<(bool, Record)> =
            parts.iter().filter_map(|part| readers.part(A, part)).map(Result::unwrap).collect();
        assert_eq!(new, [(false, record(7)), (true, record(50))]);
    }

    #[test]
    fn whatever_is_lost_is_asked_for_again_and_nothing_is_taken_twice() {
        let known: Vec<Record> = (0..40).map(record).collect();
        let log = Log::new(Epoch(3), known.iter());
        let all: Vec<(bool, Record)> = known.iter().map(|record| (true, *record)).collect();
        let messages = read(&log, &mut readers(), 0, |_| false).1;
        for first in 1..=messages {
            let mut readers = readers();
            let (mut got, mut now, mut alone) = (Vec::new(), 0, true);
            while readers.deadline() < Some(PACE.look) {
                now = readers.deadline().unwrap();
                got.extend(read(&log, &mut readers, now, |n| n == first && core::mem::take(&mut alone)).0);
            }
            assert_eq!(got, all, "without message {first}, at {now}");
            assert_eq!(now, PACE.retry, "one time more");
        }
    }

    #[test]
    fn one_that_does_not_answer_is_asked_ever_more_rarely() {
        let mut readers = readers();
        let mut asked = Vec::new();
        for now in 0..1_000 {
            asked.extend(readers.due(now).map(|_| now));
        }
        assert_eq!(asked, [0, 10, 30, 70, 150, 310, 630, 950]);
    }

    #[test]
    fn a_log_with_much_that_is_void_is_written_anew_and_read_from_its_start() {
        let known: Vec<Record> = (0..4).map(record).collect();
        let mut log = Log::new(Epoch(3), known.iter());
        let mut readers = readers();
        assert_eq!(read(&log, &mut readers, 0, |_| false).0.len(), 4);
        let (mut notes, old) = (0, log.state(NEWS));
        while log.note(notes % 2 == 1, &record(0)) {
            notes += 1;
        }
        assert!((SLACK..2 * SLACK).contains(&notes), "{notes}");
        log.renew(Epoch(3), known[1..].iter());
        let step = readers.state(A, &log.state(NEWS), 9);
        assert!(step.forget);
        let ask = step.ask.expect("from the start");
        assert_eq!(ask.from, 0);
        // What was on its way from the old one changes nothing.
        assert_eq!(readers.state(A, &old, 9), Step::default());
        let (parts, _) = log.answer(&ask);
        assert_eq!(parts.iter().filter_map(|part| readers.part(A, part)).count(), 3);
    }

    #[test]
    fn what_is_another_islands_or_epochs_to_say_is_not_taken() {
        let mut readers = readers();
        let other = Record { origin: Origin { island: IslandId(9), ..record(0).origin }, ..record(0) };
        let log = Log::new(Epoch(3), [other].iter());
        let (_, query) = readers.due(0).unwrap();
        let ask = readers.state(A, &log.answer(&query).1, 0).ask.unwrap();
        let (parts, _) = log.answer(&ask);
        assert_eq!(readers.part(A, &parts[0]), Some(Err(WireError { kind: "record", field: "origin" })));
        // A log of an epoch that does not count here.
        let log = Log::new(Epoch(4), [record(0)].iter());
        assert_eq!(readers.state(A, &log.state(NEWS), 0), Step::default());
        assert!(readers.open(A, Epoch(4), 0), "what is known is void");
        let here = Record { fact: Here { home: A }.into(), ..record(0) };
        assert_eq!(Log::new(Epoch(3), [here].iter()).state(NEWS).len, 0);
    }
}
