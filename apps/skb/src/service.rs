//! Those who ask, from the first piece of their text to the last line of the answer.

use crate::replica::{Log, Pace, Readers};
use crate::table;
use alloc::collections::VecDeque;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use skerry_hal::{CoreId, Epoch, IslandId};
use skerry_skb::policy::{self, MulticastTree};
use skerry_skb::rules::Knowledge;
use skerry_skb::{Fact, Latency, Offline, Origin, Record, Source, StoreError, Wake};
use skerry_urpc::Message;
use skerry_urpc::formats::Refusal;
use skerry_urpc::formats::knowledge::{
    Advisor, Ask, CoreNews, EDGES, IslandNews, LatencyNews, LogPart, LogQuery, LogState, MAX_TEXT,
    MeasurePart, MeasureQuery, Measured, NEWS, PollTime, Replica, TreePart, TreeQuery, WakeNews, What,
};
use skerry_urpc::formats::proc::{Credit, Done, Leave, Output, ProcessState, WINDOW};
use skerry_urpc::wire::{Body, Header, encode};

/// Those who ask at one time.
pub const MAX_ASKERS: usize = 16;

/// Whom an answer goes to: the core that asked, and its number.
type Who = (CoreId, u16);

struct Asker {
    who: Who,
    text: Vec<u8>,
    /// Pieces of the answer, and then how it ends.
    output: VecDeque<Output>,
    done: Option<Done>,
    credit: u32,
}

/// A knowledge base and those who ask it.
pub struct Service {
    knowledge: Knowledge,
    home: IslandId,
    /// The epoch of this island, as far as it is known.
    epoch: Epoch,
    /// What the monitors have asked for, and what goes to other islands.
    advice: VecDeque<Message>,
    /// What this island has learnt, and what other islands' knowledge bases want of it: one question each.
    log: Log,
    asked: VecDeque<(IslandId, LogQuery)>,
    readers: Readers,
    faults: VecDeque<StoreError>,
    askers: Vec<Asker>,
    /// What those hear who cannot be asked for more.
    refused: VecDeque<(Who, Refusal)>,
}

impl Service {
    /// Answers from what is known on this island, and on others as soon as they can be reached.
    pub fn new(knowledge: Knowledge, home: IslandId, epoch: Epoch, pace: Pace) -> Self {
        let own = |record: &&Record| record.origin.island == home;
        let log = Log::new(epoch, knowledge.store().iter().filter(own));
        Self {
            knowledge,
            home,
            epoch,
            advice: VecDeque::new(),
            log,
            asked: VecDeque::new(),
            readers: Readers::new(pace),
            faults: VecDeque::new(),
            askers: Vec::new(),
            refused: VecDeque::new(),
        }
    }

    /// What is known here.
    pub const fn knowledge(&self) -> &Knowledge {
        &self.knowledge
    }

    /// A message from the monitor.
    pub fn take(&mut self, message: &Message, now: u64) {
        let Header { src, request, .. } = message.header();
        let who = (src, request);
        let taken = Advisor::dispatch(self, message, (src, now))
            .or_else(|cx| Measured::dispatch(self, message, cx))
            .or_else(|cx| Replica::dispatch(self, message, cx));
        if taken.is_ok() {
            return;
        }
        let known = self.askers.iter().position(|asker| asker.who == who);
        if message.body::<Leave>().is_some() {
            self.askers.retain(|asker| asker.who != who);
        } else if let Some(credit) = message.body::<Credit>() {
            if let Some(known) = known {
                let asker = &mut self.askers[known];
                asker.credit = asker.credit.saturating_add(credit.pieces);
            }
        } else if let Some(ask) = message.body::<Ask>() {
            self.ask(who, known, &ask);
        } else {
            self.refused.push_back((who, Refusal::BadKind));
        }
    }

    /// Time goes by: asks other islands again.
    pub fn tick(&mut self, now: u64) {
        while let Some((island, query)) = self.readers.due(now) {
            self.say(island, &query);
        }
    }

    /// When that is due.
    pub fn deadline(&self) -> Option<u64> {
        self.readers.deadline()
    }

    /// Something for the knowledge base of another island, which is at its first core.
    fn say(&mut self, island: IslandId, body: &impl Body) {
        self.advise(CoreId::new(island, 0), body);
    }

    /// Something for the monitor of a core of this island.
    fn advise(&mut self, dst: CoreId, body: &impl Body) {
        self.advice.push_back(encode(&Header { dst, ..Header::default() }, body));
    }

    /// A fact that was measured here.
    fn measured(&self, fact: impl Into<Fact>) -> Record {
        let origin = Origin { island: self.home, epoch: self.epoch, source: Source::Measured };
        Record { fact: fact.into(), origin }
    }

    /// What this island has learnt begins to hold, or does no longer.
    fn learn(&mut self, record: Record, holds: bool) {
        match self.keep(record, holds) {
            Ok(false) => return,
            Ok(true) => {}
            Err(error) => return self.faults.push_back(error),
        }
        if !self.log.note(holds, &record) {
            self.renew_log();
        }
        self.tell_news();
    }

    fn keep(&mut self, record: Record, holds: bool) -> Result<bool, StoreError> {
        if holds { self.knowledge.insert(record) } else { Ok(self.knowledge.remove(&record)) }
    }

    fn renew_log(&mut self) {
        let Self { log, knowledge, epoch, home, .. } = self;
        log.renew(*epoch, knowledge.store().iter().filter(|record| record.origin.island == *home));
    }

    fn tell_news(&mut self) {
        let state = self.log.state(NEWS);
        let islands: Vec<IslandId> = self.readers.islands().collect();
        islands.into_iter().for_each(|island| self.say(island, &state));
    }

    /// Answers the island that has waited longest.
    fn answer_island(&mut self) {
        let Some((island, query)) = self.asked.pop_front() else { return };
        let (parts, state) = self.log.answer(&query);
        parts.iter().for_each(|part| self.say(island, part));
        self.say(island, &state);
    }

    fn ask(&mut self, who: Who, known: Option<usize>, ask: &Ask) {
        let known = match known {
            Some(known) => known,
            None if self.askers.len() == MAX_ASKERS => return self.refuse(who, Refusal::Busy),
            None => {
                let (text, output) = (Vec::new(), VecDeque::new());
                self.askers.push(Asker { who, text, output, done: None, credit: WINDOW });
                self.askers.len() - 1
            }
        };
        let asker = &mut self.askers[known];
        let part = ask.text.get(..usize::from(ask.len));
        let (Some(part), Some(what)) = (part, What::from_raw(ask.what)) else {
            return self.refuse(who, Refusal::BadRequest);
        };
        if asker.done.is_some() || asker.text.len() + part.len() > MAX_TEXT {
            return self.refuse(who, Refusal::BadRequest);
        }
        asker.text.extend_from_slice(part);
        if ask.more != 0 {
            return;
        }
        let text = core::mem::take(&mut asker.text);
        let Ok(text) = core::str::from_utf8(&text) else { return self.refuse(who, Refusal::BadRequest) };
        let (lines, code) = match self.answer(what, text) {
            Ok(lines) => (lines, 0),
            Err(error) => ([error].into(), 1),
        };
        let asker = &mut self.askers[known];
        asker.output = lines.iter().flat_map(|line| pieces(line)).collect();
        asker.done = Some(Done { state: ProcessState::Exited as u8, code, ..Done::default() });
    }

    fn answer(&mut self, what: What, text: &str) -> Result<Vec<String>, String> {
        let told = |error: skerry_skb::rules::RuleError| alloc::format!("skb: {error}");
        match what {
            What::Question => self.knowledge.ask(text).map(|answer| table::lines(&answer)).map_err(told),
            What::Rules => {
                let text = text.trim();
                let (name, rules) = text.split_once(' ').unwrap_or((text, ""));
                if name.is_empty() {
                    return Ok(self.knowledge.texts().map(ToString::to_string).collect());
                }
                if !rules.is_empty() {
                    return self.knowledge.load(name, rules).map(|()| Vec::new()).map_err(told);
                }
                match self.knowledge.unload(name).map_err(told)? {
                    true => Ok(Vec::new()),
                    false => Err(alloc::format!("skb: no rules are called `{name}`; `rules` lists them")),
                }
            }
        }
    }

    fn refuse(&mut self, who: Who, refusal: Refusal) {
        self.askers.retain(|asker| asker.who != who);
        self.refused.push_back((who, refusal));
    }

    /// What could not be kept, for the log.
    pub fn next_fault(&mut self) -> Option<StoreError> {
        self.faults.pop_front()
    }

    /// The next message to the monitor, if there is one that may be sent.
    pub fn outgoing(&mut self) -> Option<Message> {
        if self.advice.is_empty() {
            self.answer_island();
        }
        if let Some(message) = self.advice.pop_front() {
            return Some(message);
        }
        let to = |(dst, request): Who| Header { dst, request, ..Header::default() };
        if let Some((who, refusal)) = self.refused.pop_front() {
            return Some(encode(&to(who), &Done { refusal: refusal as u16, ..Done::default() }));
        }
        let ready = |asker: &Asker| match asker.output.is_empty() {
            true => asker.done.is_some(),
            false => asker.credit > 0,
        };
        let place = self.askers.iter().position(ready)?;
        let asker = &mut self.askers[place];
        if let Some(piece) = asker.output.pop_front() {
            asker.credit -= 1;
            return Some(encode(&to(asker.who), &piece));
        }
        let Asker { who, done, .. } = self.askers.remove(place);
        done.map(|done| encode(&to(who), &done))
    }
}

/// What monitors say, each with the core of its own, and the time.
impl Advisor<(CoreId, u64)> for Service {
    type Outcome = ();

    fn tree_query(&mut self, query: &TreeQuery, (source, _): (CoreId, u64)) {
        // Where rules are at fault everybody is told directly; whoever asks for what they say hears of the fault.
        let tree = MulticastTree::of(&mut self.knowledge, source);
        let branches = tree.map(|tree| tree.branches).unwrap_or_default();
        let inside = |core: &CoreId| core.island() == source.island();
        let edges = branches.iter().flat_map(|b| b.children.iter().map(|&child| [b.parent, child]));
        let edges: Vec<[CoreId; 2]> = edges.filter(|edge| edge.iter().all(inside)).collect();
        let version = query.version;
        for (place, count, edges) in parts(&edges) {
            self.advise(source, &TreePart { version, place, count, edges, ..TreePart::default() });
        }
    }

    fn core_news(&mut self, news: &CoreNews, _: (CoreId, u64)) {
        let origin = Origin { island: self.home, epoch: self.epoch, source: Source::Discovered };
        self.learn(Record { fact: Offline { core: news.core }.into(), origin }, news.up == 0);
    }

    fn island_news(&mut self, news: &IslandNews, (_, now): (CoreId, u64)) {
        if news.island == self.home {
            self.epoch = news.epoch;
            self.knowledge.carry_over(self.home, news.epoch);
            self.renew_log();
            return self.tell_news();
        }
        if news.up == 0 {
            self.readers.close(news.island);
            self.knowledge.forget(news.island);
        } else if self.readers.open(news.island, news.epoch, now) {
            self.knowledge.forget(news.island);
        }
    }
}

/// What monitors say that measure, each with the core of its own, and the time.
impl Measured<(CoreId, u64)> for Service {
    type Outcome = ();

    fn measure_query(&mut self, query: &MeasureQuery, (asker, _): (CoreId, u64)) {
        let pairs = policy::to_measure(&mut self.knowledge).unwrap_or_default();
        let version = query.version;
        for (place, count, pairs) in parts(&pairs) {
            self.advise(asker, &MeasurePart { version, place, count, pairs, ..MeasurePart::default() });
        }
    }

    fn latency_news(&mut self, news: &LatencyNews, _: (CoreId, u64)) {
        let &LatencyNews { from, to, ns, .. } = news;
        for (from, to) in [(from, to), (to, from)] {
            self.learn(self.measured(Latency { from, to, ns }), true);
        }
    }

    fn wake_news(&mut self, news: &WakeNews, (core, _): (CoreId, u64)) {
        let old = |record: &&Record| matches!(record.fact, Fact::Wake(wake) if wake.core == core);
        let old = self.knowledge.store().iter().find(old).copied();
        old.into_iter().for_each(|old| self.learn(old, false));
        self.learn(self.measured(Wake { core, ns: news.ns }), true);
        if let Ok(Some(ns)) = policy::poll_time(&mut self.knowledge, core) {
            self.advise(core, &PollTime { ns, ..PollTime::default() });
        }
    }
}

/// What knowledge bases of other islands say, each with the core that stands for it, and the time.
impl Replica<(CoreId, u64)> for Service {
    type Outcome = ();

    fn log_query(&mut self, query: &LogQuery, (from, _): (CoreId, u64)) {
        self.asked.retain(|(island, _)| *island != from.island());
        self.asked.push_back((from.island(), *query));
    }

    fn log_part(&mut self, part: &LogPart, (from, _): (CoreId, u64)) {
        let kept = match self.readers.part(from.island(), part) {
            None => return,
            Some(Ok((holds, record))) => self.keep(record, holds),
            Some(Err(error)) => Err(StoreError::Wire(error)),
        };
        self.faults.extend(kept.err());
    }

    fn log_state(&mut self, state: &LogState, (from, now): (CoreId, u64)) {
        let step = self.readers.state(from.island(), state, now);
        if step.forget {
            self.knowledge.forget(from.island());
        }
        if let Some(query) = step.ask {
            self.say(from.island(), &query);
        }
    }
}

/// Pairs of cores in messages: how many came before, how many there are in all, and some of them.
fn parts(pairs: &[[CoreId; 2]]) -> impl Iterator<Item = (u16, u16, [[CoreId; 2]; EDGES])> + use<'_> {
    (0..pairs.len().div_ceil(EDGES).max(1)).map(|n| {
        let some = &pairs[n * EDGES..pairs.len().min((n + 1) * EDGES)];
        let mut part = [[CoreId::default(); 2]; EDGES];
        part[..some.len()].copy_from_slice(some);
        ((n * EDGES) as u16, pairs.len() as u16, part)
    })
}

/// A line in pieces.
fn pieces(line: &str) -> impl Iterator<Item = Output> + use<'_> {
    let bytes = line.as_bytes();
    let room = Output::default().text.len();
    let count = bytes.len().div_ceil(room).max(1);
    (0..count).map(move |n| {
        let part = &bytes[n * room..bytes.len().min((n + 1) * room)];
        let mut piece = Output { len: part.len() as u8, more: (n + 1 < count).into(), ..Output::default() };
        piece.text[..part.len()].copy_from_slice(part);
        piece
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use skerry_skb::Store;
    use skerry_skb::rules::Limits;
    use skerry_urpc::formats::knowledge;
    use skerry_urpc::wire::Body;

    const ME: Who = (CoreId::new(IslandId(1), 2), 77);

    fn service() -> Service {
        let mut knowledge = Knowledge::new(Store::default(), Limits::default());
        knowledge.load("test", "n(0). n(N + 1) :- n(N), N < 99. word(\"two words\"). word(one).").unwrap();
        Service::new(knowledge, IslandId(1), Epoch(1), Pace { retry: 10, look: 1000 })
    }

    fn send(service: &mut Service, (src, request): Who, body: &impl Body) {
        service.take(&encode(&Header { src, request, ..Header::default() }, body), 0);
    }

    fn ask(service: &mut Service, who: Who, what: What, text: &str) {
        knowledge::pieces(what, text.as_bytes()).for_each(|piece| send(service, who, &piece));
    }

    /// What comes until nothing may: lines, and how it ended.
    fn hear(service: &mut Service, who: Who) -> (Vec<String>, Option<Done>) {
        let (mut lines, mut line, mut done) = (Vec::new(), Vec::new(), None);
        while let Some(message) = service.outgoing() {
            let header = message.header();
            assert_eq!((header.dst, header.request), who);
            assert!(done.is_none(), "nothing comes after the last");
            done = message.body::<Done>();
            if let Some(output) = message.body::<Output>() {
                line.extend_from_slice(&output.text[..usize::from(output.len)]);
                if output.more == 0 {
                    lines.push(String::from_utf8(core::mem::take(&mut line)).unwrap());
                }
            }
        }
        (lines, done)
    }

    #[test]
    fn a_question_is_answered_with_a_table() {
        let mut service = service();
        ask(&mut service, ME, What::Question, "word(W), n(N), N > 7, N < 11, Longer = N * 1000000000000000");
        let (lines, done) = hear(&mut service, ME);
        assert_eq!(
            lines[..3],
            ["W           N  Longer", "one         8  8000000000000000", "one         9  9000000000000000"]
        );
        assert_eq!(lines[4], "\"two words\" 8  8000000000000000");
        assert_eq!(done.map(|done| (done.refusal, done.code)), Some((0, 0)));
        for (question, told) in [("n(3)", "yes"), ("n(300)", "no")] {
            ask(&mut service, ME, What::Question, question);
            assert_eq!(hear(&mut service, ME).0, [told]);
        }
        ask(&mut service, ME, What::Question, "m(3)");
        let (lines, done) = hear(&mut service, ME);
        assert_eq!(lines, ["skb: ?:1:1: no fact and no rule is called `m`"]);
        assert_eq!(done.map(|done| (done.refusal, done.code)), Some((0, 1)));
    }

    #[test]
    fn lines_flow_as_credit_is_granted() {
        let mut service = service();
        ask(&mut service, ME, What::Question, "n(N)");
        let (mut lines, mut rounds) = (Vec::new(), 0);
        loop {
            let (more, done) = hear(&mut service, ME);
            assert!(more.len() <= WINDOW as usize);
            lines.extend(more);
            if done.is_some() {
                break;
            }
            rounds += 1;
            send(&mut service, ME, &Credit { pieces: WINDOW, ..Credit::default() });
        }
        assert_eq!((lines.len(), rounds), (101, 3));
        // One that does not listen keeps nobody waiting, and leaves nothing behind.
        let other = (CoreId::new(IslandId(0), 0), 77);
        ask(&mut service, ME, What::Question, "n(N)");
        hear(&mut service, ME);
        ask(&mut service, other, What::Question, "n(1)");
        assert_eq!(hear(&mut service, other).0, ["yes"]);
        send(&mut service, ME, &Leave::default());
        assert!(service.askers.is_empty());
    }

    #[test]
    fn rules_come_and_go() {
        let mut service = service();
        let mut rules = |text: &str, told: &[&str], code: u8| {
            ask(&mut service, ME, What::Rules, text);
            let (lines, done) = hear(&mut service, ME);
            assert_eq!(lines, told, "{text}");
            assert_eq!(done.map(|done| done.code), Some(code));
        };
        rules("mine even(N) :- n(N), N mod 2 = 0.", &[], 0);
        rules("", &["test", "mine"], 0);
        rules("test p(1).", &["skb: mine:1:12: no fact and no rule is called `n`"], 1);
        rules("mine", &[], 0);
        rules("mine", &["skb: no rules are called `mine`; `rules` lists them"], 1);
    }

    #[test]
    fn limits_are_told() {
        let mut service = service();
        ask(&mut service, ME, What::Question, &"n(1), ".repeat(MAX_TEXT / 6 + 1));
        let refusal =
            |heard: (Vec<String>, Option<Done>)| heard.1.map(|done| Refusal::from_raw(done.refusal));
        assert_eq!(refusal(hear_first(&mut service)), Some(Refusal::BadRequest));
        let mut service = self::service();
        for n in 0..MAX_ASKERS as u16 {
            ask(&mut service, (ME.0, n), What::Question, "n(N)");
        }
        ask(&mut service, ME, What::Question, "n(1)");
        assert_eq!(refusal(hear_first(&mut service)), Some(Refusal::Busy));
    }

    /// The first answer alone.
    fn hear_first(service: &mut Service) -> (Vec<String>, Option<Done>) {
        (Vec::new(), service.outgoing().and_then(|message| message.body::<Done>()))
    }
}
