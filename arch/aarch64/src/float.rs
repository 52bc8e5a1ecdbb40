//! Floating-point and vector registers, and the program's thread pointer. The CPU driver uses none of them, so a
//! program's stay in place until another program gets the core.

use crate::context::Context;
use core::arch::asm;
use core::mem::offset_of;

/// Applies an instruction to all 16 pairs of vector registers.
macro_rules! all_pairs {
    ($op:literal) => {
        concat!(
            ".arch_extension fp\n.arch_extension simd\n",
            $op, " q0, q1, [{q}]\n", $op, " q2, q3, [{q}, #32]\n",
            $op, " q4, q5, [{q}, #64]\n", $op, " q6, q7, [{q}, #96]\n",
            $op, " q8, q9, [{q}, #128]\n", $op, " q10, q11, [{q}, #160]\n",
            $op, " q12, q13, [{q}, #192]\n", $op, " q14, q15, [{q}, #224]\n",
            $op, " q16, q17, [{q}, #256]\n", $op, " q18, q19, [{q}, #288]\n",
            $op, " q20, q21, [{q}, #320]\n", $op, " q22, q23, [{q}, #352]\n",
            $op, " q24, q25, [{q}, #384]\n", $op, " q26, q27, [{q}, #416]\n",
            $op, " q28, q29, [{q}, #448]\n", $op, " q30, q31, [{q}, #480]\n",
            ".arch_extension nosimd\n.arch_extension nofp\n",
        )
    };
}

const _: () = assert!(offset_of!(Context, fpsr) == offset_of!(Context, fpcr) + 8);

/// Saves the registers of the program that is about to lose the core.
pub fn save(context: &mut Context) {
    // SAFETY: stores to the context's 512 bytes of `q`.
    unsafe { asm!(all_pairs!("stp"), q = in(reg) context.q.as_mut_ptr(), options(nostack)) };
    // SAFETY: reads FPCR, FPSR and the user's thread pointer.
    unsafe {
        asm!("mrs {0}, S3_3_C4_C4_0", "mrs {1}, S3_3_C4_C4_1", "mrs {2}, tpidr_el0",
            out(reg) context.fpcr, out(reg) context.fpsr, out(reg) context.tpidr, options(nostack, nomem));
    }
}

/// Loads the registers of the program that is about to get the core.
pub fn load(context: &Context) {
    // SAFETY: loads from the context's 512 bytes of `q`; the CPU driver keeps nothing in vector registers.
    unsafe { asm!(all_pairs!("ldp"), q = in(reg) context.q.as_ptr(), options(nostack)) };
    // SAFETY: FPCR, FPSR and the thread pointer are the user's; bits that are reserved are ignored.
    unsafe {
        asm!("msr S3_3_C4_C4_0, {0}", "msr S3_3_C4_C4_1, {1}", "msr tpidr_el0, {2}",
            in(reg) context.fpcr, in(reg) context.fpsr, in(reg) context.tpidr, options(nostack, nomem));
    }
}
