//! From the firmware's jump to the first Rust function: the Linux image header, EL2 to EL1, early page tables, the
//! jump to the high half.
//!
//! Two ways in. `skerry_image` (offset 0 of the flat image) is the arm64 Linux boot protocol: x0 = flattened device tree
//! (Linux `Documentation/arch/arm64/booting.rst`). `skerry_secondary` is PSCI `CPU_ON`: x0 = this core's `CoreBoot`. Both
//! find the MMU off and themselves at the start of a 2 MiB slice of RAM, wherever that is.
//!
//! The early tables map the slice at `KERNEL`, the GiB of the slice and that of x0 both one to one and at
//! `PHYSMAP`, and the board's console at `DEVICES`. They are writable and executable; the board soon replaces them
//! ([`crate::space`]). The board gives the symbols `__image_size`, `__bss_start`, `__bss_end`, `__early_tables` (6 pages,
//! outside of BSS), `__stack_top`, `__board_console`, and the function `skerry_board_entry(arg, slice, is_secondary)`.

use crate::paging::MAIR;
use core::arch::global_asm;

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

/// Valid block, AF, inner shareable, UXN: early kernel memory.
const EARLY_BLOCK: u64 = 1 << 54 | 0x701;
/// Valid page, AF, attribute index 1, UXN, PXN: the early console.
const EARLY_DEVICE: u64 = 3 << 53 | 0x407;

global_asm!(
    r#"
    .macro set register, value  // spoils x0
    ldr     x0, =\value
    msr     \register, x0
    .endm
    .macro entry table, index, address, bits // spoils x0
    orr     x0, \address, \bits
    str     x0, [\table, \index]
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

    // The image must lie on a 2 MiB boundary, and early tables reach 512 GiB.
    adrp    x19, skerry_image
    tst     x19, #0x1fffff
    b.ne    9f
    orr     x0, x19, x20
    lsr     x0, x0, #39
    cbnz    x0, 9f

    adrp    x22, __early_tables
    bl      8f                  // no dirty line may come back over what is written now, with caches off
    mov     x0, x22
    add     x1, x22, #0x6000
4:  stp     xzr, xzr, [x0], #16
    cmp     x0, x1
    b.lo    4b

    add     x1, x22, #0x1000    // 512 GiB of physical memory
    entry   x22, #0, x1, #3
    entry   x22, #256 * 8, x1, #3
    ldr     x2, ={block}
    lsr     x3, x19, #30
    orr     x4, x2, x3, lsl #30
    str     x4, [x1, x3, lsl #3]
    lsr     x3, x20, #30
    orr     x4, x2, x3, lsl #30
    str     x4, [x1, x3, lsl #3]
    add     x1, x22, #0x2000    // the uppermost 512 GiB: KERNEL, DEVICES
    entry   x22, #511 * 8, x1, #3
    add     x3, x22, #0x3000
    entry   x1, #510 * 8, x3, #3
    entry   x3, #0, x2, x19
    add     x3, x22, #0x4000
    entry   x1, #509 * 8, x3, #3
    add     x1, x22, #0x5000
    entry   x3, #0, x1, #3
    ldr     x3, =__board_console
    ldr     x2, ={device}
    entry   x1, #0, x3, x2
    dsb     sy
    bl      8f                  // nor may a clean line that was fetched meanwhile hide it

    set     mair_el1, {mair}
    mrs     x1, id_aa64mmfr0_el1
    and     x1, x1, #7          // physical address size: 48 bits at most with this granule
    mov     x0, #5
    cmp     x1, x0
    csel    x1, x1, x0, lo
    ldr     x0, ={tcr}
    orr     x0, x0, x1, lsl #32
    msr     tcr_el1, x0
    msr     ttbr0_el1, x22
    msr     ttbr1_el1, x22
    isb
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

    // Invalidates the early tables' cache lines.
8:  mrs     x2, ctr_el0
    ubfx    x2, x2, #16, #4
    mov     x3, #4
    lsl     x3, x3, x2
    mov     x0, x22
    add     x1, x22, #0x6000
81: dc      ivac, x0
    add     x0, x0, x3
    cmp     x0, x1
    b.lo    81b
    dsb     sy
    ret

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
    tcr = const TCR,
    mair = const MAIR,
    block = const EARLY_BLOCK,
    device = const EARLY_DEVICE,
);
