//! # `skerry-monitor`: the monitor of a core, as a pure library
//!
//! The monitors are the distinguished user-mode processes, one a core, between which all agreement across cores happens
//! (paper §3.3, §4.4). This crate is what they do, without how: events go in, actions come out; it has no clock, no
//! channel and no hardware of its own (rule `sans-io`). So the same code runs in ring 3, in EL0, in unit tests and in
//! `sim/`, and no `cfg` knows which.
//!
//! | module | what it holds |
//! | --- | --- |
//! | [`config`] | what a monitor is told when it is made, and the limits it keeps |
//! | [`event`] | [`Event`] in, [`Action`] out, [`Sink`]: where output goes |
//! | [`monitor`] | [`Monitor`]: takes messages in, routes them, keeps what finds no room |
//! | [`ops`] | one operation a file: membership, binding, starting cores, ping, stream, log, … |
//! | [`table`] | the replica of what islands and cores there are; merging, routes |
//! | [`histogram`] | durations, in bounded memory |
//!
//! Every island has a *first* monitor, on local core 0: it starts the other cores, holds the island's links, and hands
//! on what monitors of other islands say. The others know it by channel 0 and everything else through it; channels
//! between them are made when first used.
//!
//! A binary drives it so: make it with [`Monitor::new`]; handle [`Event::Start`]; then for ever: each message of each
//! transport into [`Monitor::message`], all else into [`Monitor::handle`], then [`Monitor::flush`]; block until
//! something comes or [`Monitor::deadline`].
//!
//! Neighbours: `urpc` defines the messages, `arch/hal` the names; `apps/monitor` and `sim` drive it.
#![cfg_attr(not(test), no_std)]
#![forbid(unsafe_code)]

extern crate alloc;

mod chans;
pub mod config;
pub mod event;
pub mod histogram;
pub mod monitor;
pub mod ops;
pub mod table;
#[cfg(test)]
mod testkit;

pub use config::{Config, LocalCore};
pub use event::{Action, Announce, Chan, Event, Frames, Sink};
pub use monitor::{Counters, Monitor};
