//! # `skerry-bundle`: reading the image set
//!
//! A bundle is an ordinary `ustar` archive (POSIX.1-1988; `tar tvf` lists it) that holds the CPU drivers and domains
//! of every ISA, so that one file boots every island of a fleet. Its first member, `manifest`, is text:
//!
//! ```text
//! skerry-bundle 1
//! 1c291ca3 81920 x86_64 domain init
//! ```
//!
//! that is: format name and version, then a line for each member: CRC-32 in hexadecimal, bytes, ISA, [`Kind`], name.
//! The member itself is called `isa/name`.
//!
//! | who | uses |
//! | --- | --- |
//! | boot glue of a board, which has no room | [`find_member`]: no check but that everything lies inside the bundle |
//! | `init`, and every other domain that unpacks | [`Bundle::open`], which checks all of it once, then [`Bundle::find`] |
//! | `skerry-images`, on the host | writes bundles, with the names that are defined here |
//!
//! Neighbours: nothing below; `images`, `boards` and `apps` above.
#![cfg_attr(not(test), no_std)]
#![forbid(unsafe_code)]

mod archive;
mod bundle;
mod error;

pub use archive::find_member;
pub use bundle::{Bundle, Kind, Member};
pub use error::BundleError;

/// First word of a manifest.
pub const FORMAT: &str = "skerry-bundle";
/// Version of the format that this crate reads.
pub const VERSION: u32 = 1;
/// Name of the first member.
pub const MANIFEST: &str = "manifest";

/// CRC-32 as in ISO-HDLC, zip and Ethernet.
pub fn checksum(data: &[u8]) -> u32 {
    const CRC: crc::Crc<u32> = crc::Crc::<u32>::new(&crc::CRC_32_ISO_HDLC);
    CRC.checksum(data)
}
