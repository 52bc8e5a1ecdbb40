//! What can be wrong with rules, and what becomes of it.

use alloc::string::String;
use core::fmt;
use thiserror::Error;

/// A place in a text, from 1.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Position {
    /// The line.
    pub line: u32,
    /// The character in the line.
    pub column: u32,
}

/// A fault and where it is: `multicast:3:14: …`.
#[derive(Clone, PartialEq, Eq, Debug, Error)]
pub struct RuleError {
    /// The name of the text, as in [`Knowledge::load`](super::Knowledge::load).
    pub text: String,
    /// Where in it.
    pub at: Position,
    /// What is wrong.
    pub fault: Fault,
}

impl fmt::Display for RuleError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { text, at: Position { line, column }, fault } = self;
        write!(f, "{text}:{line}:{column}: {fault}")
    }
}

/// What a limit is on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Bound {
    /// Tuples that follow from the facts.
    Derived,
    /// Values other than small numbers.
    Values,
    /// Rounds of derivation, each of which uses what the one before it derived.
    Depth,
    /// Tuples looked at.
    Steps,
    /// Rules.
    Rules,
    /// Literals in one rule.
    Literals,
    /// Columns of one relation.
    Columns,
    /// Terms within terms.
    Nesting,
}

impl fmt::Display for Bound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Derived => "derived tuples",
            Self::Values => "values",
            Self::Depth => "rounds of derivation",
            Self::Steps => "steps",
            Self::Rules => "rules",
            Self::Literals => "literals in a rule",
            Self::Columns => "columns in a relation",
            Self::Nesting => "terms within terms",
        })
    }
}

/// What is wrong, and the way out.
#[derive(Clone, PartialEq, Eq, Debug, Error)]
pub enum Fault {
    /// No word starts so.
    #[error("no word starts with `{0}`")]
    Character(char),
    /// A string has no end.
    #[error("the string has no end: close it with `\"` in the same line")]
    OpenString,
    /// A number does not fit.
    #[error("`{0}` is no number of 128 bits and no core: a core is ISLAND.LOCAL, each below 65536")]
    Number(String),
    /// Something else should stand here.
    #[error("{wanted} should stand here, and not {found}")]
    Expected {
        /// What.
        wanted: &'static str,
        /// What does.
        found: String,
    },
    /// There is no such relation.
    #[error("no fact and no rule is called `{name}`{}", hint(near))]
    Unknown {
        /// Its name.
        name: String,
        /// The relation whose name is nearest.
        near: Option<String>,
    },
    /// A relation has another number of columns.
    #[error("`{name}` has {has} columns, and not {given}; a column that does not matter is `_`")]
    Columns {
        /// The relation.
        name: String,
        /// How many it has.
        has: usize,
        /// How many stand here.
        given: usize,
    },
    /// A relation has no such column.
    #[error("`{relation}` has no column `{column}`: it has {has}")]
    Column {
        /// The relation.
        relation: String,
        /// The column.
        column: String,
        /// Those that it has.
        has: String,
    },
    /// Only facts' columns have names.
    #[error("the columns of `{0}` have no names: write `{0}(…)`, with `_` for those that do not matter")]
    NoNames(String),
    /// A rule derives facts.
    #[error("`{0}` are facts, which no rule derives: give the rule's head another name")]
    DerivesFacts(String),
    /// A variable has no value.
    #[error("`{0}` has no value: let it stand in a literal of the body that is not negated")]
    Unbound(String),
    /// `_` cannot be computed with.
    #[error("`_` has no value: give the variable a name")]
    Anonymous,
    /// `rank` stands beside another aggregate.
    #[error("`rank` numbers tuples and other aggregates merge them: write two rules")]
    RankWithOthers,
    /// A relation depends on itself, and on what it is not.
    #[error("a relation cannot depend on what it is not, or on an aggregate over itself: {0}")]
    Cycle(String),
    /// A limit is reached.
    #[error("more than {limit} {what}: {}", way_out(*what))]
    Limit {
        /// What there is too much of.
        what: Bound,
        /// How much there may be.
        limit: usize,
    },
    /// A result has more than 128 bits.
    #[error("a number here needs more than 128 bits: compare before you compute")]
    Overflow,
    /// A division by zero.
    #[error("a division by zero: let `… != 0` stand before it")]
    DivisionByZero,
    /// Something is computed with that cannot be.
    #[error("`{found}` is no {wanted}: only such can be computed with here")]
    Kind {
        /// What it should be.
        wanted: &'static str,
        /// What it is.
        found: String,
    },
}

fn hint(near: &Option<String>) -> String {
    near.as_ref().map_or_else(String::new, |near| alloc::format!("; there is `{near}`"))
}

fn way_out(what: Bound) -> &'static str {
    match what {
        Bound::Derived | Bound::Steps => "bind more of the columns, or derive less",
        Bound::Values | Bound::Depth => "does a rule count without end?",
        Bound::Rules => "take a text away first",
        Bound::Literals | Bound::Nesting => "write two rules",
        Bound::Columns => "leave some out",
    }
}
