//! Dispatchers: start, wait, signal, preempt, upcall, resume, die.

use super::rig::{RAM, Rig};
use skerry_abi::dispatcher::{State, event, reason};
use skerry_abi::domain::slot;
use skerry_abi::op::halves;
use skerry_abi::{CPtr, CapType, Error, Op, PAGE_SIZE, PhysAddr, VirtAddr};
use skerry_hal::machine::Interrupt;
use skerry_hal::{Fault, FaultKind, Handler, Next, UserContext};

const CHILD: CPtr = CPtr::new(1, 220);
const PAGE: CPtr = CPtr::new(1, 221);
const DEATH: CPtr = CPtr::new(1, 222);
const BELL: CPtr = CPtr::new(1, 223);
const SLICE_NS: u64 = 5_000_000;

/// A second dispatcher in the same spaces; it starts at 0x60_0000.
fn child(rig: &mut Rig) -> PhysAddr {
    let ram = rig.ram();
    rig.retype(ram, CapType::Dispatcher, 0, 0, PAGE_SIZE, CHILD).unwrap();
    rig.retype(ram, CapType::Frame, 0, PAGE_SIZE, PAGE_SIZE, PAGE).unwrap();
    rig.invoke(slot::DISPATCHER, Op::MakeEndpoint, &[1 << 9, halves(0, DEATH.0)]).unwrap();
    rig.invoke(slot::DISPATCHER, Op::MakeEndpoint, &[1 << 10, halves(0, BELL.0)]).unwrap();
    let args = [halves(slot::ROOT.0, slot::VSPACE.0), halves(PAGE.0, DEATH.0), 0x60_0000, 0x70_0000, 7];
    rig.invoke(CHILD, Op::Configure, &args).unwrap();
    assert_eq!(rig.invoke(CHILD, Op::Configure, &args), Err(Error::BadState));
    PhysAddr(rig.invoke(PAGE, Op::Identify, &[1]).unwrap())
}

fn wait(rig: &mut Rig, mask: u64, deadline: u64) {
    let words = [skerry_abi::op::word0(slot::DISPATCHER, Op::Wait), mask, deadline, 0, 0, 0];
    rig.next = rig.kernel.syscall(words);
}

#[test]
fn waiting_gives_the_core_away_and_an_event_gives_it_back() {
    let mut rig = Rig::boot();
    child(&mut rig);
    rig.invoke(CHILD, Op::Start, &[]).unwrap();
    assert_eq!(rig.invoke(CHILD, Op::Start, &[]), Err(Error::BadState));
    wait(&mut rig, 1 << 10, 0);
    assert_eq!((rig.context().pc().0, rig.context().words[0]), (0x60_0000, 7));
    // The child signals the parent, and goes on; the parent runs when the child waits.
    assert_eq!(rig.invoke(BELL, Op::Signal, &[]), Ok(0));
    assert_eq!(rig.context().pc().0, 0x60_0000);
    let words = [skerry_abi::op::word0(CHILD, Op::Wait), 0, 0, 0, 0, 0];
    rig.next = rig.kernel.syscall(words);
    assert_eq!(rig.context().words, [0, 1 << 10]);
    // An event that came before the wait is not lost.
    rig.invoke(BELL, Op::Signal, &[]).unwrap();
    wait(&mut rig, 1 << 10, 0);
    assert_eq!(rig.context().words, [0, 1 << 10]);
}

#[test]
fn a_deadline_and_a_doorbell_end_a_wait() {
    let mut rig = Rig::boot();
    wait(&mut rig, event::DOORBELL, 1000);
    assert_eq!(rig.next, Next::Idle);
    assert_eq!(rig.outside.lock().unwrap().deadline, Some(1000));
    rig.pass(999);
    assert_eq!(rig.next, Next::Idle);
    rig.pass(1);
    assert_eq!(rig.context().words, [0, 0]);
    // A ring while nobody waits is remembered.
    rig.interrupt(Interrupt::Doorbell);
    wait(&mut rig, event::DOORBELL, 0);
    assert_eq!(rig.context().words, [0, event::DOORBELL]);
    wait(&mut rig, event::DOORBELL, 0);
    assert_eq!(rig.next, Next::Idle);
    rig.interrupt(Interrupt::Doorbell);
    assert_eq!(rig.context().words, [0, event::DOORBELL]);
}

#[test]
fn a_spinning_domain_is_preempted_and_gets_an_upcall_if_enabled() {
    let mut rig = Rig::boot();
    let page = child(&mut rig);
    rig.invoke(CHILD, Op::Start, &[]).unwrap();
    rig.pass(SLICE_NS);
    assert_eq!(rig.context().pc().0, 0x60_0000, "the child's turn");
    // The child enables upcalls to 0x61_0000 on a stack at 0x71_0000.
    rig.set_word(page, 0);
    rig.set_word(PhysAddr(page.0 + 8), 0x61_0000);
    rig.set_word(PhysAddr(page.0 + 16), 0x71_0000);
    rig.outside.lock().unwrap().float = [3, 4];
    rig.pass(SLICE_NS);
    assert_eq!(rig.context().words, [0, 0], "the parent again, with the result of its last call");
    rig.pass(SLICE_NS);
    assert_eq!((rig.context().pc().0, rig.context().sp().0), (0x61_0000, 0x71_0000));
    assert_eq!(rig.outside.lock().unwrap().float, [0, 0], "an upcall starts clean");
    assert_eq!(rig.word(page), 1 | 1 << 32);
    // Resume takes the thread up where it was, floating point and all.
    let words = [skerry_abi::op::word0(CHILD, Op::Resume), 0, 0, 0, 0, 0];
    rig.next = rig.kernel.syscall(words);
    assert_eq!(rig.context().pc().0, 0x60_0000);
    assert_eq!(rig.outside.lock().unwrap().float, [3, 4]);
    assert_eq!(rig.word(page), 0);
    rig.next = rig.kernel.syscall(words);
    assert_eq!(rig.context().words[0], Error::BadState as u64);
    // A saved state that points into the kernel is refused.
    rig.set_word(page, 1 | 1 << 32);
    rig.set_word(PhysAddr(page.0 + 64), !0);
    rig.next = rig.kernel.syscall(words);
    assert_eq!(rig.context().words[0], Error::BadArgument as u64);
}

#[test]
fn what_the_console_has_no_room_for_is_counted() {
    let mut rig = Rig::boot();
    rig.outside.lock().unwrap().console_room = Some(3);
    let kernel = slot::KERNEL;
    assert_eq!(rig.invoke(kernel, Op::ConsoleWrite, &[8, u64::from_le_bytes(*b"skerries")]), Ok(0));
    assert_eq!(rig.outside.lock().unwrap().console, b"ske");
    assert_eq!(rig.invoke(kernel, Op::Counter, &[4]), Ok(5));
}

#[test]
fn a_core_that_stops_says_so_in_a_frame_and_in_nothing_else() {
    let mut rig = Rig::boot();
    let ram = rig.ram();
    rig.retype(ram, CapType::Frame, 0, PAGE_SIZE, PAGE_SIZE, PAGE).unwrap();
    let (kernel, at) = (slot::KERNEL, PhysAddr(rig.invoke(PAGE, Op::Identify, &[1]).unwrap()));
    for (bad, why) in [(slot::ROOT, Error::NoRight), (ram, Error::NoRight), (CHILD, Error::EmptySlot)] {
        assert_eq!(rig.invoke(kernel, Op::PowerOff, &[u64::from(bad.0)]), Err(why), "{bad:?}");
    }
    let stop = std::panic::AssertUnwindSafe(|| rig.invoke(kernel, Op::PowerOff, &[u64::from(PAGE.0)]));
    let said = std::panic::catch_unwind(stop).unwrap_err();
    assert_eq!(said.downcast_ref(), Some(&"the core was stopped"));
    assert_eq!(rig.word(at), 1);
}

#[test]
fn a_fault_stops_that_domain_alone_and_tells_whoever_asked() {
    let mut rig = Rig::boot();
    child(&mut rig);
    rig.invoke(CHILD, Op::Start, &[]).unwrap();
    assert_eq!(rig.invoke(CHILD, Op::State, &[]), Ok(State::Ready as u64));
    wait(&mut rig, 1 << 9, 0);
    let fault = Fault { kind: FaultKind::Write, addr: VirtAddr(0x10), code: 6 };
    rig.next = rig.kernel.fault(fault);
    assert_eq!(rig.context().words, [0, 1 << 9], "the parent hears of it");
    let text = String::from_utf8(rig.outside.lock().unwrap().console.clone()).unwrap();
    assert!(text.contains("Write fault at 0x10"), "{text}");
    let dead = State::Dead as u64 | (FaultKind::Write as u64) << 8 | 0x10 << 16;
    assert_eq!(rig.invoke(CHILD, Op::State, &[]), Ok(dead));
    assert_eq!(rig.invoke(CHILD, Op::State, &[1]), Ok(0x60_0000), "where it stood");
    assert_eq!(rig.invoke(CHILD, Op::Start, &[]), Err(Error::BadState));
    rig.invoke(slot::ROOT, Op::Delete, &[u64::from(CHILD.0)]).unwrap();
    // Its memory is free again.
    let ram = rig.ram();
    rig.retype(ram, CapType::CNode, 0, 0x10000, 0x4000, CHILD).unwrap();
    assert!(rig.invoke(ram, Op::Identify, &[1]).unwrap() > RAM.base.0);
}

#[test]
fn a_scheduler_hears_of_the_end_of_its_slice_even_alone() {
    let mut rig = Rig::boot();
    let page = child(&mut rig);
    rig.invoke(CHILD, Op::Start, &[]).unwrap();
    wait(&mut rig, 1 << 10, 0);
    let deadline = |rig: &Rig| rig.outside.lock().unwrap().deadline;
    rig.pass(SLICE_NS);
    rig.interrupt(Interrupt::Timer);
    assert_eq!((deadline(&rig), rig.word(page)), (None, 1), "nobody to give the core to");
    rig.set_word(PhysAddr(page.0 + 8), 0x61_0000);
    rig.set_word(PhysAddr(page.0 + 16), 0x71_0000);
    assert_eq!(rig.invoke(CHILD, Op::Yield, &[]), Ok(0));
    rig.set_word(page, 1 << 32);
    let words = [skerry_abi::op::word0(CHILD, Op::Resume), 0, 0, 0, 0, 0];
    let saved = rig.context();
    rig.set_word(PhysAddr(page.0 + 64), saved.pc().0);
    rig.set_word(PhysAddr(page.0 + 72), saved.sp().0);
    rig.next = rig.kernel.syscall(words);
    assert_eq!(rig.context().pc().0, 0x60_0000);
    assert!(deadline(&rig).is_some_and(|at| at <= 3 * SLICE_NS), "{:?}", deadline(&rig));
    rig.pass(SLICE_NS);
    assert_eq!((rig.context().pc().0, rig.word(page)), (0x61_0000, 1 | 1 << 32));
    // Disabled, it goes on where it is, and can see that it missed one.
    rig.pass(SLICE_NS);
    assert_eq!((rig.context().pc().0, rig.word(page)), (0x61_0000, 3 | 1 << 32));
}

#[test]
fn a_fault_of_an_enabled_thread_enters_its_upcall_with_the_reason() {
    let mut rig = Rig::boot();
    let page = child(&mut rig);
    rig.invoke(CHILD, Op::Start, &[]).unwrap();
    wait(&mut rig, 1 << 9 | event::DOORBELL, 0);
    rig.set_word(page, 0);
    rig.set_word(PhysAddr(page.0 + 8), 0x61_0000);
    rig.set_word(PhysAddr(page.0 + 16), 0x71_0000);
    rig.outside.lock().unwrap().float = [3, 4];
    let fault = Fault { kind: FaultKind::Execute, addr: VirtAddr(0x1234), code: 0xabc };
    rig.next = rig.kernel.fault(fault);
    assert_eq!((rig.context().pc().0, rig.context().sp().0), (0x61_0000, 0x71_0000));
    assert_eq!(rig.word(page), 1 | 1 << 32);
    let at = |offset| rig.word(PhysAddr(page.0 + offset));
    assert_eq!(at(32), halves(super::rig::CORE.raw(), reason::FAULT));
    assert_eq!((at(40), at(48), at(56)), (FaultKind::Execute as u64, 0x1234, 0xabc));
    assert_eq!(at(64), 0x60_0000, "the thread where it faulted");
    assert!(rig.outside.lock().unwrap().console.is_empty(), "nobody died, nothing is said");
    // Resumed, and preempted: the reason says so.
    rig.next = rig.kernel.syscall([skerry_abi::op::word0(CHILD, Op::Resume), 0, 0, 0, 0, 0]);
    assert_eq!((rig.context().pc().0, rig.outside.lock().unwrap().float), (0x60_0000, [3, 4]));
    rig.interrupt(Interrupt::Doorbell);
    assert_eq!(rig.context().words, [0, event::DOORBELL], "the parent was woken");
    assert_eq!(rig.word(PhysAddr(page.0 + 32)), halves(super::rig::CORE.raw(), reason::PREEMPTED));
    wait(&mut rig, 1 << 9, 0);
    assert_eq!(rig.context().pc().0, 0x61_0000);
    // A fault while disabled is the end.
    rig.next = rig.kernel.fault(fault);
    assert_eq!(rig.context().words, [0, 1 << 9], "the parent hears of it");
    let text = String::from_utf8(rig.outside.lock().unwrap().console.clone()).unwrap();
    assert!(text.contains("Execute fault at 0x1234") && text.lines().count() == 2, "{text}");
}

#[test]
fn an_upcall_that_cannot_be_entered_does_not_save_a_domain() {
    for (entry, stack) in [(0, 0x71_0000), (!0, 0x71_0000), (0x61_0000, !0)] {
        let mut rig = Rig::boot();
        let page = child(&mut rig);
        rig.invoke(CHILD, Op::Start, &[]).unwrap();
        wait(&mut rig, 1 << 9, 0);
        rig.set_word(page, 0);
        rig.set_word(PhysAddr(page.0 + 8), entry);
        rig.set_word(PhysAddr(page.0 + 16), stack);
        rig.next = rig.kernel.fault(Fault { kind: FaultKind::Read, addr: VirtAddr(1), code: 2 });
        assert_eq!(rig.context().words, [0, 1 << 9], "{entry:#x} {stack:#x}");
    }
}

#[test]
fn a_device_line_reaches_its_driver_once_until_acknowledged() {
    let mut rig = Rig::boot();
    rig.invoke(slot::DISPATCHER, Op::MakeEndpoint, &[1 << 12, halves(0, BELL.0)]).unwrap();
    rig.invoke(slot::IRQS, Op::BindIrq, &[33, u64::from(BELL.0)]).unwrap();
    assert_eq!(rig.invoke(slot::IRQS, Op::BindIrq, &[33, u64::from(BELL.0)]), Err(Error::InUse));
    assert_eq!(rig.invoke(slot::IRQS, Op::BindIrq, &[9999, u64::from(BELL.0)]), Err(Error::Hardware));
    assert_eq!(rig.invoke(slot::IRQS, Op::AckIrq, &[34]), Err(Error::BadState));
    wait(&mut rig, 1 << 12, 0);
    rig.interrupt(Interrupt::Line(33));
    assert_eq!(rig.context().words, [0, 1 << 12]);
    assert!(!rig.outside.lock().unwrap().unmasked.contains(&33));
    rig.invoke(slot::IRQS, Op::AckIrq, &[33]).unwrap();
    assert!(rig.outside.lock().unwrap().unmasked.contains(&33));
    rig.invoke(slot::IRQS, Op::BindIrq, &[33, 0]).unwrap();
    assert!(!rig.outside.lock().unwrap().unmasked.contains(&33));
}

#[test]
fn what_the_capability_does_not_say_is_refused() {
    let mut rig = Rig::boot();
    let narrow = CPtr::new(1, 230);
    rig.retype(slot::PORTS, CapType::IoPort, 0, 0x3f8, 8, narrow).unwrap();
    assert_eq!(rig.invoke(narrow, Op::PortOut, &[0x3f8, 1, 65]), Ok(0));
    assert_eq!(rig.invoke(narrow, Op::PortIn, &[0x3f8, 1]), Ok(65));
    for (port, width) in [(0x3f7, 1), (0x400, 1), (0x3ff, 2), (0x3f8, 3), (u64::MAX, 1)] {
        assert_eq!(rig.invoke(narrow, Op::PortIn, &[port, width]), Err(Error::BadArgument), "{port:#x}");
    }
    assert_eq!(rig.invoke(slot::CORES, Op::StartCore, &[3, 0x1000, 0x2000]), Ok(1));
    assert_eq!(rig.invoke(slot::CORES, Op::StartCore, &[3, 0x1000, 0x2000]), Ok(0));
    assert_eq!(rig.invoke(slot::CORES, Op::StartCore, &[3, 0x1000, 0x2000]), Err(Error::BadState));
    assert_eq!(rig.invoke(slot::CORES, Op::Ring, &[3]), Ok(0));
    assert_eq!(rig.invoke(slot::KERNEL, Op::ConsoleWrite, &[33, 0, 0, 0, 0]), Err(Error::BadArgument));
    assert_eq!(rig.invoke(CPtr::NULL, Op::Nop, &[]), Ok(0));
    assert_eq!(rig.invoke(CPtr::NULL, Op::Wait, &[]), Err(Error::EmptySlot));
    assert_eq!(rig.invoke(CPtr(u32::MAX), Op::Nop, &[]), Err(Error::EmptySlot));
    assert_eq!(rig.call([1 | 999 << 32, 0, 0, 0, 0, 0]), Err(Error::NoSuchOp));
}
