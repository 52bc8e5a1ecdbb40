//! What this machine asserts about itself.

use skerry_arch_x86_64::machine::Board;
use skerry_hal::{PhysAddr, PhysRange};

/// QEMU's Q35.
pub static BOARD: Board = Board {
    // The first serial line.
    console: 0x3f8,
    // QEMU `include/hw/i386/ioapic.h`, `IO_APIC_DEFAULT_ADDRESS`; the MADT says the same.
    io_apic: PhysAddr(0xfec0_0000),
    // ICH9 power management at 0x600 (where the firmware puts it), control register at +4; S5 is sleep type 0.
    power_off: (0x604, 0x2000),
    // Conventional memory that the loader's tables and the firmware's data areas are not in.
    berths: PhysRange::new(PhysAddr(0x3_0000), 0x5_0000),
};

/// Everything below is the firmware's, the loader's, or for starting cores.
pub const LOW: PhysRange = PhysRange::new(PhysAddr(0), 0x10_0000);
