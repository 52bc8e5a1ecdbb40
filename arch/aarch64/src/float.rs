//! Floating-point and vector registers, and the program's thread pointer. The CPU driver uses none of them, so a
//! program's stay in place until another program gets the core.

use crate::context::Context;
use core::arch::asm;
use core::mem::offset_of;

/// Applies an instruction to all 32 vector registers, four at a time; `q` is where, and ends up behind them.
macro_rules! all {
    ($op:literal) => {
        concat!(
            ".arch_extension fp\n.arch_extension simd\n",
            $op, " {{v0.2d-v3.2d}}, [{q}], #64\n", $op, " {{v4.2d-v7.2d}}, [{q}], #64\n",
            $op, " {{v8.2d-v11.2d}}, [{q}], #64\n", $op, " {{v12.2d-v15.2d}}, [{q}], #64\n",
            $op, " {{v16.2d-v19.2d}}, [{q}], #64\n", $op, " {{v20.2d-v23.2d}}, [{q}], #64\n",
            $op, " {{v24.2d-v27.2d}}, [{q}], #64\n", $op, " {{v28.2d-v31.2d}}, [{q}], #64\n",
            ".arch_extension nosimd\n.arch_extension nofp\n",
        )
    };
}

const _: () = assert!(offset_of!(Context, fpsr) == offset_of!(Context, fpcr) + 8);

/// Saves the registers of the program that is about to lose the core.
pub fn save(context: &mut Context) {
    // SAFETY: stores to the context's 512 bytes of `q`.
    unsafe { asm!(all!("st1"), q = inout(reg) context.q.as_mut_ptr() => _, options(nostack)) };
    // SAFETY: reads FPCR, FPSR and the user's thread pointer.
    unsafe {
        asm!("mrs {0}, S3_3_C4_C4_0", "mrs {1}, S3_3_C4_C4_1", "mrs {2}, tpidr_el0",
            out(reg) context.fpcr, out(reg) context.fpsr, out(reg) context.tpidr, options(nostack, nomem));
    }
}

/// Loads the registers of the program that is about to get the core.
pub fn load(context: &Context) {
    // SAFETY: loads from the context's 512 bytes of `q`; the CPU driver keeps nothing in vector registers.
    unsafe { asm!(all!("ld1"), q = inout(reg) context.q.as_ptr() => _, options(nostack)) };
    // SAFETY: FPCR, FPSR and the thread pointer are the user's; bits that are reserved are ignored.
    unsafe {
        asm!("msr S3_3_C4_C4_0, {0}", "msr S3_3_C4_C4_1, {1}", "msr tpidr_el0, {2}",
            in(reg) context.fpcr, in(reg) context.fpsr, in(reg) context.tpidr, options(nostack, nomem));
    }
}
