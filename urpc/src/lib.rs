//! # `skerry-urpc`: messages between cores
//!
//! All that two cores share is channels (paper §4.6, "user-level RPC"): a ring of 64-byte slots in memory local to
//! the receiver, written by one core and read by one other, with plain loads and stores. The receiver polls the last
//! word of the next slot, which carries the sequence number and the kind; so one cache line moves per message.
//!
//! | module | what it holds |
//! | --- | --- |
//! | [`message`] | [`Message`]: 64 bytes as they cross a channel |
//! | [`transport`] | [`Transport`]: what every channel offers, whatever carries it; its errors |
//! | [`ring`] | the ring, and all `unsafe` of this crate |
//! | [`channel`] | [`Channel`]: two rings and their credit, a [`Transport`] over shared memory |
//! | [`port`], [`runtime`] | [`Port`]: `async` send and receive; [`Runtime`], the doorbell it needs, which `user/` provides |
//! | [`greeting`], [`handshake`] | [`Channel::connect`]: version, features, identity, and which life of each end talks |
//! | [`wire`] | [`wire::Header`], [`wire::Body`]: what the words of a message mean |
//! | [`window`] | a window between two islands: layout, [`window::Link`], lost peers and rejoining |
//! | [`formats`] | every message of the system, in one place |
//!
//! A message is made with [`wire::encode`], sent with [`Transport::try_send`], found with [`Transport::try_recv`],
//! taken apart with [`Message::header`] and [`Message::body`]. All that a peer wrote is copied out, then checked: it
//! may be hostile or half dead.
//!
//! Neighbours: `monitor/` and `user/` send through it; it knows nothing of capabilities or clocks.
#![cfg_attr(not(any(test, loom)), no_std)]
#![deny(unsafe_code)]

pub mod channel;
pub mod formats;
pub mod greeting;
pub mod handshake;
#[cfg(all(test, loom))]
mod loom_tests;
pub mod message;
pub mod port;
pub mod ring;
pub mod runtime;
mod sync;
pub mod transport;
pub mod window;
pub mod wire;

pub use channel::Channel;
pub use greeting::Identity;
pub use handshake::{Agreed, Connecting, Refusal};
pub use message::Message;
pub use port::Port;
pub use ring::{Block, Layout, LayoutError};
pub use runtime::Runtime;
pub use skerry_hal::{CoreId, Epoch, IslandId};
pub use transport::{Field, RecvError, SendError, Transport};
