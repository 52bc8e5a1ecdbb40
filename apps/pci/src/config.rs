//! Configuration space.

use alloc::vec::Vec;
use skerry_skb::{PciAddress, PciHost};

/// How wide an access is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum Width {
    /// 8 bits.
    Byte = 1,
    /// 16 bits.
    Half = 2,
    /// 32 bits.
    Word = 4,
}

/// How the caller lets this library at configuration space: in the domain, by loads and stores to the mapped ECAM
/// (see [`ecam_offset`]); in a test, by a made-up machine. Offsets are below 256 and aligned to the width. Where no
/// function answers, a read gives all ones and a write does nothing.
pub trait ConfigSpace {
    /// Reads a register.
    fn read(&mut self, at: PciAddress, offset: u16, width: Width) -> u32;
    /// Writes a register.
    fn write(&mut self, at: PciAddress, offset: u16, width: Width, value: u32);
}

/// Where a function's register lies in the host's ECAM, counted from its start; `None` for another segment or bus.
pub fn ecam_offset(host: &PciHost, at: PciAddress, offset: u16) -> Option<u64> {
    let bus = at.bus.checked_sub(host.first_bus).filter(|_| at.bus <= host.last_bus)?;
    let function = u64::from(bus) << 20 | u64::from(at.device) << 15 | u64::from(at.function) << 12;
    let fits = at.segment == host.segment && at.device < 32 && at.function < 8 && offset < 4096;
    fits.then_some(function | u64::from(offset))
}

pub(crate) mod register {
    //! Offsets.
    pub const VENDOR: u16 = 0x00;
    pub const COMMAND: u16 = 0x04;
    pub const STATUS: u16 = 0x06;
    pub const CLASS: u16 = 0x08;
    pub const HEADER_TYPE: u16 = 0x0e;
    pub const BAR0: u16 = 0x10;
    pub const PRIMARY_BUS: u16 = 0x18;
    pub const SECONDARY_BUS: u16 = 0x19;
    pub const SUBORDINATE_BUS: u16 = 0x1a;
    pub const MEMORY_BASE: u16 = 0x20;
    pub const PREFETCHABLE_BASE: u16 = 0x24;
    pub const PREFETCHABLE_BASE_HIGH: u16 = 0x28;
    pub const PREFETCHABLE_LIMIT_HIGH: u16 = 0x2c;
    pub const CAPABILITIES: u16 = 0x34;
    pub const LINE: u16 = 0x3c;
    pub const PIN: u16 = 0x3d;
}

pub(crate) mod command {
    //! Bits of the command register.
    pub const IO: u32 = 1;
    pub const MEMORY: u32 = 2;
    pub const MASTER: u32 = 4;
    pub const NO_PIN: u32 = 1 << 10;
}

/// Status register: there is a list of capabilities.
const HAS_CAPABILITIES: u32 = 1 << 4;
/// A list cannot be longer: 48 fit between the header and byte 256.
const MAX_CAPABILITIES: usize = 48;

/// A function's capabilities, as identifiers and offsets. A list that comes back to itself, or leaves its room, ends
/// there.
pub fn capabilities(config: &mut dyn ConfigSpace, at: PciAddress) -> Vec<(u8, u8)> {
    let mut found: Vec<(u8, u8)> = Vec::new();
    if config.read(at, register::STATUS, Width::Half) & HAS_CAPABILITIES == 0 {
        return found;
    }
    let mut next = config.read(at, register::CAPABILITIES, Width::Byte) as u8 & !3;
    while next >= 0x40 && found.len() < MAX_CAPABILITIES && found.iter().all(|(_, seen)| *seen != next) {
        let word = config.read(at, next.into(), Width::Half);
        found.push((word as u8, next));
        next = (word >> 8) as u8 & !3;
    }
    found
}
