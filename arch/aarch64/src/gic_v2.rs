//! GIC version 2 (Arm IHI 0048B).

use crate::gic_distributor::{CTLR, Distributor};
use crate::interrupt::{DOORBELL, GicAt, GicError};
use crate::mmu::Devices;
use crate::timer;
use skerry_hal::HwId;
use tock_registers::interfaces::{Readable, Writeable};
use tock_registers::register_structs;
use tock_registers::registers::{ReadOnly, ReadWrite, WriteOnly};

register_structs! {
    CpuInterface {
        (0x00 => control: ReadWrite<u32>),
        (0x04 => priority_mask: ReadWrite<u32>),
        (0x08 => _reserved0),
        (0x0c => acknowledge: ReadOnly<u32>),
        (0x10 => end: WriteOnly<u32>),
        (0x14 => @END),
    }
}

/// This core's view.
pub struct V2 {
    /// Lines 0 to 31 are banked.
    pub distributor: &'static Distributor,
    cpu: &'static CpuInterface,
    /// This core's bit in target lists.
    own: u8,
}

impl V2 {
    /// Sets up this core's part, on the `first` core the rest too.
    ///
    /// # Errors
    /// No window for the registers.
    pub fn new(at: &GicAt, devices: &mut Devices, first: bool) -> Result<Self, GicError> {
        let distributor = devices.map(at.distributor, 1)?.cast::<Distributor>();
        let cpu = devices.map(at.cpu_interface, 1)?.cast::<CpuInterface>();
        // SAFETY: the board says that these are the distributor's registers; mapped for good.
        let distributor = unsafe { distributor.as_ref() };
        // SAFETY: likewise the CPU interface's.
        let cpu = unsafe { cpu.as_ref() };
        if first {
            distributor.ctlr.set(0);
            distributor.reset_lines();
            // Without security extensions bit 0 is the only enable, with them it is that of our group.
            distributor.ctlr.write(CTLR::EnableGrp0::SET + CTLR::EnableGrp1::SET);
        }
        distributor.reset_own(&[DOORBELL, timer::INTID]);
        let own = distributor.targets[0].get();
        cpu.priority_mask.set(0xff);
        // Both groups on, and an acknowledge takes either (AckCtl), where this state has groups at all.
        cpu.control.set(0b111);
        Ok(Self { distributor, cpu, own })
    }

    /// The next pending interrupt: the word that ends it, in which version 2 has the sender besides, and its number.
    pub fn acknowledge(&mut self) -> (u32, u32) {
        let word = self.cpu.acknowledge.get();
        (word, word & 0x3ff)
    }

    /// The interrupt with this word has been dealt with.
    pub fn end(&mut self, word: u32) {
        self.cpu.end.set(word);
    }

    /// Routes a line here and lets it through; `false` if there is no such line.
    pub fn unmask(&mut self, line: u32) -> bool {
        if !self.distributor.has(line) {
            return false;
        }
        self.distributor.targets[line as usize].set(self.own);
        self.distributor.enable(line);
        true
    }

    /// Version 2 serves one cluster of at most 8 cores, named by affinity level 0.
    pub fn ring(&mut self, core: HwId) {
        if core.0 < 8 {
            self.distributor.software.set(1 << (16 + core.0) | DOORBELL);
        }
    }
}
