//! Tests of the rule language and its evaluation.

mod errors;
mod language;
mod limits;
mod reference;

use crate::rules::{Answer, Knowledge, Limits};
use crate::*;

/// Rules over no facts.
pub fn knowing(rules: &str) -> Knowledge {
    let mut knowledge = Knowledge::new(Store::default(), Limits::default());
    knowledge.load("test", rules).unwrap_or_else(|error| panic!("{error}"));
    knowledge
}

/// The answer's tuples, each in one line.
pub fn lines(answer: &Answer) -> Vec<String> {
    let line = |row: &Vec<rules::Const>| row.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ");
    answer.rows.iter().map(line).collect()
}

/// What a question is answered.
pub fn ask(knowledge: &mut Knowledge, question: &str) -> Vec<String> {
    lines(&knowledge.ask(question).unwrap_or_else(|error| panic!("{question}: {error}")))
}
