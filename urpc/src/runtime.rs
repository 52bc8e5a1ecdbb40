//! What a channel asks of whatever runs beside it.

use core::task::Waker;
use skerry_hal::CoreId;

/// The doorbell, and how to wait for it. `user/` implements it with capability calls, a simulation with virtual time.
pub trait Runtime {
    /// Rings the doorbell of `peer`, which has asked for it. Where no doorbell leads there (another island), does
    /// nothing: the peer looks once in a bounded period.
    fn ring(&self, peer: CoreId);

    /// Wakes `waker` when this core's doorbell rings next, and in any case within a bounded period.
    fn wait(&self, waker: &Waker);
}
