//! Capabilities of a function that say where in its BARs something lies: the table of messages ("MSI-X", PCI Local Bus
//! 3.0 §6.8.2), and the structures of a virtio device (Virtual I/O Device 1.2 §4.1.4). What they say is checked: a place
//! that is cut off, outside its BAR, or shared with the table is an error that names it.

use crate::config::{command, register};
use crate::{ConfigSpace, Function, Width};
use core::fmt;
use core::ops::Range;
use skerry_abi::PAGE_SIZE;
use skerry_skb::{PciAddress, PciSpace};

/// Identifiers of capabilities.
pub mod id {
    /// Of the vendor's own making: on a virtio device, where a structure is.
    pub const VENDOR: u8 = 0x09;
    /// MSI-X.
    pub const MSIX: u8 = 0x11;
}

/// Bytes of an entry of the table.
pub const ENTRY: u64 = 16;
/// Configuration space that capabilities may lie in.
const END: u16 = 256;
const ENABLE: u32 = 1 << 15;
const MASK_ALL: u32 = 1 << 14;

/// What is wrong with a capability.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Bad {
    /// It leaves configuration space, or is shorter than it must be.
    CutOff,
    /// It names a BAR that the function does not have, or that has no place in memory.
    NoBar(u8),
    /// It names a place that is not all in its BAR.
    Outside(u8),
    /// It names a place that is not aligned.
    Unaligned,
    /// It names a place that shares a page with the table of messages, which the driver must not write.
    Overlap,
}

impl fmt::Display for Bad {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::CutOff => f.write_str("it is cut off"),
            Self::NoBar(bar) => write!(f, "it names bar {bar}, which has no place in memory"),
            Self::Outside(bar) => write!(f, "it names a place outside bar {bar}"),
            Self::Unaligned => f.write_str("it names a place that is not aligned"),
            Self::Overlap => f.write_str("it shares a page with the table of messages"),
        }
    }
}

/// Part of a BAR.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Place {
    /// Which BAR.
    pub bar: u8,
    /// Offset in it.
    pub offset: u64,
    /// Bytes.
    pub len: u64,
}

impl Place {
    /// Checks that it lies in a BAR that has a place in memory.
    fn check(self, function: &Function) -> Result<Self, Bad> {
        let bar = function.bars.iter().find(|bar| bar.index == self.bar && bar.space != PciSpace::Io);
        let bar = bar.filter(|bar| bar.base.is_some()).ok_or(Bad::NoBar(self.bar))?;
        let inside = self.offset.checked_add(self.len).is_some_and(|end| end <= bar.size);
        if inside { Ok(self) } else { Err(Bad::Outside(self.bar)) }
    }

    /// Its pages, as offsets in the BAR.
    pub const fn pages(&self) -> Range<u64> {
        self.offset & !(PAGE_SIZE - 1)..(self.offset + self.len).next_multiple_of(PAGE_SIZE)
    }

    fn shares_page(&self, other: &Self) -> bool {
        let (one, two) = (self.pages(), other.pages());
        self.bar == other.bar && one.start < two.end && two.start < one.end
    }
}

/// A function's table of messages.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Msix {
    /// The capability's offset.
    at: u16,
    /// Messages it has.
    pub entries: u16,
    /// Its table.
    pub table: Place,
    /// Its bits that say which messages are pending.
    pub pending: Place,
}

/// What the capability at `at` says, `words` of which must be there.
fn words<const N: usize>(
    config: &mut dyn ConfigSpace,
    function: PciAddress,
    at: u8,
) -> Result<[u32; N], Bad> {
    let at = u16::from(at);
    if at + 4 * N as u16 > END {
        return Err(Bad::CutOff);
    }
    Ok(core::array::from_fn(|n| config.read(function, at + 4 * n as u16, Width::Word)))
}

impl Msix {
    /// Finds and checks it; `None` if the function has none.
    pub fn find(config: &mut dyn ConfigSpace, function: &Function) -> Option<Result<Self, Bad>> {
        let &(_, at) = function.capabilities.iter().find(|(id, _)| *id == id::MSIX)?;
        Some(Self::parse(config, function, at))
    }

    fn parse(config: &mut dyn ConfigSpace, function: &Function, at: u8) -> Result<Self, Bad> {
        let [head, table, pending] = words(config, function.address, at)?;
        let entries = (head >> 16 & 0x7ff) as u16 + 1;
        let place = |word: u32, len| {
            Place { bar: (word & 7) as u8, offset: u64::from(word & !7), len }.check(function)
        };
        let table = place(table, u64::from(entries) * ENTRY)?;
        let pending = place(pending, u64::from(entries.div_ceil(64)) * 8)?;
        Ok(Self { at: at.into(), entries, table, pending })
    }

    /// Turns messages on, and the function's pin off; lets it write to memory, as a message is a write.
    pub fn enable(&self, config: &mut dyn ConfigSpace, function: PciAddress) {
        let word = config.read(function, self.at + 2, Width::Half) & !MASK_ALL;
        config.write(function, self.at + 2, Width::Half, word | ENABLE);
        let word = config.read(function, register::COMMAND, Width::Half);
        let on = command::MASTER | command::NO_PIN | command::MEMORY;
        config.write(function, register::COMMAND, Width::Half, word | on);
    }

    /// Stops messages, and every other access to memory.
    pub fn disable(&self, config: &mut dyn ConfigSpace, function: PciAddress) {
        let word = config.read(function, register::COMMAND, Width::Half);
        config.write(function, register::COMMAND, Width::Half, word & !command::MASTER);
        let word = config.read(function, self.at + 2, Width::Half);
        config.write(function, self.at + 2, Width::Half, word & !ENABLE | MASK_ALL);
    }
}

/// Vendor of virtio devices, and the number of those that follow version 1, less their kind (§4.1.2).
pub const VIRTIO: (u16, u16) = (0x1af4, 0x1040);

/// Structures of a virtio device, by the numbers that capabilities give them.
pub const STRUCTURES: usize = 4;

/// Where a virtio device's structures are.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Virtio {
    /// Common configuration, notification, interrupt status, the device's own.
    pub places: [Option<Place>; STRUCTURES],
    /// Distance between queues' notification addresses, per unit of their offsets.
    pub notify_step: u32,
}

impl Virtio {
    /// Finds and checks the structures. Of several of one kind the first counts (§4.1.4.1).
    ///
    /// # Errors
    /// What is wrong with the first bad one.
    pub fn find(config: &mut dyn ConfigSpace, function: &Function, msix: Option<&Msix>) -> Result<Self, Bad> {
        let mut found = Self { places: [None; STRUCTURES], notify_step: 0 };
        for &(_, at) in function.capabilities.iter().filter(|(id, _)| *id == id::VENDOR) {
            let [head, bar, offset, len] = words(config, function.address, at)?;
            let kind = (head >> 24) as usize;
            let Some(place) = kind.checked_sub(1).and_then(|kind| found.places.get_mut(kind)) else {
                continue;
            };
            if place.is_some() {
                continue;
            }
            if head >> 16 & 0xff < 16 {
                return Err(Bad::CutOff);
            }
            if offset % 4 != 0 {
                return Err(Bad::Unaligned);
            }
            let it = Place { bar: bar as u8, offset: offset.into(), len: len.into() }.check(function)?;
            if msix.is_some_and(|m| it.shares_page(&m.table) || it.shares_page(&m.pending)) {
                return Err(Bad::Overlap);
            }
            *place = Some(it);
            if kind == 2 {
                let [.., step] = words::<5>(config, function.address, at)?;
                found.notify_step = step;
            }
        }
        Ok(found)
    }
}
