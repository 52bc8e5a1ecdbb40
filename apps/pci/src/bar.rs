//! Measuring: a function is told to be at all ones, and the bits that stay zero say how much it needs (§6.2.5.1).

use crate::config::{command, register};
use crate::{ConfigSpace, Function, Trouble, Width};
use alloc::vec::Vec;
use skerry_skb::{PciAddress, PciSpace};

/// A base address register.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Bar {
    /// Its number; one of 64 bits also takes the next.
    pub index: u8,
    /// Ports, memory below 4 GiB, or memory anywhere.
    pub space: PciSpace,
    /// Whether reads have no side effects.
    pub prefetchable: bool,
    /// Bytes, or ports: a power of two.
    pub size: u64,
    /// Where it is, as devices see it; a multiple of `size`. `None` until it is placed.
    pub base: Option<u64>,
}

/// A function's BARs, with what the firmware wrote into them. Decoding is off meanwhile, so that a function does not
/// answer at all ones.
pub fn measure(config: &mut dyn ConfigSpace, function: &Function) -> (Vec<Bar>, Vec<Trouble>) {
    let (mut bars, mut troubles) = (Vec::new(), Vec::new());
    let at = function.address;
    let before = config.read(at, register::COMMAND, Width::Half);
    config.write(at, register::COMMAND, Width::Half, before & !(command::IO | command::MEMORY));
    let mut index = 0;
    while index < function.bar_count {
        let low = config.read(at, offset(index), Width::Word);
        // Bit 0: ports. Bits 2 and 1 of memory: 00 is 32 bits, 10 is 64 bits.
        let wide = low & 0b111 == 0b100;
        if wide && index + 1 == function.bar_count {
            troubles.push(Trouble::BadBar { index, mask: low.into() });
            break;
        }
        match bar(config, at, index, low, wide) {
            Ok(bar) => bars.extend(bar),
            Err(mask) => troubles.push(Trouble::BadBar { index, mask }),
        }
        index += if wide { 2 } else { 1 };
    }
    config.write(at, register::COMMAND, Width::Half, before);
    (bars, troubles)
}

/// Where a BAR's register is.
pub fn offset(index: u8) -> u16 {
    register::BAR0 + 4 * u16::from(index)
}

fn bar(
    config: &mut dyn ConfigSpace,
    at: PciAddress,
    index: u8,
    low: u32,
    wide: bool,
) -> Result<Option<Bar>, u64> {
    let low_mask = probe(config, at, offset(index), low);
    let is_io = low & 1 == 1;
    let (flags, space) = match (is_io, wide, low & 0b110) {
        (true, ..) => (0b11, PciSpace::Io),
        (false, true, _) => (0xf, PciSpace::Memory64),
        (false, false, 0) => (0xf, PciSpace::Memory32),
        // 01: below 1 MiB, withdrawn in version 2.2. 11: reserved.
        _ => return Err(low.into()),
    };
    // No BAR: nothing can be written.
    if low_mask & !flags == 0 && !wide {
        return Ok(None);
    }
    let (mut mask, mut base) = (u64::from(low_mask & !flags), u64::from(low & !flags));
    if wide {
        let high = config.read(at, offset(index + 1), Width::Word);
        mask |= u64::from(probe(config, at, offset(index + 1), high)) << 32;
        base |= u64::from(high) << 32;
    } else if is_io {
        // Only 16 bits of a port need to be writable.
        mask |= !0xffff;
    } else {
        mask |= !0xffff_ffff;
    }
    // All that can be written are the upper bits, without a gap.
    let size = mask.wrapping_neg();
    if mask == 0 || !size.is_power_of_two() || (is_io && size > 1 << 16) || base & (size - 1) != 0 {
        return Err(mask);
    }
    let base = Some(base).filter(|&base| base != 0 && base.checked_add(size).is_some());
    Ok(Some(Bar { index, space, prefetchable: !is_io && low & 8 != 0, size, base }))
}

/// What reads back after all ones were written; the register is restored.
fn probe(config: &mut dyn ConfigSpace, at: PciAddress, offset: u16, before: u32) -> u32 {
    config.write(at, offset, Width::Word, u32::MAX);
    let mask = config.read(at, offset, Width::Word);
    config.write(at, offset, Width::Word, before);
    mask
}
