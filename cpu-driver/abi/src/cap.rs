//! Capability types, rights, and how a capability is named.

use bitflags::bitflags;
use core::fmt;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

skerry_hal::numbered! {
    /// What a capability refers to. Which type may become which, and what may cross cores and islands, is the table in
    /// `cpu-driver/caps`.
    #[derive(PartialOrd, Ord, Hash)]
    pub enum CapType: u8 {
        /// Memory that has no use yet. The only type memory objects are made from.
        Ram = 1,
        /// Memory that can be mapped.
        Frame = 2,
        /// Device registers that can be mapped. Not RAM: never retyped to anything else.
        DeviceFrame = 3,
        /// Part of a window: memory shared with another island. May cross islands.
        WindowFrame = 4,
        /// A page table of level 0 (leaf) to 3 (root); 4 KiB.
        VNode = 5,
        /// A table of capability slots: 256 slots of 64 bytes, 16 KiB.
        CNode = 6,
        /// A domain's presence on a core; one page.
        Dispatcher = 7,
        /// The right to signal a dispatcher.
        Endpoint = 8,
        /// A range of interrupt lines.
        Irq = 9,
        /// A range of I/O ports (x86).
        IoPort = 10,
        /// A range of cores, by their names on the bus: the right to start or ring them.
        Core = 11,
        /// A monitor's authority over its own CPU driver.
        Kernel = 12,
    }
}

bitflags! {
    /// What the holder may do. A copy never has more than its source.
    #[derive(Clone, Copy, PartialEq, Eq, Debug)]
    pub struct Rights: u8 {
        /// Map for loads; look inside.
        const READ = 1;
        /// Map for stores; change.
        const WRITE = 2;
        /// Map for instruction fetch.
        const EXECUTE = 4;
        /// Make copies, retype, and revoke what was made.
        const GRANT = 8;
        /// `Kernel`: write to the early console.
        const CONSOLE = 16;
        /// All: revoke other copies. `Kernel`: adopt and disown capabilities, power off. `Core`: start cores.
        const CONTROL = 32;
        /// `Core`: ring doorbells. `Endpoint`: signal.
        const SIGNAL = 64;
    }
}

/// Names a capability in the caller's capability space: the index of a CNode in the root CNode, times
/// [`CNODE_SLOTS`], plus the slot in that CNode.
#[derive(
    Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
#[repr(transparent)]
pub struct CPtr(pub u32);

impl CPtr {
    /// Names nothing, in every capability space.
    pub const NULL: Self = Self(0);

    /// Slot `slot` of the CNode at index `node` of the root.
    pub const fn new(node: u32, slot: u32) -> Self {
        Self(node * CNODE_SLOTS + slot)
    }
    /// Index in the root CNode.
    pub const fn node(self) -> u32 {
        self.0 / CNODE_SLOTS
    }
    /// Slot in the CNode.
    pub const fn slot(self) -> u32 {
        self.0 % CNODE_SLOTS
    }
}

impl fmt::Debug for CPtr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.node(), self.slot())
    }
}

/// What a core has of an object: the bits that [`Op::Mark`](crate::Op::Mark) answers.
pub mod held {
    /// A capability for it.
    pub const COPY: u64 = 1;
    /// Something that was made of it.
    pub const MADE: u64 = 2;
}

/// What [`Op::Mark`](crate::Op::Mark) does.
pub mod mark {
    /// The object is locked no more.
    pub const UNLOCK: u32 = 0;
    /// It is locked: it answers `Busy` to all but what was agreed on.
    pub const LOCK: u32 = 1;
    /// No other core has a copy.
    pub const UNSHARE: u32 = 2;
    /// Other cores have copies.
    pub const SHARE: u32 = 3;
}

/// Slots in a CNode, the root included.
pub const CNODE_SLOTS: u32 = 256;
/// Bytes in a slot.
pub const SLOT_BYTES: u64 = 64;
/// Bytes in a CNode.
pub const CNODE_BYTES: u64 = CNODE_SLOTS as u64 * SLOT_BYTES;
/// Bytes in a dispatcher object.
pub const DISPATCHER_BYTES: u64 = 4096;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_round_trip() {
        for (index, ty) in CapType::ALL.into_iter().enumerate() {
            assert_eq!(ty as usize, index + 1);
            assert_eq!(CapType::from_raw(ty as u8), Some(ty));
        }
        assert_eq!(CapType::from_raw(0), None);
        assert_eq!(CapType::from_raw(13), None);
    }

    #[test]
    fn cptr_splits() {
        let cptr = CPtr::new(3, 17);
        assert_eq!((cptr.node(), cptr.slot()), (3, 17));
    }
}
