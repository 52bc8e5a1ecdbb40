//! The shipped CPU driver over the simulated machine.

mod domains;
mod fuzz;
mod hostile;
mod memory;
mod rig;
