//! Interrupt lines and message lines.

use super::rig::Rig;
use skerry_abi::domain::slot;
use skerry_abi::op::{halves, word0};
use skerry_abi::{CPtr, CapType, Error, FIRST_MESSAGE, IRQ_TABLES_ALIGN, IRQ_TABLES_BYTES, Op, Rights};
use skerry_arch_host::machine::MESSAGE;
use skerry_hal::machine::Interrupt;
use skerry_hal::{Handler, Next};

const BELL: CPtr = CPtr::new(1, 200);
const NARROW: CPtr = CPtr::new(1, 201);
const FRAME: CPtr = CPtr::new(1, 202);
const LINE: u64 = FIRST_MESSAGE as u64;

/// The events that are pending; waits a nanosecond for them.
fn wait(rig: &mut Rig) -> u64 {
    let deadline = rig.outside.lock().unwrap().now + 1;
    rig.next = rig.kernel.syscall([word0(slot::DISPATCHER, Op::Wait), 1 << 12, deadline, 0, 0, 0]);
    if matches!(rig.next, Next::Idle) {
        rig.pass(1);
    }
    rig.context().words[1]
}

fn bound(line: u64, edge: u64) -> Rig {
    let mut rig = Rig::boot();
    rig.invoke(slot::DISPATCHER, Op::MakeEndpoint, &[1 << 12, halves(0, BELL.0)]).unwrap();
    rig.invoke(slot::IRQS, Op::BindIrq, &[line, u64::from(BELL.0), edge]).unwrap();
    rig
}

#[test]
fn who_binds_a_message_line_hears_what_its_device_is_to_write() {
    let mut rig = bound(33, 1);
    assert!(rig.outside.lock().unwrap().edges.contains(&33));
    assert_eq!(rig.invoke(slot::IRQS, Op::BindIrq, &[LINE, u64::from(BELL.0)]), Ok(MESSAGE));
    assert_eq!(rig.invoke(slot::IRQS, Op::BindIrq, &[LINE, 0]), Ok(0));
    assert_eq!(rig.invoke(slot::IRQS, Op::BindIrq, &[LINE, u64::from(BELL.0)]), Ok(MESSAGE), "again");
}

#[test]
fn messages_that_come_while_one_is_held_are_one_more() {
    let mut rig = bound(LINE, 1);
    for _ in 0..3 {
        rig.interrupt(Interrupt::Line(FIRST_MESSAGE));
    }
    assert_eq!(wait(&mut rig), 1 << 12);
    rig.interrupt(Interrupt::Line(FIRST_MESSAGE));
    assert_eq!(wait(&mut rig), 0, "its driver has not acknowledged the first");
    rig.invoke(slot::IRQS, Op::AckIrq, &[LINE]).unwrap();
    assert_eq!(wait(&mut rig), 1 << 12, "what came meanwhile");
    rig.invoke(slot::IRQS, Op::AckIrq, &[LINE]).unwrap();
    assert_eq!(wait(&mut rig), 0, "is one");
    rig.interrupt(Interrupt::Line(FIRST_MESSAGE));
    assert_eq!(wait(&mut rig), 1 << 12);
}

#[test]
fn a_message_that_nobody_bound_goes_nowhere() {
    let mut rig = bound(LINE, 1);
    rig.invoke(slot::IRQS, Op::BindIrq, &[LINE, 0]).unwrap();
    for line in [FIRST_MESSAGE, FIRST_MESSAGE + 1, u32::MAX] {
        rig.interrupt(Interrupt::Line(line));
    }
    assert_eq!(wait(&mut rig), 0);
    assert_eq!(rig.invoke(slot::IRQS, Op::AckIrq, &[LINE]), Err(Error::BadState));
}

#[test]
fn a_driver_binds_its_own_lines_only_and_each_once() {
    let mut rig = bound(33, 0);
    let bell = u64::from(BELL.0);
    rig.retype(slot::IRQS, CapType::Irq, 0, 40, 2, NARROW).unwrap();
    for line in [39, 42, 33, LINE, u64::MAX] {
        assert_eq!(rig.invoke(NARROW, Op::BindIrq, &[line, bell]), Err(Error::BadArgument), "{line}");
        assert_eq!(rig.invoke(NARROW, Op::AckIrq, &[line]), Err(Error::BadArgument), "{line}");
    }
    assert_eq!(rig.invoke(NARROW, Op::BindIrq, &[40, bell]), Ok(0));
    assert_eq!(rig.invoke(NARROW, Op::BindIrq, &[40, bell]), Err(Error::InUse));
    assert_eq!(rig.invoke(slot::IRQS, Op::BindIrq, &[40, bell]), Err(Error::InUse));
    assert_eq!(rig.invoke(NARROW, Op::BindIrq, &[41, u64::from(NARROW.0)]), Err(Error::WrongType));
}

#[test]
fn bindings_are_bounded() {
    let mut rig = bound(0, 0);
    let bell = u64::from(BELL.0);
    let full = (1..256).find(|&line| rig.invoke(slot::IRQS, Op::BindIrq, &[line, bell]).is_err());
    let line = full.expect("there is a limit");
    assert_eq!(rig.invoke(slot::IRQS, Op::BindIrq, &[line, bell]), Err(Error::Full));
    rig.invoke(slot::IRQS, Op::BindIrq, &[0, 0]).unwrap();
    assert_eq!(rig.invoke(slot::IRQS, Op::BindIrq, &[line, bell]), Ok(0));
}

#[test]
fn the_tables_of_message_lines_are_the_callers_own_memory() {
    let mut rig = Rig::boot();
    let ram = rig.ram();
    let base = rig.invoke(ram, Op::Identify, &[1]).unwrap();
    let offset = base.next_multiple_of(IRQ_TABLES_ALIGN) - base;
    let frame = u64::from(FRAME.0);
    let tables = |rig: &mut Rig, cap| rig.invoke(cap, Op::IrqTables, &[frame]);
    assert_eq!(tables(&mut rig, slot::IRQS), Err(Error::EmptySlot));
    for (offset, len) in [(offset + 0x1000, IRQ_TABLES_BYTES), (offset, IRQ_TABLES_BYTES - 0x1000)] {
        rig.retype(ram, CapType::Frame, 0, offset, len, FRAME).unwrap();
        assert_eq!(tables(&mut rig, slot::IRQS), Err(Error::BadArgument));
        rig.invoke(slot::ROOT, Op::Delete, &[frame]).unwrap();
    }
    rig.retype(ram, CapType::Frame, 0, offset, IRQ_TABLES_BYTES, FRAME).unwrap();
    rig.retype(slot::IRQS, CapType::Irq, 0, 40, 2, NARROW).unwrap();
    assert_eq!(tables(&mut rig, NARROW), Err(Error::BadArgument), "no message line among them");
    assert_eq!(rig.invoke(slot::IRQS, Op::IrqTables, &[u64::from(NARROW.0)]), Err(Error::WrongType));
    assert_eq!(tables(&mut rig, slot::IRQS), Ok(0));
    assert_eq!(tables(&mut rig, slot::IRQS), Err(Error::Hardware), "once");
    let weak = u32::from((Rights::READ | Rights::GRANT).bits());
    let copy = CPtr::new(1, 203);
    rig.invoke(slot::ROOT, Op::Copy, &[halves(FRAME.0, copy.0), halves(weak, 0)]).unwrap();
    assert_eq!(rig.invoke(slot::IRQS, Op::IrqTables, &[u64::from(copy.0)]), Err(Error::NoRight));
}
