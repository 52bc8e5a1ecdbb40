//! The descriptor tables that long mode still wants: segments, one task state (the stacks), interrupt gates
//! (SDM vol. 3 §3.4.5, §8.7, §6.14). Filled once at boot.

use core::arch::asm;
use core::cell::UnsafeCell;
use x86_64::VirtAddr;
use x86_64::registers::segmentation::{CS, DS, ES, FS, GS, SS, Segment};
use x86_64::structures::DescriptorTablePointer;
use x86_64::structures::gdt::SegmentSelector;
use x86_64::structures::tss::TaskStateSegment;

/// Kernel code; `syscall` takes the stack segment from the entry after it.
pub const KERNEL_CODE: u16 = 0x08;
/// User data, with privilege level 3; `sysret` takes the code segment from the entry after it.
pub const USER_DATA: u16 = 0x18 | 3;
/// User code.
pub const USER_CODE: u16 = 0x20 | 3;
const TASK: u16 = 0x28;
/// Gates: 32 exceptions, then the interrupts of `interrupt`.
pub const GATES: usize = 96;
/// The interrupt stack table entry for what may strike on any stack: NMI, double fault, machine check.
const LAST_WORDS: u16 = 1;

/// The tables. Each core has its own copy of the image, so each has its own.
#[repr(C, align(64))]
struct Tables {
    segments: UnsafeCell<[u64; 7]>,
    gates: UnsafeCell<[[u64; 2]; GATES]>,
    task: UnsafeCell<TaskStateSegment>,
}

// SAFETY: one core alone runs this copy of the image, and `init` is done before the processor uses the tables.
unsafe impl Sync for Tables {}

static TABLES: Tables = Tables {
    // Flat segments: long mode looks at type, privilege level and the L bit alone. Accessed bits are preset.
    segments: UnsafeCell::new([
        0,
        0x00af_9b00_0000_ffff,
        0x00cf_9300_0000_ffff,
        0x00cf_f300_0000_ffff,
        0x00af_fb00_0000_ffff,
        0,
        0,
    ]),
    gates: UnsafeCell::new([[0; 2]; GATES]),
    task: UnsafeCell::new(TaskStateSegment::new()),
};

unsafe extern "C" {
    static __stack_top: u8;
    static __fatal_stack_top: u8;
    static skerry_vectors: u8;
}

/// Bytes from one stub to the next at `skerry_vectors`.
pub const STUB_BYTES: u64 = 9;

/// Loads all tables.
///
/// # Safety
/// Called once, early, on the kernel stack, with interrupts off.
pub unsafe fn init() {
    // SAFETY: the caller calls this once, and before the processor looks at the task state.
    let task = unsafe { &mut *TABLES.task.get() };
    task.privilege_stack_table[0] = VirtAddr::from_ptr(&raw const __stack_top);
    task.interrupt_stack_table[usize::from(LAST_WORDS) - 1] = VirtAddr::from_ptr(&raw const __fatal_stack_top);
    // No I/O permission map: user mode has no ports.
    task.iomap_base = size_of::<TaskStateSegment>() as u16;

    let base = TABLES.task.get() as u64;
    let limit = size_of::<TaskStateSegment>() as u64 - 1;
    let low = limit & 0xffff | (base & 0xff_ffff) << 16 | 0x89 << 40 | (base >> 24 & 0xff) << 56;
    // SAFETY: as above.
    let segments = unsafe { &mut *TABLES.segments.get() };
    [segments[5], segments[6]] = [low, base >> 32];

    // SAFETY: as above.
    let gates = unsafe { &mut *TABLES.gates.get() };
    for (vector, gate) in gates.iter_mut().enumerate() {
        let stub = &raw const skerry_vectors as u64 + vector as u64 * STUB_BYTES;
        let stack = if matches!(vector, 2 | 8 | 18) { u64::from(LAST_WORDS) } else { 0 };
        // An interrupt gate (interrupts off on entry). Breakpoint and overflow may be raised by user programs.
        let level = if matches!(vector, 3 | 4) { 3 } else { 0 };
        let kind = 0x8e00 | level << 13;
        let low = stub & 0xffff | u64::from(KERNEL_CODE) << 16 | stack << 32 | kind << 32;
        *gate = [low | (stub >> 16 & 0xffff) << 48, stub >> 32];
    }

    let pointer = |base: u64, bytes: usize| DescriptorTablePointer {
        base: VirtAddr::new_truncate(base),
        limit: bytes as u16 - 1,
    };
    let segments = pointer(TABLES.segments.get() as u64, size_of::<[u64; 7]>());
    // SAFETY: the table lives as long as the image and holds the selectors loaded below.
    unsafe { x86_64::instructions::tables::lgdt(&segments) };
    let kernel_code = SegmentSelector(KERNEL_CODE);
    // SAFETY: the selector names the kernel's 64-bit code segment.
    unsafe { CS::set_reg(kernel_code) };
    // SAFETY: a null stack segment is allowed at privilege level 0 in long mode, but `syscall` would load this one.
    unsafe { SS::set_reg(SegmentSelector(KERNEL_CODE + 8)) };
    for load in [DS::set_reg, ES::set_reg, FS::set_reg, GS::set_reg] {
        // SAFETY: long mode ignores these four; a null selector denies what it does not ignore.
        unsafe { load(SegmentSelector(0)) };
    }
    // SAFETY: the descriptor made above is an available 64-bit task state.
    unsafe { x86_64::instructions::tables::load_tss(SegmentSelector(TASK)) };
    let gates = pointer(TABLES.gates.get() as u64, size_of::<[[u64; 2]; GATES]>());
    // SAFETY: every gate leads to a stub.
    unsafe { asm!("lidt [{}]", in(reg) &gates, options(readonly, nostack, preserves_flags)) };
}
