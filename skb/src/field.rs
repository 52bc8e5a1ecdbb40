//! The types that a fact's fields may have, and how each is spelt in a [`WireRecord`](crate::WireRecord): little-endian,
//! one after another, without padding. Every field has one spelling and every spelling that is accepted gives it
//! back, so that a record survives the round trip bit for bit and two equal facts have equal records.

use crate::rules::Datum;
use crate::wire::{Reader, Writer};
use alloc::string::{String, ToString};
use core::fmt;
use skerry_hal::{CoreId, HwId, IslandId, PhysAddr, PhysRange};

/// A type that a fact's field may have.
pub trait Field: Copy + PartialEq {
    /// Bytes it takes in a record.
    const SIZE: usize;
    /// Writes it.
    fn put(&self, to: &mut Writer<'_>);
    /// Reads it; `None` if the bytes are no value of this type.
    fn get(from: &mut Reader<'_>) -> Option<Self>;
    /// What the columns that it makes in a relation are called, after the field's name.
    const COLUMNS: &[&str] = &[""];
    /// Its columns.
    fn cells(&self, put: &mut dyn FnMut(Datum<'_>));
    /// Some value, for tests.
    #[cfg(test)]
    fn sample(random: &mut dyn FnMut() -> u64) -> Self;
}

/// `MemoryNode` as `memory_node`.
pub(crate) fn snake(camel: &str) -> String {
    let mut snake = String::new();
    for (at, letter) in camel.char_indices() {
        if letter.is_ascii_uppercase() && at > 0 {
            snake.push('_');
        }
        snake.push(letter.to_ascii_lowercase());
    }
    snake
}

macro_rules! integers {
    ($($type:ty)*) => {$(
        impl Field for $type {
            const SIZE: usize = size_of::<$type>();
            fn put(&self, to: &mut Writer<'_>) {
                to.bytes(&self.to_le_bytes());
            }
            fn get(from: &mut Reader<'_>) -> Option<Self> {
                from.array().map(<$type>::from_le_bytes)
            }
            fn cells(&self, put: &mut dyn FnMut(Datum<'_>)) {
                put(Datum::Int((*self).into()));
            }
            #[cfg(test)]
            fn sample(random: &mut dyn FnMut() -> u64) -> Self {
                random() as $type
            }
        }
    )*};
}
integers!(u8 u16 u32 u64);

macro_rules! wrappers {
    ($($type:ident($inner:ty))*) => {$(
        impl Field for $type {
            const SIZE: usize = <$inner>::SIZE;
            fn put(&self, to: &mut Writer<'_>) {
                self.0.put(to);
            }
            fn get(from: &mut Reader<'_>) -> Option<Self> {
                <$inner>::get(from).map(Self)
            }
            fn cells(&self, put: &mut dyn FnMut(Datum<'_>)) {
                self.0.cells(put);
            }
            #[cfg(test)]
            fn sample(random: &mut dyn FnMut() -> u64) -> Self {
                Self(<$inner>::sample(random))
            }
        }
    )*};
}
wrappers!(PhysAddr(u64) HwId(u64) IslandId(u16));

impl Field for bool {
    const SIZE: usize = 1;
    fn put(&self, to: &mut Writer<'_>) {
        u8::from(*self).put(to);
    }
    fn get(from: &mut Reader<'_>) -> Option<Self> {
        match u8::get(from)? {
            0 => Some(false),
            1 => Some(true),
            _ => None,
        }
    }
    /// `true` or `false`.
    fn cells(&self, put: &mut dyn FnMut(Datum<'_>)) {
        put(Datum::Text(if *self { "true" } else { "false" }));
    }
    #[cfg(test)]
    fn sample(random: &mut dyn FnMut() -> u64) -> Self {
        random() & 1 == 1
    }
}

impl Field for CoreId {
    const SIZE: usize = u32::SIZE;
    fn put(&self, to: &mut Writer<'_>) {
        self.raw().put(to);
    }
    fn get(from: &mut Reader<'_>) -> Option<Self> {
        u32::get(from).map(Self::from_raw)
    }
    fn cells(&self, put: &mut dyn FnMut(Datum<'_>)) {
        put(Datum::Core(*self));
    }
    #[cfg(test)]
    fn sample(random: &mut dyn FnMut() -> u64) -> Self {
        Self::from_raw(u32::sample(random))
    }
}

impl Field for PhysRange {
    const SIZE: usize = 16;
    fn put(&self, to: &mut Writer<'_>) {
        self.base.put(to);
        self.len.put(to);
    }
    /// A range that runs past the end of the address space is refused.
    fn get(from: &mut Reader<'_>) -> Option<Self> {
        let range = Self::new(PhysAddr::get(from)?, u64::get(from)?);
        range.base.checked_add(range.len).map(|_| range)
    }
    /// Its first address, and its bytes.
    const COLUMNS: &[&str] = &["", "_len"];
    fn cells(&self, put: &mut dyn FnMut(Datum<'_>)) {
        self.base.cells(put);
        self.len.cells(put);
    }
    #[cfg(test)]
    fn sample(random: &mut dyn FnMut() -> u64) -> Self {
        Self::new(PhysAddr(random() >> 1), random() >> 1)
    }
}

impl<T: Field + Default> Field for Option<T> {
    const SIZE: usize = 1 + T::SIZE;
    fn put(&self, to: &mut Writer<'_>) {
        self.is_some().put(to);
        self.unwrap_or_default().put(to);
    }
    fn get(from: &mut Reader<'_>) -> Option<Self> {
        match (bool::get(from)?, T::get(from)?) {
            (true, value) => Some(Some(value)),
            (false, value) if value == T::default() => Some(None),
            (false, _) => None,
        }
    }
    const COLUMNS: &[&str] = T::COLUMNS;
    /// `none` in every column, or what it is.
    fn cells(&self, put: &mut dyn FnMut(Datum<'_>)) {
        match self {
            Some(it) => it.cells(put),
            None => T::COLUMNS.iter().for_each(|_| put(Datum::Text("none"))),
        }
    }
    #[cfg(test)]
    fn sample(random: &mut dyn FnMut() -> u64) -> Self {
        bool::sample(random).then(|| T::sample(random))
    }
}

/// Where a PCI function answers.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct PciAddress {
    /// Segment group.
    pub segment: u16,
    /// Bus.
    pub bus: u8,
    /// Device, below 32.
    pub device: u8,
    /// Function, below 8.
    pub function: u8,
}

impl PciAddress {
    /// The function at `bus:device.function` of segment `segment`.
    pub const fn new(segment: u16, bus: u8, device: u8, function: u8) -> Self {
        Self { segment, bus, device, function }
    }
}

impl fmt::Display for PciAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04x}:{:02x}:{:02x}.{}", self.segment, self.bus, self.device, self.function)
    }
}

impl fmt::Debug for PciAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Field for PciAddress {
    const SIZE: usize = 5;
    fn put(&self, to: &mut Writer<'_>) {
        self.segment.put(to);
        to.bytes(&[self.bus, self.device, self.function]);
    }
    fn get(from: &mut Reader<'_>) -> Option<Self> {
        let segment = u16::get(from)?;
        let [bus, device, function] = from.array()?;
        (device < 32 && function < 8).then_some(Self { segment, bus, device, function })
    }
    /// As it is spelt: `"0000:00:02.0"`.
    fn cells(&self, put: &mut dyn FnMut(Datum<'_>)) {
        put(Datum::Text(&self.to_string()));
    }
    #[cfg(test)]
    fn sample(random: &mut dyn FnMut() -> u64) -> Self {
        let r = random();
        Self::new(r as u16, (r >> 16) as u8, (r >> 24) as u8 & 31, (r >> 32) as u8 & 7)
    }
}

/// A short name: at most 16 bytes of printable ASCII, at least one.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Name([u8; 16]);

impl Name {
    /// The name spelt `text`, if it is one.
    pub fn new(text: &str) -> Option<Self> {
        let mut name = [0; 16];
        name.get_mut(..text.len())?.copy_from_slice(text.as_bytes());
        Self::check(name)
    }

    /// Its text.
    pub fn as_str(&self) -> &str {
        let len = self.0.iter().position(|&b| b == 0).unwrap_or(16);
        self.0.get(..len).and_then(|text| core::str::from_utf8(text).ok()).unwrap_or("")
    }

    fn check(name: [u8; 16]) -> Option<Self> {
        let len = name.iter().position(|&b| b == 0).unwrap_or(16);
        let (text, rest) = name.split_at(len);
        (len > 0 && text.iter().all(u8::is_ascii_graphic) && rest.iter().all(|&b| b == 0))
            .then_some(Self(name))
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Field for Name {
    const SIZE: usize = 16;
    fn put(&self, to: &mut Writer<'_>) {
        to.bytes(&self.0);
    }
    fn get(from: &mut Reader<'_>) -> Option<Self> {
        Self::check(from.array()?)
    }
    fn cells(&self, put: &mut dyn FnMut(Datum<'_>)) {
        put(Datum::Text(self.as_str()));
    }
    #[cfg(test)]
    fn sample(random: &mut dyn FnMut() -> u64) -> Self {
        let mut name = [0; 16];
        let len = 1 + random() as usize % 16;
        name[..len].fill_with(|| b'!' + (random() % 94) as u8);
        Self(name)
    }
}

macro_rules! codes {
    ($($(#[$doc:meta])* $type:ident { $($(#[$variant_doc:meta])* $name:ident = $code:literal,)* })*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
        #[repr(u8)]
        pub enum $type { $($(#[$variant_doc])* $name = $code,)* }

        impl Field for $type {
            const SIZE: usize = 1;
            fn put(&self, to: &mut Writer<'_>) {
                to.bytes(&[*self as u8]);
            }
            fn get(from: &mut Reader<'_>) -> Option<Self> {
                match u8::get(from)? { $($code => Some(Self::$name),)* _ => None }
            }
            fn cells(&self, put: &mut dyn FnMut(Datum<'_>)) {
                put(Datum::Text(&snake(match self { $(Self::$name => stringify!($name),)* })));
            }
            #[cfg(test)]
            fn sample(random: &mut dyn FnMut() -> u64) -> Self {
                let all = [$(Self::$name),*];
                all[random() as usize % all.len()]
            }
        }
    )*};
}

codes! {
    /// The kind of an interrupt controller.
    ControllerKind {
        /// Arm Generic Interrupt Controller, version 2.
        GicV2 = 2,
        /// Arm Generic Interrupt Controller, version 3 or 4.
        GicV3 = 3,
        /// The PC's local interrupt controller, one in each core.
        Apic = 16,
    }
    /// What a further block of an interrupt controller does.
    InterruptPartKind {
        /// The blocks of the single cores (GICv3), side by side.
        Redistributors = 1,
        /// A page to which devices write in order to interrupt (GICv2m).
        MessageFrame = 2,
        /// A translation service for message interrupts (GICv3 ITS).
        Translation = 3,
    }
    /// When a line counts as raised.
    Trigger {
        /// On a rising edge.
        EdgeHigh = 1,
        /// On a falling edge.
        EdgeLow = 2,
        /// While it is high.
        LevelHigh = 4,
        /// While it is low.
        LevelLow = 8,
    }
    /// An address space of a PCI host.
    PciSpace {
        /// I/O ports.
        Io = 1,
        /// Memory below 4 GiB.
        Memory32 = 2,
        /// Memory anywhere.
        Memory64 = 3,
    }
    /// The kind of a serial console.
    ConsoleKind {
        /// 16550 at an I/O port.
        Uart16550Port = 1,
        /// 16550 in memory.
        Uart16550Memory = 2,
        /// Arm PL011 in memory.
        Pl011 = 3,
    }
    /// The kind of a timer.
    TimerKind {
        /// One in every core, counting the island's time.
        CorePhysical = 1,
        /// One in every core, counting the time that a hypervisor lets pass.
        CoreVirtual = 2,
        /// High-precision event timer, in memory.
        Hpet = 3,
        /// The ACPI power-management timer, a port.
        AcpiPm = 4,
    }
    /// What a cache holds.
    CacheKind {
        /// Data.
        Data = 1,
        /// Instructions.
        Instruction = 2,
        /// Both.
        Unified = 3,
    }
    /// What a link is made of.
    LinkKind {
        /// Memory that both islands map.
        SharedMemory = 1,
        /// Ethernet.
        Ethernet = 2,
        /// A serial line.
        Serial = 3,
    }
    /// How a core asks the firmware for a service.
    Conduit {
        /// By a hypervisor call.
        Hypervisor = 1,
        /// By a secure monitor call.
        SecureMonitor = 2,
    }
}
