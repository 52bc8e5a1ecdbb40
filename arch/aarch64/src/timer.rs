//! The clock and the timer: the EL1 virtual timer (Arm ARM D12), which works the same when started at EL1 and when
//! dropped there from EL2, with `CNTVOFF_EL2` = 0.

use aarch64_cpu::registers::{CNTKCTL_EL1, CNTV_CTL_EL0, CNTV_CVAL_EL0, Writeable};

/// The timer's interrupt number: PPI 11 of every core (Arm BSA, "PPI assignments").
pub const INTID: u32 = 27;

/// Lets EL0 read the counter and its frequency; no event stream; timer off.
pub fn init() {
    CNTKCTL_EL1.write(CNTKCTL_EL1::EL0VCTEN::SET);
    CNTV_CTL_EL0.set(0);
}

/// Interrupts at or after `ticks`; `None`: not at all.
pub fn set_deadline(ticks: Option<u64>) {
    match ticks {
        Some(ticks) => {
            CNTV_CVAL_EL0.set(ticks);
            CNTV_CTL_EL0.write(CNTV_CTL_EL0::ENABLE::SET);
        }
        None => CNTV_CTL_EL0.set(0),
    }
}
