//! Garbage in: the CPU driver never panics on user input.

use super::rig::Rig;
use proptest::prelude::*;
use skerry_abi::cap::CNODE_BYTES;
use skerry_abi::domain::slot;
use skerry_abi::op::halves;
use skerry_abi::{CPtr, CapType, Op, PAGE_SIZE, VirtAddr};
use skerry_hal::machine::Interrupt;
use skerry_hal::{Fault, FaultKind, Handler, Next};

/// A CPtr that often names something.
fn cptr() -> impl Strategy<Value = u32> {
    prop_oneof![4 => 0u32..16, 4 => 256u32..290, 2 => 450u32..512, 1 => any::<u32>()]
}

fn word() -> impl Strategy<Value = u64> {
    prop_oneof![
        3 => cptr().prop_map(u64::from),
        3 => (cptr(), cptr()).prop_map(|(a, b)| halves(a, b)),
        2 => (1u32..14, 0u32..4, 1u32..3).prop_map(|(ty, level, n)| halves(ty | level << 8 | 0x7f_0000, n)),
        2 => (0u64..64).prop_map(|pages| pages * 4096),
        1 => Just(0x4000u64),
        1 => any::<u64>(),
    ]
}

fn call() -> impl Strategy<Value = [u64; 6]> {
    let op = prop_oneof![6 => 0u32..90, 1 => any::<u32>()];
    (cptr(), op, [word(), word(), word(), word(), word()])
        .prop_map(|(target, op, [a, b, c, d, e])| [halves(target, op), a, b, c, d, e])
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(if cfg!(miri) { 2 } else { 96 }))]

    #[test]
    fn no_call_makes_it_panic(calls in proptest::collection::vec((call(), 0u8..20), 1..400)) {
        let mut rig = Rig::boot();
        for (words, what) in calls {
            // Turning the island off is not a panic, but the simulated machine has no other way to stop.
            if words[0] >> 32 == Op::PowerOff as u64 {
                continue;
            }
            match (what, &rig.next) {
                (0, _) => rig.interrupt(Interrupt::Doorbell),
                (1, _) => rig.pass(6_000_000),
                (_, Next::Idle) => rig.interrupt(Interrupt::Timer),
                (_, Next::Run(_)) => rig.next = rig.kernel.syscall(words),
            }
        }
        // It still answers, if its domain is still there.
        if let Next::Run(_) = &rig.next {
            prop_assert_eq!(rig.invoke(CPtr::NULL, Op::Nop, &[]), Ok(0));
        }
    }
}

/// Numbers that look random, the same in every run (xorshift64).
struct Dice {
    state: u64,
    /// Where what [`furnished`] made begins.
    furniture: u64,
}

impl Dice {
    fn roll(&mut self) -> u64 {
        self.state ^= self.state << 13;
        self.state ^= self.state >> 7;
        self.state ^= self.state << 17;
        self.state
    }

    fn below(&mut self, n: u64) -> u64 {
        (self.roll() >> 11) % n
    }

    fn cptr(&mut self) -> u32 {
        match self.below(12) {
            0..4 => self.below(16) as u32,
            4..6 => 256 + self.below(34) as u32,
            6..11 => FIRST_MADE + self.below(62) as u32,
            _ => self.roll() as u32,
        }
    }

    fn word(&mut self) -> u64 {
        match self.below(13) {
            0..3 => self.cptr().into(),
            3..6 => halves(self.cptr(), self.cptr()),
            6..8 => {
                let kind = (1 + self.below(13) as u32) | ((self.below(4) as u32) << 8);
                halves(kind | 0xff_0000, 1 + self.below(2) as u32)
            }
            8..10 => self.below(512) * 4096,
            10 => halves(self.below(512) as u32, 1 + self.below(64) as u32),
            11 => self.below(8),
            _ => self.roll(),
        }
    }

    /// Words 1 to 5: every second time such as an operation might take.
    fn arguments(&mut self, op: u32) -> [u64; 5] {
        let mut words = [0; 5].map(|_| self.word());
        if self.below(2) == 0 {
            return words;
        }
        let mut made = || FIRST_MADE + self.below(62) as u32;
        let (one, two) = (made(), made());
        let entries = halves(self.below(512) as u32, 1 + self.below(8) as u32);
        let plausible: &[u64] = match op {
            // Objects where the furniture is, as a monitor names them; some of another core's.
            81 | 85 | 87 => {
                let ty = [1, 2, 2, 5][self.below(4) as usize] | (0x1_ff00 * u32::from(op == 81));
                let len = [1, 4, 4, 64][self.below(4) as usize] * PAGE_SIZE;
                let at = self.furniture + self.below(64) * PAGE_SIZE;
                let at = if self.below(4) == 0 { at + (1 << 32) } else { at };
                &[halves(ty, self.below(4) as u32 / 2), at, len, halves(0, two), self.below(3) * PAGE_SIZE]
            }
            2 | 86 => {
                let what = (1 + self.below(8) as u32) | (self.below(4) as u32) << 8 | 0xff_0000;
                let len = [1, 1, 4, 8][self.below(4) as usize] * PAGE_SIZE;
                let count = 1 + self.below(2) as u32;
                &[halves(what, count), self.below(64) * PAGE_SIZE, len, halves(0, one), two.into()]
            }
            3 => &[self.below(4) * PAGE_SIZE, self.below(9) * PAGE_SIZE],
            10 => &[halves(one, two), 0xff],
            11 | 14 => &[halves(one, self.below(2) as u32)],
            20 => &[entries, one.into(), 3, self.below(4) * PAGE_SIZE],
            21 | 22 => &[entries, 0, 1 + 2 * self.below(2), 0],
            35 => &[1 << 9, halves(0, one), 4096 * self.below(2), 8, two.into()],
            41 | 42 => &[1, 2, 3, 4, one.into()],
            _ => &[],
        };
        words[..plausible.len()].copy_from_slice(plausible);
        words
    }
}

const FIRST_MADE: u32 = 450;
/// Operations that are called more often than others: those that make, move and take away.
const OFTEN: [u32; 31] = [
    1, 2, 2, 2, 2, 3, 10, 10, 10, 11, 12, 13, 14, 20, 20, 21, 22, 30, 31, 35, 39, 40, 41, 42, 43, 81, 81, 85,
    85, 86, 87,
];

/// A core with some of everything in slots from [`FIRST_MADE`] on, so that blind calls meet something.
fn furnished() -> Rig {
    let mut rig = Rig::boot();
    let ram = rig.ram();
    let at = |n: u32| CPtr(FIRST_MADE + n);
    rig.retype(ram, CapType::Ram, 0, 0, 1 << 18, at(0)).unwrap();
    let mut offset = 0;
    let mut make = |rig: &mut Rig, n, ty, level, len| {
        rig.retype(at(0), ty, level, offset, len, at(n)).unwrap();
        offset += len;
    };
    (1..3).for_each(|n| make(&mut rig, n, CapType::CNode, 0, CNODE_BYTES));
    (3..9).for_each(|n| make(&mut rig, n, CapType::VNode, n as u8 % 4, PAGE_SIZE));
    (9..14).for_each(|n| make(&mut rig, n, CapType::Frame, 0, 4 * PAGE_SIZE));
    (14..18).for_each(|n| make(&mut rig, n, CapType::Dispatcher, 0, PAGE_SIZE));
    (18..20).for_each(|n| make(&mut rig, n, CapType::Ram, 0, 4 * PAGE_SIZE));
    rig.invoke(slot::ROOT, Op::Attach, &[at(1).0.into(), 2]).unwrap();
    for n in 0..4 {
        let how = [halves(slot::ROOT.0, slot::VSPACE.0), halves(at(9 + n).0, 0), 0x60_0000, 0x70_0000, 7];
        rig.invoke(at(14 + n), Op::Configure, &how).unwrap();
        rig.invoke(at(14 + n), Op::Start, &[]).unwrap();
        rig.invoke(at(14 + n), Op::MakeEndpoint, &[1 << (9 + n), halves(0, at(20 + n).0)]).unwrap();
        let ring = [1 << (9 + n), halves(0, at(24 + n).0), 4096, 8, u64::from(n)];
        rig.invoke(at(14 + n), Op::MakeEndpoint, &ring).unwrap();
    }
    rig
}

/// The storm of calls that the guests have too: 10 million where there is time (`cargo xtask test full`).
#[test]
fn a_storm_of_calls_leaves_every_capability_in_its_place() {
    let full = std::env::var_os("SKERRY_TEST_FULL").is_some();
    let calls = if cfg!(miri) {
        100
    } else if full {
        10_000_000
    } else {
        200_000
    };
    let (mut dice, mut rig) = (Dice { state: 0x5eed_cafe_f00d_0003, furniture: 0 }, furnished());
    dice.furniture = rig.invoke(CPtr(FIRST_MADE), Op::Identify, &[1]).unwrap();
    let (mut succeeded, mut boots, mut idle) = (0u32, 1u32, 0);
    for n in 0..calls {
        match (dice.below(1000), &rig.next) {
            (0..20, _) => rig.interrupt(Interrupt::Doorbell),
            (20..40, _) => rig.pass(6_000_000),
            (40, Next::Run(_)) => {
                let (addr, code) = (VirtAddr(dice.roll()), dice.roll());
                rig.next = rig.kernel.fault(Fault { kind: FaultKind::Write, addr, code });
            }
            (_, Next::Idle) => {
                idle += 1;
                rig.interrupt(Interrupt::Timer);
            }
            (_, Next::Run(_)) => {
                let op = match dice.below(16) {
                    0 => dice.roll() as u32,
                    1..4 => dice.below(90) as u32,
                    _ => OFTEN[dice.below(OFTEN.len() as u64) as usize],
                };
                // Mostly what offers the operation, seldom the dispatcher that calls.
                let target = match (op, dice.below(4)) {
                    (_, 0) => dice.cptr(),
                    (81 | 85..88, _) => slot::KERNEL.0,
                    (2..4, _) => FIRST_MADE + [0, 9, 18, 19][dice.below(4) as usize],
                    (10..15, _) => [slot::ROOT.0, FIRST_MADE + 1, FIRST_MADE + 2][dice.below(3) as usize],
                    (20..23, _) => FIRST_MADE + 3 + dice.below(6) as u32,
                    (30..40, _) => FIRST_MADE + 14 + dice.below(4) as u32,
                    (40..43, _) => FIRST_MADE + 20 + dice.below(8) as u32,
                    _ => dice.below(16) as u32,
                };
                if op == Op::PowerOff as u32 {
                    continue;
                }
                let [a, b, c, d, e] = dice.arguments(op);
                let words = [halves(target, op), a, b, c, d, e];
                rig.next = rig.kernel.syscall(words);
                if let Next::Run(_) = rig.next {
                    succeeded += u32::from(rig.context().words[0] == 0);
                }
            }
        }
        if n % 512 == 0 {
            rig.kernel.caps.check(&rig.kernel.memory);
        }
        // Sooner or later it has destroyed all it has.
        if idle > 3 || n % 400 == 399 {
            (rig, idle, boots) = (furnished(), 0, boots + 1);
        }
    }
    println!("{calls} calls, {succeeded} succeeded, {boots} boots");
    assert!(cfg!(miri) || succeeded > calls / 50, "the storm hits something: {succeeded} of {calls}");
}
