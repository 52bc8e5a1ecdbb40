//! What a monitor does on behalf of other cores, and what it keeps others from meanwhile (`docs/decisions/0007`).

use super::rig::{CORE, Rig};
use skerry_abi::cap::{CNODE_BYTES, held, mark};
use skerry_abi::domain::slot;
use skerry_abi::op::halves;
use skerry_abi::{CPtr, CapType, CoreId, Error, Op, PAGE_SIZE, PhysAddr, Rights};
use skerry_caps::types;
use skerry_hal::MapFlags;
use skerry_hal::paging::ADDRESS;

const RAM: CPtr = CPtr::new(1, 240);
const FRAME: CPtr = CPtr::new(1, 241);
const COPY: CPtr = CPtr::new(1, 242);
const LEAF: CPtr = CPtr::new(1, 243);
const NEW: CPtr = CPtr::new(1, 244);
const TABLE: CPtr = CPtr::new(1, 245);
const ANCHOR: CPtr = CPtr::new(1, 246);
const P: u64 = PAGE_SIZE;
const RW: u64 = (MapFlags::READ.bits() | MapFlags::WRITE.bits()) as u64;
const OTHER: CoreId = CoreId::new(CORE.island(), 1);
/// Memory that is nobody's here.
const FAR: u64 = 0x8000_0000;

/// RAM of 16 pages; of its first page a frame, and a copy of that. Where it begins.
fn furnish(rig: &mut Rig) -> u64 {
    let all = rig.ram();
    rig.retype(all, CapType::VNode, 0, 0, P, LEAF).unwrap();
    rig.retype(all, CapType::VNode, 1, P, P, TABLE).unwrap();
    rig.retype(all, CapType::Ram, 0, 16 * P, 16 * P, RAM).unwrap();
    rig.retype(RAM, CapType::Frame, 0, 0, P, FRAME).unwrap();
    copy(rig, FRAME, COPY).unwrap();
    base(rig, RAM)
}

fn base(rig: &mut Rig, cptr: CPtr) -> u64 {
    rig.invoke(cptr, Op::Identify, &[1]).unwrap()
}

fn copy(rig: &mut Rig, from: CPtr, to: CPtr) -> Result<u64, Error> {
    rig.invoke(slot::ROOT, Op::Copy, &[halves(from.0, to.0), 0xff])
}

fn delete(rig: &mut Rig, at: CPtr) -> Result<u64, Error> {
    rig.invoke(slot::ROOT, Op::Delete, &[at.0.into()])
}

fn map(rig: &mut Rig, table: CPtr, entry: u32, what: CPtr) -> Result<u64, Error> {
    rig.invoke(table, Op::Map, &[halves(entry, 1), what.0.into(), RW, 0])
}

type Object = (CapType, u64, u64);

/// An invocation of the monitor that names an object.
fn monitor(rig: &mut Rig, op: Op, how: u32, (ty, at, len): Object, more: [u64; 2]) -> Result<u64, Error> {
    rig.invoke(slot::KERNEL, op, &[halves(ty as u32, how), at, len, more[0], more[1]])
}

fn lock(rig: &mut Rig, object: Object, part: [u64; 2]) -> Result<u64, Error> {
    monitor(rig, Op::Mark, mark::LOCK, object, part)
}

fn unlock(rig: &mut Rig, object: Object) -> Result<u64, Error> {
    monitor(rig, Op::Mark, mark::UNLOCK, object, [0; 2])
}

/// The number of calls that it took.
fn share(rig: &mut Rig, object: Object, how: u32) -> u32 {
    let (mut from, mut calls) = (0, 0);
    loop {
        (from, calls) = (monitor(rig, Op::Mark, how, object, [from, 0]).unwrap(), calls + 1);
        if from == 0 {
            return calls;
        }
    }
}

/// Takes an object away as agreed; the number of calls.
fn revoke(rig: &mut Rig, object: Object, keep: [CPtr; 2]) -> u32 {
    let mut calls = 1;
    while monitor(rig, Op::RevokeAgreed, 0, object, [halves(keep[0].0, keep[1].0), 0]).unwrap() == 1 {
        calls += 1;
    }
    rig.kernel.caps.check(&rig.kernel.memory);
    calls
}

fn adopt(rig: &mut Rig, (ty, at, len): Object, level: u32, owner: CoreId, to: CPtr) -> Result<u64, Error> {
    let what = ty as u32 | 0xff << 8 | level << 16;
    rig.invoke(slot::KERNEL, Op::Adopt, &[halves(what, owner.raw()), at, len, halves(0, to.0)])
}

fn retype_agreed(rig: &mut Rig, from: CPtr, ty: CapType, offset: u64, len: u64) -> Result<u64, Error> {
    let words = [halves(ty as u32 | 0xff_0000, 1), offset, len, halves(0, NEW.0), from.0.into()];
    rig.invoke(slot::KERNEL, Op::RetypeAgreed, &words)
}

#[test]
fn what_is_locked_answers_busy_to_everybody_but_the_monitor() {
    let mut rig = Rig::boot();
    let at = furnish(&mut rig);
    let (ram, frame) = ((CapType::Ram, at, 16 * P), (CapType::Frame, at, P));
    assert_eq!(lock(&mut rig, ram, [0, P]), Err(Error::Overlap), "something was made there");
    assert_eq!(delete(&mut rig, NEW), Err(Error::EmptySlot), "and nothing is locked");
    assert_eq!(lock(&mut rig, frame, [0; 2]), Ok(held::COPY));
    // Two operations on parts that do not meet lock the same.
    for part in [[2 * P, P], [3 * P, P]] {
        assert_eq!(lock(&mut rig, ram, part), Ok(held::COPY | held::MADE));
    }
    assert_eq!(lock(&mut rig, (CapType::Ram, at, 8 * P), [4 * P, P]), Ok(held::MADE), "no such object");
    let busy = [
        (slot::ROOT, Op::Delete, [COPY.0.into(), 0, 0, 0]),
        (slot::ROOT, Op::Copy, [halves(FRAME.0, NEW.0), 0xff, 0, 0]),
        (slot::ROOT, Op::Revoke, [FRAME.0.into(), 0, 0, 0]),
        (slot::ROOT, Op::Revoke, [RAM.0.into(), 0, 0, 0]),
        (RAM, Op::Clear, [8 * P, P, 0, 0]),
        (LEAF, Op::Map, [halves(0, 1), COPY.0.into(), RW, 0]),
        (slot::KERNEL, Op::Disown, [RAM.0.into(), OTHER.raw().into(), 0, 0]),
    ];
    for (target, op, words) in busy {
        assert_eq!(rig.invoke(target, op, &words), Err(Error::Busy), "{op:?}");
    }
    assert_eq!(rig.retype(RAM, CapType::Frame, 0, 2 * P, P, NEW), Err(Error::Busy));
    assert_eq!(adopt(&mut rig, frame, 0, CORE, NEW), Err(Error::Busy));
    // Revoking what it was all made of stops there.
    let all = rig.ram();
    assert_eq!(rig.revoke(all), Err(Error::Busy));
    assert_eq!(retype_agreed(&mut rig, RAM, CapType::Frame, 2 * P, P), Ok(0));
    for object in [frame, ram, ram] {
        unlock(&mut rig, object).unwrap();
    }
    delete(&mut rig, COPY).unwrap();
    copy(&mut rig, FRAME, COPY).unwrap();
    rig.retype(RAM, CapType::Frame, 0, 3 * P, P, CPtr::new(1, 247)).unwrap();
}

#[test]
fn a_lock_outlives_the_copies_it_stands_on() {
    let mut rig = Rig::boot();
    let at = furnish(&mut rig);
    let frame = (CapType::Frame, at, P);
    lock(&mut rig, frame, [0; 2]).unwrap();
    revoke(&mut rig, frame, [COPY, CPtr::NULL]);
    assert_eq!(delete(&mut rig, COPY), Err(Error::Busy));
    revoke(&mut rig, frame, [CPtr::NULL; 2]);
    assert_eq!(unlock(&mut rig, frame), Ok(0), "the lock went with the last");
    // The memory is as free as it ever was.
    rig.retype(RAM, CapType::Frame, 0, 0, P, FRAME).unwrap();
    copy(&mut rig, FRAME, COPY).unwrap();
    delete(&mut rig, FRAME).unwrap();
}

#[test]
fn what_other_cores_hold_is_kept_until_they_are_asked() {
    let mut rig = Rig::boot();
    let at = furnish(&mut rig);
    let (ram, frame) = ((CapType::Ram, at, 16 * P), (CapType::Frame, at, P));
    share(&mut rig, ram, mark::SHARE);
    share(&mut rig, frame, mark::SHARE);
    assert_eq!(rig.retype(RAM, CapType::Frame, 0, 2 * P, P, NEW), Err(Error::Remote));
    assert_eq!(rig.invoke(RAM, Op::Clear, &[2 * P, P]), Err(Error::Remote));
    assert_eq!(rig.invoke(slot::KERNEL, Op::Disown, &[RAM.0.into(), OTHER.raw().into()]), Err(Error::Remote));
    assert_eq!(rig.revoke(FRAME), Err(Error::Remote));
    // Memory that is shared may be mapped; the copy may go, the last one not, and stays mapped.
    map(&mut rig, LEAF, 0, FRAME).unwrap();
    delete(&mut rig, COPY).unwrap();
    assert_eq!(delete(&mut rig, FRAME), Err(Error::Remote));
    assert_eq!(rig.invoke(LEAF, Op::Unmap, &[halves(0, 1), 0]), Ok(0));
    share(&mut rig, frame, mark::UNSHARE);
    assert_eq!(delete(&mut rig, FRAME), Ok(0));
    share(&mut rig, ram, mark::UNSHARE);
    rig.retype(RAM, CapType::Frame, 0, 0, P, FRAME).unwrap();
}

#[test]
fn a_revocation_stops_at_what_was_made_and_shared_and_takes_no_copy_of_it() {
    let mut rig = Rig::boot();
    let at = furnish(&mut rig);
    rig.retype(RAM, CapType::Frame, 0, P, P, NEW).unwrap();
    share(&mut rig, (CapType::Frame, at + P, P), mark::SHARE);
    assert_eq!(rig.revoke(RAM), Err(Error::Remote));
    assert_eq!(rig.invoke(FRAME, Op::Nop, &[]), Err(Error::EmptySlot), "what came before it is gone");
    assert_eq!(rig.invoke(NEW, Op::Nop, &[]), Ok(0));
    // The monitors agree.
    let ram = (CapType::Ram, at, 16 * P);
    assert_eq!(monitor(&mut rig, Op::RevokeAgreed, 1, ram, [0; 2]), Ok(0));
    assert_eq!(lock(&mut rig, ram, [0, 16 * P]), Ok(held::COPY));
}

#[test]
fn marking_many_copies_goes_on_where_it_stopped() {
    let mut rig = Rig::boot();
    let at = furnish(&mut rig);
    let ram = rig.ram();
    let frame = (CapType::Frame, at, P);
    for node in 4..6 {
        rig.retype(ram, CapType::CNode, 0, u64::from(node) * 16 * P, CNODE_BYTES, NEW).unwrap();
        rig.invoke(slot::ROOT, Op::Attach, &[NEW.0.into(), node.into()]).unwrap();
        delete(&mut rig, NEW).unwrap();
        for n in 0..256 {
            copy(&mut rig, FRAME, CPtr::new(node, n)).unwrap();
        }
    }
    lock(&mut rig, frame, [0; 2]).unwrap();
    // Nothing changes between the calls: whoever would copy or delete finds it locked.
    let first = monitor(&mut rig, Op::Mark, mark::SHARE, frame, [0; 2]).unwrap();
    assert_ne!(first, 0);
    assert_eq!(copy(&mut rig, FRAME, NEW), Err(Error::Busy));
    assert_eq!(share(&mut rig, frame, mark::SHARE), 514 / 128 + 1);
    assert_eq!(rig.revoke(FRAME), Err(Error::Busy));
    // Of so many, a part goes a call.
    assert!(revoke(&mut rig, frame, [FRAME, COPY]) > 20);
    unlock(&mut rig, frame).unwrap();
    assert_eq!(delete(&mut rig, FRAME), Ok(0));
    assert_eq!(delete(&mut rig, COPY), Err(Error::Remote));
}

#[test]
fn another_cores_revocation_takes_everything_of_an_object_here() {
    let mut rig = Rig::boot();
    let at = furnish(&mut rig);
    map(&mut rig, LEAF, 0, FRAME).unwrap();
    let (ram, frame) = ((CapType::Ram, at, 16 * P), (CapType::Frame, at, P));
    share(&mut rig, frame, mark::SHARE);
    lock(&mut rig, ram, [0; 2]).unwrap();
    // On the core that asked one stays, on the owner's the monitor's own.
    adopt(&mut rig, frame, 0, CORE, NEW).unwrap();
    unlock(&mut rig, ram).unwrap();
    copy(&mut rig, RAM, ANCHOR).unwrap();
    let asked = CPtr::new(1, 247);
    copy(&mut rig, RAM, asked).unwrap();
    lock(&mut rig, ram, [0; 2]).unwrap();
    revoke(&mut rig, ram, [asked, ANCHOR]);
    assert_eq!(rig.invoke(RAM, Op::Nop, &[]), Err(Error::EmptySlot));
    assert_eq!(lock(&mut rig, ram, [0, 16 * P]), Ok(held::COPY));
    assert_eq!(rig.invoke(LEAF, Op::Unmap, &[halves(0, 1), 0]), Err(Error::NotMapped));
    // On the others, none.
    revoke(&mut rig, ram, [CPtr::NULL; 2]);
    assert_eq!(lock(&mut rig, ram, [0, 16 * P]), Ok(0));
}

#[test]
fn the_table_says_what_comes_from_other_cores() {
    let mut rig = Rig::boot();
    for (n, ty) in CapType::ALL.into_iter().enumerate() {
        let row = types::of(ty);
        let object = (ty, FAR + n as u64 * P, P);
        let adopted = adopt(&mut rig, object, 0, OTHER, NEW);
        if !row.crosses_cores {
            assert_eq!(adopted, Err(Error::WrongType), "{ty:?}");
            assert_eq!(lock(&mut rig, object, [0; 2]), Err(Error::WrongType), "{ty:?}");
            continue;
        }
        assert_eq!(adopted, Ok(0), "{ty:?}");
        // Nothing is made of it, cleared or revoked here; it may be copied and let go of.
        let made = [CapType::Frame, ty].map(|made| rig.retype(NEW, made, 0, 0, P, COPY));
        assert!(made.iter().all(Result::is_err), "{ty:?}");
        if ty != CapType::VNode {
            let cleared = rig.invoke(NEW, Op::Clear, &[0, P]);
            assert!(matches!(cleared, Err(Error::Remote | Error::WrongType)), "{ty:?}");
        }
        assert_eq!(rig.revoke(NEW), Err(Error::Remote), "{ty:?}");
        copy(&mut rig, NEW, COPY).unwrap();
        lock(&mut rig, object, [0; 2]).unwrap();
        assert_eq!(delete(&mut rig, COPY), Err(Error::Busy), "{ty:?}");
        unlock(&mut rig, object).unwrap();
        delete(&mut rig, COPY).unwrap();
        assert_eq!(delete(&mut rig, NEW), Ok(0), "{ty:?}");
        let island = CoreId::new(skerry_abi::IslandId(1), 0);
        let adopted = adopt(&mut rig, object, 0, island, NEW);
        assert_eq!(adopted.is_ok(), row.crosses_islands, "{ty:?}");
        revoke(&mut rig, object, [CPtr::NULL; 2]);
        assert_eq!(lock(&mut rig, object, [0; 2]), Ok(0), "{ty:?}");
    }
    rig.kernel.caps.check(&rig.kernel.memory);
}

#[test]
fn of_another_cores_ram_frames_are_made_as_agreed_and_nothing_the_cpu_driver_would_look_into() {
    let mut rig = Rig::boot();
    adopt(&mut rig, (CapType::Ram, FAR, 16 * P), 0, OTHER, RAM).unwrap();
    for (ty, len) in [(CapType::VNode, P), (CapType::CNode, CNODE_BYTES), (CapType::Dispatcher, P)] {
        assert_eq!(retype_agreed(&mut rig, RAM, ty, 0, len), Err(Error::Remote), "{ty:?}");
    }
    retype_agreed(&mut rig, RAM, CapType::Frame, 0, P).unwrap();
    let owner = rig.invoke(NEW, Op::Identify, &[0]).unwrap() >> 32;
    assert_eq!(owner, u64::from(OTHER.raw()), "what was made is the owner's");
    let ram = (CapType::Ram, FAR, 16 * P);
    assert_eq!(lock(&mut rig, ram, [0, P]), Err(Error::Overlap));
    delete(&mut rig, RAM).unwrap();
    assert_eq!(lock(&mut rig, ram, [0, P]), Err(Error::Overlap), "no copy of it is needed to know");
    assert_eq!(lock(&mut rig, ram, [P, P]), Ok(held::MADE));
}

#[test]
fn what_was_made_elsewhere_of_shared_ram_of_this_core_can_be_had_here() {
    let mut rig = Rig::boot();
    let at = furnish(&mut rig);
    let (ram, made) = ((CapType::Ram, at, 16 * P), (CapType::Frame, at + 8 * P, P));
    assert_eq!(adopt(&mut rig, made, 0, CORE, NEW), Err(Error::Overlap), "nobody else has the RAM");
    share(&mut rig, ram, mark::SHARE);
    adopt(&mut rig, made, 0, CORE, NEW).unwrap();
    assert_eq!(delete(&mut rig, NEW), Err(Error::Remote), "it is the last one here");
    assert_eq!(
        adopt(&mut rig, (CapType::Ram, at, P), 0, CORE, ANCHOR),
        Err(Error::Overlap),
        "a frame is here"
    );
    let table = (CapType::VNode, at + 9 * P, P);
    assert_eq!(adopt(&mut rig, table, 0, CORE, ANCHOR), Err(Error::EmptySlot), "a table would be made here");
    // RAM that was made elsewhere, and later the frame in it that was.
    adopt(&mut rig, (CapType::Ram, at + 8 * P, 2 * P), 0, CORE, ANCHOR).unwrap();
    rig.kernel.caps.check(&rig.kernel.memory);
}

#[test]
fn another_cores_table_is_mapped_and_never_looked_into() {
    let mut rig = Rig::boot();
    furnish(&mut rig);
    // Outside this core's memory: the rig would fail at the first look.
    let theirs = (CapType::VNode, FAR, P);
    adopt(&mut rig, theirs, 0, OTHER, NEW).unwrap();
    for (op, words) in [
        (Op::Map, [halves(0, 1), FRAME.0.into(), RW]),
        (Op::Unmap, [1 << 32, 0, 0]),
        (Op::Protect, [1 << 32, 0, 1]),
    ] {
        assert_eq!(rig.invoke(NEW, op, &words), Err(Error::Remote), "{op:?}");
    }
    assert_eq!(map(&mut rig, LEAF, 0, NEW), Err(Error::BadArgument), "it is no lower level");
    let parent = base(&mut rig, TABLE);
    map(&mut rig, TABLE, 7, NEW).unwrap();
    let entry = PhysAddr(parent + 7 * 8);
    assert_eq!(rig.word(entry) & ADDRESS, FAR);
    assert_eq!(map(&mut rig, TABLE, 8, NEW), Err(Error::Mapped));
    // It goes with the copy, and so do this core's translations.
    let flushes = |rig: &Rig| rig.outside.lock().unwrap().flushes;
    let before = flushes(&rig);
    copy(&mut rig, NEW, ANCHOR).unwrap();
    delete(&mut rig, NEW).unwrap();
    assert_eq!(rig.word(entry), 0);
    assert!(flushes(&rig) > before);
    // The owner's revocation finds every copy.
    let before = flushes(&rig);
    map(&mut rig, TABLE, 9, ANCHOR).unwrap();
    lock(&mut rig, theirs, [0; 2]).unwrap();
    revoke(&mut rig, theirs, [CPtr::NULL; 2]);
    assert_eq!(rig.word(PhysAddr(parent + 9 * 8)), 0);
    assert!(flushes(&rig) > before);
    // No domain runs in another core's root.
    adopt(&mut rig, theirs, 3, OTHER, NEW).unwrap();
    let ram = rig.ram();
    let dispatcher = CPtr::new(1, 247);
    rig.retype(ram, CapType::Dispatcher, 0, 40 * P, P, dispatcher).unwrap();
    let how = [halves(slot::ROOT.0, NEW.0), FRAME.0.into(), 0x60_0000, 0x70_0000, 0];
    assert_eq!(rig.invoke(dispatcher, Op::Configure, &how), Err(Error::Remote));
}

#[test]
fn a_shared_table_of_this_core_stays_until_the_others_have_let_go_of_it() {
    let mut rig = Rig::boot();
    furnish(&mut rig);
    let leaf = (CapType::VNode, base(&mut rig, LEAF), P);
    map(&mut rig, TABLE, 1, LEAF).unwrap();
    share(&mut rig, leaf, mark::SHARE);
    // Its owner alone writes it, as before.
    map(&mut rig, LEAF, 5, FRAME).unwrap();
    let entry = rig.word(PhysAddr(leaf.1 + 5 * 8));
    rig.invoke(LEAF, Op::Protect, &[halves(5, 1), 0, 1]).unwrap();
    assert_ne!(rig.word(PhysAddr(leaf.1 + 5 * 8)), entry);
    assert_eq!(delete(&mut rig, LEAF), Err(Error::Remote));
    let all = rig.ram();
    assert_eq!(rig.revoke(all), Err(Error::Remote));
    let parent = base(&mut rig, TABLE);
    assert_ne!(rig.word(PhysAddr(parent + 8)), 0, "it is still mapped");
    revoke(&mut rig, leaf, [CPtr::NULL; 2]);
    assert_eq!(rig.word(PhysAddr(parent + 8)), 0);
}

/// The page of a table may become another core's: what was mapped here before is not looked for there.
#[test]
fn what_was_mapped_in_a_table_that_went_is_not_looked_for_in_another_cores() {
    let mut rig = Rig::boot();
    furnish(&mut rig);
    let ram = rig.ram();
    rig.retype(ram, CapType::Ram, 0, 64 * P, 4 * P, ANCHOR).unwrap();
    rig.retype(ANCHOR, CapType::VNode, 0, 0, P, NEW).unwrap();
    let page = base(&mut rig, NEW);
    map(&mut rig, NEW, 3, FRAME).unwrap();
    delete(&mut rig, NEW).unwrap();
    rig.invoke(slot::KERNEL, Op::Disown, &[ANCHOR.0.into(), OTHER.raw().into()]).unwrap();
    adopt(&mut rig, (CapType::VNode, page, P), 0, OTHER, NEW).unwrap();
    // As its owner would have it: an entry like the old one.
    let entry = base(&mut rig, FRAME) | 1;
    rig.set_word(PhysAddr(page + 3 * 8), entry);
    delete(&mut rig, FRAME).unwrap();
    assert_eq!(rig.word(PhysAddr(page + 3 * 8)), entry, "another core's table was written");
}

#[test]
fn without_the_monitors_right_nobody_agrees_on_anything() {
    let mut rig = Rig::boot();
    let at = furnish(&mut rig);
    let rights = u64::from((Rights::all() - Rights::CONTROL).bits());
    rig.invoke(slot::ROOT, Op::Copy, &[halves(slot::KERNEL.0, NEW.0), rights]).unwrap();
    let frame = halves(CapType::Frame as u32, 1);
    for op in [Op::Adopt, Op::Mark, Op::RetypeAgreed, Op::RevokeAgreed] {
        assert_eq!(rig.invoke(NEW, op, &[frame, at, P, 0, RAM.0.into()]), Err(Error::NoRight), "{op:?}");
        assert_eq!(rig.invoke(RAM, op, &[frame, at, P, 0, RAM.0.into()]), Err(Error::WrongType), "{op:?}");
    }
    // Nor does the ordinary operation, invoked on the authority.
    let what = halves(CapType::Frame as u32 | 0xff_0000, 1);
    let words = [what, 2 * P, P, halves(0, COPY.0 + 9), RAM.0.into()];
    assert_eq!(rig.invoke(NEW, Op::Retype, &words), Err(Error::WrongType));
    assert_eq!(rig.invoke(slot::KERNEL, Op::Retype, &words), Err(Error::WrongType));
}
