//! Every order in which messages can arrive, in a world of three cores, two requests at a time, and one failure; and
//! whether bugs are found so.

use super::asker::{Request, What};
use super::model::{Bug, frame, ram};
use super::world::{Flight, World, retype, revoke, shared, transfer};
use super::{CapType, Region};
use std::collections::HashSet;
use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher};

/// What may go wrong, and how often.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct Chances {
    /// Cores that may be lost; one of them is.
    pub kill: Option<usize>,
    /// Whether it comes back.
    pub back: bool,
    /// Messages that may be lost on the way.
    pub lose: u8,
    /// Messages that may come twice.
    pub double: u8,
    /// Deadlines that may pass while messages are under way.
    pub late: u8,
}

/// A world, and what is to happen in it.
#[derive(Clone)]
pub struct Scene {
    pub world: World,
    /// Which core asks for what; in any order, at any time.
    pub asks: Vec<(usize, Request)>,
    pub chances: Chances,
}

/// A point in a run.
#[derive(Clone, Hash)]
struct Point {
    world: World,
    asked: u32,
    chances: Chances,
}

/// What may happen next.
#[derive(Clone, Copy, Debug)]
enum Step {
    Ask(usize),
    Deliver(usize),
    Double(usize),
    Lose(usize),
    Kill(usize),
    Revive(usize),
    Hear(usize, usize),
    Meet(usize, usize),
    Late,
}

impl Scene {
    fn start(&self) -> Point {
        Point { world: self.world.clone(), asked: 0, chances: self.chances }
    }

    /// All steps that a point allows.
    fn steps(&self, at: &Point) -> Vec<Step> {
        let mut steps = Vec::new();
        let nodes = &at.world.nodes;
        let open = (0..self.asks.len()).filter(|n| at.asked >> n & 1 == 0);
        steps.extend(open.filter(|&n| !nodes[self.asks[n].0].dead).map(Step::Ask));
        let flights = 0..at.world.flights.len();
        let same = |n: usize| n > 0 && at.world.flights[n] == at.world.flights[n - 1];
        for n in flights.filter(|&n| !same(n)) {
            steps.push(Step::Deliver(n));
            if at.chances.double > 0 {
                steps.push(Step::Double(n));
            }
            if at.chances.lose > 0 {
                steps.push(Step::Lose(n));
            }
        }
        steps.extend(at.chances.kill.map(Step::Kill));
        if at.chances.late > 0 && !at.world.flights.is_empty() {
            steps.push(Step::Late);
        }
        for (k, node) in nodes.iter().enumerate() {
            let gone = node.dead || node.epoch.0 > 1;
            let others = (0..nodes.len()).filter(|&n| n != k && gone && !nodes[n].dead);
            for n in others {
                match nodes[n].accepts[k].0 {
                    1 => steps.push(Step::Hear(n, k)),
                    0 if !node.dead => steps.push(Step::Meet(n, k)),
                    _ => {}
                }
            }
            if node.dead && at.chances.back {
                steps.push(Step::Revive(k));
            }
        }
        steps
    }

    /// Takes a step, and checks what must hold.
    fn take(&self, at: &mut Point, step: Step) -> Result<(), String> {
        let before = at.world.answers.clone();
        match step {
            Step::Ask(n) => {
                at.asked |= 1 << n;
                let (core, request) = &self.asks[n];
                at.world.ask(*core, token(n), request);
            }
            Step::Deliver(n) => at.world.deliver(n),
            Step::Double(n) => {
                at.chances.double -= 1;
                let again: Flight = at.world.flights[n];
                at.world.deliver(n);
                at.world.flights.push(again);
            }
            Step::Lose(n) => {
                at.chances.lose -= 1;
                at.world.flights.remove(n);
            }
            Step::Kill(n) => {
                at.chances.kill = None;
                at.world.kill(n);
            }
            Step::Revive(n) => {
                at.chances.back = false;
                at.world.revive(n);
            }
            Step::Hear(n, lost) => at.world.hear(n, lost),
            Step::Meet(n, other) => at.world.meet(n, other),
            Step::Late => {
                at.chances.late -= 1;
                at.world.pass_time();
            }
        }
        at.world.check()?;
        for n in 0..self.asks.len() {
            let is_new = before.get(&token(n)).is_none_or(Vec::is_empty);
            if is_new && at.world.answers(token(n)) == [Ok(())] {
                self.check_answer(at, n)?;
            }
        }
        Ok(())
    }

    /// A request has just been granted: it is so.
    fn check_answer(&self, at: &Point, n: usize) -> Result<(), String> {
        let (asker, request) = &self.asks[n];
        let region = request.region;
        match request.what {
            // Unless it has given away what it kept meanwhile.
            What::Revoke { copies: true } if !self.gives(*asker) => {
                for (m, node) in at.world.nodes.iter().enumerate().filter(|(m, _)| m != asker) {
                    let left = |c: &&super::model::Cap| {
                        region.could_make(&c.region) || c.region == region && !c.anchor
                    };
                    if let Some(cap) = node.store.caps.iter().find(left) {
                        return Err(format!("core {m} has {cap:?} after its revocation"));
                    }
                }
            }
            What::Retype { new, first, pages } => {
                let (base, len) = (region.base + u64::from(first) * 4096, u64::from(pages) * 4096);
                let part = Region { ty: new, base, len };
                let revoked = |(m, (_, r)): (usize, &(usize, Request))| {
                    m != n && matches!(r.what, What::Revoke { .. }) && at.asked >> m & 1 == 1
                };
                if at.world.copies(*asker, part) == 0 && !self.asks.iter().enumerate().any(revoked) {
                    return Err(format!("{part:?} was not made"));
                }
            }
            What::Transfer { .. } | What::Revoke { .. } => {}
        }
        Ok(())
    }

    fn gives(&self, asker: usize) -> bool {
        self.asks.iter().any(|(n, request)| *n == asker && matches!(request.what, What::Transfer { .. }))
    }

    /// Nothing can happen any more, but time can pass.
    fn end(&self, at: &Point) -> Result<(), String> {
        let mut world = at.world.clone();
        for _ in 0..64 {
            if world.nodes.iter().all(|n| n.dead || n.agreement.is_quiet()) || !world.pass_time() {
                break;
            }
            world.settle();
            world.check()?;
        }
        for (n, (asker, _)) in self.asks.iter().enumerate().filter(|(n, _)| at.asked >> n & 1 == 1) {
            let node = &world.nodes[*asker];
            if !node.dead && node.epoch.0 == 1 && world.answers(token(n)).len() != 1 {
                return Err(format!("request {n} was never answered"));
            }
        }
        world.check_quiet()
    }

    /// Goes through all of it. Answers how many points there are, or what does not hold and how it comes to that.
    pub fn search(&self, limit: usize) -> Result<usize, String> {
        let hasher = BuildHasherDefault::<DefaultHasher>::default();
        let mut seen = HashSet::new();
        let mut open = vec![(self.start(), Vec::new())];
        while let Some((point, path)) = open.pop() {
            if !seen.insert(hasher.hash_one(&point)) {
                continue;
            }
            assert!(seen.len() <= limit, "more than {limit} points");
            let steps = self.steps(&point);
            if point.world.flights.is_empty() && steps.iter().all(|s| !matches!(s, Step::Hear(..))) {
                self.end(&point).map_err(|why| format!("{why}\nafter {path:?}"))?;
            }
            for step in steps {
                let mut next = point.clone();
                let mut way = path.clone();
                way.push(step);
                self.take(&mut next, step).map_err(|why| format!("{why}\nafter {way:?}"))?;
                open.push((next, way));
            }
        }
        Ok(seen.len())
    }
}

fn token(n: usize) -> u32 {
    100 + n as u32
}

/// A way through a scene, by chance: what comes next follows from `seed`.
fn wander(scene: &Scene, seed: u64) -> Result<(), String> {
    let mut state = seed;
    let mut next = |n: usize| {
        state = state.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(0x1405_7b7e_f767_814f);
        (state >> 33) as usize % n
    };
    let mut point = scene.start();
    for _ in 0..10_000 {
        let steps = scene.steps(&point);
        if steps.is_empty() {
            return scene.end(&point);
        }
        let step = steps[next(steps.len())];
        scene.take(&mut point, step)?;
    }
    Err("it goes on for ever".into())
}

/// Four cores, eight requests, and all that can go wrong, by chance.
fn crowd(seed: u64) -> Scene {
    let r = ram(0, 16);
    let mut world = shared(r, 2);
    world.bound = 1000;
    let asks = (0..8).map(|n| {
        let mix = (seed + n).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 20;
        let (who, at, sort) = ((mix % 3) as usize, (mix >> 8) as u32 % 12, mix >> 16 & 7);
        let part = frame(u64::from(at & !3), 4);
        (
            who,
            match sort {
                0 => revoke(0, r, false),
                1 => transfer(0, r, (who + 1) % 3),
                2 => transfer(0, part, (who + 2) % 3),
                3 => revoke(0, part, true),
                4 => retype(0, r, CapType::VNode, at, 1),
                _ => retype(0, r, CapType::Frame, at & !3, 4),
            },
        )
    });
    let kill = (seed % 4 < 3).then_some((seed % 4) as usize);
    let chances = Chances {
        kill,
        back: seed & 8 != 0,
        lose: (seed >> 4 & 1) as u8,
        double: (seed >> 5 & 1) as u8,
        late: 2,
    };
    Scene { asks: asks.collect(), world, chances }
}

#[test]
fn crowds_find_no_way_to_break_it() {
    for seed in 0..20_000 {
        wander(&crowd(seed), seed).unwrap_or_else(|why| panic!("seed {seed}: {why}"));
    }
}

const NONE: Chances = Chances { kill: None, back: false, lose: 0, double: 0, late: 0 };

/// What it is called, what there is to begin with, and who asks for what.
type Pair = (&'static str, World, [(usize, Request); 2]);

/// Pairs of requests that have to do with each other.
fn pairs() -> Vec<Pair> {
    let (f, r) = (frame(0, 4), ram(0, 4));
    let vnode = CapType::VNode;
    vec![
        ("transfer, revoke", shared(f, 1), [(1, transfer(0, f, 2)), (0, revoke(0, f, true))]),
        ("transfer, revoke by the same", shared(f, 1), [(1, transfer(0, f, 2)), (1, revoke(0, f, true))]),
        ("transfer twice", shared(f, 1), [(1, transfer(0, f, 2)), (0, transfer(0, f, 2))]),
        ("transfer to and fro", shared(f, 1), [(1, transfer(0, f, 2)), (1, transfer(0, f, 0))]),
        ("revoke twice", shared(f, 2), [(1, revoke(0, f, true)), (2, revoke(0, f, true))]),
        (
            "retype, conflicting",
            shared(r, 2),
            [(1, retype(0, r, CapType::Frame, 0, 2)), (2, retype(0, r, vnode, 1, 1))],
        ),
        (
            "retype, by owner and holder",
            shared(r, 1),
            [(0, retype(0, r, CapType::Frame, 0, 2)), (1, retype(0, r, vnode, 1, 1))],
        ),
        (
            "retype, apart",
            shared(r, 2),
            [(1, retype(0, r, CapType::Ram, 0, 2)), (2, retype(0, r, vnode, 2, 1))],
        ),
        ("retype, revoke", shared(r, 2), [(1, retype(0, r, CapType::Frame, 0, 2)), (2, revoke(0, r, true))]),
        (
            "retype, revoke what was made",
            shared(r, 2),
            [(1, retype(0, r, CapType::Frame, 0, 2)), (2, revoke(0, r, false))],
        ),
        ("retype, transfer", shared(r, 1), [(1, retype(0, r, CapType::Frame, 0, 2)), (1, transfer(0, r, 2))]),
    ]
}

/// Searches all pairs with some chances; how many points there are.
fn search_all(chances: Chances) -> Result<usize, String> {
    search_with(chances, None)
}

fn search_with(chances: Chances, bug: Option<Bug>) -> Result<usize, String> {
    let mut points = 0;
    for (name, mut world, asks) in pairs() {
        if let Some(bug) = bug {
            world = world.with_bug(bug);
        }
        world.bound = u64::from(chances.lose + chances.late) * 100;
        let scene = Scene { world, asks: asks.to_vec(), chances };
        points += scene.search(3_000_000).map_err(|why| format!("{name}, {chances:?}: {why}"))?;
    }
    Ok(points)
}

/// What may go wrong in a search that takes seconds.
fn all_chances() -> impl Iterator<Item = Chances> {
    let kills = (0..3).map(|n| Chances { kill: Some(n), ..NONE });
    let returns = (0..3).map(|n| Chances { kill: Some(n), back: true, ..NONE });
    let double = Chances { double: 1, ..NONE };
    [NONE, double].into_iter().chain(kills).chain(returns)
}

#[test]
fn two_requests_and_one_failure_in_any_order() {
    let mut points = 0;
    for chances in all_chances() {
        points += search_all(chances).unwrap_or_else(|why| panic!("{why}"));
    }
    println!("{points} points");
    assert!(points > 100_000, "it went everywhere");
}

#[test]
#[ignore = "minutes"]
fn and_a_message_is_lost_and_deadlines_pass() {
    println!(
        "{:?} points",
        search_all(Chances { lose: 1, late: 1, ..NONE }).unwrap_or_else(|why| panic!("{why}"))
    );
}

#[test]
fn every_bug_is_found() {
    let lossy = Chances { lose: 1, late: 1, ..NONE };
    let blind: Vec<Bug> = Bug::ALL
        .into_iter()
        .filter(|bug| {
            let found =
                all_chances().chain([lossy]).find_map(|chances| search_with(chances, Some(*bug)).err());
            println!("{bug:?}: {found:?}");
            found.is_none()
        })
        .collect();
    assert!(blind.is_empty(), "{blind:?} went unnoticed");
}
