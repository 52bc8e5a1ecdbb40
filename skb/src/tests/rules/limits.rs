use crate::rules::{Bound, Fault, Knowledge, Limits};
use crate::*;

const SMALL: Limits = Limits { derived: 50, values: 40, depth: 20, steps: 2_000, rules: 6 };

fn fault(rules: &str, question: &str, limits: Limits) -> Fault {
    let mut knowledge = Knowledge::new(Store::default(), limits);
    knowledge.load("t", rules).unwrap_or_else(|error| panic!("{error}"));
    let fault = knowledge.ask(question).expect_err(question).fault;
    assert_eq!(knowledge.memory(), (0, 0), "what was worked out is let go");
    fault
}

fn limit(what: Bound, limit: usize) -> Fault {
    Fault::Limit { what, limit }
}

#[test]
fn a_rule_that_counts_without_end_ends() {
    let count = "n(0). n(N + 1) :- n(N).";
    assert_eq!(fault(count, "n(X)", SMALL), limit(Bound::Depth, 20));
    assert_eq!(fault(count, "n(X)", Limits { depth: 1000, ..SMALL }), limit(Bound::Derived, 50));
    let doubled = "n(1). n(N + N) :- n(N).";
    assert_eq!(
        fault(doubled, "n(X)", Limits { depth: 1000, derived: 1000, ..SMALL }),
        limit(Bound::Values, 40)
    );
}

#[test]
fn many_solutions_of_few_tuples_end() {
    let pairs = "n(0). n(N + 1) :- n(N), N < 9. p(1) :- n(A), n(B), n(C), n(D), A + B + C + D = 99.";
    assert_eq!(fault(pairs, "p(X)", SMALL), limit(Bound::Steps, 2_000));
    assert_eq!(fault(pairs, "n(A), n(B)", SMALL), limit(Bound::Derived, 50));
}

#[test]
fn what_an_answer_took_is_not_counted_against_the_next() {
    let mut knowledge = Knowledge::new(Store::default(), SMALL);
    knowledge.load("t", "n(0). n(N + 1) :- n(N), N < 9. s(sum(A)) :- n(A), n(B), 1 < A, A < B. t(sum(B)) :- n(A), n(B), 1 < A, A < B.").unwrap();
    for _ in 0..20 {
        assert_eq!(
            super::ask(&mut knowledge, "n(A), n(B), A > 6"),
            super::ask(&mut knowledge, "n(A), A > 6, n(B)")
        );
    }
    assert_eq!(super::ask(&mut knowledge, "s(X), t(Y)"), ["112 196"], "solutions that were summed are gone");
    assert!(knowledge.memory().0 > 0);
}

#[test]
fn texts_are_bounded() {
    let mut knowledge = Knowledge::new(Store::default(), SMALL);
    let error = knowledge.load("t", "a(1). a(2). a(3). a(4). a(5). a(6). a(7).").unwrap_err();
    assert_eq!(error.fault, limit(Bound::Rules, 6));
    let head = |columns: usize| format!("a({}).", vec!["1"; columns].join(","));
    knowledge.load("t", &head(16)).unwrap();
    assert_eq!(knowledge.load("t", &head(17)).unwrap_err().fault, limit(Bound::Columns, 16));
    let body = |literals: usize| format!("a(1) :- {}.", vec!["1 = 1"; literals].join(","));
    knowledge.load("t", &body(64)).unwrap();
    assert_eq!(knowledge.load("t", &body(65)).unwrap_err().fault, limit(Bound::Literals, 64));
    let nested = |depth: usize| format!("a({}1{}).", "(".repeat(depth), ")".repeat(depth));
    knowledge.load("t", &nested(31)).unwrap();
    assert_eq!(knowledge.load("t", &nested(32)).unwrap_err().fault, limit(Bound::Nesting, 32));
    for chain in ["1+".repeat(100_000), "-".repeat(100_000), "min(1,".repeat(100_000)] {
        let text = format!("a({chain}1).");
        assert_eq!(knowledge.load("t", &text).unwrap_err().fault, limit(Bound::Nesting, 32));
    }
}
