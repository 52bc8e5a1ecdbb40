//! Against a reference: every assignment of small numbers to a rule's variables is tried, again and again until nothing
//! new follows. Nothing of the engine is used in it.

use super::ask;
use crate::rules::{Knowledge, Limits};
use crate::*;
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};

/// Numbers are below this.
const NUMBERS: i64 = 4;
/// Variables `A` to `D`; `E` is computed.
const VARIABLES: usize = 4;
/// Relations: 0 and 1 are given, each later one depends on those before it and on itself.
const RELATIONS: usize = 6;
const COLUMNS: [usize; RELATIONS] = [2, 1, 2, 1, 3, 2];

#[derive(Clone, Debug)]
enum Slot {
    Any,
    Number(i64),
    Variable(usize),
}

#[derive(Clone, Debug)]
enum Literal {
    Atom {
        negated: bool,
        relation: usize,
        slots: Vec<Slot>,
    },
    Compare {
        left: usize,
        sign: &'static str,
        right: Slot,
    },
    /// `E = (L + R) mod NUMBERS`
    Sum {
        left: usize,
        right: usize,
    },
}

#[derive(Clone, Debug)]
enum Head {
    /// Of a relation.
    Plain(usize, Vec<Slot>),
    /// Of one of its own: the group and what is made of it.
    Aggregate(&'static str, usize, usize),
}

#[derive(Clone, Debug)]
struct Rule {
    head: Head,
    body: Vec<Literal>,
}

type Tuples = BTreeSet<Vec<i64>>;

fn name(variable: usize) -> char {
    ['A', 'B', 'C', 'D', 'E'][variable]
}

impl Slot {
    fn text(&self) -> String {
        match self {
            Self::Any => "_".into(),
            Self::Number(number) => number.to_string(),
            Self::Variable(variable) => name(*variable).into(),
        }
    }

    fn value(&self, assigned: &[i64]) -> Option<i64> {
        match self {
            Self::Any => None,
            Self::Number(number) => Some(*number),
            Self::Variable(variable) => Some(assigned[*variable]),
        }
    }
}

fn list(slots: &[Slot]) -> String {
    slots.iter().map(Slot::text).collect::<Vec<_>>().join(", ")
}

impl Literal {
    fn text(&self) -> String {
        match self {
            Self::Atom { negated, relation, slots } => {
                format!("{}r{relation}({})", if *negated { "not " } else { "" }, list(slots))
            }
            Self::Compare { left, sign, right } => format!("{} {sign} {}", name(*left), right.text()),
            Self::Sum { left, right } => format!("E = ({} + {}) mod {NUMBERS}", name(*left), name(*right)),
        }
    }

    fn holds(&self, tuples: &[Tuples], assigned: &[i64]) -> bool {
        match self {
            Self::Atom { negated, relation, slots } => {
                let fits = |tuple: &Vec<i64>| {
                    tuple
                        .iter()
                        .zip(slots)
                        .all(|(&number, slot)| slot.value(assigned).is_none_or(|v| v == number))
                };
                *negated != tuples[*relation].iter().any(fits)
            }
            Self::Compare { left, sign, right } => {
                let (left, right) = (assigned[*left], right.value(assigned).unwrap());
                match *sign {
                    "<" => left < right,
                    ">=" => left >= right,
                    "=" => left == right,
                    _ => left != right,
                }
            }
            Self::Sum { left, right } => assigned[4] == (assigned[*left] + assigned[*right]) % NUMBERS,
        }
    }

    fn variables(&self) -> Vec<usize> {
        let of = |slot: &Slot| if let Slot::Variable(variable) = slot { Some(*variable) } else { None };
        match self {
            Self::Atom { slots, .. } => slots.iter().filter_map(of).collect(),
            Self::Compare { left, right, .. } => [*left].into_iter().chain(of(right)).collect(),
            Self::Sum { left, right } => vec![*left, *right, 4],
        }
    }
}

impl Rule {
    fn text(&self, number: usize) -> String {
        let head = match &self.head {
            Head::Plain(relation, slots) => format!("r{relation}({})", list(slots)),
            Head::Aggregate(what, by, of) => {
                let (by, of) = (name(*by), name(*of));
                match *what {
                    "count" => format!("a{number}({by}, count())"),
                    "distinct" => format!("a{number}({by}, count({of}))"),
                    "argmin" => format!("a{number}({by}, argmin({of} mod 2, {of}))"),
                    "rank" => format!("a{number}({by}, {of}, rank({of} mod 2 down per {by}))"),
                    what => format!("a{number}({by}, {what}({of}))"),
                }
            }
        };
        let body: Vec<String> = self.body.iter().map(Literal::text).collect();
        format!("{head} :- {}.\n", body.join(", "))
    }

    /// Every assignment of the named variables under which the body holds.
    fn solutions(&self, tuples: &[Tuples]) -> Vec<Vec<i64>> {
        let used: BTreeSet<usize> = self.body.iter().flat_map(Literal::variables).collect();
        let count = NUMBERS.pow(VARIABLES as u32 + 1);
        let all = (0..count)
            .map(|n| (0..=VARIABLES as u32).map(|v| n / NUMBERS.pow(v) % NUMBERS).collect::<Vec<_>>());
        // Of a variable that does not stand in the body one value is tried.
        all.filter(|assigned| (0..=VARIABLES).all(|v| used.contains(&v) || assigned[v] == 0))
            .filter(|assigned| self.body.iter().all(|literal| literal.holds(tuples, assigned)))
            .collect()
    }

    fn result(&self, tuples: &[Tuples]) -> Tuples {
        let solutions = self.solutions(tuples);
        let (what, by, of) = match &self.head {
            Head::Plain(_, slots) => {
                let row =
                    |assigned: &Vec<i64>| slots.iter().map(|slot| slot.value(assigned).unwrap()).collect();
                return solutions.iter().map(row).collect();
            }
            Head::Aggregate(what, by, of) => (*what, *by, *of),
        };
        let mut groups: BTreeMap<i64, Vec<i64>> = BTreeMap::new();
        for assigned in &solutions {
            groups.entry(assigned[by]).or_default().push(assigned[of]);
        }
        let mut result = Tuples::new();
        for (by, mut values) in groups {
            let mut distinct: Vec<i64> =
                values.iter().copied().collect::<BTreeSet<_>>().into_iter().collect();
            values.sort_unstable();
            match what {
                "count" => result.insert(vec![by, values.len() as i64]),
                "distinct" => result.insert(vec![by, distinct.len() as i64]),
                "sum" => result.insert(vec![by, values.iter().sum()]),
                "min" => result.insert(vec![by, values[0]]),
                "max" => result.insert(vec![by, values[values.len() - 1]]),
                "argmin" => result.insert(vec![by, *values.iter().min_by_key(|&&v| (v % 2, v)).unwrap()]),
                _ => {
                    distinct.sort_by_key(|v| (-(v % 2), *v));
                    result.extend(distinct.iter().zip(0..).map(|(&v, rank)| vec![by, v, rank]));
                    true
                }
            };
        }
        result
    }
}

/// What follows, relation by relation, and then the aggregates.
fn reference(given: &[Tuples; 2], rules: &[Rule]) -> (Vec<Tuples>, Vec<Tuples>) {
    let mut tuples: Vec<Tuples> =
        given.iter().cloned().chain((2..RELATIONS).map(|_| Tuples::new())).collect();
    for relation in 2..RELATIONS {
        loop {
            let before = tuples[relation].len();
            for rule in rules.iter().filter(|rule| matches!(rule.head, Head::Plain(r, _) if r == relation)) {
                let result = rule.result(&tuples);
                tuples[relation].extend(result);
            }
            if tuples[relation].len() == before {
                break;
            }
        }
    }
    let aggregates = rules.iter().map(|rule| match rule.head {
        Head::Plain(..) => Tuples::new(),
        Head::Aggregate(..) => rule.result(&tuples),
    });
    let aggregates = aggregates.collect();
    (tuples, aggregates)
}

fn slot() -> impl Strategy<Value = Slot> {
    prop_oneof![
        1 => Just(Slot::Any),
        1 => (0..NUMBERS).prop_map(Slot::Number),
        6 => (0..VARIABLES).prop_map(Slot::Variable),
    ]
}

fn atom(relations: core::ops::Range<usize>, negated: bool) -> impl Strategy<Value = Literal> {
    relations.prop_flat_map(move |relation| {
        prop::collection::vec(slot(), COLUMNS[relation]).prop_map(move |slots| Literal::Atom {
            negated,
            relation,
            slots,
        })
    })
}

fn filter() -> impl Strategy<Value = Literal> {
    let sign = prop::sample::select(vec!["<", ">=", "=", "!="]);
    let right = slot().prop_map(|slot| if let Slot::Any = slot { Slot::Number(1) } else { slot });
    prop_oneof![
        (0..VARIABLES, sign, right).prop_map(|(left, sign, right)| Literal::Compare { left, sign, right }),
        (0..VARIABLES, 0..VARIABLES).prop_map(|(left, right)| Literal::Sum { left, right }),
    ]
}

/// A rule for `relation`; for `RELATIONS` one that aggregates.
fn rule(relation: usize) -> impl Strategy<Value = Rule> {
    let growing = (relation + 1).min(RELATIONS);
    let positive = prop::collection::vec(atom(0..growing, false), 1..4);
    let negative = prop::collection::vec(atom(0..relation, true), 0..2);
    let what = prop::sample::select(vec!["count", "distinct", "sum", "min", "max", "argmin", "rank"]);
    let columns = COLUMNS.get(relation).copied().unwrap_or(2);
    let head = prop::collection::vec(any::<prop::sample::Index>(), columns);
    (positive, negative, prop::collection::vec(filter(), 0..3), head, what, any::<u64>()).prop_map(
        move |(positive, negative, filters, head, what, seed)| {
            let bound: BTreeSet<usize> = positive.iter().flat_map(Literal::variables).collect();
            let mut bound: Vec<usize> = bound.into_iter().collect();
            let safe = |literal: &Literal, bound: &[usize]| {
                literal.variables().iter().all(|variable| *variable == 4 || bound.contains(variable))
            };
            let filters: Vec<Literal> = filters.into_iter().filter(|literal| safe(literal, &bound)).collect();
            let negative = negative.into_iter().filter(|literal| safe(literal, &bound));
            let mut body: Vec<Literal> = positive.into_iter().chain(negative).chain(filters).collect();
            if body.iter().any(|literal| matches!(literal, Literal::Sum { .. })) {
                bound.push(4);
            }
            // The order in which literals stand must not matter.
            let by = seed as usize % body.len();
            body.rotate_left(by);
            let pick = |index: &prop::sample::Index| match bound.len() {
                0 => None,
                count => Some(bound[index.index(count)]),
            };
            let head = if relation < RELATIONS {
                let slot = |index| pick(index).map_or(Slot::Number(2), Slot::Variable);
                Head::Plain(relation, head.iter().map(slot).collect())
            } else {
                match (pick(&head[0]), pick(&head[1])) {
                    (Some(by), Some(of)) => Head::Aggregate(what, by, of),
                    _ => Head::Plain(RELATIONS - 1, vec![Slot::Number(0), Slot::Number(0)]),
                }
            };
            Rule { head, body }
        },
    )
}

fn program() -> impl Strategy<Value = ([Tuples; 2], Vec<Rule>)> {
    let given =
        |columns: usize| prop::collection::btree_set(prop::collection::vec(0..NUMBERS, columns), 0..8);
    let rules =
        (2..=RELATIONS).map(|relation| prop::collection::vec(rule(relation), 0..4)).collect::<Vec<_>>();
    (given(2), given(1), rules).prop_map(|(pairs, singles, rules)| {
        let mut rules: Vec<Rule> = rules.into_iter().flatten().collect();
        // What could not aggregate would stand in a cycle through negation, now and then.
        rules.retain(|rule| !matches!(&rule.head, Head::Plain(5, slots) if matches!(slots[..], [Slot::Number(0), Slot::Number(0)])));
        ([pairs, singles], rules)
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 600, failure_persistence: None, ..Default::default() })]

    #[test]
    fn the_engine_finds_what_trying_everything_finds((given, rules) in program()) {
        let mut text = String::new();
        for (relation, tuples) in given.iter().enumerate() {
            for tuple in tuples {
                let slots: Vec<Slot> = tuple.iter().map(|&number| Slot::Number(number)).collect();
                text += &format!("r{relation}({}).\n", list(&slots));
            }
        }
        // A relation without tuples must be known all the same.
        for (relation, columns) in COLUMNS.iter().enumerate() {
            text += &format!("r{relation}({}) :- 0 = 1.\n", vec!["0"; *columns].join(", "));
        }
        for (number, rule) in rules.iter().enumerate() {
            text += &rule.text(number);
        }
        let mut knowledge = Knowledge::new(Store::default(), Limits::default());
        if let Err(error) = knowledge.load("t", &text) {
            return Err(TestCaseError::fail(format!("{error}\n{text}")));
        }
        let (tuples, aggregates) = reference(&given, &rules);
        let lines = |tuples: &Tuples| -> Vec<String> {
            tuples.iter().map(|t| t.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")).collect()
        };
        for (relation, tuples) in tuples.iter().enumerate() {
            let columns: Vec<String> = (0..COLUMNS[relation]).map(|n| format!("X{n}")).collect();
            let question = format!("r{relation}({})", columns.join(", "));
            prop_assert_eq!(ask(&mut knowledge, &question), lines(tuples), "{}\n{}", question, text);
            let bound = format!("{question}, X0 = 1");
            let some: Tuples = tuples.iter().filter(|tuple| tuple[0] == 1).cloned().collect();
            prop_assert_eq!(ask(&mut knowledge, &bound), lines(&some), "{}\n{}", bound, text);
        }
        for (number, rule) in rules.iter().enumerate() {
            if let Head::Aggregate(what, ..) = rule.head {
                let question = format!("a{number}({})", if what == "rank" { "X, Y, Z" } else { "X, Y" });
                prop_assert_eq!(ask(&mut knowledge, &question), lines(&aggregates[number]), "{}\n{}", question, text);
            }
        }
    }
}
