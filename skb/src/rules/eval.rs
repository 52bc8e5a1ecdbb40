//! Evaluation: bottom-up and semi-naive, stratum by stratum, and only of what a question needs.
//!
//! In every round each rule is run once for each atom of its body that grew in the round before, with that atom
//! restricted to what is new, those that stand before it seeing everything, and those after it only what is old: so
//! no combination is looked at twice. A tuple that is derived during a round lies behind what the round sees.

use super::ast::Cmp;
use super::catalog::Catalog;
use super::compute;
use super::error::{Bound, Fault, Position};
use super::lower::{COLUMNS, Column, Expr, Rule, Slot, Step};
use super::plan::{Op, Range, plan};
use super::relation::{END, Relation};
use super::value::{Value, Values};
use alloc::vec::Vec;

/// What evaluation may take. At a limit it ends with [`Fault::Limit`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limits {
    /// Tuples derived and kept, intermediate ones included.
    pub derived: usize,
    /// Values other than small numbers.
    pub values: usize,
    /// Rounds of a stratum: the depth of a derivation.
    pub depth: usize,
    /// Tuples looked at and derived, duplicates included, for one question: its time.
    pub steps: usize,
    /// Rules in all texts.
    pub rules: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { derived: 200_000, values: 100_000, depth: 1_000, steps: 20_000_000, rules: 1_000 }
    }
}

/// A fault, the number of the text and the place in it.
pub(super) type Stop = (usize, Position, Fault);

/// Relations, some of which are complete, and the rules for the others.
#[derive(Clone, Debug)]
pub(super) struct Engine {
    pub catalog: Catalog,
    pub values: Values,
    pub rules: Vec<Rule>,
    pub strata: Vec<u32>,
    pub relations: Vec<Relation>,
    pub complete: Vec<bool>,
    pub limits: Limits,
    pub derived: usize,
    pub steps: usize,
    pub registers: Vec<Value>,
    /// A tuple that is being made.
    pub row: Vec<Value>,
    /// For each relation that grows: where what is new begins, and where what the round sees ends.
    pub seen: Vec<(u32, u32)>,
}

/// Where solutions go: the expressions and the relation.
pub(super) struct Sink<'a> {
    pub at: Position,
    pub columns: &'a [Expr],
    pub into: usize,
}

/// A rule's way through its body for one atom that grows.
struct Planned {
    rule: usize,
    grows: usize,
    ops: Vec<Op>,
    columns: Vec<Expr>,
}

impl Engine {
    /// Completes what `rule` needs.
    pub fn prepare(&mut self, rule: &Rule) -> Result<(), Stop> {
        let mut needed = alloc::vec![false; self.relations.len()];
        let mut queue: Vec<usize> = rule.needs().map(|(relation, _)| relation).collect();
        while let Some(relation) = queue.pop() {
            if self.complete[relation] || core::mem::replace(&mut needed[relation], true) {
                continue;
            }
            for rule in self.rules.iter().filter(|rule| rule.head == relation) {
                queue.extend(rule.needs().map(|(relation, _)| relation));
            }
        }
        let mut strata: Vec<u32> =
            (0..needed.len()).filter(|&r| needed[r]).map(|relation| self.strata[relation]).collect();
        strata.sort_unstable();
        strata.dedup();
        let rules = core::mem::take(&mut self.rules);
        let result = strata.into_iter().try_for_each(|stratum| {
            let active = |relation: usize| needed[relation] && self.strata[relation] == stratum;
            let active: Vec<bool> = (0..needed.len()).map(active).collect();
            self.stratum(&rules, &active)
        });
        self.rules = rules;
        result
    }

    fn stratum(&mut self, rules: &[Rule], active: &[bool]) -> Result<(), Stop> {
        let mut growing = Vec::new();
        for (number, rule) in rules.iter().enumerate().filter(|(_, rule)| active[rule.head]) {
            let grows: Vec<usize> = (0..rule.body.len()).filter(|&step| reads(rule, step, active)).collect();
            if grows.is_empty() {
                self.once(rule, rule.head)?;
            }
            for &step in &grows {
                let ops = plan(rule, Some(step), &mut self.relations, |other, relation| {
                    match (active[relation], other.cmp(&step)) {
                        (false, _) => Range::Complete,
                        (_, core::cmp::Ordering::Less) => Range::All,
                        (_, core::cmp::Ordering::Equal) => Range::New,
                        (_, core::cmp::Ordering::Greater) => Range::Old,
                    }
                });
                growing.push(Planned {
                    rule: number,
                    grows: relation_of(rule, step),
                    ops,
                    columns: plain(rule),
                });
            }
        }
        self.seen = alloc::vec![(0, 0); active.len()];
        for round in 0.. {
            for relation in (0..active.len()).filter(|&relation| active[relation]) {
                self.seen[relation] = (self.seen[relation].1, self.relations[relation].len());
            }
            if (0..active.len()).all(|relation| self.seen[relation].0 == self.seen[relation].1) {
                break;
            }
            self.relations.iter_mut().for_each(Relation::catch_up);
            for Planned { rule, grows, ops, columns } in &growing {
                let rule = &rules[*rule];
                let (from, to) = self.seen[*grows];
                if from == to {
                    continue;
                }
                if round >= self.limits.depth {
                    return Err((rule.text, rule.at, limit(Bound::Depth, self.limits.depth)));
                }
                self.run(rule, ops, &Sink { at: rule.at, columns, into: rule.head })?;
            }
        }
        for (complete, active) in self.complete.iter_mut().zip(active) {
            *complete |= active;
        }
        Ok(())
    }

    /// Runs a rule whose body is complete.
    pub fn once(&mut self, rule: &Rule, into: usize) -> Result<(), Stop> {
        let ops = plan(rule, None, &mut self.relations, |_, _| Range::Complete);
        for (relation, _) in rule.needs() {
            self.relations[relation].catch_up();
        }
        if rule.aggregates() {
            return self.aggregate(rule, &ops, into);
        }
        self.run(rule, &ops, &Sink { at: rule.at, columns: &plain(rule), into })
    }

    /// Looks for all solutions.
    pub fn run(&mut self, rule: &Rule, ops: &[Op], sink: &Sink<'_>) -> Result<(), Stop> {
        self.registers.clear();
        self.registers.resize(rule.variables.len(), Value::NONE);
        self.go_on(ops, sink).map_err(|(at, fault)| (rule.text, at, fault))
    }

    fn go_on(&mut self, ops: &[Op], sink: &Sink<'_>) -> Result<(), (Position, Fault)> {
        let Some((op, ops)) = ops.split_first() else { return self.emit(sink) };
        match op {
            Op::Match { relation, range, index, key, binds, checks } => {
                let relation = *relation;
                let (lowest, end) = match range {
                    Range::Complete => (0, u32::MAX),
                    Range::All => (0, self.seen[relation].1),
                    Range::New => self.seen[relation],
                    Range::Old => (0, self.seen[relation].0),
                };
                let mut row = self.latest(relation, *index, key);
                while row != END && row >= lowest {
                    self.count(sink.at)?;
                    if row < end && self.bind(relation, row, binds, checks) {
                        self.go_on(ops, sink)?;
                        if binds.is_empty() {
                            break;
                        }
                    }
                    row = self.relations[relation].before(*index, row);
                }
                Ok(())
            }
            Op::Absent { relation, index, key } => {
                self.count(sink.at)?;
                if self.latest(*relation, *index, key) == END { self.go_on(ops, sink) } else { Ok(()) }
            }
            Op::Compare { at, left, cmp, right } => {
                if self.holds(left, *cmp, right).map_err(|fault| (*at, fault))? {
                    self.go_on(ops, sink)?;
                }
                Ok(())
            }
            Op::Assign { at, to, expr } => {
                self.registers[usize::from(*to)] = self.value(expr).map_err(|fault| (*at, fault))?;
                self.go_on(ops, sink)
            }
        }
    }

    fn latest(&self, relation: usize, index: usize, key: &[Slot]) -> u32 {
        let mut values = [Value::NONE; COLUMNS];
        for (value, slot) in values.iter_mut().zip(key) {
            *value = match *slot {
                Slot::Const(value) => value,
                Slot::Variable(variable) => self.registers[usize::from(variable)],
                Slot::Any => continue,
            };
        }
        self.relations[relation].latest(index, &values[..key.len()])
    }

    fn bind(&mut self, relation: usize, row: u32, binds: &[(u8, u16)], checks: &[(u8, u16)]) -> bool {
        let row = self.relations[relation].row(row);
        for &(column, variable) in binds {
            self.registers[usize::from(variable)] = row[usize::from(column)];
        }
        checks
            .iter()
            .all(|&(column, variable)| row[usize::from(column)] == self.registers[usize::from(variable)])
    }

    fn emit(&mut self, sink: &Sink<'_>) -> Result<(), (Position, Fault)> {
        self.count(sink.at)?;
        let mut row = core::mem::take(&mut self.row);
        row.clear();
        for expr in sink.columns {
            row.push(self.value(expr).map_err(|fault| (sink.at, fault))?);
        }
        let new = self.relations[sink.into].insert(&row);
        self.row = row;
        if new { self.derive(sink.at) } else { Ok(()) }
    }

    /// Counts a tuple that is derived.
    pub fn derive(&mut self, at: Position) -> Result<(), (Position, Fault)> {
        self.derived += 1;
        if self.derived > self.limits.derived {
            return Err((at, limit(Bound::Derived, self.limits.derived)));
        }
        Ok(())
    }

    fn count(&mut self, at: Position) -> Result<(), (Position, Fault)> {
        self.steps += 1;
        if self.steps > self.limits.steps {
            return Err((at, limit(Bound::Steps, self.limits.steps)));
        }
        Ok(())
    }

    fn holds(&self, left: &Expr, cmp: Cmp, right: &Expr) -> Result<bool, Fault> {
        let (left, right) = (
            compute::datum(left, &self.registers, &self.values)?,
            compute::datum(right, &self.registers, &self.values)?,
        );
        let order = left.cmp(&right);
        Ok(match cmp {
            Cmp::Equal => order.is_eq(),
            Cmp::Unequal => order.is_ne(),
            Cmp::Less => order.is_lt(),
            Cmp::LessEqual => order.is_le(),
            Cmp::Greater => order.is_gt(),
            Cmp::GreaterEqual => order.is_ge(),
        })
    }

    /// The value of an expression whose variables are bound.
    pub fn value(&mut self, expr: &Expr) -> Result<Value, Fault> {
        match expr {
            Expr::Const(value) => Ok(*value),
            Expr::Variable(variable) => Ok(self.registers[usize::from(*variable)]),
            Expr::Apply(function, terms) => {
                let result = compute::apply(*function, terms, &self.registers, &self.values)?;
                let value = self.values.intern(result);
                if self.values.len() > self.limits.values {
                    return Err(limit(Bound::Values, self.limits.values));
                }
                Ok(value)
            }
        }
    }

    /// Bytes of memory that relations, indexes and values take.
    pub fn bytes(&self) -> usize {
        self.values.bytes() + self.relations.iter().map(Relation::bytes).sum::<usize>()
    }
}

fn plain(rule: &Rule) -> Vec<Expr> {
    let columns = rule.columns.iter().filter_map(|column| match column {
        Column::Plain(expr) => Some(expr.clone()),
        _ => None,
    });
    columns.collect()
}

fn relation_of(rule: &Rule, step: usize) -> usize {
    match rule.body[step] {
        Step::Atom { relation, .. } => relation,
        Step::Compare { .. } => usize::MAX,
    }
}

/// Whether the step reads a relation that grows.
fn reads(rule: &Rule, step: usize, active: &[bool]) -> bool {
    active.get(relation_of(rule, step)).copied().unwrap_or(false)
}

pub(super) const fn limit(what: Bound, limit: usize) -> Fault {
    Fault::Limit { what, limit }
}
