//! Rules, as they are written.

use super::error::Position;
use super::value::Const;
use alloc::string::String;
use alloc::vec::Vec;

/// `head :- body.`
#[derive(Clone, PartialEq, Debug)]
pub(super) struct Clause {
    pub at: Position,
    pub name: String,
    pub head: Vec<HeadTerm>,
    pub body: Vec<Literal>,
}

/// A column of a head.
#[derive(Clone, PartialEq, Debug)]
pub(super) enum HeadTerm {
    Plain(Term),
    /// What merges all solutions that agree in the plain columns.
    Aggregate(Aggregate, Vec<Term>),
    /// The number of a tuple, from 0, in this order among those that agree in `per`.
    Rank {
        by: Vec<(Term, bool)>,
        per: Vec<Term>,
    },
}

/// What becomes of the solutions of a group.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Aggregate {
    /// How many there are, or how many values the term has.
    Count,
    Sum,
    Min,
    Max,
    /// The least value of the second term among those with the least first term.
    ArgMin,
    /// The same among those with the greatest.
    ArgMax,
}

/// A part of a body.
#[derive(Clone, PartialEq, Debug)]
pub(super) enum Literal {
    Atom { atom: Atom, negated: bool },
    Compare { at: Position, left: Term, cmp: Cmp, right: Term },
}

/// `name(term, …)` or `name{column: term, …}`.
#[derive(Clone, PartialEq, Debug)]
pub(super) struct Atom {
    pub at: Position,
    pub name: String,
    pub columns: Columns,
}

#[derive(Clone, PartialEq, Debug)]
pub(super) enum Columns {
    Listed(Vec<Term>),
    Named(Vec<(Position, String, Term)>),
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Cmp {
    Equal,
    Unequal,
    Less,
    LessEqual,
    Greater,
    GreaterEqual,
}

/// What has a value.
#[derive(Clone, PartialEq, Debug)]
pub(super) struct Term {
    pub at: Position,
    pub kind: Kind,
}

#[derive(Clone, PartialEq, Debug)]
pub(super) enum Kind {
    Const(Const),
    Variable(String),
    /// `_`
    Any,
    Apply(Function, Vec<Term>),
}

/// What can be computed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Function {
    Add,
    Subtract,
    Multiply,
    Divide,
    Modulo,
    Min,
    Max,
    Abs,
    /// A core of an island's number and its own within it.
    Core,
    Island,
    Local,
}

impl Function {
    /// The function that is called so, and how many arguments it takes.
    pub fn named(name: &str) -> Option<(Self, usize)> {
        Some(match name {
            "min" => (Self::Min, 2),
            "max" => (Self::Max, 2),
            "abs" => (Self::Abs, 1),
            "core" => (Self::Core, 2),
            "island" => (Self::Island, 1),
            "local" => (Self::Local, 1),
            _ => return None,
        })
    }
}

impl Aggregate {
    /// The aggregate that is called so with so many arguments.
    pub fn named(name: &str, arguments: usize) -> Option<Self> {
        Some(match (name, arguments) {
            ("count", 0 | 1) => Self::Count,
            ("sum", 1) => Self::Sum,
            ("min", 1) => Self::Min,
            ("max", 1) => Self::Max,
            ("argmin", 2) => Self::ArgMin,
            ("argmax", 2) => Self::ArgMax,
            _ => return None,
        })
    }
}

impl Term {
    /// Calls `each` with every variable, and with `None` for each `_`.
    pub fn variables<'a>(&'a self, each: &mut dyn FnMut(Position, Option<&'a str>)) {
        match &self.kind {
            Kind::Const(_) => {}
            Kind::Variable(name) => each(self.at, Some(name)),
            Kind::Any => each(self.at, None),
            Kind::Apply(_, terms) => terms.iter().for_each(|term| term.variables(each)),
        }
    }
}

impl HeadTerm {
    /// The terms in it.
    pub fn terms(&self) -> Vec<&Term> {
        match self {
            Self::Plain(term) => [term].into(),
            Self::Aggregate(_, terms) => terms.iter().collect(),
            Self::Rank { by, per } => by.iter().map(|(term, _)| term).chain(per).collect(),
        }
    }
}
