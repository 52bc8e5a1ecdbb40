//! The ring under loom: `RUSTFLAGS="--cfg loom" cargo test -p skerry-urpc --release loom_`.
//!
//! Loom runs a model once for every interleaving (here with at most a few preemptions) and every value a load may
//! return. It cannot let a load see a store that comes later in the interleaving, so what a *load* must not see too
//! early (credit returned before the slot was read) is argued in `ring.rs` and tested by threads, not here.

use crate::greeting::{self, Greeting, Identity, Writer};
use crate::ring::{Block, Layout, test_words};
use crate::sync::mutable::{MUTANT, Mutant};
use crate::{Channel, CoreId, Epoch, Message, Transport};
use loom::thread;

const LAYOUT: Layout = Layout { slots: 4, stride: 64 };

fn model(preemptions: usize, body: impl Fn() + Send + Sync + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(preemptions);
    builder.max_branches = 10_000;
    builder.check(body);
}

/// Whether loom finds the mutant wrong.
fn rejects(mutant: Mutant, test: fn()) -> bool {
    MUTANT.set(mutant);
    let result = std::panic::catch_unwind(test);
    MUTANT.set(Mutant::None);
    result.is_err()
}

fn blocks() -> [Block; 2] {
    [(), ()].map(|()| Block::from_words(test_words(LAYOUT.block_bytes())))
}

fn pair() -> (Channel, Channel) {
    let [a, b] = blocks();
    (Channel::new(a, b, LAYOUT).unwrap(), Channel::new(b, a, LAYOUT).unwrap())
}

fn message(n: u64) -> Message {
    Message { words: [n; 7], kind: n as u16, flags: 0 }
}

fn delivery() {
    model(3, || {
        let (mut left, mut right) = pair();
        let sender = thread::spawn(move || {
            for n in 1..=2 {
                left.try_send(&message(n)).unwrap();
            }
        });
        let mut received = 0;
        for _ in 0..2 {
            if let Some(m) = right.try_recv().unwrap() {
                received += 1;
                assert_eq!(m, message(received));
            }
        }
        sender.join().unwrap();
        while let Some(m) = right.try_recv().unwrap() {
            received += 1;
            assert_eq!(m, message(received));
        }
        assert_eq!(received, 2);
    });
}

fn wake() {
    model(3, || {
        let (mut left, mut right) = pair();
        let sender = thread::spawn(move || {
            left.try_send(&message(1)).unwrap();
            left.peer_wants_wake()
        });
        right.arm_wake();
        let found = right.try_recv().unwrap().is_some();
        let rung = sender.join().unwrap();
        assert!(found || rung, "the receiver sleeps, and nobody wakes it");
    });
}

#[test]
fn loom_messages_arrive_whole_and_in_order() {
    delivery();
}

#[test]
fn loom_rejects_a_relaxed_last_word() {
    assert!(rejects(Mutant::RelaxedPublish, delivery));
}

#[test]
fn loom_no_wake_up_is_lost() {
    wake();
}

#[test]
fn loom_rejects_a_wake_without_fences() {
    assert!(rejects(Mutant::NoFence, wake));
}

#[test]
fn loom_no_wake_up_for_room_is_lost() {
    model(3, || {
        let (mut left, mut right) = pair();
        for n in 1..=4 {
            left.try_send(&message(n)).unwrap();
        }
        let receiver = thread::spawn(move || {
            assert_eq!(right.try_recv().unwrap(), Some(message(1)));
            right.peer_wants_wake()
        });
        left.arm_wake();
        let sent = left.try_send(&message(5)).is_ok();
        let rung = receiver.join().unwrap();
        assert!(sent || rung, "the sender sleeps, and nobody wakes it");
    });
}

#[test]
fn loom_a_full_ring_is_not_overwritten() {
    model(3, || {
        let (mut left, mut right) = pair();
        for n in 1..=4 {
            left.try_send(&message(n)).unwrap();
        }
        let sender = thread::spawn(move || {
            let sent = (5..=6).take_while(|n| left.try_send(&message(*n)).is_ok()).count();
            assert_eq!(left.closed(), None);
            sent as u64
        });
        for n in 1..=2 {
            assert_eq!(right.try_recv().unwrap(), Some(message(n)));
        }
        let sent = sender.join().unwrap();
        for n in 3..=4 + sent {
            assert_eq!(right.try_recv().unwrap(), Some(message(n)));
        }
        assert_eq!(right.try_recv().unwrap(), None);
    });
}

#[test]
fn loom_a_greeting_is_read_whole_or_not_at_all() {
    model(2, || {
        let [block, _] = blocks();
        let greeting = |n: u32| {
            let identity = Identity { core: CoreId::from_raw(n), epoch: Epoch(n), features: n };
            Greeting { accepted: n, ..Greeting::new(identity, n, LAYOUT, 0) }
        };
        let writer = thread::spawn(move || {
            let mut writer = Writer::new(block);
            writer.publish(&greeting(1));
            writer.publish(&greeting(2));
        });
        if let Some(read) = greeting::read(block).unwrap() {
            assert_eq!(read, greeting(read.incarnation));
        }
        writer.join().unwrap();
        assert_eq!(greeting::read(block).unwrap(), Some(greeting(2)));
    });
}

#[test]
fn loom_a_new_session_sees_nothing_of_the_old_one() {
    model(1, || {
        let [a, b] = blocks();
        let identity = Identity { core: CoreId::from_raw(0), epoch: Epoch(1), features: 0 };
        let connect = move |inbox, outbox| Channel::connect(inbox, outbox, LAYOUT, identity).unwrap();
        let (mut left, mut right) = (connect(a, b), connect(b, a));
        left.poll().unwrap();
        right.poll().unwrap().unwrap().0.try_send(&message(1)).unwrap();
        let mut left = connect(a, b);
        let peer = thread::spawn(move || {
            let mut right = connect(b, a);
            if let Some((mut channel, _)) = right.poll().unwrap() {
                channel.try_send(&message(2)).unwrap();
            }
        });
        for _ in 0..2 {
            if let Some((mut channel, _)) = left.poll().unwrap() {
                let received = channel.try_recv().unwrap();
                assert!(received.is_none() || received == Some(message(2)));
                break;
            }
        }
        peer.join().unwrap();
    });
}
