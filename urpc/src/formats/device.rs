//! Between whoever asks for a device's service and the PCI domain of an island, which starts the drivers; and between it
//! and them. Kinds 0x07xx.
//!
//! A client sends a request to the monitor of its own core, with the first core of the devices' island as destination,
//! and the answers come back under the request's number, as with [process servers](super::proc). The last one is
//! [`proc::Done`](super::proc::Done), too.

use super::proc::ProcessState;

/// Whether a kind is a request to a PCI domain.
pub const fn is_request(kind: u16) -> bool {
    kind >> 4 == 0x070
}

/// Whether a kind is what a PCI domain answers.
pub const fn is_answer(kind: u16) -> bool {
    kind >> 4 == 0x071
}

/// Random bytes that one request may ask for: what fits into a client's channel at once.
pub const MAX_RANDOM: u32 = 16 * RANDOM as u32;
/// Random bytes in one message.
pub const RANDOM: usize = 24;
/// Bytes of a driver's name.
pub const NAME: usize = 12;

/// What a driver does, in [`DriverLine::state`].
pub const fn driver_state(raw: u8) -> &'static str {
    match ProcessState::from_raw(raw) {
        Some(state) => state.name(),
        None => "unknown",
    }
}

interface! {
    /// What the PCI domain takes from clients.
    trait Devices as ToDevices {
        /// Asks for one [`DriverLine`] each.
        fn drivers(DriversQuery) = 0x0700 {
        }
        /// Asks for random bytes; answered with [`Random`].
        fn random(RandomQuery) = 0x0701 {
            /// How many; at most [`MAX_RANDOM`].
            bytes: u32,
        }
        /// Ends a driver. It is started anew.
        fn restart(RestartQuery) = 0x0702 {
            /// Its name, padded with zeros.
            name: [u8; NAME],
        }
        /// Asks how long interrupts take to the driver that has random bytes; answered with [`Measured`].
        fn measure(MeasureQuery) = 0x0703 {
        }
    }

    /// What clients take.
    trait DeviceClient as ToDeviceClient {
        /// A driver.
        fn driver(DriverLine) = 0x0710 {
            /// Interrupts it has had since it was started.
            interrupts: u64,
            /// Its first line.
            line: u32,
            /// How often it has been started.
            starts: u16,
            /// Bus, and device and function, of what it drives.
            address: u16,
            /// Its lines.
            lines: u16,
            /// A [`ProcessState`].
            state: u8,
            /// What fault ended it.
            code: u8,
            /// Its name, padded with zeros.
            name: [u8; NAME],
        }
        /// Random bytes.
        fn random_bytes(Random) = 0x0711 {
            /// Interrupts that the driver has had since it was started.
            interrupts: u32,
            /// Bytes used of `bytes`.
            len: u8,
            /// The bytes.
            bytes: [u8; RANDOM],
        }
        /// How long interrupts took.
        fn measured(Measured) = 0x0712 {
            /// Ticks from the last instruction of whom it interrupted to the driver with the message in hand: the median.
            ticks: u64,
            /// Interrupts that were measured.
            count: u32,
        }
    }

    /// What a driver takes from the PCI domain.
    trait Driver as ToDriver {
        /// Asks for random bytes; answered with [`Filled`] under the same number.
        fn fill(Fill) = 0x0720 {
            /// How many; at most [`RANDOM`].
            bytes: u32,
        }
    }

    /// What the PCI domain takes from a driver.
    trait DriverHost as ToDriverHost {
        /// Random bytes.
        fn filled(Filled) = 0x0730 {
            /// Bytes used of `bytes`.
            len: u8,
            /// The bytes.
            bytes: [u8; RANDOM],
        }
        /// It has had interrupts since it said so last.
        fn arrived(Arrived) = 0x0731 {
            /// How many since it was started.
            interrupts: u64,
            /// When it had the last one's message in hand, by the clock of its core.
            ticks: u64,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::Body;

    #[test]
    fn requests_and_answers_are_told_apart() {
        assert!(is_request(RandomQuery::KIND) && !is_answer(RandomQuery::KIND));
        assert!(is_answer(Random::KIND) && !is_request(Random::KIND));
        assert!(![Fill::KIND, Filled::KIND, 0x0600, 0x0610].iter().any(|&k| is_request(k) || is_answer(k)));
    }
}
