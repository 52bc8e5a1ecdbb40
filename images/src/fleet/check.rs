//! Refusing fleets that could not boot, before anything is started.

use super::{Fleet, FleetError, Island, Link, Size, bad};
use skerry_urpc::window::Window;

/// The least memory an island starts with.
pub const MIN_MEMORY: Size = Size(64 << 20);
/// The least window that has room for the channels: the monitors' and one for domains.
pub const MIN_WINDOW: Size = Size(Window::min_bytes(1) as u64);
/// The largest window: what QEMU's 32-bit PCI hole surely has room for, several of them.
pub const MAX_WINDOW: Size = Size(256 << 20);
/// Device numbers that the runner gives to windows: 0x10 to 0x1f.
pub const MAX_LINKS: usize = 16;
/// Most islands: each needs a link to every other.
pub const MAX_ISLANDS: usize = MAX_LINKS + 1;

/// Answers the first thing that is wrong.
pub fn check(fleet: &Fleet) -> Result<(), FleetError> {
    match fleet.islands.len() {
        0 => return bad("no islands; write at least one [[island]] with board and cores".into()),
        n if n > MAX_ISLANDS => return bad(format!("{n} islands; at most {MAX_ISLANDS} can be linked")),
        _ => {}
    }
    if fleet.bound_ms == 0 {
        return bad("bound_ms = 0 would give every island up at once; 2000 is the default".into());
    }
    for (index, island) in fleet.islands.iter().enumerate() {
        check_island(index, island)?;
        if fleet.islands[..index].iter().any(|other| other.name == island.name) {
            return bad(format!("island {index}: the name \"{}\" is taken; give it another", island.name));
        }
    }
    for (index, link) in fleet.links.iter().enumerate() {
        check_link(fleet, link)?;
        if fleet.links[..index].iter().any(|other| other.between == link.between) {
            let (a, b) = link.between;
            return bad(format!("link {a}-{b} is named twice; a pair of islands has one window, remove one"));
        }
    }
    check_reachable(fleet)?;
    match (0..fleet.islands.len()).find(|&index| fleet.links_of(index).count() > MAX_LINKS) {
        Some(index) => bad(format!("island {index} has more than {MAX_LINKS} links; remove some")),
        None => Ok(()),
    }
}

fn check_island(index: usize, island: &Island) -> Result<(), FleetError> {
    let Island { name, board, cores, nodes, memory } = island;
    if name.is_empty() || name.contains(|c: char| !c.is_ascii_alphanumeric() && !"-_.".contains(c)) {
        return bad(format!("island {index}: name \"{name}\"; use letters, digits, - _ and ."));
    }
    if *cores == 0 {
        return bad(format!("island {index}: zero cores; give it at least 1, or remove it"));
    }
    if *cores > board.max_cores() {
        let hint = if board.max_cores() == 8 { "; gic = 3 allows more" } else { "" };
        let (most, board) = (board.max_cores(), board.name());
        return bad(format!("island {index}: {cores} cores; this {board} can have at most {most}{hint}"));
    }
    if *nodes == 0 || nodes > cores {
        return bad(format!(
            "island {index}: {nodes} nodes for {cores} cores; every node needs a core, and at least one node"
        ));
    }
    if *nodes > 16 {
        return bad(format!("island {index}: {nodes} nodes; at most 16"));
    }
    if *memory < MIN_MEMORY {
        return bad(format!("island {index}: {memory} of memory; it needs at least {MIN_MEMORY}"));
    }
    if memory.0 / u64::from(*nodes) < 32 << 20 {
        return bad(format!("island {index}: {memory} for {nodes} nodes; every node needs at least 32M"));
    }
    if !memory.0.is_multiple_of(u64::from(*nodes) << 20) {
        return bad(format!("island {index}: {memory} of memory is not whole MiB for each of {nodes} nodes"));
    }
    Ok(())
}

fn check_link(fleet: &Fleet, link: &Link) -> Result<(), FleetError> {
    let ((a, b), size) = (link.between, link.size);
    if a == b {
        return bad(format!("a link from island {a} to itself; name two islands"));
    }
    if b >= fleet.islands.len() {
        let last = fleet.islands.len() - 1;
        return bad(format!("link {a}-{b}: there is no island {b}; the last one is {last}"));
    }
    if size < MIN_WINDOW {
        return bad(format!(
            "link {a}-{b}: a window of {size} has no room for the channels; at least {MIN_WINDOW}"
        ));
    }
    if size > MAX_WINDOW {
        return bad(format!("link {a}-{b}: a window of {size}; at most {MAX_WINDOW}"));
    }
    if !size.0.is_power_of_two() {
        return bad(format!("link {a}-{b}: a window of {size}; a PCI BAR is a power of two, like 16M"));
    }
    Ok(())
}

/// Islands without a way to each other would never be one system.
fn check_reachable(fleet: &Fleet) -> Result<(), FleetError> {
    let mut reached = vec![false; fleet.islands.len()];
    let mut open = vec![0];
    while let Some(index) = open.pop() {
        if !std::mem::replace(&mut reached[index], true) {
            open.extend(fleet.links_of(index).map(|(peer, _)| peer));
        }
    }
    match reached.iter().position(|&reached| !reached) {
        Some(index) => bad(format!(
            "no links lead from island 0 to island {index}; write [[link]] with between = [0, {index}], or links = \"all\""
        )),
        None => Ok(()),
    }
}
