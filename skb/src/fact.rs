//! The one table of all kinds of facts. A line number ("line") is the interrupt controller's own: the global system
//! interrupt on a PC, the interrupt ID on a GIC. NUMA nodes are numbered as the firmware numbers them.

use crate::field::*;
use crate::rules::Datum;
use crate::wire::{PAYLOAD, Reader, WireError, Writer};
use alloc::string::String;
use alloc::vec::Vec;
use skerry_hal::{CoreId, HwId, IslandId, PhysAddr, PhysRange};

/// A kind of fact: what [`View::all`](crate::View::all) can be asked for.
pub trait Kind: Copy {
    /// Its number in a record.
    const NUMBER: u16;
    /// This kind of fact, if it is one.
    fn of(fact: &Fact) -> Option<Self>;
}

macro_rules! facts {
    ($($(#[$doc:meta])* $kind:ident = $number:literal { $($(#[$field_doc:meta])* $field:ident: $type:ty,)* })*) => {
        $(
            $(#[$doc])*
            #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
            pub struct $kind { $($(#[$field_doc])* pub $field: $type,)* }

            const _: () = assert!(0 $(+ <$type as Field>::SIZE)* <= PAYLOAD);

            impl Kind for $kind {
                const NUMBER: u16 = $number;
                fn of(fact: &Fact) -> Option<Self> {
                    match fact { Fact::$kind(it) => Some(*it), _ => None }
                }
            }

            impl From<$kind> for Fact {
                fn from(it: $kind) -> Self {
                    Self::$kind(it)
                }
            }
        )*

        /// Any fact.
        #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
        pub enum Fact { $($(#[$doc])* $kind($kind),)* }

        impl Fact {
            /// The numbers of all kinds.
            pub const NUMBERS: &'static [u16] = &[$($number),*];

            /// The number of its kind.
            pub const fn number(&self) -> u16 {
                match self { $(Self::$kind(_) => $number,)* }
            }

            /// The name of its kind.
            pub const fn kind(&self) -> &'static str {
                match self { $(Self::$kind(_) => stringify!($kind),)* }
            }

            /// The relations that rules see: for each kind, in the order of [`NUMBERS`](Self::NUMBERS), its name and those of
            /// its columns.
            pub fn tables() -> Vec<(String, Vec<String>)> {
                alloc::vec![$((snake(stringify!($kind)), {
                    let mut columns = Vec::new();
                    $(columns.extend(<$type as Field>::COLUMNS.iter().map(|end| alloc::format!("{}{end}", stringify!($field))));)*
                    columns
                })),*]
            }

            /// Its columns in its relation.
            pub fn cells(&self, put: &mut dyn FnMut(Datum<'_>)) {
                match self { $(Self::$kind(it) => { $(it.$field.cells(put);)* })* }
            }

            pub(crate) fn put(&self, to: &mut Writer<'_>) {
                match self { $(Self::$kind(it) => { $(it.$field.put(to);)* })* }
            }

            pub(crate) fn get(number: u16, from: &mut Reader<'_>) -> Result<Self, WireError> {
                match number {
                    $($number => Ok(Self::$kind($kind { $($field: Field::get(from).ok_or(
                        WireError { kind: stringify!($kind), field: stringify!($field) })?,)* })),)*
                    _ => Err(WireError { kind: "record", field: "kind" }),
                }
            }

            #[cfg(test)]
            pub(crate) fn sample(number: u16, random: &mut dyn FnMut() -> u64) -> Option<Self> {
                match number {
                    $($number => Some(Self::$kind($kind { $($field: Field::sample(random),)* })),)*
                    _ => None,
                }
            }
        }
    };
}

facts! {
    /// A core of the island. Core 0 is the one that the firmware started.
    Core = 1 {
        /// Its number within the island.
        local: u16,
        /// Its name on its bus.
        hw: HwId,
        /// Whether the firmware lets it be started.
        enabled: bool,
        /// The NUMA node it belongs to; 0 where the firmware does not say.
        node: u32,
    }
    /// Memory in this range is near the cores of a node. The range may have holes: the boot glue's memory map, not
    /// this fact, says where RAM is.
    MemoryNode = 2 {
        /// The node.
        node: u32,
        /// The range.
        range: PhysRange,
    }
    /// How far the memory of node `to` is from the cores of node `from`; 10 is "its own".
    Distance = 3 {
        /// Who accesses.
        from: u32,
        /// What is accessed.
        to: u32,
        /// Relative cost.
        value: u32,
    }
    /// The interrupt controller.
    InterruptController = 4 {
        /// Its kind.
        kind: ControllerKind,
        /// GIC: the distributor. Local APIC: its registers.
        base: PhysRange,
        /// GICv2: the cores' interface. GICv3: the first region of redistributors. Else empty.
        cores: PhysRange,
    }
    /// A further block of the interrupt controller.
    InterruptPart = 5 {
        /// What it does.
        kind: InterruptPartKind,
        /// Its registers.
        range: PhysRange,
    }
    /// An I/O interrupt controller, which passes devices' lines on to cores.
    IoApic = 6 {
        /// Its number.
        id: u32,
        /// Its registers.
        base: PhysAddr,
        /// Its first line.
        first_line: u32,
    }
    /// A legacy interrupt that arrives at another line, or otherwise triggered, than its number says.
    IrqOverride = 7 {
        /// The legacy number.
        irq: u8,
        /// Where it arrives.
        line: u32,
        /// How.
        trigger: Trigger,
    }
    /// A PCI host bridge with memory-mapped configuration space.
    PciHost = 8 {
        /// Its segment group.
        segment: u16,
        /// The configuration space of `first_bus` and all buses after it, 1 MiB each.
        ecam: PhysRange,
        /// Its first bus.
        first_bus: u8,
        /// Its last bus.
        last_bus: u8,
    }
    /// Addresses that a PCI host passes on to its devices.
    PciWindow = 9 {
        /// The host's segment group.
        segment: u16,
        /// The address space, as the devices see it.
        space: PciSpace,
        /// Whether reads have no side effects.
        prefetchable: bool,
        /// First address, as the devices see it.
        pci: u64,
        /// The same and the addresses after it, as the cores see them.
        cpu: PhysRange,
    }
    /// Where a device's legacy interrupt pin arrives.
    PciLine = 10 {
        /// The host's segment group.
        segment: u16,
        /// Device number on the host's first bus, after `mask` was applied to it.
        device: u8,
        /// Bits of a device number that count.
        mask: u8,
        /// Pin, 1 to 4.
        pin: u8,
        /// Line.
        line: u32,
        /// How it triggers.
        trigger: Trigger,
    }
    /// A PCI function that answered.
    PciDevice = 11 {
        /// Where.
        address: PciAddress,
        /// Vendor.
        vendor: u16,
        /// Device.
        device: u16,
        /// Class, subclass and programming interface, in the low 24 bits.
        class: u32,
        /// Its legacy interrupt pin, 1 to 4; 0 for none.
        pin: u8,
        /// What the firmware noted as its interrupt line; 255 for unknown.
        noted_line: u8,
    }
    /// A PCI function's registers or memory.
    PciBar = 12 {
        /// The function.
        address: PciAddress,
        /// Number of the base address register.
        index: u8,
        /// The address space.
        space: PciSpace,
        /// Whether reads have no side effects.
        prefetchable: bool,
        /// Where it lies, as the cores see it (`Io`: ports).
        range: PhysRange,
    }
    /// A serial console.
    Console = 13 {
        /// Its kind.
        kind: ConsoleKind,
        /// Its registers, or its first port and number of ports.
        base: PhysRange,
        /// Its line, where known.
        line: Option<u32>,
    }
    /// A timer.
    Timer = 14 {
        /// Its kind.
        kind: TimerKind,
        /// Its registers or ports; empty if it has none.
        base: PhysRange,
        /// Its line, where known.
        line: Option<u32>,
        /// Ticks per second; 0 where unknown.
        frequency: u64,
    }
    /// Cores are started by asking the firmware (PSCI).
    PsciMethod = 15 {
        /// How to ask.
        conduit: Conduit,
    }
    /// Memory shared with another island.
    Window = 16 {
        /// Number of the link among this island's.
        link: u16,
        /// The function that offers it.
        address: PciAddress,
        /// Where it lies.
        range: PhysRange,
        /// The island at its other end, where known.
        peer: Option<IslandId>,
    }
    /// A number that somebody set, such as a bound in milliseconds.
    Setting = 17 {
        /// What it is called.
        name: Name,
        /// What it is.
        value: u64,
    }
    /// The initial file that the boot loader left in memory.
    InitialFile = 18 {
        /// Where.
        range: PhysRange,
    }
    /// A cache of a core.
    Cache = 19 {
        /// The core.
        core: CoreId,
        /// Its level, from 1.
        level: u8,
        /// What it holds.
        kind: CacheKind,
        /// Bytes.
        size: u64,
        /// Bytes of a line.
        line: u16,
        /// Cores of an island that name the same number for a level and kind share it.
        shared: u32,
    }
    /// A core can do this.
    CpuFeature = 20 {
        /// The core.
        core: CoreId,
        /// What its maker calls it, in small letters.
        name: Name,
    }
    /// A core lies in a package.
    Package = 21 {
        /// The core.
        core: CoreId,
        /// The package's number within the island.
        package: u32,
    }
    /// How long a message takes from one core to another.
    Latency = 22 {
        /// Who sends.
        from: CoreId,
        /// Who receives.
        to: CoreId,
        /// Nanoseconds.
        ns: u32,
    }
    /// How many messages go from one core to another when they follow each other.
    Throughput = 23 {
        /// Who sends.
        from: CoreId,
        /// Who receives.
        to: CoreId,
        /// Messages in a millisecond.
        per_ms: u32,
    }
    /// This island's end of a link.
    LinkEnd = 24 {
        /// The core that holds it.
        core: CoreId,
        /// The island at the other end.
        peer: IslandId,
        /// What it is made of.
        kind: LinkKind,
        /// Nanoseconds that a message takes to the other end.
        ns: u32,
    }
    /// The interconnect joins two packages of the island: no machine tells that, somebody must say so.
    Interconnect = 25 {
        /// A package.
        from: u32,
        /// Another.
        to: u32,
    }
    /// A PCI function is near the cores of a node.
    DeviceNear = 26 {
        /// The function.
        address: PciAddress,
        /// The node.
        node: u32,
    }
    /// A core that takes no part at present.
    Offline = 27 {
        /// The core.
        core: CoreId,
    }
    /// What it takes a core to block and to be woken by an interrupt.
    Wake = 29 {
        /// The core.
        core: CoreId,
        /// Nanoseconds.
        ns: u32,
    }
    /// The island whose knowledge this is: the only fact that is not for the others.
    Here = 28 {
        /// The island.
        home: IslandId,
    }
}
