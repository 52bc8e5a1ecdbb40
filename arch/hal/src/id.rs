//! Names. A [`CoreId`] is unique across every island of a fleet; a [`HwId`] only on its own bus.

use core::fmt;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

macro_rules! id {
    ($(#[$doc:meta])* $name:ident($repr:ty)) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
        #[derive(FromBytes, IntoBytes, Immutable, KnownLayout)]
        #[repr(transparent)]
        pub struct $name(pub $repr);
    };
}

/// Which instruction set a core runs. The numbers are wire values.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
#[repr(u8)]
pub enum Isa {
    /// AMD64 / Intel 64, long mode.
    X86_64 = 1,
    /// Armv8-A or later, AArch64 state.
    Aarch64 = 2,
    /// The simulated machine of `arch/host`.
    Host = 3,
}

impl Isa {
    /// The ISA with this wire value.
    pub const fn from_wire(value: u8) -> Option<Self> {
        match value {
            1 => Some(Self::X86_64),
            2 => Some(Self::Aarch64),
            3 => Some(Self::Host),
            _ => None,
        }
    }

    /// The name that users see: `x86_64`, `aarch64`, `host`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::X86_64 => "x86_64",
            Self::Aarch64 => "aarch64",
            Self::Host => "host",
        }
    }
}

impl fmt::Display for Isa {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

id! {
    /// An island: cores that share coherent memory and were started by one firmware.
    IslandId(u16)
}

impl fmt::Display for IslandId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

/// A core, unique in the whole system: island number in the high half, number within the island in the low half.
/// Written `island.local`, as in `1.3`.
#[derive(
    Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
#[repr(transparent)]
pub struct CoreId(u32);

impl CoreId {
    /// Core `local` of island `island`.
    pub const fn new(island: IslandId, local: u16) -> Self {
        Self((island.0 as u32) << 16 | local as u32)
    }

    /// The island this core belongs to.
    pub const fn island(self) -> IslandId {
        IslandId((self.0 >> 16) as u16)
    }

    /// The core's number within its island; 0 is the core the firmware started.
    pub const fn local(self) -> u16 {
        self.0 as u16
    }

    /// The wire value.
    pub const fn raw(self) -> u32 {
        self.0
    }

    /// The core with this wire value. Every value names a core; whether it exists is for the membership to say.
    pub const fn from_raw(raw: u32) -> Self {
        Self(raw)
    }

    /// Parses `island.local`.
    pub fn parse(text: &str) -> Option<Self> {
        let (island, local) = text.split_once('.')?;
        Some(Self::new(IslandId(island.parse().ok()?), local.parse().ok()?))
    }
}

impl fmt::Display for CoreId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.island(), self.local())
    }
}

impl fmt::Debug for CoreId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

id! {
    /// How often an island has joined the system. An island that was given up may only return with a higher one.
    /// 0 means "never joined".
    Epoch(u32)
}

impl Epoch {
    /// The epoch after this one. Saturates: an island that used up 2³² epochs stays out.
    pub const fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }
}

impl fmt::Display for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

id! {
    /// A core's name on its own bus: the local APIC ID on x86, the affinity fields of `MPIDR_EL1` on ARM.
    HwId(u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn core_id_round_trips_through_text_and_wire() {
        for (island, local) in [(0, 0), (1, 3), (65535, 65535)] {
            let core = CoreId::new(IslandId(island), local);
            assert_eq!(CoreId::parse(&core.to_string()), Some(core));
            assert_eq!(CoreId::from_raw(core.raw()), core);
            assert_eq!((core.island(), core.local()), (IslandId(island), local));
        }
    }

    #[test]
    fn core_id_rejects_what_is_no_core() {
        for text in ["", "1", "1.", ".1", "a.b", "70000.0", "1.2.3", "-1.0"] {
            assert_eq!(CoreId::parse(text), None, "{text}");
        }
    }
}
