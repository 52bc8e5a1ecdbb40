//! What is simulated: a machine, a seed, and all that goes wrong or is asked for, with its time. A plan is text as well, so that
//! a failing one can be kept, cut and played again.

use crate::faults::{self, Fault, Kinds};
use crate::mutants::{self, Mutant};
use crate::rng::Rng;
use crate::topology::{Links, Topology};
use std::fmt;

/// Something that a domain asks for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Op {
    /// On which core: of which island.
    pub island: usize,
    /// Which of its cores.
    pub local: u16,
    /// Decides what.
    pub what: u64,
}

/// One run.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The machine.
    pub machine: Topology,
    /// Decides everything that is chance and not listed here.
    pub seed: u64,
    /// The bound on silence and on answers, in cycles.
    pub bound: u64,
    /// What may go wrong at any time: of it, `late` and `start` are not in the list.
    pub kinds: Kinds,
    /// What goes wrong, in order of time.
    pub faults: Vec<(u64, Fault)>,
    /// What is asked for, in order of time.
    pub ops: Vec<(u64, Op)>,
    /// A bug to find.
    pub mutant: Option<&'static Mutant>,
    /// Print what happens.
    pub trace: bool,
}

/// When the load ends, in bounds.
pub const CALM: u64 = 16;
/// Requests of a run: so many, and as many again as there are cores.
const OPS: u64 = 24;

/// The machine of this name: one of [`FILES`](crate::topology::FILES), or `3+2`, islands of so many cores, each linked with
/// each, or `3-2`, each linked with the next.
///
/// # Errors
/// If it is neither.
pub fn machine(name: &str) -> Result<Topology, String> {
    for (sign, links) in [('+', Links::All), ('-', Links::Row)] {
        let cores: Option<Vec<u16>> =
            name.split(sign).map(|n| n.parse().ok().filter(|n| (1..=1024).contains(n))).collect();
        if let Some(cores) = cores.filter(|c| (1..=64).contains(&c.len())) {
            let mut machine = Topology::plain(&cores, links);
            machine.name = name.into();
            return Ok(machine);
        }
    }
    Topology::named(name).map_err(|error| format!("{error}; or islands of so many cores, as in 4+4 or 2-3-1"))
}

impl Plan {
    /// The plan that a seed makes for a machine.
    pub fn new(machine: Topology, seed: u64, kinds: Kinds) -> Self {
        let mut rng = Rng::new(seed ^ 0x504c_414e);
        let cores = machine.cores() as u64;
        // The first monitors tell each other of every core: that takes the longer the more there are.
        let bound = 100_000 * cores.div_ceil(32);
        let faults = faults::draw(kinds, &machine, bound, &mut rng);
        let ops = (0..OPS + cores).map(|_| {
            let island = rng.below(machine.islands.len() as u64) as usize;
            let local = rng.below(machine.islands[island].cores.into()) as u16;
            (rng.between(bound / 2, CALM * bound), Op { island, local, what: rng.next() })
        });
        let mut ops: Vec<_> = ops.collect();
        ops.sort_by_key(|(at, _)| *at);
        Self { machine, seed, bound, kinds, faults, ops, mutant: None, trace: false }
    }

    /// The same on a machine of which only the name is known.
    ///
    /// # Panics
    /// If there is no such machine.
    pub fn on(name: &str, seed: u64, kinds: Kinds) -> Self {
        Self::new(machine(name).expect("the machine is known"), seed, kinds)
    }

    /// Cores of each island.
    pub fn cores(&self) -> Vec<u16> {
        self.machine.islands.iter().map(|i| i.cores).collect()
    }

    /// Reads what `Display` writes.
    ///
    /// # Errors
    /// The first line that is wrong, and why.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut plan = None;
        let (mut name, mut cores, mut seed, mut kinds, mut mutant) = ("", None, 0, Kinds::NONE, None);
        let lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
        for line in lines {
            let wrong = |why: &str| format!("`{line}`: {why}");
            let (key, value) = line.split_once(' ').ok_or_else(|| wrong("it has no value"))?;
            let number = |text: &str| text.parse::<u64>().map_err(|_| wrong("no number"));
            match key {
                "topology" => name = value,
                "cores" => cores = Some(number(value)? as usize),
                "seed" => seed = number(value)?,
                "faults" => kinds = Kinds::parse(value)?,
                "mutant" => mutant = Some(mutants::named(value)?),
                "at" => {
                    if plan.is_none() {
                        plan = Some(Self::empty(name, cores, seed, kinds)?);
                    }
                    let plan = plan.as_mut().expect("it was just made");
                    let words: Vec<&str> = value.split(' ').collect();
                    let [at, what, rest @ ..] = &words[..] else { return Err(wrong("it says not what")) };
                    let numbers: Vec<u64> = rest.iter().map(|n| number(n)).collect::<Result<_, _>>()?;
                    let at = number(at)?;
                    match (*what, &numbers[..]) {
                        ("op", &[island, local, what]) if (island as usize) < plan.machine.islands.len() => {
                            plan.ops.push((at, Op { island: island as usize, local: local as u16, what }));
                        }
                        _ => {
                            let fault = Fault::parse(what, &numbers).filter(|f| f.fits(&plan.machine));
                            plan.faults.push((at, fault.ok_or_else(|| wrong("no such event"))?));
                        }
                    }
                }
                _ => return Err(wrong("a line is topology, cores, seed, faults, mutant or at")),
            }
        }
        let mut plan = plan.map_or_else(|| Self::empty(name, cores, seed, kinds), Ok)?;
        plan.mutant = mutant;
        plan.faults.sort_by_key(|(at, _)| *at);
        plan.ops.sort_by_key(|(at, _)| *at);
        Ok(plan)
    }

    fn empty(name: &str, cores: Option<usize>, seed: u64, kinds: Kinds) -> Result<Self, String> {
        let mut machine = machine(name)?;
        if let Some(cores) = cores {
            machine = machine.with_cores(cores)?;
        }
        Ok(Self { faults: Vec::new(), ops: Vec::new(), ..Self::new(machine, seed, kinds) })
    }
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let machine = &self.machine;
        writeln!(f, "topology {}\ncores {}\nseed {}", machine.name, machine.cores(), self.seed)?;
        writeln!(f, "faults {}", self.kinds)?;
        if let Some(mutant) = self.mutant {
            writeln!(f, "mutant {}", mutant.name)?;
        }
        for (at, fault) in &self.faults {
            writeln!(f, "at {at} {fault}")?;
        }
        for (at, op) in &self.ops {
            writeln!(f, "at {at} op {} {} {}", op.island, op.local, op.what)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plan_reads_back() {
        for (name, seed) in [("fleet", 3), ("2-3-1", 9), ("amd-8x4", 1)] {
            let plan = Plan::on(name, seed, Kinds::ALL);
            let again = Plan::parse(&plan.to_string()).unwrap();
            assert_eq!(again.to_string(), plan.to_string());
            assert_eq!((again.faults, again.ops), (plan.faults, plan.ops));
        }
    }

    #[test]
    fn what_is_wrong_with_a_plan_is_told() {
        let error = |text: &str| Plan::parse(text).unwrap_err();
        assert!(error("topology pc").contains("amd-4x4"));
        assert!(error("topology 2+2\nat 3 kill 2 0 0").contains("no such event"));
        assert!(error("topology 2+2\nfaults rain").contains("island-pause"));
        assert!(error("topology 2+2\nat 3 op 0 0 x").contains("no number"));
        assert!(error("colour red").contains("a line is"));
    }
}
