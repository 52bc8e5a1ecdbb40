//! What must hold: at every step, and once all has calmed down.

use crate::ends::leads_to;
use crate::faults::Kinds;
use crate::kernel::Region;
use crate::world::{Island, World};
use skerry_hal::{CoreId, IslandId};
use skerry_monitor::config::MAX_QUEUE;
use skerry_skb::Fact;
use skerry_urpc::formats::monitor::CoreState;
use skerry_urpc::formats::shell::IslandState;

/// What must hold after a step of a core.
///
/// # Errors
/// What does not.
pub fn step(world: &mut World, island: usize, node: usize) -> Result<(), String> {
    let node = &world.islands[island].nodes[node];
    let longest = node.monitor.longest_queue();
    if longest > MAX_QUEUE {
        return Err(format!("{} keeps {longest} messages for one channel", node.core));
    }
    match world.load.late(world.now) {
        Some(late) => Err(late),
        None => Ok(()),
    }
}

/// What must hold now and then: what is due was done, whoever it was due from.
///
/// # Errors
/// What does not hold.
pub fn look(world: &mut World) -> Result<(), String> {
    for node in world.islands.iter().flat_map(|i| &i.nodes) {
        if let Some(late) = node.ends.late(world.now) {
            return Err(format!("{}: {late}", node.core));
        }
    }
    if let Some(late) = world.load.late(world.now) {
        return Err(late);
    }
    crate::agreed::look(world)?;
    let now = world.now;
    let due: Vec<_> = world.deaths.extract_if(.., |(.., due)| *due <= now).collect();
    for (dead, epoch, _) in due {
        let survivors = world.islands.iter().filter(|i| runs(i, now));
        let others = |core: CoreId| core.island() != dead;
        for node in survivors.flat_map(|i| &i.nodes).filter(|n| n.paused_until <= now && others(n.core)) {
            let known = node.monitor.islands().get(dead);
            if known.is_some_and(|i| i.state == IslandState::Up && i.epoch <= epoch) {
                return Err(format!("{} still takes island {dead} for alive in epoch {epoch}", node.core));
            }
            if leads_to(&node.monitor, dead, epoch) {
                return Err(format!("{} has a proxy for an endpoint of dead island {dead}", node.core));
            }
        }
    }
    Ok(())
}

/// No memory of an island is two things at once: whatever one core's capabilities make of it, no other core's make
/// anything else of it. Looks at one core, and at what has become something there since it was looked at last; a core with
/// many capabilities is not looked at after every change.
///
/// # Errors
/// The first such region.
pub fn types(world: &mut World, island: usize, node: usize) -> Result<(), String> {
    let nodes = &mut world.islands[island].nodes;
    let (before, changes) = &nodes[node].regions;
    if changes * SAMPLE < before.len() || *changes == 0 {
        return Ok(());
    }
    let now = nodes[node].kernel.typed();
    let before = std::mem::replace(&mut nodes[node].regions, (now.clone(), 0)).0;
    for new in now.iter().filter(|region| before.binary_search(region).is_err()) {
        for other in (0..nodes.len()).filter(|other| *other != node) {
            let clash = |r: &&Region| r.base < new.end && new.base < r.end && *r != new;
            if !nodes[other].regions.0.iter().any(|r| clash(&r)) {
                continue;
            }
            // It may have been let go of since that was looked at.
            nodes[other].regions = (nodes[other].kernel.typed(), 0);
            if let Some(clash) = nodes[other].regions.0.iter().find(clash) {
                return Err(format!(
                    "{} has {new:x?}, {} has {clash:x?}",
                    nodes[node].core, nodes[other].core
                ));
            }
        }
    }
    Ok(())
}

/// Capabilities of a core for one change of which it is looked at.
const SAMPLE: usize = 64;

/// The same for all cores, whatever was looked at before.
///
/// # Errors
/// As above.
pub fn all_types(world: &mut World) -> Result<(), String> {
    for island in 0..world.islands.len() {
        for node in 0..world.islands[island].nodes.len() {
            world.islands[island].nodes[node].regions.1 = usize::MAX / SAMPLE;
            types(world, island, node)?;
        }
    }
    Ok(())
}

fn runs(island: &Island, now: u64) -> bool {
    island.alive && island.paused_until <= now
}

/// The islands that can talk with `from`, itself included.
fn component(world: &World, from: usize) -> Vec<usize> {
    let mut seen = vec![from];
    let mut next = 0;
    while let Some(&at) = seen.get(next) {
        next += 1;
        for &(a, b) in &world.plan.machine.links {
            for (a, b) in [(a as usize, b as usize), (b as usize, a as usize)] {
                if a == at && world.islands[b].alive && !seen.contains(&b) {
                    seen.push(b);
                }
            }
        }
    }
    seen.sort_unstable();
    seen
}

/// Every core that lives has the same, true picture of the islands it can reach.
///
/// # Errors
/// Who has another.
pub fn agreement(world: &World) -> Result<(), String> {
    for (at, island) in world.islands.iter().enumerate().filter(|(_, i)| i.alive) {
        let reachable = component(world, at);
        for node in &island.nodes {
            let picture = node.monitor.islands();
            for (id, other) in world.islands.iter().enumerate() {
                let known = picture.get(IslandId(id as u16));
                let (is_up, seen) = (reachable.contains(&id), known.map(|i| (i.state, i.epoch)));
                let truth = other.nodes.first().map(|n| (IslandState::Up, n.monitor.epoch()));
                let right = if is_up { seen == truth } else { seen.map(|s| s.0) != Some(IslandState::Up) };
                if !right {
                    return Err(format!("to {} island {id} is {seen:?}; it is {truth:?}", node.core));
                }
                for core in other.nodes.iter().map(|n| n.core).filter(|_| is_up) {
                    let state = picture.core(core).map(|c| c.state);
                    if state != Some(CoreState::Up) {
                        return Err(format!("to {} core {core} is {state:?}; it is up", node.core));
                    }
                }
            }
        }
        let leads = reachable.first() == Some(&at);
        if island.shell != leads {
            let offers = if island.shell { "offers" } else { "does not offer" };
            return Err(format!(
                "island {at} {offers} the shell; those that live together are {reachable:?}, and it knows {:?}",
                island.nodes[0].monitor.islands().iter().map(|(id, i)| (id.0, i.state)).collect::<Vec<_>>()
            ));
        }
        if leads && world.plan.kinds == Kinds::NONE && world.plan.faults.is_empty() {
            let islands = reachable.iter().map(|&i| world.islands[i].nodes.len() as u32);
            let truth = (islands.clone().sum(), islands.count() as u32);
            if island.system != Some(truth) {
                return Err(format!(
                    "island {at} announced {:?} cores and islands; there are {truth:?}",
                    island.system
                ));
            }
        }
    }
    Ok(())
}

/// No request to a process server is kept open by anybody, and no process waits for a listener that is gone. All that was
/// sent to a proxy has arrived, and each connection has two ends.
///
/// # Errors
/// Where one is.
pub fn at_rest(world: &World) -> Result<(), String> {
    for node in world.islands.iter().filter(|i| i.alive).flat_map(|i| &i.nodes) {
        let (open, running) = (node.monitor.open_requests(), node.server.1.running());
        if open != (0, 0) || running > 0 {
            return Err(format!("{} keeps {open:?} requests open; {running} processes run", node.core));
        }
    }
    let nodes = || world.islands.iter().filter(|i| i.alive).flat_map(|i| &i.nodes);
    for node in nodes() {
        for (proxy, sender) in &node.ends.senders {
            let owner = nodes().find(|n| n.core == sender.core);
            let heard = owner.and_then(|n| n.ends.heard.get(&sender.id)).copied().unwrap_or(0);
            if owner.is_none() || heard != sender.sent {
                return Err(format!("{} proxy {proxy}: {sender:?}, of which {heard} arrived", node.core));
            }
        }
    }
    for first in nodes().filter(|n| n.monitor.is_first()) {
        let island = first.core.island();
        let up = first.monitor.islands().get(island).map_or(0, |own| own.cores_up());
        if up > 2 && !first.monitor.has_tree() {
            return Err(format!("{} tells each of {up} cores itself", first.core));
        }
    }
    let ends = nodes().map(|n| n.monitor.endpoints_open()).fold((0, 0), |a, b| (a.0 + b.0, a.1 + b.1));
    if ends.0 != ends.1 {
        return Err(format!("{} proxies, but {} ends of proxies", ends.0, ends.1));
    }
    replicas(world)
}

/// What an island has learnt is known to all that can reach it, and to no other.
fn replicas(world: &World) -> Result<(), String> {
    let service = |at: usize| Some(&world.islands[at].nodes.first()?.skb.as_ref()?.1);
    let learnt = |by: usize, of: usize| {
        let records = service(by).into_iter().flat_map(|service| service.knowledge().store().iter());
        records.filter(move |r| usize::from(r.origin.island.0) == of && !matches!(r.fact, Fact::Here(_)))
    };
    for at in (0..world.islands.len()).filter(|&at| world.islands[at].alive) {
        let reachable = component(world, at);
        for other in (0..world.islands.len()).filter(|&other| other != at) {
            let right = match reachable.contains(&other) {
                true => learnt(at, other).eq(learnt(other, other)),
                false => learnt(at, other).next().is_none(),
            };
            if !right {
                let known = (learnt(at, other).count(), learnt(other, other).count());
                return Err(format!("island {at} knows {} facts of island {other}'s {}", known.0, known.1));
            }
        }
    }
    Ok(())
}

/// Pings at the end of a run, at most.
const LAST_PINGS: usize = 256;

/// Pings that nothing stands in the way of, once all has calmed down: from the first core of each island that lives to
/// all it can reach, and back; in a large system, some of them.
pub fn last_pings(world: &mut World) -> Vec<(usize, CoreId, CoreId)> {
    let mut pings = Vec::new();
    for at in (0..world.islands.len()).filter(|&i| world.islands[i].alive) {
        let from = world.islands[at].nodes[0].core;
        for to in component(world, at).iter().flat_map(|&i| &world.islands[i].nodes).map(|n| n.core) {
            pings.extend([(at, from, to), (at, to, from)]);
        }
    }
    while pings.len() > LAST_PINGS {
        pings.swap_remove(world.rng.below(pings.len() as u64) as usize);
    }
    pings
}
