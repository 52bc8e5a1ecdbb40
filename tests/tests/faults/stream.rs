//! A million checked messages each way between x86 and ARM.

use crate::{Run, fleet};

fn stream(run: &Run, from: &str, to: &str, count: u64) {
    let lines = run.ok(0, &format!("stream {from} {to} {count}"));
    let start = format!("stream {from} {to} received {count} wrong 0 ");
    assert!(lines.len() == 1 && lines[0].starts_with(&start), "{lines:?}");
}

#[test]
fn a_million_messages_each_way_in_order_none_lost_or_doubled() {
    let Some(run) = Run::boot(&fleet(&[1], &[1]), &[]) else { return };
    stream(&run, "0.0", "1.0", 1_000_000);
    stream(&run, "1.0", "0.0", 1_000_000);
}

#[test]
fn messages_that_are_relayed_arrive_in_order() {
    let Some(run) = Run::boot(&fleet(&[2], &[2]), &[]) else { return };
    stream(&run, "0.1", "1.1", 20_000);
    stream(&run, "1.1", "0.1", 20_000);
    stream(&run, "0.0", "0.1", 20_000);
}
