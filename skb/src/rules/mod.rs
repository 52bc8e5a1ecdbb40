//! Rules over facts: Datalog with negation, arithmetic, aggregates and ranks, written at run time.
//!
//! ```text
//! near(C, N)        :- core{local: L, node: N, island: I}, C = core(I, L).
//! reach(A, B)       :- link(A, B).
//! reach(A, C)       :- reach(A, B), link(B, C).
//! alone(C)          :- near(C, N), not shared(N).
//! best(A, min(L), argmin(L, B)) :- cost(A, B, L).
//! child(S, N, rank(L down, N per S)) :- cost(S, N, L).
//! ```
//!
//! A text goes through [`token`] and [`parse`] to an [`ast`], is given its relations ([`catalog`]) and checked in
//! [`lower`]; [`strata`] puts the relations in an order in which negation means something; [`eval`] works out what a
//! question needs, rule by rule as [`plan`] says, with [`aggregate`] and [`compute`]; tuples of [`value`]s live in a
//! [`relation`]. Why it is so: `docs/decisions/0013-skb-rules.md`.

mod aggregate;
mod ast;
mod catalog;
mod compute;
mod error;
mod eval;
pub(crate) mod hash;
mod knowledge;
mod lower;
mod parse;
mod plan;
mod relation;
mod strata;
mod token;
mod value;

pub use error::{Bound, Fault, Position, RuleError};
pub use eval::Limits;
pub use knowledge::{Answer, Knowledge};
pub use value::{Const, Datum};
