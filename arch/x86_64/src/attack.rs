//! What a program tries that may not: instructions, saved registers, returns that would end above user space. For
//! `apps/attack`, so that assembly stays in `arch`. The same names stand in `arch/aarch64`.

use crate::Context;
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

/// What a load from an address outside of both halves is: a general protection exception tells no address.
pub const NON_CANONICAL: FaultKind = FaultKind::Instruction;
/// A system call that does nothing, for memory that is not part of a program. Put at the very end of user space, it
/// returns to the first address that is not canonical (the "sysret bug").
pub const NULL_SYSCALL: &[u8] = &[0x31, 0xff, 0x0f, 0x05];

/// Code that jumps to an address.
pub fn jump_to(addr: u64) -> [u8; 12] {
    // mov rax, addr; jmp rax
    let mut code = [0x48, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xe0];
    code[2..10].copy_from_slice(&addr.to_le_bytes());
    code
}

// Not here, though user mode must not do them, as QEMU lets it or never does them: WBINVD and INVD, segment bases that are
// not canonical, SSE exceptions.

const DIES: Option<FaultKind> = Some(FaultKind::Instruction);
const READS: Option<FaultKind> = Some(FaultKind::Read);
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
                unsafe { asm!($($line),+, out("r12") _, out("r13") _, clobber_abi("C")) }
            },
        }),*];
    };
}

instructions! {
    "cli" DIES "cli";
    "sti" DIES "sti";
    "hlt" DIES "hlt";
    "in" DIES "mov edx, 0x60" "in al, dx";
    "out" DIES "mov edx, 0x604" "mov eax, 0x2000" "out dx, ax";
    "insb" DIES "mov edx, 0x60" "lea rdi, [rsp - 64]" "insb";
    "mov-cr0" DIES "mov rax, cr0";
    "write-cr0" DIES "xor eax, eax" "mov cr0, rax";
    "write-cr3" DIES "xor eax, eax" "mov cr3, rax";
    "write-cr4" DIES "xor eax, eax" "mov cr4, rax";
    "write-cr8" DIES "xor eax, eax" "mov cr8, rax";
    "write-dr7" DIES "xor eax, eax" "mov dr7, rax";
    "clts" DIES "clts";
    "lmsw" DIES "xor eax, eax" "lmsw ax";
    "smsw" DIES "smsw ax";
    "rdmsr" DIES "mov ecx, 0xc0000082" "rdmsr";
    "wrmsr" DIES "mov ecx, 0xc0000082" "xor eax, eax" "xor edx, edx" "wrmsr";
    "rdpmc" DIES "xor ecx, ecx" "rdpmc";
    "swapgs" DIES "swapgs";
    "sysret" DIES "lea rcx, [rip]" "sysretq";
    "sysenter" DIES "sysenter";
    "xsetbv" DIES "xor ecx, ecx" "xor eax, eax" "xor edx, edx" "xsetbv";
    "avx" DIES "vaddps ymm0, ymm0, ymm0";
    "lgdt" DIES "lgdt [rsp]";
    "lidt" DIES "lidt [rsp]";
    "sgdt" DIES "sgdt [rsp - 32]";
    "lldt" DIES "xor eax, eax" "lldt ax";
    "ltr" DIES "mov eax, 0x28" "ltr ax";
    "invlpg" DIES "invlpg [rsp]";
    "vmmcall" DIES "vmmcall";
    "rsm" DIES "rsm";
    "monitor" DIES "mov rax, rsp" "xor ecx, ecx" "xor edx, edx" "monitor";
    "ud2" DIES "ud2";
    "int-8" DIES "int 8";
    "int-14" DIES "int 14";
    "int-32" DIES "int 32";
    "int-63" DIES "int 63";
    "int-128" DIES "int 128";
    "int-255" DIES "int 255";
    "ss-kernel" DIES "mov eax, 0x10" "mov ss, ax";
    "ds-kernel" DIES "mov eax, 0x10" "mov ds, ax";
    "fs-beyond" DIES "mov eax, 0xfff8" "mov fs, ax";
    "retf-kernel" DIES "push 8" "lea rax, [rip]" "push rax" "retfq";
    "retf-task" DIES "push 0x28" "lea rax, [rip]" "push rax" "retfq";
    "iret-kernel" DIES "mov rax, rsp" "push 0x10" "push rax" "push 2" "push 8" "lea rax, [rip]" "push rax" "iretq";
    "iret-stack" DIES "mov rax, rsp" "push 0x10" "push rax" "push 2" "push 0x23" "lea rax, [rip]" "push rax" "iretq";
    "iret-task" DIES "pushfq" "or dword ptr [rsp], 0x4000" "popfq" "iretq";
    "iopl" DIES "pushfq" "or dword ptr [rsp], 0x3000" "popfq" "cli";
    "iret-iopl" DIES "mov rax, rsp" "push 0x1b" "push rax" "push 0x3202" "push 0x23" "lea rax, [rip + 2f]" "push rax" "iretq" "2: cli";
    "gs-kernel" READS "mov rax, 0xffff800000000000" "wrgsbase rax" "xor edi, edi" "syscall" "mov rax, gs:[0]";
    "stack-kernel-fault" DIES "mov rsp, 0xffffffff80000000" "ud2";
    "jump-not-canonical" DIES "mov rax, 0x800000000000" "jmp rax";
    "divide" SUMS "xor ecx, ecx" "xor edx, edx" "mov eax, 1" "div ecx";
    "x87" SUMS "push 0x360" "fldcw [rsp]" "fldz" "fldz" "fdivp" "fwait";
    "int-4" SUMS "int 4";
    "int3" BREAKS "int3";
    "icebp" BREAKS ".byte 0xf1";
    "single-step" BREAKS "pushfq" "or dword ptr [rsp], 0x100" "popfq" "nop" "nop";
    "step-into-call" BREAKS "xor edi, edi" "pushfq" "or dword ptr [rsp], 0x100" "popfq" "syscall" "nop" "nop";
    "call-with-ac" LIVES "pushfq" "or dword ptr [rsp], 0x40000" "popfq" "xor edi, edi" "syscall" "pushfq" "and dword ptr [rsp], 0xfffbffff" "popfq";
    "call-with-nt" LIVES "pushfq" "or dword ptr [rsp], 0x4000" "popfq" "xor edi, edi" "syscall" "pushfq" "and dword ptr [rsp], 0xffffbfff" "popfq";
    "call-with-df" LIVES "std" "xor edi, edi" "syscall" "cld";
    "call-on-kernel-stack" LIVES "mov r12, rsp" "mov rsp, 0xffffffff80000000" "xor edi, edi" "syscall" "mov rsp, r12";
    "call-on-no-stack" LIVES "mov r12, rsp" "mov rsp, 0x8000000000000000" "xor edi, edi" "syscall" "mov rsp, r12";
    "spin-on-kernel-stack" LIVES "mov r12, rsp" "mov rsp, 0xffffffff80000000" "mov ecx, 20000000" "2: dec ecx" "jnz 2b" "mov rsp, r12";
    "spin-with-pending-x87" LIVES "push 0x360" "fldcw [rsp]" "pop rax" "fldz" "fldz" "fdivp" "mov ecx, 20000000" "2: dec ecx" "jnz 2b" "fnclex" "fninit";
    "spin-with-all-flags" LIVES "pushfq" "or dword ptr [rsp], 0x244cd5" "popfq" "mov ecx, 20000000" "2: dec ecx" "jnz 2b" "cld" "pushfq" "and dword ptr [rsp], 0xfffbffff" "popfq";
}

/// What is forged, whether `Op::Resume` must refuse it, and how it is forged.
pub type Forgery = (&'static str, bool, fn(&mut Context));

/// Ways to spoil a thread's saved registers. What it does not refuse it makes
/// harmless: the thread goes on as it was.
pub const FORGERIES: &[Forgery] = &[
    ("a program counter of the CPU driver", true, |c| c.rip = 0xffff_ffff_8000_0000),
    ("a program counter that is not canonical", true, |c| c.rip = 1 << 47),
    ("the last program counter of all", true, |c| c.rip = !0),
    ("a stack of the CPU driver", true, |c| c.rsp = 0xffff_ffff_8000_1000),
    ("a stack that is not canonical", true, |c| c.rsp = 1 << 63),
    ("every flag but the direction", false, |c| c.rflags = !(1 << 10)),
    ("no flag", false, |c| c.rflags = 0),
    ("I/O privilege, and interrupts off", false, |c| c.rflags = 0x3002),
    ("segment bases that are not canonical", false, |c| (c.fs_base, c.gs_base) = (1 << 47, 1 << 63)),
    ("segment bases of the CPU driver", false, |c| (c.fs_base, c.gs_base) = (!0 << 47, !0 << 47)),
    ("vector registers all ones", false, |c| c.float.as_mut_bytes().fill(0xff)),
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

/// What a thread must find after a forgery: interrupts on, and no privilege over ports.
pub fn unprivileged() -> bool {
    let flags: u64;
    // SAFETY: reads the flags by way of the stack.
    unsafe { asm!("pushfq", "pop {}", out(reg) flags) };
    flags & 0x3000 == 0 && flags & 1 << 9 != 0
}

/// Loads the six words that rdi points to into the registers of a system call.
macro_rules! load_words {
    () => {
        "mov rax, rdi\nmov rdi, [rax]\nmov rsi, [rax + 8]\nmov rdx, [rax + 16]\nmov r10, [rax + 24]\nmov r8, [rax + 32]\nmov r9, [rax + 40]"
    };
}

/// Words that [`look`] writes: first [`CLEARED`] registers that a system call without further words clears, then the
/// vector registers.
pub const SEEN: usize = CLEARED + 32;
/// rdi, rsi, r8, r9 and r10; rcx and r11 are the instruction's.
pub const CLEARED: usize = 5;

/// Makes the system call of `words` and writes down what it finds in every register that it could read another's secret from.
pub fn look(words: &[u64; 6], seen: &mut [u64; SEEN]) {
    // SAFETY: what it does is a function call, and it writes `SEEN` words.
    unsafe { look_into(words.as_ptr(), seen.as_mut_ptr()) };
}

#[unsafe(naked)]
unsafe extern "C" fn look_into(words: *const u64, seen: *mut u64) {
    naked_asm!(
        "push rbx",
        "mov rbx, rsi",
        load_words!(),
        "syscall",
        "mov [rbx], rdi",
        "mov [rbx + 8], rsi",
        "mov [rbx + 16], r8",
        "mov [rbx + 24], r9",
        "mov [rbx + 32], r10",
        "lea rbx, [rbx + 40]",
        ".irp n, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15",
        "movups [rbx + 16 * \\n], xmm\\n",
        ".endr",
        "pop rbx",
        "ret",
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
        "push rbx",
        "push rbp",
        "mov rbx, rsi",
        "mov rbp, rsi",
        load_words!(),
        ".irp n, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15",
        "movq xmm\\n, rbx",
        "punpcklqdq xmm\\n, xmm\\n",
        ".endr",
        "syscall",
        "pop rbp",
        "pop rbx",
        "ret",
    )
}
