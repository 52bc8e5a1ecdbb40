//! Control registers and what CPUID says.

use core::arch::x86_64::{__cpuid, __cpuid_count};
use x86_64::registers::control::{Cr0, Cr0Flags, Cr4, Cr4Flags, Efer, EferFlags};

/// What this core can do beyond the baseline.
#[derive(Clone, Copy, Debug)]
pub struct Features {
    /// The local APIC has registers in MSRs and 32-bit names.
    pub x2apic: bool,
    /// The local APIC timer can be given a point in time.
    pub tsc_deadline: bool,
    /// User mode may set its segment bases.
    pub fsgsbase: bool,
    /// Bits in a physical address.
    pub physical_bits: u8,
    /// Ticks of the time-stamp counter per second, where CPUID tells.
    pub tsc_frequency: Option<u64>,
    /// The local APIC's name in CPUID.
    pub apic_id: u32,
}

/// Turns on what protects the CPU driver, and SSE for user mode; every core does this before it uses final tables.
pub fn init() -> Features {
    let max = __cpuid(0).eax;
    let one = __cpuid(1);
    let (seven_ebx, seven_ecx) = match max {
        7.. => {
            let seven = __cpuid_count(7, 0);
            (seven.ebx, seven.ecx)
        }
        _ => (0, 0),
    };
    let extended = __cpuid(0x8000_0000).eax;

    let efer = EferFlags::LONG_MODE_ENABLE | EferFlags::NO_EXECUTE_ENABLE | EferFlags::SYSTEM_CALL_EXTENSIONS;
    // SAFETY: long mode stays on; the temporary tables use no bit whose meaning this changes.
    unsafe { Efer::write(efer) };

    let cr0 = Cr0Flags::PROTECTED_MODE_ENABLE
        | Cr0Flags::MONITOR_COPROCESSOR
        | Cr0Flags::EXTENSION_TYPE
        | Cr0Flags::NUMERIC_ERROR
        | Cr0Flags::WRITE_PROTECT
        | Cr0Flags::PAGING;
    // SAFETY: protected mode and paging stay on, caches are turned on, and the floating-point unit is not emulated.
    unsafe { Cr0::write_raw(cr0.bits()) };

    let mut cr4 = Cr4Flags::PHYSICAL_ADDRESS_EXTENSION
        | Cr4Flags::PAGE_GLOBAL
        | Cr4Flags::OSFXSR
        | Cr4Flags::OSXMMEXCPT_ENABLE;
    cr4.set(Cr4Flags::FSGSBASE, seven_ebx & 1 != 0);
    cr4.set(Cr4Flags::SUPERVISOR_MODE_EXECUTION_PROTECTION, seven_ebx >> 7 & 1 != 0);
    cr4.set(Cr4Flags::SUPERVISOR_MODE_ACCESS_PREVENTION, seven_ebx >> 20 & 1 != 0);
    cr4.set(Cr4Flags::USER_MODE_INSTRUCTION_PREVENTION, seven_ecx >> 2 & 1 != 0);
    // SAFETY: paging stays as it is; each protection is turned on only where CPUID has it. No OSXSAVE: user programs
    // are built for SSE2, and the wider registers, which nobody would save, fault.
    unsafe { Cr4::write_raw(cr4.bits()) };

    Features {
        x2apic: one.ecx >> 21 & 1 != 0,
        tsc_deadline: one.ecx >> 24 & 1 != 0,
        fsgsbase: seven_ebx & 1 != 0,
        physical_bits: if extended >= 0x8000_0008 { __cpuid(0x8000_0008).eax as u8 } else { 36 },
        tsc_frequency: tsc_frequency(max, one.ecx >> 31 != 0),
        apic_id: if max >= 0xb { __cpuid_count(0xb, 0).edx } else { one.ebx >> 24 },
    }
}

/// Leaf 0x15 (SDM vol. 3 §20.7.3), else the hypervisors' timing leaf 0x40000010, in kHz.
fn tsc_frequency(max: u32, hypervisor: bool) -> Option<u64> {
    if max >= 0x15 {
        let leaf = __cpuid(0x15);
        if leaf.eax != 0 && leaf.ebx != 0 && leaf.ecx != 0 {
            return Some(u64::from(leaf.ecx) * u64::from(leaf.ebx) / u64::from(leaf.eax));
        }
    }
    if hypervisor && __cpuid(0x4000_0000).eax >= 0x4000_0010 {
        let khz = __cpuid(0x4000_0010).eax;
        return (khz != 0).then_some(u64::from(khz) * 1000);
    }
    None
}
