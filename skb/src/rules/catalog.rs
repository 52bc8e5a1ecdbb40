//! The relations that there are: one for each kind of fact, and one for each head of a rule.

use super::ast::Clause;
use super::error::{Fault, Position};
use crate::Fact;
use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::vec::Vec;

/// What is known of a relation.
#[derive(Clone, Debug)]
pub(super) struct Info {
    pub name: String,
    pub columns: usize,
    /// Facts: the columns' names.
    pub names: Vec<String>,
    /// Facts: how many columns there are without the origin's.
    pub fields: Option<usize>,
}

/// Columns that every fact has after its own.
pub(super) const ORIGIN: [&str; 3] = ["island", "epoch", "source"];

/// All relations.
#[derive(Clone, Debug)]
pub(super) struct Catalog {
    relations: Vec<Info>,
    by_name: BTreeMap<String, usize>,
}

impl Catalog {
    /// The relations of facts, numbered as [`Fact::NUMBERS`] lists them.
    pub fn facts() -> Self {
        let mut catalog = Self { relations: Vec::new(), by_name: BTreeMap::new() };
        for (name, fields) in Fact::tables() {
            let mut names = fields;
            let fields = Some(names.len());
            names.extend(ORIGIN.map(String::from));
            catalog.push(Info { name, columns: names.len(), names, fields });
        }
        catalog
    }

    fn push(&mut self, info: Info) {
        self.by_name.insert(info.name.clone(), self.relations.len());
        self.relations.push(info);
    }

    /// Adds the head of a clause, or checks that it fits the relation of its name.
    pub fn declare(&mut self, clause: &Clause) -> Result<(), (Position, Fault)> {
        let given = clause.head.len();
        let Some(known) = self.find(&clause.name) else {
            self.push(Info { name: clause.name.clone(), columns: given, names: Vec::new(), fields: None });
            return Ok(());
        };
        let Info { name, columns, fields, .. } = self.info(known);
        if fields.is_some() {
            return Err((clause.at, Fault::DerivesFacts(name.clone())));
        }
        if *columns != given {
            return Err((clause.at, Fault::Columns { name: name.clone(), has: *columns, given }));
        }
        Ok(())
    }

    /// Takes away the relation that was added last.
    pub fn pop(&mut self) {
        if let Some(info) = self.relations.pop() {
            self.by_name.remove(&info.name);
        }
    }

    /// The relation of that name.
    pub fn find(&self, name: &str) -> Option<usize> {
        self.by_name.get(name).copied()
    }

    /// What is known of a relation.
    pub fn info(&self, relation: usize) -> &Info {
        &self.relations[relation]
    }

    /// All relations.
    pub fn iter(&self) -> impl Iterator<Item = &Info> {
        self.relations.iter()
    }

    /// How many relations there are.
    pub fn len(&self) -> usize {
        self.relations.len()
    }

    /// That there is no relation of that name, and which comes nearest.
    pub fn unknown(&self, name: &str) -> Fault {
        let near = self.relations.iter().map(|info| (edits(name, &info.name), &info.name)).min();
        let near = near.filter(|(edits, _)| *edits * 3 <= name.len()).map(|(_, near)| near.clone());
        Fault::Unknown { name: name.into(), near }
    }
}

/// How many letters must be put in, taken out or changed (Levenshtein).
fn edits(a: &str, b: &str) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.bytes().enumerate() {
        let mut diagonal = core::mem::replace(&mut row[0], i + 1);
        for (j, y) in b.bytes().enumerate() {
            let here = (diagonal + usize::from(x != y)).min(row[j] + 1).min(row[j + 1] + 1);
            diagonal = core::mem::replace(&mut row[j + 1], here);
        }
    }
    row[b.len()]
}
