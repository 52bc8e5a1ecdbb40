//! What people see when the CPU driver itself fails: the syndrome in words, the registers, then the island goes off.

use crate::console::Console;
use crate::trap::{Frame, conduit};
use aarch64_cpu::registers::{ELR_EL1, ESR_EL1, FAR_EL1, MPIDR_EL1, Readable, SPSR_EL1};
use skerry_hal::Print;

/// Called by the stubs for every exception that the CPU driver does not expect: any at EL1, and those at EL0 that
/// cannot happen (AArch32, FIQ).
pub extern "C" fn fault_in_kernel(frame: &Frame) -> ! {
    let esr = ESR_EL1.get();
    let level = ["EL1 on SP_EL0", "EL1", "EL0", "EL0, AArch32"][frame.vector as usize / 4 % 4];
    let mut out = Console;
    out.text("\n*** unexpected exception, vector ").decimal(frame.vector).text(" (").text(level);
    out.text("), core ").hex(MPIDR_EL1.get()).text("\n*** ").text(exception_class(esr)).text(", ESR ").hex(esr);
    out.text("\npc  ").word(ELR_EL1.get()).text("  far ").word(FAR_EL1.get());
    out.text("  spsr ").hex(SPSR_EL1.get()).text("  sp ").word(frame.sp).text("\n");
    for (n, &x) in frame.x.iter().enumerate() {
        out.text("x").decimal(n as u64).text(if n < 10 { "  " } else { " " }).word(x);
        out.text(if n % 4 == 3 || n == 30 { "\n" } else { "  " });
    }
    conduit().power_off()
}

/// What the board's panic handler calls.
pub fn panicked(info: &core::panic::PanicInfo<'_>) -> ! {
    Console.text("\n*** core ").hex(MPIDR_EL1.get()).text(": ").panic(info).text("\n");
    conduit().power_off()
}

/// Boot glue cannot go on: says why, and turns the island off.
pub fn stop(what: &str, why: &str) -> ! {
    Console.text("\n*** core ").hex(MPIDR_EL1.get()).text(": ").text(what).text(": ").text(why).text("\n");
    conduit().power_off()
}

/// `ESR_EL1.EC` in words (Arm ARM D23.2.41).
fn exception_class(esr: u64) -> &'static str {
    match esr >> 26 & 0x3f {
        0x00 => "undefined instruction",
        0x07 => "floating point used",
        0x0e => "illegal execution state",
        0x15 => "svc",
        0x18 => "trapped system register",
        0x20 | 0x21 => match esr >> 2 & 0xf {
            1 => "instruction fetch: nothing mapped",
            3 => "instruction fetch: not executable",
            _ => "instruction fetch: aborted",
        },
        0x22 => "misaligned pc",
        0x24 | 0x25 => match (esr >> 2 & 0xf, esr >> 6 & 1) {
            (1, 0) => "load: nothing mapped",
            (1, _) => "store: nothing mapped",
            (3, 0) => "load: not permitted",
            (3, _) => "store: not permitted",
            (8, _) => "misaligned load or store",
            _ => "load or store: aborted",
        },
        0x26 => "misaligned sp",
        0x2f => "system error",
        0x3c => "brk",
        _ => "other",
    }
}
