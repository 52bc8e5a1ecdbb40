//! Strata: what a relation is *not*, or an aggregate over it, may be asked only when it is complete. So a relation
//! that depends on another in such a way lies in a higher stratum, and none may depend on itself so.

use super::catalog::Catalog;
use super::error::Fault;
use super::lower::Rule;
use alloc::collections::VecDeque;
use alloc::vec::Vec;

/// The stratum of each relation; or the rule at fault and the cycle.
pub(super) fn strata(rules: &[Rule], catalog: &Catalog) -> Result<Vec<u32>, (usize, Fault)> {
    for (number, rule) in rules.iter().enumerate() {
        for (needed, _) in rule.needs().filter(|(_, strictly)| *strictly) {
            if let Some(way) = way(rules, catalog.len(), needed, rule.head) {
                let name = |relation: usize| catalog.info(relation).name.as_str();
                let names: Vec<&str> =
                    [rule.head].iter().chain(&way).map(|&relation| name(relation)).collect();
                return Err((number, Fault::Cycle(names.join(" ← "))));
            }
        }
    }
    let mut strata = alloc::vec![0; catalog.len()];
    // Without such a cycle this ends: no stratum exceeds the number of relations.
    loop {
        let mut changed = false;
        for rule in rules {
            for (needed, strictly) in rule.needs() {
                let least = strata[needed] + u32::from(strictly);
                if strata[rule.head] < least {
                    strata[rule.head] = least;
                    changed = true;
                }
            }
        }
        if !changed {
            return Ok(strata);
        }
    }
}

/// The shortest way from a relation to one that it depends on, both included.
fn way(rules: &[Rule], relations: usize, from: usize, to: usize) -> Option<Vec<usize>> {
    let mut before = alloc::vec![None; relations];
    let mut queue = VecDeque::from([from]);
    before[from] = Some(from);
    while let Some(here) = queue.pop_front() {
        if here == to {
            let mut way = alloc::vec![to];
            let mut at = to;
            while at != from {
                at = before[at]?;
                way.insert(0, at);
            }
            return Some(way);
        }
        for rule in rules.iter().filter(|rule| rule.head == here) {
            for (needed, _) in rule.needs() {
                if before[needed].is_none() {
                    before[needed] = Some(here);
                    queue.push_back(needed);
                }
            }
        }
    }
    None
}
