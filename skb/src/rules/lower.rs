//! From rules as they are written to rules over numbered relations and variables; names, columns and safety checked.

use super::ast::{Aggregate, Atom, Clause, Cmp, Columns, Function, HeadTerm, Kind, Literal, Term};
use super::catalog::Catalog;
use super::error::{Bound, Fault, Position};
use super::plan;
use super::value::{Const, Value, Values};
use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec::Vec;

/// Columns of one relation: a key is gathered on the stack.
pub(super) const COLUMNS: usize = 16;

/// A rule, ready to be planned.
#[derive(Clone, Debug)]
pub(super) struct Rule {
    /// The number of the text, and where in it.
    pub text: usize,
    pub at: Position,
    pub head: usize,
    pub columns: Vec<Column>,
    pub body: Vec<Step>,
    /// The names of the variables; those made up here have none.
    pub variables: Vec<Option<String>>,
}

/// A column of a head.
#[derive(Clone, Debug)]
pub(super) enum Column {
    Plain(Expr),
    Aggregate(Aggregate, Vec<Expr>),
    Rank { by: Vec<(Expr, bool)>, per: Vec<Expr> },
}

/// A part of a body.
#[derive(Clone, Debug)]
pub(super) enum Step {
    Atom { at: Position, relation: usize, negated: bool, slots: Vec<Slot> },
    Compare { at: Position, left: Expr, cmp: Cmp, right: Expr },
}

/// What stands in a column of an atom.
#[derive(Clone, Copy, Debug)]
pub(super) enum Slot {
    Any,
    Variable(u16),
    Const(Value),
}

/// What can be computed once its variables are bound.
#[derive(Clone, Debug)]
pub(super) enum Expr {
    Const(Value),
    Variable(u16),
    Apply(Function, Box<[Expr]>),
}

impl Expr {
    /// Calls `each` with every variable.
    pub fn variables(&self, each: &mut dyn FnMut(u16)) {
        match self {
            Self::Const(_) => {}
            Self::Variable(variable) => each(*variable),
            Self::Apply(_, terms) => terms.iter().for_each(|term| term.variables(each)),
        }
    }
}

impl Column {
    /// The expressions in it.
    pub fn exprs(&self) -> Vec<&Expr> {
        match self {
            Self::Plain(expr) => [expr].into(),
            Self::Aggregate(_, exprs) => exprs.iter().collect(),
            Self::Rank { by, per } => by.iter().map(|(expr, _)| expr).chain(per).collect(),
        }
    }
}

impl Rule {
    /// Whether its head merges or numbers solutions.
    pub fn aggregates(&self) -> bool {
        self.columns.iter().any(|column| !matches!(column, Column::Plain(_)))
    }

    /// The relations of its body, each with whether more of it can mean less of the head.
    pub fn needs(&self) -> impl Iterator<Item = (usize, bool)> {
        let aggregates = self.aggregates();
        self.body.iter().filter_map(move |step| match step {
            Step::Atom { relation, negated, .. } => Some((*relation, *negated || aggregates)),
            Step::Compare { .. } => None,
        })
    }
}

/// What stands in each column of an atom, if it matters.
type Terms<'t> = Vec<Option<&'t Term>>;

/// A clause of text number `text`, understood.
pub(super) fn lower(
    clause: &Clause,
    text: usize,
    catalog: &Catalog,
    values: &mut Values,
) -> Result<Rule, (Position, Fault)> {
    let head = catalog.find(&clause.name).ok_or_else(|| (clause.at, catalog.unknown(&clause.name)))?;
    let mut lowering = Lowering { catalog, values, variables: Vec::new(), body: Vec::new() };
    for literal in &clause.body {
        lowering.literal(literal)?;
    }
    let columns = clause.head.iter().map(|column| lowering.column(column)).collect::<Result<Vec<_>, _>>()?;
    let Lowering { variables, body, .. } = lowering;
    let rule = Rule { text, at: clause.at, head, columns, body, variables };
    check_head(clause)?;
    check_bound(clause, &rule)?;
    Ok(rule)
}

struct Lowering<'a> {
    catalog: &'a Catalog,
    values: &'a mut Values,
    variables: Vec<Option<String>>,
    body: Vec<Step>,
}

impl Lowering<'_> {
    fn variable(&mut self, name: Option<&str>) -> u16 {
        let known = self.variables.iter().position(|known| name.is_some() && known.as_deref() == name);
        known.unwrap_or_else(|| {
            self.variables.push(name.map(String::from));
            self.variables.len() - 1
        }) as u16
    }

    fn constant(&mut self, constant: &Const) -> Value {
        self.values.intern(constant.datum())
    }

    fn literal(&mut self, literal: &Literal) -> Result<(), (Position, Fault)> {
        match literal {
            Literal::Compare { at, left, cmp, right } => {
                let (left, right) = (self.expr(left)?, self.expr(right)?);
                self.body.push(Step::Compare { at: *at, left, cmp: *cmp, right });
            }
            Literal::Atom { atom, negated } => {
                let (relation, terms) = self.columns(atom)?;
                let slots = terms.into_iter().map(|term| self.slot(term)).collect::<Result<Vec<_>, _>>()?;
                self.body.push(Step::Atom { at: atom.at, relation, negated: *negated, slots });
            }
        }
        Ok(())
    }

    /// The relation of an atom, and its columns.
    fn columns<'t>(&self, atom: &'t Atom) -> Result<(usize, Terms<'t>), (Position, Fault)> {
        let name = &atom.name;
        let relation = self.catalog.find(name).ok_or_else(|| (atom.at, self.catalog.unknown(name)))?;
        let info = self.catalog.info(relation);
        let mut columns = alloc::vec![None; info.columns];
        match &atom.columns {
            Columns::Listed(terms) => {
                // The origin of facts may be left out.
                if terms.len() != info.columns && Some(terms.len()) != info.fields {
                    let fault = Fault::Columns { name: name.clone(), has: info.columns, given: terms.len() };
                    return Err((atom.at, fault));
                }
                columns.iter_mut().zip(terms).for_each(|(column, term)| *column = Some(term));
            }
            Columns::Named(terms) => {
                for (at, column, term) in terms {
                    if info.names.is_empty() {
                        return Err((*at, Fault::NoNames(name.clone())));
                    }
                    let place = info.names.iter().position(|name| name == column).ok_or_else(|| {
                        let (relation, column) = (name.clone(), column.clone());
                        (*at, Fault::Column { relation, column, has: info.names.join(", ") })
                    })?;
                    columns[place] = Some(term);
                }
            }
        }
        Ok((relation, columns))
    }

    /// What is computed in a column becomes a variable of its own, and a comparison.
    fn slot(&mut self, term: Option<&Term>) -> Result<Slot, (Position, Fault)> {
        Ok(match term {
            None | Some(Term { kind: Kind::Any, .. }) => Slot::Any,
            Some(term) => match self.expr(term)? {
                Expr::Const(value) => Slot::Const(value),
                Expr::Variable(variable) => Slot::Variable(variable),
                right @ Expr::Apply(..) => {
                    let variable = self.variable(None);
                    let left = Expr::Variable(variable);
                    self.body.push(Step::Compare { at: term.at, left, cmp: Cmp::Equal, right });
                    Slot::Variable(variable)
                }
            },
        })
    }

    fn expr(&mut self, term: &Term) -> Result<Expr, (Position, Fault)> {
        Ok(match &term.kind {
            Kind::Const(constant) => Expr::Const(self.constant(constant)),
            Kind::Variable(name) => Expr::Variable(self.variable(Some(name))),
            Kind::Any => return Err((term.at, Fault::Anonymous)),
            Kind::Apply(function, terms) => {
                let terms = terms.iter().map(|term| self.expr(term)).collect::<Result<Vec<_>, _>>()?;
                Expr::Apply(*function, terms.into())
            }
        })
    }

    fn column(&mut self, column: &HeadTerm) -> Result<Column, (Position, Fault)> {
        Ok(match column {
            HeadTerm::Plain(term) => Column::Plain(self.expr(term)?),
            HeadTerm::Aggregate(aggregate, terms) => {
                Column::Aggregate(*aggregate, terms.iter().map(|t| self.expr(t)).collect::<Result<_, _>>()?)
            }
            HeadTerm::Rank { by, per } => Column::Rank {
                by: by
                    .iter()
                    .map(|(term, down)| Ok((self.expr(term)?, *down)))
                    .collect::<Result<_, (Position, Fault)>>()?,
                per: per.iter().map(|term| self.expr(term)).collect::<Result<_, _>>()?,
            },
        })
    }
}

fn check_head(clause: &Clause) -> Result<(), (Position, Fault)> {
    if clause.head.len() > COLUMNS {
        return Err((clause.at, Fault::Limit { what: Bound::Columns, limit: COLUMNS }));
    }
    let ranks = clause.head.iter().filter(|column| matches!(column, HeadTerm::Rank { .. })).count();
    let others = clause.head.iter().filter(|column| matches!(column, HeadTerm::Aggregate(..))).count();
    if ranks > 1 || ranks == 1 && others > 0 {
        return Err((clause.at, Fault::RankWithOthers));
    }
    Ok(())
}

/// Every variable must get a value from somewhere.
fn check_bound(clause: &Clause, rule: &Rule) -> Result<(), (Position, Fault)> {
    let order = plan::order(rule, None);
    let left_over = (0..rule.body.len()).find(|step| !order.steps.contains(step));
    let bound = |variable: u16| order.bound[usize::from(variable)];
    if let Some(step) = left_over {
        let (at, unbound) = plan::unbound(&rule.body[step], &bound);
        // A variable made up for a column has a comparison of its own, with what is at fault in it.
        let name = unbound.and_then(|variable| rule.variables[usize::from(variable)].clone());
        let (at, name) = name.map_or_else(
            || {
                let others = rule.body.iter().filter(|step| matches!(step, Step::Compare { .. }));
                let mut named = others.filter_map(|step| {
                    let (at, variable) =
                        plan::unbound(step, &|v| bound(v) || rule.variables[usize::from(v)].is_none());
                    Some((at, rule.variables[usize::from(variable?)].clone()?))
                });
                named.next_back().unwrap_or((at, "_".into()))
            },
            |name| (at, name),
        );
        return Err((at, Fault::Unbound(name)));
    }
    for column in &clause.head {
        for term in column.terms() {
            let mut unbound = None;
            term.variables(&mut |at, name| {
                let number = rule.variables.iter().position(|known| known.as_deref() == name);
                if !number.is_some_and(|number| bound(number as u16)) {
                    unbound = unbound.take().or(name.map(|name| (at, Fault::Unbound(name.into()))));
                }
            });
            unbound.map_or(Ok(()), Err)?;
        }
    }
    Ok(())
}
