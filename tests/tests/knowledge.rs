//! The knowledge base of an island, asked through its shell: what firmware told of the machine, and what follows.

use skerry_images::fleet::Fleet;
use skerry_images::runner::System;
use skerry_tests::tables::ask;
use skerry_tests::{HANG, boot};
use std::time::{Duration, Instant};

/// Waits until the knowledge base answers so.
fn knows(system: &System, question: &str, answer: &[&str]) {
    let deadline = Instant::now() + HANG;
    while ask(system, &format!("skb {question}")) != answer {
        let told = ask(system, &format!("skb {question}"));
        assert!(Instant::now() < deadline, "{question}: {told:#?}, not {answer:?}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

fn knows_its_machine(board: &str) {
    let island = format!("[[island]]\nboard = \"{board}\"\ncores = 4\nnodes = 2\nmemory = \"512M\"\n");
    let fleet = Fleet::parse("one", &island).expect("a good fleet");
    let Some(system) = boot(&fleet) else { return };
    system.wait_up(HANG).unwrap_or_else(|cause| panic!("{cause}"));
    assert_eq!(ask(&system, "skb n(N, count(L)) :- core{local: L, node: N}"), ["N count", "0 2", "1 2"]);
    assert_eq!(ask(&system, "skb memory(0.3, N, K)"), ["N K", "0 1", "1 0"]);
    assert_eq!(ask(&system, "skb t(P, N) :- tree(0.1, N, P, _)"), ["P   N", "0.1 0.0", "0.1 0.2", "0.2 0.3"]);
    // One pair in each package and one between them, either way; and what each core takes to wake, and so polls.
    let pairs = ["A   B", "0.0 0.1", "0.0 0.2", "0.1 0.0", "0.2 0.0", "0.2 0.3", "0.3 0.2"];
    knows(&system, "m(A, B) :- latency{from: A, to: B, ns: N, source: measured}, N > 0", &pairs);
    let cores = ["C", "0.0", "0.1", "0.2", "0.3"];
    knows(&system, "w(C) :- wake{core: C, ns: N}, poll(C, P), P = min(N, 100_000)", &cores);
    // Everybody's tree is drawn with them.
    knows(&system, "undrawn(A, B) :- measured(A, B, L), not cost(A, B, L)", &["A B"]);
    assert_eq!(ask(&system, "skb transport(0.0, 0.1, T)"), ["T", "memory"]);
    let bars = ask(&system, "skb pci_bar{address: A, index: I}");
    assert!(bars.len() > 1, "what the PCI domain found: {bars:#?}");
    assert_eq!(ask(&system, "rules mine odd(L) :- core{local: L}, L mod 2 = 1."), [""; 0]);
    assert_eq!(ask(&system, "skb odd(L)"), ["L", "1", "3"]);
    assert!(ask(&system, "rules").contains(&"multicast".to_string()));
    // More lines than may be under way at once.
    ask(&system, "rules count n(0). n(N + 1) :- n(N), N < 499.");
    assert_eq!(ask(&system, "skb n(N)").len(), 501);
}

#[test]
fn a_pc_is_known() {
    knows_its_machine("qemu-q35");
}

#[test]
fn an_arm_machine_is_known() {
    knows_its_machine("qemu-virt");
}
