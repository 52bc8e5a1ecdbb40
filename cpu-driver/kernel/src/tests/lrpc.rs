//! Messages between dispatchers: rings, calls, what a hostile receiver writes, and death on both sides.

use super::rig::{Peer, Rig};
use proptest::prelude::*;
use skerry_abi::dispatcher::{State, event};
use skerry_abi::domain::slot;
use skerry_abi::lrpc::{self, HAND_OVER, LINE, WANTS_ROOM, kind, wake};
use skerry_abi::op::{halves, word0};
use skerry_abi::{CPtr, CapType, Error, Op, PAGE_SIZE, PhysAddr, Rights};
use skerry_hal::machine::Interrupt;
use skerry_hal::{Fault, FaultKind, Handler, Next, VirtAddr};

const BIT: u64 = 1 << 9;
const A: CPtr = CPtr::new(1, 240);
const B: CPtr = CPtr::new(1, 241);
const LAND: CPtr = CPtr::new(1, 242);

/// A started child whose ring of 4 slots has `endpoint`, which raises `BIT`.
fn server(rig: &mut Rig, n: u32, endpoint: CPtr) -> (Peer, PhysAddr) {
    let peer = rig.peer(n);
    let args = [BIT, halves(0, endpoint.0), PAGE_SIZE, 4, 0x55];
    assert_eq!(rig.invoke(peer.dispatcher, Op::MakeEndpoint, &args), Ok(0));
    rig.invoke(peer.dispatcher, Op::Start, &[]).unwrap();
    (peer, PhysAddr(peer.page.0 + PAGE_SIZE))
}

fn line(rig: &Rig, ring: PhysAddr, n: u64) -> [u64; 6] {
    core::array::from_fn(|word| rig.word(PhysAddr(ring.0 + LINE + n * LINE + word as u64 * 8)))
}

fn header(rig: &Rig, ring: PhysAddr) -> [u64; 4] {
    core::array::from_fn(|word| rig.word(PhysAddr(ring.0 + word as u64 * 8)))
}

fn set_header(rig: &Rig, ring: PhysAddr, word: u64, value: u64) {
    rig.set_word(PhysAddr(ring.0 + word * 8), value);
}

fn act(rig: &mut Rig, target: CPtr, op: Op, args: &[u64]) {
    let mut words = [0; 6];
    words[0] = word0(target, op);
    words[1..=args.len()].copy_from_slice(args);
    rig.next = rig.kernel.syscall(words);
}

#[test]
fn a_message_lies_in_the_ring_with_its_badge_and_unblocks_the_receiver() {
    let mut rig = Rig::boot();
    let (peer, ring) = server(&mut rig, 0, A);
    act(&mut rig, slot::DISPATCHER, Op::Yield, &[]);
    act(&mut rig, peer.dispatcher, Op::Wait, &[BIT, 0]);
    assert_eq!(rig.invoke(A, Op::Send, &[1, 2, 3, 4]), Ok(0), "the sender goes on");
    assert_eq!(header(&rig, ring), [1, 0, 0, 0]);
    assert_eq!(line(&rig, ring, 0), [u64::from(kind::MESSAGE), 0x55, 1, 2, 3, 4]);
    act(&mut rig, slot::DISPATCHER, Op::Wait, &[0, 0]);
    assert_eq!(rig.context().words, [0, BIT]);
    // Handed over, it runs at once, and the sender after it.
    act(&mut rig, peer.dispatcher, Op::Yield, &[]);
    let mut rig = Rig::boot();
    let (peer, _) = server(&mut rig, 0, A);
    act(&mut rig, slot::DISPATCHER, Op::Yield, &[]);
    act(&mut rig, peer.dispatcher, Op::Wait, &[BIT, 0]);
    act(&mut rig, A, Op::Send, &[1, 2, 3, 4, halves(0, HAND_OVER)]);
    assert_eq!(rig.context().words, [0, BIT]);
    act(&mut rig, peer.dispatcher, Op::Wait, &[BIT, 0]);
    assert_eq!(rig.context().words, [0, 0], "the sender, with its result");
}

#[test]
fn a_full_ring_says_so_and_its_room_is_told_once() {
    let mut rig = Rig::boot();
    let (peer, ring) = server(&mut rig, 0, A);
    for n in 0..4 {
        assert_eq!(rig.invoke(A, Op::Send, &[n]), Ok(0));
    }
    assert_eq!(header(&rig, ring)[3], 0);
    assert_eq!(rig.invoke(A, Op::Send, &[4]), Err(Error::Full));
    assert_eq!(header(&rig, ring), [4, 0, 0, WANTS_ROOM]);
    act(&mut rig, slot::DISPATCHER, Op::Wait, &[event::ROOM, 0]);
    // The receiver takes two messages, sees the flag, and says so.
    set_header(&rig, ring, 1, 2);
    assert_eq!(rig.invoke(peer.dispatcher, Op::Room, &[0]), Ok(0));
    assert_eq!(header(&rig, ring)[3], 0);
    act(&mut rig, peer.dispatcher, Op::Wait, &[0, 0]);
    assert_eq!(rig.context().words, [0, event::ROOM]);
    assert_eq!(rig.invoke(peer.dispatcher, Op::Room, &[0]), Ok(0));
    assert_eq!(rig.invoke(slot::DISPATCHER, Op::Wait, &[event::ROOM | event::NOW, 0]), Ok(event::NOW));
    for n in 0..2 {
        assert_eq!(rig.invoke(A, Op::Send, &[n]), Ok(0));
    }
    assert_eq!(rig.invoke(A, Op::Send, &[4]), Err(Error::Full));
    for index in [1, 15, 16, u64::MAX] {
        assert_eq!(rig.invoke(peer.dispatcher, Op::Room, &[index]), Err(Error::BadArgument));
    }
    // Whoever waits for room hears when there is nobody left to make it.
    rig.invoke(peer.dispatcher, Op::Stop, &[]).unwrap();
    assert_eq!(rig.invoke(slot::DISPATCHER, Op::Wait, &[event::ROOM | event::NOW, 0]), Ok(6));
    assert_eq!(rig.invoke(A, Op::Send, &[4]), Err(Error::PeerDied));
    assert_eq!(rig.invoke(peer.dispatcher, Op::Room, &[0]), Err(Error::BadState));
}

#[test]
fn whatever_the_receiver_writes_into_the_header_stays_its_own_harm() {
    for tail in [1, 5, 0x8000_0000, u64::from(u32::MAX), u64::MAX, 1 << 32] {
        let mut rig = Rig::boot();
        let (_, ring) = server(&mut rig, 0, A);
        let (before, after) = (PhysAddr(ring.0 - 8), PhysAddr(ring.0 + 5 * LINE));
        for at in [before, after] {
            rig.set_word(at, 0x5a5a);
        }
        for word in [0, 2, 3] {
            set_header(&rig, ring, word, u64::MAX);
        }
        set_header(&rig, ring, 1, tail);
        for n in 0..9 {
            let sent = rig.invoke(A, Op::Send, &[n, n, n, n]);
            assert!(n >= 4 && sent == Err(Error::Full) || n < 5, "{tail:#x} {n} {sent:?}");
        }
        let cap = u64::from(A.0);
        let sent = rig.invoke(A, Op::Send, &[0, 0, 0, 0, cap]);
        assert!(matches!(sent, Err(Error::Full | Error::NoReceiveSlot)), "{sent:?}");
        assert_eq!((rig.word(before), rig.word(after)), (0x5a5a, 0x5a5a));
    }
}

#[test]
fn a_ring_lies_within_the_frame_and_behind_the_page() {
    let mut rig = Rig::boot();
    let peer = rig.peer(0);
    let mut make = |offset, slots, to: CPtr| {
        rig.invoke(peer.dispatcher, Op::MakeEndpoint, &[BIT, halves(0, to.0), offset, slots, 1])
    };
    let first = lrpc::FIRST_OFFSET;
    for (offset, slots) in [
        (64, 4),
        (first - 64, 4),
        (first + 8, 4),
        (2 * PAGE_SIZE - 4 * 64, 4),
        (2 * PAGE_SIZE, 1),
        (u64::MAX - 63, 4),
        (first, 0),
        (first, 3),
        (first, 512),
        (first, u64::MAX),
        (first, 1 << 63),
    ] {
        assert_eq!(make(offset, slots, A), Err(Error::BadArgument), "{offset:#x} {slots}");
    }
    assert_eq!(make(2 * PAGE_SIZE - 5 * 64, 4, A), Ok(0));
    for n in 1..16 {
        assert_eq!(make(first, 1, CPtr::new(1, 200 + n)), Ok(u64::from(n)));
    }
    assert_eq!(make(first, 1, B), Err(Error::Full));
    // Its last endpoint gone, a ring's number is free again.
    rig.invoke(slot::ROOT, Op::Delete, &[u64::from(CPtr::new(1, 203).0)]).unwrap();
    let args = [BIT, halves(0, B.0), first, 1, 1];
    assert_eq!(rig.invoke(peer.dispatcher, Op::MakeEndpoint, &args), Ok(3));
    // One that was not configured has no frame.
    let ram = rig.ram();
    rig.retype(ram, CapType::Dispatcher, 0, 0x8_0000, PAGE_SIZE, LAND).unwrap();
    let args = [BIT, halves(0, CPtr::new(1, 199).0), first, 1, 1];
    assert_eq!(rig.invoke(LAND, Op::MakeEndpoint, &args), Err(Error::BadState));
}

#[test]
fn a_badge_is_given_once() {
    let mut rig = Rig::boot();
    let peer = rig.peer(0);
    let args = [BIT, halves(0, A.0), PAGE_SIZE, 4, 0];
    rig.invoke(peer.dispatcher, Op::MakeEndpoint, &args).unwrap();
    let copy =
        |from: CPtr, to: CPtr, badge| [halves(from.0, to.0), halves(Rights::all().bits().into(), 0), badge];
    rig.invoke(slot::ROOT, Op::Copy, &copy(A, B, 7)).unwrap();
    assert_eq!(rig.invoke(B, Op::Identify, &[3]), Ok(7));
    assert_eq!(rig.invoke(slot::ROOT, Op::Copy, &copy(B, LAND, 8)), Err(Error::BadArgument));
    assert_eq!(rig.invoke(slot::ROOT, Op::Copy, &copy(slot::PAGE, LAND, 8)), Err(Error::BadArgument));
    rig.invoke(slot::ROOT, Op::Copy, &copy(B, LAND, 0)).unwrap();
    assert_eq!(rig.invoke(LAND, Op::Identify, &[3]), Ok(7));
    rig.invoke(B, Op::Send, &[]).unwrap();
    rig.invoke(A, Op::Send, &[]).unwrap();
    let ring = PhysAddr(peer.page.0 + PAGE_SIZE);
    assert_eq!((line(&rig, ring, 0)[1], line(&rig, ring, 1)[1]), (7, 0));
}

#[test]
fn a_capability_comes_with_a_message_where_the_receiver_said() {
    let mut rig = Rig::boot();
    let (_, ring) = server(&mut rig, 0, A);
    let cap = |cptr: CPtr| [1, 2, 3, 4, u64::from(cptr.0)];
    assert_eq!(rig.invoke(A, Op::Send, &cap(slot::PAGE)), Err(Error::NoReceiveSlot), "none named");
    set_header(&rig, ring, 2, u64::from(LAND.0));
    assert_eq!(rig.invoke(A, Op::Send, &cap(B)), Err(Error::EmptySlot));
    let weak = halves((Rights::all() - Rights::GRANT).bits().into(), 0);
    rig.invoke(slot::ROOT, Op::Copy, &[halves(slot::PAGE.0, B.0), weak]).unwrap();
    assert_eq!(rig.invoke(A, Op::Send, &cap(B)), Err(Error::NoRight));
    assert_eq!(header(&rig, ring)[0], 0, "what was refused is not sent");
    assert_eq!(rig.invoke(A, Op::Send, &cap(slot::PAGE)), Ok(0));
    assert_eq!(line(&rig, ring, 0)[0], halves(kind::MESSAGE, LAND.0));
    assert_eq!(rig.invoke(LAND, Op::Identify, &[1]), rig.invoke(slot::PAGE, Op::Identify, &[1]));
    assert_eq!(rig.invoke(A, Op::Send, &cap(slot::PAGE)), Err(Error::NoReceiveSlot), "it is full now");
    set_header(&rig, ring, 2, u64::from(u32::MAX));
    assert_eq!(rig.invoke(A, Op::Send, &cap(slot::PAGE)), Err(Error::NoReceiveSlot), "no such slot");
}

#[test]
fn a_call_hands_the_core_over_and_the_answer_hands_it_back() {
    let mut rig = Rig::boot();
    let (peer, ring) = server(&mut rig, 0, A);
    act(&mut rig, slot::DISPATCHER, Op::Yield, &[]);
    act(&mut rig, peer.dispatcher, Op::ReplyWait, &[0, 0, 0, 0, 0]);
    for round in 0..3 {
        act(&mut rig, A, Op::Call, &[round, 2, 3, 4]);
        let context = rig.context();
        assert_eq!((context.words, context.more), ([0, 0x55], [round, 2, 3, 4, halves(0, wake::CALL)]));
        act(&mut rig, peer.dispatcher, Op::ReplyWait, &[round + 10, 20, 30, 40]);
        assert_eq!((rig.context().words, rig.context().more), ([0, 0], [round + 10, 20, 30, 40, 0]));
    }
    // Capabilities both ways.
    set_header(&rig, ring, 2, u64::from(LAND.0));
    act(&mut rig, A, Op::Call, &[0, 0, 0, 0, halves(slot::PAGE.0, B.0)]);
    assert_eq!(rig.context().more[4], halves(LAND.0, wake::CALL));
    assert!(rig.invoke(LAND, Op::Identify, &[]).is_ok());
    // One that cannot be had is the server's error, and the caller waits on.
    let answer = |cptr: CPtr| [0, 0, 0, 0, u64::from(cptr.0)];
    assert_eq!(rig.invoke(peer.dispatcher, Op::ReplyWait, &answer(CPtr::new(1, 250))), Err(Error::EmptySlot));
    act(&mut rig, peer.dispatcher, Op::ReplyWait, &answer(slot::INFO));
    assert_eq!(rig.context().more[4], u64::from(B.0));
    assert!(rig.invoke(B, Op::Identify, &[]).is_ok());
    // No slot: an error for the caller, and the server does not hear of it.
    let call = [0, 0, 0, 0, halves(slot::PAGE.0, 0)];
    assert_eq!(rig.invoke(A, Op::Call, &call), Err(Error::NoReceiveSlot));
    set_header(&rig, ring, 2, u64::from(CPtr::new(1, 244).0));
    assert_eq!(rig.invoke(A, Op::Call, &[0, 0, 0, 0, halves(251, 0)]), Err(Error::EmptySlot));
    act(&mut rig, A, Op::Call, &[9]);
    assert_eq!(rig.context().more[0], 9);
}

#[test]
fn callers_of_a_busy_server_are_heard_in_turn() {
    let mut rig = Rig::boot();
    let (peer, _) = server(&mut rig, 0, A);
    let (second, _) = server(&mut rig, 1, B);
    act(&mut rig, A, Op::Call, &[1]);
    // The server was not waiting; it runs, and then the other caller.
    act(&mut rig, peer.dispatcher, Op::Wait, &[0, 1_000_000]);
    act(&mut rig, A, Op::Call, &[2]);
    assert_eq!(rig.next, Next::Idle);
    rig.pass(1_000_000);
    assert_eq!(rig.invoke(peer.dispatcher, Op::Wait, &[BIT, 0]), Ok(BIT), "an event tells of callers");
    let reply = |words: u64| [words, 0, 0, 0, halves(0, event::NOW as u32)];
    act(&mut rig, peer.dispatcher, Op::ReplyWait, &reply(0));
    assert_eq!(rig.context().more[0], 1);
    act(&mut rig, peer.dispatcher, Op::ReplyWait, &reply(0x11));
    assert_eq!(rig.context().more[0], 2, "the server goes on with the next");
    act(&mut rig, peer.dispatcher, Op::ReplyWait, &reply(0x22));
    assert_eq!(rig.context().words, [0, event::NOW]);
    assert_eq!(rig.context().more[4], halves(0, wake::EVENTS));
    act(&mut rig, peer.dispatcher, Op::ReplyWait, &[0, 0, 0, 0, halves(0, BIT as u32)]);
    let mut answers = vec![rig.context().more[0]];
    act(&mut rig, second.dispatcher, Op::Yield, &[]);
    answers.push(rig.context().more[0]);
    assert_eq!(answers, [0x22, 0x11], "the core goes with the last answer");
    // An event ends the server's wait.
    rig.invoke(A, Op::Signal, &[]).unwrap();
    act(&mut rig, second.dispatcher, Op::Wait, &[0, 0]);
    act(&mut rig, slot::DISPATCHER, Op::Wait, &[0, 0]);
    assert_eq!((rig.context().words, rig.context().more), ([0, BIT], [0; 5]));
}

#[test]
fn callers_of_a_server_that_dies_are_told() {
    for waiting in [false, true] {
        let mut rig = Rig::boot();
        let (peer, _) = server(&mut rig, 0, A);
        let (second, _) = server(&mut rig, 1, B);
        if waiting {
            act(&mut rig, slot::DISPATCHER, Op::Yield, &[]);
            act(&mut rig, peer.dispatcher, Op::ReplyWait, &[]);
            act(&mut rig, second.dispatcher, Op::Yield, &[]);
            act(&mut rig, A, Op::Call, &[1]);
        } else {
            act(&mut rig, A, Op::Call, &[1]);
            act(&mut rig, peer.dispatcher, Op::Yield, &[]);
            act(&mut rig, A, Op::Call, &[2]);
        }
        // The server runs; it faults.
        rig.next = rig.kernel.fault(Fault { kind: FaultKind::Read, addr: VirtAddr(1), code: 2 });
        let callers = if waiting { 1 } else { 2 };
        let mut told = 0;
        for _ in 0..3 {
            told += u32::from(rig.context().words == [Error::PeerDied as u64, 0]);
            act(&mut rig, slot::DISPATCHER, Op::Yield, &[]);
            if rig.context().words[0] == Error::BadState as u64 {
                act(&mut rig, second.dispatcher, Op::Yield, &[]);
            }
        }
        assert!(told >= callers, "{waiting}: {told}");
        assert_eq!(rig.invoke(A, Op::Call, &[]), Err(Error::PeerDied));
    }
}

#[test]
fn a_caller_that_dies_is_forgotten() {
    for taken in [false, true] {
        let mut rig = Rig::boot();
        let (peer, _) = server(&mut rig, 0, A);
        let (second, _) = server(&mut rig, 1, B);
        act(&mut rig, slot::DISPATCHER, Op::Wait, &[event::DOORBELL, 0]);
        if taken {
            act(&mut rig, peer.dispatcher, Op::ReplyWait, &[]);
            act(&mut rig, A, Op::Call, &[1]);
        } else {
            act(&mut rig, peer.dispatcher, Op::Yield, &[]);
            act(&mut rig, A, Op::Call, &[1]);
        }
        // The server has the core.
        rig.invoke(second.dispatcher, Op::Stop, &[]).unwrap();
        assert_eq!(rig.invoke(second.dispatcher, Op::State, &[]), Ok(State::Dead as u64));
        act(&mut rig, peer.dispatcher, Op::ReplyWait, &[7, 7, 7, 7, halves(0, event::NOW as u32)]);
        assert_eq!(rig.context().words, [0, event::NOW], "nobody is left to be heard");
    }
}

#[test]
fn calls_that_cannot_be_answered_are_refused() {
    let mut rig = Rig::boot();
    let (peer, _) = server(&mut rig, 0, A);
    rig.invoke(peer.dispatcher, Op::MakeEndpoint, &[BIT, halves(0, B.0)]).unwrap();
    assert_eq!(rig.invoke(B, Op::Call, &[]), Err(Error::BadState), "no ring");
    assert_eq!(rig.invoke(B, Op::Send, &[]), Err(Error::BadState));
    assert_eq!(rig.invoke(peer.dispatcher, Op::ReplyWait, &[]), Err(Error::BadState), "not one's own");
    assert_eq!(rig.invoke(slot::DISPATCHER, Op::Call, &[]), Err(Error::WrongType));
    let own = [BIT, halves(0, LAND.0), lrpc::FIRST_OFFSET, 4, 0];
    rig.invoke(slot::DISPATCHER, Op::MakeEndpoint, &own).unwrap();
    assert_eq!(rig.invoke(LAND, Op::Call, &[]), Err(Error::BadArgument), "oneself");
    assert_eq!(rig.invoke(LAND, Op::Send, &[]), Ok(0), "but send one may");
    let deaf = halves((Rights::all() - Rights::SIGNAL).bits().into(), 0);
    let to = CPtr::new(1, 243);
    rig.invoke(slot::ROOT, Op::Copy, &[halves(A.0, to.0), deaf]).unwrap();
    assert_eq!(rig.invoke(to, Op::Call, &[]), Err(Error::NoRight));
    assert_eq!(rig.invoke(to, Op::Send, &[]), Err(Error::NoRight));
}

#[test]
fn an_interrupt_is_a_message_that_counts_while_it_is_unread() {
    let mut rig = Rig::boot();
    let (_, ring) = server(&mut rig, 0, A);
    rig.invoke(slot::IRQS, Op::BindIrq, &[33, u64::from(A.0)]).unwrap();
    let strike = |rig: &mut Rig| {
        rig.interrupt(Interrupt::Line(33));
        rig.invoke(slot::IRQS, Op::AckIrq, &[33]).unwrap();
    };
    for count in 1..4 {
        strike(&mut rig);
        assert_eq!(line(&rig, ring, 0), [u64::from(kind::IRQ), 0x55, 33, count, 0, 0]);
        assert_eq!(header(&rig, ring)[0], 1, "one message");
    }
    // Taken: the next one is new, and counts from one.
    set_header(&rig, ring, 1, 1);
    strike(&mut rig);
    assert_eq!((header(&rig, ring)[0], line(&rig, ring, 1)[3]), (2, 1));
    // Full of other messages, it is told of when there is room, with all that struck.
    set_header(&rig, ring, 1, 2);
    for n in 0..4 {
        rig.invoke(A, Op::Send, &[n]).unwrap();
    }
    strike(&mut rig);
    strike(&mut rig);
    assert_eq!(header(&rig, ring), [6, 2, 0, WANTS_ROOM]);
    set_header(&rig, ring, 1, 4);
    let peer = rig.peers[0].dispatcher;
    rig.invoke(peer, Op::Room, &[0]).unwrap();
    assert_eq!(line(&rig, ring, 2), [u64::from(kind::IRQ), 0x55, 33, 2, 0, 0]);
    // The ring goes, and with it the binding.
    rig.invoke(slot::ROOT, Op::Delete, &[u64::from(A.0)]).unwrap();
    assert!(!rig.outside.lock().unwrap().unmasked.contains(&33));
    assert_eq!(rig.invoke(slot::IRQS, Op::AckIrq, &[33]), Err(Error::BadState));
    rig.interrupt(Interrupt::Line(33));
}

/// Everybody is in the one list that fits their state.
fn check_lists(rig: &mut Rig) {
    let kernel = &mut rig.kernel;
    let ready = kernel.schedule.check_ready(&mut kernel.memory);
    assert_eq!(rig.next == Next::Idle, kernel.schedule.current.is_none());
    assert!(!kernel.schedule.current.is_none() || ready.is_empty(), "idle with work to do");
    let mut waiting = Vec::new();
    let mut at = kernel.schedule.waiting.first();
    while !at.is_none() {
        waiting.push(at);
        at = kernel.memory.dcb(at).next;
    }
    for at in (0..).map_while(|n| kernel.schedule.nth(n)) {
        let dcb = kernel.memory.dcb(at);
        let (state, callee, caller, listed) = (dcb.state(), dcb.callee, dcb.caller, dcb.is_listed());
        let runs = kernel.schedule.current == at;
        assert_eq!(ready.contains(&at), state == State::Ready && !runs, "{at:?}");
        assert_eq!(waiting.contains(&at), state == State::Waiting && callee.is_none() && listed, "{at:?}");
        if !caller.is_none() {
            assert_eq!(kernel.memory.dcb(caller).callee, at);
        }
        if !callee.is_none() {
            assert_eq!(state, State::Waiting);
            let mut queue = vec![kernel.memory.dcb(callee).caller];
            let mut next = kernel.memory.dcb(callee).callers.first();
            while !next.is_none() {
                queue.push(next);
                next = kernel.memory.dcb(next).next;
            }
            assert_eq!(queue.iter().filter(|one| **one == at).count(), 1, "{at:?}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(if cfg!(miri) { 2 } else { 64 }))]

    /// Four dispatchers say anything to each other, and some die: everybody is in exactly the list that fits what they
    /// do, and the core is idle only if nobody is ready.
    #[test]
    fn whatever_is_said_every_dispatcher_is_where_it_belongs(
        steps in proptest::collection::vec((0u8..12, 0usize..4, any::<u64>()), 1..300)
    ) {
        let mut rig = Rig::boot();
        let ends: Vec<_> = (0..4).map(|n| CPtr::new(1, 240 + n)).collect();
        let peers: Vec<_> = (0..4).map(|n| server(&mut rig, n, ends[n as usize])).collect();
        let all: Vec<_> = peers.iter().map(|p| p.0.dispatcher).chain([slot::DISPATCHER]).collect();
        for (what, whom, word) in steps {
            let (end, own) = (ends[whom], rig.running(&all));
            match (what, own) {
                (0, _) => rig.pass(word % 6_000_000),
                (1, _) => rig.interrupt(Interrupt::Doorbell),
                (_, None) => rig.pass(1000),
                (2 | 3, _) => act(&mut rig, end, Op::Send, &[word, 0, 0, 0, halves(0, word as u32 & 1)]),
                (4 | 5, _) => act(&mut rig, end, Op::Call, &[word, 0, 0, 0, word % 3 * u64::from(LAND.0)]),
                (6 | 7, Some(own)) => {
                    act(&mut rig, own, Op::ReplyWait, &[word, 0, 0, 0, halves(0, word as u32 & 0x201)]);
                }
                (8, Some(own)) => act(&mut rig, own, Op::Wait, &[BIT | 2, 1 + word % 1_000_000]),
                (9, _) => set_header(&rig, peers[whom].1, 1, word % 9),
                (10, _) => {
                    let schedule = [word % 8, word % 2 * 1000, 100_000];
                    act(&mut rig, all[whom], Op::Schedule, &schedule);
                }
                (_, Some(own)) if word % 40 != 0 => act(&mut rig, own, Op::Yield, &[]),
                _ => act(&mut rig, all[whom], Op::Stop, &[]),
            }
            check_lists(&mut rig);
        }
    }
}
