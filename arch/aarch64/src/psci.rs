//! Calls to the firmware (Arm DEN 0022, PSCI), through the crate `smccc`.

use skerry_hal::{HwId, PhysAddr, StartError};
use smccc::psci::{self, Error};
use smccc::{Hvc, Smc};

/// Which instruction reaches the firmware: the device tree's `/psci/method`. The numbers are
/// `CoreBoot::arch_word`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u64)]
pub enum Conduit {
    /// There is no PSCI.
    None = 0,
    /// `hvc #0`.
    Hvc = 1,
    /// `smc #0`.
    Smc = 2,
}

impl Conduit {
    /// The conduit with this number; what is unknown is none.
    pub const fn from_raw(raw: u64) -> Self {
        match raw {
            1 => Self::Hvc,
            2 => Self::Smc,
            _ => Self::None,
        }
    }

    /// `CPU_ON`: the core enters at `entry` with `arg` in x0.
    ///
    /// # Errors
    /// As the firmware answers.
    pub fn start_core(self, core: HwId, entry: PhysAddr, arg: PhysAddr) -> Result<(), StartError> {
        let answer = match self {
            Self::None => return Err(StartError::Unsupported),
            Self::Hvc => psci::cpu_on::<Hvc>(core.0, entry.0, arg.0),
            Self::Smc => psci::cpu_on::<Smc>(core.0, entry.0, arg.0),
        };
        answer.map_err(|error| match error {
            Error::AlreadyOn | Error::OnPending => StartError::AlreadyOn,
            Error::InvalidAddress => StartError::BadEntry,
            Error::NotSupported => StartError::Unsupported,
            _ => StartError::Refused,
        })
    }

    /// `SYSTEM_OFF`; where the firmware cannot, this core stops.
    pub fn power_off(self) -> ! {
        self.last(psci::system_off::<Hvc>, psci::system_off::<Smc>)
    }

    /// `CPU_OFF`.
    pub fn stop_core(self) -> ! {
        self.last(psci::cpu_off::<Hvc>, psci::cpu_off::<Smc>)
    }

    /// A call that does not return.
    fn last(self, hvc: fn() -> Result<(), Error>, smc: fn() -> Result<(), Error>) -> ! {
        let _answer = match self {
            Self::None => Ok(()),
            Self::Hvc => hvc(),
            Self::Smc => smc(),
        };
        loop {
            aarch64_cpu::asm::wfe();
        }
    }
}
