//! The rules, over the index.

use crate::index::{Gap, Index};
use crate::slot::{Cap, Class, FLAG_BUSY, FLAG_REMOTE, Slot, SlotRef, Store};
use crate::types::{self, Size};
use skerry_abi::{CapType, CoreId, Error, PAGE_SIZE, Rights};

/// Capabilities over one another that [`Db::adopt`] looks at, copies counted once.
const MAX_LAYERS: u32 = 32;

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

/// All capabilities of one core, in two indices, so that what a retype asks is short. RAM nests to any depth, but there is
/// little of it. What is made of RAM begins on pages of its own; endpoints nest in their dispatcher's one page. So whatever is
/// in the way of a new object is its neighbour.
#[derive(Clone, Copy, Debug)]
pub struct Db {
    core: CoreId,
    ram: Index,
    rest: Index,
}

impl Db {
    /// The empty database of `core`.
    pub const fn new(core: CoreId) -> Self {
        Self { core, ram: Index::new(true), rest: Index::new(false) }
    }

    const fn index(&mut self, ty: CapType) -> &mut Index {
        if matches!(ty, CapType::Ram) { &mut self.ram } else { &mut self.rest }
    }

    const fn index_of(&self, ty: CapType) -> &Index {
        if matches!(ty, CapType::Ram) { &self.ram } else { &self.rest }
    }

    fn indexed<S: Store>(&mut self, store: &S, at: SlotRef) -> &mut Index {
        if store.slot(at).is(CapType::Ram) { &mut self.ram } else { &mut self.rest }
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
        self.index(cap.ty).insert(store, at);
        Ok(())
    }

    /// Puts `cap`, for memory that another core owns, into the empty slot `at`.
    ///
    /// # Errors
    /// [`Error::Overlap`] if the memory is this core's: an object, or RAM that it has not given to that owner, so that
    /// nobody can map what the CPU driver keeps there. [`Error::Full`] if too much lies there to look at.
    /// [`Error::SlotInUse`].
    pub fn adopt<S: Store>(&mut self, store: &mut S, at: SlotRef, cap: &Cap) -> Result<(), Error> {
        let (mut innermost, mut layers) = (cap.owner, 0..MAX_LAYERS);
        let mut found = self.ram.overlap_after(store, Class::FIRST, cap.base, cap.end());
        while !found.is_none() {
            let over = store.slot(found).cap().ok_or(Error::EmptySlot)?;
            if over.base <= cap.base && over.end() >= cap.end() {
                // What holds more comes first, so the last one that holds all of it is who it was given to.
                innermost = over.owner;
            } else if over.owner != cap.owner {
                return Err(Error::Overlap);
            }
            layers.next().ok_or(Error::Full)?;
            found = self.ram.overlap_after(store, store.slot(found).class(), cap.base, cap.end());
        }
        // Of this core's own objects only the one before can reach in: they do not nest, nor do others lie in them.
        let Gap { before, after: mut found } =
            self.rest.gap(store, &(Class::first_at(cap.base), SlotRef::NONE));
        if !before.is_none() && store.slot(before).far() > cap.base {
            found = before;
        }
        while !found.is_none() && store.slot(found).place < cap.end() {
            let slot = store.slot(found);
            if [CapType::VNode, CapType::CNode, CapType::Dispatcher].into_iter().any(|ty| slot.is(ty)) {
                return Err(Error::Overlap);
            }
            layers.next().ok_or(Error::Full)?;
            found = self.rest.upper_bound(store, slot.class());
        }
        if innermost == cap.owner { self.insert(store, at, cap) } else { Err(Error::Overlap) }
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

    /// Checks a retype of `from`; answers the source capability and where in its index the first object belongs.
    ///
    /// # Errors
    /// [`Error::EmptySlot`], [`Error::Busy`], [`Error::Remote`] (another core owns it or holds copies),
    /// [`Error::NoRight`], [`Error::BadRetype`], [`Error::BadArgument`], [`Error::Overlap`].
    fn check_retype<S: Store>(
        &self,
        store: &S,
        from: SlotRef,
        what: &Retype,
        to: SlotRef,
    ) -> Result<(Cap, Option<Gap>), Error> {
        let slot = store.slot(from);
        let source = slot.cap().ok_or(Error::EmptySlot)?;
        let (info, new) = (types::of(source.ty), types::of(what.ty));
        if !info.children.contains(what.ty) {
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
        let start = source.base.wrapping_add(what.offset);
        let total = what.len.checked_mul(u64::from(what.count)).ok_or(Error::BadArgument)?;
        let end = what.offset.checked_add(total).ok_or(Error::BadArgument)?;
        let fits = match new.size {
            Size::Bytes(bytes) => what.len == bytes && start.is_multiple_of(PAGE_SIZE),
            Size::Pages => (what.len | start).is_multiple_of(PAGE_SIZE),
            Size::Any => true,
        };
        let level_ok = what.level < if what.ty == CapType::VNode { 4 } else { 1 };
        // A sub-range of the same type must be shorter, or it would be a copy in disguise.
        let copy = what.ty == source.ty && what.len == source.len;
        if !fits || !level_ok || total == 0 || end > source.len || copy {
            return Err(Error::BadArgument);
        }
        if !info.exclusive {
            return Ok((source, None));
        }
        let stop = start + total;
        // RAM nests. Mostly no other was made of this one: then what comes next is behind it.
        let next = self.ram.beside(store, from, 1);
        if !next.is_none() && store.slot(next).place < source.end() {
            let own = Class::new(source.ty, source.base, source.len);
            if !self.ram.overlap_after(store, own, start, stop).is_none() {
                return Err(Error::Overlap);
            }
        }
        let gap = self.rest.gap(store, &(Class::new(what.ty, start, what.len), to));
        if (!gap.after.is_none() && store.slot(gap.after).place < stop)
            || (!gap.before.is_none() && store.slot(gap.before).far() > start)
        {
            return Err(Error::Overlap);
        }
        Ok((source, (what.ty != CapType::Ram).then_some(gap)))
    }

    /// Makes `what.count` objects out of `from`; object *n* goes to the empty slot `dest(n)`. All or nothing. Answers where
    /// the first begins. The memory of types that must start as zero is the caller's to clear, before anyone sees it.
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
    ) -> Result<u64, Error> {
        let (source, mut gap) = self.check_retype(store, from, what, dest(0))?;
        for n in 0..what.count {
            if !store.slot(dest(n)).is_empty() {
                return Err(Error::SlotInUse);
            }
        }
        let start = source.base + what.offset;
        let mut cap = Cap::new(what.ty, start, what.len, self.core);
        (cap.rights, cap.level) = (source.rights & what.rights, what.level);
        let index = self.index(what.ty);
        for n in 0..what.count {
            let at = dest(n);
            store.slot_mut(at).fill(&cap);
            match gap.take() {
                Some(gap) => index.insert_at(store, at, gap),
                None => index.insert(store, at),
            }
            cap.base += what.len;
        }
        Ok(start)
    }

    /// Empties a slot. If no other for the same object is left on this core ([`has_copy`](Self::has_copy)), the caller
    /// undoes what the object did.
    ///
    /// # Errors
    /// [`Error::EmptySlot`], [`Error::Busy`], [`Error::Remote`] for the last of an object that other cores hold.
    pub fn delete<S: Store>(&mut self, store: &mut S, at: SlotRef) -> Result<(), Error> {
        let slot = store.slot(at);
        if slot.is_empty() {
            return Err(Error::EmptySlot);
        }
        if slot.has_flag(FLAG_BUSY) {
            return Err(Error::Busy);
        }
        if slot.has_flag(FLAG_REMOTE) && !self.has_copy(store, at) {
            return Err(Error::Remote);
        }
        self.indexed(store, at).remove(store, at);
        store.slot_mut(at).clear();
        Ok(())
    }

    /// Moves the capability in `from` to `to`, and what `to` held, if anything, to `from`.
    pub fn exchange<S: Store>(&mut self, store: &mut S, from: SlotRef, to: SlotRef) {
        for at in [from, to] {
            if !store.slot(at).is_empty() {
                self.indexed(store, at).remove(store, at);
            }
        }
        let (a, b) = (*store.slot(from), *store.slot(to));
        for (at, slot) in [(from, b), (to, a)] {
            *store.slot_mut(at) = slot;
            if !slot.is_empty() {
                self.indexed(store, at).insert(store, at);
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
        if copies && let Some(other) = self.other_copy(store, at) {
            return other;
        }
        self.made_of(store, at)
    }

    /// The first slot of what was made from this slot's object; none if there is nothing.
    fn made_of<S: Store>(&self, store: &S, at: SlotRef) -> SlotRef {
        let slot = store.slot(at);
        let Some(cap) = slot.cap() else { return SlotRef::NONE };
        let inside = |found: SlotRef| !found.is_none() && store.slot(found).place < slot.far();
        let found = self.index_of(cap.ty).upper_bound(store, slot.class());
        if inside(found) {
            // Memory of another core may be adopted as frames that nest; none of them was made of another.
            let same = store.slot(found).cap().is_some_and(|it| it.ty == cap.ty);
            return if same && !types::of(cap.ty).children.contains(cap.ty) { SlotRef::NONE } else { found };
        }
        let found = self.rest.lower_bound(store, Class::first_at(slot.place));
        if cap.ty == CapType::Ram && inside(found) { found } else { SlotRef::NONE }
    }

    /// Whether another slot of this core holds the same object.
    pub fn has_copy<S: Store>(&self, store: &S, at: SlotRef) -> bool {
        self.other_copy(store, at).is_some()
    }

    fn other_copy<S: Store>(&self, store: &S, at: SlotRef) -> Option<SlotRef> {
        let index = if store.slot(at).is(CapType::Ram) { &self.ram } else { &self.rest };
        index.copy_of(store, at)
    }

    /// Whether anything made from this slot's object exists on this core.
    pub fn has_descendant<S: Store>(&self, store: &S, at: SlotRef) -> bool {
        !self.made_of(store, at).is_none()
    }

    /// A slot that holds the object of type `ty` at `base..base + len`.
    pub fn find<S: Store>(&self, store: &S, ty: CapType, base: u64, len: u64) -> Option<SlotRef> {
        let class = Class::new(ty, base, len);
        let at = self.index_of(ty).lower_bound(store, class);
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
        self.ram.check(store) + self.rest.check(store)
    }
}
