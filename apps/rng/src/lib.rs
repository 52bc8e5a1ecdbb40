//! # `skerry-app-rng`, the library: a queue that a virtio device fills
//!
//! Pure, so that it is tested on the host against a device that lies: [`queue`] is a split virtqueue (Virtual I/O Device
//! 1.2 §2.7) of buffers that the device writes, [`pool`] the bytes that came and have not been given away. The binary
//! beside it drives an entropy device (§5.4) by its message interrupt.
//!
//! Why not `virtio-drivers`: its entropy driver polls, its transport wants the whole configuration space to write to,
//! which a driver here has none of, and its memory comes from functions that know no domain.
#![cfg_attr(not(test), no_std)]
#![forbid(unsafe_code)]

extern crate alloc;

pub mod pool;
pub mod queue;

pub use pool::Pool;
pub use queue::{Bad, Queue, Shared};
