//! A peer that writes what it should not, or speaks another version: seen through the window itself.

use crate::{BOUND_MS, Run, fleet};
use std::os::unix::fs::FileExt as _;
use std::time::{Duration, Instant};

/// Where the block lies that island 0 reads and island 1 writes, and the one the other way round (`urpc::window`).
const BLOCKS: [u64; 2] = [0, 4096];
const CREDIT: u64 = 64;
const SLOTS: u64 = 128;
const SLOTS_LEN: usize = 32 * 64;

fn write(run: &Run, offset: u64, bytes: &[u8]) {
    run.0.window(0).expect("a link").write_all_at(bytes, offset).expect("memory");
}

/// Scribbles over what `reader` reads; the reader must say why it closes, and then everybody must come back.
fn scribble(run: &Run, reader: usize, offset: u64, bytes: &[u8], why: &str) {
    let writer = 1 - reader;
    let before = run.island(reader, writer).1;
    write(run, BLOCKS[reader] + offset, bytes);
    run.says(reader, &format!("link to island {writer} lost: {why}"));
    run.until("the writer is back in a later epoch", || {
        let (state, epoch) = run.island(reader, writer);
        (state == "up" && epoch > before).then_some(())
    });
    for on in [0, 1] {
        run.wait_all_up(on);
    }
    run.ping(reader, "0.0", "1.0", 20);
}

#[test]
fn scribbles_over_a_window_close_the_channel_by_name_and_it_comes_back() {
    let Some(run) = Run::boot(&fleet(&[1], &[1]), &[]) else { return };
    let ones = [0xff; SLOTS_LEN];
    scribble(&run, 0, 0, b"NOTSKERY", "the peer wrote a bad magic");
    scribble(&run, 1, 16, &ones[..4], "the peer wrote a bad core");
    scribble(&run, 0, 20, &ones[..4], "the peer wrote a bad epoch");
    scribble(&run, 1, 40, &ones[..4], "the peer wrote a bad refused");
    scribble(&run, 0, 48, &ones[..8], "the peer wrote a bad ");
    scribble(&run, 0, SLOTS, &ones, "the peer wrote a bad sequence");
}

#[test]
fn a_bad_credit_line_closes_the_channel_that_needs_it() {
    let Some(run) = Run::boot(&fleet(&[1], &[1]), &[]) else { return };
    // Whoever sends much looks at its credit; whoever receives it puts the line right again, so keep on.
    run.breaks_off(0, "stream 0.0 1.0 100000000", || {
        run.until("the sender says why", || {
            for _ in 0..10_000 {
                write(&run, BLOCKS[0] + CREDIT, &[0xff; 8]);
            }
            run.0.console_log(0).contains("link to island 1 lost: the peer wrote a bad credit").then_some(())
        });
    });
    run.wait_island(0, 1, "up");
    run.wait_all_up(0);
    run.ping(0, "0.0", "1.0", 100);
}

#[test]
fn random_bytes_over_a_window_break_nothing() {
    let Some(run) = Run::boot(&fleet(&[2], &[1]), &[]) else { return };
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut random = move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    let end = Instant::now() + Duration::from_millis(BOUND_MS);
    while Instant::now() < end {
        for _ in 0..64 {
            write(&run, random() & 0x1ff8, &random().to_le_bytes());
        }
        // Whatever the far island is, the near one works on.
        run.ping(0, "0.0", "0.1", 5);
    }
    run.says(0, "the peer wrote a bad");
    run.until("a ping goes through", || {
        let reply = run.exec(0, "ping 0.1 1.0 20");
        (reply.status == 0 && reply.lines[0].contains(" lost 0 ")).then_some(())
    });
}

#[test]
fn another_version_is_refused_by_both_numbers() {
    let Some(run) = Run::boot(&fleet(&[1], &[1]), &[]) else { return };
    let two_zero = 0x2_0000_u32.to_le_bytes();
    scribble(&run, 0, 8, &two_zero, "the peer speaks version 2.0, we speak 1.0");
}

#[test]
fn an_island_of_another_version_never_joins() {
    let Some(run) = Run::boot(&fleet(&[1], &[1]), &[1]) else { return };
    // The greeting of an island 1 that is from another time, beating.
    let word = |low: u32, high: u32| u64::from(low) | u64::from(high) << 32;
    let words = [u64::from_le_bytes(*b"SKERURPC"), word(0x3_0001, 0), word(1 << 16, 1), word(1, 0), 1, 0];
    let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
    write(&run, BLOCKS[0], &bytes);
    run.says(0, "link to island 1: the peer speaks version 3.1, we speak 1.0");
    for beat in 2..20_u64 {
        write(&run, BLOCKS[0] + 32, &beat.to_le_bytes());
        assert_eq!(run.island(0, 1).0, "absent");
    }
    assert!(run.fails(0, "ping 0.0 1.0").contains("not up"));
}
