//! How AArch64 spells a page-table entry (Arm ARM D8.3, "VMSAv8-64 translation table descriptors"). Pure.
//!
//! The memory types that the attribute index names are set up in [`crate::boot`] as [`MAIR`].

use bitflags::bitflags;
use skerry_hal::{MapFlags, PageFormat, PhysAddr, Pte};

/// `MAIR_EL1`: index 0 is normal memory, write-back; index 1 is Device-nGnRE.
pub const MAIR: u64 = 0x04 << 8 | 0xff;

bitflags! {
    /// The bits of a descriptor that are not an address.
    #[derive(Clone, Copy, PartialEq, Eq, Debug)]
    struct Desc: u64 {
        const VALID = 1;
        /// A table above level 0, a page at level 0; without it, a block.
        const TABLE_OR_PAGE = 1 << 1;
        /// Attribute index 1 of [`MAIR`].
        const DEVICE = 1 << 2;
        /// AP\[1\]: EL0 may access.
        const USER = 1 << 6;
        /// AP\[2\]: no stores.
        const READ_ONLY = 1 << 7;
        const INNER_SHAREABLE = 3 << 8;
        /// Access flag, preset: no core writes into another's tables.
        const ACCESSED = 1 << 10;
        const NOT_GLOBAL = 1 << 11;
        const PRIVILEGED_NO_EXECUTE = 1 << 53;
        const USER_NO_EXECUTE = 1 << 54;
    }
}

/// Bits 47 to 12: where the table or page is.
const ADDRESS: u64 = 0x0000_ffff_ffff_f000;

/// The spelling. Level 0 here is the architecture's level 3 and so on: ours count up from the page.
pub struct Pages;

impl PageFormat for Pages {
    fn table(next: PhysAddr) -> u64 {
        next.0 & ADDRESS | (Desc::VALID | Desc::TABLE_OR_PAGE).bits()
    }

    fn page(pa: PhysAddr, flags: MapFlags, level: u8) -> u64 {
        let mut desc = Desc::VALID | Desc::ACCESSED | Desc::INNER_SHAREABLE;
        desc.set(Desc::TABLE_OR_PAGE, level == 0);
        desc.set(Desc::DEVICE, flags.contains(MapFlags::DEVICE));
        desc.set(Desc::READ_ONLY, !flags.contains(MapFlags::WRITE));
        let user = flags.contains(MapFlags::USER);
        desc.set(Desc::USER | Desc::NOT_GLOBAL, user);
        // What one privilege level may execute, the other never may.
        let execute = flags.contains(MapFlags::EXECUTE);
        desc.set(Desc::PRIVILEGED_NO_EXECUTE, user || !execute);
        desc.set(Desc::USER_NO_EXECUTE, !(user && execute));
        pa.0 & ADDRESS | desc.bits()
    }

    fn decode(entry: u64, level: u8) -> Pte {
        let desc = Desc::from_bits_truncate(entry);
        let pa = PhysAddr(entry & ADDRESS);
        match (desc.contains(Desc::VALID), desc.contains(Desc::TABLE_OR_PAGE), level) {
            (true, true, 0) | (true, false, 1 | 2) => Pte::Page(pa, flags(desc)),
            (true, true, _) => Pte::Table(pa),
            _ => Pte::Empty,
        }
    }
}

fn flags(desc: Desc) -> MapFlags {
    let user = desc.contains(Desc::USER);
    let no_execute = if user { Desc::USER_NO_EXECUTE } else { Desc::PRIVILEGED_NO_EXECUTE };
    let mut flags = MapFlags::READ;
    flags.set(MapFlags::USER, user);
    flags.set(MapFlags::WRITE, !desc.contains(Desc::READ_ONLY));
    flags.set(MapFlags::EXECUTE, !desc.contains(no_execute));
    flags.set(MapFlags::DEVICE, desc.contains(Desc::DEVICE));
    flags
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn pages_round_trip(frame in 0u64..1 << 27, bits in 0u8..32, level in 0u8..3) {
            let flags = MapFlags::from_bits_truncate(bits | MapFlags::READ.bits());
            let pa = PhysAddr(frame << 21);
            prop_assert_eq!(Pages::decode(Pages::page(pa, flags, level), level), Pte::Page(pa, flags));
        }

        #[test]
        fn tables_round_trip(frame in 0u64..1 << 36, level in 1u8..4) {
            let pa = PhysAddr(frame << 12);
            prop_assert_eq!(Pages::decode(Pages::table(pa), level), Pte::Table(pa));
        }

        #[test]
        fn no_page_is_executable_in_both_modes(bits in 0u8..32) {
            let flags = MapFlags::from_bits_truncate(bits);
            let entry = Pages::page(PhysAddr(0), flags, 0);
            prop_assert!(entry & (3 << 53) != 0);
            if !flags.contains(MapFlags::EXECUTE) {
                prop_assert_eq!(entry >> 53 & 3, 3);
            }
        }
    }

    #[test]
    fn spelling_is_the_manuals() {
        let text = MapFlags::READ | MapFlags::EXECUTE | MapFlags::USER;
        // Valid page, AP = 11 (read-only, EL0), inner shareable, AF, nG, PXN.
        assert_eq!(Pages::page(PhysAddr(0x4000_0000), text, 0), 0x0020_0000_4000_0fc3);
        let device = MapFlags::READ | MapFlags::WRITE | MapFlags::DEVICE;
        // Valid page, AP = 00, attribute index 1, UXN and PXN.
        assert_eq!(Pages::page(PhysAddr(0x0900_0000), device, 0), 0x0060_0000_0900_0707);
    }

    #[test]
    fn what_is_not_valid_is_empty() {
        for level in 0..4 {
            assert_eq!(Pages::decode(0, level), Pte::Empty);
            assert_eq!(Pages::decode(0x4000_0000 | 2, level), Pte::Empty);
        }
        // A block where none may be: level 3 (reserved), and level 0 (reserved encoding).
        assert_eq!(Pages::decode(1, 3), Pte::Empty);
        assert_eq!(Pages::decode(1, 0), Pte::Empty);
    }
}
