//! A page-table spelling: valid in bit 0, table in bit 1, flags in bits 2 to 6, address in bits 12 to 47.

use skerry_hal::paging::ROOT_LEVEL;
use skerry_hal::{MapFlags, PageFormat, PhysAddr, Pte};

const VALID: u64 = 1;
const TABLE: u64 = 2;
const ADDRESS: u64 = 0x0000_ffff_ffff_f000;

/// The spelling.
#[derive(Clone, Copy, Debug)]
pub struct Pages;

impl PageFormat for Pages {
    fn table(next: PhysAddr) -> u64 {
        (next.0 & ADDRESS) | VALID | TABLE
    }

    fn page(pa: PhysAddr, flags: MapFlags, _level: u8) -> u64 {
        (pa.0 & ADDRESS) | VALID | u64::from(flags.bits()) << 2
    }

    fn decode(entry: u64, level: u8) -> Pte {
        let pa = PhysAddr(entry & ADDRESS);
        if entry & VALID == 0 {
            Pte::Empty
        } else if entry & TABLE != 0 && level > 0 && level <= ROOT_LEVEL {
            Pte::Table(pa)
        } else {
            Pte::Page(pa, MapFlags::from_bits_truncate((entry >> 2) as u8))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_read_back() {
        let pa = PhysAddr(0x1234_5000);
        assert_eq!(Pages::decode(Pages::table(pa), 2), Pte::Table(pa));
        for bits in 0..32 {
            let flags = MapFlags::from_bits_truncate(bits);
            assert_eq!(Pages::decode(Pages::page(pa, flags, 0), 0), Pte::Page(pa, flags));
        }
        assert_eq!(Pages::decode(0, 0), Pte::Empty);
    }
}
