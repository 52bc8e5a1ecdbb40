//! The one table of capability types.

use skerry_abi::cap::{CNODE_BYTES, DISPATCHER_BYTES};
use skerry_abi::{CapType, PAGE_SIZE};

/// What a capability's range counts. Ranges of different spaces never touch.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum Space {
    /// Bytes of physical memory.
    Memory = 0,
    /// Interrupt lines.
    Lines = 1,
    /// I/O ports.
    Ports = 2,
    /// Cores, by their names on the bus.
    Cores = 3,
    /// Nothing: there is one such object.
    Single = 4,
}

/// How long an object of a type is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Size {
    /// Exactly this many bytes, aligned to a page.
    Bytes(u64),
    /// Any multiple of a page.
    Pages,
    /// Any number of units.
    Any,
}

/// What holds for every capability of a type.
pub struct TypeInfo {
    /// What its range counts.
    pub space: Space,
    /// How long it is.
    pub size: Size,
    /// Distance from the types that are never derived: an ancestor's rank is lower, or equal with a longer range.
    pub rank: u8,
    /// Types it may be retyped to. Its own type means sub-ranges.
    pub children: Types,
    /// Retyping takes the range away from every other use.
    pub exclusive: bool,
    /// A fresh object must be zero before anyone sees it.
    pub zeroed: bool,
    /// A copy may be held by another core of the island. Only its owner writes to what the CPU driver reads: a page table.
    pub crosses_cores: bool,
    /// A copy may be held by another island.
    pub crosses_islands: bool,
}

/// A set of types.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Types(u16);

impl Types {
    /// These.
    pub const fn of(types: &[CapType]) -> Self {
        let (mut set, mut n) = (0, 0);
        while n < types.len() {
            set |= 1 << types[n] as u8;
            n += 1;
        }
        Self(set)
    }
    /// All of these but `ty`.
    pub const fn without(self, ty: CapType) -> Self {
        Self(self.0 & !(1 << ty as u8))
    }
    /// Whether it holds `ty`.
    pub const fn contains(self, ty: CapType) -> bool {
        self.0 >> ty as u8 & 1 != 0
    }
}

const fn info(space: Space, size: Size, rank: u8, children: &[CapType]) -> TypeInfo {
    TypeInfo {
        space,
        size,
        rank,
        children: Types::of(children),
        exclusive: false,
        zeroed: false,
        crosses_cores: false,
        crosses_islands: false,
    }
}

use CapType as T;

/// The table: one row a type, in the order of [`CapType::ALL`].
const TABLE: [TypeInfo; CapType::ALL.len()] = [
    // Ram
    TypeInfo {
        exclusive: true,
        crosses_cores: true,
        ..info(Space::Memory, Size::Pages, 0, &[T::Ram, T::Frame, T::VNode, T::CNode, T::Dispatcher])
    },
    // Frame
    TypeInfo { crosses_cores: true, ..info(Space::Memory, Size::Pages, 1, &[]) },
    // DeviceFrame
    TypeInfo {
        crosses_cores: true,
        ..info(Space::Memory, Size::Pages, 0, &[T::DeviceFrame, T::WindowFrame])
    },
    // WindowFrame
    TypeInfo {
        crosses_cores: true,
        crosses_islands: true,
        ..info(Space::Memory, Size::Pages, 1, &[T::WindowFrame])
    },
    // VNode
    TypeInfo { zeroed: true, crosses_cores: true, ..info(Space::Memory, Size::Bytes(PAGE_SIZE), 1, &[]) },
    // CNode
    TypeInfo { zeroed: true, ..info(Space::Memory, Size::Bytes(CNODE_BYTES), 1, &[]) },
    // Dispatcher
    TypeInfo { zeroed: true, ..info(Space::Memory, Size::Bytes(DISPATCHER_BYTES), 1, &[]) },
    // Endpoint: made from a dispatcher by an operation of its own, which sets the event bits. On other cores the monitors
    // stand in for its dispatcher, with endpoints of their own.
    info(Space::Memory, Size::Bytes(DISPATCHER_BYTES), 2, &[]),
    // Irq
    info(Space::Lines, Size::Any, 0, &[T::Irq]),
    // IoPort
    info(Space::Ports, Size::Any, 0, &[T::IoPort]),
    // Core
    info(Space::Cores, Size::Any, 0, &[T::Core]),
    // Kernel
    info(Space::Single, Size::Any, 0, &[]),
];

/// What the index asks for at every step, packed: space, rank and type, by the type's number.
static ORDER: [u32; 16] = {
    let mut order = [0; 16];
    let mut n = 0;
    while n < TABLE.len() {
        let ty = CapType::ALL[n] as u32;
        order[ty as usize & 15] = (TABLE[n].space as u32) << 16 | (TABLE[n].rank as u32) << 8 | ty;
        n += 1;
    }
    order
};

/// The space of type number `raw`, and a number that orders its rank, then its type. 0 for what is no type.
#[inline]
pub(crate) fn order(raw: u8) -> (u8, u16) {
    let word = ORDER[usize::from(raw & 15)];
    ((word >> 16) as u8, word as u16)
}

/// What holds for every capability of type `ty`.
pub fn of(ty: CapType) -> &'static TypeInfo {
    // The discriminants are 1 to 12 in the order of the table (tested).
    static ROWS: [TypeInfo; CapType::ALL.len()] = TABLE;
    &ROWS[(ty as usize - 1) % ROWS.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn children_stay_in_their_space_and_never_lose_rank() {
        for ty in CapType::ALL {
            for child in CapType::ALL.into_iter().filter(|child| of(ty).children.contains(*child)) {
                assert_eq!(of(ty).space, of(child).space, "{ty:?} → {child:?}");
                assert!(of(ty).rank < of(child).rank || ty == child, "{ty:?} → {child:?}");
            }
        }
    }

    #[test]
    fn ram_alone_is_exclusive_and_never_leaves_its_island() {
        for ty in CapType::ALL {
            assert_eq!(of(ty).exclusive, ty == CapType::Ram, "{ty:?}");
        }
        assert!(!of(CapType::Ram).crosses_islands && !of(CapType::Frame).crosses_islands);
        assert!(of(CapType::WindowFrame).crosses_islands);
    }
}
