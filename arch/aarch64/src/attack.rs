//! What a program tries that may not: instructions, saved registers, returns that would end above user space. For
//! `apps/attack`, so that assembly stays in `arch`. The same names stand in `arch/x86_64`.

use crate::context::Context;
use core::arch::{asm, naked_asm};
use skerry_hal::FaultKind;
use zerocopy::{FromBytes, IntoBytes};

/// A few instructions, and what a domain dies of that executes them; `None`: of nothing, for they do no harm.
pub struct Instruction {
    /// What they are.
    pub name: &'static str,
    /// How it ends.
    pub ends: Option<FaultKind>,
    /// Executes them.
    pub run: fn(),
}

/// What a load from an address outside of both halves is.
pub const NON_CANONICAL: FaultKind = FaultKind::Read;
/// A system call that does nothing, for memory that is not part of a program. Put at the very end of user space, it
/// returns to the first address above.
pub const NULL_SYSCALL: &[u8] = &[0x00, 0x00, 0x80, 0xd2, 0x01, 0x00, 0x00, 0xd4];

/// Code that jumps to an address.
pub fn jump_to(addr: u64) -> [u8; 16] {
    // ldr x0, the word behind; br x0
    let mut code = [0x40, 0, 0, 0x58, 0, 0, 0x1f, 0xd6, 0, 0, 0, 0, 0, 0, 0, 0];
    code[8..].copy_from_slice(&addr.to_le_bytes());
    code
}

// Not here, though user mode must not do them, as QEMU does nothing then: cache maintenance of the CPU driver's addresses,
// a stack pointer that is not aligned.

const DIES: Option<FaultKind> = Some(FaultKind::Instruction);
const READS: Option<FaultKind> = Some(FaultKind::Read);
const WRITES: Option<FaultKind> = Some(FaultKind::Write);
const SUMS: Option<FaultKind> = Some(FaultKind::Arithmetic);
const BREAKS: Option<FaultKind> = Some(FaultKind::Debug);
const LIVES: Option<FaultKind> = None;

macro_rules! instructions {
    ($($name:literal $ends:ident $($line:literal)+;)*) => {
        /// All of them.
        pub const INSTRUCTIONS: &[Instruction] = &[$(Instruction {
            name: $name,
            ends: $ends,
            run: || {
                // SAFETY: either the domain ends here, or nothing has changed that the compiler counts on: the stack
                // is as it was, and all other registers are declared lost.
                unsafe { asm!($($line),+, out("x20") _, clobber_abi("C")) }
            },
        }),*];
    };
}

instructions! {
    "mask" DIES "msr daifset, #15";
    "unmask" DIES "msr daifclr, #15";
    "read-sctlr" DIES "mrs x0, sctlr_el1";
    "write-sctlr" DIES "msr sctlr_el1, xzr";
    "write-ttbr0" DIES "msr ttbr0_el1, xzr";
    "write-ttbr1" DIES "msr ttbr1_el1, xzr";
    "write-vbar" DIES "msr vbar_el1, xzr";
    "write-elr" DIES "msr elr_el1, xzr";
    "write-spsr" DIES "msr spsr_el1, xzr";
    "write-cpacr" DIES "msr cpacr_el1, xzr";
    "write-mdscr" DIES "msr mdscr_el1, xzr";
    "write-tpidr1" DIES "msr tpidr_el1, xzr";
    "write-cntkctl" DIES "msr cntkctl_el1, xzr";
    "read-esr" DIES "mrs x0, esr_el1";
    "read-far" DIES "mrs x0, far_el1";
    "read-level" DIES "mrs x0, currentel";
    "read-hcr" DIES "mrs x0, hcr_el2";
    "read-gic" DIES "mrs x0, S3_0_C12_C12_0";
    "end-gic" DIES "msr S3_0_C12_C12_1, xzr";
    "send-gic" DIES "msr S3_0_C12_C11_5, xzr";
    "physical-timer" DIES "mrs x0, cntp_ctl_el0";
    "set-timer" DIES "msr cntv_cval_el0, xzr";
    "stop-timer" DIES "msr cntv_ctl_el0, xzr";
    "cycle-counter" DIES "mrs x0, pmccntr_el0";
    "count-cycles" DIES "msr pmcr_el0, xzr";
    "write-tpidrro" DIES "msr tpidrro_el0, xzr";
    "spsel" DIES "msr spsel, #1";
    "pan" DIES ".inst 0xd500409f";
    "tlbi" DIES "tlbi vmalle1";
    "tlbi-va" DIES "tlbi vaae1is, xzr";
    "ic-all" DIES "ic iallu";
    "dc-set" DIES "dc isw, xzr";
    "dc-invalidate" DIES "mov x0, sp" "dc ivac, x0";
    "translate" DIES "at s1e1r, xzr";
    "hvc" DIES "hvc #0";
    "smc" DIES "smc #0";
    "eret" DIES "eret";
    "drps" DIES "drps";
    "dcps1" DIES "dcps1 #0";
    "hlt" DIES "hlt #0";
    "semihosting" DIES "mov x0, #0x18" "hlt #0xf000";
    "wfi" DIES "wfi";
    "udf" DIES "udf #0";
    "sve" DIES ".inst 0x04bf5000";
    "zero-kernel" WRITES "mov x0, #0xffff800000000000" "dc zva, x0";
    "swap-kernel" READS "mov x0, #0xffff800000000000" "1: ldxr x1, [x0]" "stxr w2, x1, [x0]";
    "jump-misaligned" SUMS "adr x0, ." "add x0, x0, #2" "br x0";
    "brk" BREAKS "brk #0";
    "call-on-kernel-stack" LIVES "mov x20, sp" "mov x0, #0xffffffff80000000" "mov sp, x0" "mov x0, xzr" "svc #0" "mov sp, x20";
    "call-on-odd-stack" LIVES "mov x20, sp" "mov x0, #3" "mov sp, x0" "mov x0, xzr" "svc #0" "mov sp, x20";
    "call-with-number" LIVES "mov x0, xzr" "svc #0xffff";
    "spin-on-kernel-stack" LIVES "mov x20, sp" "mov x0, #0xffffffff80000000" "mov sp, x0" "mov x0, #0x1000000" "2: subs x0, x0, #1" "b.ne 2b" "mov sp, x20";
    "thread-pointer" LIVES "mov x0, #-1" "msr tpidr_el0, x0" "msr fpsr, x0" "mov x0, #0x1000000" "2: subs x0, x0, #1" "b.ne 2b" "msr tpidr_el0, xzr";
    "prefetch-kernel" LIVES "mov x0, #0xffff800000000000" "prfm pldl1keep, [x0]";
    "wait-for-event" LIVES "sevl" "wfe";
}

/// What is forged, whether `Op::Resume` must refuse it, and how it is forged.
pub type Forgery = (&'static str, bool, fn(&mut Context));

/// Ways to spoil a thread's saved registers. What it does not refuse it makes
/// harmless: the thread goes on as it was.
pub const FORGERIES: &[Forgery] = &[
    ("a program counter of the CPU driver", true, |c| c.pc = 0xffff_ffff_8000_0000),
    ("a program counter past the end", true, |c| c.pc = 1 << 47),
    ("the last program counter of all", true, |c| c.pc = !0),
    ("a stack of the CPU driver", true, |c| c.sp = 0xffff_ffff_8000_1000),
    ("a stack past the end", true, |c| c.sp = 1 << 63),
    ("EL1", false, |c| c.pstate = 5),
    ("EL1 on the user's stack, all masked", false, |c| c.pstate = 0x3c4),
    ("EL2", false, |c| c.pstate = 9),
    ("EL3 and illegal state", false, |c| c.pstate = 0x10_000d),
    ("AArch32", false, |c| c.pstate = 0x10),
    ("every bit of the state but single step", false, |c| c.pstate = !(1 << 21)),
    ("single step", false, |c| c.pstate = 1 << 21),
    ("floating-point control all ones", false, |c| (c.fpcr, c.fpsr) = (!0, !0)),
    ("vector registers all ones", false, |c| c.q = [[!0; 2]; 32]),
    ("a thread pointer of the CPU driver", false, |c| c.tpidr = !0),
    ("a word for the stubs", false, |c| c.full = 0),
];

/// Applies a forgery to saved registers. Answers `false` if these are too short.
pub fn forge(saved: &mut [u8], how: fn(&mut Context)) -> bool {
    let Some(image) = saved.get_mut(..size_of::<Context>()) else { return false };
    let Ok(mut context) = Context::read_from_bytes(image) else { return false };
    how(&mut context);
    image.copy_from_slice(context.as_bytes());
    true
}

/// What a thread must find after a forgery. Nothing that EL0 can read tells: what it could do with more, [`INSTRUCTIONS`]
/// try; and with interrupts masked, it would never lose the core, which the caller sees.
pub fn unprivileged() -> bool {
    true
}

/// Loads the six words that x0 points to into the registers of a system call, and x19 into the others that a call may change.
macro_rules! load_all {
    () => {
        "mov x9, x0\nldp x0, x1, [x9]\nldp x2, x3, [x9, #16]\nldp x4, x5, [x9, #32]\n
        .irp n, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18\nmov x\\n, x19\n.endr"
    };
}

/// Words that [`look`] writes: first [`CLEARED`] registers that a system call without further words clears, then the
/// vector registers.
pub const SEEN: usize = CLEARED + 64;
/// x2 to x18.
pub const CLEARED: usize = 17;

/// Makes the system call of `words` and writes down what it finds in every register that it could read another's secret from.
pub fn look(words: &[u64; 6], seen: &mut [u64; SEEN]) {
    // SAFETY: what it does is a function call, and it writes `SEEN` words.
    unsafe { look_into(words.as_ptr(), seen.as_mut_ptr()) };
}

#[unsafe(naked)]
unsafe extern "C" fn look_into(words: *const u64, seen: *mut u64) {
    naked_asm!(
        ".arch_extension fp",
        ".arch_extension simd",
        "stp x19, x30, [sp, #-16]!",
        "mov x19, x1",
        load_all!(),
        "svc #0",
        ".irp n, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18",
        "str x\\n, [x19], #8",
        ".endr",
        ".irp n, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15",
        "str q\\n, [x19], #16",
        ".endr",
        ".irp n, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31",
        "str q\\n, [x19], #16",
        ".endr",
        "ldp x19, x30, [sp], #16",
        "ret",
        ".arch_extension nosimd",
        ".arch_extension nofp",
    )
}

/// Makes the system call of `words` with `secret` in every register that has nothing else to hold.
pub fn hold(words: &[u64; 6], secret: u64) {
    // SAFETY: what it does is a function call.
    unsafe { hold_in_all(words.as_ptr(), secret) };
}

#[unsafe(naked)]
unsafe extern "C" fn hold_in_all(words: *const u64, secret: u64) {
    naked_asm!(
        ".arch_extension fp",
        ".arch_extension simd",
        "stp x19, x30, [sp, #-80]!",
        "stp d8, d9, [sp, #16]",
        "stp d10, d11, [sp, #32]",
        "stp d12, d13, [sp, #48]",
        "stp d14, d15, [sp, #64]",
        "mov x19, x1",
        load_all!(),
        ".irp n, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15",
        "dup v\\n\\().2d, x19",
        ".endr",
        ".irp n, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31",
        "dup v\\n\\().2d, x19",
        ".endr",
        "svc #0",
        "ldp d14, d15, [sp, #64]",
        "ldp d12, d13, [sp, #48]",
        "ldp d10, d11, [sp, #32]",
        "ldp d8, d9, [sp, #16]",
        "ldp x19, x30, [sp], #80",
        "ret",
        ".arch_extension nosimd",
        ".arch_extension nofp",
    )
}
