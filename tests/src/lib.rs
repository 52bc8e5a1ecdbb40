//! # `skerry-tests`: whole systems, booted and looked at
//!
//! `cargo xtask test` builds the images and tells the tests where they are (`SKERRY_IMAGES`). Each test boots a fleet
//! through `images::runner`, drives its shell, and checks; a hang is a failure that shows the consoles. No test asserts
//! how long something took: the times here only say when a hang is a hang.
//!
//! [`tables`] holds what the shell's answers must look like, [`cli`] drives `cargo xtask` itself.
//!
//! Neighbours: `images` below; nothing above.
#![forbid(unsafe_code)]

pub mod cli;
pub mod tables;

use skerry_images::fleet::Fleet;
use skerry_images::runner::{Options, System};
use std::time::Duration;

/// After this long, on the slowest machine, what was waited for will not come.
pub const HANG: Duration = Duration::from_secs(90);

/// How to run a fleet of the images that were built, or `None`, said aloud, where there are none.
pub fn options() -> Option<Options> {
    let images = std::env::var_os("SKERRY_IMAGES");
    if images.is_none() {
        eprintln!("no SKERRY_IMAGES: nothing is booted; `cargo xtask test` sets it");
    }
    images.map(Options::new)
}

/// Boots a PC and an ARM machine of so many cores each, 0 for none, and waits until they are one system; `None` where there
/// are no images.
pub fn boot_pair(x86: u32, arm: u32) -> Option<System> {
    let fleet = Fleet::pair(x86, arm).expect("a good fleet");
    let system = boot(&fleet)?;
    tables::check_up(&system, &fleet);
    Some(system)
}

/// Boots a fleet, or answers `None` where there are no images.
pub fn boot(fleet: &Fleet) -> Option<System> {
    Some(System::boot(fleet, &options()?).expect("QEMU starts"))
}
