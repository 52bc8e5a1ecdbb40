//! `urpc.xisa`: this domain and one on another island, over domain channels of the window between the two islands,
//! both polling. Messages through the shipped ring, and the same traffic written by hand, take turns.
//!
//! | figure | what it is |
//! | --- | --- |
//! | `urpc.xisa.rtt_ns`, `bare_rtt_ns` | a message there and one back; one word there and one back |
//! | `urpc.xisa.stream_ns`, `bare_stream_ns` | per message of a one-way stream; per 64 bytes copied by a bare loop |
//! | `…_ratio` | the first of a pair ÷ the second |

use alloc::vec::Vec;
use core::sync::atomic::AtomicU64;
use core::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use skerry_abi::PAGE_SIZE;
use skerry_abi::domain::Purpose;
use skerry_urpc::window::LAYOUT;
use skerry_urpc::{Message, Transport};
use skerry_user::chan::{Chan, Peer};
use skerry_user::vspace::{Mapping, RW};
use skerry_user::{Domain, clock};

/// Rounds of which the median counts.
const ROUNDS: u64 = 101;
/// Round trips in a round, and messages of a stream.
const TRIPS: u64 = 1000;
const STREAM: u64 = 4000;
/// How often to look in vain before the peer is given up: seconds.
const PATIENCE: u64 = 1 << 29;

/// Medians, in ticks of a round.
pub struct Times {
    rtt: u64,
    bare_rtt: u64,
    stream: u64,
    bare_stream: u64,
}

impl Times {
    /// Name, value, and unit of every figure.
    pub fn lines(&self) -> [alloc::string::String; 6] {
        let ns = |ticks: u64, count: u64| clock::ticks_to_ns(ticks) as f64 / count as f64;
        let line = |name, value: f64, unit| alloc::format!("urpc.xisa.{name} {value:.2} {unit}");
        [
            line("rtt_ns", ns(self.rtt, TRIPS), "ns"),
            line("bare_rtt_ns", ns(self.bare_rtt, TRIPS), "ns"),
            line("rtt_ratio", self.rtt as f64 / self.bare_rtt as f64, "ratio"),
            line("stream_ns", ns(self.stream, STREAM), "ns"),
            line("bare_stream_ns", ns(self.bare_stream, STREAM), "ns"),
            line("stream_ratio", self.stream as f64 / self.bare_stream as f64, "ratio"),
        ]
    }
}

/// One end.
struct End {
    chan: Chan,
    bare: Bare,
    /// Messages that were not what was expected.
    wrong: u64,
}

/// One end of the memory to compare with: laid out like a channel.
struct Bare {
    inbox: Page,
    outbox: Page,
}

/// A word in line 0, the credit in line 1, then slots.
struct Page {
    word: &'static AtomicU64,
    credit: &'static AtomicU64,
    slots: Vec<&'static [AtomicU64; 8]>,
}

impl Page {
    fn new(view: &Mapping, at: u64) -> Self {
        let slot = |n| view.line(at + 128 + n * u64::from(LAYOUT.stride));
        Self {
            word: view.word(at),
            credit: view.word(at + 64),
            slots: (0..u64::from(LAYOUT.slots)).map(slot).collect(),
        }
    }

    #[inline(always)]
    fn slot(&self, n: u64) -> &'static [AtomicU64; 8] {
        self.slots[n as usize % self.slots.len()]
    }
}

/// Polls until something is there.
#[inline(always)]
fn poll<T>(mut look: impl FnMut() -> Option<T>) -> Option<T> {
    (0..PATIENCE).find_map(|_| look())
}

#[inline(always)]
fn await_word(word: &AtomicU64, value: u64) -> Option<()> {
    poll(|| (word.load(Acquire) == value).then_some(()))
}

impl End {
    fn new(domain: &mut Domain) -> Option<Self> {
        let chan = Chan::listed(domain, Peer::Program)?;
        let cap = domain.info.caps_for(Purpose::Window).next()?;
        let view = domain.map(cap.cptr, cap.len, RW).ok()?;
        let [inbox, outbox] = [cap.detail, 1 - cap.detail].map(|side| Page::new(&view, side * PAGE_SIZE));
        Some(Self { chan, bare: Bare { inbox, outbox }, wrong: 0 })
    }

    #[inline(always)]
    fn send(&mut self, message: &Message) -> Option<()> {
        poll(|| self.chan.try_send(message).ok())
    }

    #[inline(always)]
    fn receive(&mut self, n: u64) -> Option<Message> {
        let message = poll(|| self.chan.try_recv().ok().flatten())?;
        self.wrong += u64::from(message.words[6] != n);
        Some(message)
    }

    fn ask(&mut self) -> Option<()> {
        for n in 0..TRIPS {
            self.send(&message(n))?;
            self.receive(n)?;
        }
        Some(())
    }

    fn answer(&mut self) -> Option<()> {
        for n in 0..TRIPS {
            let message = self.receive(n)?;
            self.send(&message)?;
        }
        Some(())
    }

    fn ask_bare(&self, round: u64) -> Option<()> {
        for n in 1..=TRIPS {
            let value = round << 32 | n;
            self.bare.outbox.word.store(value, Release);
            await_word(self.bare.inbox.word, value)?;
        }
        Some(())
    }

    fn answer_bare(&self, round: u64) -> Option<()> {
        for n in 1..=TRIPS {
            let value = round << 32 | n;
            await_word(self.bare.inbox.word, value)?;
            self.bare.outbox.word.store(value, Release);
        }
        Some(())
    }

    fn pour(&mut self) -> Option<()> {
        for n in 0..STREAM {
            self.send(&message(n))?;
        }
        self.receive(STREAM).map(drop)
    }

    fn drink(&mut self) -> Option<()> {
        for n in 0..STREAM {
            self.receive(n)?;
        }
        self.send(&message(STREAM))
    }

    /// 64 bytes into each slot in turn, the last word with their number last; never more ahead than there are slots.
    fn pour_bare(&self, round: u64) -> Option<()> {
        let (mut free, slots) = (round * STREAM + u64::from(LAYOUT.slots), u64::from(LAYOUT.slots));
        for n in round * STREAM..(round + 1) * STREAM {
            if n == free {
                free = slots + poll(|| Some(self.bare.inbox.credit.load(Acquire)).filter(|c| c + slots > n))?;
            }
            let slot = self.bare.outbox.slot(n);
            for word in &slot[..7] {
                word.store(n, Relaxed);
            }
            slot[7].store(n + 1, Release);
        }
        await_word(self.bare.inbox.word, u64::MAX - round)
    }

    fn drink_bare(&mut self, round: u64) -> Option<()> {
        for n in round * STREAM..(round + 1) * STREAM {
            let slot = self.bare.inbox.slot(n);
            await_word(&slot[7], n + 1)?;
            let mut words = [0; 7];
            for (to, from) in words.iter_mut().zip(slot) {
                *to = from.load(Relaxed);
            }
            self.wrong += u64::from(core::hint::black_box(words)[6] != n);
            if (n + 1) % u64::from(LAYOUT.slots / 4) == 0 {
                self.bare.outbox.credit.store(n + 1, Release);
            }
        }
        self.bare.outbox.word.store(u64::MAX - round, Release);
        Some(())
    }
}

fn message(n: u64) -> Message {
    Message { words: [n; 7], kind: 1, flags: 0 }
}

/// The end that measures. `None` if the other did not answer, or what came was not what was sent.
pub fn measure(domain: &mut Domain) -> Option<Times> {
    let mut end = End::new(domain)?;
    let mut times: [Vec<u64>; 4] = Default::default();
    for round in 0..ROUNDS {
        let mut start = clock::ticks();
        let mut lap = |list: &mut Vec<u64>| {
            let now = clock::ticks();
            list.push(now - core::mem::replace(&mut start, now));
        };
        end.ask()?;
        lap(&mut times[0]);
        end.ask_bare(round)?;
        lap(&mut times[1]);
        end.pour()?;
        lap(&mut times[2]);
        end.pour_bare(round)?;
        lap(&mut times[3]);
    }
    let [rtt, bare_rtt, stream, bare_stream] = times.map(|mut list| {
        list.sort_unstable();
        list[list.len() / 2]
    });
    (end.wrong == 0).then_some(Times { rtt, bare_rtt, stream, bare_stream })
}

/// The end that answers.
pub fn serve(domain: &mut Domain) -> Option<()> {
    let mut end = End::new(domain)?;
    for round in 0..ROUNDS {
        end.answer()?;
        end.answer_bare(round)?;
        end.drink()?;
        end.drink_bare(round)?;
    }
    (end.wrong == 0).then_some(())
}
