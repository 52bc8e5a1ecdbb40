//! Facts and rules together, and questions about what follows from them.

use super::ast::Clause;
use super::catalog::{Catalog, ORIGIN};
use super::error::{Bound, Position, RuleError};
use super::eval::{Engine, Limits, Stop, limit};
use super::lower::{Rule, lower};
use super::parse;
use super::relation::Relation;
use super::strata::strata;
use super::value::{Const, Datum, Values};
use crate::{Epoch, Fact, IslandId, Record, Store, StoreError};
use alloc::string::String;
use alloc::vec::Vec;

/// The relation of a question's answer. No rule can be called so.
const ANSWER: &str = "?";

/// A store of facts, and texts of rules over them. What follows is worked out when it is first asked for, and kept until
/// a fact or a rule changes.
#[derive(Clone, Debug)]
pub struct Knowledge {
    store: Store,
    texts: Vec<(String, Vec<Clause>)>,
    limits: Limits,
    engine: Option<Engine>,
}

/// The answer to a question.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Answer {
    /// The columns' names.
    pub columns: Vec<String>,
    /// The tuples, in their order. A question without variables has one empty tuple as its yes.
    pub rows: Vec<Vec<Const>>,
}

impl Knowledge {
    /// Knows nothing but these facts.
    pub const fn new(store: Store, limits: Limits) -> Self {
        Self { store, texts: Vec::new(), limits, engine: None }
    }

    /// The facts.
    pub const fn store(&self) -> &Store {
        &self.store
    }

    /// Adds a fact; answers whether it is new.
    ///
    /// # Errors
    /// [`StoreError::Full`].
    pub fn insert(&mut self, record: Record) -> Result<bool, StoreError> {
        let new = self.store.insert(record)?;
        self.changed(new);
        Ok(new)
    }

    /// Takes a fact away; answers whether it was there.
    pub fn remove(&mut self, record: &Record) -> bool {
        let gone = self.store.remove(record);
        self.changed(gone);
        gone
    }

    /// Takes away all that an island learnt; answers how many facts that were.
    pub fn forget(&mut self, island: IslandId) -> usize {
        let gone = self.store.forget(island);
        self.changed(gone > 0);
        gone
    }

    /// What an island learnt counts in this epoch.
    pub fn carry_over(&mut self, island: IslandId, epoch: Epoch) {
        let other = |record: &Record| record.origin.island == island && record.origin.epoch != epoch;
        if self.store.iter().any(other) {
            self.store.carry_over(island, epoch);
            self.changed(true);
        }
    }

    fn changed(&mut self, changed: bool) {
        if changed {
            self.engine = None;
        }
    }

    /// Loads rules; a text of the same name gives way. At an error nothing changes.
    ///
    /// # Errors
    /// [`RuleError`], in this text or in one that needs the old one's rules.
    pub fn load(&mut self, name: &str, text: &str) -> Result<(), RuleError> {
        self.load_all(&[(name, text)])
    }

    /// Loads several texts at once, which may need each other.
    ///
    /// # Errors
    /// As [`load`](Self::load).
    pub fn load_all(&mut self, new: &[(&str, &str)]) -> Result<(), RuleError> {
        let mut texts = self.texts.clone();
        for &(name, text) in new {
            let clauses =
                parse::clauses(text).map_err(|(at, fault)| RuleError { text: name.into(), at, fault })?;
            match texts.iter_mut().find(|(other, _)| other == name) {
                Some((_, old)) => *old = clauses,
                None => texts.push((name.into(), clauses)),
            }
        }
        self.replace(texts)
    }

    /// Takes a text's rules away; answers whether there were any.
    ///
    /// # Errors
    /// [`RuleError`] if other rules need them.
    pub fn unload(&mut self, name: &str) -> Result<bool, RuleError> {
        let mut texts = self.texts.clone();
        texts.retain(|(other, _)| other != name);
        let known = texts.len() < self.texts.len();
        if known {
            self.replace(texts)?;
        }
        Ok(known)
    }

    fn replace(&mut self, texts: Vec<(String, Vec<Clause>)>) -> Result<(), RuleError> {
        compile(&texts, self.limits).map_err(|stop| named(&texts, stop))?;
        self.texts = texts;
        self.engine = None;
        Ok(())
    }

    /// The names of the texts that are loaded.
    pub fn texts(&self) -> impl Iterator<Item = &str> {
        self.texts.iter().map(|(name, _)| name.as_str())
    }

    /// All relations, each with its columns' names (rules' columns have none) and how many there are.
    pub fn relations(&mut self) -> Result<Vec<(String, Vec<String>, usize)>, RuleError> {
        let engine = self.engine()?;
        Ok(engine.catalog.iter().map(|info| (info.name.clone(), info.names.clone(), info.columns)).collect())
    }

    /// Answers a question: a body such as `core{local: L, node: N}, N > 0`, or a rule such as
    /// `n(N, count()) :- core{node: N}`.
    ///
    /// # Errors
    /// [`RuleError`]; of what was worked out nothing is kept then.
    pub fn ask(&mut self, question: &str) -> Result<Answer, RuleError> {
        let (clause, columns) = parse::question(question, ANSWER).map_err(|(at, fault)| RuleError {
            text: ANSWER.into(),
            at,
            fault,
        })?;
        let text = self.texts.len();
        match answer(self.engine()?, &clause, text) {
            Ok(rows) => Ok(Answer { columns, rows }),
            Err(stop) => {
                self.engine = None;
                Err(named(&self.texts, stop))
            }
        }
    }

    /// Bytes of memory that what was worked out takes, the facts' relations included, and how many tuples it is.
    pub fn memory(&self) -> (usize, usize) {
        self.engine.as_ref().map_or((0, 0), |engine| (engine.bytes(), engine.derived))
    }

    fn engine(&mut self) -> Result<&mut Engine, RuleError> {
        let engine = match self.engine.take() {
            Some(engine) => engine,
            None => {
                let mut engine =
                    compile(&self.texts, self.limits).map_err(|stop| named(&self.texts, stop))?;
                load(&self.store, &mut engine);
                engine
            }
        };
        Ok(self.engine.insert(engine))
    }
}

fn named(texts: &[(String, Vec<Clause>)], (text, at, fault): Stop) -> RuleError {
    let text = texts.get(text).map_or(ANSWER, |(name, _)| name);
    RuleError { text: text.into(), at, fault }
}

fn compile(texts: &[(String, Vec<Clause>)], limits: Limits) -> Result<Engine, Stop> {
    let mut catalog = Catalog::facts();
    let facts = catalog.len();
    let all = || {
        texts.iter().enumerate().flat_map(|(number, (_, clauses))| clauses.iter().map(move |c| (number, c)))
    };
    for (text, clause) in all() {
        catalog.declare(clause).map_err(|(at, fault)| (text, at, fault))?;
    }
    let mut values = Values::default();
    let mut rules: Vec<Rule> = Vec::new();
    for (text, clause) in all() {
        if rules.len() >= limits.rules {
            return Err((text, clause.at, limit(Bound::Rules, limits.rules)));
        }
        rules.push(lower(clause, text, &catalog, &mut values).map_err(|(at, fault)| (text, at, fault))?);
    }
    let strata =
        strata(&rules, &catalog).map_err(|(rule, fault)| (rules[rule].text, rules[rule].at, fault))?;
    let relations = catalog.iter().map(|info| Relation::new(info.columns)).collect();
    let complete = (0..catalog.len()).map(|relation| relation < facts).collect();
    let (registers, row, seen) = (Vec::new(), Vec::new(), Vec::new());
    Ok(Engine {
        catalog,
        values,
        rules,
        strata,
        relations,
        complete,
        limits,
        derived: 0,
        steps: 0,
        registers,
        row,
        seen,
    })
}

/// Makes tuples of all facts. Their number is bounded by the store, and so is that of their values.
fn load(store: &Store, engine: &mut Engine) {
    let mut row = Vec::new();
    for Record { fact, origin } in store.iter() {
        row.clear();
        let values = &mut engine.values;
        fact.cells(&mut |datum| row.push(values.intern(datum)));
        let source = Datum::Text(origin.source.name());
        let of_origin: [Datum<'_>; ORIGIN.len()] =
            [Datum::Int(origin.island.0.into()), Datum::Int(origin.epoch.0.into()), source];
        row.extend(of_origin.map(|datum| values.intern(datum)));
        if let Some(relation) = Fact::NUMBERS.iter().position(|&number| number == fact.number()) {
            engine.relations[relation].insert(&row);
        }
    }
}

fn answer(engine: &mut Engine, clause: &Clause, text: usize) -> Result<Vec<Vec<Const>>, Stop> {
    let here = |(at, fault): (Position, _)| (text, at, fault);
    engine.steps = 0;
    engine.catalog.declare(clause).map_err(here)?;
    let lowered = lower(clause, text, &engine.catalog, &mut engine.values);
    engine.catalog.pop();
    let rule = lowered.map_err(here)?;
    engine.prepare(&rule)?;
    let before = engine.derived;
    let into = engine.relations.len();
    engine.relations.push(Relation::new(rule.columns.len()));
    let found = engine.once(&rule, into);
    let answer = engine.relations.pop();
    found?;
    engine.derived = before;
    let tuples = answer.iter().flat_map(Relation::rows);
    let mut rows: Vec<Vec<Const>> =
        tuples.map(|row| row.iter().map(|&value| engine.values.get(value).keep()).collect()).collect();
    rows.sort_unstable();
    Ok(rows)
}
