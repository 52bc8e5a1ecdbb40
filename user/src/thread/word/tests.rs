use super::*;
use proptest::prelude::*;
use std::collections::VecDeque;

/// A thread of the model.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Thread {
    Idle,
    Waits,
    Has,
}

/// Dispatchers with threads that take and give up one lock, and the grants that are under way.
struct World {
    word: AtomicU32,
    threads: Vec<Vec<Thread>>,
    queues: Vec<VecDeque<usize>>,
    grants: Vec<u32>,
}

impl World {
    fn new(dispatchers: usize, threads: usize) -> Self {
        Self {
            word: AtomicU32::new(FREE),
            threads: vec![vec![Thread::Idle; threads]; dispatchers],
            queues: vec![VecDeque::new(); dispatchers],
            grants: Vec::new(),
        }
    }

    fn pass_on(&mut self, d: usize, others_first: bool) {
        match give_up(&self.word, d as u32, !self.queues[d].is_empty(), others_first) {
            Heir::Nobody => {}
            Heir::Mine => {
                let heir = self.queues[d].pop_front().unwrap();
                self.threads[d][heir] = Thread::Has;
            }
            Heir::Of(other) => {
                assert_ne!(other as usize, d);
                self.grants.push(other);
            }
        }
    }

    /// Does the next thing that thread `t` of `d` can do; with `timeout`, a waiter goes away.
    fn step(&mut self, d: usize, t: usize, others_first: bool, timeout: bool) {
        match self.threads[d][t] {
            Thread::Idle => {
                let quick = self.word.swap_if(FREE, HELD, Acquire).is_ok();
                self.threads[d][t] = if quick || take_or_wait(&self.word, d as u32) {
                    Thread::Has
                } else {
                    self.queues[d].push_back(t);
                    Thread::Waits
                };
            }
            Thread::Has => {
                self.threads[d][t] = Thread::Idle;
                if self.word.swap_if(HELD, FREE, Release).is_err() {
                    self.pass_on(d, others_first);
                }
            }
            Thread::Waits if timeout => {
                self.queues[d].retain(|waiter| *waiter != t);
                self.threads[d][t] = Thread::Idle;
            }
            Thread::Waits => {}
        }
        self.check();
    }

    fn deliver(&mut self, at: usize) {
        let d = self.grants.swap_remove(at % self.grants.len()) as usize;
        self.pass_on(d, false);
        self.check();
    }

    fn check(&self) {
        let holders = self.threads.iter().flatten().filter(|t| **t == Thread::Has).count();
        let word = self.word.get();
        assert!(holders + self.grants.len() <= 1, "{holders} have it, {} are to", self.grants.len());
        assert_eq!(word & HELD != 0, holders + self.grants.len() == 1, "{word:#b}");
        for (d, queue) in self.queues.iter().enumerate() {
            assert!(queue.is_empty() || word & bit(d as u32) != 0, "{d} is forgotten: {word:#b}");
        }
        assert!(word != FREE || self.queues.iter().all(VecDeque::is_empty));
    }
}

proptest! {
    #[test]
    fn one_has_it_and_nobody_is_forgotten(
        steps in proptest::collection::vec((0usize..4, 0usize..3, any::<bool>(), 0u8..8), 1..400),
    ) {
        let mut world = World::new(4, 3);
        for (d, t, others_first, kind) in steps {
            match kind {
                0 | 1 if !world.grants.is_empty() => world.deliver(t),
                2 => world.step(d, t, others_first, true),
                _ => world.step(d, t, others_first, false),
            }
        }
        // Whoever has it gives it up, and nobody wants it anew: then each of those that wait has his turn.
        let mut left: usize = world.queues.iter().map(VecDeque::len).sum();
        for _ in 0..1000 {
            if !world.grants.is_empty() {
                world.deliver(0);
            }
            for d in 0..4 {
                for t in 0..3 {
                    if world.threads[d][t] == Thread::Has {
                        world.step(d, t, false, false);
                    }
                }
            }
            let now: usize = world.queues.iter().map(VecDeque::len).sum();
            prop_assert!(now <= left);
            left = now;
        }
        prop_assert_eq!(left, 0);
        prop_assert_eq!(world.word.get(), FREE);
    }
}

#[test]
fn the_next_dispatcher_is_the_next_in_the_round() {
    let word = AtomicU32::new(HELD | bit(0) | bit(2) | bit(30));
    assert_eq!(give_up(&word, 2, true, false), Heir::Mine);
    assert_eq!(give_up(&word, 2, true, true), Heir::Of(30));
    assert_eq!(give_up(&word, 30, false, false), Heir::Of(0));
    assert_eq!(word.get(), HELD | bit(0) | bit(2), "none of 30 waits");
    assert_eq!(give_up(&word, 0, true, true), Heir::Of(2));
}

/// Every interleaving of what two dispatchers do with the word, as loom finds them.
mod interleavings {
    use super::super::*;
    use loom::sync::Arc;
    use loom::sync::atomic::AtomicU32;
    use loom::thread;

    word!(AtomicU32);

    /// Two dispatchers with a thread each, and what the lock guards. A grant is a word that the heir looks at, as a channel
    /// would be.
    struct Shared {
        word: AtomicU32,
        grants: [AtomicU32; 2],
        value: loom::cell::UnsafeCell<u32>,
    }

    fn one_turn(shared: &Shared, me: u32) {
        if shared.word.swap_if(FREE, HELD, Acquire).is_err() && !take_or_wait(&shared.word, me) {
            while shared.grants[me as usize].load(Acquire) == 0 {
                thread::yield_now();
            }
            shared.grants[me as usize].store(0, Relaxed);
        }
        #[expect(unsafe_code, reason = "what the lock guards; loom says if it does not")]
        // SAFETY: the lock is held.
        shared.value.with_mut(|value| unsafe { *value += 1 });
        if shared.word.swap_if(HELD, FREE, Release).is_err() {
            // Its only thread does not wait: it is here.
            match give_up(&shared.word, me, false, false) {
                Heir::Nobody => {}
                Heir::Of(other) => shared.grants[other as usize].store(1, Release),
                Heir::Mine => panic!("nobody waits here"),
            }
        }
    }

    #[test]
    fn two_dispatchers_take_turns() {
        loom::model(|| {
            let shared = Arc::new(Shared {
                word: AtomicU32::new(FREE),
                grants: [AtomicU32::new(0), AtomicU32::new(0)],
                value: loom::cell::UnsafeCell::new(0),
            });
            let theirs = shared.clone();
            let other = thread::spawn(move || one_turn(&theirs, 1));
            one_turn(&shared, 0);
            other.join().unwrap();
            assert_eq!(shared.word.get(), FREE);
            #[expect(unsafe_code, reason = "both have ended")]
            // SAFETY: nobody else is left.
            let value = shared.value.with(|value| unsafe { *value });
            assert_eq!(value, 2);
        });
    }
}
