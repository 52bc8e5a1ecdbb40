//! The shipped CPU driver over the simulated machine.

mod agreement;
mod devices;
mod domains;
mod fuzz;
mod hostile;
mod lrpc;
mod memory;
mod reclaim;
mod rig;
mod sched;
