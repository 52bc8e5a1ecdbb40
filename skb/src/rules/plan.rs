//! In which order a rule's body is looked through, and by which index.
//!
//! What filters comes as soon as its variables are bound; of the atoms the one with most columns bound is next, and the
//! one that stands first among equals, so that whoever writes a rule has the last word.

use super::ast::Cmp;
use super::error::Position;
use super::lower::{Expr, Rule, Slot, Step};
use super::relation::Relation;
use alloc::vec::Vec;

/// Steps in the order in which they can be taken; some are missing if variables stay unbound.
pub(super) struct Order {
    pub steps: Vec<usize>,
    /// Which variables are bound in the end.
    pub bound: Vec<bool>,
}

/// Which tuples of a relation an operation sees.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Range {
    /// All of a relation that is complete.
    Complete,
    /// All that were there when the round began.
    All,
    /// Those of them that the last round derived.
    New,
    /// The others.
    Old,
}

/// An operation on the registers, one of which belongs to each variable.
#[derive(Clone, Debug)]
pub(super) enum Op {
    /// For every tuple with this key: binds, checks, goes on.
    Match {
        relation: usize,
        range: Range,
        index: usize,
        key: Vec<Slot>,
        binds: Vec<(u8, u16)>,
        checks: Vec<(u8, u16)>,
    },
    /// Goes on if no tuple has this key.
    Absent { relation: usize, index: usize, key: Vec<Slot> },
    /// Goes on if it holds.
    Compare { at: Position, left: Expr, cmp: Cmp, right: Expr },
    /// Binds.
    Assign { at: Position, to: u16, expr: Expr },
}

/// The order of a rule's steps, `first` before all others.
pub(super) fn order(rule: &Rule, first: Option<usize>) -> Order {
    let mut order = Order { steps: Vec::new(), bound: alloc::vec![false; rule.variables.len()] };
    let mut left: Vec<usize> = (0..rule.body.len()).collect();
    let mut next = first;
    while let Some(step) = next.or_else(|| choose(rule, &left, &order.bound)) {
        next = None;
        left.retain(|&other| other != step);
        order.steps.push(step);
        bind(&rule.body[step], &mut order.bound);
    }
    order
}

fn choose(rule: &Rule, left: &[usize], bound: &[bool]) -> Option<usize> {
    let is_bound = |variable: u16| bound[usize::from(variable)];
    let filter = left.iter().copied().find(|&step| match &rule.body[step] {
        Step::Atom { negated: false, .. } => false,
        step => unbound(step, &is_bound).1.is_none(),
    });
    filter.or_else(|| {
        let atoms = left.iter().copied().filter_map(|step| match &rule.body[step] {
            Step::Atom { negated: false, slots, .. } => {
                let known = slots.iter().filter(|slot| match slot {
                    Slot::Any => false,
                    Slot::Const(_) => true,
                    Slot::Variable(variable) => is_bound(*variable),
                });
                Some((core::cmp::Reverse(known.count()), step))
            }
            _ => None,
        });
        atoms.min().map(|(_, step)| step)
    })
}

/// Where a step stands, and a variable that keeps it from being taken.
pub(super) fn unbound(step: &Step, bound: &dyn Fn(u16) -> bool) -> (Position, Option<u16>) {
    match step {
        Step::Atom { at, negated, slots, .. } => {
            let unbound = slots.iter().find_map(|slot| match slot {
                Slot::Variable(variable) if *negated && !bound(*variable) => Some(*variable),
                _ => None,
            });
            (*at, unbound)
        }
        Step::Compare { at, left, cmp, right } => {
            let first = |expr: &Expr| {
                let mut found = None;
                expr.variables(&mut |variable| {
                    if !bound(variable) {
                        found = found.or(Some(variable));
                    }
                });
                found
            };
            let unbound = match (left, right, first(left), first(right)) {
                (_, _, None, None) => None,
                (Expr::Variable(_), _, Some(_), None) | (_, Expr::Variable(_), None, Some(_))
                    if *cmp == Cmp::Equal =>
                {
                    None
                }
                (Expr::Variable(_), _, _, Some(variable)) if *cmp == Cmp::Equal => Some(variable),
                (_, _, Some(variable), _) | (_, _, None, Some(variable)) => Some(variable),
            };
            (*at, unbound)
        }
    }
}

fn bind(step: &Step, bound: &mut [bool]) {
    match step {
        Step::Atom { negated: true, .. } => {}
        Step::Atom { slots, .. } => slots.iter().for_each(|slot| {
            if let Slot::Variable(variable) = slot {
                bound[usize::from(*variable)] = true;
            }
        }),
        Step::Compare { left, right, .. } => {
            for expr in [left, right] {
                expr.variables(&mut |variable| bound[usize::from(variable)] = true);
            }
        }
    }
}

/// The operations of a rule. `range` says what each step sees of its relation.
pub(super) fn plan(
    rule: &Rule,
    first: Option<usize>,
    relations: &mut [Relation],
    range: impl Fn(usize, usize) -> Range,
) -> Vec<Op> {
    let mut bound = alloc::vec![false; rule.variables.len()];
    let mut ops = Vec::new();
    for number in order(rule, first).steps {
        let step = &rule.body[number];
        ops.push(match step {
            Step::Atom { relation, negated, slots, .. } => {
                let (mut columns, mut key, mut binds, mut checks) =
                    (Vec::new(), Vec::new(), Vec::new(), Vec::new());
                for (column, slot) in (0u8..).zip(slots) {
                    match *slot {
                        Slot::Any => {}
                        Slot::Variable(variable) if !bound[usize::from(variable)] => {
                            let seen = binds.iter().any(|(_, other)| *other == variable);
                            if seen { &mut checks } else { &mut binds }.push((column, variable));
                        }
                        _ => {
                            columns.push(column);
                            key.push(*slot);
                        }
                    }
                }
                let (relation, index) = (*relation, relations[*relation].index(&columns));
                if *negated {
                    Op::Absent { relation, index, key }
                } else {
                    Op::Match { relation, range: range(number, relation), index, key, binds, checks }
                }
            }
            Step::Compare { at, left, cmp, right } => match (left, right) {
                (Expr::Variable(to), expr) | (expr, Expr::Variable(to))
                    if *cmp == Cmp::Equal && !bound[usize::from(*to)] =>
                {
                    Op::Assign { at: *at, to: *to, expr: expr.clone() }
                }
                _ => Op::Compare { at: *at, left: left.clone(), cmp: *cmp, right: right.clone() },
            },
        });
        bind(step, &mut bound);
    }
    ops
}
