//! An interrupt as a driver sees it (paper §4.5): a message of its line, which says how often the line struck since the
//! last one was taken. None is lost, however long the driver is busy, and none takes memory of the CPU driver's.

use crate::cap::Irq;
use crate::domain::Domain;
use crate::lrpc::{Ring, Rings};
use skerry_abi::Error;

/// Messages of the ring: one that is unread, whose count further interrupts raise, and the one that was taken last, which
/// stays as it is while it is looked at.
const SLOTS: u32 = 2;

/// How a line strikes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Trigger {
    /// As the machine has it: a wire.
    Wire,
    /// By edges: a message of a device's.
    Message,
}

/// A line that is delivered to this dispatcher.
pub struct Line {
    irq: Irq,
    number: u32,
    ring: Ring,
}

impl Line {
    /// Has line `number` of `irq` delivered as messages that raise `events`: bits that nothing else raises.
    ///
    /// # Errors
    /// What the CPU driver answers: [`Error::InUse`] if somebody has the line already.
    pub fn bind(
        domain: &mut Domain,
        rings: &mut Rings,
        irq: Irq,
        (number, trigger): (u32, Trigger),
        events: u64,
    ) -> Result<Self, Error> {
        let ring = rings.make(&mut domain.mem, SLOTS, events)?;
        match trigger {
            Trigger::Wire => irq.bind(number, ring.endpoint())?,
            Trigger::Message => irq.bind_message(number, ring.endpoint()).map(drop)?,
        }
        Ok(Self { irq, number, ring })
    }

    /// How often it has struck since this was asked last.
    #[inline]
    pub fn take(&mut self) -> u64 {
        core::iter::from_fn(|| self.ring.take_count()).sum()
    }

    /// The device has been served: a line that is masked while it is up may strike again.
    pub fn ack(&self) {
        // It was bound, and nobody else can unbind it.
        let _refused = self.irq.ack(self.number);
    }
}
