//! Aggregates: all solutions of a body first, without duplicates; then groups of them, or numbers for them.
//!
//! For `count` and `sum` a solution is a binding of all named variables of the rule: two cores of one size count twice
//! if the core has a name there. For all else what the head names is enough.

use super::ast::Aggregate;
use super::compute;
use super::error::{Fault, Position};
use super::eval::{Engine, Sink, Stop};
use super::lower::{Column, Expr, Rule};
use super::plan::Op;
use super::relation::Relation;
use super::value::{Datum, Value};
use alloc::vec::Vec;
use core::cmp::Ordering;

/// What an aggregate has come to so far.
#[derive(Clone, Copy)]
enum So {
    Far(i128),
    /// The best key and, of `argmin` and `argmax`, what attains it.
    Best(Value, Value),
    Nothing,
}

impl Engine {
    /// Runs a rule that aggregates and whose body is complete.
    pub(super) fn aggregate(&mut self, rule: &Rule, ops: &[Op], into: usize) -> Result<(), Stop> {
        let variables = named(rule);
        let columns: Vec<Expr> = variables.iter().map(|&variable| Expr::Variable(variable)).collect();
        let solutions = self.relations.len();
        self.relations.push(Relation::new(columns.len()));
        let found = self.run(rule, ops, &Sink { at: rule.at, columns: &columns, into: solutions });
        let solutions = self.relations.pop();
        found?;
        let Some(solutions) = solutions else { return Ok(()) };
        let before = self.derived - solutions.len() as usize;
        let ranks = rule.columns.iter().any(|column| matches!(column, Column::Rank { .. }));
        let merged = if ranks {
            self.number(rule, &solutions, &variables, into)
        } else {
            self.merge(rule, &solutions, &variables, into)
        };
        merged.map_err(|(at, fault)| (rule.text, at, fault))?;
        // The solutions are gone now, and what came of them stays.
        self.derived -= solutions.len() as usize;
        debug_assert!(self.derived >= before);
        Ok(())
    }

    fn load(&mut self, row: &[Value], variables: &[u16]) {
        for (&variable, &value) in variables.iter().zip(row) {
            self.registers[usize::from(variable)] = value;
        }
    }

    fn merge(
        &mut self,
        rule: &Rule,
        solutions: &Relation,
        variables: &[u16],
        into: usize,
    ) -> Result<(), (Position, Fault)> {
        let here = |fault| (rule.at, fault);
        let plain: Vec<&Expr> = rule.columns.iter().filter_map(plain).collect();
        let aggregates: Vec<(Aggregate, &[Expr])> = rule.columns.iter().filter_map(aggregate).collect();
        let mut groups = Relation::new(plain.len());
        let mut distinct = Relation::new(3);
        let mut so_far: Vec<So> = Vec::new();
        for row in solutions.rows() {
            self.load(row, variables);
            let key =
                plain.iter().map(|expr| self.value(expr)).collect::<Result<Vec<_>, _>>().map_err(here)?;
            groups.insert(&key);
            let group = groups.number(&key).unwrap_or(0);
            so_far.resize(groups.len() as usize * aggregates.len(), So::Nothing);
            for (number, (aggregate, terms)) in aggregates.iter().enumerate() {
                let place = group as usize * aggregates.len() + number;
                let values = terms.iter().map(|term| self.value(term)).collect::<Result<Vec<_>, _>>();
                let values = values.map_err(here)?;
                if let (Aggregate::Count, [value]) = (aggregate, &values[..]) {
                    let place = self.values.intern(Datum::Int(place as i128));
                    if !distinct.insert(&[place, *value, Value::NONE]) {
                        continue;
                    }
                }
                so_far[place] = self.step(*aggregate, &values, so_far[place]).map_err(here)?;
            }
        }
        for (group, key) in groups.rows().enumerate() {
            let mut key = key.iter();
            let mut results = so_far[group * aggregates.len()..].iter();
            let mut row = Vec::new();
            for column in &rule.columns {
                row.extend(match column {
                    Column::Plain(_) => key.next().copied(),
                    _ => match results.next() {
                        Some(So::Far(number)) => Some(self.values.intern(Datum::Int(*number))),
                        Some(So::Best(_, value)) => Some(*value),
                        _ => None,
                    },
                });
            }
            if self.relations[into].insert(&row) {
                self.derive(rule.at)?;
            }
        }
        Ok(())
    }

    fn step(&self, aggregate: Aggregate, values: &[Value], so_far: So) -> Result<So, Fault> {
        let first = values.first().copied().unwrap_or(Value::NONE);
        let last = values.last().copied().unwrap_or(Value::NONE);
        let before = if let So::Far(number) = so_far { number } else { 0 };
        Ok(match aggregate {
            Aggregate::Count => So::Far(before + 1),
            Aggregate::Sum => match self.values.get(first) {
                Datum::Int(number) => So::Far(before.checked_add(number).ok_or(Fault::Overflow)?),
                other => return Err(compute::kind("number", other)),
            },
            Aggregate::Min | Aggregate::ArgMin | Aggregate::Max | Aggregate::ArgMax => {
                let So::Best(best, value) = so_far else { return Ok(So::Best(first, last)) };
                let falling = matches!(aggregate, Aggregate::Max | Aggregate::ArgMax);
                let order = self.order(first, best);
                let order = if falling { order.reverse() } else { order };
                // Among equals the least value, so that the answer does not depend on who was first.
                match order.then_with(|| self.order(last, value)) {
                    Ordering::Less => So::Best(first, last),
                    _ => so_far,
                }
            }
        })
    }

    fn order(&self, a: Value, b: Value) -> Ordering {
        if a == b { Ordering::Equal } else { self.values.get(a).cmp(&self.values.get(b)) }
    }

    /// Numbers the solutions within each group, in the order that the head says.
    fn number(
        &mut self,
        rule: &Rule,
        solutions: &Relation,
        variables: &[u16],
        into: usize,
    ) -> Result<(), (Position, Fault)> {
        let here = |fault| (rule.at, fault);
        let ranks = rule.columns.iter().find_map(|column| match column {
            Column::Rank { by, per } => Some((by, per)),
            _ => None,
        });
        let Some((by, per)) = ranks else { return Ok(()) };
        let plain: Vec<&Expr> = rule.columns.iter().filter_map(plain).collect();
        let sorted_by: Vec<(&Expr, bool)> = per
            .iter()
            .map(|expr| (expr, false))
            .chain(by.iter().map(|(expr, down)| (expr, *down)))
            .chain(plain.iter().map(|expr| (*expr, false)))
            .collect();
        let mut rows: Vec<Vec<Value>> = Vec::with_capacity(solutions.len() as usize);
        for row in solutions.rows() {
            self.load(row, variables);
            let keys = sorted_by.iter().map(|(expr, _)| self.value(expr)).collect::<Result<Vec<_>, _>>();
            rows.push(keys.map_err(here)?);
        }
        rows.sort_unstable_by(|a, b| {
            let orders = a.iter().zip(b).zip(&sorted_by).map(|((&a, &b), (_, down))| {
                let order = self.order(a, b);
                if *down { order.reverse() } else { order }
            });
            orders.fold(Ordering::Equal, Ordering::then)
        });
        let mut rank = 0;
        for (place, row) in rows.iter().enumerate() {
            let group = &row[..per.len()];
            rank = if place > 0 && rows[place - 1][..per.len()] == *group { rank + 1 } else { 0 };
            let mut plain = row[row.len() - plain.len()..].iter();
            let rank = self.values.intern(Datum::Int(rank));
            let columns = rule.columns.iter();
            let row = columns.filter_map(|column| match column {
                Column::Plain(_) => plain.next().copied(),
                _ => Some(rank),
            });
            if self.relations[into].insert(&row.collect::<Vec<_>>()) {
                self.derive(rule.at)?;
            }
        }
        Ok(())
    }
}

fn plain(column: &Column) -> Option<&Expr> {
    if let Column::Plain(expr) = column { Some(expr) } else { None }
}

fn aggregate(column: &Column) -> Option<(Aggregate, &[Expr])> {
    if let Column::Aggregate(aggregate, terms) = column { Some((*aggregate, terms)) } else { None }
}

/// The variables that tell one solution from another.
fn named(rule: &Rule) -> Vec<u16> {
    let counts = rule.columns.iter().any(|column| {
        matches!(column, Column::Aggregate(Aggregate::Sum, _))
            || matches!(column, Column::Aggregate(Aggregate::Count, terms) if terms.is_empty())
    });
    let mut in_head = Vec::new();
    for expr in rule.columns.iter().flat_map(Column::exprs) {
        expr.variables(&mut |variable| in_head.push(variable));
    }
    let matters = |variable: &u16| {
        in_head.contains(variable) || counts && rule.variables[usize::from(*variable)].is_some()
    };
    (0..rule.variables.len() as u16).filter(matters).collect()
}
