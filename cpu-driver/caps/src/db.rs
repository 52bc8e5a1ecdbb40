//! The rules, over the index.

use crate::index::Index;
use crate::slot::{Cap, Class, FLAG_BUSY, FLAG_REMOTE, Slot, SlotRef, Store};
use crate::types::{self, Size};
use skerry_abi::{CapType, CoreId, Error, PAGE_SIZE, Rights};

/// Capabilities over one another that [`Db::adopt`] looks at, copies counted once.
const MAX_LAYERS: u32 = 32;

/// The last capability for an object has gone: whoever called must undo what the object did.
pub type Object = Cap;

/// What a retype makes.
#[derive(Clone, Copy, Debug)]
pub struct Retype {
    /// The new type.
    pub ty: CapType,
    /// VNode: level, 0 to 3. Else 0.
    pub level: u8,
    /// The new capabilities have the source's rights, less what is not in here.
    pub rights: Rights,
    /// Offset of the first object in the source, in the units of its space.
    pub offset: u64,
    /// Length of each object.
    pub len: u64,
    /// How many, one after another.
    pub count: u32,
}

/// All capabilities of one core.
#[derive(Clone, Copy, Debug)]
pub struct Db {
    core: CoreId,
    index: Index,
}

impl Db {
    /// The empty database of `core`.
    pub const fn new(core: CoreId) -> Self {
        Self { core, index: Index::new() }
    }

    /// Puts `cap` into the empty slot `at`. For the CPU driver's boot and for adopted capabilities: no rule is checked
    /// but that the slot is free.
    ///
    /// # Errors
    /// [`Error::SlotInUse`].
    pub fn insert<S: Store>(&mut self, store: &mut S, at: SlotRef, cap: &Cap) -> Result<(), Error> {
        if !store.slot(at).is_empty() {
            return Err(Error::SlotInUse);
        }
        store.slot_mut(at).fill(cap);
        self.index.insert(store, at);
        Ok(())
    }

    /// Puts `cap`, for memory that another core owns, into the empty slot `at`.
    ///
    /// # Errors
    /// [`Error::Overlap`] if the memory is this core's: an object, or RAM that it has not given to that owner, so that
    /// nobody can map what the CPU driver keeps there. [`Error::Full`] if too much lies there to look at.
    /// [`Error::SlotInUse`].
    pub fn adopt<S: Store>(&mut self, store: &mut S, at: SlotRef, cap: &Cap) -> Result<(), Error> {
        let (mut after, mut innermost) = (Class::FIRST, cap.owner);
        for _ in 0..MAX_LAYERS {
            let found = self.index.overlap_after(store, after, cap.base, cap.end());
            if found.is_none() {
                return if innermost == cap.owner {
                    self.insert(store, at, cap)
                } else {
                    Err(Error::Overlap)
                };
            }
            let slot = store.slot(found);
            let over = slot.cap().ok_or(Error::EmptySlot)?;
            let around = over.base <= cap.base && over.end() >= cap.end();
            match over.ty {
                // What holds more comes first, so the last one that holds all of it is who it was given to.
                CapType::Ram if around => innermost = over.owner,
                CapType::Ram if over.owner != cap.owner => return Err(Error::Overlap),
                CapType::VNode | CapType::CNode | CapType::Dispatcher => return Err(Error::Overlap),
                _ => {}
            }
            after = slot.class();
        }
        Err(Error::Full)
    }

    /// Copies `from` to the empty slot `to`, with at most the rights in `mask`. The copy's own word starts at zero,
    /// except for an endpoint, whose event bits are what it is.
    ///
    /// # Errors
    /// [`Error::EmptySlot`], [`Error::NoRight`] (without `GRANT`), [`Error::Busy`], [`Error::SlotInUse`].
    pub fn copy<S: Store>(
        &mut self,
        store: &mut S,
        from: SlotRef,
        to: SlotRef,
        mask: Rights,
    ) -> Result<(), Error> {
        let slot = store.slot(from);
        let mut cap = slot.cap().ok_or(Error::EmptySlot)?;
        if slot.has_flag(FLAG_BUSY) {
            return Err(Error::Busy);
        }
        if !cap.rights.contains(Rights::GRANT) {
            return Err(Error::NoRight);
        }
        let remote = slot.has_flag(FLAG_REMOTE);
        cap.rights &= mask;
        if cap.ty != CapType::Endpoint {
            cap.extra = 0;
        }
        self.insert(store, to, &cap)?;
        store.slot_mut(to).set_flag(FLAG_REMOTE, remote);
        Ok(())
    }

    /// Checks a retype of `from`; answers the source capability.
    ///
    /// # Errors
    /// [`Error::EmptySlot`], [`Error::Busy`], [`Error::Remote`] (another core owns it or holds copies),
    /// [`Error::NoRight`], [`Error::BadRetype`], [`Error::BadArgument`], [`Error::Overlap`].
    fn check_retype<S: Store>(&self, store: &S, from: SlotRef, what: &Retype) -> Result<Cap, Error> {
        let slot = store.slot(from);
        let source = slot.cap().ok_or(Error::EmptySlot)?;
        let (info, new) = (types::of(source.ty), types::of(what.ty));
        if !info.children.contains(&what.ty) {
            return Err(Error::BadRetype);
        }
        if !source.rights.contains(Rights::GRANT) {
            return Err(Error::NoRight);
        }
        if slot.has_flag(FLAG_BUSY) {
            return Err(Error::Busy);
        }
        if source.owner != self.core || (info.exclusive && slot.has_flag(FLAG_REMOTE)) {
            return Err(Error::Remote);
        }
        let fits = match new.size {
            Size::Bytes(bytes) => what.len == bytes,
            Size::Pages => what.len.is_multiple_of(PAGE_SIZE),
            Size::Any => true,
        };
        let aligned =
            new.size == Size::Any || (source.base.wrapping_add(what.offset)).is_multiple_of(PAGE_SIZE);
        let level_ok = if what.ty == CapType::VNode { what.level < 4 } else { what.level == 0 };
        let total = what.len.checked_mul(u64::from(what.count)).ok_or(Error::BadArgument)?;
        let end = what.offset.checked_add(total).ok_or(Error::BadArgument)?;
        if !fits || !aligned || !level_ok || total == 0 || end > source.len {
            return Err(Error::BadArgument);
        }
        // A sub-range of the same type must be shorter, or it would be a copy in disguise.
        if what.ty == source.ty && what.len == source.len {
            return Err(Error::BadArgument);
        }
        if info.exclusive {
            let class = Class::new(source.ty, source.base, source.len);
            let start = class.place() + what.offset;
            if !self.index.overlap_after(store, class, start, start + total).is_none() {
                return Err(Error::Overlap);
            }
        }
        Ok(source)
    }

    /// Makes `what.count` objects out of `from`; object *n* goes to the empty slot `dest(n)`. All or nothing. Answers the
    /// source capability. The memory of types that must start as zero is the caller's to clear, before anyone sees it.
    ///
    /// # Errors
    /// [`Error::EmptySlot`], [`Error::Busy`], [`Error::Remote`] (another core owns it or holds copies),
    /// [`Error::NoRight`], [`Error::BadRetype`], [`Error::BadArgument`], [`Error::Overlap`], [`Error::SlotInUse`].
    pub fn retype<S: Store>(
        &mut self,
        store: &mut S,
        from: SlotRef,
        what: &Retype,
        dest: impl Fn(u32) -> SlotRef,
    ) -> Result<Cap, Error> {
        let source = self.check_retype(store, from, what)?;
        if (0..what.count).any(|n| !store.slot(dest(n)).is_empty()) {
            return Err(Error::SlotInUse);
        }
        for n in 0..what.count {
            let base = source.base + what.offset + u64::from(n) * what.len;
            let mut cap = Cap::new(what.ty, base, what.len, self.core);
            (cap.rights, cap.level) = (source.rights & what.rights, what.level);
            store.slot_mut(dest(n)).fill(&cap);
            self.index.insert(store, dest(n));
        }
        Ok(source)
    }

    /// Empties a slot. Answers the capability if no other for the same object is left on this core and no ancestor's
    /// holder could make it anew by mere copying: the caller then undoes what the object did.
    ///
    /// # Errors
    /// [`Error::EmptySlot`], [`Error::Busy`], [`Error::Remote`].
    pub fn delete<S: Store>(&mut self, store: &mut S, at: SlotRef) -> Result<Option<Object>, Error> {
        let slot = store.slot(at);
        let cap = slot.cap().ok_or(Error::EmptySlot)?;
        if slot.has_flag(FLAG_BUSY) {
            return Err(Error::Busy);
        }
        let last = !self.has_copy(store, at);
        if last && slot.has_flag(FLAG_REMOTE) {
            return Err(Error::Remote);
        }
        self.index.remove(store, at);
        store.slot_mut(at).clear();
        Ok(last.then_some(cap))
    }

    /// Moves the capability in `from` to `to`, and what `to` held, if anything, to `from`.
    pub fn exchange<S: Store>(&mut self, store: &mut S, from: SlotRef, to: SlotRef) {
        for at in [from, to] {
            if !store.slot(at).is_empty() {
                self.index.remove(store, at);
            }
        }
        let (a, b) = (*store.slot(from), *store.slot(to));
        for (at, slot) in [(from, b), (to, a)] {
            *store.slot_mut(at) = slot;
            if !slot.is_empty() {
                self.index.insert(store, at);
            }
        }
    }

    /// Checks that this core alone may revoke what is in slot `at`; answers it.
    ///
    /// # Errors
    /// [`Error::EmptySlot`], [`Error::Busy`], [`Error::Remote`] (another core owns it or holds copies).
    pub fn check_revoke<S: Store>(&self, store: &S, at: SlotRef) -> Result<Cap, Error> {
        let slot = store.slot(at);
        let cap = slot.cap().ok_or(Error::EmptySlot)?;
        if slot.has_flag(FLAG_BUSY) {
            return Err(Error::Busy);
        }
        if cap.owner != self.core || slot.has_flag(FLAG_REMOTE) {
            return Err(Error::Remote);
        }
        Ok(cap)
    }

    /// The next slot that a revocation of slot `at` must empty: a copy if `copies`, or anything made from its object.
    /// None: there is nothing left.
    pub fn next_revoked<S: Store>(&self, store: &S, at: SlotRef, copies: bool) -> SlotRef {
        let slot = store.slot(at);
        let class = slot.class();
        if copies && let Some(other) = self.other_copy(store, at) {
            return other;
        }
        let found = self.index.overlap_after(store, class, class.place(), slot.far());
        match (store.slot(at).cap(), (!found.is_none()).then(|| store.slot(found).cap()).flatten()) {
            // Memory of another core may be adopted as frames that nest; none of them was made of another.
            (Some(of), Some(it)) if it.ty == of.ty && !types::of(of.ty).children.contains(&it.ty) => {
                SlotRef::NONE
            }
            _ => found,
        }
    }

    /// Whether another slot of this core holds the same object.
    pub fn has_copy<S: Store>(&self, store: &S, at: SlotRef) -> bool {
        self.other_copy(store, at).is_some()
    }

    fn other_copy<S: Store>(&self, store: &S, at: SlotRef) -> Option<SlotRef> {
        let class = store.slot(at).class();
        let first = self.index.lower_bound(store, class);
        let other = if first == at { self.index.next(store, at) } else { first };
        (!other.is_none() && store.slot(other).class() == class).then_some(other)
    }

    /// Whether anything made from this slot's object exists on this core.
    pub fn has_descendant<S: Store>(&self, store: &S, at: SlotRef) -> bool {
        let slot = store.slot(at);
        let class = slot.class();
        !self.index.overlap_after(store, class, class.place(), slot.far()).is_none()
    }

    /// A slot that holds the object of type `ty` at `base..base + len`.
    pub fn find<S: Store>(&self, store: &S, ty: CapType, base: u64, len: u64) -> Option<SlotRef> {
        let class = Class::new(ty, base, len);
        let at = self.index.lower_bound(store, class);
        (!at.is_none() && store.slot(at).class() == class).then_some(at)
    }

    /// Gives the object in slot `at` to `owner`. From then on this core answers [`Error::Remote`] for it.
    ///
    /// # Errors
    /// [`Error::EmptySlot`]; [`Error::InUse`] if copies or descendants exist; [`Error::Remote`] if it is not this core's.
    pub fn disown<S: Store>(&mut self, store: &mut S, at: SlotRef, owner: CoreId) -> Result<(), Error> {
        let cap = store.slot(at).cap().ok_or(Error::EmptySlot)?;
        if cap.owner != self.core {
            return Err(Error::Remote);
        }
        if self.has_copy(store, at) || self.has_descendant(store, at) {
            return Err(Error::InUse);
        }
        let slot: &mut Slot = store.slot_mut(at);
        slot.set_owner(owner);
        slot.set_flag(FLAG_REMOTE, true);
        Ok(())
    }

    /// Checks every invariant of the index, and panics if one does not hold; the number of capabilities. For tests.
    #[doc(hidden)]
    pub fn check<S: Store>(&self, store: &S) -> usize {
        self.index.check(store)
    }
}
