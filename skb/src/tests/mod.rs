//! Tests of this crate, one file for each module.

mod cmdline;
mod query;
mod store;
mod wire;
