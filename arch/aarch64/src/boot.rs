//! From the firmware's jump to the board's first function: the Linux image header, EL2 to EL1, early page tables, the
//! jump to the high half.
//!
//! Two ways in. `skerry_image` (offset 0 of the flat image) is the arm64 Linux boot protocol: x0 = flattened device tree
//! (Linux `Documentation/arch/arm64/booting.rst`). `skerry_secondary` is PSCI `CPU_ON`: x0 = this core's `CoreBoot`. Both
//! find the MMU off and themselves at the start of a 2 MiB slice of RAM, wherever that is.
//!
//! What the early tables map says [`Tables::early`]; the board soon replaces them. The board gives the symbols
//! `__image_size`, `__bss_start`, `__bss_end`, `__early_tables` ([`EARLY_TABLES`] pages, outside of BSS), `__stack_top` (on
//! a page boundary), `__board_console`, and the function `skerry_board_entry(arg, slice, is_secondary)`.

use crate::mmu::{each_line, physical_range};
use crate::paging::MAIR;
use crate::space::{Table, Tables};
use aarch64_cpu::asm::barrier::{SY, dsb, isb};
use aarch64_cpu::registers::{MAIR_EL1, TCR_EL1, TTBR0_EL1, TTBR1_EL1, Writeable};
use core::arch::{asm, global_asm};
use skerry_hal::PhysAddr;

/// `SCTLR_EL1` with the MMU off: the bits that are reserved as one (Arm ARM D23.2).
const SCTLR_OFF: u64 = 1 << 29 | 1 << 28 | 1 << 23 | 1 << 22 | 1 << 20 | 1 << 11;

/// `SCTLR_EL1` as the CPU driver runs with it, except for WXN, which the early tables would not survive.
///
/// MMU and caches on; stack alignment checked in both modes; exceptions are context-synchronising; an exception
/// sets PAN (SPAN = 0). At EL0: cache maintenance by address (UCI) and its line sizes (UCT), `DC ZVA` and `WFE` are allowed,
/// `WFI` is not: a domain gives up the core with `Op::Wait`.
const SCTLR_ON: u64 = (SCTLR_OFF & !(1 << 23))
    | 1 // M
    | 1 << 2 // C
    | 1 << 3 // SA
    | 1 << 4 // SA0
    | 1 << 8 // SED
    | 1 << 12 // I
    | 1 << 14 // DZE
    | 1 << 15 // UCT
    | 1 << 18 // nTWE
    | 1 << 26; // UCI

/// `TCR_EL1` without the physical address size: 48-bit halves, 4 KiB granule, walks cached and inner shareable.
const TCR: u64 =
    16 | 1 << 8 | 1 << 10 | 3 << 12 | 16 << 16 | 1 << 24 | 1 << 26 | 3 << 28 | 2 << 30;

/// As many as [`Tables::early`] can need, if x0 is far from the slice.
const EARLY_TABLES: usize = 9;

/// Makes the early tables and tells the core where they are. What is left is to turn the MMU on, if this answers `true`.
///
/// It runs with the MMU off at its physical address, as all that it calls: code and statics are found relative to the
/// program counter, no address is kept in memory, and nothing is atomic or unaligned, which device memory would refuse. The
/// stack is as the loader left it: written back from every cache, as the boot protocol has it for the whole image.
extern "C" fn make_early_tables(slice: PhysAddr, arg: PhysAddr, console: PhysAddr) -> bool {
    unsafe extern "C" {
        static __early_tables: u8;
    }
    // The linker's name for memory that is no object of Rust's.
    let pool = (&raw const __early_tables).cast_mut().cast::<[Table; EARLY_TABLES]>();
    let (base, len) = (PhysAddr(pool.addr() as u64), size_of::<[Table; EARLY_TABLES]>() as u64);
    let forget_lines = || {
        dsb(SY);
        // SAFETY: drops what caches hold of the tables, of which what counts is written past them.
        each_line(base.0, len, |at| unsafe { asm!("dc ivac, {at}", at = in(reg) at, options(nostack)) });
        dsb(SY);
    };
    // No dirty line may come back over what is written now, with caches off.
    forget_lines();
    // SAFETY: the linker script reserves these pages for this alone, and any bytes are a table.
    let made = Tables::early(unsafe { &mut *pool }, base, slice, arg, console).is_ok();
    // Nor may a clean line that was fetched meanwhile hide it.
    forget_lines();
    MAIR_EL1.set(MAIR);
    TCR_EL1.set(TCR | physical_range() << 32);
    TTBR0_EL1.set(base.0);
    TTBR1_EL1.set(base.0);
    isb(SY);
    made
}

global_asm!(
    r#"
    .macro set register, value  // spoils x0
    ldr     x0, =\value
    msr     \register, x0
    .endm

    .pushsection .head, "ax"
    .global skerry_image
skerry_image:
    b       skerry_first
    .word   0
    .quad   0                   // load offset from a 2 MiB boundary
    .quad   __image_size
    .quad   0xa                 // little-endian, 4 KiB pages, anywhere in memory
    .quad   0, 0, 0
    .ascii  "ARM\x64"
    .word   0

skerry_first:
    mov     x21, #0
    b       1f
    .global skerry_secondary
skerry_secondary:
    mov     x21, #1
1:  mov     x20, x0             // device tree, or CoreBoot
    msr     daifset, #15
    mrs     x0, CurrentEL
    cmp     x0, #8
    b.lo    3f
    b.hi    9f                  // EL3 is not ours
    // EL2: leave it for good. EL1 is AArch64, nothing in it traps, and virtual time is physical time.
    set     hcr_el2, 1 << 31
    isb
    set     cnthctl_el2, 3
    set     cptr_el2, 0x33ff
    msr     cntvoff_el2, xzr
    msr     hstr_el2, xzr
    msr     vttbr_el2, xzr
    mrs     x0, midr_el1
    msr     vpidr_el2, x0
    mrs     x0, mpidr_el1
    msr     vmpidr_el2, x0
    mrs     x0, id_aa64mmfr0_el1
    ubfx    x0, x0, #56, #4     // fine-grained traps
    cbz     x0, 2f
    // HFGRTR_EL2, HFGWTR_EL2, HFGITR_EL2, HDFGRTR_EL2, HDFGWTR_EL2
    .irp    trap, S3_4_C1_C1_4, S3_4_C1_C1_5, S3_4_C1_C1_6, S3_4_C3_C1_4, S3_4_C3_C1_5
    msr     \trap, xzr
    .endr
2:  mrs     x0, id_aa64pfr0_el1
    ubfx    x0, x0, #24, #4     // GIC system registers
    cbz     x0, 2f
    set     S3_4_C12_C9_5, 0xf  // ICC_SRE_EL2: SRE, no bypass, EL1 may
    isb
    msr     S3_4_C12_C11_0, xzr // ICH_HCR_EL2
2:  set     spsr_el2, 0x3c5     // EL1h, all masked
    set     sctlr_el1, {sctlr_off}
    adr     x0, 3f
    msr     elr_el2, x0
    eret

3:  msr     spsel, #1
    set     sctlr_el1, {sctlr_off}
    isb
    ic      iallu
    tlbi    vmalle1
    dsb     nsh
    isb

    adrp    x0, __stack_top
    mov     sp, x0
    adrp    x19, skerry_image
    mov     x0, x19
    mov     x1, x20
    ldr     x2, =__board_console
    bl      {make_early_tables}
    tbz     w0, #0, 9f
    set     sctlr_el1, {sctlr_on}
    isb
    ldr     x0, =5f
    br      x0

5:  ldr     x0, =__stack_top
    mov     sp, x0
    set     vbar_el1, skerry_vectors
    isb
    ldr     x0, =__bss_start
    ldr     x1, =__bss_end
6:  cmp     x0, x1
    b.hs    7f
    stp     xzr, xzr, [x0], #16
    b       6b
7:  mov     x0, x20
    mov     x1, x19
    mov     x2, x21
    mov     x29, xzr
    mov     x30, xzr
    b       skerry_board_entry

9:  wfe
    b       9b
    .ltorg

    // x0: new TTBR1. Runs one to one through TTBR0, so that no translation is replaced while in use (Arm ARM D8.16,
    // break-before-make); called at its physical address.
    .global skerry_switch_tables
skerry_switch_tables:
    msr     ttbr1_el1, x0
    isb
    tlbi    vmalle1
    dsb     nsh
    isb
    ret
    .popsection
"#,
    sctlr_off = const SCTLR_OFF,
    sctlr_on = const SCTLR_ON,
    make_early_tables = sym make_early_tables,
);
