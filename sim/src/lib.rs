//! # `skerry-sim`: the whole system under one seed
//!
//! Several islands in one process: the monitors, rings, windows and capability tables that ship (rule `sim-is-real`),
//! with virtual time and a scheduler that asks a seeded generator for everything that is chance in the world: which core
//! runs next and for how long, how late a message is seen, which core fails to start, when an island dies, is
//! stopped, or comes back. One seed gives one run, always the same one; a seed that fails is a bug report.
//!
//! | module | what it holds |
//! | --- | --- |
//! | [`rng`] | the generator |
//! | [`plan`] | [`Plan`]: what is simulated; [`Mutant`], deliberate bugs that a run must find |
//! | [`memory`] | an island's memory for channels: blocks, each a capability in the island's table |
//! | [`node`] | one core: its monitor, its channels and windows; [`node::Ports`] is the monitor's sink |
//! | [`server`] | a process server |
//! | [`ends`] | endpoints that are offered, and proxies for them |
//! | [`world`] | all cores, the scheduler, virtual time |
//! | [`faults`] | what goes wrong, and when |
//! | [`load`] | requests of domains, and whether each is answered once and in time |
//! | [`check`] | what must hold at every step, and once all has calmed down |
//!
//! [`run`] plays one plan. The program does so for many seeds: `cargo run -p skerry-sim -- --seed S --seeds COUNT`.
//!
//! Neighbours: below it all that ships and is pure; nothing above.
#![forbid(unsafe_code)]

pub mod check;
pub mod ends;
pub mod faults;
pub mod load;
pub mod memory;
pub mod node;
pub mod plan;
pub mod rng;
pub mod server;
#[cfg(test)]
mod tests;
pub mod world;

pub use plan::{Mutant, Plan};
pub use world::{Failure, Summary, World};

/// Plays one plan to its end.
///
/// # Errors
/// The first thing that did not hold, with the time at which it was seen.
pub fn run(plan: &Plan) -> Result<Summary, Failure> {
    World::new(plan).run()
}
