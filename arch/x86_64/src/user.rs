//! The seam for user code: what a user program cannot say in portable Rust. `arch/registry` re-exports it.

use crate::Context;
use core::arch::x86_64::{__cpuid, __cpuid_count};
use core::arch::{asm, naked_asm};
use skerry_hal::{Isa, UserContext, VirtAddr};
use zerocopy::FromZeros;

/// The instruction set.
pub const ISA: Isa = Isa::X86_64;
/// Bytes of a saved thread in a dispatcher's page.
pub const CONTEXT_BYTES: usize = Context::SIZE;

/// Invokes a capability: six words in, code and value out (`cpu-driver/abi`, module `op`).
#[inline(always)]
pub fn syscall(words: [u64; 6]) -> (u64, u64) {
    let (code, value, _) = syscall_wide(words);
    (code, value)
}

/// The same for an operation that answers five words more.
#[inline(always)]
pub fn syscall_wide(words: [u64; 6]) -> (u64, u64, [u64; 5]) {
    let (code, value, a, b, c, d, e);
    // SAFETY: the CPU driver preserves what the System V ABI preserves, the stack, and the floating-point registers;
    // all else is declared lost. What the invocation does to memory is bounded by the caller's capabilities.
    unsafe {
        asm!(
            "syscall",
            inlateout("rdi") words[0] => a,
            inlateout("rsi") words[1] => b,
            inlateout("rdx") words[2] => value,
            inlateout("r10") words[3] => c,
            inlateout("r8") words[4] => d,
            inlateout("r9") words[5] => e,
            lateout("rax") code,
            lateout("rcx") _,
            lateout("r11") _,
            options(nostack),
        );
    }
    (code, value, [a, b, c, d, e])
}

/// The clock (time-stamp counter), in the ticks of `DomainInfo::frequency`. Not ordered against other instructions.
#[inline(always)]
pub fn ticks() -> u64 {
    // SAFETY: reads a counter that user mode may read.
    unsafe { core::arch::x86_64::_rdtsc() }
}

/// A hint that the program polls memory (`pause`).
#[inline(always)]
pub fn relax() {
    core::hint::spin_loop();
}

/// A place in a program that who counts instructions from outside finds: an instruction that does nothing but carry `N`.
#[inline(always)]
pub fn mark<const N: u16>() {
    // SAFETY: it does not touch the memory that it names.
    unsafe {
        asm!("nop dword ptr [rax + {}]", const 0x534b_0000_u32 + N as u32, options(nomem, nostack, preserves_flags));
    }
}

/// Orders every load and store before it against every one after, other cores' and devices' views included.
#[inline(always)]
pub fn full_fence() {
    // SAFETY: a fence touches no memory; SSE2 is part of the ISA.
    unsafe { core::arch::x86_64::_mm_mfence() };
}

/// Writes code back to memory, for a core that has yet to start. Nothing: caches are coherent here.
#[inline(always)]
pub fn publish_code(_start: *const u8, _len: usize) {}

/// Writes into `saved` the registers of a thread that will run `entry(arg)` on a stack that ends at `stack_top`; for
/// `Op::Resume`. `entry` must not return. Answers `false` if `saved` is shorter than [`CONTEXT_BYTES`].
#[must_use]
pub fn new_thread(saved: &mut [u8], entry: extern "C" fn(u64) -> !, stack_top: u64, arg: u64) -> bool {
    let mut context = Context::new_zeroed();
    context.start(VirtAddr(entry as *const () as u64), VirtAddr(stack_top), [arg, 0]);
    context.save_to(saved);
    saved.len() >= CONTEXT_BYTES
}

/// Bytes that a thread which gave the core up itself has on its stack (see [`switch`]).
const FRAME_WORDS: usize = 8;

/// Gives the core from one thread to another inside a domain: saves what a function call preserves (System V ABI
/// §3.2.1: rbx, rbp, r12 to r15, the control bits of MXCSR and the x87 control word) on the stack, the stack pointer in
/// `save`, and returns in the thread whose stack pointer is `to`.
///
/// # Safety
/// `save` is valid for a write; `to` was saved by this function, or made by [`new_stack`], and is used once.
#[unsafe(naked)]
pub unsafe extern "C" fn switch(save: *mut u64, to: u64) {
    naked_asm!(
        "push rbp",
        "push rbx",
        "push r12",
        "push r13",
        "push r14",
        "push r15",
        "push rax",
        "stmxcsr [rsp]",
        "fnstcw [rsp + 4]",
        "mov [rdi], rsp",
        "mov rsp, rsi",
        "ldmxcsr [rsp]",
        "fldcw [rsp + 4]",
        "pop rax",
        "pop r15",
        "pop r14",
        "pop r13",
        "pop r12",
        "pop rbx",
        "pop rbp",
        "ret",
    )
}

/// Where a new thread begins: [`new_stack`] left its function in r12 and its argument in r13.
#[unsafe(naked)]
unsafe extern "C" fn begin() {
    naked_asm!("xor ebp, ebp", "mov rdi, r13", "call r12", "ud2")
}

/// Prepares a stack that ends at `top` for [`switch`] to run `entry(arg)` on; the stack pointer to switch to.
///
/// # Safety
/// The 128 bytes below `top`, a multiple of 16, are valid for writes, and nothing else uses them.
pub unsafe fn new_stack(top: u64, entry: extern "C" fn(u64) -> !, arg: u64) -> u64 {
    // The state after `fninit` and reset; r15, r14, r13, r12, rbx, rbp; where to return to.
    let frame: [u64; FRAME_WORDS] =
        [0x37f << 32 | 0x1f80, 0, 0, arg, entry as *const () as u64, 0, 0, begin as *const () as u64];
    let at = top - 8 * FRAME_WORDS as u64;
    // SAFETY: the caller's promise.
    unsafe { core::ptr::with_exposed_provenance_mut::<[u64; FRAME_WORDS]>(at as usize).write(frame) };
    at
}

/// What the stack pointer lies below a multiple of 16 by where a function that nobody called begins: as after a call (System V ABI §3.2.2).
pub const ENTRY_SKEW: u64 = 8;

/// How thread-local storage lies (ELF Handling For Thread-Local Storage §3): below the thread pointer, which points to a
/// word that holds it (variant II); else above, after two words (variant I).
pub const TLS_BELOW: bool = true;

/// Sets this thread's pointer (FS base).
#[inline(always)]
pub fn set_thread_pointer(at: u64) {
    // SAFETY: only what `has_thread_pointer` allows is called; nothing but thread-local storage uses FS.
    unsafe { asm!("wrfsbase {}", in(reg) at, options(nostack, preserves_flags)) };
}

/// Whether user mode may set its thread pointer: FSGSBASE (SDM vol. 2, CPUID leaf 7), which the CPU driver turns on
/// where it is there, as on every processor since 2012.
pub fn has_thread_pointer() -> bool {
    __cpuid(0).eax >= 7 && __cpuid_count(7, 0).ebx & 1 != 0
}

/// A random number of the processor's own source (`rdrand`), or `None` where it has none or has run dry.
pub fn random() -> Option<u64> {
    if __cpuid(1).ecx >> 30 & 1 == 0 {
        return None;
    }
    // Ten tries, as the manual advises (SDM vol. 1 §7.3.17.1).
    (0..10).find_map(|_| {
        let (value, good): (u64, u8);
        // SAFETY: the processor has the instruction.
        unsafe { asm!("rdrand {}", "setc {}", out(reg) value, out(reg_byte) good, options(nomem, nostack)) };
        (good != 0).then_some(value)
    })
}

/// Applies a static position-independent program's own relocations (System V gABI ch. 5; RELR as in its 2022 draft).
/// Called by `_start` alone, before anything that a relocation could change is used.
///
/// # Safety
/// `base` is where the program's first byte lies, `dynamic` its dynamic section; neither ran before.
#[doc(hidden)]
pub unsafe extern "C" fn relocate(base: u64, dynamic: *const [u64; 2]) {
    const RELA: u64 = 7;
    const RELA_BYTES: u64 = 8;
    const RELR_BYTES: u64 = 35;
    const RELR: u64 = 36;
    /// `R_X86_64_RELATIVE`: base plus addend.
    const RELATIVE: u64 = 8;

    let (mut rela, mut rela_bytes, mut relr, mut relr_bytes) = (0, 0, 0, 0);
    let mut entry = dynamic;
    loop {
        // SAFETY: the caller's dynamic section ends with a null entry, where this loop stops.
        let [tag, value] = unsafe { entry.read() };
        match tag {
            0 => break,
            RELA => rela = value,
            RELA_BYTES => rela_bytes = value,
            RELR => relr = value,
            RELR_BYTES => relr_bytes = value,
            _ => {}
        }
        entry = entry.wrapping_add(1);
    }

    let mut at = (base + rela) as *const [u64; 3];
    for _ in 0..rela_bytes / 24 {
        // SAFETY: the linker's table of relocations lies in the program.
        let [offset, info, addend] = unsafe { at.read() };
        if info & 0xffff_ffff == RELATIVE {
            // SAFETY: the linker says that an address belongs into this word of the program's data.
            unsafe { ((base + offset) as *mut u64).write_unaligned(base.wrapping_add(addend)) };
        }
        at = at.wrapping_add(1);
    }

    // An even word is the address of one word to shift; an odd one is a bitmap of the 63 words after the last.
    let mut at = (base + relr) as *const u64;
    let mut word = core::ptr::null_mut::<u64>();
    for _ in 0..relr_bytes / 8 {
        // SAFETY: as for the other table.
        let item = unsafe { at.read() };
        at = at.wrapping_add(1);
        if item & 1 == 0 {
            // SAFETY: the linker says that this word of the program's data holds an address.
            unsafe { shift((base + item) as *mut u64, base) };
            word = ((base + item) as *mut u64).wrapping_add(1);
        } else {
            for bit in 1..64 {
                if item >> bit & 1 != 0 {
                    // SAFETY: as above.
                    unsafe { shift(word.wrapping_add(bit - 1), base) };
                }
            }
            word = word.wrapping_add(63);
        }
    }
}

/// Adds `base` to the word.
///
/// # Safety
/// `word` points to a word of the program's data that holds an address relative to the program's start.
#[inline(always)]
unsafe fn shift(word: *mut u64, base: u64) {
    // SAFETY: the caller's promise.
    let old = unsafe { word.read() };
    // SAFETY: the caller's promise.
    unsafe { word.write(old.wrapping_add(base)) };
}

/// Defines `_start`: relocates the program, then calls `extern "C" fn skerry_main(info: *const u8) -> !` with what the
/// spawner passed, the address of the `DomainInfo`. A macro, so that only programs that say so have a `_start`.
#[macro_export]
macro_rules! user_start {
    () => {
        ::core::arch::global_asm!(
            ".pushsection .text._start,\"ax\",@progbits",
            ".globl _start",
            ".hidden _DYNAMIC",
            "_start:",
            "xor ebp, ebp", // the outermost frame: debuggers stop here
            "and rsp, -16",
            "push rdi",
            "push rdi", // twice, to keep the stack aligned for the call
            "lea rdi, [rip + __ehdr_start]", // linked at 0: where the file begins is the base
            "lea rsi, [rip + _DYNAMIC]",
            "call {relocate}",
            "pop rdi",
            "pop rdi",
            "call skerry_main",
            "ud2",
            ".popsection",
            relocate = sym $crate::user::relocate,
        );
        // The compiler may call these anywhere, and on this target expects a C library to have them (SDM vol. 2, REP).
        ::core::arch::global_asm!(
            ".pushsection .text.memory,\"ax\",@progbits",
            ".globl memcpy, memmove, memset, memcmp, bcmp",
            ".hidden memcpy, memmove, memset, memcmp, bcmp",
            "memmove:",
            "mov rax, rdi",
            "sub rax, rsi",
            "cmp rax, rdx",
            "jb 2f", // the destination starts inside the source: copy from the end
            "memcpy:",
            "mov rax, rdi",
            "mov rcx, rdx",
            "shr rcx, 3",
            "rep movsq",
            "mov ecx, edx",
            "and ecx, 7",
            "rep movsb",
            "ret",
            "2:",
            "mov rax, rdi",
            "mov rcx, rdx",
            "shr rcx, 3",
            "lea rdi, [rdi + rdx - 8]",
            "lea rsi, [rsi + rdx - 8]",
            "std",
            "rep movsq",
            "add rdi, 7", // what is left is below
            "add rsi, 7",
            "mov ecx, edx",
            "and ecx, 7",
            "rep movsb",
            "cld",
            "ret",
            "memset:",
            "mov r9, rdi",
            "movzx eax, sil",
            "mov r8, 0x0101010101010101",
            "imul rax, r8",
            "mov rcx, rdx",
            "shr rcx, 3",
            "rep stosq",
            "mov ecx, edx",
            "and ecx, 7",
            "rep stosb",
            "mov rax, r9",
            "ret",
            "memcmp:",
            "bcmp:",
            "xor eax, eax",
            "xor ecx, ecx",
            "3:",
            "cmp rcx, rdx",
            "je 4f",
            "movzx eax, byte ptr [rdi + rcx]",
            "movzx r8d, byte ptr [rsi + rcx]",
            "inc rcx",
            "sub eax, r8d",
            "je 3b",
            "4:",
            "ret",
            // This target's library is built to unwind; programs are not, so nothing ever comes here.
            ".globl rust_eh_personality, _Unwind_Resume",
            ".hidden rust_eh_personality, _Unwind_Resume",
            "rust_eh_personality:",
            "_Unwind_Resume:",
            "ud2",
            ".popsection",
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
            ".pushsection .tdata.skerry,\"awT\",@progbits",
            ".balign 8",
            ".globl skerry_tls_word",
            ".type skerry_tls_word, @tls_object",
            "skerry_tls_word: .quad 0x5ca1ab1e",
            ".popsection",
            ".pushsection .tbss.skerry,\"awT\",@nobits",
            ".balign 64",
            ".globl skerry_tls_zero",
            ".type skerry_tls_zero, @tls_object",
            "skerry_tls_zero: .zero 8",
            ".popsection",
            ".pushsection .text.skerry_tls,\"ax\",@progbits",
            ".globl skerry_tls",
            "skerry_tls:",
            "mov rcx, [rip + skerry_tls_word@gottpoff]",
            "mov rdx, [rip + skerry_tls_zero@gottpoff]",
            "test rdi, rdi",
            "cmovnz rcx, rdx",
            "mov rax, fs:[0]",
            "add rax, rcx",
            "ret",
            ".popsection",
        );
    };
}

#[cfg(test)]
mod tests {
    use super::*;
    use core::sync::atomic::AtomicU64;
    use core::sync::atomic::Ordering::Relaxed;

    extern "C" fn entry(_: u64) -> ! {
        std::process::abort()
    }

    #[test]
    fn a_new_thread_can_be_resumed() {
        let mut saved = [0; CONTEXT_BYTES];
        assert!(new_thread(&mut saved, entry, 0x7fff_0000, 5));
        let mut context = Context::new_zeroed();
        assert!(context.load_from(&saved));
        assert_eq!((context.rdi, context.rip), (5, entry as *const () as u64));
        assert!(!new_thread(&mut [0; 8], entry, 0x7fff_0000, 5));
    }

    #[test]
    fn relocation_shifts_exactly_the_words_named() {
        // A program image of 96 words. Words 0 to 7: dynamic section; 10 to 15: two RELA; 20 to 22: RELR; data from 24.
        let mut image = vec![0u64; 96];
        image[0..8].copy_from_slice(&[7, 10 * 8, 8, 48, 36, 20 * 8, 35, 24]);
        image[10..16].copy_from_slice(&[30 * 8, 8, 0x55, 31 * 8, 6, 0x66]);
        // Word 40, then by bitmap 41 (bit 1) and 43 (bit 3), then word 90.
        image[20..23].copy_from_slice(&[40 * 8, 0b1011, 90 * 8]);
        for (index, word) in image.iter_mut().enumerate().skip(24) {
            *word = index as u64;
        }
        let before = image.clone();
        let base = image.as_mut_ptr() as u64;
        // SAFETY: the image above is a valid program as far as relocation is concerned; word 8 ends the section.
        unsafe { relocate(base, image.as_ptr().cast()) };
        for word in 0..96 {
            let expected = match word {
                30 => base + 0x55,
                40 | 41 | 43 | 90 => before[word] + base,
                _ => before[word],
            };
            assert_eq!(image[word], expected, "word {word}");
        }
    }

    static MAIN: AtomicU64 = AtomicU64::new(0);
    static OTHER: AtomicU64 = AtomicU64::new(0);

    extern "C" fn other(arg: u64) -> ! {
        for n in 0.. {
            // SAFETY: `a_thread_comes_back` saved its own stack pointer there.
            unsafe { switch(OTHER.as_ptr(), MAIN.load(Relaxed)) };
            STEPS.store(arg + n, Relaxed);
        }
        unreachable!()
    }

    static STEPS: AtomicU64 = AtomicU64::new(0);

    #[test]
    fn a_thread_comes_back() {
        let mut stack = vec![0u128; 4096];
        let top = stack.as_mut_ptr_range().end.expose_provenance() as u64;
        // SAFETY: the stack is large, and this test alone uses it.
        OTHER.store(unsafe { new_stack(top, other, 100) }, Relaxed);
        let mode = |to: u32| {
            // SAFETY: masks stay as they are; only the rounding mode changes.
            unsafe { asm!("ldmxcsr [{}]", in(reg) &raw const to, options(nostack)) };
        };
        mode(0x7f80);
        for n in 0..10 {
            // SAFETY: `other` is as `new_stack` left it, or gave the core up in `switch`.
            unsafe { switch(MAIN.as_ptr(), OTHER.load(Relaxed)) };
            assert_eq!(STEPS.load(Relaxed), if n == 0 { 0 } else { 99 + n });
            let mut now = 0u32;
            // SAFETY: stores four bytes.
            unsafe { asm!("stmxcsr [{}]", in(reg) &raw mut now, options(nostack)) };
            assert_eq!(now & 0xffc0, 0x7f80, "this thread's rounding mode");
        }
        mode(0x1f80);
    }

    #[test]
    fn the_clock_does_not_go_back() {
        let first = ticks();
        full_fence();
        assert!(ticks() >= first);
    }
}
