//! The core as the CPU driver sees it.

use crate::console::Console;
use crate::context::Context;
use crate::interrupt::{Gic, GicAt, GicError};
use crate::mmu::{self, Devices};
use crate::paging::Pages;
use crate::psci::Conduit;
use crate::timer;
use aarch64_cpu::registers::{CNTFRQ_EL0, CNTVCT_EL0, MPIDR_EL1, Readable};
use core::arch::asm;
use core::ptr::NonNull;
use skerry_hal::addr::PHYSMAP;
use skerry_hal::machine::Interrupt;
use skerry_hal::print::ENTRY_LOOKS;
use skerry_hal::{HwId, Isa, Machine, PhysAddr, StartError};

/// Affinity fields of `MPIDR_EL1`.
const AFFINITY: u64 = 0xff_00ff_ffff;

/// Applies an instruction to all 32 vector registers, four at a time; `q` is where, and ends up behind them.
macro_rules! all {
    ($op:literal) => {
        concat!(
            ".arch_extension fp\n.arch_extension simd\n",
            $op, " {{v0.2d-v3.2d}}, [{q}], #64\n", $op, " {{v4.2d-v7.2d}}, [{q}], #64\n",
            $op, " {{v8.2d-v11.2d}}, [{q}], #64\n", $op, " {{v12.2d-v15.2d}}, [{q}], #64\n",
            $op, " {{v16.2d-v19.2d}}, [{q}], #64\n", $op, " {{v20.2d-v23.2d}}, [{q}], #64\n",
            $op, " {{v24.2d-v27.2d}}, [{q}], #64\n", $op, " {{v28.2d-v31.2d}}, [{q}], #64\n",
            ".arch_extension nosimd\n.arch_extension nofp\n",
        )
    };
}

/// One AArch64 core.
pub struct Arm {
    gic: Gic,
    conduit: Conduit,
}

impl Arm {
    /// This core, set up; on the `first` core of an island also what the cores share.
    ///
    /// # Errors
    /// The interrupt controller's.
    pub fn new(gic: &GicAt, devices: &mut Devices, conduit: Conduit, first: bool) -> Result<Self, GicError> {
        timer::init();
        Ok(Self { gic: Gic::new(gic, devices, own_id(), first)?, conduit })
    }
}

/// This core's affinity.
pub fn own_id() -> HwId {
    HwId(MPIDR_EL1.get() & AFFINITY)
}

// SAFETY: PHYSMAP maps the island's RAM one to one (`Tables::kernel`); `set_user_root` writes TTBR0 and forgets what
// was cached; the stubs in `trap.rs` save and restore as the handler's contract says.
unsafe impl Machine for Arm {
    const ISA: Isa = Isa::Aarch64;
    type Context = Context;
    type Pages = Pages;

    #[inline]
    fn phys(&self, pa: PhysAddr) -> NonNull<u8> {
        let at = (PHYSMAP | pa.0) as *mut u8;
        // SAFETY: an address in the upper half is not null.
        unsafe { NonNull::new_unchecked(at) }
    }

    /// Kernel entry has synchronised the context, so no barrier is needed for it not to run back.
    fn now(&self) -> u64 {
        CNTVCT_EL0.get()
    }

    fn frequency(&self) -> u64 {
        CNTFRQ_EL0.get()
    }

    fn set_deadline(&mut self, ticks: Option<u64>) {
        timer::set_deadline(ticks);
    }

    fn next_interrupt(&mut self) -> Option<Interrupt> {
        self.gic.next()
    }

    fn unmask_irq(&mut self, line: u32) -> Option<u64> {
        self.gic.unmask(line).then_some(0)
    }

    fn set_edge(&mut self, line: u32) {
        self.gic.set_edge(line);
    }

    fn irq_tables(&mut self, at: PhysAddr) -> Option<u64> {
        self.gic.tables(at)
    }

    fn mask_irq(&mut self, line: u32) {
        self.gic.mask(line);
    }

    fn ring(&mut self, core: HwId) {
        self.gic.ring(core);
    }

    fn start_core(&mut self, core: HwId, entry: PhysAddr, arg: PhysAddr) -> Result<bool, StartError> {
        self.conduit.start_core(core, entry, arg).map(|()| true)
    }

    /// Nothing: the CPU driver has a root of its own, TTBR1.
    fn init_root(&mut self, _root: PhysAddr) {}

    fn switch_space(&mut self, root: PhysAddr) {
        mmu::set_user_root(root);
    }

    fn flush_all(&mut self) {
        mmu::flush_user();
    }

    fn sync_instructions(&mut self, pa: PhysAddr, len: u64) {
        mmu::sync_instructions(pa, len);
    }

    /// The CPU driver uses none of these registers, so a program's stay in place until another program gets the core.
    fn save_float(&mut self, context: &mut Context) {
        // SAFETY: stores to the context's 512 bytes of `q`.
        unsafe { asm!(all!("st1"), q = inout(reg) context.q.as_mut_ptr() => _, options(nostack)) };
        // SAFETY: reads FPCR, FPSR and the user's thread pointer.
        unsafe {
            asm!("mrs {0}, S3_3_C4_C4_0", "mrs {1}, S3_3_C4_C4_1", "mrs {2}, tpidr_el0",
                out(reg) context.fpcr, out(reg) context.fpsr, out(reg) context.tpidr, options(nostack, nomem));
        }
    }

    fn load_float(&mut self, context: &Context) {
        // SAFETY: loads from the context's 512 bytes of `q`; the CPU driver keeps nothing in vector registers.
        unsafe { asm!(all!("ld1"), q = inout(reg) context.q.as_ptr() => _, options(nostack)) };
        // SAFETY: FPCR, FPSR and the thread pointer are the user's; bits that are reserved are ignored.
        unsafe {
            asm!("msr S3_3_C4_C4_0, {0}", "msr S3_3_C4_C4_1, {1}", "msr tpidr_el0, {2}",
                in(reg) context.fpcr, in(reg) context.fpsr, in(reg) context.tpidr, options(nostack, nomem));
        }
    }

    fn port_read(&mut self, _port: u16, _width: u8) -> Option<u32> {
        None
    }

    fn port_write(&mut self, _port: u16, _width: u8, _value: u32) -> bool {
        false
    }

    fn console(&mut self, bytes: &[u8]) -> usize {
        Console.write(bytes, ENTRY_LOOKS)
    }

    fn power_off(&mut self) -> ! {
        self.conduit.power_off()
    }

    /// The timer's line may stay up if it is up when the core is reset.
    fn stop_core(&mut self) -> ! {
        timer::set_deadline(None);
        self.conduit.stop_core()
    }
}
