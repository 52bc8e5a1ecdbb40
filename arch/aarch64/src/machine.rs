//! The core as the CPU driver sees it.

use crate::console::Console;
use crate::context::Context;
use crate::interrupt::{Gic, GicAt, GicError};
use crate::mmu::{self, Devices};
use crate::paging::Pages;
use crate::psci::Conduit;
use crate::{float, timer};
use aarch64_cpu::registers::{MPIDR_EL1, Readable};
use core::ptr::NonNull;
use skerry_hal::addr::PHYSMAP;
use skerry_hal::machine::Interrupt;
use skerry_hal::print::ENTRY_LOOKS;
use skerry_hal::{HwId, Isa, Machine, PhysAddr, StartError};

/// Affinity fields of `MPIDR_EL1`.
const AFFINITY: u64 = 0xff_00ff_ffff;

/// One AArch64 core.
pub struct Arm {
    gic: Gic,
    conduit: Conduit,
    hw_id: HwId,
    frequency: u64,
}

impl Arm {
    /// This core, set up; on the `first` core of an island also what the cores share.
    ///
    /// # Errors
    /// The interrupt controller's.
    pub fn new(gic: &GicAt, devices: &mut Devices, conduit: Conduit, first: bool) -> Result<Self, GicError> {
        timer::init();
        let hw_id = own_id();
        Ok(Self { gic: Gic::new(gic, devices, hw_id, first)?, conduit, hw_id, frequency: timer::frequency() })
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

    fn hw_id(&self) -> HwId {
        self.hw_id
    }

    fn now(&self) -> u64 {
        timer::now()
    }

    fn frequency(&self) -> u64 {
        self.frequency
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

    fn save_float(&mut self, context: &mut Context) {
        float::save(context);
    }

    fn load_float(&mut self, context: &Context) {
        float::load(context);
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
