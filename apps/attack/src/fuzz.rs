//! `attack fuzz N SEED`: N invocations of garbage, by children with a capability space of their own that is full of things
//! to spoil. They share this domain's code, and have nothing of what this domain needs to go on; what they were given is
//! revoked when they die, block, or have had their share.

use crate::child::{Child, DEATH};
use crate::words::Source;
use crate::{SURVIVED, UNKNOWN};
use core::sync::atomic::{AtomicU64, Ordering};
use core::time::Duration;
use skerry_abi::cap::{CNODE_BYTES, DISPATCHER_BYTES};
use skerry_abi::dispatcher::State;
use skerry_abi::domain::slot;
use skerry_abi::{CPtr, CapType, Error, PAGE_SIZE, Rights};
use skerry_hal::FaultKind;
use skerry_user::cap::{self, CNode, Configure, Dispatcher, Endpoint, Frame, Make, ROOT, SELF, VNode};
use skerry_user::{Domain, ISA, clock, println};

/// Invocations of one child.
const SHARE: u64 = 1_000;
/// RAM that one child spoils.
const RAM: u64 = 1 << 20;
/// Bytes of a child's stack.
const STACK: u64 = 16 << 10;
/// Between two looks at a child.
const LOOK: Duration = Duration::from_millis(2);
/// Looks at a child that makes no progress before it is given up.
const PATIENCE: u32 = 3;

/// What a child is made of: type, level, offset in its RAM, bytes, and where in its own space it finds it (0: nowhere).
const PARTS: [(CapType, u8, u64, u64, u32); 16] = [
    (CapType::CNode, 0, 0, CNODE_BYTES, 1),
    (CapType::CNode, 0, 0x4000, CNODE_BYTES, 28),
    (CapType::CNode, 0, 0x8000, CNODE_BYTES, 29),
    (CapType::Dispatcher, 0, 0xc000, DISPATCHER_BYTES, 3),
    (CapType::Frame, 0, 0xd000, 4 * PAGE_SIZE, 4),
    (CapType::VNode, 3, 0x11000, PAGE_SIZE, 2),
    (CapType::VNode, 2, 0x12000, PAGE_SIZE, 18),
    (CapType::VNode, 1, 0x13000, PAGE_SIZE, 19),
    (CapType::VNode, 0, 0x14000, PAGE_SIZE, 20),
    (CapType::Dispatcher, 0, 0x15000, DISPATCHER_BYTES, 21),
    (CapType::Frame, 0, 0x16000, PAGE_SIZE, 22),
    (CapType::Frame, 0, 0x18000, 8 * PAGE_SIZE, 23),
    (CapType::CNode, 0, 0x20000, CNODE_BYTES, 24),
    (CapType::Ram, 0, 0x30000, 0x10000, 16),
    (CapType::Ram, 0, 0x40000, 0x80000, 17),
    (CapType::Dispatcher, 0, 0x24000, DISPATCHER_BYTES, 26),
];
const ROOT_PART: usize = 0;
const NODE_PART: usize = 1;
const SECOND_PART: usize = 2;
const SELF_PART: usize = 3;
const PAGE_PART: usize = 4;

static CALLS: AtomicU64 = AtomicU64::new(0);
static TAKEN: AtomicU64 = AtomicU64::new(0);
static LONGEST: AtomicU64 = AtomicU64::new(0);
static LONGEST_WORD: AtomicU64 = AtomicU64::new(0);

/// How a child ended, counted.
#[derive(Default)]
struct Ends {
    children: u64,
    faults: u64,
    stopped: u64,
    blocked: u64,
}

/// Runs it.
pub fn run<'a>(domain: &mut Domain, mut words: impl Iterator<Item = &'a str>) -> u8 {
    let mut number = || words.next().and_then(|word| word.parse::<u64>().ok());
    let (Some(calls), Some(seed)) = (number(), number()) else {
        println!("attack fuzz N SEED");
        return UNKNOWN;
    };
    match fuzz(domain, calls, seed) {
        Ok((done, ends)) => {
            let isa = ISA.name();
            println!("fuzz.calls.{isa} {done} calls");
            println!("fuzz.taken.{isa} {} calls", TAKEN.load(Ordering::Relaxed));
            println!("fuzz.children.{isa} {} children", ends.children);
            println!("{} died of a fault, {} stopped, {} blocked", ends.faults, ends.stopped, ends.blocked);
            let word = LONGEST_WORD.load(Ordering::Relaxed);
            println!("longest: {} ticks, operation {}", LONGEST.load(Ordering::Relaxed), word >> 32);
            0
        }
        Err(error) => {
            println!("fuzz: after {} calls of a child: {error}", CALLS.load(Ordering::Relaxed));
            SURVIVED
        }
    }
}

fn fuzz(domain: &mut Domain, calls: u64, seed: u64) -> Result<(u64, Ends), Error> {
    let ram = domain.mem.ram(RAM, PAGE_SIZE, None)?.cap;
    let (_, stack) = domain.zeroed(STACK, None)?;
    let death = domain.mem.endpoint(SELF, DEATH)?;
    let bell = domain.mem.endpoint(SELF, DEATH << 1)?;
    let mut slots = [CPtr::NULL; PARTS.len()];
    for slot in &mut slots {
        *slot = domain.mem.slot()?;
    }
    let (mut done, mut ends) = (0, Ends::default());
    while done < calls {
        CALLS.store(0, Ordering::Relaxed);
        let seed = seed.wrapping_add(ends.children);
        let child = start(ram, &slots, seed, stack.addr + STACK, [death, bell])?;
        watch(&child, &mut ends)?;
        // It may have stopped by itself.
        let _stopped = child.dispatcher.stop();
        ROOT.revoke_made(ram)?;
        done += CALLS.load(Ordering::Relaxed);
        ends.children += 1;
    }
    Ok((done, ends))
}

/// Makes a child and what it may spoil out of `ram`, into `slots`.
fn start(
    ram: CPtr,
    slots: &[CPtr; PARTS.len()],
    seed: u64,
    stack: u64,
    [death, bell]: [Endpoint; 2],
) -> Result<Child, Error> {
    for ((ty, level, offset, len, _), &to) in PARTS.iter().zip(slots) {
        let make =
            Make { ty: *ty, level: *level, rights: Rights::all(), offset: *offset, len: *len, count: 1 };
        cap::retype(ram, &make, to)?;
    }
    let root = CNode(slots[ROOT_PART]);
    root.attach(CNode(slots[NODE_PART]), 0)?;
    root.attach(CNode(slots[SECOND_PART]), 1)?;
    for (part, &(.., at)) in PARTS.iter().enumerate() {
        // Every other child cannot name itself, and lives longer for it.
        if part != SELF_PART || seed.is_multiple_of(2) {
            root.copy_in(slots[part], CPtr(at), Rights::all())?;
        }
        let fewer = Rights::from_bits_truncate((seed as u8).rotate_left(part as u32));
        root.copy_in(slots[part], CPtr::new(1, part as u32), fewer)?;
    }
    root.copy_in(bell.0, CPtr(25), Rights::all())?;
    let dispatcher = Dispatcher(slots[SELF_PART]);
    dispatcher.configure(&Configure {
        root,
        vspace: VNode(slot::VSPACE),
        page: Frame(slots[PAGE_PART]),
        death: Some(death),
        entry: child as *const () as u64,
        stack,
        arg: seed,
    })?;
    dispatcher.start()?;
    Ok(Child { dispatcher })
}

/// Waits until a child has ended, blocks for good, or has had its share.
fn watch(child: &Child, ends: &mut Ends) -> Result<(), Error> {
    let (mut seen, mut idle) = (0, 0);
    loop {
        SELF.wait(DEATH, clock::ticks() + clock::span(LOOK))?;
        let calls = CALLS.load(Ordering::Relaxed);
        if child.dispatcher.state()? == State::Dead as u64 {
            // One that stopped itself, or that another one of its own stopped, died of no fault.
            let fault = child.dispatcher.fault()?;
            *if fault.is_some() { &mut ends.faults } else { &mut ends.stopped } += 1;
            if let Some(kind @ (FaultKind::Other | FaultKind::Arithmetic)) = fault {
                println!("fuzz: a child died of {}", kind.name());
            }
            return Ok(());
        }
        idle = if calls == seen { idle + 1 } else { 0 };
        seen = calls;
        if calls >= SHARE || idle > PATIENCE {
            ends.blocked += u64::from(calls < SHARE);
            return Ok(());
        }
    }
}

/// The child: throws words at the CPU driver.
extern "C" fn child(seed: u64) -> ! {
    let mut source = Source::new(seed);
    for _ in 0..SHARE {
        let words = source.next();
        let before = clock::ticks();
        let (code, _) = skerry_arch::user::syscall(words);
        let took = clock::ticks().wrapping_sub(before);
        if took > LONGEST.load(Ordering::Relaxed) {
            LONGEST.store(took, Ordering::Relaxed);
            LONGEST_WORD.store(words[0], Ordering::Relaxed);
        }
        TAKEN.fetch_add(u64::from(code == 0), Ordering::Relaxed);
        CALLS.fetch_add(1, Ordering::Relaxed);
    }
    loop {
        skerry_user::relax();
    }
}
