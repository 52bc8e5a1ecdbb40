//! The rules, over the index.

use crate::index::{Gap, Index};
use crate::slot::{Cap, Class, FLAG_BUSY, FLAG_REMOTE, Slot, SlotRef, Store};
use crate::types::{self, Size};
use skerry_abi::cap::held;
use skerry_abi::{CapType, CoreId, Error, PAGE_SIZE, Rights};

/// Copies that [`Db::share`] marks at once.
const MARKS: u32 = 128;

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
    /// Every core with a say has agreed: neither a lock nor an owner nor copies elsewhere are in the way.
    pub agreed: bool,
}

/// All capabilities of one core, in two indices, so that what a retype asks is short. RAM nests to any depth, but there is
/// little of it. What is made of RAM begins on pages of its own; endpoints nest in their dispatcher's one page. So whatever is
/// in the way of a new object is its neighbour.
#[derive(Clone, Copy, Debug)]
pub struct Db {
    core: CoreId,
    pub(crate) ram: Index,
    pub(crate) rest: Index,
    /// Objects that are locked.
    locked: u32,
}

impl Db {
    /// The empty database of `core`.
    pub const fn new(core: CoreId) -> Self {
        Self { core, ram: Index::new(true), rest: Index::new(false), locked: 0 }
    }

    const fn index(&mut self, ty: CapType) -> &mut Index {
        if matches!(ty, CapType::Ram) { &mut self.ram } else { &mut self.rest }
    }

    const fn index_for(&self, class: &Class) -> &Index {
        if class.is_ram() { &self.ram } else { &self.rest }
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

    /// Puts `cap`, which came from another core, into the empty slot `at`: a copy of what is here, what another core owns, or
    /// what another core made of RAM of this one's.
    ///
    /// # Errors
    /// [`Error::Busy`]. [`Error::Overlap`] if the memory is this core's: an object, or RAM that it has neither given to that
    /// owner nor copies of, so that nobody can map what the CPU driver keeps there. [`Error::Full`] if too much lies there
    /// to look at. [`Error::SlotInUse`].
    pub fn adopt<S: Store>(&mut self, store: &mut S, at: SlotRef, mut cap: Cap) -> Result<(), Error> {
        let own = cap.owner == self.core;
        if let Some(first) = self.first(store, cap.class()) {
            let there = store.slot(first);
            if there.has_flag(FLAG_BUSY) {
                return Err(Error::Busy);
            }
            if there.owner() != cap.owner {
                return Err(Error::Overlap);
            }
            cap.level = there.level();
        } else {
            self.check_adopt(store, &cap, own)?;
        }
        self.insert(store, at, &cap)?;
        store.slot_mut(at).set_flag(FLAG_REMOTE, own);
        Ok(())
    }

    fn check_adopt<S: Store>(&self, store: &S, cap: &Cap, own: bool) -> Result<(), Error> {
        // Of RAM that others have copies of they may have made something that is not here yet; but what this CPU driver keeps
        // for itself it has made itself.
        if own && types::of(cap.ty).zeroed {
            return Err(Error::EmptySlot);
        }
        let (mut theirs, mut layers) = (!own, 0..MAX_LAYERS);
        let mut found = self.ram.overlap_after(store, Class::FIRST, cap.base, cap.end());
        while !found.is_none() {
            let slot = store.slot(found);
            let may = slot.owner() == cap.owner && (!own || slot.has_flag(FLAG_REMOTE));
            if slot.place <= cap.base && slot.far() >= cap.end() {
                // What holds more comes first, so the last one that holds all of it is who it was given to.
                theirs = may;
            } else if !may {
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
            if slot.is_kept() && slot.owner() == self.core || own && !slot.has_flag(FLAG_REMOTE) {
                return Err(Error::Overlap);
            }
            layers.next().ok_or(Error::Full)?;
            found = self.rest.upper_bound(store, slot.class());
        }
        if theirs { Ok(()) } else { Err(Error::Overlap) }
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
        if self.is_locked(store, from) {
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
        if self.locked > 0 || source.owner != self.core || slot.has_flag(FLAG_REMOTE) {
            self.check_others(store, from, what)?;
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
        if gap.touches(store, start, stop) {
            return Err(Error::Overlap);
        }
        Ok((source, (what.ty != CapType::Ram).then_some(gap)))
    }

    /// What other cores have to say to a retype of `from`.
    #[cold]
    #[inline(never)]
    fn check_others<S: Store>(&self, store: &S, from: SlotRef, what: &Retype) -> Result<(), Error> {
        let slot = store.slot(from);
        let theirs = slot.owner() != self.core;
        if !what.agreed && self.is_locked(store, from) {
            return Err(Error::Busy);
        }
        // Whatever was agreed, the CPU driver reaches its own memory only. To narrow a range takes nothing from anyone.
        let shared = slot.is(CapType::Ram) && slot.has_flag(FLAG_REMOTE);
        let refused = if what.agreed { theirs && types::of(what.ty).zeroed } else { theirs || shared };
        if refused { Err(Error::Remote) } else { Ok(()) }
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
        let mut cap = Cap::new(what.ty, start, what.len, source.owner);
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

    /// Checks that a slot may be emptied, by this core alone unless it is `agreed`; answers what is in it.
    ///
    /// # Errors
    /// [`Error::EmptySlot`], [`Error::Busy`], [`Error::Remote`] for the last of an object that other cores hold.
    pub fn check_delete<S: Store>(&self, store: &S, at: SlotRef, agreed: bool) -> Result<Cap, Error> {
        let slot = store.slot(at);
        let cap = slot.cap().ok_or(Error::EmptySlot)?;
        if !agreed && self.is_locked(store, at) {
            return Err(Error::Busy);
        }
        let last = !agreed && slot.has_flag(FLAG_REMOTE) && !self.has_copy(store, at);
        if last { Err(Error::Remote) } else { Ok(cap) }
    }

    /// Empties a full slot. If no other for the same object is left on this core ([`has_copy`](Self::has_copy)), the caller
    /// undoes what the object did.
    pub fn delete<S: Store>(&mut self, store: &mut S, at: SlotRef) {
        if store.slot(at).has_flag(FLAG_BUSY) {
            // The first of the copies: the lock is the next one's.
            match self.other_copy(store, at) {
                Some(next) => store.slot_mut(next).set_flag(FLAG_BUSY, true),
                None => self.locked -= 1,
            }
        }
        self.indexed(store, at).remove(store, at);
        store.slot_mut(at).clear();
    }

    /// Whether an operation between cores is under way on the object in slot `at`.
    #[inline]
    pub fn is_locked<S: Store>(&self, store: &S, at: SlotRef) -> bool {
        self.locked > 0 && self.first_is_locked(store, at)
    }

    #[inline(never)]
    fn first_is_locked<S: Store>(&self, store: &S, at: SlotRef) -> bool {
        self.first(store, store.slot(at).class()).is_some_and(|first| store.slot(first).has_flag(FLAG_BUSY))
    }

    /// Locks an object, or unlocks it: until then nothing but what was agreed on happens to it or its copies here. Of RAM
    /// that is locked for the part `start..stop`, nothing may be made there yet. Answers what is here, in the bits of
    /// [`held`]; of what is not, there is nothing to lock.
    ///
    /// # Errors
    /// [`Error::Overlap`]: nothing is locked then.
    pub fn lock<S: Store>(
        &mut self,
        store: &mut S,
        object: Class,
        on: bool,
        (start, stop): (u64, u64),
    ) -> Result<u64, Error> {
        if object.is_ram() && start < stop {
            let gap = self.rest.gap(store, &(Class::first_at(start), SlotRef::NONE));
            let ram = self.ram.overlap_after(store, object, start, stop);
            if !ram.is_none() || gap.touches(store, start, stop) {
                return Err(Error::Overlap);
            }
        }
        let mut here = if self.made_of(store, object).is_none() { 0 } else { held::MADE };
        if let Some(first) = self.first(store, object) {
            here |= held::COPY;
            let slot = store.slot_mut(first);
            if slot.has_flag(FLAG_BUSY) != on {
                slot.set_flag(FLAG_BUSY, on);
                self.locked = if on { self.locked + 1 } else { self.locked - 1 };
            }
        }
        Ok(here)
    }

    /// Notes on an object's copies, from slot `from` on, whether other cores hold some. Answers where to go on, or none if
    /// that was all. Whoever needs several calls keeps the object locked.
    pub fn share<S: Store>(&mut self, store: &mut S, object: Class, on: bool, from: SlotRef) -> SlotRef {
        let index = self.index_for(&object);
        let mut at = index.from(store, object, from);
        for _ in 0..MARKS {
            if at.is_none() || !store.slot(at).is_of(&object) {
                return SlotRef::NONE;
            }
            store.slot_mut(at).set_flag(FLAG_REMOTE, on);
            at = index.beside(store, at, 1);
        }
        at
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

    /// Checks that this core alone may revoke what is in slot `at`.
    ///
    /// # Errors
    /// [`Error::EmptySlot`], [`Error::Busy`], [`Error::Remote`] (another core owns it or holds copies).
    pub fn check_revoke<S: Store>(&self, store: &S, at: SlotRef) -> Result<(), Error> {
        let slot = store.slot(at);
        if slot.is_empty() {
            return Err(Error::EmptySlot);
        }
        if self.is_locked(store, at) {
            return Err(Error::Busy);
        }
        let others = slot.owner() != self.core || slot.has_flag(FLAG_REMOTE);
        if others { Err(Error::Remote) } else { Ok(()) }
    }

    /// The next slot that a revocation of an object must empty: a copy of it but those to `keep`, if `copies`, or anything
    /// made from it. None: there is nothing left.
    pub fn next_revoked<S: Store>(
        &self,
        store: &S,
        object: Class,
        keep: &[SlotRef],
        copies: bool,
    ) -> SlotRef {
        let index = self.index_for(&object);
        let mut at = if copies { index.lower_bound(store, object) } else { SlotRef::NONE };
        while !at.is_none() && store.slot(at).is_of(&object) {
            if !keep.contains(&at) {
                return at;
            }
            at = index.beside(store, at, 1);
        }
        self.made_of(store, object)
    }

    /// The first slot of what was made from an object; none if there is nothing.
    fn made_of<S: Store>(&self, store: &S, class: Class) -> SlotRef {
        let inside = |found: SlotRef| !found.is_none() && store.slot(found).place < class.far();
        let found = self.index_for(&class).upper_bound(store, class);
        if inside(found) {
            // Memory of another core may be adopted as frames that nest, and rings lie in their dispatcher; none of them was
            // made of another.
            let nest = |ty: CapType| class.is(ty) && store.slot(found).is(ty);
            return if nest(CapType::Frame) || nest(CapType::Endpoint) { SlotRef::NONE } else { found };
        }
        let found = self.rest.lower_bound(store, Class::first_at(class.place()));
        if class.is_ram() && inside(found) { found } else { SlotRef::NONE }
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
        !self.made_of(store, store.slot(at).class()).is_none()
    }

    /// A slot that holds the object of type `ty` at `base..base + len`.
    pub fn find<S: Store>(&self, store: &S, ty: CapType, base: u64, len: u64) -> Option<SlotRef> {
        self.first(store, Class::new(ty, base, len))
    }

    /// The first of the copies of a class.
    fn first<S: Store>(&self, store: &S, class: Class) -> Option<SlotRef> {
        let at = self.index_for(&class).lower_bound(store, class);
        (!at.is_none() && store.slot(at).is_of(&class)).then_some(at)
    }

    /// Gives the object in slot `at` to `owner`. From then on this core answers [`Error::Remote`] for it.
    ///
    /// # Errors
    /// [`Error::InUse`] if copies or descendants exist; those of [`check_revoke`](Self::check_revoke).
    pub fn disown<S: Store>(&mut self, store: &mut S, at: SlotRef, owner: CoreId) -> Result<(), Error> {
        self.check_revoke(store, at)?;
        if self.has_copy(store, at) || self.has_descendant(store, at) {
            return Err(Error::InUse);
        }
        let slot: &mut Slot = store.slot_mut(at);
        slot.set_owner(owner);
        slot.set_flag(FLAG_REMOTE, true);
        Ok(())
    }
}
