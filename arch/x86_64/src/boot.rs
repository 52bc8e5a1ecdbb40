//! From the loader, or from another core, into Rust.
//!
//! | symbol | entered by | how |
//! | --- | --- | --- |
//! | `skerry_pvh` | a PVH loader, on an island's first core | 32-bit protected mode, paging off, `ebx` = start info |
//! | `skerry_secondary` | the trampoline (`trampoline`), on every other core, in the core's own copy of the image | long mode, identity-mapped, `rdi` = `CoreBoot` |
//!
//! Both make temporary tables in the image's own `.bss`, jump to the link address, take the kernel stack and call the
//! board: `skerry_first(start info)` or `skerry_next(CoreBoot)`, both physical addresses. The temporary tables map
//! the slice at [`KERNEL`] and where it lies, and, for the first core, the low 4 GiB at [`PHYSMAP`]; `space` makes the
//! final ones.

use core::arch::global_asm;
use skerry_hal::addr::{KERNEL, PHYSMAP, VirtAddr};
use skerry_hal::{PhysAddr, paging};

/// Physical memory from address 0 that the first core reaches at [`PHYSMAP`] before `space` has made its tables.
pub const EARLY_REACH: u64 = 4 << 30;
/// Where a loader puts the first core's image. The linker script says the same.
pub const LOAD: u64 = 0x20_0000;

// One page each: root, low directory pointers, four low directories, high directory pointers, high directory.
global_asm!(
    ".pushsection .bss.skerry_tables,\"aw\",@nobits",
    ".balign 4096",
    "skerry_tables: .skip 8 * 4096",
    ".popsection",
    // The note that a PVH loader looks for: XEN_ELFNOTE_PHYS32_ENTRY.
    ".pushsection .note.pvh,\"a\",@note",
    ".balign 4",
    ".long 4, 8, 18",
    ".asciz \"Xen\"",
    ".quad skerry_pvh - {shift}",
    ".popsection",
    shift = const KERNEL - LOAD,
);

global_asm!(
    ".pushsection .boot,\"ax\",@progbits",
    ".code32",
    ".globl skerry_pvh",
    "skerry_pvh:",
    "cli",
    "cld",
    "movl $(skerry_tables - {shift}), %ebp",
    "movl %ebp, %edi",
    "xorl %eax, %eax",
    "movl $(8 * 1024), %ecx",
    "rep stosl",
    // Root: the low tables at 0 and at PHYSMAP, the high ones at KERNEL.
    "leal 0x1003(%ebp), %eax",
    "movl %eax, (%ebp)",
    "movl %eax, 8 * {physmap_root}(%ebp)",
    "leal 0x6003(%ebp), %eax",
    "movl %eax, 8 * {kernel_root}(%ebp)",
    "leal 0x7003(%ebp), %eax",
    "movl %eax, 0x6000 + 8 * {kernel_gib}(%ebp)",
    "movl $({load} | 0x83), 0x7000(%ebp)",
    // Four directories, 2048 large pages: the low 4 GiB.
    "leal 0x2003(%ebp), %eax",
    "xorl %ecx, %ecx",
    "2: movl %eax, 0x1000(%ebp, %ecx, 8)",
    "addl $0x1000, %eax",
    "incl %ecx",
    "cmpl $4, %ecx",
    "jb 2b",
    "movl $0x83, %eax",
    "xorl %ecx, %ecx",
    "2: movl %eax, 0x2000(%ebp, %ecx, 8)",
    "addl $0x200000, %eax",
    "incl %ecx",
    "cmpl $2048, %ecx",
    "jb 2b",
    // Into long mode (SDM vol. 3 §10.8.5).
    "movl $0x20, %eax",
    "movl %eax, %cr4",
    "movl %ebp, %cr3",
    "movl $0xc0000080, %ecx",
    "rdmsr",
    "orl $0x100, %eax",
    "wrmsr",
    "movl $0x80000011, %eax",
    "movl %eax, %cr0",
    "lgdt skerry_boot_gdt_pointer - {shift}",
    "ljmp $8, $(skerry_long - {shift})",
    ".balign 8",
    "skerry_boot_gdt: .quad 0, 0x00af9b000000ffff, 0x00cf93000000ffff",
    "skerry_boot_gdt_pointer: .word 23",
    ".long skerry_boot_gdt - {shift}",
    ".code64",
    "skerry_long:",
    "movl %ebx, %edi",
    "movl $16, %ecx",
    "movl %ecx, %ds",
    "movl %ecx, %es",
    "movl %ecx, %ss",
    "xorl %ecx, %ecx",
    "movl %ecx, %fs",
    "movl %ecx, %gs",
    "movabsq $skerry_first, %rax",
    // Common end: `rax` is where to go, at the link address. The segment table in use is no longer mapped when a
    // secondary core comes here, but nothing looks at it before `trap::init` loads another.
    "skerry_high:",
    "movabsq $__stack_top, %rsp",
    "xorl %ebp, %ebp",
    "callq *%rax",
    "ud2",

    ".globl skerry_secondary",
    "skerry_secondary:",
    "cld",
    "movq %rdi, %r8",
    "leaq skerry_tables(%rip), %rbp", // identity-mapped: this is the physical address
    "leaq __image_start(%rip), %rbx",
    "movq %rbp, %rdi",
    "xorl %eax, %eax",
    "movl $(8 * 512), %ecx",
    "rep stosq",
    // The slice where it lies.
    "leaq 0x1003(%rbp), %rax",
    "movq %rbx, %rcx",
    "shrq $39, %rcx",
    "movq %rax, (%rbp, %rcx, 8)",
    "leaq 0x2003(%rbp), %rax",
    "movq %rbx, %rcx",
    "shrq $30, %rcx",
    "andl $511, %ecx",
    "movq %rax, 0x1000(%rbp, %rcx, 8)",
    "leaq 0x83(%rbx), %rax",
    "movq %rbx, %rcx",
    "shrq $21, %rcx",
    "andl $511, %ecx",
    "movq %rax, 0x2000(%rbp, %rcx, 8)",
    // And at KERNEL.
    "movq %rax, 0x7000(%rbp)",
    "leaq 0x6003(%rbp), %rax",
    "movq %rax, 8 * {kernel_root}(%rbp)",
    "leaq 0x7003(%rbp), %rax",
    "movq %rax, 0x6000 + 8 * {kernel_gib}(%rbp)",
    "movq %rbp, %cr3",
    "movq %r8, %rdi",
    "movabsq $skerry_next, %rax",
    "jmp skerry_high",
    ".popsection",
    shift = const KERNEL - LOAD,
    load = const LOAD,
    physmap_root = const paging::index(PHYSMAP, 3),
    kernel_root = const paging::index(KERNEL, 3),
    kernel_gib = const paging::index(KERNEL, 2),
    options(att_syntax)
);

unsafe extern "C" {
    static skerry_tables: u8;
}

/// Where this core's slice lies. Valid until `space` has replaced the temporary tables.
pub fn slice() -> PhysAddr {
    let high_directory = (&raw const skerry_tables).wrapping_add(0x7000).cast::<u64>();
    // SAFETY: the entry code above made the table and wrote this entry; nothing writes it now.
    let entry = unsafe { high_directory.read() };
    PhysAddr(entry & !(skerry_hal::addr::SLICE - 1))
}

/// The first core's view of physical memory before `space` has made its tables.
pub fn early(base: PhysAddr, len: u64) -> Option<VirtAddr> {
    let end = base.0.checked_add(len)?;
    (end <= EARLY_REACH).then_some(VirtAddr(PHYSMAP + base.0))
}
