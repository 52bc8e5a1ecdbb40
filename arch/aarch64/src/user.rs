//! The seam for user code: what a domain needs of the ISA. The same names stand in `arch/x86_64`.

use crate::context::Context;
use core::arch::{asm, naked_asm};
use skerry_hal::{Isa, UserContext, VirtAddr};
use zerocopy::FromZeros;

/// The instruction set.
pub const ISA: Isa = Isa::Aarch64;
/// Bytes of a saved thread in a dispatcher's page.
pub const CONTEXT_BYTES: usize = Context::SIZE;

/// Invokes a capability: six words in, code and value out (`skerry-abi`, `op`).
#[inline(always)]
pub fn syscall(words: [u64; 6]) -> (u64, u64) {
    let (code, value, _) = syscall_wide(words);
    (code, value)
}

/// The same for an operation that answers five words more.
#[inline(always)]
pub fn syscall_wide(words: [u64; 6]) -> (u64, u64, [u64; 5]) {
    let [w0, w1, w2, w3, w4, w5] = words;
    let (code, value, a, b, c, d, e);
    // SAFETY: the CPU driver keeps x19 to x30, the stack and the vector registers; it may change memory that the
    // caller has given it capabilities to, hence no `nomem`.
    unsafe {
        asm!(
            "svc #0",
            inlateout("x0") w0 => code,
            inlateout("x1") w1 => value,
            inlateout("x2") w2 => a, inlateout("x3") w3 => b, inlateout("x4") w4 => c, inlateout("x5") w5 => d,
            lateout("x6") e, lateout("x7") _, lateout("x8") _, lateout("x9") _, lateout("x10") _, lateout("x11") _,
            lateout("x12") _, lateout("x13") _, lateout("x14") _, lateout("x15") _, lateout("x16") _,
            lateout("x17") _, lateout("x18") _,
            options(nostack)
        );
    }
    (code, value, [a, b, c, d, e])
}

/// The clock, in ticks of `DomainInfo::frequency`. Not ordered with the instructions around it.
#[inline(always)]
pub fn ticks() -> u64 {
    let ticks;
    // SAFETY: reads the virtual counter, which the CPU driver lets EL0 read.
    unsafe { asm!("mrs {}, cntvct_el0", out(reg) ticks, options(nomem, nostack, preserves_flags)) };
    ticks
}

/// Tells the core that this is a waiting loop.
#[inline(always)]
pub fn relax() {
    // SAFETY: a hint.
    unsafe { asm!("yield", options(nomem, nostack, preserves_flags)) };
}

/// A place in a program that who counts instructions from outside finds: an instruction that does nothing but carry `N`.
#[inline(always)]
pub fn mark<const N: u16>() {
    // SAFETY: writes the register that is always zero.
    unsafe { asm!("movz xzr, #{}", const 0x5300 + N, options(nomem, nostack, preserves_flags)) };
}

/// Orders every load and store before it with every one after it, as all cores of the island, and whoever shares a
/// window, see them.
#[inline(always)]
pub fn full_fence() {
    // SAFETY: a barrier; no `nomem`, so that the compiler keeps to it as well.
    unsafe { asm!("dmb sy", options(nostack, preserves_flags)) };
}

/// Writes `len` bytes from `start` back to memory, past every cache: for code that another core will start in with its MMU
/// off. That core drops its own instruction cache before it turns it on (`skerry_secondary`), which an `ic ivau` from here,
/// of an address it does not use, need not reach.
pub fn publish_code(start: *const u8, len: usize) {
    let line_sizes: u64;
    // SAFETY: reads CTR_EL0, which the CPU driver lets EL0 read.
    unsafe { asm!("mrs {}, ctr_el0", out(reg) line_sizes, options(nomem, nostack, preserves_flags)) };
    let line = 4u64 << (line_sizes >> 16 & 0xf);
    let end = start as u64 + len as u64;
    let mut at = start as u64 & !(line - 1);
    while at < end {
        // SAFETY: cleans and invalidates by address; what is in memory stays the same.
        unsafe { asm!("dc civac, {at}", at = in(reg) at, options(nostack)) };
        at += line;
    }
    // SAFETY: a barrier; the core is started only when all of it is in memory.
    unsafe { asm!("dsb sy", options(nostack)) };
}

/// Writes into `saved` the registers of a thread that will run `entry(arg)` on a stack that ends at `stack_top`; for
/// `Op::Resume`. `entry` must not return. Answers `false` if `saved` is shorter than [`CONTEXT_BYTES`].
#[must_use]
pub fn new_thread(saved: &mut [u8], entry: extern "C" fn(u64) -> !, stack_top: u64, arg: u64) -> bool {
    let mut context = Context::new_zeroed();
    context.start(VirtAddr(entry as *const () as u64), VirtAddr(stack_top), [arg, 0]);
    context.save_to(saved);
    saved.len() >= CONTEXT_BYTES
}

/// Words that a thread which gave the core up itself has on its stack (see [`switch`]).
const FRAME_WORDS: usize = 22;

/// Gives the core from one thread to another inside a domain: saves what a function call preserves (AAPCS64 §6.1: x19 to
/// x30, d8 to d15, FPCR) on the stack, the stack pointer in `save`, and returns in the thread whose stack pointer is
/// `to`.
///
/// # Safety
/// `save` is valid for a write; `to` was saved by this function, or made by [`new_stack`], and is used once.
#[unsafe(naked)]
pub unsafe extern "C" fn switch(save: *mut u64, to: u64) {
    naked_asm!(
        ".arch_extension fp",
        "stp x29, x30, [sp, #-176]!",
        "stp x19, x20, [sp, #16]",
        "stp x21, x22, [sp, #32]",
        "stp x23, x24, [sp, #48]",
        "stp x25, x26, [sp, #64]",
        "stp x27, x28, [sp, #80]",
        "stp d8, d9, [sp, #96]",
        "stp d10, d11, [sp, #112]",
        "stp d12, d13, [sp, #128]",
        "stp d14, d15, [sp, #144]",
        "mrs x9, S3_3_C4_C4_0",
        "str x9, [sp, #160]",
        "mov x9, sp",
        "str x9, [x0]",
        "mov sp, x1",
        "ldr x9, [sp, #160]",
        "msr S3_3_C4_C4_0, x9",
        "ldp d14, d15, [sp, #144]",
        "ldp d12, d13, [sp, #128]",
        "ldp d10, d11, [sp, #112]",
        "ldp d8, d9, [sp, #96]",
        "ldp x27, x28, [sp, #80]",
        "ldp x25, x26, [sp, #64]",
        "ldp x23, x24, [sp, #48]",
        "ldp x21, x22, [sp, #32]",
        "ldp x19, x20, [sp, #16]",
        "ldp x29, x30, [sp], #176",
        "ret",
        ".arch_extension nofp",
    )
}

/// Where a new thread begins: [`new_stack`] left its function in x19 and its argument in x20.
#[unsafe(naked)]
unsafe extern "C" fn begin() {
    naked_asm!("mov x30, xzr", "mov x0, x20", "br x19")
}

/// Prepares a stack that ends at `top` for [`switch`] to run `entry(arg)` on; the stack pointer to switch to.
///
/// # Safety
/// The 256 bytes below `top`, a multiple of 16, are valid for writes, and nothing else uses them.
pub unsafe fn new_stack(top: u64, entry: extern "C" fn(u64) -> !, arg: u64) -> u64 {
    // x29, x30, x19, x20; all else is 0.
    let mut frame = [0; FRAME_WORDS];
    frame[1..4].copy_from_slice(&[begin as *const () as u64, entry as *const () as u64, arg]);
    let at = top - 8 * FRAME_WORDS as u64;
    // SAFETY: the caller's promise.
    unsafe { core::ptr::with_exposed_provenance_mut::<[u64; FRAME_WORDS]>(at as usize).write(frame) };
    at
}

/// What the stack pointer lies below a multiple of 16 by where a function that nobody called begins: aligned to 16 (AAPCS64 §6.4.5.1).
pub const ENTRY_SKEW: u64 = 0;

/// How thread-local storage lies (ELF Handling For Thread-Local Storage §3): below the thread pointer, which points to a
/// word that holds it (variant II); else above, after two words (variant I).
pub const TLS_BELOW: bool = false;

/// Sets this thread's pointer (`TPIDR_EL0`).
#[inline(always)]
pub fn set_thread_pointer(at: u64) {
    // SAFETY: nothing but thread-local storage uses this register.
    unsafe { asm!("msr tpidr_el0, {}", in(reg) at, options(nostack, preserves_flags)) };
}

/// A random number of the processor's own source: none. `RNDR` faults on a core without FEAT_RNG, and whether there is
/// one stands in a register that EL0 cannot read.
pub const fn random() -> Option<u64> {
    None
}

/// Whether user mode may set its thread pointer: always here.
pub const fn has_thread_pointer() -> bool {
    true
}

/// Defines `_start`: relocates the static PIE it is part of (`R_AARCH64_RELATIVE` as RELA, and RELR; System V gABI ch. 5),
/// then calls `extern "C" fn skerry_main(info: *const u8) -> !` with what the spawner passed, the address of the
/// `DomainInfo`. A macro, so that only programs that say so have a `_start`.
#[macro_export]
macro_rules! user_start {
    () => {
        ::core::arch::global_asm!(
            r#"
    .pushsection .text._start, "ax"
    .global _start
    .type   _start, %function
_start:
    mov     x29, xzr
    mov     x30, xzr
    adrp    x1, __ehdr_start
    add     x1, x1, :lo12:__ehdr_start
    adrp    x2, _DYNAMIC
    add     x2, x2, :lo12:_DYNAMIC
    mov     x3, xzr             // RELA, size
    mov     x4, xzr
    mov     x5, xzr             // RELR, size
    mov     x6, xzr
1:  ldp     x7, x8, [x2], #16
    cbz     x7, 2f              // DT_NULL
    cmp     x7, #7              // DT_RELA
    csel    x3, x8, x3, eq
    cmp     x7, #8              // DT_RELASZ
    csel    x4, x8, x4, eq
    cmp     x7, #36             // DT_RELR
    csel    x5, x8, x5, eq
    cmp     x7, #35             // DT_RELRSZ
    csel    x6, x8, x6, eq
    b       1b

2:  add     x3, x3, x1
    add     x4, x4, x3
3:  cmp     x3, x4
    b.hs    4f
    ldp     x7, x8, [x3]        // place, type
    ldr     x9, [x3, #16]       // addend
    add     x3, x3, #24
    cmp     w8, #0x403          // R_AARCH64_RELATIVE; there is no other in a static PIE
    b.ne    3b
    add     x9, x9, x1
    str     x9, [x1, x7]
    b       3b

4:  add     x5, x5, x1
    add     x6, x6, x5
5:  cmp     x5, x6
    b.hs    9f
    ldr     x7, [x5], #8
    tbnz    x7, #0, 6f
    add     x8, x1, x7          // an address: relocate it, the bitmaps go on behind it
    ldr     x9, [x8]
    add     x9, x9, x1
    str     x9, [x8], #8
    b       5b
6:  mov     x10, x8             // a bitmap of the next 63 words
7:  lsr     x7, x7, #1
    cbz     x7, 8f
    tbz     x7, #0, 71f
    ldr     x9, [x10]
    add     x9, x9, x1
    str     x9, [x10]
71: add     x10, x10, #8
    b       7b
8:  add     x8, x8, #504
    b       5b

9:  bl      skerry_main
    udf     #0
    .hidden __ehdr_start
    .hidden _DYNAMIC
    .popsection
"#
        );
    };
}

/// Defines a thread-local variable, the word `skerry_tls_word`, first 0x5ca1ab1e, and `skerry_tls_zero`, first 0, aligned
/// to 64 bytes; and `extern "C" fn skerry_tls(which: u64) -> *mut u64`, which answers where this thread's word (0) or
/// zero (1) lies, by the initial-exec model. Stable Rust has no way to say that.
#[macro_export]
macro_rules! user_tls {
    () => {
        ::core::arch::global_asm!(
            r#"
    .pushsection .tdata.skerry, "awT", @progbits
    .balign 8
    .global skerry_tls_word
    .type   skerry_tls_word, @tls_object
skerry_tls_word: .quad 0x5ca1ab1e
    .popsection
    .pushsection .tbss.skerry, "awT", @nobits
    .balign 64
    .global skerry_tls_zero
    .type   skerry_tls_zero, @tls_object
skerry_tls_zero: .zero 8
    .popsection
    .pushsection .text.skerry_tls, "ax"
    .global skerry_tls
    .type   skerry_tls, %function
skerry_tls:
    adrp    x1, :gottprel:skerry_tls_word
    ldr     x1, [x1, :gottprel_lo12:skerry_tls_word]
    adrp    x2, :gottprel:skerry_tls_zero
    ldr     x2, [x2, :gottprel_lo12:skerry_tls_zero]
    cmp     x0, #0
    csel    x1, x1, x2, eq
    mrs     x0, tpidr_el0
    add     x0, x0, x1
    ret
    .popsection
"#
        );
    };
}
