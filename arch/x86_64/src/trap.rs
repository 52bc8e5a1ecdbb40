//! Into the CPU driver and out again.
//!
//! The stubs save the running program's registers in its [`Context`], take the one kernel stack from its top, call the
//! [`Handler`], and do what it says: run a program, or idle with no Rust frame alive. Interrupts are off in all of it.
//! A system call saves and restores only what a function call preserves, everything else saves all registers.
//!
//! | from | way in | way out |
//! | --- | --- | --- |
//! | `syscall` | `skerry_syscall` | `sysretq` if the same program goes on and its context is not full, else `skerry_resume` |
//! | exception in user mode | `skerry_trap` | `skerry_resume` |
//! | interrupt, in user mode or idle | `skerry_trap` | `skerry_resume` |
//! | exception in the CPU driver; NMI, double fault, machine check anywhere | `skerry_fatal` | none: dump, then power off |
//!
//! User mode can set AC, which would switch SMAP off, and NT and TF: `syscall` masks them, the other stubs load clean
//! flags first. A program counter of user mode is never above bit 46 when it is loaded, as both `sysretq` and `iretq`
//! fault *in ring 0* on one that is not canonical (SDM vol. 2, SYSRET; the "sysret bug" of 2012).

use crate::{Context, tables};
use core::arch::global_asm;
use core::cell::Cell;
use core::mem::offset_of;
use core::ptr::{self, NonNull};
use skerry_hal::{Fault, FaultKind, Handler, Next, Print, VirtAddr};
use x86_64::registers::control::{Cr2, Cr3};
use x86_64::registers::model_specific::{LStar, Msr, SFMask};
use x86_64::registers::rflags::RFlags;

/// The first vector that is an interrupt.
pub const FIRST_INTERRUPT: u8 = 32;

/// What the stubs know. In the image, of which each core has its own copy.
#[repr(C)]
struct Block {
    /// The program that runs; null while idle.
    current: Cell<*mut Context>,
    /// Interrupts taken and not yet asked for, by vector.
    pending: [Cell<u64>; 2],
    syscall: Cell<Option<extern "C" fn(u64, u64, u64, u64, u64, u64) -> *mut Context>>,
    fault: Cell<Option<extern "C" fn(u64, u64, u64) -> *mut Context>>,
    interrupt: Cell<Option<extern "C" fn() -> *mut Context>>,
    handler: Cell<*mut ()>,
    fatal: Cell<fn(&Frame) -> !>,
}

// SAFETY: one core alone runs this copy of the image, and kernel entries are not interrupted.
unsafe impl Sync for Block {}

static BLOCK: Block = Block {
    current: Cell::new(ptr::null_mut()),
    pending: [const { Cell::new(0) }; 2],
    syscall: Cell::new(None),
    fault: Cell::new(None),
    interrupt: Cell::new(None),
    handler: Cell::new(ptr::null_mut()),
    fatal: Cell::new(|_| halt()),
};

/// Loads descriptor tables and the system call registers. `fatal` gets the dump when the CPU driver itself fails.
///
/// # Safety
/// Called once, early, on the kernel stack.
pub unsafe fn init(fatal: fn(&Frame) -> !) {
    BLOCK.fatal.set(fatal);
    // SAFETY: the caller's promise is the same.
    unsafe { tables::init() };
    let star = u64::from(tables::KERNEL_CODE) << 32 | u64::from(tables::USER_DATA - 8) << 48;
    // SAFETY: the selectors are laid out as `syscall` and `sysret` expect (see `tables`).
    unsafe { Msr::new(0xc000_0081).write(star) };
    LStar::write(x86_64::VirtAddr::from_ptr(&raw const skerry_syscall));
    SFMask::write(
        RFlags::INTERRUPT_FLAG
            | RFlags::DIRECTION_FLAG
            | RFlags::ALIGNMENT_CHECK
            | RFlags::TRAP_FLAG
            | RFlags::NESTED_TASK,
    );
}

/// Makes `handler` the CPU driver of this core.
pub fn install<H: Handler<Context>>(handler: &'static mut H) {
    BLOCK.handler.set(ptr::from_mut(handler).cast());
    BLOCK.syscall.set(Some(syscall::<H>));
    BLOCK.fault.set(Some(fault::<H>));
    BLOCK.interrupt.set(Some(interrupt::<H>));
}

/// Leaves the boot code for good.
pub fn enter(next: Next<Context>) -> ! {
    assert!(!BLOCK.handler.get().is_null(), "install comes before enter");
    // SAFETY: the stub drops this stack; nothing on it is needed again. `install` has filled the block.
    unsafe { skerry_enter(out(next)) }
}

/// Takes one pending interrupt: its vector.
pub fn take_pending() -> Option<u8> {
    for (half, first) in BLOCK.pending.iter().zip([0, 64]) {
        let pending = half.get();
        if pending != 0 {
            half.set(pending & (pending - 1));
            return Some(first + pending.trailing_zeros() as u8);
        }
    }
    None
}

/// Stops this core.
pub fn halt() -> ! {
    loop {
        x86_64::instructions::interrupts::disable();
        x86_64::instructions::hlt();
    }
}

/// The handler that `install` got.
///
/// # Safety
/// `H` is the type that `install` got. The caller is a stub's way in, and the reference ends with it: kernel entries
/// are not interrupted, so there is never a second one.
unsafe fn handler<'a, H>() -> &'a mut H {
    // SAFETY: `install` set the pointer from a `&'static mut H`; the rest is the caller's promise.
    unsafe { &mut *BLOCK.handler.get().cast::<H>() }
}

fn out(next: Next<Context>) -> *mut Context {
    match next {
        Next::Run(context) => context.as_ptr(),
        Next::Idle => ptr::null_mut(),
    }
}

extern "C" fn syscall<H: Handler<Context>>(a: u64, b: u64, c: u64, d: u64, e: u64, f: u64) -> *mut Context {
    // SAFETY: `install::<H>` put this function into the block together with the handler.
    let handler = unsafe { handler::<H>() };
    out(handler.syscall([a, b, c, d, e, f]))
}

extern "C" fn interrupt<H: Handler<Context>>() -> *mut Context {
    // SAFETY: as in `syscall`.
    let handler = unsafe { handler::<H>() };
    out(handler.interrupt())
}

extern "C" fn fault<H: Handler<Context>>(vector: u64, error: u64, cr2: u64) -> *mut Context {
    let pc = NonNull::new(BLOCK.current.get()).map_or(0, |current| {
        // SAFETY: the stub has just saved the program's registers there.
        unsafe { current.as_ref() }.rip
    });
    // SAFETY: as in `syscall`.
    let handler = unsafe { handler::<H>() };
    out(handler.fault(describe(vector, error, cr2, pc)))
}

/// Puts an exception (SDM vol. 3 table 6-1) in the words that both ISAs share. The code is the vector, and the error
/// code from bit 8 on.
fn describe(vector: u64, error: u64, cr2: u64, pc: u64) -> Fault {
    let kind = match vector {
        14 if error & 0x10 != 0 => FaultKind::Execute,
        14 if error & 2 != 0 => FaultKind::Write,
        14 => FaultKind::Read,
        0 | 4 | 5 | 16 | 17 | 19 => FaultKind::Arithmetic,
        6 | 7 | 13 => FaultKind::Instruction,
        1 | 3 => FaultKind::Debug,
        _ => FaultKind::Other,
    };
    Fault { kind, addr: VirtAddr(if vector == 14 { cr2 } else { pc }), code: vector | error << 8 }
}

unsafe extern "C" {
    static skerry_syscall: u8;
    fn skerry_enter(next: *mut Context) -> !;
}

/// The registers when the CPU driver itself fails, as `skerry_fatal` has pushed them.
#[repr(C)]
pub struct Frame {
    /// r15 down to rax: the order of pushing, backwards.
    registers: [u64; 15],
    vector: u64,
    error: u64,
    rip: u64,
    cs: u64,
    rflags: u64,
    rsp: u64,
    ss: u64,
}

impl Frame {
    /// Writes all of it. What a vector means, says SDM vol. 3 table 6-1.
    pub fn print(&self, out: &mut impl Print) {
        const NAMES: [&str; 15] = [
            " r15 ", " r14 ", " r13 ", " r12 ", " r11 ", " r10 ", " r9  ", " r8  ", " rbp ", " rdi ", " rsi ", " rdx ",
            " rcx ", " rbx ", " rax ",
        ];
        let (cr2, cr3) = (Cr2::read_raw(), Cr3::read().0.start_address().as_u64());
        out.text("exception ").decimal(self.vector).text(", error ").hex(self.error).text("\n rip ").word(self.rip);
        out.text("  cs ").hex(self.cs).text("  flags ").hex(self.rflags).text("\n rsp ").word(self.rsp);
        out.text("  ss ").hex(self.ss).text("  cr2 ").word(cr2).text("  cr3 ").hex(cr3);
        for (index, (name, &value)) in NAMES.iter().zip(&self.registers).rev().enumerate() {
            out.text(if index % 4 == 0 { "\n" } else { " " }).text(name).word(value);
        }
        out.text("\n");
    }
}

extern "C" fn fatal(frame: &Frame) -> ! {
    BLOCK.fatal.get()(frame)
}

global_asm!(
    ".pushsection .text.skerry_trap,\"ax\",@progbits",
    // One stub per vector, {stub} bytes each. Vectors without an error code get a 0.
    ".macro skerry_vector n",
    ".org skerry_vectors + {stub} * \\n",
    ".if \\n > 31 || ((0x60227d00 >> (\\n & 31)) & 1) == 0",
    "push 0",
    ".endif",
    "push \\n",
    ".if \\n == 2 || \\n == 8 || \\n == 18",
    "jmp skerry_fatal",
    ".else",
    "jmp skerry_trap",
    ".endif",
    ".endm",
    ".globl skerry_vectors",
    "skerry_vectors:",
    ".irp n,0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20,21,22,23,24,25,26,27,28,29,30,31",
    "skerry_vector \\n",
    ".endr",
    ".irp n,32,33,34,35,36,37,38,39,40,41,42,43,44,45,46,47,48,49,50,51,52,53,54,55,56,57,58,59,60,61,62,63",
    "skerry_vector \\n",
    ".endr",
    ".irp n,64,65,66,67,68,69,70,71,72,73,74,75,76,77,78,79,80,81,82,83,84,85,86,87,88,89,90,91,92,93,94,95",
    "skerry_vector \\n",
    ".endr",

    // On the stack: vector, error, rip, cs, rflags, rsp, ss.
    ".balign 64",
    "skerry_trap:",
    "test byte ptr [rsp + 24], 3",
    "jz 3f",
    "push rax",
    "mov rax, [rip + {block} + {current}]",
    "mov [rax + {rbx}], rbx",
    "mov [rax + {rcx}], rcx",
    "mov [rax + {rdx}], rdx",
    "mov [rax + {rsi}], rsi",
    "mov [rax + {rdi}], rdi",
    "mov [rax + {rbp}], rbp",
    "mov [rax + {r8}], r8",
    "mov [rax + {r9}], r9",
    "mov [rax + {r10}], r10",
    "mov [rax + {r11}], r11",
    "mov [rax + {r12}], r12",
    "mov [rax + {r13}], r13",
    "mov [rax + {r14}], r14",
    "mov [rax + {r15}], r15",
    "pop rcx",
    "mov [rax + {rax}], rcx",
    "pop rdi",
    "pop rsi",
    "pop [rax + {rip_}]",
    "pop rcx",
    "pop [rax + {rflags}]",
    "pop [rax + {rsp_}]",
    "mov qword ptr [rax + {full}], 1",
    "lea rsp, [rip + __stack_top]",
    "push 2",
    "popfq",
    "cmp edi, {first_interrupt}",
    "jae 2f",
    "mov rdx, cr2",
    "call [rip + {block} + {fault}]",
    "jmp skerry_resume",
    // An interrupt.
    "2: bts [rip + {block} + {pending}], rdi",
    "call [rip + {block} + {interrupt}]",
    "jmp skerry_resume",
    // From ring 0: an interrupt ends idling, whose frame nobody needs; anything else is our own fault.
    "3: cmp byte ptr [rsp], {first_interrupt}",
    "jb skerry_fatal",
    "pop rdi",
    "lea rsp, [rip + __stack_top]",
    "jmp 2b",

    // rax: the program to run, or null.
    ".globl skerry_enter",
    "skerry_enter:",
    "mov rax, rdi",
    "lea rsp, [rip + __stack_top]",
    "skerry_resume:",
    "mov [rip + {block} + {current}], rax",
    "test rax, rax",
    "jz skerry_idle",
    "mov qword ptr [rax + {full}], 0",
    "push {user_data}",
    "push [rax + {rsp_}]",
    "push [rax + {rflags}]",
    "push {user_code}",
    "mov rcx, [rax + {rip_}]",
    "shl rcx, 17",
    "shr rcx, 17",
    "push rcx",
    "mov rbx, [rax + {rbx}]",
    "mov rcx, [rax + {rcx}]",
    "mov rdx, [rax + {rdx}]",
    "mov rsi, [rax + {rsi}]",
    "mov rdi, [rax + {rdi}]",
    "mov rbp, [rax + {rbp}]",
    "mov r8, [rax + {r8}]",
    "mov r9, [rax + {r9}]",
    "mov r10, [rax + {r10}]",
    "mov r11, [rax + {r11}]",
    "mov r12, [rax + {r12}]",
    "mov r13, [rax + {r13}]",
    "mov r14, [rax + {r14}]",
    "mov r15, [rax + {r15}]",
    "mov rax, [rax + {rax}]",
    "iretq",

    "skerry_idle:",
    "sti", // takes effect after the next instruction: no interrupt is missed
    "hlt",
    "jmp skerry_idle",

    // rcx: where to go on; r11: flags; rax is free. The context holds what a function preserves, and rcx and r11.
    ".balign 64",
    ".globl skerry_syscall",
    "skerry_syscall:",
    "mov rax, [rip + {block} + {current}]",
    "mov [rax + {rsp_}], rsp",
    "lea rsp, [rip + __stack_top]",
    "mov [rax + {rip_}], rcx",
    "mov [rax + {rflags}], r11",
    "mov [rax + {rbx}], rbx",
    "mov [rax + {rbp}], rbp",
    "mov [rax + {r12}], r12",
    "mov [rax + {r13}], r13",
    "mov [rax + {r14}], r14",
    "mov [rax + {r15}], r15",
    "mov rcx, r10",
    "call [rip + {block} + {syscall}]",
    "cmp rax, [rip + {block} + {current}]",
    "jne skerry_resume",
    "cmp qword ptr [rax + {full}], 0",
    "jne skerry_resume",
    "mov rcx, [rax + {rip_}]",
    "btr rcx, 47", // a `syscall` in the very last bytes leaves the first address that is not canonical
    "mov r11, [rax + {rflags}]",
    "mov rsp, [rax + {rsp_}]",
    "mov rdx, [rax + {rdx}]",
    "mov rax, [rax + {rax}]",
    // Nothing of ours is left in a register.
    "xor esi, esi",
    "xor edi, edi",
    "xor r8d, r8d",
    "xor r9d, r9d",
    "xor r10d, r10d",
    "sysretq",

    "skerry_fatal:",
    ".irp r,rax,rbx,rcx,rdx,rsi,rdi,rbp,r8,r9,r10,r11,r12,r13,r14,r15",
    "push \\r",
    ".endr",
    "mov rdi, rsp",
    "push 2",
    "popfq",
    "and rsp, -16",
    "call {fatal}",
    ".popsection",
    block = sym BLOCK,
    current = const offset_of!(Block, current),
    pending = const offset_of!(Block, pending),
    syscall = const offset_of!(Block, syscall),
    fault = const offset_of!(Block, fault),
    interrupt = const offset_of!(Block, interrupt),
    rax = const offset_of!(Context, rax),
    rbx = const offset_of!(Context, rbx),
    rcx = const offset_of!(Context, rcx),
    rdx = const offset_of!(Context, rdx),
    rsi = const offset_of!(Context, rsi),
    rdi = const offset_of!(Context, rdi),
    rbp = const offset_of!(Context, rbp),
    rsp_ = const offset_of!(Context, rsp),
    r8 = const offset_of!(Context, r8),
    r9 = const offset_of!(Context, r9),
    r10 = const offset_of!(Context, r10),
    r11 = const offset_of!(Context, r11),
    r12 = const offset_of!(Context, r12),
    r13 = const offset_of!(Context, r13),
    r14 = const offset_of!(Context, r14),
    r15 = const offset_of!(Context, r15),
    rip_ = const offset_of!(Context, rip),
    rflags = const offset_of!(Context, rflags),
    full = const offset_of!(Context, full),
    user_data = const tables::USER_DATA,
    user_code = const tables::USER_CODE,
    first_interrupt = const FIRST_INTERRUPT,
    stub = const tables::STUB_BYTES,
    fatal = sym fatal,
);
