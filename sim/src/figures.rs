//! What agreement costs, in cycles of a simulated machine: figures 6 to 8 of the paper. `agreement.raw`: the mechanisms alone
//! ([`raw`](crate::raw)). `agreement.unmap`, `agreement.twopc`: the monitors that ship, on the 8x4-core AMD, nothing going wrong.

use crate::agreed;
use crate::faults::Kinds;
use crate::plan::{CALM, Plan};
use crate::raw::{Pattern, cycles};
use crate::share::{ROOT_BYTES, Wish};
use crate::topology::Topology;
use crate::world::World;
use skerry_abi::{CapType, PAGE_SIZE};
use skerry_monitor::ops::agree::Region;
use skerry_monitor::ops::agree::asker::What;

/// The machine of the paper's figures.
const MACHINE: &str = "amd-8x4";
/// Retypes that are under way at a time.
const DEEP: u64 = 12;
/// How much longer than in a test an answer may take.
const PATIENCE: u64 = 16;
/// How often something is done.
const ROUNDS: u64 = 9;

/// Prints all figures, one `name value unit` a line.
///
/// # Errors
/// What does not work.
pub fn print() -> Result<(), String> {
    let machine = Topology::named(MACHINE)?;
    for cores in (2..=32).step_by(2) {
        for (name, pattern) in Pattern::ALL {
            println!("agreement.raw.{name}.{cores} {} cycles", cycles(&machine, 0, cores, pattern));
        }
    }
    let large = machine.with_packages(256)?;
    for cores in [64, 128, 256, 512, 1024] {
        for (name, pattern) in Pattern::ALL {
            println!("agreement.raw.{name}.{cores} {} cycles", cycles(&large, 0, cores, pattern));
        }
    }
    for cores in [2, 4, 8, 12, 16, 20, 24, 28, 32] {
        let mut bench = Bench::new(cores)?;
        println!("agreement.unmap.{cores} {} cycles", bench.unmap()?);
        bench.share()?;
        println!("agreement.twopc.single.{cores} {} cycles", bench.retypes(1)?);
        println!("agreement.twopc.pipelined.{cores} {} cycles", bench.retypes(DEEP)?);
    }
    Ok(())
}

/// An island that is up, with nothing to do.
struct Bench(World);

impl Bench {
    fn new(cores: usize) -> Result<Self, String> {
        let machine = Topology::named(MACHINE)?.with_cores(cores)?;
        let plan = Plan::new(machine, 1, Kinds::NONE);
        // A pipeline keeps its owner busy for longer than the bound that tests have.
        let bound = PATIENCE * plan.bound;
        let plan = Plan { ops: Vec::new(), faults: Vec::new(), bound, ..plan };
        let end = (CALM + 1) * plan.bound;
        let mut world = World::new(&plan);
        while world.now < end || !world.at_rest() {
            world.step()?;
        }
        Ok(Self(world))
    }

    /// Core 0 asks, and waits for the answers: how long that takes.
    fn wait(&mut self, wishes: &[Wish]) -> Result<u64, String> {
        let world = &mut self.0;
        let start = world.now;
        wishes.iter().for_each(|wish| agreed::ask(world, 0, 0, wish));
        agreed::settled(world, 0, 0)?;
        world.deliver(0, 0);
        loop {
            let node = &world.islands[0].nodes[0];
            if node.share.asked.is_empty() {
                return Ok(node.free.max(start) - start);
            }
            world.step()?;
        }
    }

    fn due(&self) -> u64 {
        self.0.now + 100 * self.0.plan.bound
    }

    /// The median of some unmaps on all cores.
    fn unmap(&mut self) -> Result<u64, String> {
        let mut all = Vec::new();
        for _ in 0..ROUNDS {
            let due = self.due();
            let wish = self.0.islands[0].nodes[0].share.forget_page(due);
            all.push(self.wait(&[wish])?);
        }
        all.sort_unstable();
        Ok(all[all.len() / 2])
    }

    /// Every core gets a copy of core 0's RAM.
    fn share(&mut self) -> Result<(), String> {
        for place in 1..self.0.islands[0].nodes.len() {
            let to = self.0.islands[0].nodes[place].core;
            let (due, whom) = (self.due(), place as u32);
            let what = What::Transfer { to, whom, rights: 0xff };
            let wish = self.0.islands[0].nodes[0].share.begin(what, None, due);
            self.wait(&[wish])?;
        }
        Ok(())
    }

    /// So many retypes of that RAM at a time, each of a page of its own: cycles for one. What was made is taken away again.
    fn retypes(&mut self, deep: u64) -> Result<u64, String> {
        let mut all = Vec::new();
        for _ in 0..ROUNDS {
            let due = self.due();
            let node = &mut self.0.islands[0].nodes[0];
            let ram = node.share.held.iter().find(|held| held.region.ty == CapType::Ram);
            let base = ram.ok_or("core 0 has nothing to share")?.region.base;
            let before = node.share.held.len();
            let mut wishes = Vec::new();
            for first in 0..deep {
                let to = node.kernel.slot().map_err(|e| format!("no slot: {e}"))?;
                let part = Region { ty: CapType::Frame, base: base + first * PAGE_SIZE, len: PAGE_SIZE };
                let what = What::Retype { new: CapType::Frame, first: first as u32, pages: 1 };
                wishes.push(node.share.begin(what, Some((part, to)), due));
            }
            all.push(self.wait(&wishes)? / deep);
            let made = self.0.islands[0].nodes[0].share.held.len() - before;
            if made as u64 != deep {
                return Err(format!("{made} of {deep} retypes were done"));
            }
            let all = Region { ty: CapType::Ram, base, len: ROOT_BYTES };
            self.0.revoked.push((self.0.islands[0].nodes[0].core, all));
            let wish = self.0.islands[0].nodes[0].share.begin(What::Revoke { copies: false }, None, due);
            self.wait(&[wish])?;
            let node = &mut self.0.islands[0].nodes[0];
            node.share.sweep(&mut node.kernel);
        }
        all.sort_unstable();
        Ok(all[all.len() / 2])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pipeline_costs_less_than_one_after_another() {
        let mut bench = Bench::new(4).unwrap();
        assert!(bench.unmap().unwrap() > 0);
        bench.share().unwrap();
        let (single, deep) = (bench.retypes(1).unwrap(), bench.retypes(DEEP).unwrap());
        assert!(deep > 0 && deep < single, "{deep} {single}");
    }
}
