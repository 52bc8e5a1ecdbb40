//! What must hold of what cores share: nothing survives its revocation, nothing vanishes that nobody took, no translation
//! outlives the answer that it is gone, and every request is answered.

use crate::node::Node;
use crate::rng::Rng;
use crate::share::{ANSWER, Asked, Held, Wish};
use crate::world::World;
use skerry_hal::CoreId;
use skerry_monitor::ops::agree::asker::What;
use skerry_urpc::formats::Refusal;

/// Acts of domains that one request of the load stands for, at most.
const ACTS: u64 = 6;
/// Told apart from what else the same number decides.
const SALT: u64 = 0x5348_4152;

/// Domains of a core do what a number stands for.
///
/// # Errors
/// What does not hold.
pub(crate) fn act(world: &mut World, island: usize, node: usize, what: u64) -> Result<(), String> {
    let rng = &mut Rng::new(what ^ SALT);
    let now = world.now;
    let me = world.islands[island].nodes[node].core;
    for _ in 0..rng.below(ACTS) {
        // Mostly with the own island; of others with the first core or any.
        let abroad = rng.one_in(3);
        let others: Vec<(CoreId, u32)> = world
            .islands
            .iter()
            .flat_map(|i| i.nodes.iter().map(|n| (n.core, i.lives)))
            .filter(|(core, _)| *core != me && (core.island() != me.island()) == abroad)
            .collect();
        let due = now + ANSWER * world.plan.bound;
        let host = &mut world.islands[island];
        let running = &mut host.nodes[node];
        let wish = running.share.act(&mut running.kernel, &mut host.space, rng, &others, due);
        let begun = std::mem::take(&mut running.share.revoked);
        ask(world, island, node, &wish);
        world.revoked.extend(begun);
        settled(world, island, node)?;
    }
    world.deliver(island, node);
    Ok(())
}

/// The monitor of a core is asked.
pub(crate) fn ask(world: &mut World, island: usize, node: usize, wish: &Wish) {
    let now = world.now;
    let host = &mut world.islands[island];
    let all: Vec<CoreId> = host.nodes.iter().map(|n| n.core).collect();
    let Node { monitor, ports, share, kernel, regions, .. } = &mut host.nodes[node];
    let bug = ports.bug();
    (ports.clock, ports.spent) = (now, 0);
    match wish {
        Wish::None => {}
        Wish::Owner(token, request) => share.lend(kernel, bug, |objects| {
            monitor.ask_owners(now, &[(*token, *request)], objects, ports);
        }),
        Wish::Forget(token, span) => share.lend(kernel, bug, |objects| {
            monitor.invalidate(now, *token, 1, *span, &all, objects, ports);
        }),
    }
    regions.1 += 1;
}

/// Looks at what has ended on a core.
///
/// # Errors
/// What does not hold of it.
pub(crate) fn settled(world: &mut World, island: usize, node: usize) -> Result<(), String> {
    let running = &mut world.islands[island].nodes[node];
    let ended: Vec<_> =
        running.settled.drain(..).chain(std::iter::from_fn(|| running.monitor.next_settled())).collect();
    for (token, result) in ended {
        let running = &mut world.islands[island].nodes[node];
        let asked = running.share.settled(token, result)?;
        let core = running.core;
        world.trace(|| format!("{core}: request {token} {asked:?} ends: {result:?}"));
        if result.is_ok() {
            done(world, island, node, &asked, token)?;
        } else if let Err(refusal @ (Refusal::Damaged | Refusal::BadKind | Refusal::Other)) = result {
            return Err(format!("{core}: {asked:?} ended with: {refusal}"));
        }
    }
    Ok(())
}

/// What was said to be done is done.
fn done(world: &mut World, island: usize, node: usize, asked: &Asked, token: u32) -> Result<(), String> {
    let (core, cap) = (world.islands[island].nodes[node].core, asked.cap);
    // A core was silent for too long, and its island goes down with it: what it says in that turn nobody hears.
    if world.islands[island].die {
        return Ok(());
    }
    match asked.what {
        None => {
            let page = cap.region.base / skerry_abi::PAGE_SIZE;
            let kept = world.islands[island].nodes.iter().find(|n| n.share.tlb.contains(&page));
            kept.map_or(Ok(()), |n| {
                Err(format!("{} keeps a translation of page {page}, which is gone", n.core))
            })
        }
        Some(What::Transfer { to, whom, .. }) => {
            let host = &world.islands[to.island().0 as usize];
            let there = host.nodes.iter().find(|n| n.core == to && host.lives == asked.life);
            let lost = there.is_some_and(|n| !n.share.arrived.contains(&whom));
            if lost { Err(format!("{to} has not got {cap:?} of {core}, request {token}")) } else { Ok(()) }
        }
        Some(What::Revoke { copies: true }) if !asked.crowded => {
            for at in 0..world.islands.len() {
                // RAM of another island is not this one's, though it has the same address.
                if at != cap.owner.island().0 as usize && cap.region.ty == skerry_abi::CapType::Ram {
                    continue;
                }
                let trusted = accepted(world, at, cap.owner);
                for other in world.islands[at].nodes.iter_mut().filter(|n| n.core != core) {
                    let left = other.share.left_of(&mut other.kernel, cap.owner, &cap.region);
                    if let Some(left) = left.filter(|_| trusted) {
                        return Err(format!(
                            "{} still has {left:?}, of which {core} revoked {cap:?}",
                            other.core
                        ));
                    }
                }
            }
            Ok(())
        }
        Some(_) => Ok(()),
    }
}

/// Whether an island can be expected to have heard from the owner of an object: neither has been given up.
fn accepted(world: &World, island: usize, owner: CoreId) -> bool {
    let theirs = &world.islands[owner.island().0 as usize];
    let ours = &world.islands[island];
    island == owner.island().0 as usize
        || ours.alive
            && theirs.alive
            && theirs.nodes.first().zip(ours.nodes.first()).is_some_and(|(t, o)| {
                let known = |a: &Node, b: &Node| {
                    a.monitor.islands().get(b.core.island()).is_some_and(|i| {
                        i.epoch == b.monitor.epoch()
                            && i.state == skerry_urpc::formats::shell::IslandState::Up
                    })
                };
                known(t, o) && known(o, t)
            })
}

/// What must hold now and then.
///
/// # Errors
/// What does not.
pub(crate) fn look(world: &mut World) -> Result<(), String> {
    let now = world.now;
    for at in 0..world.islands.len() {
        for node in &mut world.islands[at].nodes {
            if let Some(late) = node.share.late(now) {
                return Err(late);
            }
            let sizes = node.monitor.agreement_sizes();
            if let Some((what, n, most)) = sizes.into_iter().find(|(_, n, most)| n > most) {
                return Err(format!("{} keeps {n} {what}; {most} are the most", node.core));
            }
            for Held { region, owner, .. } in node.share.sweep(&mut node.kernel) {
                let taken = |(by, what): &(CoreId, skerry_monitor::ops::agree::Region)| {
                    by.island() == owner.island() && (*what == region || what.could_make(&region))
                };
                // It was lost with its owner's island, or that took this one for lost.
                let theirs = node.monitor.islands().get(owner.island());
                let again = node.monitor.epoch().0 > 1 || theirs.is_some_and(|i| i.refused.0 > 0);
                let lost = owner.island() != node.core.island() && again;
                if !lost && !world.revoked.iter().any(taken) {
                    return Err(format!("{} had {region:x?} of {owner}, which nobody took", node.core));
                }
            }
        }
    }
    Ok(())
}

/// What must hold when all has come to rest.
///
/// # Errors
/// What does not.
pub(crate) fn at_end(world: &mut World) -> Result<(), String> {
    for node in world.islands.iter_mut().flat_map(|i| &mut i.nodes) {
        if !node.monitor.is_agreed() {
            return Err(format!("{} waits for ever to agree", node.core));
        }
        // Where an operation is left open, so is its lock.
        if !node.monitor.agreement_sizes()[..2].iter().all(|(_, n, _)| *n == 0) {
            continue;
        }
        if let Some(held) = node.share.locked(&mut node.kernel) {
            return Err(format!("{}: {held:?} is locked for ever", node.core));
        }
    }
    Ok(())
}
