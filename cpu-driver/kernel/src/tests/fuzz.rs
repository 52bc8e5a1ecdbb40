//! Garbage in: the CPU driver never panics on user input.

use super::rig::Rig;
use proptest::prelude::*;
use skerry_abi::op::halves;
use skerry_abi::{CPtr, Op};
use skerry_hal::machine::Interrupt;
use skerry_hal::{Handler, Next};

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
