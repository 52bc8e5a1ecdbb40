//! What a user program might try: each of these would hand it the CPU driver's own memory, stop the core, or leave an
//! object in nobody's hands.

use super::rig::{CORE, RAM, Rig};
use skerry_abi::cap::CNODE_BYTES;
use skerry_abi::dispatcher::State;
use skerry_abi::domain::{IMAGE_VADDR, slot};
use skerry_abi::op::{halves, word0};
use skerry_abi::{CPtr, CapType, CoreId, Error, Op, PAGE_SIZE, PhysAddr, Rights};
use skerry_hal::machine::Interrupt;
use skerry_hal::{Handler, MapFlags, Next};

const A: CPtr = CPtr::new(1, 240);
const B: CPtr = CPtr::new(1, 241);
const C: CPtr = CPtr::new(1, 242);
const LEAF: CPtr = CPtr::new(1, 243);
const RW: u64 = (MapFlags::READ.bits() | MapFlags::WRITE.bits()) as u64;
const RX: u64 = (MapFlags::READ.bits() | MapFlags::EXECUTE.bits()) as u64;

fn base(rig: &mut Rig, cptr: CPtr) -> u64 {
    rig.invoke(cptr, Op::Identify, &[1]).unwrap()
}

fn other(local: u16) -> CoreId {
    CoreId::new(CORE.island(), local)
}

fn adopt(rig: &mut Rig, ty: CapType, owner: CoreId, at: u64, len: u64, to: CPtr) -> Result<u64, Error> {
    let what = ty as u32 | u32::from(Rights::all().bits()) << 8;
    rig.invoke(slot::KERNEL, Op::Adopt, &[halves(what, owner.raw()), at, len, halves(0, to.0)])
}

#[test]
fn a_frame_that_was_unmapped_in_part_does_not_outlive_its_capability() {
    let mut rig = Rig::boot();
    let ram = rig.ram();
    rig.retype(ram, CapType::VNode, 0, 0, PAGE_SIZE, LEAF).unwrap();
    rig.retype(ram, CapType::Frame, 0, 0x10000, 4 * PAGE_SIZE, A).unwrap();
    rig.retype(ram, CapType::Frame, 0, 0x20000, PAGE_SIZE, B).unwrap();
    let table = base(&mut rig, LEAF);
    rig.invoke(LEAF, Op::Map, &[halves(0, 4), u64::from(A.0), RW, 0]).unwrap();
    // The first page goes, and another frame takes the place of the last.
    rig.invoke(LEAF, Op::Unmap, &[halves(0, 1), 0]).unwrap();
    rig.invoke(LEAF, Op::Unmap, &[halves(3, 1), 0]).unwrap();
    rig.invoke(LEAF, Op::Map, &[halves(3, 1), u64::from(B.0), RW, 0]).unwrap();
    let before = rig.outside.lock().unwrap().flushes;
    rig.invoke(slot::ROOT, Op::Delete, &[u64::from(A.0)]).unwrap();
    assert!(rig.outside.lock().unwrap().flushes > before);
    let entries: Vec<_> = (0..4).map(|n| rig.word(PhysAddr(table + n * 8)) != 0).collect();
    assert_eq!(entries, [false, false, false, true], "all of the first frame, and nothing of the second");
}

#[test]
fn unmapping_and_protecting_forget_more_than_the_address_a_caller_names() {
    let mut rig = Rig::boot();
    let ram = rig.ram();
    rig.retype(ram, CapType::VNode, 0, 0, PAGE_SIZE, LEAF).unwrap();
    rig.retype(ram, CapType::Frame, 0, 0x10000, PAGE_SIZE, A).unwrap();
    rig.invoke(LEAF, Op::Map, &[halves(0, 1), u64::from(A.0), RW, 0]).unwrap();
    let flushes = |rig: &Rig| rig.outside.lock().unwrap().flushes;
    let first = flushes(&rig);
    rig.invoke(LEAF, Op::Protect, &[halves(0, 1), 0xdead_0000, 1, 0]).unwrap();
    let second = flushes(&rig);
    rig.invoke(LEAF, Op::Unmap, &[halves(0, 1), 0xdead_0000]).unwrap();
    assert!(first < second && second < flushes(&rig));
}

#[test]
fn what_the_first_domain_is_made_of_stays_what_it_is() {
    let mut rig = Rig::boot();
    let found = |rig: &mut Rig, at: u64| {
        (0..256).map(|n| CPtr::new(1, n)).find(|&cptr| {
            rig.invoke(cptr, Op::Identify, &[0]).is_ok_and(|w| w as u8 == CapType::Ram as u8)
                && rig.invoke(cptr, Op::Identify, &[1]) == Ok(at)
        })
    };
    let used = found(&mut rig, RAM.base.0).unwrap();
    // The image's frames go; their pages are still mapped.
    for n in 0..200 {
        let word = rig.invoke(CPtr::new(1, n), Op::Identify, &[0]).unwrap_or(0);
        if word as u8 == CapType::Frame as u8 {
            rig.invoke(slot::ROOT, Op::Delete, &[u64::from(CPtr::new(1, n).0)]).unwrap();
        }
    }
    let len = rig.invoke(used, Op::Identify, &[2]).unwrap();
    for offset in (0..len - CNODE_BYTES).step_by(PAGE_SIZE as usize) {
        let made = rig.retype(used, CapType::CNode, 0, offset, CNODE_BYTES, A);
        assert_eq!(made, Err(Error::NoRight), "offset {offset:#x}");
    }
    assert_eq!(rig.invoke(slot::ROOT, Op::Copy, &[halves(used.0, A.0), 0xff]), Err(Error::NoRight));
}

#[test]
fn a_table_of_the_first_domain_goes_from_its_parent_with_its_capability() {
    let mut rig = Rig::boot();
    let leaf = (0..200).map(|n| CPtr::new(1, n)).find(|&cptr| {
        rig.invoke(cptr, Op::Identify, &[0])
            .is_ok_and(|w| w as u8 == CapType::VNode as u8 && w >> 16 & 0xff == 0)
    });
    let leaf = leaf.unwrap();
    let parent = rig.invoke(leaf, Op::Identify, &[3]).unwrap();
    let entry = PhysAddr((parent & skerry_hal::paging::ADDRESS) + (parent & 0x1ff) * 8);
    assert_ne!(rig.word(entry), 0, "{IMAGE_VADDR:#x} is mapped through it");
    rig.invoke(slot::ROOT, Op::Delete, &[u64::from(leaf.0)]).unwrap();
    assert_eq!(rig.word(entry), 0);
}

#[test]
fn memory_of_this_core_cannot_be_adopted() {
    let mut rig = Rig::boot();
    let ram = rig.ram();
    let start = base(&mut rig, ram);
    rig.retype(ram, CapType::CNode, 0, 0, CNODE_BYTES, A).unwrap();
    rig.retype(ram, CapType::Ram, 0, 0x10000, 4 * PAGE_SIZE, B).unwrap();
    rig.invoke(slot::KERNEL, Op::Disown, &[u64::from(B.0), u64::from(other(1).raw())]).unwrap();
    let given = start + 0x10000;
    let mut frame = |owner, at, pages: u64| adopt(&mut rig, CapType::Frame, owner, at, pages * PAGE_SIZE, C);
    assert_eq!(frame(other(1), start, 1), Err(Error::Overlap), "a CNode");
    assert_eq!(frame(other(1), start + 0x8000, 1), Err(Error::Overlap), "free RAM");
    assert_eq!(frame(other(1), RAM.base.0, 1), Err(Error::Overlap), "what the first domain is made of");
    assert_eq!(frame(other(1), given - PAGE_SIZE, 2), Err(Error::Overlap), "half free RAM");
    assert_eq!(frame(other(1), given + 3 * PAGE_SIZE, 2), Err(Error::Overlap), "half free RAM behind");
    assert_eq!(frame(other(2), given, 1), Err(Error::Overlap), "given to another");
    assert_eq!(frame(CORE, 0x8000_0000, 1), Err(Error::Overlap), "one's own, of no RAM");
    assert_eq!(frame(other(1), given + PAGE_SIZE, 2), Ok(0), "what that core was given");
    let far = adopt(&mut rig, CapType::Frame, other(1), 0x8000_0000, PAGE_SIZE, CPtr::new(1, 244));
    assert_eq!(far, Ok(0), "what was never this core's");
}

/// Rule `bounded`: what would take longer is refused as a whole.
#[test]
fn one_call_does_not_do_too_much() {
    let mut rig = Rig::boot();
    let ram = rig.ram();
    rig.retype(ram, CapType::VNode, 0, 0, PAGE_SIZE, LEAF).unwrap();
    rig.retype(ram, CapType::Frame, 0, 0x10000, 64 * PAGE_SIZE, A).unwrap();
    let map = |count, flags| [halves(0, count), u64::from(A.0), flags, 0];
    assert_eq!(rig.invoke(LEAF, Op::Map, &map(33, RX)), Err(Error::BadArgument));
    rig.invoke(LEAF, Op::Map, &map(64, RW)).unwrap();
    let protect = |count| [halves(0, count), 0, RX];
    assert_eq!(rig.invoke(LEAF, Op::Protect, &protect(33)), Err(Error::BadArgument));
    let table = PhysAddr(base(&mut rig, LEAF));
    let before = rig.word(table);
    rig.invoke(LEAF, Op::Protect, &protect(32)).unwrap();
    assert_ne!(rig.word(table), before);
}

/// The CPU driver reaches only its own core's RAM.
#[test]
fn memory_that_the_cpu_driver_cannot_reach_is_neither_page_nor_instructions() {
    let mut rig = Rig::boot();
    let ram = rig.ram();
    rig.retype(ram, CapType::VNode, 0, 0, PAGE_SIZE, LEAF).unwrap();
    rig.retype(ram, CapType::Dispatcher, 0, PAGE_SIZE, PAGE_SIZE, B).unwrap();
    adopt(&mut rig, CapType::Frame, other(1), 0x8000_0000, PAGE_SIZE, A).unwrap();
    adopt(&mut rig, CapType::WindowFrame, other(1), 0x9000_0000, PAGE_SIZE, C).unwrap();
    let configure = [halves(slot::ROOT.0, slot::VSPACE.0), u64::from(A.0), 0x60_0000, 0x70_0000, 7];
    assert_eq!(rig.invoke(B, Op::Configure, &configure), Err(Error::Remote));
    for cptr in [A, C] {
        let map = |flags| [halves(0, 1), u64::from(cptr.0), flags, 0];
        assert_eq!(rig.invoke(LEAF, Op::Map, &map(RX)), Err(Error::Remote));
        assert_eq!(rig.invoke(LEAF, Op::Map, &map(RW)), Ok(0));
        assert_eq!(rig.invoke(LEAF, Op::Protect, &[halves(0, 1), 0, RX]), Err(Error::NoRight));
        rig.invoke(LEAF, Op::Unmap, &[halves(0, 1), 0]).unwrap();
    }
}

#[test]
fn a_dispatcher_that_could_not_be_configured_can_still_be() {
    let mut rig = Rig::boot();
    let ram = rig.ram();
    rig.retype(ram, CapType::Dispatcher, 0, 0, PAGE_SIZE, A).unwrap();
    rig.retype(ram, CapType::Frame, 0, PAGE_SIZE, PAGE_SIZE, B).unwrap();
    let weak = u32::from((Rights::all() - Rights::GRANT).bits());
    rig.invoke(slot::ROOT, Op::Copy, &[halves(B.0, C.0), halves(weak, 0)]).unwrap();
    let with =
        |page: CPtr| [halves(slot::ROOT.0, slot::VSPACE.0), u64::from(page.0), 0x60_0000, 0x70_0000, 7];
    assert_eq!(rig.invoke(A, Op::Configure, &with(C)), Err(Error::NoRight));
    assert_eq!(rig.invoke(A, Op::Start, &[]), Err(Error::BadState));
    assert_eq!(rig.invoke(A, Op::Configure, &with(B)), Ok(0));
}

#[test]
fn a_dead_dispatcher_takes_no_signal_and_goes_even_if_it_awaited_its_own_death() {
    let mut rig = Rig::boot();
    let ram = rig.ram();
    rig.retype(ram, CapType::Dispatcher, 0, 0, PAGE_SIZE, A).unwrap();
    rig.retype(ram, CapType::Frame, 0, PAGE_SIZE, PAGE_SIZE, B).unwrap();
    rig.invoke(A, Op::MakeEndpoint, &[1 << 9, halves(0, C.0)]).unwrap();
    let configure = [halves(slot::ROOT.0, slot::VSPACE.0), halves(B.0, C.0), 0x60_0000, 0x70_0000, 7];
    rig.invoke(A, Op::Configure, &configure).unwrap();
    rig.invoke(A, Op::Start, &[]).unwrap();
    rig.invoke(A, Op::Stop, &[]).unwrap();
    assert_eq!(rig.invoke(A, Op::State, &[]), Ok(State::Dead as u64));
    assert_eq!(rig.invoke(C, Op::Signal, &[]), Err(Error::PeerDied));
    // The endpoint may outlive it: it stays as dead as it was, and keeps the memory from becoming anything else.
    rig.invoke(slot::ROOT, Op::Delete, &[u64::from(A.0)]).unwrap();
    assert_eq!(rig.invoke(C, Op::Signal, &[]), Err(Error::PeerDied));
    assert_eq!(rig.invoke(slot::IRQS, Op::BindIrq, &[33, u64::from(C.0)]), Err(Error::PeerDied));
    assert_eq!(rig.retype(ram, CapType::Frame, 0, 0, PAGE_SIZE, A), Err(Error::Overlap));
    rig.invoke(slot::ROOT, Op::Delete, &[u64::from(C.0)]).unwrap();
    rig.retype(ram, CapType::Frame, 0, 0, PAGE_SIZE, A).unwrap();
}

#[test]
fn a_domain_that_deletes_what_it_stands_on_goes_on_or_ends() {
    let mut rig = Rig::boot();
    // The root is put into itself, so that its own slots can be named; then a copy of it goes, and the rest does not.
    rig.invoke(slot::ROOT, Op::Attach, &[u64::from(slot::ROOT.0), 5]).unwrap();
    rig.invoke(slot::ROOT, Op::Copy, &[halves(slot::ROOT.0, A.0), 0xff]).unwrap();
    for cptr in [A, CPtr::new(5, 5), slot::VSPACE, slot::PAGE] {
        rig.invoke(slot::ROOT, Op::Delete, &[u64::from(cptr.0)]).unwrap();
    }
    assert_eq!(rig.invoke(CPtr::NULL, Op::Nop, &[]), Ok(0), "it runs on what its dispatcher keeps");
    // Its own dispatcher goes with the last capability for it.
    rig.next = rig.kernel.syscall([word0(slot::ROOT, Op::Delete), slot::DISPATCHER.0.into(), 0, 0, 0, 0]);
    assert_eq!(rig.next, Next::Idle);
}

#[test]
fn no_offset_length_or_count_overflows() {
    let mut rig = Rig::boot();
    let ram = rig.ram();
    let what = |count| halves(CapType::Frame as u32 | 0xff << 16, count);
    let huge = !(PAGE_SIZE - 1);
    for (offset, len, count) in [
        (huge, PAGE_SIZE, 1),
        (0, huge, 1),
        (0, huge, 2),
        (huge, huge, 4),
        (PAGE_SIZE, huge, 1),
        (0, PAGE_SIZE, 5),
        (0, PAGE_SIZE, 0),
        (0, 0, 1),
    ] {
        let words = [what(count), offset, len, halves(0, A.0)];
        assert_eq!(
            rig.invoke(ram, Op::Retype, &words),
            Err(Error::BadArgument),
            "{offset:#x} {len:#x} {count}"
        );
    }
    let last = CPtr::new(1, 255);
    let words = [what(2), 0, PAGE_SIZE, halves(0, last.0)];
    assert_eq!(rig.invoke(ram, Op::Retype, &words), Err(Error::BadArgument), "past the end of a CNode");
}

#[test]
fn waiting_for_nothing_is_waiting_until_stopped() {
    let mut rig = Rig::boot();
    rig.next = rig.kernel.syscall([word0(slot::DISPATCHER, Op::Wait), 0, 0, 0, 0, 0]);
    assert_eq!(rig.next, Next::Idle);
    rig.interrupt(Interrupt::Doorbell);
    rig.pass(1 << 40);
    assert_eq!(rig.next, Next::Idle);
}

#[test]
fn a_core_that_is_rung_without_end_goes_on_all_the_same() {
    let mut rig = Rig::boot();
    rig.outside.lock().unwrap().pending.extend([Interrupt::Doorbell; 1000]);
    rig.next = rig.kernel.interrupt();
    assert!(rig.outside.lock().unwrap().pending.len() > 900, "one entry takes a bounded number");
    assert_eq!(rig.invoke(CPtr::NULL, Op::Nop, &[]), Ok(0));
}
