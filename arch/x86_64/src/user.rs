//! The seam for user code: what a user program cannot say in portable Rust. `arch/registry` re-exports it.

use crate::Context;
use core::arch::asm;
use skerry_hal::{Isa, UserContext, VirtAddr};

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

/// Orders every load and store before it against every one after, other cores' and devices' views included.
#[inline(always)]
pub fn full_fence() {
    // SAFETY: a fence touches no memory; SSE2 is part of the ISA.
    unsafe { core::arch::x86_64::_mm_mfence() };
}

/// Makes code that was written as data fetchable by a core that has yet to start. Nothing: caches are coherent here.
#[inline(always)]
pub fn publish_code(_start: *const u8, _len: usize) {}

/// Writes into `saved` the registers of a thread that will run `entry(arg)` on a stack that ends at `stack_top`; for
/// `Op::Resume`. `entry` must not return. Answers `false` if `saved` is shorter than [`CONTEXT_BYTES`].
#[must_use]
pub fn new_thread(saved: &mut [u8], entry: extern "C" fn(u64) -> !, stack_top: u64, arg: u64) -> bool {
    let mut context = Context::empty();
    context.start(VirtAddr(entry as *const () as u64), VirtAddr(stack_top), [arg, 0]);
    context.save_to(saved);
    saved.len() >= CONTEXT_BYTES
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
            "lea rdi, [rdi + rdx - 1]",
            "lea rsi, [rsi + rdx - 1]",
            "std",
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

#[cfg(test)]
mod tests {
    use super::*;

    extern "C" fn entry(_: u64) -> ! {
        std::process::abort()
    }

    #[test]
    fn a_new_thread_can_be_resumed() {
        let mut saved = [0; CONTEXT_BYTES];
        assert!(new_thread(&mut saved, entry, 0x7fff_0000, 5));
        let mut context = Context::empty();
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

    #[test]
    fn the_clock_does_not_go_back() {
        let first = ticks();
        full_fence();
        assert!(ticks() >= first);
    }
}
