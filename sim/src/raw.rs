//! What it costs to tell all cores of an island something and to hear from each of them that it was heard: the raw
//! mechanisms of the paper's figure 6, without monitors. Closed forms over the same costs that messages have.
//!
//! A core that misses a line asks the package in whose memory it lies: if that is neither its own nor the one that has it, the
//! question takes a way of its own. What that costs is asserted: what the way is longer than one within a package.
//!
//! Writing one line that all others poll moves it once for each of them, one after another, for it is in one cache. Lines of their
//! own are independent: a core has several transfers under way, so each costs it but a part.

use crate::topology::Topology;

/// How all cores are told.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Pattern {
    /// Through one line that all poll.
    Broadcast,
    /// Each through a channel.
    Unicast,
    /// The first core of each package through a channel, the others by it; all buffers lie in the sender's memory.
    Multicast,
    /// The same with each package's buffers in its own memory, and the farthest package told first.
    NumaMulticast,
}

impl Pattern {
    /// All, with their names in figures.
    pub const ALL: [(&str, Self); 4] = [
        ("broadcast", Self::Broadcast),
        ("unicast", Self::Unicast),
        ("multicast", Self::Multicast),
        ("numa_multicast", Self::NumaMulticast),
    ];
}

/// One island of a machine.
struct Costs<'a> {
    machine: &'a Topology,
    island: usize,
    /// Buffers lie with core 0.
    far: bool,
}

impl Costs<'_> {
    fn line(&self, a: u16, b: u16) -> u64 {
        let line = |a, b| self.machine.path(self.island, a, b).line;
        let home = if self.far && a != 0 && b != 0 { line(b, 0).saturating_sub(line(0, 0)) } else { 0 };
        line(a, b) + home
    }

    /// A core sends to others, one after another, from `start` on: when each has it, and when the core is done.
    fn tell(&self, from: u16, to: &[u16], start: u64) -> (Vec<u64>, u64) {
        let cost = self.machine.cost;
        let mut at = start;
        let seen = to.iter().map(|&core| {
            let line = self.line(from, core);
            let here = at + cost.send + 2 * line + cost.receive;
            at += cost.send + line / cost.parallel;
            here
        });
        (seen.collect(), at)
    }

    /// A core that is free from `free` on hears from others, each of which knows at some time: when it has heard from all.
    fn hear(&self, at: u16, from: &[u16], known: &[u64], free: u64) -> u64 {
        let cost = self.machine.cost;
        let mut here: Vec<(u64, u64)> = from
            .iter()
            .zip(known)
            .map(|(&core, known)| {
                let line = self.line(core, at);
                (known + cost.send + line, line)
            })
            .collect();
        here.sort_unstable();
        let first = here.first().map_or(0, |(_, line)| *line);
        let busy = |free: u64, (seen, line): &(u64, u64)| {
            // Of several that wait, the transfers overlap.
            let fetch = if *seen > free { *line } else { line / cost.parallel };
            free.max(*seen) + fetch + cost.receive
        };
        here.iter().fold(free + first / cost.parallel, busy)
    }
}

/// Cycles from core 0's decision to tell the first `cores` cores of an island until it has heard from all of them.
pub fn cycles(machine: &Topology, island: usize, cores: u16, pattern: Pattern) -> u64 {
    let costs = Costs { machine, island, far: pattern == Pattern::Multicast };
    let others: Vec<u16> = (1..cores).collect();
    if others.is_empty() {
        return 0;
    }
    let cost = machine.cost;
    match pattern {
        Pattern::Broadcast => {
            let farthest = others.iter().map(|&core| costs.line(0, core)).max().unwrap_or(0);
            let mut at = cost.send + farthest;
            let seen: Vec<u64> = others
                .iter()
                .map(|&core| {
                    at += costs.line(0, core);
                    at + cost.receive
                })
                .collect();
            costs.hear(0, &others, &seen, cost.send + farthest)
        }
        Pattern::Unicast => {
            let (seen, free) = costs.tell(0, &others, 0);
            costs.hear(0, &others, &seen, free)
        }
        Pattern::Multicast | Pattern::NumaMulticast => {
            let package = machine.islands[island].package;
            let mut heads: Vec<u16> = (package..cores).step_by(package.into()).collect();
            if pattern == Pattern::NumaMulticast {
                heads.sort_by_key(|&head| std::cmp::Reverse(costs.line(0, head)));
            }
            // The sender is the head of its own package, whose cores come last.
            let own: Vec<u16> = (1..package.min(cores)).collect();
            let (seen, free) = costs.tell(0, &heads, 0);
            let (seen_own, free) = costs.tell(0, &own, free);
            let done = heads.iter().zip(seen).map(|(&head, seen)| {
                let members: Vec<u16> = (head + 1..(head + package).min(cores)).collect();
                let (told, free) = costs.tell(head, &members, seen);
                costs.hear(head, &members, &told, free)
            });
            let known: Vec<u64> = done.chain(seen_own).collect();
            costs.hear(0, &[heads.as_slice(), own.as_slice()].concat(), &known, free)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_order_of_the_paper_s_figure_6() {
        let machine = Topology::named("amd-8x4").unwrap();
        let at = |cores, pattern| cycles(&machine, 0, cores, pattern);
        let all = [Pattern::Broadcast, Pattern::Unicast, Pattern::Multicast];
        for cores in [16, 20, 24, 28, 32] {
            let [broadcast, unicast, tree, numa] = Pattern::ALL.map(|(_, pattern)| at(cores, pattern));
            assert!(broadcast > unicast && unicast > tree, "{cores}: {broadcast} {unicast} {tree}");
            assert!(tree > numa, "{cores}: {tree} {numa}");
        }
        // Linear for one line and for single channels; a tree grows by a package, not by a core.
        let [broadcast, unicast, tree] = all.map(|pattern| at(32, pattern) * 100 / at(16, pattern));
        assert!(broadcast > 180 && unicast > 180 && tree < 130, "{broadcast} {unicast} {tree}");
    }

    #[test]
    fn one_message_and_its_answer_are_two_latencies() {
        let machine = Topology::named("amd-4x4").unwrap();
        let path = machine.path(0, 0, 1);
        let both = 2 * machine.latency(path);
        let raw = cycles(&machine, 0, 2, Pattern::Unicast);
        assert!(raw.abs_diff(both) <= path.line / machine.cost.parallel, "{raw} {both}");
        assert_eq!(cycles(&machine, 0, 1, Pattern::Broadcast), 0);
    }
}
