//! Turns a firmware's memory map into what the first domain gets: RAM that nobody uses yet, and everything that is
//! not RAM as device memory. Pure.

use crate::pvh::{MapEntry, RAM};
use skerry_hal::{PAGE_SIZE, PhysAddr, PhysRange};

/// RAM ranges that we can hold; more are left unused.
const MAX_RAM: usize = 32;

/// The RAM of a machine: page-aligned, in order of address, without overlap.
#[derive(Clone, Copy, Debug)]
pub struct RamMap {
    ranges: [PhysRange; MAX_RAM],
    used: usize,
}

impl RamMap {
    /// Collects the RAM from a memory map, which may be in any order and overlap. A page that is only partly RAM, or
    /// that another entry claims as well, is not RAM.
    pub fn new(map: &[MapEntry]) -> Self {
        let mut ram = Self { ranges: [PhysRange::default(); MAX_RAM], used: 0 };
        for entry in map.iter().filter(|e| e.kind == RAM) {
            let before = ram;
            let claim = |n: usize| {
                let other = map.get(n).map(|e| if e.kind == RAM { NOTHING } else { outward(e.range) });
                other.or_else(|| before.ranges().get(n - map.len()).copied())
            };
            cut(inward(entry.range), &claim, &mut |range| ram.insert(range));
        }
        ram
    }

    /// The ranges.
    pub fn ranges(&self) -> &[PhysRange] {
        self.ranges.get(..self.used).unwrap_or_default()
    }

    /// Calls `free` with all RAM that is not in `reserved`.
    pub fn free(&self, reserved: &[PhysRange], free: &mut dyn FnMut(PhysRange)) {
        for &range in self.ranges() {
            cut(range, &|n| reserved.get(n).map(|&r| outward(r)), free);
        }
    }

    /// Calls `device` with all that is neither RAM nor in `reserved`, up to address `limit`.
    pub fn devices(&self, limit: PhysAddr, reserved: &[PhysRange], device: &mut dyn FnMut(PhysRange)) {
        let taken = |n: usize| {
            let own = reserved.get(n).map(|&r| outward(r));
            own.or_else(|| self.ranges().get(n - reserved.len()).copied())
        };
        cut(PhysRange::new(PhysAddr(0), limit.0), &taken, device);
    }

    /// Keeps the order.
    fn insert(&mut self, range: PhysRange) {
        if self.used < MAX_RAM {
            let at = self.ranges().iter().position(|r| r.base > range.base).unwrap_or(self.used);
            self.ranges.copy_within(at..self.used, at + 1);
            self.ranges[at] = range;
            self.used += 1;
        }
    }
}

/// Overlaps no range.
const NOTHING: PhysRange = PhysRange::new(PhysAddr(0), 0);

/// Calls `keep` with the pieces of `range` that no hole overlaps, in order. `hole` answers the holes by number, and
/// `None` behind the last. (Not generic: it is used for three kinds of holes, and a CPU driver is small.)
#[inline(never)]
fn cut(range: PhysRange, hole: &dyn Fn(usize) -> Option<PhysRange>, keep: &mut dyn FnMut(PhysRange)) {
    let mut from = range.base;
    while from < range.end() {
        let mut next = PhysRange::new(range.end(), 0);
        let mut n = 0;
        while let Some(hole) = hole(n) {
            if hole.len > 0 && hole.end() > from && hole.base < next.base {
                next = hole;
            }
            n += 1;
        }
        if next.base > from {
            keep(PhysRange::new(from, next.base.0.min(range.end().0) - from.0));
        }
        if next.len == 0 {
            return;
        }
        from = next.end();
    }
}

/// The whole pages inside.
fn inward(range: PhysRange) -> PhysRange {
    let base = range.base.align_up(PAGE_SIZE).unwrap_or(range.base);
    let end = range.end().align_down(PAGE_SIZE);
    PhysRange::new(base, end.0.saturating_sub(base.0))
}

/// The whole pages that it touches.
fn outward(range: PhysRange) -> PhysRange {
    let base = range.base.align_down(PAGE_SIZE);
    let end = range.end().align_up(PAGE_SIZE).unwrap_or(PhysAddr(!(PAGE_SIZE - 1)));
    PhysRange::new(base, end.0 - base.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use zerocopy::FromBytes;

    fn entry(base: u64, len: u64, kind: u32) -> MapEntry {
        let mut bytes = [0; 24];
        bytes[..8].copy_from_slice(&base.to_le_bytes());
        bytes[8..16].copy_from_slice(&len.to_le_bytes());
        bytes[16..20].copy_from_slice(&kind.to_le_bytes());
        MapEntry::read_from_bytes(&bytes).unwrap()
    }

    fn range(base: u64, end: u64) -> PhysRange {
        PhysRange::new(PhysAddr(base), end - base)
    }

    #[test]
    fn a_pc_is_split_as_expected() {
        let map = [
            entry(0x10_0000, 0xfee_0000, RAM),
            entry(0, 0x9_fc00, RAM),
            entry(0x9_fc00, 0x400, 2),
            entry(0xffe_0000, 0x2_0000, 2),
            entry(1 << 32, 1 << 30, RAM),
        ];
        let ram = RamMap::new(&map);
        assert_eq!(ram.ranges(), [range(0, 0x9_f000), range(0x10_0000, 0xffe_0000), range(1 << 32, 5 << 30)]);
        let reserved = [range(0, 0x10_0000), range(0x20_0000, 0x40_0000), range(0x800_0123, 0x800_1456)];
        let mut free = Vec::new();
        ram.free(&reserved, &mut |r| free.push(r));
        assert_eq!(
            free,
            [
                range(0x10_0000, 0x20_0000),
                range(0x40_0000, 0x800_0000),
                range(0x800_2000, 0xffe_0000),
                range(1 << 32, 5 << 30)
            ]
        );
        let mut devices = Vec::new();
        let apic = [range(0xfee0_0000, 0xfee0_1000)];
        ram.devices(PhysAddr(1 << 40), &apic, &mut |r| devices.push(r));
        assert_eq!(
            devices,
            [
                range(0x9_f000, 0x10_0000),
                range(0xffe_0000, 0xfee0_0000),
                range(0xfee0_1000, 1 << 32),
                range(5 << 30, 1 << 40)
            ]
        );
    }

    proptest! {
        /// Every page is RAM that is free, or RAM that is reserved, or device: never two of them.
        #[test]
        fn every_page_has_one_use(
            map in proptest::collection::vec((0u64..64, 0u64..20, 1u32..3), 0..12),
            holes in proptest::collection::vec((0u64..64, 0u64..8), 0..6),
        ) {
            let map: Vec<_> = map.iter().map(|&(b, l, k)| entry(b << 12, l << 12, k)).collect();
            let holes: Vec<_> = holes.iter().map(|&(b, l)| PhysRange::new(PhysAddr(b << 12), l << 12)).collect();
            let ram = RamMap::new(&map);
            let (mut free, mut devices) = (Vec::new(), Vec::new());
            ram.free(&holes, &mut |r| free.push(r));
            ram.devices(PhysAddr(100 << 12), &[], &mut |r| devices.push(r));
            for page in 0u64..100 {
                let at = PhysAddr(page << 12);
                let kinds = |kind| map.iter().any(|e| e.kind == kind && e.range.contains(at));
                let is_ram = kinds(RAM) && !kinds(2);
                let held = holes.iter().any(|h| h.contains(at));
                let in_free = free.iter().filter(|r| r.contains(at)).count();
                prop_assert_eq!(in_free, usize::from(is_ram && !held), "page {}", page);
                prop_assert_eq!(devices.iter().filter(|r| r.contains(at)).count(), usize::from(!is_ram));
            }
        }

        #[test]
        fn no_map_makes_it_overflow(map in proptest::collection::vec((any::<u64>(), any::<u64>(), 0u32..4), 0..64)) {
            let map: Vec<_> = map.iter().map(|&(b, l, k)| entry(b, l, k)).collect();
            let ram = RamMap::new(&map);
            for pair in ram.ranges().windows(2) {
                prop_assert!(pair[0].end() <= pair[1].base);
            }
            prop_assert!(ram.ranges().iter().all(|r| r.base.is_aligned(4096) && r.len > 0));
        }
    }
}
