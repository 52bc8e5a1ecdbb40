//! What people see when the CPU driver itself fails: the syndrome (Arm ARM D23.2.41 says what it means), the registers, then
//! the island goes off.

use crate::console::Console;
use crate::trap::{Frame, conduit};
use aarch64_cpu::registers::{ELR_EL1, ESR_EL1, FAR_EL1, MPIDR_EL1, Readable, SPSR_EL1};
use skerry_hal::Print;

/// Called by the stubs for every exception that the CPU driver does not expect: any at EL1, and those at EL0 that
/// cannot happen (AArch32, FIQ).
pub extern "C" fn fault_in_kernel(frame: &Frame) -> ! {
    let level = ["EL1 on SP_EL0", "EL1", "EL0", "EL0, AArch32"][frame.vector as usize / 4 % 4];
    let mut out = Console;
    out.text("\n*** unexpected exception, vector ").decimal(frame.vector).text(" (").text(level);
    out.text("), core ").hex(MPIDR_EL1.get()).text("\n*** ESR ").hex(ESR_EL1.get());
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
