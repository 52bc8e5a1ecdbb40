//! A slot: one capability, and its place in the index.

use crate::types;
use skerry_abi::{CapType, CoreId, Rights};

/// Names a slot: on a real core its physical address, so that it stays valid wherever the CNode is mapped.
/// 0 names none.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default, Hash)]
#[repr(transparent)]
pub struct SlotRef(pub u64);

impl SlotRef {
    /// No slot.
    pub const NONE: Self = Self(0);
    /// Whether it names none.
    pub const fn is_none(self) -> bool {
        self.0 == 0
    }
}

/// Lends slots. A [`SlotRef`] that was put into an index must stay valid until it is taken out.
pub trait Store {
    /// The slot named `at`.
    fn slot(&self, at: SlotRef) -> &Slot;
    /// The same, to change.
    fn slot_mut(&mut self, at: SlotRef) -> &mut Slot;
}

/// A capability without its place. Every range ends below 2^60, so that nothing overflows: what comes from a user is checked.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Cap {
    /// What it refers to.
    pub ty: CapType,
    /// What the holder may do.
    pub rights: Rights,
    /// VNode: level of the table. Else 0.
    pub level: u8,
    /// First byte, line, port or core.
    pub base: u64,
    /// Length of the range.
    pub len: u64,
    /// The core that owns the object.
    pub owner: CoreId,
    /// The type's own word. Endpoint: its event bits. Frame or VNode: where this copy is mapped (see the kernel).
    pub extra: u64,
}

impl Cap {
    /// A capability with all rights and nothing in its own word.
    pub const fn new(ty: CapType, base: u64, len: u64, owner: CoreId) -> Self {
        Self { ty, rights: Rights::all(), level: 0, base, len, owner, extra: 0 }
    }

    /// Its object's class.
    #[inline]
    pub fn class(&self) -> Class {
        Class::new(self.ty, self.base, self.len)
    }

    /// First unit after the range.
    pub const fn end(&self) -> u64 {
        self.base + self.len
    }
}

/// Another core holds copies.
pub const FLAG_REMOTE: u8 = 1;
/// On the first of an object's copies: an operation between cores is under way.
pub const FLAG_BUSY: u8 = 2;

/// One capability, in a CNode or in a dispatcher object. All zero is empty.
#[derive(Clone, Copy, Debug, Default)]
#[repr(C, align(64))]
pub struct Slot {
    /// The space in the highest bits, then the base: see [`Class::place`].
    pub(crate) place: u64,
    len: u64,
    extra: u64,
    owner: u32,
    ty: u8,
    rights: u8,
    /// VNode level in the low half, `FLAG_*` in the high half.
    level_flags: u8,
    /// By how much the subtree behind it is higher than the one before it: -1 to 1; 2 either way while the index changes.
    pub(crate) lean: i8,
    /// What comes before it, and what comes after it.
    pub(crate) child: [SlotRef; 2],
    pub(crate) parent: SlotRef,
    /// Where ranges nest: the highest end of any in this slot's subtree.
    pub(crate) max_end: u64,
}

const _: () = assert!(size_of::<Slot>() as u64 == skerry_abi::cap::SLOT_BYTES);

impl Slot {
    /// Whether it holds nothing.
    pub const fn is_empty(&self) -> bool {
        self.ty == 0
    }

    /// Whether it holds a capability of type `ty`.
    #[inline]
    pub const fn is(&self, ty: CapType) -> bool {
        self.ty == ty as u8
    }

    /// Whether the CPU driver keeps what is its own in the object.
    pub(crate) const fn is_kept(&self) -> bool {
        const KEPT: u32 =
            1 << CapType::VNode as u32 | 1 << CapType::CNode as u32 | 1 << CapType::Dispatcher as u32;
        KEPT >> (self.ty & 31) & 1 != 0
    }

    /// Where the CNode lies that it holds a capability for and that may be looked into.
    #[inline]
    pub const fn readable_cnode(&self) -> Option<u64> {
        let readable = self.is(CapType::CNode) && self.rights & Rights::READ.bits() != 0;
        if readable { Some(self.place) } else { None }
    }

    /// The capability it holds.
    #[inline]
    pub fn cap(&self) -> Option<Cap> {
        let ty = CapType::from_raw(self.ty)?;
        Some(Cap {
            ty,
            rights: Rights::from_bits_truncate(self.rights),
            level: self.level(),
            base: self.place & ((1 << SPACE) - 1),
            len: self.len,
            owner: CoreId::from_raw(self.owner),
            extra: self.extra,
        })
    }

    /// Holds `cap` from here on. Its place in the index is the index's to write.
    pub(crate) fn fill(&mut self, cap: &Cap) {
        self.place = Class::new(cap.ty, cap.base, cap.len).place();
        (self.len, self.extra, self.owner) = (cap.len, cap.extra, cap.owner.raw());
        (self.ty, self.rights, self.level_flags) = (cap.ty as u8, cap.rights.bits(), cap.level & 0xf);
    }

    pub(crate) fn clear(&mut self) {
        *self = Self::default();
    }

    /// Sets the type's own word.
    pub fn set_extra(&mut self, extra: u64) {
        self.extra = extra;
    }

    /// Whether it has all these rights.
    pub const fn allows(&self, rights: Rights) -> bool {
        self.rights & rights.bits() == rights.bits()
    }

    /// Takes all rights away.
    pub fn disarm(&mut self) {
        self.rights = 0;
    }

    pub(crate) const fn level(&self) -> u8 {
        self.level_flags & 0xf
    }

    /// Who owns the object.
    pub const fn owner(&self) -> CoreId {
        CoreId::from_raw(self.owner)
    }

    /// Gives the object another owner.
    pub fn set_owner(&mut self, owner: CoreId) {
        self.owner = owner.raw();
    }

    /// Whether `flag` (a `FLAG_*`) is set.
    pub const fn has_flag(&self, flag: u8) -> bool {
        self.level_flags >> 4 & flag != 0
    }

    /// Sets or clears `flag`.
    pub const fn set_flag(&mut self, flag: u8, on: bool) {
        if on { self.level_flags |= flag << 4 } else { self.level_flags &= !(flag << 4) }
    }

    /// First unit after the range, in the numbering of [`Class::place`].
    #[inline]
    pub(crate) fn far(&self) -> u64 {
        self.place + self.len
    }

    /// Whether its class is this: the same as comparing the two.
    #[inline]
    pub fn is_of(&self, class: &Class) -> bool {
        self.place == class.place && self.len == !class.shortness && self.ty == class.rank_type as u8
    }

    /// Where it sorts: by space and base, longer ranges first, ancestors' types first; copies are equal.
    #[inline]
    pub fn class(&self) -> Class {
        Class { place: self.place, shortness: !self.len, rank_type: types::order(self.ty).1 }
    }
}

/// A capability's place in the order of the index, its slot's address aside. Two capabilities are copies of each other
/// if and only if their classes are equal.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Class {
    place: u64,
    shortness: u64,
    rank_type: u16,
}

/// The lowest bit of a space in a place.
const SPACE: u32 = 60;

impl Class {
    /// Comes before every capability's.
    pub(crate) const FIRST: Self = Self::first_at(0);

    /// That of the object of type `ty` at `base`, `len` long.
    #[inline]
    pub fn new(ty: CapType, base: u64, len: u64) -> Self {
        let (space, rank_type) = types::order(ty as u8);
        Self { place: u64::from(space) << SPACE | base, shortness: !len, rank_type }
    }

    /// Comes before everything that starts at `place`.
    pub(crate) const fn first_at(place: u64) -> Self {
        Self { place, shortness: 0, rank_type: 0 }
    }

    /// Whether it is RAM's.
    pub(crate) const fn is_ram(&self) -> bool {
        self.is(CapType::Ram)
    }

    /// Whether it is one of type `ty`.
    pub(crate) const fn is(&self, ty: CapType) -> bool {
        self.rank_type as u8 == ty as u8
    }

    /// First unit after the range, in the numbering of [`place`](Self::place).
    pub(crate) const fn far(&self) -> u64 {
        self.place + !self.shortness
    }

    /// The space and base, as one number that orders ranges of different spaces apart.
    pub(crate) const fn place(&self) -> u64 {
        self.place
    }
}
