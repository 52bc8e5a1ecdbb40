//! Random changes of an address space, on the CPU driver that ships, against a map of pages: every answer, every page
//! table entry, and at the end every byte and slot back.

use super::*;
use crate::cap::ROOT;
use crate::testing::{self, boot, calls, walk};
use crate::{Domain, Error};
use proptest::prelude::*;
use skerry_abi::{CapType, PhysAddr, Rights};
use skerry_hal::Pte;
use std::collections::BTreeMap as Map;

const P: u64 = PAGE_SIZE;
/// Pages of the window that everything happens in: three leaf tables.
const WINDOW: u64 = 1536;

/// A page of the model: where it is, what it allows, whether it is part of a large page.
type Page = (u64, MapFlags, bool);

struct Model {
    base: u64,
    pages: Map<u64, Page>,
}

impl Model {
    /// What mapping there must answer.
    fn map(&mut self, va: u64, len: u64, pa: u64, large: bool, flags: MapFlags) -> Result<(), VmError> {
        let end = va + len;
        if va < self.base || end > self.base + WINDOW * P {
            return Err(VmError::NotReserved(va));
        }
        if let Some((&at, _)) = self.pages.range(va..end).next() {
            return Err(VmError::Occupied(at));
        }
        let fits = large
            && len >= LARGE_PAGE
            && !flags.contains(MapFlags::EXECUTE)
            && (va ^ pa).is_multiple_of(LARGE_PAGE);
        for at in (va..end).step_by(P as usize) {
            let start = at & !(LARGE_PAGE - 1);
            let whole = fits && start >= va && start + LARGE_PAGE <= end;
            self.pages.insert(at, (pa + (at - va), flags, whole));
        }
        Ok(())
    }

    fn covered(&self, va: u64, end: u64) -> Result<(), VmError> {
        // The library looks at large pages up to the first hole.
        for at in (va..end).step_by(P as usize) {
            let Some((_, _, large)) = self.pages.get(&at) else { return Err(VmError::NotMapped(at)) };
            if *large {
                if at == va && !va.is_multiple_of(LARGE_PAGE) {
                    return Err(VmError::InLargePage(va));
                }
                if !end.is_multiple_of(LARGE_PAGE) && at & !(LARGE_PAGE - 1) == end & !(LARGE_PAGE - 1) {
                    return Err(VmError::InLargePage(end));
                }
            }
        }
        Ok(())
    }

    fn check(&self) {
        for at in (0..WINDOW).map(|n| self.base + n * P) {
            let want =
                self.pages.get(&at).map_or(Pte::Empty, |(pa, flags, _)| Pte::Page(PhysAddr(*pa), *flags));
            assert_eq!(walk(at), want, "{at:#x}");
        }
    }
}

#[derive(Clone, Debug)]
enum Step {
    Map { at: u64, pages: u64, frame: usize, offset: u64, lent: bool, large: bool, flags: usize },
    Fresh { at: u64, pages: u64, flags: usize },
    Protect { at: u64, pages: u64, flags: usize },
    Unmap { at: u64, pages: u64 },
    Trim,
}

const FLAGS: [MapFlags; 3] = [R, RW, RX];

/// First page and number of pages: often aligned as large pages are, sometimes reaching out of the window.
fn span_of_pages() -> impl Strategy<Value = (u64, u64)> {
    let at = prop_oneof![3 => 0u64..WINDOW + 4, 2 => (0u64..3).prop_map(|n| n * 512)];
    let pages = prop_oneof![4 => 1u64..12, 2 => 1u64..700, 2 => (1u64..3).prop_map(|n| n * 512)];
    (at, pages)
}

fn step() -> impl Strategy<Value = Step> {
    let map = (span_of_pages(), 0usize..3, 0u64..1024, any::<(bool, bool)>(), 0usize..3);
    prop_oneof![
        6 => map.prop_map(|((at, pages), frame, offset, (lent, large), flags)| {
            Step::Map { at, pages, frame, offset: offset & !(offset >> 1), lent, large, flags }
        }),
        2 => (span_of_pages(), 0usize..3).prop_map(|((at, pages), flags)| Step::Fresh { at, pages, flags }),
        3 => (span_of_pages(), 0usize..3).prop_map(|((at, pages), flags)| Step::Protect { at, pages, flags }),
        5 => span_of_pages().prop_map(|(at, pages)| Step::Unmap { at, pages }),
        1 => Just(Step::Trim),
    ]
}

/// What fresh memory is made of is the library's choice: the model learns it from the page table, and checks that it is
/// nobody else's.
fn learn(model: &mut Model, va: u64, len: u64, flags: MapFlags, frames: &[Object]) {
    for at in (va..va + len).step_by(P as usize) {
        let Pte::Page(pa, _) = walk(at) else { panic!("{at:#x} is not mapped") };
        let taken = |pa: u64| frames.iter().any(|f| pa >= f.base && pa < f.base + f.len);
        assert!(!taken(pa.0) && model.pages.values().all(|(other, ..)| *other != pa.0), "{pa} is in use");
        model.pages.insert(at, (pa.0, flags, false));
    }
    // Large where 2 MiB are one piece at a multiple of 2 MiB, and the library wanted so.
    for at in (va..va + len).filter(|at| at.is_multiple_of(LARGE_PAGE) && at + LARGE_PAGE <= va + len) {
        let (pa, ..) = model.pages[&at];
        let one = (0..512).all(|n| model.pages[&(at + n * P)].0 == pa + n * P);
        if one && pa.is_multiple_of(LARGE_PAGE) && !flags.contains(MapFlags::EXECUTE) {
            for n in 0..512 {
                model.pages.entry(at + n * P).and_modify(|page| page.2 = true);
            }
        }
    }
}

fn run(steps: &[Step]) {
    let Domain { mut mem, mut space, .. } = boot();
    let before = (mem.free_ram(), mem.free_slots(), space.census());
    let base = space.reserve(WINDOW * P, LARGE_PAGE).unwrap();
    let mut model = Model { base, pages: Map::new() };
    let frames = [(8 * P, P), (600 * P, P), (2 * LARGE_PAGE, LARGE_PAGE)]
        .map(|(len, align)| mem.make(CapType::Frame, 0, len, align, None).unwrap());
    for (n, step) in steps.iter().enumerate() {
        match *step {
            Step::Map { at, pages, frame, offset, lent, large, flags } => {
                let frame = frames[frame];
                let pages = pages.min(frame.len / P);
                let offset = (offset * P) % (frame.len - pages * P + P);
                let hold = if lent { Hold::Lent } else { Hold::Copy };
                let backing = Backing { frame: frame.cap, offset, hold, large };
                let (va, len, flags) = (base + at * P, pages * P, FLAGS[flags]);
                let got = space.map_backing(&mut mem, va, len, &backing, flags).map(drop);
                assert_eq!(got, model.map(va, len, frame.base + offset, large, flags), "{step:?}");
            }
            Step::Fresh { at, pages, flags } => {
                let (va, len, flags) = (base + at * P, pages * P, FLAGS[flags]);
                match space.fresh_at(&mut mem, va, len, flags) {
                    Ok(mapping) => {
                        assert_eq!((mapping.addr, mapping.len), (va, len));
                        learn(&mut model, va, len, flags, &frames);
                    }
                    got => assert_eq!(got.map(drop), model.map(va, len, 0, false, flags), "{step:?}"),
                }
            }
            Step::Protect { at, pages, flags } => {
                let (va, len, flags) = (base + at * P, pages * P, FLAGS[flags]);
                let mut want = model.covered(va, va + len);
                let mut pages = model.pages.range_mut(va..va + len);
                if want.is_ok() && flags.contains(MapFlags::EXECUTE) && pages.any(|(_, page)| page.2) {
                    // No instructions in large pages; what came before is changed.
                    want = Err(VmError::Refused("protecting", Error::BadArgument));
                }
                assert_eq!(space.protect(va, len, flags), want, "{step:?}");
                match want {
                    Ok(()) => model.pages.range_mut(va..va + len).for_each(|(_, page)| page.1 = flags),
                    Err(VmError::Refused(..)) => {
                        for (at, page) in model.pages.range_mut(va..va + len).take_while(|(_, page)| !page.2)
                        {
                            assert!(matches!(walk(*at), Pte::Page(_, got) if got == flags));
                            page.1 = flags;
                        }
                    }
                    Err(_) => {}
                }
            }
            Step::Unmap { at, pages } => {
                let (va, len) = (base + at * P, pages * P);
                let want = model.covered(va, va + len);
                assert_eq!(space.unmap_range(&mut mem, va, len), want, "{step:?}");
                if want.is_ok() {
                    model.pages.retain(|at, _| *at < va || *at >= va + len);
                }
            }
            Step::Trim => space.trim(&mut mem),
        }
        if n % 8 == 0 {
            model.check();
        }
    }
    model.check();
    space.release(&mut mem, base).unwrap();
    model.pages.clear();
    model.check();
    space.trim(&mut mem);
    for frame in frames {
        mem.free(frame).unwrap();
    }
    assert_eq!((mem.free_ram(), mem.free_slots(), space.census()), before);
    assert_eq!(mem.store().lost(), 0, "RAM was given back while it was in use");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: if std::env::var_os("SKERRY_TEST_FULL").is_some() { 2000 } else { 100 }, ..ProptestConfig::default() })]
    #[test]
    fn whatever_is_done_pages_are_as_asked_and_all_comes_back(steps in proptest::collection::vec(step(), 1..60)) {
        run(&steps);
    }
}

/// A domain with a reserved window of 8 MiB.
fn window() -> (Memory, Space, u64) {
    let Domain { mem, mut space, .. } = boot();
    let at = space.reserve(8 << 20, LARGE_PAGE).unwrap();
    (mem, space, at)
}

#[test]
fn bad_ranges_are_refused_and_change_nothing() {
    let (mut mem, mut space, at) = window();
    let frame = mem.frame(4 * P).unwrap();
    let before = (mem.free_ram(), mem.free_slots());
    let mut map = |va, offset, len, flags| {
        space.map_at(&mut mem, va, frame.cap, offset, len, flags).map(drop).unwrap_err()
    };
    assert_eq!(map(at, 0, 0, RW), VmError::Empty);
    assert_eq!(map(at + 1, 0, P, RW), VmError::Unaligned(at + 1));
    assert_eq!(map(at, 0, P + 1, RW), VmError::Unaligned(P + 1));
    assert_eq!(map(at, 8, P, RW), VmError::Unaligned(8));
    assert_eq!(map(!(P - 1), 0, P, RW), VmError::NotUser(!(P - 1)));
    assert_eq!(map(at, 0, !(P - 1), RW), VmError::NotUser(at));
    assert_eq!(map(USER_END, 0, P, RW), VmError::NotUser(USER_END));
    assert_eq!(map(0, 0, P, RW), VmError::NotUser(0));
    assert_eq!(map(at, 0, P, RW | MapFlags::EXECUTE), VmError::WriteExecute);
    assert_eq!(map(at - P, 0, P, RW), VmError::NotReserved(at - P));
    assert_eq!(map(at + (8 << 20), 0, P, RW), VmError::NotReserved(at + (8 << 20)));
    assert_eq!(map(at, P, 4 * P, RW), VmError::Refused("mapping", Error::BadArgument));
    assert_eq!(map(at, !(P - 1), P, RW), VmError::Refused("mapping", Error::BadArgument));
    assert_eq!(space.protect(at, P, RW), Err(VmError::NotMapped(at)));
    assert_eq!(space.protect(at, 0, RW), Err(VmError::Empty));
    assert_eq!(space.unmap_range(&mut mem, at, P), Err(VmError::NotMapped(at)));
    assert_eq!(space.release(&mut mem, at + P), Err(VmError::NotReserved(at + P)));
    assert_eq!(space.fresh(&mut mem, 0, RW), Err(VmError::Empty));
    assert_eq!(space.fresh(&mut mem, u64::MAX, RW), Err(VmError::Addresses(u64::MAX)));
    space.trim(&mut mem);
    assert_eq!((mem.free_ram(), mem.free_slots()), before);
    assert_eq!(space.census(), (0, 0, 1));

    let mapping = space.map_at(&mut mem, at + P, frame.cap, 0, 2 * P, RW).unwrap();
    let twice = space.map_at(&mut mem, at, frame.cap, 0, 2 * P, RW);
    assert_eq!(twice, Err(VmError::Occupied(at + P)));
    assert_eq!(space.protect(at + P, 2 * P, RW | MapFlags::EXECUTE), Err(VmError::WriteExecute));
    assert_eq!(space.protect(at + 2 * P, 2 * P, R), Err(VmError::NotMapped(at + 3 * P)));
    assert_eq!(walk(at + 2 * P), Pte::Page(PhysAddr(frame.base + P), RW));
    space.unmap(&mut mem, mapping);
    assert_eq!(walk(at + P), Pte::Empty);
}

#[test]
fn rights_that_the_frame_lacks_are_not_had_by_protecting() {
    let (mut mem, mut space, at) = window();
    let frame = mem.frame(P).unwrap();
    let readable = mem.copy(frame.cap, Rights::READ | Rights::GRANT).unwrap();
    let refused = |doing| Err(VmError::Refused(doing, Error::NoRight));
    assert_eq!(space.map_at(&mut mem, at, readable, 0, P, RW).map(drop), refused("mapping"));
    assert!(space.map_at(&mut mem, at, readable, 0, P, R).is_ok());
    assert_eq!(space.protect(at, P, RW), refused("protecting"));
    assert_eq!(space.protect(at, P, RX), refused("protecting"));
    assert_eq!(walk(at), Pte::Page(PhysAddr(frame.base), R));
}

#[test]
fn what_is_mapped_alone_costs_one_invocation() {
    let (mut mem, mut space, at) = window();
    let frame = mem.frame(P).unwrap();
    let backing = Backing { hold: Hold::Lent, ..Backing::of(frame.cap, 0) };
    let mut cost = |what: &mut dyn FnMut(&mut Space, &mut Memory)| {
        let before = calls();
        what(&mut space, &mut mem);
        calls() - before
    };
    cost(&mut |space, mem| drop(space.map_backing(mem, at, P, &backing, RW)));
    assert_eq!(cost(&mut |space, _| space.protect(at, P, R).unwrap()), 1);
    assert_eq!(cost(&mut |space, mem| space.unmap_range(mem, at, P).unwrap()), 1);
    assert_eq!(cost(&mut |space, mem| drop(space.map_backing(mem, at, P, &backing, RW))), 1);
    assert_eq!(walk(at), Pte::Page(PhysAddr(frame.base), RW));
}

#[test]
fn fresh_memory_has_guards_and_goes_with_its_mapping() {
    let Domain { mut mem, mut space, .. } = boot();
    let before = (mem.free_ram(), mem.free_slots());
    let stack = space.fresh(&mut mem, 4 * P, RW).unwrap();
    let other = space.fresh(&mut mem, LARGE_PAGE + P, RW).unwrap();
    assert_eq!((walk(stack.addr - P), walk(stack.addr + 4 * P)), (Pte::Empty, Pte::Empty));
    assert_eq!(other.addr % LARGE_PAGE, 0);
    assert!(matches!(walk(other.addr + LARGE_PAGE), Pte::Page(_, RW)));
    assert_eq!(space.unmap_range(&mut mem, other.addr, P), Err(VmError::InLargePage(other.addr + P)));
    space.unmap(&mut mem, other);
    space.unmap(&mut mem, stack);
    space.trim(&mut mem);
    assert_eq!((mem.free_ram(), mem.free_slots(), space.census()), (before.0, before.1, (0, 0, 0)));
}

#[test]
fn without_ram_nothing_is_mapped_and_nothing_lost() {
    let Domain { mut mem, mut space, .. } = boot();
    let before = (mem.free_ram(), mem.free_slots());
    let error = space.fresh(&mut mem, testing::BYTES, RW).unwrap_err();
    assert!(matches!(error, VmError::Memory(error) if error.is_lack()), "{error}");
    space.trim(&mut mem);
    assert_eq!((mem.free_ram(), mem.free_slots(), space.census()), (before.0, before.1, (0, 0, 0)));
    // All but the tables can be had.
    let most = space.fresh(&mut mem, before.0 - (64 << 10), RW).unwrap();
    space.unmap(&mut mem, most);
    space.trim(&mut mem);
    assert_eq!((mem.free_ram(), space.census()), (before.0, (0, 0, 0)));
}

#[test]
fn a_capability_that_is_mapped_is_not_taken_for_its_neighbour() {
    // The frame's own capability, then parts of it through copies where the first had been.
    let (mut mem, mut space, at) = window();
    let frame = mem.frame(4 * P).unwrap();
    let before = (mem.free_ram(), mem.free_slots());
    assert!(space.map_at(&mut mem, at, frame.cap, 0, 4 * P, RW).is_ok());
    space.unmap_range(&mut mem, at + P, P).unwrap();
    assert!(space.map_at(&mut mem, at + P, frame.cap, 0, P, R).is_ok());
    // The first copy maps nothing any more, but its place is in use.
    space.unmap_range(&mut mem, at, P).unwrap();
    space.unmap_range(&mut mem, at + 2 * P, 2 * P).unwrap();
    assert_eq!(walk(at + P), Pte::Page(PhysAddr(frame.base), R));
    space.unmap_range(&mut mem, at + P, P).unwrap();
    space.trim(&mut mem);
    assert_eq!((mem.free_ram(), mem.free_slots()), (before.0, before.1));
    assert_eq!(ROOT.delete(frame.cap), Ok(()));
}
