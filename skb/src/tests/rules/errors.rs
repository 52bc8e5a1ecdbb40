//! Every error names the place, the cause and the way out. The texts are part of the interface: people read them.

use super::knowing;
use crate::rules::{Knowledge, Limits};
use crate::*;

fn error(text: &str) -> String {
    let mut knowledge = Knowledge::new(Store::default(), Limits::default());
    knowledge.load("t", text).expect_err(text).to_string()
}

#[test]
fn what_cannot_be_read() {
    for (text, told) in [
        ("p(1) :- q(2)", "t:1:13: `.`, which ends a rule, should stand here, and not the end"),
        ("p(1).\n  P(2).", "t:2:3: the name of a relation should stand here, and not `P`"),
        ("p(1 2).", "t:1:5: `,` or `)` should stand here, and not `2`"),
        ("p(;).", "t:1:3: no word starts with `;`"),
        ("p(\"a\n\").", "t:1:3: the string has no end: close it with `\"` in the same line"),
        (
            "# c\n\np(0x1g).",
            "t:3:3: `0x1g` is no number of 128 bits and no core: a core is ISLAND.LOCAL, each below 65536",
        ),
        (
            "p(0.65536).",
            "t:1:3: `0.65536` is no number of 128 bits and no core: a core is ISLAND.LOCAL, each below 65536",
        ),
        (
            "p(X) :- q(X), X + 1.",
            "t:1:20: a comparison: `=`, `!=`, `<`, `<=`, `>` or `>=`, should stand here, and not `.`",
        ),
        ("p(X) :- core{local X}.", "t:1:20: `:` after the name of a column should stand here, and not `X`"),
        ("p(X) :- core{local: X.", "t:1:22: `,` or `}` should stand here, and not `.`"),
        (
            "p(X) :- not X.",
            "t:1:13: the name of a relation, `not` or a comparison should stand here, and not `X`",
        ),
        ("p(rank(X per Y) :- q(X, Y).", "t:1:17: `,` or `)` should stand here, and not `:-`"),
        (
            "p(rank(X sideways)) :- q(X).",
            "t:1:10: `up`, `down`, `,`, `per` or `)` should stand here, and not `sideways`",
        ),
        (
            "p(X) :- q(X), X = f(X).",
            "t:1:19: one of the functions `min(A, B)`, `max(A, B)`, `abs(A)`, `core(ISLAND, LOCAL)`, \
          `island(CORE)` and `local(CORE)` (aggregates stand alone, in a head) should stand here, and not `f(…)`",
        ),
        (
            "p(1 + count()) :- q(1).",
            "t:1:7: one of the functions `min(A, B)`, `max(A, B)`, `abs(A)`, `core(ISLAND, LOCAL)`, \
          `island(CORE)` and `local(CORE)` (aggregates stand alone, in a head) should stand here, and not `count(…)`",
        ),
    ] {
        assert_eq!(error(text), told, "{text}");
    }
}

#[test]
fn what_makes_no_sense() {
    for (text, told) in [
        ("p(X) :- cor{local: X}.", "t:1:9: no fact and no rule is called `cor`; there is `core`"),
        ("p(X) :- frobnicate(X).", "t:1:9: no fact and no rule is called `frobnicate`"),
        (
            "p(1). q(X) :- p(X, 2).",
            "t:1:15: `p` has 1 columns, and not 2; a column that does not matter is `_`",
        ),
        ("p(1). p(1, 2).", "t:1:7: `p` has 1 columns, and not 2; a column that does not matter is `_`"),
        (
            "p(X) :- distance{from: X, two: 1}.",
            "t:1:27: `distance` has no column `two`: it has from, to, value, island, epoch, source",
        ),
        (
            "q(1). p(X) :- q{a: X}.",
            "t:1:17: the columns of `q` have no names: write `q(…)`, with `_` for those that do not matter",
        ),
        (
            "core(1, 2, 3, 4, 5, 6, 7).",
            "t:1:1: `core` are facts, which no rule derives: give the rule's head another name",
        ),
        (
            "q(1). p(X, Y) :- q(X).",
            "t:1:12: `Y` has no value: let it stand in a literal of the body that is not negated",
        ),
        (
            "q(1). p(X) :- q(X), not q(Y).",
            "t:1:25: `Y` has no value: let it stand in a literal of the body that is not negated",
        ),
        (
            "q(1). p(X) :- q(X), X < Y.",
            "t:1:21: `Y` has no value: let it stand in a literal of the body that is not negated",
        ),
        (
            "p(X) :- X = Y + 1, Y = X - 1.",
            "t:1:9: `Y` has no value: let it stand in a literal of the body that is not negated",
        ),
        (
            "q(1). p(1) :- q(Y + 1).",
            "t:1:19: `Y` has no value: let it stand in a literal of the body that is not negated",
        ),
        ("q(1). p(X + _) :- q(X).", "t:1:13: `_` has no value: give the variable a name"),
        (
            "q(1). p(rank(X), count()) :- q(X).",
            "t:1:7: `rank` numbers tuples and other aggregates merge them: write two rules",
        ),
        (
            "p(X) :- q(X), not p(X). q(1).",
            "t:1:1: a relation cannot depend on what it is not, or on an aggregate over itself: p ← p",
        ),
        (
            "a(1). b(X) :- a(X).\na(X) :- c(X).\nc(count()) :- b(X).",
            "t:3:1: a relation cannot depend on what it is not, or on an aggregate over itself: c ← b ← a ← c",
        ),
    ] {
        assert_eq!(error(text), told, "{text}");
    }
}

#[test]
fn what_goes_wrong_when_a_question_is_asked() {
    let mut knowledge = knowing("p(0). p(1).\nhalf(X, 1 / X) :- p(X).\nsafe(X, 1 / X) :- p(X), X != 0.");
    for (question, told) in [
        ("half(1, Y)", "test:2:1: a division by zero: let `… != 0` stand before it"),
        ("p(X), Y = X + a", "?:1:7: `a` is no number: only such can be computed with here"),
        ("p(X), Y = island(X)", "?:1:7: `1` is no core: only such can be computed with here"),
        (
            "Y = core(65536, 0)",
            "?:1:1: `65536` is no part of a core's name: only such can be computed with here",
        ),
        (
            "X = 170141183460469231731687303715884105727, Y = X + 1",
            "?:1:46: a number here needs more than 128 bits: compare before you compute",
        ),
        ("q(X)", "?:1:1: no fact and no rule is called `q`"),
        ("p(X) p(Y)", "?:1:6: `,` or the end of the question should stand here, and not `p`"),
        (
            "",
            "?:1:1: a term: a variable, a number, a core, a symbol or a string, should stand here, and not the end",
        ),
    ] {
        assert_eq!(knowledge.ask(question).expect_err(question).to_string(), told, "{question}");
    }
    assert_eq!(super::ask(&mut knowledge, "safe(X, Y)"), ["1 1"], "what filters stands before what divides");
}

#[test]
fn a_text_that_is_refused_changes_nothing() {
    let mut knowledge = knowing("p(1).");
    knowledge.load("other", "q(X) :- p(X).").unwrap();
    knowledge.load("test", "p(2, 3).").expect_err("`other` needs the old `p`");
    knowledge.unload("test").expect_err("`other` needs it");
    assert_eq!(super::ask(&mut knowledge, "q(X)"), ["1"]);
    assert_eq!(knowledge.texts().collect::<Vec<_>>(), ["test", "other"]);
}

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig { failure_persistence: None, cases: 2000, ..Default::default() })]

    #[test]
    fn no_text_makes_it_panic(text in "([a-dX_(){}:.,=<!>+*/ \"0-9-]|:-|not |core|count|rank|per |mod ){0,40}") {
        let mut knowledge = Knowledge::new(Store::default(), Limits { steps: 1000, ..Limits::default() });
        let _ = knowledge.load("t", &text);
        let _ = knowledge.ask(&text);
    }
}
