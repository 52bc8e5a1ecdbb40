//! The interrupt controller, as one core sees it: its own doorbell and timer, and the device lines it has claimed.
//!
//! | what | number | who sets it up |
//! | --- | --- | --- |
//! | SGI 0 | 0 | every core, in its own banked registers: the doorbell |
//! | PPI 11 | 27 | every core, in its own banked registers: the virtual timer |
//! | SPIs | 32 … 1019 | the first core turns all off; whoever unmasks one routes it to itself |
//! | LPIs | 8192 … 16383 | version 3: who drives the translation service (ITS) in user space, with tables of its own |
//!
//! Rule `own-core-only`: a later core writes nothing that the first one owns; registers with one bit or one byte a
//! line are all that cores share.

use crate::gic_distributor::Distributor;
use crate::gic_v2::V2;
use crate::gic_v3::V3;
use crate::mmu::Devices;
use crate::space::SpaceError;
use crate::timer;
use aarch64_cpu::registers::{ID_AA64PFR0_EL1, Readable};
use skerry_hal::machine::{FIRST_MESSAGE, Interrupt};
use skerry_hal::{HwId, PhysAddr, PhysRange};

/// The doorbell's interrupt number.
pub const DOORBELL: u32 = 0;
/// The first device line.
pub const FIRST_LINE: u32 = 32;
/// Priority of everything: the middle of what non-secure software may use.
pub const PRIORITY: u8 = 0xa0;

/// Where a board has its interrupt controller.
pub struct GicAt {
    /// Distributor, either version.
    pub distributor: PhysAddr,
    /// Version 2: CPU interface.
    pub cpu_interface: PhysAddr,
    /// Version 3: the regions of redistributors, 128 KiB a core.
    pub redistributors: &'static [PhysRange],
}

skerry_hal::reasons! {
    /// Why there is no interrupt controller.
    pub enum GicError {
        /// No window for its registers.
        NoWindow: "the window to device registers has no room",
        /// No redistributor is this core's.
        NoRedistributor: "no redistributor is this core's",
    }
}

impl From<SpaceError> for GicError {
    fn from(_: SpaceError) -> Self {
        Self::NoWindow
    }
}

/// The interrupt controller of this core.
pub(crate) enum Gic {
    /// Version 1 or 2: memory-mapped CPU interface, at most 8 cores.
    V2(V2),
    /// Version 3 or later: system registers.
    V3(V3),
}

impl Gic {
    /// Sets up this core's part, and on the `first` core of the island the distributor.
    ///
    /// # Errors
    /// See [`GicError`].
    pub fn new(at: &GicAt, devices: &mut Devices, hw_id: HwId, first: bool) -> Result<Self, GicError> {
        // Field GIC: the CPU interface's system registers are there.
        if ID_AA64PFR0_EL1.get() >> 24 & 0xf == 0 {
            Ok(Self::V2(V2::new(at, devices, first)?))
        } else {
            Ok(Self::V3(V3::new(at, devices, hw_id, first)?))
        }
    }

    /// Takes the next pending interrupt: acknowledged, its source quiet.
    pub fn next(&mut self) -> Option<Interrupt> {
        loop {
            let (word, number) = match self {
                Self::V2(gic) => gic.acknowledge(),
                Self::V3(gic) => gic.acknowledge(),
            };
            let found = match number {
                DOORBELL => Some(Interrupt::Doorbell),
                timer::INTID => {
                    timer::set_deadline(None);
                    Some(Interrupt::Timer)
                }
                line @ FIRST_LINE..=1019 => {
                    self.mask(line);
                    Some(Interrupt::Line(line))
                }
                // Cannot be masked here; one that is not bound goes nowhere.
                line @ FIRST_MESSAGE.. => Some(Interrupt::Line(line)),
                1020..=1023 => return None,
                _ => None,
            };
            match self {
                Self::V2(gic) => gic.end(word),
                Self::V3(gic) => gic.end(word),
            }
            if found.is_some() {
                return found;
            }
        }
    }

    /// Lets a line interrupt this core; `false` if there is no such line.
    pub fn unmask(&mut self, line: u32) -> bool {
        match self {
            Self::V2(gic) => gic.unmask(line),
            Self::V3(gic) => gic.unmask(line),
        }
    }

    /// Stops a line.
    pub fn mask(&mut self, line: u32) {
        self.distributor().mask(line);
    }

    /// A line is raised by edges.
    pub fn set_edge(&mut self, line: u32) {
        self.distributor().set_edge(line);
    }

    /// Gives this core's redistributor its tables of LPIs; its number, as the ITS names it.
    pub fn tables(&mut self, at: PhysAddr) -> Option<u64> {
        match self {
            Self::V2(_) => None,
            Self::V3(gic) => gic.tables(at),
        }
    }

    const fn distributor(&self) -> &'static Distributor {
        match self {
            Self::V2(gic) => gic.distributor,
            Self::V3(gic) => gic.distributor,
        }
    }

    /// Rings another core's doorbell; what was stored before is seen by who is woken.
    pub fn ring(&mut self, core: HwId) {
        aarch64_cpu::asm::barrier::dsb(aarch64_cpu::asm::barrier::ISHST);
        match self {
            Self::V2(gic) => gic.ring(core),
            Self::V3(gic) => gic.ring(core),
        }
    }
}
