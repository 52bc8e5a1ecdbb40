//! The database beside a reference model that keeps a plain list and asks it everything the slow way.

use crate::db::{Db, Retype};
use crate::slot::{Cap, Slot, SlotRef, Store};
use crate::types;
use proptest::prelude::*;
use skerry_abi::cap::{CNODE_BYTES, held};
use skerry_abi::{CapType, CoreId, Error, IslandId, Rights};
use std::collections::HashSet;

const CORE: CoreId = CoreId::new(IslandId(0), 0);
const SLOTS: usize = 64;
const PAGE: u64 = 4096;

struct Slots(Vec<Slot>);

impl Store for Slots {
    fn slot(&self, at: SlotRef) -> &Slot {
        &self.0[at.0 as usize - 1]
    }
    fn slot_mut(&mut self, at: SlotRef) -> &mut Slot {
        &mut self.0[at.0 as usize - 1]
    }
}

fn at(n: usize) -> SlotRef {
    SlotRef(n as u64 + 1)
}

fn with_ram(pages: u64) -> (Db, Slots) {
    let (mut db, mut slots) = (Db::new(CORE), Slots(vec![Slot::default(); SLOTS]));
    db.insert(&mut slots, at(0), &Cap::new(CapType::Ram, 0x10_0000, pages * PAGE, CORE)).unwrap();
    (db, slots)
}

fn make(ty: CapType, page: u64, pages: u64, count: u32) -> Retype {
    Retype {
        ty,
        level: 0,
        rights: Rights::all(),
        offset: page * PAGE,
        len: pages * PAGE,
        count,
        agreed: false,
    }
}

fn delete(db: &mut Db, slots: &mut Slots, at: SlotRef) -> Result<(), Error> {
    db.check_delete(slots, at, false)?;
    db.delete(slots, at);
    Ok(())
}

#[test]
fn ram_becomes_one_thing_at_a_time() {
    let (mut db, mut slots) = with_ram(16);
    db.retype(&mut slots, at(0), &make(CapType::Frame, 2, 2, 1), |_| at(1)).unwrap();
    for (page, pages) in [(2, 1), (3, 1), (1, 2), (0, 16), (3, 4)] {
        let what = make(CapType::Ram, page, pages, 1);
        let expect = if pages == 16 { Error::BadArgument } else { Error::Overlap };
        assert_eq!(db.retype(&mut slots, at(0), &what, |_| at(2)), Err(expect), "{page}+{pages}");
    }
    db.retype(&mut slots, at(0), &make(CapType::Ram, 4, 4, 1), |_| at(2)).unwrap();
    assert_eq!(delete(&mut db, &mut slots, at(1)), Ok(()));
    db.retype(&mut slots, at(0), &make(CapType::Dispatcher, 2, 1, 2), |n| at(3 + n as usize)).unwrap();
    assert_eq!(db.check(&slots), 4);
}

#[test]
fn whole_ram_may_become_one_frame_and_then_nothing_else() {
    let (mut db, mut slots) = with_ram(4);
    db.retype(&mut slots, at(0), &make(CapType::Frame, 0, 4, 1), |_| at(1)).unwrap();
    assert_eq!(db.retype(&mut slots, at(0), &make(CapType::Frame, 0, 4, 1), |_| at(2)), Err(Error::Overlap));
    assert_eq!(db.retype(&mut slots, at(1), &make(CapType::Ram, 0, 1, 1), |_| at(2)), Err(Error::BadRetype));
}

#[test]
fn a_nested_short_sibling_does_not_hide_a_longer_one() {
    // [0, 8) holds [0, 1): a query at page 5 must still find the outer region.
    let (mut db, mut slots) = with_ram(16);
    db.retype(&mut slots, at(0), &make(CapType::Ram, 0, 8, 1), |_| at(1)).unwrap();
    db.retype(&mut slots, at(1), &make(CapType::Frame, 0, 1, 1), |_| at(2)).unwrap();
    assert_eq!(db.retype(&mut slots, at(0), &make(CapType::Frame, 5, 1, 1), |_| at(3)), Err(Error::Overlap));
    db.retype(&mut slots, at(1), &make(CapType::Frame, 5, 1, 1), |_| at(3)).unwrap();
}

#[test]
fn copies_keep_an_object_alive_and_never_gain_rights() {
    let (mut db, mut slots) = with_ram(16);
    db.retype(&mut slots, at(0), &make(CapType::CNode, 0, CNODE_BYTES / PAGE, 1), |_| at(1)).unwrap();
    db.copy(&mut slots, at(1), at(2), Rights::READ).unwrap();
    assert_eq!(db.copy(&mut slots, at(2), at(3), Rights::all()), Err(Error::NoRight));
    assert_eq!(db.copy(&mut slots, at(1), at(2), Rights::all()), Err(Error::SlotInUse));
    assert!(db.has_copy(&slots, at(1)) && db.has_copy(&slots, at(2)));
    assert_eq!(delete(&mut db, &mut slots, at(1)), Ok(()));
    assert!(!db.has_copy(&slots, at(2)));
    assert_eq!(delete(&mut db, &mut slots, at(2)), Ok(()));
    assert_eq!(delete(&mut db, &mut slots, at(2)), Err(Error::EmptySlot));
}

#[test]
fn many_that_come_and_go_leave_the_index_in_balance() {
    const MANY: usize = 700;
    for ty in [CapType::Ram, CapType::Frame] {
        let (mut db, mut slots) = (Db::new(CORE), Slots(vec![Slot::default(); MANY + 1]));
        db.insert(&mut slots, at(MANY), &Cap::new(CapType::Ram, 0, MANY as u64 * PAGE, CORE)).unwrap();
        // Upwards, downwards, and in no order; each time the last to come are the first to go, or the other way about.
        for (n, step) in [1, MANY - 1, 279, 431].into_iter().enumerate() {
            let place = |i: usize| i * step % MANY;
            for i in 0..MANY {
                let what = make(ty, place(i) as u64, 1, 1);
                db.retype(&mut slots, at(MANY), &what, |_| at(place(i))).unwrap();
                assert_eq!(db.check(&slots), i + 2);
            }
            for i in 0..MANY {
                let i = if n % 2 == 0 { i * 37 % MANY } else { MANY - 1 - i };
                delete(&mut db, &mut slots, at(i)).unwrap();
                db.check(&slots);
            }
            assert_eq!(db.check(&slots), 1);
        }
    }
}

#[test]
fn disowned_ram_answers_remote() {
    let (mut db, mut slots) = with_ram(16);
    let other = CoreId::new(IslandId(0), 1);
    db.retype(&mut slots, at(0), &make(CapType::Ram, 0, 4, 1), |_| at(1)).unwrap();
    assert_eq!(db.disown(&mut slots, at(0), other), Err(Error::InUse));
    db.disown(&mut slots, at(1), other).unwrap();
    assert_eq!(db.retype(&mut slots, at(1), &make(CapType::Frame, 0, 1, 1), |_| at(2)), Err(Error::Remote));
    assert_eq!(db.retype(&mut slots, at(0), &make(CapType::Frame, 0, 1, 1), |_| at(2)), Err(Error::Overlap));
    assert_eq!(delete(&mut db, &mut slots, at(1)), Err(Error::Remote));
}

#[test]
fn ranges_of_different_spaces_never_meet() {
    let (mut db, mut slots) = with_ram(16);
    db.insert(&mut slots, at(1), &Cap::new(CapType::Irq, 0, 1 << 32, CORE)).unwrap();
    db.insert(&mut slots, at(2), &Cap::new(CapType::IoPort, 0, 1 << 16, CORE)).unwrap();
    assert!(!db.has_descendant(&slots, at(1)) && !db.has_descendant(&slots, at(2)));
    let what = Retype { offset: 4, len: 1, ..make(CapType::Irq, 0, 0, 1) };
    db.retype(&mut slots, at(1), &what, |_| at(3)).unwrap();
    // Narrowing a range takes nothing from anyone: it may be done twice.
    db.retype(&mut slots, at(1), &what, |_| at(4)).unwrap();
    assert!(db.has_descendant(&slots, at(1)) && !db.has_descendant(&slots, at(2)));
}

#[derive(Clone, Debug)]
enum Step {
    Retype {
        from: usize,
        ty: CapType,
        page: u64,
        pages: u64,
        count: u32,
        to: usize,
        agreed: bool,
    },
    Copy {
        from: usize,
        to: usize,
        rights: u8,
    },
    Delete {
        at: usize,
    },
    Revoke {
        at: usize,
        copies: bool,
    },
    /// On behalf of another core: what is in a slot, which may stay.
    RevokeAgreed {
        at: usize,
        copies: bool,
        kept: bool,
    },
    Lock {
        at: usize,
        on: bool,
    },
    Share {
        at: usize,
        on: bool,
    },
}

fn step() -> impl Strategy<Value = Step> {
    let slot = 0..SLOTS - 4;
    prop_oneof![
        4 => (slot.clone(), 0usize..12, 0u64..12, prop_oneof![Just(1u64), Just(2), Just(4), Just(8)], 1u32..4, slot.clone(), any::<bool>())
            .prop_map(|(from, ty, page, pages, count, to, agreed)| Step::Retype { from, ty: CapType::ALL[ty], page, pages, count, to, agreed }),
        2 => (slot.clone(), slot.clone(), any::<u8>()).prop_map(|(from, to, rights)| Step::Copy { from, to, rights }),
        2 => slot.clone().prop_map(|at| Step::Delete { at }),
        1 => (slot.clone(), any::<bool>()).prop_map(|(at, copies)| Step::Revoke { at, copies }),
        1 => (slot.clone(), any::<bool>(), any::<bool>())
            .prop_map(|(at, copies, kept)| Step::RevokeAgreed { at, copies, kept }),
        1 => (slot.clone(), any::<bool>()).prop_map(|(at, on)| Step::Lock { at, on }),
        1 => (slot, any::<bool>()).prop_map(|(at, on)| Step::Share { at, on }),
    ]
}

/// Was `cap` made of `source`?
fn made_of(cap: &Cap, source: &Cap) -> bool {
    let inside = cap.base >= source.base && cap.end() <= source.end();
    let derived = cap.len < source.len || types::of(cap.ty).rank > types::of(source.ty).rank;
    types::of(cap.ty).space == types::of(source.ty).space && inside && derived
}

/// Would this retype take a byte that is in use? Asked of the whole list.
fn conflicts(model: &[Option<Cap>], source: &Cap, start: u64, end: u64) -> bool {
    model.iter().flatten().any(|cap| made_of(cap, source) && cap.base < end && start < cap.end())
}

fn is_copy(a: &Cap, b: &Cap) -> bool {
    (a.ty, a.base, a.len) == (b.ty, b.base, b.len)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(if cfg!(miri) { 4 } else { 512 }))]

    #[test]
    fn agrees_with_the_model(steps in proptest::collection::vec(step(), 1..120)) {
        let (mut db, mut slots) = with_ram(16);
        let mut model: Vec<Option<Cap>> = vec![None; SLOTS];
        model[0] = slots.0[0].cap();
        // Objects that are locked, and that other cores have copies of.
        let (mut locked, mut shared) = (HashSet::new(), HashSet::new());
        let name = |cap: &Cap| (cap.ty as u8, cap.base, cap.len);
        for step in steps {
            match step {
                Step::Retype { from, ty, page, pages, count, to, agreed } => {
                    let what = Retype { agreed, ..make(ty, page, pages, count) };
                    let result = db.retype(&mut slots, at(from), &what, |n| at(to + n as usize));
                    let free = (0..count as usize).all(|n| model[to + n].is_none());
                    if let Some(source) = model[from] {
                        let start = source.base + page * PAGE;
                        let total = pages * PAGE * u64::from(count);
                        if result.is_ok() {
                            prop_assert!(free && start + total <= source.end());
                            prop_assert!(agreed || !locked.contains(&name(&source)));
                            prop_assert!(agreed || source.ty != CapType::Ram || !shared.contains(&name(&source)));
                            prop_assert!(source.ty != CapType::Ram || !conflicts(&model, &source, start, start + total));
                            for n in 0..count as usize {
                                model[to + n] = slots.0[to + n].cap();
                            }
                        } else {
                            match result.unwrap_err() {
                                Error::Overlap => prop_assert!(conflicts(&model, &source, start, start + total)),
                                Error::Busy => prop_assert!(!agreed && locked.contains(&name(&source))),
                                Error::Remote => prop_assert!(!agreed && shared.contains(&name(&source))),
                                _ => {}
                            }
                        }
                    } else {
                        prop_assert_eq!(result, Err(Error::EmptySlot));
                    }
                }
                Step::Copy { from, to, rights } => {
                    let result = db.copy(&mut slots, at(from), at(to), Rights::from_bits_truncate(rights));
                    match (model[from], model[to]) {
                        (Some(source), _) if locked.contains(&name(&source)) => prop_assert!(result.is_err()),
                        (Some(source), None) if source.rights.contains(Rights::GRANT) => {
                            prop_assert_eq!(result, Ok(()));
                            let copy = slots.0[to].cap().unwrap();
                            prop_assert!(source.rights.contains(copy.rights), "a copy gained rights");
                            model[to] = Some(copy);
                        }
                        _ => prop_assert!(result.is_err()),
                    }
                }
                Step::Delete { at: n } => {
                    let expect = if let Some(cap) = model[n] {
                        let copies = model.iter().flatten().filter(|c| is_copy(c, &cap)).count();
                        prop_assert_eq!(db.has_copy(&slots, at(n)), copies > 1);
                        if locked.contains(&name(&cap)) {
                            Err(Error::Busy)
                        } else if shared.contains(&name(&cap)) && copies == 1 {
                            Err(Error::Remote)
                        } else {
                            Ok(())
                        }
                    } else {
                        Err(Error::EmptySlot)
                    };
                    model[n].take_if(|_| expect.is_ok());
                    prop_assert_eq!(delete(&mut db, &mut slots, at(n)), expect);
                }
                Step::Revoke { at: n, copies } | Step::RevokeAgreed { at: n, copies, .. } => {
                    let Some(cap) = model[n] else {
                        prop_assert_eq!(db.check_revoke(&slots, at(n)), Err(Error::EmptySlot));
                        continue;
                    };
                    let expect = if locked.contains(&name(&cap)) {
                        Err(Error::Busy)
                    } else if shared.contains(&name(&cap)) {
                        Err(Error::Remote)
                    } else {
                        Ok(())
                    };
                    prop_assert_eq!(db.check_revoke(&slots, at(n)), expect);
                    if matches!(step, Step::Revoke { .. }) && expect.is_err() {
                        continue;
                    }
                    let kept = !matches!(step, Step::RevokeAgreed { kept: false, .. });
                    for (m, held) in model.iter_mut().enumerate() {
                        held.take_if(|c| made_of(c, &cap) || copies && is_copy(c, &cap) && (m != n || !kept));
                    }
                    let keep = if kept { at(n) } else { SlotRef::NONE };
                    for _ in 0..=SLOTS {
                        let next = db.next_revoked(&slots, cap.class(), &[keep], copies);
                        if next.is_none() {
                            break;
                        }
                        db.delete(&mut slots, next);
                    }
                    if kept {
                        prop_assert!(!db.has_descendant(&slots, at(n)));
                        prop_assert!(!copies || !db.has_copy(&slots, at(n)));
                    }
                    for (slot, held) in slots.0.iter().zip(&model) {
                        prop_assert_eq!(slot.cap(), *held);
                    }
                }
                Step::Lock { at: n, .. } | Step::Share { at: n, .. } if model[n].is_none() => {}
                Step::Lock { at: n, on } => {
                    let cap = model[n].unwrap();
                    prop_assert!(db.lock(&mut slots, cap.class(), on, (0, 0)).is_ok());
                    if on { locked.insert(name(&cap)) } else { locked.remove(&name(&cap)) };
                }
                Step::Share { at: n, on } => {
                    let cap = model[n].unwrap();
                    prop_assert_eq!(db.share(&mut slots, cap.class(), on, SlotRef::NONE), SlotRef::NONE);
                    if on { shared.insert(name(&cap)) } else { shared.remove(&name(&cap)) };
                }
            }
            // What is gone is neither locked nor shared, and what is here can be told.
            let here: HashSet<_> = model.iter().flatten().map(name).collect();
            locked.retain(|it| here.contains(it));
            shared.retain(|it| here.contains(it));
            for cap in model.iter().flatten() {
                let made = model.iter().flatten().any(|c| made_of(c, cap));
                let on = locked.contains(&name(cap));
                let expect = held::COPY | if made { held::MADE } else { 0 };
                prop_assert_eq!(db.lock(&mut slots, cap.class(), on, (0, 0)), Ok(expect), "{:?}", cap);
                if cap.ty == CapType::Ram && !on {
                    let half = (cap.base, cap.base + cap.len / 2);
                    let free = db.lock(&mut slots, cap.class(), on, half) != Err(Error::Overlap);
                    prop_assert_eq!(free, half.0 == half.1 || !conflicts(&model, cap, half.0, half.1), "{:?}", cap);
                }
            }
            prop_assert_eq!(db.check(&slots), model.iter().flatten().count());
        }
        // No two differently typed regions overlap, RAM that contains them aside.
        let caps: Vec<Cap> = model.into_iter().flatten().collect();
        for a in &caps {
            for b in &caps {
                let overlap = a.base < b.end() && b.base < a.end();
                prop_assert!(!overlap || a.ty == b.ty || a.ty == CapType::Ram || b.ty == CapType::Ram, "{a:?} {b:?}");
            }
        }
    }
}
