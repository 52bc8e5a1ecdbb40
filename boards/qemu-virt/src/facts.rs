//! Where QEMU's `virt` has what (QEMU `hw/arm/virt.c`, `base_memmap`). Its documentation promises only the flash and
//! the start of RAM; that these have not moved since 2015 is what this board asserts.

use skerry_arch_aarch64::interrupt::GicAt;
use skerry_hal::{PhysAddr, PhysRange};

/// PL011. `link.ld` has it too, for the early tables.
pub const CONSOLE: PhysAddr = PhysAddr(0x0900_0000);

const DISTRIBUTOR: PhysRange = PhysRange::new(PhysAddr(0x0800_0000), 0x1_0000);
const CPU_INTERFACE: PhysRange = PhysRange::new(PhysAddr(0x0801_0000), 0x1_0000);
/// 123 cores' redistributors, then those of the rest, if there are more.
static REDISTRIBUTORS: [PhysRange; 2] =
    [PhysRange::new(PhysAddr(0x080a_0000), 0xf6_0000), PhysRange::new(PhysAddr(0x40_0000_0000), 0x400_0000)];

/// The interrupt controller.
pub const GIC: GicAt = GicAt {
    distributor: DISTRIBUTOR.base,
    cpu_interface: CPU_INTERFACE.base,
    redistributors: &REDISTRIBUTORS,
};

/// Registers that no domain gets: whoever had them could interrupt, or silence, every core. The message-signalled parts
/// (GICv2m, ITS) lie between them and stay with `init`.
pub const KEPT: [PhysRange; 4] = [DISTRIBUTOR, CPU_INTERFACE, REDISTRIBUTORS[0], REDISTRIBUTORS[1]];
