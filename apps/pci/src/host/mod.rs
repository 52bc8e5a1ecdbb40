//! What the binary has to do with the machine: configuration space, message lines, drivers.

pub mod drivers;
pub mod ecam;
pub mod messages;
mod meter;
pub mod service;
pub mod translation;
