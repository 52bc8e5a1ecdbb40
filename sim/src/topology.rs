//! Machines: what cores there are, how they are joined, and what a message costs. All of it is data, a file each in
//! `sim/topologies/`; no constant here stands for a fact about a machine (rule `mechanism-below-policy-above`).
//!
//! What a file asserts is what the paper's table 2 measures: how long a message takes from one core to another, and how many
//! of them a channel carries. A message is two transfers of its line (paper §4.6): the sender takes it from the receiver's
//! cache, the receiver fetches it back. What software does at either end is apart.

use serde::Deserialize;
use std::collections::VecDeque;

/// The machines that come with the simulator: their names, and their files.
pub const FILES: [(&str, &str); 7] = [
    ("intel-2x4", include_str!("../topologies/intel-2x4.toml")),
    ("amd-2x2", include_str!("../topologies/amd-2x2.toml")),
    ("amd-4x4", include_str!("../topologies/amd-4x4.toml")),
    ("amd-8x4", include_str!("../topologies/amd-8x4.toml")),
    ("fleet", include_str!("../topologies/fleet.toml")),
    ("server-128", include_str!("../topologies/server-128.toml")),
    ("islands-32", include_str!("../topologies/islands-32.toml")),
];

/// A number for each distance that two cores may have.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Distances {
    /// They share a cache.
    shared: f64,
    /// They are on different dies of one package.
    package: f64,
    /// Their packages are so many wires apart, from one on; what is further away costs what the last does.
    hops: Vec<f64>,
    /// They are at the two ends of a window.
    #[serde(default)]
    link: f64,
}

/// How islands are joined.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Links {
    /// Each with each.
    #[default]
    All,
    /// Each with the next.
    Row,
    /// Those whose numbers differ in one bit.
    Cube,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct IslandFile {
    #[serde(default = "one")]
    count: u16,
    packages: u16,
    cores: u16,
    #[serde(default = "one")]
    dies: u16,
    wires: Vec<[usize; 2]>,
}

const fn one() -> u16 {
    1
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    about: String,
    mhz: u64,
    send: u64,
    receive: u64,
    parallel: u64,
    poll: u64,
    wake: u64,
    #[serde(default)]
    links: Links,
    latency: Distances,
    throughput: Distances,
    island: Vec<IslandFile>,
}

/// What a message from one core to another costs, in cycles.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Path {
    /// Moving a cache line from the one to the other.
    pub line: u64,
    /// From one message of a channel to the next, at least.
    pub gap: u64,
}

/// What a core does, in cycles.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Cost {
    /// Writing a message, its line's transfer aside.
    pub send: u64,
    /// Reading one, likewise.
    pub receive: u64,
    /// Transfers of different lines that may be under way at a time.
    pub parallel: u64,
    /// Looking at a channel to which nothing has come.
    pub poll: u64,
    /// Being woken by an interrupt.
    pub wake: u64,
}

/// One island.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Shape {
    /// Cores in use; all of a package come before those of the next.
    pub cores: u16,
    /// Cores of a package, and cores that share a cache.
    pub package: u16,
    /// Cores that share a cache.
    pub die: u16,
    /// Wires from package to package.
    hops: Vec<Vec<u8>>,
}

/// A machine.
#[derive(Clone, PartialEq, Debug)]
pub struct Topology {
    /// What it is called.
    pub name: String,
    /// One line for people.
    pub about: String,
    /// Cycles in a microsecond.
    pub mhz: u64,
    /// Its islands.
    pub islands: Vec<Shape>,
    /// Pairs of islands with a window between them.
    pub links: Vec<(u16, u16)>,
    /// What a core does.
    pub cost: Cost,
    /// Within a die, within a package, then by wires.
    paths: Vec<Path>,
    /// Across a link.
    pub link: Path,
}

impl Topology {
    /// The machine of this name.
    ///
    /// # Errors
    /// If there is none, with a list of those there are.
    pub fn named(name: &str) -> Result<Self, String> {
        let file = FILES.iter().find(|(known, _)| *known == name);
        let (_, text) = file.ok_or_else(|| {
            let list: Vec<&str> = FILES.iter().map(|(name, _)| *name).collect();
            format!("there is no topology `{name}`; there are {}", list.join(", "))
        })?;
        Self::parse(name, text)
    }

    /// The machine that a file describes.
    ///
    /// # Errors
    /// What is wrong with the file.
    pub fn parse(name: &str, text: &str) -> Result<Self, String> {
        let file: File = toml::from_str(text).map_err(|e| format!("topology {name}: {e}"))?;
        let path = |latency: f64, throughput: f64| {
            let transfers = (latency as u64).checked_sub(file.send + file.receive);
            let gap = 1000.0 / throughput;
            transfers.filter(|_| gap.is_finite()).map(|two| Path { line: two / 2, gap: gap as u64 })
        };
        let (latency, throughput) = (&file.latency, &file.throughput);
        let far = latency.hops.iter().enumerate().map(|(n, cycles)| {
            let last = throughput.hops.len().saturating_sub(1);
            path(*cycles, throughput.hops.get(n.min(last)).copied().unwrap_or(0.0))
        });
        let near = [path(latency.shared, throughput.shared), path(latency.package, throughput.package)];
        let paths: Option<Vec<Path>> = near.into_iter().chain(far).collect();
        let wrong = |what: &str| format!("topology {name}: {what}");
        let paths = paths.ok_or_else(|| wrong("a latency is less than its ends, or a throughput 0"))?;
        let mut islands = Vec::new();
        for island in &file.island {
            let whole = island.dies > 0 && island.cores.is_multiple_of(island.dies) && island.packages > 0;
            if !whole || island.cores == 0 {
                return Err(wrong("cores are so many in each die, dies so many in each package"));
            }
            let hops = hops(island.packages.into(), &island.wires)
                .ok_or_else(|| wrong("a package is not joined with the others"))?;
            let (cores, die) = (island.packages * island.cores, island.cores / island.dies);
            let shape = Shape { cores, package: island.cores, die, hops };
            islands.extend(std::iter::repeat_n(shape, island.count.into()));
        }
        if islands.is_empty() || (islands.len() > 1 && latency.link <= 0.0) {
            return Err(wrong("no island, or no latency of its links"));
        }
        let link = path(latency.link, throughput.link).unwrap_or_default();
        let File { about, mhz, send, receive, parallel, poll, wake, .. } = file;
        let cost = Cost { send, receive, parallel: parallel.max(1), poll, wake };
        let links = joined(file.links, islands.len() as u16);
        Ok(Self { name: name.into(), about, mhz, islands, links, cost, paths, link })
    }

    /// Islands of so many cores, joined as said, of the costs of `fleet`: for tests.
    ///
    /// # Panics
    /// If that file is broken.
    pub fn plain(cores: &[u16], links: Links) -> Self {
        let fleet = Self::named("fleet").expect("its file is tested");
        let shape = |&cores: &u16| Shape { cores, package: cores, die: cores, hops: vec![vec![0]] };
        let joined = joined(links, cores.len() as u16);
        Self { islands: cores.iter().map(shape).collect(), links: joined, ..fleet }
    }

    /// The same with so many cores: each island the same share of them, as far as it has them.
    ///
    /// # Errors
    /// If it has not so many, with how many it has.
    pub fn with_cores(mut self, cores: usize) -> Result<Self, String> {
        let all = self.cores();
        if !(1..=all).contains(&cores) {
            return Err(format!("{} has 1 to {all} cores, not {cores}", self.name));
        }
        if cores == all {
            return Ok(self);
        }
        self.islands.truncate(cores);
        let left = self.islands.len() as u16;
        self.links.retain(|(a, b)| *a < left && *b < left);
        let mut rest = cores;
        let mut islands = self.islands.len();
        for island in &mut self.islands {
            let share = rest.div_ceil(islands).min(island.cores.into());
            island.cores = share as u16;
            rest -= share;
            islands -= 1;
        }
        Ok(self)
    }

    /// The first island with so many packages, each joined with those whose numbers differ in one bit: what a larger machine of
    /// the same parts may be. Further than it has costs for, a hop costs what the last one did.
    ///
    /// # Errors
    /// If it has no island.
    pub fn with_packages(&self, packages: usize) -> Result<Self, String> {
        let shape = self.islands.first().ok_or("no island")?;
        let row = |a: usize| (0..packages).map(|b| (a ^ b).count_ones() as u8).collect();
        let hops = (0..packages).map(row).collect();
        let cores = u16::try_from(packages * usize::from(shape.package)).map_err(|e| e.to_string())?;
        let islands = vec![Shape { cores, hops, ..shape.clone() }];
        Ok(Self { islands, links: Vec::new(), ..self.clone() })
    }

    /// All cores.
    pub fn cores(&self) -> usize {
        self.islands.iter().map(|i| usize::from(i.cores)).sum()
    }

    /// Packages of an island of which cores are in use.
    pub fn packages(&self, island: usize) -> u16 {
        let shape = &self.islands[island];
        shape.cores.div_ceil(shape.package)
    }

    /// What a message from core `a` to core `b` of an island costs.
    pub fn path(&self, island: usize, a: u16, b: u16) -> Path {
        let shape = &self.islands[island];
        let package = |core: u16| usize::from(core / shape.package);
        let class = match shape.hops[package(a)][package(b)] {
            0 if a / shape.die == b / shape.die => 0,
            0 => 1,
            hops => 1 + usize::from(hops),
        };
        self.paths[class.min(self.paths.len() - 1)]
    }

    /// How long a message takes, from the call that sends it to the end of the one that receives it.
    pub const fn latency(&self, path: Path) -> u64 {
        self.cost.send + 2 * path.line + self.cost.receive
    }
}

/// Wires between each two packages; `None` if some two are not joined.
fn hops(packages: usize, wires: &[[usize; 2]]) -> Option<Vec<Vec<u8>>> {
    let mut all = vec![vec![u8::MAX; packages]; packages];
    for (from, row) in all.iter_mut().enumerate() {
        row[from] = 0;
        let mut next = VecDeque::from([from]);
        while let Some(at) = next.pop_front() {
            for [a, b] in wires {
                for (here, there) in [(*a, *b), (*b, *a)] {
                    if here == at && *row.get(there)? == u8::MAX {
                        row[there] = row[at] + 1;
                        next.push_back(there);
                    }
                }
            }
        }
    }
    all.iter().flatten().all(|hops| *hops < u8::MAX).then_some(all)
}

fn joined(links: Links, islands: u16) -> Vec<(u16, u16)> {
    let pairs = (0..islands).flat_map(|a| (a + 1..islands).map(move |b| (a, b)));
    pairs
        .filter(|(a, b)| match links {
            Links::All => true,
            Links::Row => a + 1 == *b,
            Links::Cube => (a ^ b).is_power_of_two(),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_machine_is_whole_and_a_message_costs_what_its_file_says() {
        for (name, _) in FILES {
            let machine = Topology::named(name).unwrap();
            assert!(machine.cores() > 1 && machine.cost.wake > 0, "{name}");
        }
        // Table 2 of the paper: shared, one hop, two hops.
        let amd = Topology::named("amd-8x4").unwrap();
        let latency = |a, b| amd.latency(amd.path(0, a, b));
        assert_eq!((latency(0, 3), latency(0, 4)), (538, 612), "an odd transfer is rounded down");
        assert_eq!((latency(0, 12), latency(0, 31)), (618, 622));
        assert_eq!(amd.path(0, 0, 3).gap, 361);
        let intel = Topology::named("intel-2x4").unwrap();
        assert_eq!((intel.path(0, 0, 1).line, intel.path(0, 0, 2).line), (50, 245));
        assert_eq!(intel.path(0, 0, 2), intel.path(0, 0, 7));
        assert_eq!(Topology::named("islands-32").unwrap().cores(), 1024);
    }

    #[test]
    fn fewer_cores_are_spread_over_the_islands() {
        let count = |name: &str, cores| {
            let machine = Topology::named(name).unwrap().with_cores(cores).unwrap();
            assert_eq!(machine.cores(), cores);
            machine.islands.iter().map(|i| i.cores).collect::<Vec<_>>()
        };
        assert_eq!(count("fleet", 5), [3, 2]);
        assert_eq!(count("fleet", 16), [8, 8]);
        assert_eq!(count("amd-8x4", 6), [6]);
        assert_eq!(count("islands-32", 3), [1, 1, 1]);
        let error = Topology::named("fleet").unwrap().with_cores(17).unwrap_err();
        assert!(error.contains("1 to 16"), "{error}");
        assert!(Topology::named("pc").unwrap_err().contains("amd-8x4"));
    }

    #[test]
    fn a_file_that_is_wrong_is_refused_with_what_is_wrong() {
        let (name, text) = FILES[1];
        let broken = |from: &str, to: &str| Topology::parse(name, &text.replace(from, to)).unwrap_err();
        assert!(broken("wires = [[0, 1]]", "wires = []").contains("not joined"));
        assert!(broken("wires = [[0, 1]]", "wires = [[0, 7]]").contains("not joined"));
        assert!(broken("shared = 450", "shared = 45").contains("latency"));
        assert!(broken("cores = 2", "cores = 2\ndies = 3").contains("dies"));
        assert!(broken("poll = 4", "pool = 4").contains("pool"));
    }
}
