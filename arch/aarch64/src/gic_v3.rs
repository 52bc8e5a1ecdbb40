//! GIC version 3 and later (Arm IHI 0069): affinity routing, CPU interface in system registers.

use crate::gic_distributor::{CTLR, Distributor};
use crate::interrupt::{DOORBELL, GicAt, GicError};
use crate::mmu::Devices;
use crate::timer;
use core::arch::asm;
use skerry_hal::machine::FIRST_MESSAGE;
use skerry_hal::{HwId, PAGE_SIZE, PhysAddr};
use tock_registers::interfaces::{ReadWriteable, Readable, Writeable};
use tock_registers::registers::{ReadOnly, ReadWrite};
use tock_registers::{register_bitfields, register_structs};

register_bitfields! { u32,
    WAKER [ ProcessorSleep OFFSET(1) NUMBITS(1) [], ChildrenAsleep OFFSET(2) NUMBITS(1) [] ],
}
register_bitfields! { u64,
    TYPER [ PLPIS OFFSET(0) NUMBITS(1) [], Number OFFSET(8) NUMBITS(16) [], VLPIS OFFSET(1) NUMBITS(1) [], Last OFFSET(4) NUMBITS(1) [], Affinity OFFSET(32) NUMBITS(32) [] ],
}

register_structs! {
    Redistributor {
        (0x00 => ctlr: ReadWrite<u32>),
        (0x04 => _reserved0),
        (0x08 => typer: ReadOnly<u64, TYPER::Register>),
        (0x10 => _reserved1),
        (0x14 => waker: ReadWrite<u32, WAKER::Register>),
        (0x18 => _reserved2),
        (0x70 => propbaser: ReadWrite<u64>),
        (0x78 => pendbaser: ReadWrite<u64>),
        (0x80 => @END),
    }
}

register_structs! {
    /// `GICD_IROUTER`, from offset 0x6000.
    Routers {
        (0x0000 => line: [ReadWrite<u64>; 1024]),
        (0x2000 => @END),
    }
}

/// The SGI page of a redistributor, and what follows it in version 4.
const SGI_PAGE: u64 = 0x1_0000;
const FRAME: u64 = 0x2_0000;
const FRAME_V4: u64 = 0x4_0000;
/// Interrupt numbers have so many bits: the least that has LPIs, 8192 of them.
const LPI_BITS: u64 = 14;
/// `GICR_CTLR.EnableLPIs`.
const ENABLE_LPIS: u32 = 1;
/// Of `GICR_PROPBASER` and `GICR_PENDBASER`: inner shareable, write-back.
const SHARED_CACHED: u64 = 0b01 << 10 | 0b111 << 7;
/// `GICR_PENDBASER.PTZ`.
const PENDING_ZERO: u64 = 1 << 62;
/// How often a register is asked whether a write has taken effect. Far more than any implementation needs.
const PATIENCE: u32 = 1_000_000;

/// This core's view.
pub struct V3 {
    /// Device lines.
    pub distributor: &'static Distributor,
    routers: &'static Routers,
    redistributor: &'static Redistributor,
    /// This core as `GICD_IROUTER` and `ICC_SGI1R_EL1` name it.
    own: HwId,
}

impl V3 {
    /// Sets up this core's part, on the `first` core the rest too.
    ///
    /// # Errors
    /// No window for the registers, or no redistributor for this core.
    pub fn new(at: &GicAt, devices: &mut Devices, own: HwId, first: bool) -> Result<Self, GicError> {
        let distributor = devices.map(at.distributor, 1)?.cast::<Distributor>();
        let routers = devices.map(PhysAddr(at.distributor.0 + 0x6000), 2)?.cast::<Routers>();
        // SAFETY: the board says that these are the distributor's registers; mapped for good.
        let distributor = unsafe { distributor.as_ref() };
        // SAFETY: likewise.
        let routers = unsafe { routers.as_ref() };
        if first {
            distributor.ctlr.set(0);
            settle(distributor);
            // Affinity routing first: it decides what the other registers mean.
            distributor.ctlr.write(CTLR::ARE::SET);
            settle(distributor);
            distributor.reset_lines();
            distributor.ctlr.write(CTLR::ARE::SET + CTLR::EnableGrp1::SET);
            settle(distributor);
        }
        let frame = find_redistributor(at, devices, own)?;
        let redistributor = devices.map(frame, 1)?.cast::<Redistributor>();
        // SAFETY: this core's redistributor, just found; mapped for good.
        let redistributor = unsafe { redistributor.as_ref() };
        wake(redistributor);
        let banked = devices.map(PhysAddr(frame.0 + SGI_PAGE), 1)?.cast::<Distributor>();
        // SAFETY: the SGI page, laid out as the distributor's first page for lines 0 to 31.
        unsafe { banked.as_ref() }.reset_own(&[DOORBELL, timer::INTID]);
        enable_cpu_interface();
        Ok(Self { distributor, routers, redistributor, own })
    }

    /// The next pending interrupt: the word that ends it, and its number.
    pub fn acknowledge(&mut self) -> (u32, u32) {
        let number: u64;
        // SAFETY: ICC_IAR1_EL1; acknowledging is what is asked for.
        unsafe { asm!("mrs {}, S3_0_C12_C12_0", "dsb sy", out(reg) number, options(nostack)) };
        (number as u32, number as u32 & 0xff_ffff)
    }

    /// The interrupt with this number has been dealt with.
    pub fn end(&mut self, number: u32) {
        // SAFETY: ICC_EOIR1_EL1; drops the priority and deactivates.
        unsafe { asm!("msr S3_0_C12_C12_1, {}", "isb", in(reg) u64::from(number), options(nostack)) };
    }

    /// Routes a line here and lets it through; `false` if there is no such line.
    pub fn unmask(&mut self, line: u32) -> bool {
        if line >= FIRST_MESSAGE {
            return line < 1 << LPI_BITS && self.redistributor.ctlr.get() & ENABLE_LPIS != 0;
        }
        if !self.distributor.has(line) {
            return false;
        }
        self.routers.line[line as usize].set(self.own.0);
        self.distributor.enable(line);
        true
    }

    /// Tells the redistributor where its tables of LPIs are, once (IHI 0069 5.1, 12.11): pending bits at `at`, which are
    /// zero, the lines' bytes a page further. Both are cached and shared as the cores' own memory is.
    pub fn tables(&mut self, at: PhysAddr) -> Option<u64> {
        let registers = self.redistributor;
        let typer = registers.typer.extract();
        if !typer.is_set(TYPER::PLPIS) || registers.ctlr.get() & ENABLE_LPIS != 0 {
            return None;
        }
        registers.propbaser.set((at.0 + PAGE_SIZE) | SHARED_CACHED | (LPI_BITS - 1));
        registers.pendbaser.set(at.0 | SHARED_CACHED | PENDING_ZERO);
        aarch64_cpu::asm::barrier::dsb(aarch64_cpu::asm::barrier::SY);
        registers.ctlr.set(registers.ctlr.get() | ENABLE_LPIS);
        Some(typer.read(TYPER::Number))
    }

    /// Affinity levels 3 to 1 choose the cluster, level 0 one of 16 cores in one of 16 ranges.
    pub fn ring(&mut self, core: HwId) {
        let level = |n: u32| core.0 >> [0, 8, 16, 32][n as usize & 3] & 0xff;
        let word = level(3) << 48
            | level(2) << 32
            | level(1) << 16
            | (level(0) >> 4) << 44
            | u64::from(DOORBELL) << 24
            | 1 << (level(0) & 15);
        // SAFETY: ICC_SGI1R_EL1; an SGI to a core that does not exist goes nowhere.
        unsafe { asm!("msr S3_0_C12_C11_5, {}", "isb", in(reg) word, options(nostack)) };
    }
}

/// Waits until the distributor has taken in what was written.
fn settle(distributor: &Distributor) {
    for _ in 0..PATIENCE {
        if !distributor.ctlr.is_set(CTLR::RWP) {
            break;
        }
    }
}

fn wake(redistributor: &Redistributor) {
    redistributor.waker.modify(WAKER::ProcessorSleep::CLEAR);
    for _ in 0..PATIENCE {
        if !redistributor.waker.is_set(WAKER::ChildrenAsleep) {
            break;
        }
    }
}

/// Looks at one redistributor after another for this core's.
fn find_redistributor(at: &GicAt, devices: &mut Devices, own: HwId) -> Result<PhysAddr, GicError> {
    let affinity = own.0 & 0xff_ffff | own.0 >> 32 << 24;
    for region in at.redistributors {
        let mut frame = region.base.0;
        while frame < region.end().0 {
            let registers = devices.map(PhysAddr(frame), 1)?.cast::<Redistributor>();
            // SAFETY: a redistributor's first page, as long as it is mapped.
            let typer = unsafe { registers.as_ref() }.typer.extract();
            devices.unmap_last();
            if typer.read(TYPER::Affinity) == affinity {
                return Ok(PhysAddr(frame));
            }
            if typer.is_set(TYPER::Last) {
                break;
            }
            frame += if typer.is_set(TYPER::VLPIS) { FRAME_V4 } else { FRAME };
        }
    }
    Err(GicError::NoRedistributor)
}

fn enable_cpu_interface() {
    // SAFETY: ICC_SRE_EL1 (system registers on), ICC_PMR_EL1 (all priorities), ICC_BPR1_EL1, ICC_CTLR_EL1 (ending
    // deactivates), ICC_IGRPEN1_EL1: this core's own; interrupts stay masked in PSTATE.
    unsafe {
        asm!(
            "msr S3_0_C12_C12_5, {sre}",
            "isb",
            "msr S3_0_C4_C6_0, {all}",
            "msr S3_0_C12_C12_3, xzr",
            "msr S3_0_C12_C12_4, xzr",
            "msr S3_0_C12_C12_7, {one}",
            "isb",
            sre = in(reg) 7u64,
            all = in(reg) 0xffu64,
            one = in(reg) 1u64,
            options(nostack)
        );
    }
}

const _: () = assert!(SGI_PAGE.is_multiple_of(PAGE_SIZE));
