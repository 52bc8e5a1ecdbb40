//! Two islands and the window between them, in one thread: any interleaving of polls, messages, pauses, restarts and
//! scribbles, chosen by proptest. Whatever happened, two sides that run undisturbed afterwards are up again soon, and no
//! message of one session is ever received in another.

use proptest::prelude::*;
use skerry_urpc::ring::Word;
use skerry_urpc::window::{Link, LinkConfig, Side, State, Window};
use skerry_urpc::{Block, CoreId, Identity, IslandId, Message, Transport};
use std::sync::atomic::Ordering;

const BOUND: u64 = 2_000;
const BLOCK_WORDS: usize = skerry_urpc::window::BLOCK_BYTES / 8;

#[derive(Clone, Debug)]
enum Step {
    Poll(usize),
    Advance(u64),
    Send(usize, u8),
    Receive(usize, u8),
    Restart(usize),
    Scribble { block: usize, word: usize, value: u64 },
}

struct Island {
    link: Link,
    /// What the next message sent, and received, in this session is numbered.
    sent: u64,
    received: u64,
    session: Option<(u32, u32)>,
}

struct World {
    memory: &'static [Word],
    now: u64,
    islands: [Island; 2],
    /// No scribble yet: every message must be what the peer sent.
    honest: bool,
}

fn window(memory: &'static [Word], side: usize) -> Window {
    let side = if side == 0 { Side::A } else { Side::B };
    Window::new(Block::from_words(memory), side, 0).unwrap()
}

fn link(memory: &'static [Word], side: usize, now: u64) -> Link {
    let window = window(memory, side);
    let epoch = window.previous_epoch().next();
    let identity = Identity { core: CoreId::new(IslandId(side as u16), 0), epoch, features: 3 };
    Link::new(&window, LinkConfig { identity, peer: IslandId(1 - side as u16), bound: BOUND }, now).unwrap()
}

impl World {
    fn new() -> Self {
        let words = (0..Window::min_bytes(0) / 8).map(|_| Word::new(0)).collect();
        let memory: &'static [Word] = Vec::leak(words);
        let island = |side| Island { link: link(memory, side, 0), sent: 0, received: 0, session: None };
        Self { memory, now: 0, islands: [island(0), island(1)], honest: true }
    }

    fn poll(&mut self, side: usize) {
        let now = self.now;
        let island = &mut self.islands[side];
        island.link.poll(now);
        match island.link.state() {
            State::Up(agreed) => {
                let own = window(self.memory, side).previous_epoch().0;
                let session = Some((own, agreed.epoch.0));
                if island.session != session && self.honest {
                    (island.session, island.sent, island.received) = (session, 0, 0);
                }
                assert_eq!(agreed.features, 3);
            }
            State::Refused { up_to } => {
                assert!(island.link.channel().is_none());
                // Fails only when nonsense made us use up all epochs.
                let _ = island.link.rejoin(up_to.next(), now);
            }
            _ => assert!(island.link.channel().is_none()),
        }
    }

    fn send(&mut self, side: usize, count: u8) {
        let island = &mut self.islands[side];
        let Some(channel) = island.link.channel() else { return };
        let (own, peer) = island.session.unwrap_or_default();
        for _ in 0..count {
            let n = island.sent;
            let words = [side as u64, own.into(), peer.into(), n, !n, n, n];
            if channel.try_send(&Message { words, kind: n as u16, flags: 0 }).is_err() {
                return;
            }
            island.sent += 1;
        }
    }

    fn receive(&mut self, side: usize, count: u8) {
        let island = &mut self.islands[side];
        let Some(channel) = island.link.channel() else { return };
        for _ in 0..count {
            let received = channel.try_recv();
            if !self.honest {
                continue;
            }
            let Some(message) = received.expect("nobody scribbled") else { return };
            let (own, peer) = island.session.unwrap();
            let n = island.received;
            let words = [1 - side as u64, peer.into(), own.into(), n, !n, n, n];
            assert_eq!(message, Message { words, kind: n as u16, flags: 0 });
            island.received += 1;
        }
    }

    fn step(&mut self, step: &Step) {
        match *step {
            Step::Poll(side) => self.poll(side),
            Step::Advance(time) => self.now += time,
            Step::Send(side, count) => self.send(side, count),
            Step::Receive(side, count) => self.receive(side, count),
            Step::Restart(side) => {
                self.islands[side].link = link(self.memory, side, self.now);
                self.islands[side].session = None;
            }
            Step::Scribble { block, word, value } => {
                self.honest = false;
                let word = &self.memory[block * BLOCK_WORDS + word];
                // Small values mean "near what is there": the nonsense that is hardest to tell from sense.
                let old = word.load(Ordering::Acquire);
                word.store(if value < 8 { old.wrapping_add(value) } else { value }, Ordering::Release);
            }
        }
    }

    fn both_up(&self) -> bool {
        let [a, b] = self.islands.each_ref().map(|island| island.link.state());
        matches!((a, b), (State::Up(_), State::Up(_)))
    }

    /// Lets both run undisturbed, until each has heard from the other 100 times without a loss in between.
    fn settle(&mut self) {
        let mut heard = [0, 0];
        for _ in 0..400 {
            self.now += BOUND / 16;
            for side in [0, 1] {
                self.poll(side);
                self.send(side, 8);
                if let Some(channel) = self.islands[side].link.channel() {
                    while let Ok(Some(_)) = channel.try_recv() {
                        heard[side] += 1;
                    }
                }
            }
            if !self.both_up() {
                heard = [0, 0];
            }
            if heard.iter().all(|count| *count >= 100) {
                return;
            }
        }
        panic!("not up again: {:?}", self.islands.each_ref().map(|island| island.link.state()));
    }
}

fn honest_step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => (0..2usize).prop_map(Step::Poll),
        3 => (0..BOUND / 2).prop_map(Step::Advance),
        1 => (BOUND..3 * BOUND).prop_map(Step::Advance),
        3 => (0..2usize, 0..50u8).prop_map(|(side, count)| Step::Send(side, count)),
        3 => (0..2usize, 0..50u8).prop_map(|(side, count)| Step::Receive(side, count)),
        1 => (0..2usize).prop_map(Step::Restart),
    ]
}

/// Any word but payload, whose nonsense no channel can see.
fn scribble() -> impl Strategy<Value = Step> {
    let word = prop_oneof![3 => 0..8usize, 1 => Just(8usize), 1 => Just(9usize),
        3 => (0..32usize).prop_map(|slot| 16 + slot * 8 + 7)];
    let value = prop_oneof![1..8u64, any::<u64>(), any::<u32>().prop_map(u64::from), Just(u64::MAX), Just(8)];
    (0..2usize, word, value).prop_map(|(block, word, value)| Step::Scribble { block, word, value })
}

/// Few enough for every run; `PROPTEST_CASES` asks for more.
fn cases() -> ProptestConfig {
    let asked = std::env::var("PROPTEST_CASES").ok().and_then(|count| count.parse().ok());
    let cases = asked.unwrap_or(if cfg!(miri) { 3 } else { 300 });
    ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(cases) }
}

proptest! {
    #![proptest_config(cases())]

    #[test]
    fn no_message_crosses_sessions_and_all_comes_up_again(
        steps in prop::collection::vec(honest_step(), 0..if cfg!(miri) { 20 } else { 120 }),
    ) {
        let mut world = World::new();
        for step in &steps {
            world.step(step);
        }
        world.settle();
    }

    #[test]
    fn scribbles_close_the_link_and_it_comes_back(
        steps in prop::collection::vec(prop_oneof![6 => honest_step(), 1 => scribble()],
            0..if cfg!(miri) { 20 } else { 120 }),
    ) {
        let mut world = World::new();
        for step in &steps {
            world.step(step);
        }
        world.settle();
    }
}
