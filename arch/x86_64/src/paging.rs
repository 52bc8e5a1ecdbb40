//! How a page-table entry is spelt (SDM vol. 3 §4.5, tables 4-15 to 4-20). 4-level paging, NX on.

use skerry_hal::{MapFlags, PageFormat, PhysAddr, Pte};

const PRESENT: u64 = 1;
const WRITE: u64 = 1 << 1;
const USER: u64 = 1 << 2;
/// Write-through and cache-disable together select PAT entry 3: uncached, in the PAT that every processor resets to.
const UNCACHED: u64 = 1 << 3 | 1 << 4;
/// [`MapFlags::DEVICE`].
const DEVICE: u64 = MapFlags::DEVICE.bits() as u64;
const ACCESSED: u64 = 1 << 5;
const DIRTY: u64 = 1 << 6;
/// In a level-1 entry: a page, not a table.
const LARGE: u64 = 1 << 7;
const GLOBAL: u64 = 1 << 8;
const NO_EXECUTE: u64 = 1 << 63;
/// Bits 51 to 12.
const ADDRESS: u64 = 0x000f_ffff_ffff_f000;
/// Bits 51 to 21: in a large page bit 12 is a PAT bit, the others up to 20 are reserved.
const LARGE_ADDRESS: u64 = 0x000f_ffff_ffe0_0000;

/// The x86-64 spelling.
///
/// A kernel mapping (one without [`MapFlags::USER`]) is global: it is the same in every address space of a core.
#[derive(Clone, Copy, Debug)]
pub struct X86Pages;

impl PageFormat for X86Pages {
    fn table(next: PhysAddr) -> u64 {
        // Rights are decided in the leaf; the CPU takes the intersection of all levels.
        (next.0 & ADDRESS) | PRESENT | WRITE | USER | ACCESSED
    }

    fn page(pa: PhysAddr, flags: MapFlags, level: u8) -> u64 {
        let address = if level == 0 { ADDRESS } else { LARGE_ADDRESS };
        // Two of the flags have the bits that they set: R/W, and PCD, which PWT lies below.
        const { assert!(MapFlags::WRITE.bits() as u64 == WRITE) };
        const { assert!(DEVICE | DEVICE >> 1 == UNCACHED) };
        let bits = u64::from(flags.bits());
        let mut entry = (pa.0 & address) | PRESENT | ACCESSED | DIRTY;
        entry |= bits & (WRITE | DEVICE) | bits >> 1 & DEVICE >> 1;
        if level > 0 {
            entry |= LARGE;
        }
        // A request for both is a caller's mistake; no entry of ours is ever writable and executable.
        if flags & (MapFlags::WRITE | MapFlags::EXECUTE) != MapFlags::EXECUTE {
            entry |= NO_EXECUTE;
        }
        entry | if flags.contains(MapFlags::USER) { USER } else { GLOBAL }
    }

    fn decode(entry: u64, level: u8) -> Pte {
        if entry & PRESENT == 0 {
            return Pte::Empty;
        }
        if level > 0 && entry & LARGE == 0 {
            return Pte::Table(PhysAddr(entry & ADDRESS));
        }
        let mut flags = MapFlags::READ;
        flags.set(MapFlags::WRITE, entry & WRITE != 0);
        flags.set(MapFlags::EXECUTE, entry & NO_EXECUTE == 0);
        flags.set(MapFlags::USER, entry & USER != 0);
        flags.set(MapFlags::DEVICE, entry & UNCACHED == UNCACHED);
        let address = if level == 0 { ADDRESS } else { LARGE_ADDRESS };
        Pte::Page(PhysAddr(entry & address), flags)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn flags() -> impl Strategy<Value = MapFlags> {
        (0u8..32).prop_map(|bits| MapFlags::from_bits_truncate(bits | 1))
    }

    proptest! {
        #[test]
        fn a_sound_page_reads_back(frame in 0u64..1 << 40, flags in flags(), level in 0u8..2) {
            prop_assume!(flags.is_sound());
            let pa = PhysAddr((frame << 12) & if level == 0 { ADDRESS } else { LARGE_ADDRESS });
            prop_assert_eq!(X86Pages::decode(X86Pages::page(pa, flags, level), level), Pte::Page(pa, flags));
        }

        #[test]
        fn no_page_is_writable_and_executable(pa: u64, flags in flags(), level in 0u8..2) {
            let entry = X86Pages::page(PhysAddr(pa), flags, level);
            prop_assert!(entry & WRITE == 0 || entry & NO_EXECUTE != 0);
        }

        #[test]
        fn an_address_never_leaks_into_the_flags(pa: u64, level in 0u8..2) {
            let kernel = X86Pages::page(PhysAddr(pa), MapFlags::READ, level);
            prop_assert_eq!(kernel & (USER | WRITE | UNCACHED), 0);
            // Bits 52 to 62 are ignored or protection keys, 13 to 20 of a large page are reserved.
            prop_assert_eq!(kernel & 0x7ff0_0000_0000_0000, 0);
            prop_assert!(level == 0 || kernel & 0x1f_f000 == 0);
        }

        #[test]
        fn a_table_reads_back(frame in 0u64..1 << 40, level in 1u8..4) {
            let pa = PhysAddr(frame << 12);
            prop_assert_eq!(X86Pages::decode(X86Pages::table(pa), level), Pte::Table(pa));
        }
    }

    #[test]
    fn nothing_present_decodes_as_empty() {
        for level in 0..4 {
            assert_eq!(X86Pages::decode(0, level), Pte::Empty);
            assert_eq!(X86Pages::decode(!PRESENT, level), Pte::Empty);
        }
    }

    #[test]
    fn entries_have_the_bits_of_the_manual() {
        let code = MapFlags::READ | MapFlags::EXECUTE | MapFlags::USER;
        assert_eq!(X86Pages::page(PhysAddr(0x1000), code, 0), 0x1000 | 0b0110_0101);
        let data = MapFlags::READ | MapFlags::WRITE;
        assert_eq!(X86Pages::page(PhysAddr(0x20_0000), data, 1), 1 << 63 | 0x20_0000 | 0b1_1110_0011);
    }
}
