//! Round trips between every kind of pair, and arguments that name no pair.

use crate::{Run, fleet};

#[test]
fn pings_between_every_kind_of_pair() {
    let Some(run) = Run::boot(&fleet(&[3], &[3]), &[]) else { return };
    // A core and itself; the first core and another, both ways; two others, over a channel made for them.
    for pair in [["0.0", "0.0"], ["0.1", "0.1"], ["0.0", "0.1"], ["0.1", "0.0"], ["0.1", "0.2"]] {
        run.ping(0, pair[0], pair[1], 50);
    }
    // The same on the far island, asked for from here; across, first cores and others, which are relayed.
    for pair in [["1.0", "1.0"], ["1.2", "1.2"], ["1.0", "1.1"], ["1.1", "1.2"], ["1.2", "1.1"]] {
        run.ping(0, pair[0], pair[1], 50);
    }
    for pair in
        [["0.0", "1.0"], ["1.0", "0.0"], ["0.2", "1.0"], ["0.0", "1.2"], ["0.1", "1.1"], ["1.2", "0.2"]]
    {
        run.ping(0, pair[0], pair[1], 50);
    }
    // Any island's shell can ask.
    run.ping(1, "0.1", "1.1", 50);
}

#[test]
fn a_channel_is_made_on_first_use_and_kept() {
    let Some(run) = Run::boot(&fleet(&[], &[3]), &[]) else { return };
    let channels = |core: &str| run.row(0, "cores", core)[5].parse::<u32>().expect("a number");
    let before = (channels("0.1"), channels("0.2"));
    run.ping(0, "0.1", "0.2", 10);
    let more = (before.0 + 1, before.1 + 1);
    run.until("both ends count a channel more", || {
        ((channels("0.1"), channels("0.2")) == more).then_some(())
    });
    run.ping(0, "0.2", "0.1", 10);
    assert_eq!((channels("0.1"), channels("0.2")), more, "one channel serves both directions");
}

#[test]
fn bad_arguments_are_refused_by_name() {
    let Some(run) = Run::boot(&fleet(&[1], &[1]), &[]) else { return };
    for (command, why) in [
        ("ping 0.0 0.7", "no such core"),
        ("ping 0.7 0.0", "no such core"),
        ("ping 0.0 1.7", "no such core"),
        ("ping 9.0 0.0", "no such core"),
        ("ping 0.0 63.0", "no such core"),
        ("ping 0.0 65535.65535", "no such core"),
        ("ping 0.0 1.0 0", "`0` is no count"),
        ("ping 0.0 1.0 -1", "`-1` is no count"),
        ("ping 0.0 1.0 10000001", "`10000001` is no count"),
        ("ping 0.0 1.0 99999999999999999999999", "is no count"),
        ("ping 0 1.0", "`0` is no core"),
        ("ping 0.0", "usage"),
        ("ping 0.0 1.0 1 1", "usage"),
        ("stream 0.0 9.0", "no such core"),
        ("stream 0.0 1.0 0", "`0` is no count"),
        ("log loud", "`loud` is no level"),
        ("pong", "unknown command"),
    ] {
        let line = run.fails(0, command);
        assert!(line.contains(why), "{command}: {line}");
    }
    let long = format!("ping {}", "0".repeat(2000));
    run.fails(0, &long);
    run.ping(0, "0.0", "1.0", 10);
}
