//! # `skerry-app-skb`, the library: who asks, and what is told
//!
//! Pure, so that it is tested on the host: [`Service`] collects the pieces of a text, has a
//! [`Knowledge`](skerry_skb::rules::Knowledge) answer it, and hands the lines out as far as those who asked have
//! granted credit; [`table`] makes lines of an answer; [`replica`] has what other islands know. The binary beside it is the domain: one on each island, on its first
//! core, with the facts that `init` and the PCI domain found (paper §4.9).
#![cfg_attr(not(test), no_std)]
#![forbid(unsafe_code)]

extern crate alloc;

pub mod replica;
pub mod service;
pub mod table;

pub use service::Service;
