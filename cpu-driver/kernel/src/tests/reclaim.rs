//! A parent gets back what it gave, whatever became of it.

use super::rig::{CORE, Rig};
use crate::cspace::slot_in;
use skerry_abi::cap::{CNODE_BYTES, CNODE_SLOTS};
use skerry_abi::dispatcher::event;
use skerry_abi::domain::slot;
use skerry_abi::op::{halves, word0};
use skerry_abi::{CPtr, CapType, CoreId, Error, Op, PAGE_SIZE, PhysAddr, Rights};
use skerry_caps::Store;
use skerry_hal::{Handler, MapFlags, Next, UserContext};

/// What the parent keeps.
const GIVEN: CPtr = CPtr::new(1, 200);
/// A copy of it that the child has.
const CHILDS: CPtr = CPtr::new(1, 201);
const A: CPtr = CPtr::new(1, 202);
const B: CPtr = CPtr::new(1, 203);
const RW: u64 = (MapFlags::READ.bits() | MapFlags::WRITE.bits()) as u64;
/// Index in the root at which the child's CNode hangs.
const NODE: u32 = 9;

fn copy(rig: &mut Rig, from: CPtr, to: CPtr, rights: Rights) -> Result<u64, Error> {
    rig.invoke(slot::ROOT, Op::Copy, &[halves(from.0, to.0), halves(u32::from(rights.bits()), 0)])
}

fn delete(rig: &mut Rig, at: CPtr) -> Result<u64, Error> {
    rig.invoke(slot::ROOT, Op::Delete, &[u64::from(at.0)])
}

/// RAM of `pages` for a child, in `GIVEN`, without the right to take it from the parent in `CHILDS`.
fn give(rig: &mut Rig, pages: u64) {
    let ram = rig.ram();
    rig.retype(ram, CapType::Ram, 0, 0, pages * PAGE_SIZE, GIVEN).unwrap();
    copy(rig, GIVEN, CHILDS, Rights::all() - Rights::CONTROL).unwrap();
}

/// A CNode of the given RAM at `index` of the root, its capability in `at`.
fn node(rig: &mut Rig, offset: u64, at: CPtr, index: u32) {
    rig.retype(CHILDS, CapType::CNode, 0, offset, CNODE_BYTES, at).unwrap();
    rig.invoke(slot::ROOT, Op::Attach, &[u64::from(at.0), u64::from(index)]).unwrap();
}

/// All of the given RAM can become something else, so nothing of what was made of it is left.
fn is_whole(rig: &mut Rig) {
    let space = PhysAddr(root(rig));
    let at = rig.kernel.slot_at(space, GIVEN).unwrap();
    assert!(!rig.kernel.caps.has_descendant(&rig.kernel.memory, at));
    assert!(!rig.kernel.caps.has_copy(&rig.kernel.memory, at));
    let len = rig.invoke(GIVEN, Op::Identify, &[2]).unwrap();
    rig.retype(GIVEN, CapType::Frame, 0, 0, len, CPtr::new(1, 250)).unwrap();
    delete(rig, CPtr::new(1, 250)).unwrap();
}

fn root(rig: &mut Rig) -> u64 {
    rig.invoke(slot::ROOT, Op::Identify, &[1]).unwrap()
}

#[test]
fn revoking_ram_takes_back_all_that_a_child_made_of_it() {
    let mut rig = Rig::boot();
    give(&mut rig, 32);
    // The child: a root CNode that holds itself, a CNode of its own, spaces, a frame it has mapped, a dispatcher that runs.
    node(&mut rig, 0, CPtr::new(1, 210), NODE);
    rig.invoke(CPtr::new(1, 210), Op::Attach, &[210 + 256, 7]).unwrap();
    let inside = |n| CPtr::new(NODE, n);
    for n in 0..4 {
        let level = 3 - n as u8;
        let at = CPtr::new(1, 220 + n);
        rig.retype(CHILDS, CapType::VNode, level, CNODE_BYTES + u64::from(n) * PAGE_SIZE, PAGE_SIZE, at)
            .unwrap();
        if n > 0 {
            rig.invoke(CPtr::new(1, 219 + n), Op::Map, &[halves(3, 1), at.0.into(), 0, 0]).unwrap();
        }
    }
    rig.retype(CHILDS, CapType::Frame, 0, 0x8000, 4 * PAGE_SIZE, inside(20)).unwrap();
    rig.invoke(CPtr::new(1, 223), Op::Map, &[halves(9, 4), inside(20).0.into(), RW, 0]).unwrap();
    rig.retype(CHILDS, CapType::Frame, 0, 0xc000, PAGE_SIZE, inside(21)).unwrap();
    rig.retype(CHILDS, CapType::Dispatcher, 0, 0xd000, PAGE_SIZE, inside(22)).unwrap();
    rig.invoke(slot::DISPATCHER, Op::MakeEndpoint, &[1 << 9, halves(0, A.0)]).unwrap();
    let how = [halves(466, CPtr::new(1, 220).0), halves(inside(21).0, A.0), 0x60_0000, 0x70_0000, 7];
    rig.invoke(inside(22), Op::Configure, &how).unwrap();
    rig.invoke(inside(22), Op::Start, &[]).unwrap();
    // An endpoint for it is held outside; a frame from outside is mapped inside.
    rig.invoke(inside(22), Op::MakeEndpoint, &[1 << 11, halves(0, B.0)]).unwrap();
    let outside = CPtr::new(1, 204);
    let ram = rig.ram();
    rig.retype(ram, CapType::Frame, 0, 64 * PAGE_SIZE, PAGE_SIZE, outside).unwrap();
    copy(&mut rig, outside, inside(30), Rights::all()).unwrap();
    rig.invoke(CPtr::new(1, 223), Op::Map, &[halves(99, 1), inside(30).0.into(), RW, 0]).unwrap();

    assert_eq!(
        rig.invoke(slot::ROOT, Op::Revoke, &[CHILDS.0.into()]),
        Err(Error::NoRight),
        "the parent's copy stays"
    );
    rig.revoke(GIVEN).unwrap();
    is_whole(&mut rig);
    for gone in [CHILDS, B, inside(22), CPtr::new(1, 220), CPtr::new(1, 210)] {
        assert_eq!(rig.invoke(gone, Op::Identify, &[0]), Err(Error::EmptySlot), "{gone:?}");
    }
    rig.invoke(outside, Op::Identify, &[0]).unwrap();
    let died = [word0(slot::DISPATCHER, Op::Wait), 1 << 9, 0, 0, 0, 0];
    rig.next = rig.kernel.syscall(died);
    assert_eq!(rig.context().words, [0, 1 << 9], "the parent is told of the death, and goes on");
    rig.kernel.caps.check(&rig.kernel.memory);
}

#[test]
fn revoking_what_was_made_leaves_the_copies() {
    let mut rig = Rig::boot();
    give(&mut rig, 8);
    rig.retype(CHILDS, CapType::Frame, 0, 0, PAGE_SIZE, A).unwrap();
    assert_eq!(rig.invoke(slot::ROOT, Op::Revoke, &[halves(CHILDS.0, 1)]), Ok(0));
    assert_eq!(rig.invoke(A, Op::Identify, &[0]), Err(Error::EmptySlot));
    rig.invoke(GIVEN, Op::Identify, &[0]).unwrap();
    let weak = Rights::all() - Rights::GRANT;
    copy(&mut rig, GIVEN, B, weak).unwrap();
    for words in [halves(B.0, 0), halves(B.0, 1)] {
        assert_eq!(rig.invoke(slot::ROOT, Op::Revoke, &[words]), Err(Error::NoRight));
    }
    assert_eq!(rig.invoke(slot::ROOT, Op::Revoke, &[A.0.into()]), Err(Error::EmptySlot));
}

#[test]
fn full_cnodes_in_circles_are_emptied_in_bounded_steps() {
    let mut rig = Rig::boot();
    let nodes = 5u32;
    give(&mut rig, u64::from(nodes) * CNODE_BYTES / PAGE_SIZE);
    // Each holds the only capability for the next, the last that for the first; the rest is copies of one endpoint.
    let at = |n: u32| CPtr::new(1, 210 + n % nodes);
    rig.invoke(slot::DISPATCHER, Op::MakeEndpoint, &[1 << 9, halves(0, A.0)]).unwrap();
    for n in 0..nodes {
        node(&mut rig, u64::from(n) * CNODE_BYTES, at(n), NODE + n);
    }
    for n in 0..nodes {
        let here = |m| CPtr::new(NODE + n, m);
        copy(&mut rig, at(n + 1), here(0), Rights::all()).unwrap();
        for m in 1..CNODE_SLOTS {
            copy(&mut rig, A, here(m), Rights::all()).unwrap();
        }
    }
    for n in 0..nodes {
        delete(&mut rig, at(n)).unwrap();
        let space = root(&mut rig);
        let slot = slot_in(PhysAddr(space), NODE + n);
        rig.kernel.shed(slot, false).unwrap();
    }
    let calls = rig.revoke(GIVEN).unwrap();
    assert!(calls > 50, "1,275 capabilities do not go in {calls} calls");
    is_whole(&mut rig);
    assert_eq!(rig.invoke(A, Op::Signal, &[]), Ok(0));
    rig.kernel.caps.check(&rig.kernel.memory);
}

#[test]
fn deleting_the_last_capability_of_a_cnode_empties_it() {
    let mut rig = Rig::boot();
    give(&mut rig, 12);
    node(&mut rig, 0, A, NODE);
    for n in 0..200 {
        copy(&mut rig, slot::INFO, CPtr::new(NODE, n), Rights::all()).unwrap();
    }
    rig.retype(CHILDS, CapType::CNode, 0, CNODE_BYTES, CNODE_BYTES, CPtr::new(NODE, 201)).unwrap();
    rig.retype(CHILDS, CapType::Frame, 0, 2 * CNODE_BYTES, PAGE_SIZE, CPtr::new(NODE, 202)).unwrap();
    rig.invoke(slot::ROOT, Op::Attach, &[slot::ROOT.0.into(), 11]).unwrap();
    delete(&mut rig, A).unwrap();
    // The one in the root is the last; once its slot is empty, what is left is asked for by no name.
    let mut left = delete(&mut rig, CPtr::new(11, NODE)).unwrap();
    assert_eq!(left, 1);
    while left == 1 {
        left = match delete(&mut rig, CPtr::new(11, NODE)) {
            Err(Error::EmptySlot) => delete(&mut rig, CPtr::NULL).unwrap(),
            other => other.unwrap(),
        };
    }
    delete(&mut rig, CHILDS).unwrap();
    is_whole(&mut rig);
}

#[test]
fn a_cnode_full_of_cnodes_goes_too() {
    let mut rig = Rig::boot();
    // 257 CNodes are more than the arena has: the same CNode 256 times, but for one that is the last of its kind.
    give(&mut rig, 12);
    node(&mut rig, 0, A, NODE);
    rig.retype(CHILDS, CapType::CNode, 0, CNODE_BYTES, CNODE_BYTES, CPtr::new(NODE, 0)).unwrap();
    rig.retype(CHILDS, CapType::CNode, 0, 2 * CNODE_BYTES, CNODE_BYTES, B).unwrap();
    for n in 1..CNODE_SLOTS {
        copy(&mut rig, B, CPtr::new(NODE, n), Rights::all()).unwrap();
    }
    let space = root(&mut rig);
    rig.kernel.shed(slot_in(PhysAddr(space), NODE), false).unwrap();
    while delete(&mut rig, A).is_ok_and(|left| left == 1) {}
    rig.revoke(GIVEN).unwrap();
    is_whole(&mut rig);
    rig.kernel.caps.check(&rig.kernel.memory);
}

#[test]
fn whoever_revokes_what_it_stands_on_ends() {
    // Its CNode, its page table, its dispatcher page, its dispatcher: made of RAM that the domain itself then revokes.
    for what in [CapType::CNode, CapType::VNode, CapType::Frame, CapType::Dispatcher] {
        let mut rig = Rig::boot();
        give(&mut rig, 16);
        let (mut root, mut table, mut page, mut object) =
            (slot::ROOT, slot::VSPACE, slot::PAGE, CPtr::new(1, 230));
        let ram = rig.ram();
        rig.retype(ram, CapType::Dispatcher, 0, 64 * PAGE_SIZE, PAGE_SIZE, object).unwrap();
        let made = CPtr::new(1, 231);
        let from = |rig: &mut Rig, ty, level, len| {
            rig.retype(CHILDS, ty, level, 0, len, made).unwrap();
        };
        match what {
            CapType::CNode => {
                from(&mut rig, what, 0, CNODE_BYTES);
                root = made;
                // The two CNodes of the space, so that it names the same things.
                let space = self::root(&mut rig);
                for n in 0..2 {
                    let base = rig.kernel.memory.slot(slot_in(PhysAddr(space), n)).cap().unwrap();
                    let to = slot_in(PhysAddr(rig.invoke(made, Op::Identify, &[1]).unwrap()), n);
                    rig.kernel.caps.insert(&mut rig.kernel.memory, to, &base).unwrap();
                }
            }
            CapType::VNode => {
                from(&mut rig, what, 3, PAGE_SIZE);
                table = made;
            }
            CapType::Frame => {
                from(&mut rig, what, 0, PAGE_SIZE);
                page = made;
            }
            _ => {
                from(&mut rig, what, 0, PAGE_SIZE);
                object = made;
            }
        }
        let how = [halves(root.0, table.0), page.0.into(), 0x60_0000, 0x70_0000, 7];
        rig.invoke(object, Op::Configure, &how).unwrap();
        rig.invoke(object, Op::Start, &[]).unwrap();
        rig.next = rig.kernel.syscall([word0(slot::DISPATCHER, Op::Wait), event::DOORBELL, 0, 0, 0, 0]);
        assert_eq!(rig.context().pc().0, 0x60_0000, "{what:?}");
        let words = [word0(slot::ROOT, Op::Revoke), GIVEN.0.into(), 0, 0, 0, 0];
        for _ in 0..4 {
            if rig.next != Next::Idle {
                rig.next = rig.kernel.syscall(words);
            }
        }
        assert_eq!(rig.next, Next::Idle, "{what:?}");
        rig.interrupt(skerry_hal::machine::Interrupt::Doorbell);
        rig.revoke(GIVEN).unwrap();
        is_whole(&mut rig);
        rig.kernel.caps.check(&rig.kernel.memory);
    }
}

#[test]
fn ram_of_another_core_is_not_revoked_and_keeps_what_holds_it() {
    let mut rig = Rig::boot();
    give(&mut rig, 16);
    let other = CoreId::new(CORE.island(), 1);
    rig.retype(CHILDS, CapType::Ram, 0, 0, 4 * PAGE_SIZE, A).unwrap();
    rig.invoke(slot::KERNEL, Op::Disown, &[A.0.into(), other.raw().into()]).unwrap();
    assert_eq!(rig.revoke(A), Err(Error::Remote));
    assert_eq!(rig.revoke(GIVEN), Err(Error::Remote));
    assert_eq!(rig.retype(GIVEN, CapType::Frame, 0, 0, PAGE_SIZE, B), Err(Error::Overlap));
    copy(&mut rig, GIVEN, CHILDS, Rights::all()).unwrap();
    // In a CNode that goes, it goes on keeping the region from any other use.
    node(&mut rig, 4 * PAGE_SIZE, B, NODE);
    rig.retype(GIVEN, CapType::Ram, 0, 8 * PAGE_SIZE, 4 * PAGE_SIZE, CPtr::new(NODE, 3)).unwrap();
    rig.invoke(slot::KERNEL, Op::Disown, &[CPtr::new(NODE, 3).0.into(), other.raw().into()]).unwrap();
    delete(&mut rig, B).unwrap();
    let space = root(&mut rig);
    rig.kernel.shed(slot_in(PhysAddr(space), NODE), false).unwrap();
    assert_eq!(delete(&mut rig, CPtr::NULL), Err(Error::Remote));
    assert_eq!(delete(&mut rig, CPtr::NULL), Ok(0), "nobody else is kept from anything");
    assert_eq!(rig.retype(GIVEN, CapType::Frame, 0, 8 * PAGE_SIZE, PAGE_SIZE, B), Err(Error::Overlap));
    rig.kernel.caps.check(&rig.kernel.memory);
}

#[test]
fn clearing_needs_the_right_and_takes_nothing_in_use() {
    let mut rig = Rig::boot();
    give(&mut rig, 16);
    let base = rig.invoke(GIVEN, Op::Identify, &[1]).unwrap();
    rig.set_word(PhysAddr(base + 0x1008), 7);
    rig.set_word(PhysAddr(base + 0x2008), 8);
    assert_eq!(rig.invoke(GIVEN, Op::Clear, &[0x1000, 0x1000]), Ok(0));
    assert_eq!((rig.word(PhysAddr(base + 0x1008)), rig.word(PhysAddr(base + 0x2008))), (0, 8));
    for (offset, len) in [(0, 0x8001), (0x1_0000, 1), (0xffff, 2), (!0, 2), (2, !0)] {
        assert_eq!(
            rig.invoke(GIVEN, Op::Clear, &[offset, len]),
            Err(Error::BadArgument),
            "{offset:#x} {len:#x}"
        );
    }
    copy(&mut rig, GIVEN, A, Rights::READ).unwrap();
    assert_eq!(rig.invoke(A, Op::Clear, &[0, 8]), Err(Error::NoRight));
    rig.retype(GIVEN, CapType::VNode, 0, 0, PAGE_SIZE, B).unwrap();
    assert_eq!(rig.invoke(GIVEN, Op::Clear, &[0x2000, 8]), Err(Error::InUse));
    assert_eq!(rig.invoke(B, Op::Clear, &[0, 8]), Err(Error::WrongType));
    rig.retype(GIVEN, CapType::Frame, 0, 0x2000, PAGE_SIZE, CPtr::new(1, 240)).unwrap();
    assert_eq!(rig.invoke(CPtr::new(1, 240), Op::Clear, &[0, 0x1000]), Ok(0));
    assert_eq!(rig.word(PhysAddr(base + 0x2008)), 0);
}
