//! Entering and leaving the CPU driver.
//!
//! It is never interrupted (exceptions mask DAIF, and nothing unmasks it), so `SP_EL1` always stands at the top of the
//! one stack when a program runs. The [`Core`] block lies exactly there: the stubs find everything at `[sp]`, and
//! `TPIDR_EL1` stays free.
//!
//! A system call saves what the procedure call standard preserves (x19 to x30), pc, sp and PSTATE. On its way back to
//! the same program only the result and x30 are loaded: x19 to x29 survived the Rust call, and no exception has
//! touched `ELR_EL1`, `SPSR_EL1` and `SP_EL0`. The other registers are cleared, so that nothing of the CPU driver shows in them.

use crate::context::Context;
use crate::dump::fault_in_kernel;
use crate::psci::Conduit;
use core::arch::{asm, global_asm};
use core::mem::offset_of;
use core::ptr::{NonNull, null_mut};
use skerry_hal::{Fault, FaultKind, Handler, Next, VirtAddr};

/// What the stubs need, at the top of the stack (symbol `__stack_top`, [`CORE_BYTES`] long).
#[repr(C, align(16))]
struct Core {
    current: *mut Context,
    handler: *mut (),
    syscall: *const (),
    fault: *const (),
    interrupt: *const (),
    conduit: Conduit,
}

/// Room for the [`Core`] block above `__stack_top`.
pub const CORE_BYTES: usize = 64;
const _: () = assert!(size_of::<Core>() <= CORE_BYTES);
// The system call stub loads these two as a pair.
const _: () = assert!(offset_of!(Core, syscall) == offset_of!(Core, handler) + 8);

/// Where the linker script has this core's block.
fn block() -> *mut Core {
    unsafe extern "C" {
        static __stack_top: u8;
    }
    (&raw const __stack_top).addr() as *mut Core
}

/// Makes `handler` the one that the stubs call, on this core. Once, before [`enter`].
pub fn install<H: Handler<Context>>(handler: &'static mut H) {
    let core = Core {
        current: null_mut(),
        handler: core::ptr::from_mut(handler).cast(),
        syscall: syscall::<H> as *const (),
        fault: fault::<H> as *const (),
        interrupt: interrupt::<H> as *const (),
        conduit: conduit(),
    };
    // SAFETY: the linker script reserves CORE_BYTES there, for this alone.
    unsafe { block().write(core) };
}

/// Says how this core turns the island off when it fails; as early as the board knows.
pub fn set_conduit(conduit: Conduit) {
    // SAFETY: as above.
    unsafe { (*block()).conduit = conduit };
}

/// How to reach the firmware, for whoever has no machine at hand: a panic, an unexpected exception.
pub fn conduit() -> Conduit {
    // SAFETY: BSS is zero, which is `Conduit::None`; only whole values are ever written.
    unsafe { (*block()).conduit }
}

/// Runs what `next` says; the boot code's stack is given up.
pub fn enter(next: Next<Context>) -> ! {
    // SAFETY: `install` has been called; the stub takes over as after any kernel entry.
    unsafe {
        asm!(
            "ldr x1, =__stack_top",
            "mov sp, x1",
            "b skerry_resume",
            in("x0") word(next),
            options(noreturn)
        )
    }
}

/// What a stub takes: the context to run, null to idle.
fn word(next: Next<Context>) -> *mut Context {
    match next {
        Next::Run(context) => context.as_ptr(),
        Next::Idle => null_mut(),
    }
}

/// The handler behind the stubs' pointer.
fn handler<'a, H>(pointer: NonNull<H>) -> &'a mut H {
    // SAFETY: `install` stored a `&'static mut H`, and kernel entries do not nest: this is the only reference in use.
    unsafe { &mut *pointer.as_ptr() }
}

extern "C" fn syscall<H: Handler<Context>>(
    w0: u64,
    w1: u64,
    w2: u64,
    w3: u64,
    w4: u64,
    w5: u64,
    pointer: NonNull<H>,
) -> *mut Context {
    word(handler(pointer).syscall([w0, w1, w2, w3, w4, w5]))
}

extern "C" fn interrupt<H: Handler<Context>>(pointer: NonNull<H>) -> *mut Context {
    word(handler(pointer).interrupt())
}

extern "C" fn fault<H: Handler<Context>>(esr: u64, far: u64, pc: u64, pointer: NonNull<H>) -> *mut Context {
    let kind = fault_kind(esr);
    let addr = match kind {
        FaultKind::Read | FaultKind::Write | FaultKind::Execute => far,
        _ => pc,
    };
    word(handler(pointer).fault(Fault { kind, addr: VirtAddr(addr), code: esr }))
}

/// What a lower-level exception with this syndrome was (Arm ARM D23.2.41, `ESR_EL1.EC`).
fn fault_kind(esr: u64) -> FaultKind {
    const ALIGNMENT: u64 = 0x21;
    match esr >> 26 & 0x3f {
        0x20 => FaultKind::Execute,
        0x24 if esr & 0x3f == ALIGNMENT => FaultKind::Arithmetic,
        // WnR; cache maintenance (CM) sets it too, but only reads.
        0x24 if esr & (1 << 6) != 0 && esr & (1 << 8) == 0 => FaultKind::Write,
        0x24 => FaultKind::Read,
        0x00 | 0x01 | 0x07 | 0x09 | 0x0d | 0x0e | 0x18 | 0x19 | 0x1d => FaultKind::Instruction,
        0x22 | 0x26 | 0x2c => FaultKind::Arithmetic,
        0x30 | 0x32 | 0x34 | 0x3c => FaultKind::Debug,
        _ => FaultKind::Other,
    }
}

/// The registers of an unexpected exception, as `skerry_unexpected` pushes them.
#[repr(C)]
pub struct Frame {
    /// x0 to x30.
    pub x: [u64; 31],
    /// The stack pointer at the exception.
    pub sp: u64,
    /// Which of the 16 vectors.
    pub vector: u64,
    reserved: u64,
}

global_asm!(
    r#"
    // An entry has 32 instructions. What is not expected needs three of them; the stubs lie in the rest.
    .macro  unexpected number
    .org    skerry_vectors + 128 * \number
    msr     tpidr_el0, x0       // the program's, which will not run again
    mov     x0, #\number
    b       skerry_unexpected
    .endm

    // Stores or loads pairs of registers, each pair at its place in an array of all.
    .macro pairs op, base, a, b, rest:vararg
    \op    x\a, x\b, [\base, #8 * \a]
    .ifnb   \rest
    pairs   \op, \base, \rest
    .endif
    .endm

    // Saves all registers. Leaves the context in x16.
    .macro save_full
    ldr     x16, [sp, #{current}]
    pairs   stp, x16, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15
    ldp     x0, x1, [sp, #-16]
    stp     x0, x1, [x16, #128]
    pairs   stp, x16, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29
    mrs     x0, sp_el0
    stp     x30, x0, [x16, #240]
    mrs     x2, elr_el1
    mrs     x1, spsr_el1
    stp     x2, x1, [x16, #{pc}]
    str     x16, [x16, #{full}] // anything but 0
    .endm

    .section .text.vectors, "ax"
    .balign 2048
    .global skerry_vectors
skerry_vectors:
    unexpected 0
    // x0: vector number; the real x0 is in TPIDR_EL0. A stack of its own, for the kernel's may be what overflowed.
skerry_unexpected:
    msr     tpidrro_el0, x1
    mov     x1, sp
    msr     sp_el0, x1
    ldr     x1, =__emergency_top
    mov     sp, x1
    sub     sp, sp, #272
    pairs   stp, sp, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15
    pairs   stp, sp, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29
    mrs     x2, sp_el0
    stp     x30, x2, [sp, #240]
    str     x0, [sp, #256]
    mrs     x2, tpidr_el0
    mrs     x3, tpidrro_el0
    stp     x2, x3, [sp]
    mov     x0, sp
    b       {fault_in_kernel}

    unexpected 1
skerry_syscall_return:
    ldr     x16, [sp, #{current}]
    cmp     x0, x16
    b.ne    skerry_resume
    ldr     x17, [x16, #{full}]
    cbnz    x17, skerry_go_on   // x0: the context
    ldp     x0, x1, [x16]
    ldr     x30, [x16, #240]
    // A new page-table entry must be seen by the walker before the program uses it (Arm ARM D8.2.6); a removed one
    // has been dealt with by the flush.
    dsb     ishst
    .irp    n, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18
    mov     x\n, xzr
    .endr
    eret

    unexpected 2
skerry_fault:
    save_full
    mrs     x0, esr_el1
    mrs     x1, far_el1
    ldr     x3, [sp, #{handler}]
    ldr     x7, [sp, #{fault}]
    blr     x7
    b       skerry_resume

    unexpected 3
    // x0: context to run, or null.
    .global skerry_resume
skerry_resume:
    cbnz    x0, skerry_go_on
    dsb     sy
    wfi                         // a pending interrupt wakes it though masked
    b       1f
skerry_go_on:
    mov     x16, x0
    str     x16, [sp, #{current}]
    ldp     x0, x1, [x16, #{sp}]
    ldr     x2, [x16, #{pstate}]
    msr     sp_el0, x0
    msr     elr_el1, x1
    msr     spsr_el1, x2
    dsb     ishst
    pairs   ldp, x16, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15
    pairs   ldp, x16, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29
    ldr     x30, [x16, #240]
    ldp     x16, x17, [x16, #128]
    eret

    .irp    number, 4, 5, 6, 7
    unexpected \number
    .endr
    // A synchronous exception at EL0. Two registers go below the stack pointer: the kernel has no live frame.
    .org    skerry_vectors + 128 * 8
    stp     x16, x17, [sp, #-16]
    mrs     x16, esr_el1
    ubfx    x17, x16, #26, #6
    cmp     x17, #0x15          // SVC from AArch64
    b.ne    skerry_fault
    ldr     x16, [sp, #{current}]
    pairs   stp, x16, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30
    mrs     x9, sp_el0
    mrs     x10, elr_el1
    mrs     x11, spsr_el1
    stp     x9, x10, [x16, #{sp}]
    stp     x11, xzr, [x16, #{pstate}]
    ldp     x6, x7, [sp, #{handler}]
    blr     x7
    b       skerry_syscall_return
    // An interrupt at EL0.
    .org    skerry_vectors + 128 * 9
    stp     x16, x17, [sp, #-16]
    save_full
1:  ldr     x0, [sp, #{handler}]
    ldr     x7, [sp, #{interrupt}]
    blr     x7
    b       skerry_resume
    unexpected 10
    // A system error at EL0: the program touched memory that answered with an error. ESR says so (EC 0x2f).
    .org    skerry_vectors + 128 * 11
    stp     x16, x17, [sp, #-16]
    b       skerry_fault
    .irp    number, 12, 13, 14, 15
    unexpected \number
    .endr
    .ltorg
    .text
"#,
    current = const offset_of!(Core, current),
    handler = const offset_of!(Core, handler),
    fault = const offset_of!(Core, fault),
    interrupt = const offset_of!(Core, interrupt),
    sp = const offset_of!(Context, sp),
    pc = const offset_of!(Context, pc),
    pstate = const offset_of!(Context, pstate),
    full = const offset_of!(Context, full),
    fault_in_kernel = sym fault_in_kernel,
);
