//! The ring on the host's own cores, where cache-line costs are real: `cargo bench -p skerry-urpc`.
//!
//! Two threads, pinned to two cores. In every round the contestants run one after the other, so that noise meets
//! them alike; each figure is a median over the rounds. A line is `name value unit`.
//!
//! All of them poll without `pause`: on the reference machine one takes 66 cycles, more than half a trip, so that a
//! trip's time would be a count of pauses. (Both loops are slower with it, and their ratio is a matter of phase.)
//!
//! * `urpc.native.rtt_ratio`: round trip of a 64-byte message through two rings, ÷ ping-pong of the last word alone on
//!   the same two lines: trip *n* of either goes through slot *n* of both blocks, so that what differs is the ring.
//! * `urpc.native.stream_ratio`, `stream16_ratio`: time per message, one thread sending as fast as it can and the
//!   other receiving, ÷ the same through `rtrb` with items of 64 bytes, at 256 and at 16 slots.

use skerry_urpc::ring::Word;
use skerry_urpc::{Block, Channel, Layout, Message, Transport};
use std::hint::black_box;
use std::sync::atomic::Ordering::{Acquire, Release};
use std::sync::{Arc, Barrier, LazyLock};
use std::time::Instant;

const RTT_SLOTS: u32 = 64;
const STRIDE: u32 = 64;
const RTT_ROUNDS: usize = 400;
const RTT_TRIPS: u32 = 1_000;
const STREAM_ROUNDS: usize = 200;
const STREAM_MESSAGES: u64 = 10_000;

/// A block on lines of its own.
#[repr(align(4096))]
struct Page([Word; PAGE_WORDS]);

const PAGE_WORDS: usize = 512;

fn words(layout: Layout) -> &'static [Word] {
    let pages = layout.block_bytes().div_ceil(size_of::<Page>());
    let pages: Vec<Page> = (0..pages).map(|_| Page([const { Word::new(0) }; PAGE_WORDS])).collect();
    let first: *const Word = pages[0].0.as_ptr();
    let count = Vec::leak(pages).len() * PAGE_WORDS;
    // SAFETY: the pages are leaked, and an array of `Page`s is an array of `Word`s.
    unsafe { std::slice::from_raw_parts(first, count) }
}

fn pair(layout: Layout) -> (Channel, Channel, [&'static [Word]; 2]) {
    let memory = [words(layout), words(layout)];
    let [a, b] = memory.map(Block::from_words);
    let left = Channel::new(a, b, layout).expect("a layout of our own");
    let right = Channel::new(b, a, layout).expect("a layout of our own");
    (left, right, memory)
}

/// The two cores, asked for before any thread is pinned to one of them.
static CORES: LazyLock<Vec<core_affinity::CoreId>> =
    LazyLock::new(|| core_affinity::get_core_ids().unwrap_or_default());

fn pin(index: usize) {
    if CORES.len() < 2 || !core_affinity::set_for_current(CORES[index]) {
        eprintln!("native: cannot pin thread {index} to a core of its own, so there is nothing to measure");
        std::process::exit(1);
    }
}

#[inline(always)]
fn send(channel: &mut Channel, message: &Message) {
    while channel.try_send(message).is_err() {}
}

#[inline(always)]
fn receive(channel: &mut Channel) -> Message {
    loop {
        if let Some(message) = channel.try_recv().expect("a correct peer") {
            return message;
        }
    }
}

#[inline(always)]
fn await_word(word: &Word, value: u64) {
    while word.load(Acquire) != value {}
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// What two contestants took, round by round.
struct Rounds {
    ours: Vec<f64>,
    theirs: Vec<f64>,
}

impl Rounds {
    /// The ratio is the median of the rounds' ratios, and not the ratio of the medians: the machine's speed changes
    /// between rounds, and need not do so in the middle.
    fn print(self, ours: &str, theirs: &str, ratio: &str) {
        let ratios = self.ours.iter().zip(&self.theirs).map(|(ours, theirs)| ours / theirs).collect();
        println!("urpc.native.{ours} {:.1} ns", median(self.ours));
        println!("urpc.native.{theirs} {:.1} ns", median(self.theirs));
        println!("urpc.native.{ratio} {:.3} ratio", median(ratios));
    }
}

fn nanoseconds(since: Instant, count: u64) -> f64 {
    since.elapsed().as_nanos() as f64 / count as f64
}

fn save<'a>(word: &impl Fn(u64) -> &'a Word, slots: u32) -> Vec<u64> {
    (0..u64::from(slots)).map(|n| word(n).load(Acquire)).collect()
}

fn put_back<'a>(word: &impl Fn(u64) -> &'a Word, saved: &[u64]) {
    for (n, value) in (0..).zip(saved) {
        word(n).store(*value, Release);
    }
}

/// ns per round trip: messages, words.
fn round_trip(slots: u32) -> Rounds {
    let layout = Layout { slots, stride: STRIDE };
    let (mut left, mut right, memory) = pair(layout);
    // The bare words live in the slots' lines; what the ring left there is put back before it goes on.
    let [to_left, to_right] =
        memory.map(|block| move |n: u64| &block[16 + (n as usize % slots as usize) * 8 + 7]);
    let barrier = Arc::new(Barrier::new(2));
    let peer = std::thread::spawn({
        let barrier = barrier.clone();
        move || {
            pin(1);
            for _ in 0..RTT_ROUNDS {
                barrier.wait();
                for _ in 0..RTT_TRIPS {
                    let message = receive(&mut right);
                    send(&mut right, &message);
                }
                barrier.wait();
                let saved = save(&to_left, slots);
                barrier.wait();
                for n in 0..u64::from(RTT_TRIPS) {
                    await_word(to_right(n), 1 << 40 | n);
                    to_left(n).store(1 << 40 | n, Release);
                }
                barrier.wait();
                put_back(&to_left, &saved);
            }
        }
    });
    pin(0);
    let (mut messages, mut bare) = (vec![], vec![]);
    let mut message = Message::default();
    for _ in 0..RTT_ROUNDS {
        barrier.wait();
        let start = Instant::now();
        for n in 0..RTT_TRIPS {
            message.words = [n.into(); 7];
            send(&mut left, black_box(&message));
            black_box(receive(&mut left));
        }
        messages.push(nanoseconds(start, RTT_TRIPS.into()));
        barrier.wait();
        let saved = save(&to_right, slots);
        barrier.wait();
        let start = Instant::now();
        for n in 0..u64::from(RTT_TRIPS) {
            to_right(n).store(1 << 40 | n, Release);
            await_word(to_left(n), 1 << 40 | n);
        }
        bare.push(nanoseconds(start, RTT_TRIPS.into()));
        barrier.wait();
        put_back(&to_right, &saved);
    }
    peer.join().expect("the peer does not panic");
    Rounds { ours: messages, theirs: bare }
}

/// ns per message: ours, rtrb's.
fn stream(slots: u32) -> Rounds {
    let (mut left, mut right, _) = pair(Layout { slots, stride: STRIDE });
    let (mut producer, mut consumer) = rtrb::RingBuffer::<[u64; 8]>::new(slots as usize);
    let barrier = Arc::new(Barrier::new(2));
    let peer = std::thread::spawn({
        let barrier = barrier.clone();
        move || {
            pin(1);
            let mut message = Message::default();
            for _ in 0..STREAM_ROUNDS {
                barrier.wait();
                for n in 0..STREAM_MESSAGES {
                    message.words = [n; 7];
                    send(&mut right, black_box(&message));
                }
                barrier.wait();
                for n in 0..STREAM_MESSAGES {
                    let item = black_box([n; 8]);
                    while producer.push(item).is_err() {}
                }
            }
        }
    });
    pin(0);
    let (mut ours, mut theirs) = (vec![], vec![]);
    for _ in 0..STREAM_ROUNDS {
        barrier.wait();
        let start = Instant::now();
        for n in 0..STREAM_MESSAGES {
            assert_eq!(black_box(receive(&mut left)).words[6], n);
        }
        ours.push(nanoseconds(start, STREAM_MESSAGES));
        barrier.wait();
        let start = Instant::now();
        for n in 0..STREAM_MESSAGES {
            let item = loop {
                if let Ok(item) = consumer.pop() {
                    break item;
                }
            };
            assert_eq!(black_box(item)[6], n);
        }
        theirs.push(nanoseconds(start, STREAM_MESSAGES));
    }
    peer.join().expect("the peer does not panic");
    Rounds { ours, theirs }
}

fn main() {
    // `cargo test --benches` passes `--test`: nothing to do there, a benchmark is no test.
    if std::env::args().any(|arg| arg == "--test") {
        return;
    }
    round_trip(RTT_SLOTS).print("rtt_ns", "bare_rtt_ns", "rtt_ratio");
    for (name, slots) in [("stream", 256), ("stream16", 16)] {
        let [ours, theirs, ratio] = ["_ns", "_rtrb_ns", "_ratio"].map(|end| format!("{name}{end}"));
        stream(slots).print(&ours, &theirs, &ratio);
    }
}
