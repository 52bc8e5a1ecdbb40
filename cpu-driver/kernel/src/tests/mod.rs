//! The shipped CPU driver over the simulated machine.

mod domains;
mod fuzz;
mod memory;
mod rig;
