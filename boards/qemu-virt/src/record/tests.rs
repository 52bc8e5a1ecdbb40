//! What is RAM is listed once, what is not is device space, and nothing that is in use is listed at all.

use super::*;
use crate::fdt::Bank;
use proptest::prelude::*;
use zerocopy::FromZeros;

const SLICE_AT: PhysAddr = PhysAddr(0x4020_0000);
const TREE: PhysRange = PhysRange::new(PhysAddr(0x4a00_0000), 0x10_0000);
const GIC: [PhysRange; 1] = [PhysRange::new(PhysAddr(0x0800_0000), 0x2_0000)];
const LIMIT: u64 = 1 << 40;

fn facts() -> Facts<'static> {
    let mut facts = Facts { bootargs: b"island=3", initrd: (0x4800_0000, 0x4810_0123), ..Facts::default() };
    facts.memory = Banks::of(&[
        Bank { base: 0x4000_0000, len: 0x800_0000, node: 0 },
        Bank { base: 0x4800_0000, len: 0x800_0000, node: 1 },
    ]);
    facts.reserved = Banks::of(&[Bank { base: 0x4fff_f800, len: 0x800, node: 0 }]);
    facts
}

fn given() -> Given<'static> {
    Given { slice: SLICE_AT, tree: TREE, limit: LIMIT, kept: &GIC }
}

fn filled(facts: &Facts<'_>) -> Box<CoreBoot> {
    let mut record = Box::new(CoreBoot::new_zeroed());
    fill(&mut record, facts, &given()).unwrap();
    record
}

fn ranges(record: &CoreBoot, kind: RegionKind) -> Vec<(u64, u64, u32)> {
    record.of_kind(kind).map(|r| (r.range.base.0, r.range.end().0, r.node)).collect()
}

#[test]
fn memory_is_listed_with_its_holes() {
    let record = filled(&facts());
    assert_eq!(
        ranges(&record, RegionKind::Ram),
        [
            (0x4000_0000, 0x4020_0000, 0),
            (0x4040_0000, 0x4800_0000, 0),
            (0x4810_1000, 0x4a00_0000, 1),
            (0x4a10_0000, 0x4fff_f000, 1),
        ]
    );
    assert_eq!(ranges(&record, RegionKind::Bundle), [(0x4800_0000, 0x4810_1000, 0)]);
    assert_eq!(ranges(&record, RegionKind::Firmware), [(0x4a00_0000, 0x4a10_0000, 0)]);
    assert_eq!(record.firmware_addr, TREE.base);
    assert_eq!(record.cmdline(), b"island=3");
}

#[test]
fn all_else_is_device_space_but_the_interrupt_controller() {
    assert_eq!(
        ranges(&filled(&facts()), RegionKind::Device),
        [(0, 0x0800_0000, 0), (0x0802_0000, 0x4000_0000, 0), (0x5000_0000, LIMIT, 0)]
    );
}

#[test]
fn a_bundle_that_is_missing_or_outside_of_memory_is_refused() {
    for initrd in [
        (0, 0),
        (0x4800_0000, 0x4800_0000),
        (0x1000, 0x2000),
        (0x4fff_0000, 0x5000_1000),
        (0x4800_0800, 0x4900_0000),
    ] {
        let facts = Facts { initrd, ..facts() };
        let answer = fill(&mut CoreBoot::new_zeroed(), &facts, &given());
        assert_eq!(answer, Err(RecordError::NoBundle), "{initrd:x?}");
    }
}

#[test]
fn a_command_line_too_long_is_refused() {
    let long = [b'x'; boot::MAX_CMDLINE + 1];
    let facts = Facts { bootargs: &long, ..facts() };
    assert_eq!(fill(&mut CoreBoot::new_zeroed(), &facts, &given()), Err(RecordError::CommandLine));
}

proptest! {
    /// Against a model: a byte is in a piece if and only if its whole page is in the range and no hole touches the page.
    #[test]
    fn subtracting_is_what_it_says(
        base in 0u64..0x8000, len in 0u64..0x8000,
        holes in proptest::collection::vec((0u64..0x1_0000, 0u64..0x3000), 0..6)
    ) {
        let range = PhysRange::new(PhysAddr(base), len);
        let holes: Vec<_> = holes.into_iter().map(|(b, l)| PhysRange::new(PhysAddr(b), l)).collect();
        let mut pieces = Vec::new();
        subtract(range, &holes, &mut |piece| { pieces.push(piece); true }).unwrap();
        for page in (0..0x1_1000).step_by(0x1000) {
            let page = PhysRange::new(PhysAddr(page), 0x1000);
            let inside = page.base >= range.base && page.end() <= range.end();
            let free = !holes.iter().any(|hole| hole.len != 0 && hole.overlaps(page));
            let listed = pieces.iter().filter(|piece| piece.overlaps(page)).count();
            prop_assert_eq!(listed, usize::from(inside && free), "page {:?}", page);
        }
    }
}
