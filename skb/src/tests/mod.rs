//! Tests of this crate, one file for each module.

mod cmdline;
mod machines;
mod query;
mod rules;
mod store;
mod wire;
