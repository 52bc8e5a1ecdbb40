use super::{ask, knowing};
use crate::rules::{Knowledge, Limits};
use crate::*;

#[test]
fn what_follows_from_what_follows_is_found() {
    let mut graph = knowing(
        "link(a, b). link(b, c). link(c, a). link(d, d).
         reach(A, B) :- link(A, B).
         reach(A, C) :- reach(A, B), reach(B, C).
         apart(A, B) :- link(A, _), link(B, _), not reach(A, B).",
    );
    assert_eq!(ask(&mut graph, "reach(a, X)"), ["a", "b", "c"]);
    assert_eq!(ask(&mut graph, "apart(X, Y), X < Y"), ["a d", "b d", "c d"]);
    assert_eq!(ask(&mut graph, "reach(X, X), not link(X, X)"), ["a", "b", "c"]);
    assert_eq!(ask(&mut graph, "reach(a, d)"), [""; 0], "no");
    assert_eq!(ask(&mut graph, "reach(a, c)."), [""], "yes");
}

#[test]
fn numbers_are_computed_with_and_compared() {
    let mut numbers = knowing("n(0). n(N + 1) :- n(N), N < 9. pair(A, B) :- n(A), n(B), A + B = 12, A < B.");
    assert_eq!(ask(&mut numbers, "pair(A, B)"), ["3 9", "4 8", "5 7"]);
    assert_eq!(ask(&mut numbers, "n(X), X mod 4 = 1, Y = -X / 2 - min(X, 3)"), ["1 -2", "5 -6", "9 -8"]);
    assert_eq!(ask(&mut numbers, "X = 2 + 3 * (4 - 1), Y = abs(-0x10) - 1_0"), ["11 6"]);
    assert_eq!(ask(&mut numbers, "n(X), n(X + 7)"), ["0", "1", "2"], "computed in a column");
    assert_eq!(
        ask(&mut numbers, "X = 18_446_744_073_709_551_615, Y = X * 8, Z = Y / X - 8"),
        ["18446744073709551615 147573952589676412920 0"]
    );
}

#[test]
fn cores_and_texts_are_values() {
    let mut cores = knowing("at(0.3, \"two words\"). at(1.2, short). at(10, 7).");
    assert_eq!(
        ask(&mut cores, "at(C, W), W != 7, I = island(C), L = local(C)"),
        ["0.3 two words 0 3", "1.2 short 1 2"]
    );
    assert_eq!(ask(&mut cores, "at(core(1, 2), W)"), ["short"]);
    assert_eq!(ask(&mut cores, "at(C, \"short\")"), ["1.2"], "a symbol is a string");
    assert_eq!(ask(&mut cores, "at(C, _)"), ["10", "0.3", "1.2"], "numbers before cores before texts");
}

#[test]
fn solutions_are_merged() {
    let mut shop = knowing(
        "sells(ann, apple, 3). sells(ann, pear, 3). sells(bob, apple, 2). sells(bob, fig, 9). sells(cy, fig, 9).
         total(W, sum(P), count(), count(P)) :- sells(W, T, P).
         cheapest(T, min(P), argmin(P, W), max(P), argmax(P, W)) :- sells(W, T, P).
         all(count(), max(P)) :- sells(_, T, P).
         none(count()) :- sells(dora, _, _).",
    );
    assert_eq!(ask(&mut shop, "total(W, S, N, D)"), ["ann 6 2 1", "bob 11 2 2", "cy 9 1 1"]);
    assert_eq!(
        ask(&mut shop, "cheapest(T, P, W, M, X)"),
        ["apple 2 bob 3 ann", "fig 9 bob 9 bob", "pear 3 ann 3 ann"]
    );
    assert_eq!(ask(&mut shop, "all(N, M)"), ["4 9"], "without the seller's name two figs are one");
    assert_eq!(ask(&mut shop, "none(N)"), [""; 0], "where there is no solution there is no group");
    assert_eq!(ask(&mut shop, "a(W, count()) :- sells(W, T, P), P > 2."), ["ann 2", "bob 1", "cy 1"]);
}

#[test]
fn solutions_are_numbered() {
    let mut race = knowing(
        "ran(a, x, 10). ran(a, y, 30). ran(a, z, 10). ran(b, x, 5). ran(b, y, 7).
         place(R, W, rank(T, W per R)) :- ran(R, W, T).
         slowest(R, W, rank(T down, W up per R)) :- ran(R, W, T).
         overall(W, R, rank(T)) :- ran(R, W, T).",
    );
    assert_eq!(ask(&mut race, "place(R, W, P)"), ["a x 0", "a y 2", "a z 1", "b x 0", "b y 1"]);
    assert_eq!(ask(&mut race, "slowest(R, W, P)"), ["a x 1", "a y 0", "a z 2", "b x 1", "b y 0"]);
    assert_eq!(
        ask(&mut race, "x(P, W, R) :- overall(W, R, P)"),
        ["0 x b", "1 y b", "2 x a", "3 z a", "4 y a"]
    );
}

#[test]
fn a_variable_that_stands_twice_is_one() {
    let mut twice =
        knowing("p(1, 1, 2). p(1, 2, 2). p(3, 3, 3). q(X) :- p(X, X, X). r(X, Y) :- p(X, X, Y), not q(Y).");
    assert_eq!(ask(&mut twice, "q(X)"), ["3"]);
    assert_eq!(ask(&mut twice, "r(X, Y)"), ["1 2"]);
    assert_eq!(ask(&mut twice, "p(_, _, 2)"), [""], "each `_` is another");
}

#[test]
fn facts_are_relations() {
    let mut store = Store::default();
    let origin = |island, source| Origin { island: IslandId(island), epoch: Epoch(7), source };
    let memory = MemoryNode { node: 2, range: PhysRange::new(PhysAddr(0x1000), u64::MAX >> 1) };
    store.add(origin(0, Source::Discovered), memory).unwrap();
    let console =
        Console { kind: ConsoleKind::Uart16550Port, base: PhysRange::new(PhysAddr(0x3f8), 8), line: None };
    store.add(origin(1, Source::Asserted), console).unwrap();
    let address = PciAddress::new(0, 1, 2, 3);
    store
        .add(origin(0, Source::Discovered), Setting { name: Name::new("bound_ms").unwrap(), value: u64::MAX })
        .unwrap();
    store
        .add(
            origin(0, Source::Measured),
            Window { link: 1, address, range: memory.range, peer: Some(IslandId(9)) },
        )
        .unwrap();
    let mut knowledge = Knowledge::new(store, Limits::default());
    assert_eq!(
        ask(&mut knowledge, "memory_node(N, A, L, I, E, S)"),
        ["2 4096 9223372036854775807 0 7 discovered"]
    );
    assert_eq!(ask(&mut knowledge, "memory_node(N, A, L)"), ["2 4096 9223372036854775807"]);
    assert_eq!(
        ask(&mut knowledge, "console{kind: K, line: L, base: B, base_len: N, source: asserted, island: I}"),
        ["uart16550_port none 1016 8 1"]
    );
    assert_eq!(ask(&mut knowledge, "setting{name: bound_ms, value: V}"), ["18446744073709551615"]);
    assert_eq!(ask(&mut knowledge, "window{address: \"0000:01:02.3\", peer: P}"), ["9"]);
    assert_eq!(ask(&mut knowledge, "core{local: L}"), [""; 0]);
}

#[test]
fn every_kind_of_fact_has_its_columns() {
    use proptest::prelude::*;
    let tables = Fact::tables();
    for (&number, (name, columns)) in Fact::NUMBERS.iter().zip(&tables) {
        let mut distinct: Vec<&str> =
            columns.iter().map(String::as_str).chain(["island", "epoch", "source"]).collect();
        let count = distinct.len();
        distinct.sort_unstable();
        distinct.dedup();
        assert_eq!(distinct.len(), count, "{name} has a column twice");
        proptest!(ProptestConfig { failure_persistence: None, cases: 64, ..Default::default() }, |(seed: u64)| {
            let fact = Fact::sample(number, &mut super::super::wire::random(seed)).unwrap();
            let mut cells = 0;
            fact.cells(&mut |_| cells += 1);
            prop_assert_eq!(cells, columns.len());
        });
    }
    assert!(tables.iter().any(|(name, columns)| name == "pci_bar" && columns.contains(&"range_len".into())));
}

#[test]
fn what_follows_is_worked_out_anew_when_facts_or_rules_change() {
    let mut knowledge = knowing("n(count()) :- core{local: L}. above(L) :- core{local: L}, L > 1.");
    let origin = Origin { island: IslandId(1), epoch: Epoch(1), source: Source::Discovered };
    for local in 0..4 {
        let core = Core { local, hw: HwId(0), enabled: true, node: 0 };
        let record = Record { fact: core.into(), origin };
        assert_eq!(knowledge.insert(record), Ok(true));
        assert_eq!(ask(&mut knowledge, "n(N)"), [(local + 1).to_string()]);
        assert_eq!(knowledge.insert(record), Ok(false));
    }
    assert_eq!(ask(&mut knowledge, "above(L)"), ["2", "3"]);
    knowledge.load("test", "above(L) :- core{local: L}, L > 2.").unwrap();
    assert_eq!(ask(&mut knowledge, "above(L)"), ["3"]);
    knowledge.ask("n(N)").expect_err("the text was replaced");
    assert_eq!(knowledge.forget(IslandId(1)), 4);
    assert_eq!(ask(&mut knowledge, "above(L)"), [""; 0]);
    assert_eq!(knowledge.unload("test"), Ok(true));
    assert_eq!(knowledge.unload("test"), Ok(false));
}

#[test]
fn what_a_question_does_not_need_is_not_worked_out() {
    let mut knowledge = knowing("bad(1 / X) :- X = 0. good(1). both(X) :- good(X). both(X) :- bad(X).");
    assert_eq!(ask(&mut knowledge, "good(X)"), ["1"]);
    knowledge.ask("both(X)").expect_err("divides by zero");
    assert_eq!(ask(&mut knowledge, "good(X)"), ["1"], "and goes on after an error");
}
