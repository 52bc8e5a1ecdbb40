//! Real threads: every message arrives, once, whole, in order, through full and empty rings.

use skerry_urpc::formats::echo::{Echo, check};
use skerry_urpc::ring::Word;
use skerry_urpc::wire::{Header, encode};
use skerry_urpc::{Block, Channel, Layout, Transport};
use std::thread;

const MESSAGES: u64 = if cfg!(miri) { 200 } else { 1_000_000 };

fn run(slots: u32) {
    let layout = Layout { slots, stride: 64 };
    let [a, b] = [(), ()].map(|()| {
        let words = (0..layout.block_bytes() / 8).map(|_| Word::new(0)).collect();
        Block::from_words(Vec::leak(words))
    });
    let ends = [Channel::new(a, b, layout).unwrap(), Channel::new(b, a, layout).unwrap()];
    // Each end sends and receives, so that slots and credit go both ways at once.
    let threads = ends.map(|mut channel| {
        thread::spawn(move || {
            let (mut sent, mut received) = (0, 0);
            while sent < MESSAGES || received < MESSAGES {
                let before = sent + received;
                let body = Echo { number: sent, check: check(sent), ..Echo::default() };
                if sent < MESSAGES && channel.try_send(&encode(&Header::default(), &body)).is_ok() {
                    sent += 1;
                }
                if let Some(message) = channel.try_recv().unwrap() {
                    let body = message.body::<Echo>().unwrap();
                    assert_eq!((body.number, body.check), (received, check(received)));
                    received += 1;
                }
                if sent + received == before {
                    thread::yield_now();
                }
            }
            channel.closed()
        })
    });
    for thread in threads {
        assert_eq!(thread.join().unwrap(), None);
    }
}

#[test]
fn messages_both_ways_through_a_large_ring() {
    run(256);
}

#[test]
fn messages_both_ways_through_the_smallest_ring() {
    run(4);
}
