//! # `skerry-sim`: the whole system under one seed
//!
//! Islands of cores in one process: the CPU drivers, monitors, rings and windows that ship (rule `sim-is-real`), on a
//! machine that is a file, with virtual time. A seed decides everything that is chance in the world: what domains ask for,
//! how late a message is seen, which core fails to start, when an island dies, is stopped, or comes back, what a window
//! does to a message. One seed gives one run, always the same one; a seed that fails is a bug report.
//!
//! | module | what it holds |
//! | --- | --- |
//! | [`topology`] | [`Topology`], a machine: cores, wires, links, and what a message costs on them; a file each in `topologies/` |
//! | [`plan`] | [`Plan`]: what is simulated, with all that will go wrong and be asked for; as text too |
//! | [`faults`] | what can go wrong |
//! | [`mutants`] | deliberate bugs that a run must find |
//! | [`world`], [`boot`] | all cores, the scheduler, virtual time; how cores come up |
//! | [`node`], [`ports`], [`wire`] | one core: its monitor; the monitor's sink; how messages travel |
//! | [`kernel`], [`caps`] | a core's CPU driver, the one that ships, over `arch/host`; what domains do with capabilities |
//! | [`share`] | domains that share capabilities, and what monitors agree on about them |
//! | [`agreed`] | what must hold of that |
//! | [`memory`] | an island's memory for channels: blocks, each a frame of the first core |
//! | [`server`], [`knowledge`], [`ends`] | a process server; an island's knowledge base; endpoints that are offered, and proxies for them |
//! | [`load`] | requests of domains, and whether each is answered once and in time |
//! | [`check`] | what must hold at every step, and once all has calmed down |
//! | [`raw`] | what telling all cores costs, by one line, by channels, by a tree |
//! | [`figures`] | what agreement costs, in cycles: figures 6 to 8 of the paper |
//! | [`shrink`] | a failing plan made small |
//! | [`cli`], [`rng`] | the command line; the generator |
//!
//! [`run`] plays one plan; the program many seeds: `cargo xtask sim --help`.
//! Neighbours: below it all that ships and is pure; nothing above.
#![deny(unsafe_code)]

pub mod agreed;
pub mod boot;
pub mod caps;
pub mod check;
pub mod cli;
pub mod ends;
pub mod faults;
pub mod figures;
pub mod kernel;
pub mod knowledge;
pub mod load;
pub mod memory;
pub mod mutants;
pub mod node;
pub mod plan;
pub mod ports;
pub mod raw;
pub mod rng;
pub mod server;
pub mod share;
pub mod shrink;
#[cfg(test)]
mod tests;
pub mod topology;
pub mod wire;
pub mod world;

pub use faults::Kinds;
pub use plan::Plan;
pub use topology::Topology;
pub use world::{Failure, Summary, World, run};
