//! What a channel asks of whatever runs beside it.

use core::task::Waker;
use skerry_hal::CoreId;

/// The doorbell, and how to wait for it. `user/` implements it with capability calls, a simulation with virtual time.
pub trait Runtime {
    /// Rings the doorbell of `peer`, which has asked for it. Where no doorbell leads there (another island), does
    /// nothing: the peer looks once in a bounded period.
    fn ring(&self, peer: CoreId);

    /// Wakes `waker` when this core's doorbell rings next, and in any case within a bounded period. A ring from now on
    /// counts, even if nobody sleeps yet when it comes.
    fn wait(&self, waker: &Waker);

    /// Moves the capability with number `capability` towards `peer`; the answer goes into a message and names it there.
    /// The extension point for transports that carry capabilities; without one, there is no such service.
    fn send_capability(&self, peer: CoreId, capability: u32) -> Result<u64, NotOffered> {
        let _ = (peer, capability);
        Err(NotOffered)
    }
}

/// The runtime does not offer this service.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct NotOffered;

impl core::fmt::Display for NotOffered {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("the runtime does not move capabilities")
    }
}

impl core::error::Error for NotOffered {}
