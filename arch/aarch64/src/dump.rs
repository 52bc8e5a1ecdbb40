//! What people see when the CPU driver itself fails: the syndrome in words, the registers, then the island goes off.

use crate::console::Console;
use crate::trap::{Frame, conduit};
use aarch64_cpu::registers::{ELR_EL1, ESR_EL1, FAR_EL1, MPIDR_EL1, Readable, SPSR_EL1};
use core::fmt::Write;

/// Called by the stubs for every exception that the CPU driver does not expect: any at EL1, and those at EL0 that
/// cannot happen (AArch32, FIQ).
pub extern "C" fn fault_in_kernel(frame: &Frame) -> ! {
    let esr = ESR_EL1.get();
    let mut out = Console;
    let _ = write!(
        out,
        "\n*** unexpected exception, vector {} ({}), core {:#x}\n*** {}, ESR {:#x}\npc  {:016x}  far {:016x}  spsr {:08x}  sp {:016x}\n",
        frame.vector,
        ["EL1 on SP_EL0", "EL1", "EL0", "EL0, AArch32"][frame.vector as usize / 4 % 4],
        MPIDR_EL1.get(),
        exception_class(esr),
        esr,
        ELR_EL1.get(),
        FAR_EL1.get(),
        SPSR_EL1.get(),
        frame.sp,
    );
    for (n, x) in frame.x.iter().enumerate() {
        let _ = write!(out, "x{n:<2} {x:016x}{}", if n % 4 == 3 || n == 30 { "\n" } else { "  " });
    }
    conduit().power_off()
}

/// What the board's panic handler calls.
pub fn panicked(info: &core::panic::PanicInfo<'_>) -> ! {
    let _ = writeln!(Console, "\n*** core {:#x}: {info}", MPIDR_EL1.get());
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
