//! What an island has learnt is known to the others: it comes when the island does, follows it through its epochs, and goes
//! with it.

use crate::{BOUND_MS, Run, fleet};
use std::time::Duration;

/// Waits until the knowledge base of an island answers so.
fn knows(run: &Run, on: usize, question: &str, answer: &[&str]) {
    run.until(&format!("to `skb {question}` island {on} answers {answer:?}"), || {
        (run.ok(on, &format!("skb {question}")) == answer).then_some(())
    });
}

#[test]
fn facts_of_an_island_live_as_long_as_it_can_be_reached() {
    let Some(run) = Run::boot(&fleet(&[2], &[2]), &[]) else { return };
    for on in [0, 1] {
        knows(&run, on, "c(I, L) :- core{island: I, local: L}", &["I L", "0 0", "0 1", "1 0", "1 1"]);
        // Each asks only for itself.
        knows(&run, on, "here{home: I}", &["I", &on.to_string()]);
    }
    // All of it, and as the island itself has it; what only an ARM machine has, too.
    for question in
        ["pci_bar{address: A, index: I, range: R, island: 1}", "psci_method{conduit: C, island: 1}"]
    {
        let own = run.ok(1, &format!("skb {question}"));
        assert!(own.len() > 1, "{own:?}");
        knows(&run, 0, question, &own.iter().map(String::as_str).collect::<Vec<_>>());
    }
    run.ok(0, "core off 1.1");
    knows(&run, 0, "offline{core: C}", &["C", "1.1"]);
    run.ok(0, "core on 1.1");
    knows(&run, 0, "offline{core: C}", &["C"]);

    run.0.stop(1).expect("it runs");
    std::thread::sleep(Duration::from_millis(BOUND_MS));
    run.wait_island(0, 1, "lost");
    knows(&run, 0, "core{island: 1, local: L}", &["L"]);
    run.0.cont(1).expect("it runs");
    let epoch = run.wait_island(0, 1, "up");
    knows(
        &run,
        0,
        "core{island: 1, local: L, epoch: E}",
        &["L E", &format!("0 {epoch}"), &format!("1 {epoch}")],
    );
    knows(&run, 1, "c(I, count(L)) :- core{island: I, local: L}", &["I count", "0 2", "1 2"]);

    run.0.kill(0).expect("it runs");
    run.wait_island(1, 0, "lost");
    knows(&run, 1, "c(I, count(L)) :- core{island: I, local: L}", &["I count", "1 2"]);
}
