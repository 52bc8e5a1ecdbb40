//! What changes an address space, run by run. The ranges that come in here were checked.

use super::runs::{Cut, Hold, MAX_EXECUTABLE, Node, Run, cuts};
use super::{Backing, Space, VmError, object, range, sound};
use crate::cap::clear_all;
use crate::mem::{Memory, What};
use skerry_abi::{CPtr, CapType, Error, PAGE_SIZE, Rights};
use skerry_hal::MapFlags;
use skerry_hal::addr::LARGE_PAGE;
use skerry_hal::paging::ENTRIES;

/// From so many entries on, unmapping them pays an invocation of its own.
const MANY: u16 = 64;

/// A capability whose run was cut up. It must not be deleted before its whole range is free: the CPU driver would take
/// away whatever of the same frame is mapped there by then.
#[derive(Clone, Copy, Debug)]
pub(super) struct Holed {
    start: u64,
    end: u64,
    hold: Hold,
    base: u64,
    /// Runs that it still maps.
    runs: u32,
}

/// Changes the flags of `at..stop`, which lies in one run of a table.
#[inline]
fn reflag_part(node: &Node, (at, stop): (u64, u64), flags: MapFlags) -> Result<(), VmError> {
    let (mut first, end) = node.entries(at, stop);
    let most = if flags.contains(MapFlags::EXECUTE) { MAX_EXECUTABLE as u16 } else { ENTRIES as u16 };
    while first < end {
        let count = (end - first).min(most);
        let done = node.table().protect(first.into(), count.into(), flags);
        first += done.map_err(refused("protecting"))? as u16;
    }
    Ok(())
}

const fn refused(doing: &'static str) -> impl Fn(Error) -> VmError {
    move |error| VmError::Refused(doing, error)
}

impl Space {
    /// Checks that something may be mapped with `flags`; the first address after the range.
    #[inline]
    pub(super) fn vacant(&mut self, va: u64, len: u64, flags: MapFlags) -> Result<u64, VmError> {
        let end = range(va, len)?;
        sound(flags)?;
        if !self.ranges.allows(va, end) {
            return Err(VmError::NotReserved(va));
        }
        match self.tables.first_in(va, end) {
            Some(at) => Err(VmError::Occupied(at)),
            None => Ok(end),
        }
    }

    /// Where the run is that a range of small pages lies in, if it is one.
    #[inline]
    pub(super) fn in_one_run(&self, va: u64, end: u64) -> Option<((usize, usize), Run)> {
        let at = self.tables.find(va)?;
        let (node, run) = self.tables.run(at);
        (node.level == 0 && end <= node.addresses(run.first, run.end).1).then_some((at, run))
    }

    /// Checks that all of a range is mapped, large pages wholly in or out.
    pub(super) fn covered(&self, va: u64, end: u64) -> Result<(), VmError> {
        let mut at = va;
        while at < end {
            let (node, run) = self.tables.run(self.tables.find(at).ok_or(VmError::NotMapped(at))?);
            let (start, stop) = node.addresses(run.first, run.end);
            if node.level > 0 {
                let inside = |edge: &u64| *edge > start && *edge < stop && !edge.is_multiple_of(LARGE_PAGE);
                if let Some(edge) = [va, end].into_iter().find(inside) {
                    return Err(VmError::InLargePage(edge));
                }
            }
            at = stop;
        }
        Ok(())
    }

    /// Maps `backing` at the vacant range `va..end`; `pa` is its physical address, if pages may be large.
    pub(super) fn place(
        &mut self,
        mem: &mut Memory,
        (va, end): (u64, u64),
        backing: &Backing,
        pa: Option<u64>,
        flags: MapFlags,
    ) -> Result<(), VmError> {
        let most = if flags.contains(MapFlags::EXECUTE) { MAX_EXECUTABLE } else { ENTRIES as u64 };
        for cut in cuts(va, end, most, pa) {
            // A slot remembers one place: the caller's own capability serves the first run.
            let lent = backing.hold == Hold::Lent && cut.va == va;
            let offset = backing.offset + (cut.va - va);
            let frame = backing.frame;
            let mut done =
                if lent { self.map_cut(mem, &cut, (frame, Hold::Lent, 0), offset, flags) } else { Ok(()) };
            // It may be mapped elsewhere already.
            if !lent || done == Err(VmError::Refused("mapping", Error::Mapped)) {
                done = mem.copy(frame, Rights::all()).map_err(VmError::from).and_then(|copy| {
                    self.map_cut(mem, &cut, (copy, Hold::Copy, 0), offset, flags).inspect_err(|_| {
                        if let Err(error) = mem.delete(copy) {
                            ::log::warn!("a copy of a frame stays: {error}");
                        }
                    })
                });
            }
            if let Err(error) = done {
                return self.give_up(mem, va, cut.va, error);
            }
        }
        Ok(())
    }

    #[inline]
    fn map_cut(
        &mut self,
        mem: &mut Memory,
        cut: &Cut,
        (cap, hold, base): (CPtr, Hold, u64),
        offset: u64,
        flags: MapFlags,
    ) -> Result<(), VmError> {
        if cut.level == 1 {
            // Where a table hangs no large page can: it is empty, since the range is.
            for at in (cut.va..cut.end).step_by(LARGE_PAGE as usize) {
                self.tables.make_way(mem, at);
            }
        }
        let place = self.tables.get(mem, cut.level, cut.va)?;
        let node = self.tables.node_mut(place);
        let (first, end) = node.entries(cut.va, cut.end);
        let count = u32::from(end - first);
        node.table().map(first.into(), count, cap, flags, offset).map_err(refused("mapping"))?;
        node.insert(Run::new((first, end), cap, hold, base));
        Ok(())
    }

    /// Fills a vacant range with new frames, which are cleared first if `zero`.
    pub(super) fn fill(
        &mut self,
        mem: &mut Memory,
        (va, end): (u64, u64),
        flags: MapFlags,
        zero: bool,
    ) -> Result<(), VmError> {
        // Before anything is taken: what cannot be had in full is not had in part, nor asked of the server in part.
        mem.ensure(end - va)?;
        let (mut at, mut most) = (va, LARGE_PAGE);
        while at < end {
            let executable = flags.contains(MapFlags::EXECUTE);
            let large =
                at.is_multiple_of(LARGE_PAGE) && end - at >= LARGE_PAGE && most == LARGE_PAGE && !executable;
            let border = ((at & !(LARGE_PAGE - 1)) + LARGE_PAGE).min(end);
            let most_here = if executable { MAX_EXECUTABLE * PAGE_SIZE } else { LARGE_PAGE };
            let len = (border - at).min(most).min(most_here);
            let align = if large { LARGE_PAGE } else { PAGE_SIZE };
            let (ty, level) = (CapType::Frame, 0);
            let done = mem.make_what(&What { ty, level, len, align, node: None }).map_err(VmError::from);
            let done = done.and_then(|frame| {
                let cut = Cut { va: at, end: at + len, level: large.into() };
                let cleared = if zero { clear_all(frame.cap, len) } else { Ok(()) };
                let mapped = cleared
                    .map_err(refused("clearing"))
                    .and_then(|()| self.map_cut(mem, &cut, (frame.cap, Hold::Own, frame.base), 0, flags));
                mapped.or_else(|error| {
                    mem.free(frame)?;
                    Err(error)
                })
            });
            match done {
                Ok(()) => at += len,
                // No such piece: smaller ones will do.
                Err(VmError::Memory(error)) if error.is_lack() && len > PAGE_SIZE => {
                    most = (len / 2).next_multiple_of(PAGE_SIZE);
                }
                Err(error) => return self.give_up(mem, va, at, error),
            }
        }
        Ok(())
    }

    /// Takes away what of a range was mapped, up to `at`; tables that were made for more go too.
    fn give_up(&mut self, mem: &mut Memory, va: u64, at: u64, error: VmError) -> Result<(), VmError> {
        self.clear(mem, va, at)?;
        self.tables.keep_spare(mem, at);
        Err(error)
    }

    /// Changes the flags of a range.
    pub(super) fn reflag(&mut self, va: u64, end: u64, flags: MapFlags) -> Result<(), VmError> {
        if let Some(((place, _), _)) = self.in_one_run(va, end) {
            return reflag_part(self.tables.node(place), (va, end), flags);
        }
        self.covered(va, end)?;
        let mut at = va;
        while at < end {
            let (node, run) = self.tables.run(self.tables.find(at).ok_or(VmError::NotMapped(at))?);
            let stop = node.addresses(run.first, run.end).1.min(end);
            reflag_part(node, (at, stop), flags)?;
            at = stop;
        }
        Ok(())
    }

    /// Removes whatever is mapped in `va..end`, which no large page reaches out of.
    pub(super) fn clear(&mut self, mem: &mut Memory, va: u64, end: u64) -> Result<(), VmError> {
        let mut at = va;
        while let Some(start) = self.tables.first_in(at, end) {
            let (node, run) = self.tables.run(self.tables.find(start).ok_or(VmError::NotMapped(start))?);
            at = node.addresses(run.first, run.end).1.min(end);
            self.remove(mem, start, at)?;
        }
        Ok(())
    }

    /// Removes the range `va..end`, all of which is mapped.
    pub(super) fn remove(&mut self, mem: &mut Memory, va: u64, end: u64) -> Result<(), VmError> {
        let mut at = va;
        while at < end {
            let place = self.tables.find(at).ok_or(VmError::NotMapped(at))?;
            let (node, run) = self.tables.run(place);
            let stop = node.addresses(run.first, run.end).1.min(end);
            self.remove_one(mem, place, &run, at, stop)?;
            at = stop;
        }
        Ok(())
    }

    /// Removes `at..stop`, which lies in a run, and what is not needed then.
    #[inline]
    pub(super) fn remove_one(
        &mut self,
        mem: &mut Memory,
        place: (usize, usize),
        run: &Run,
        at: u64,
        stop: u64,
    ) -> Result<(), VmError> {
        self.remove_part(mem, place, run, at, stop)?;
        self.tables.left(mem, place.0, at);
        if !self.holed.is_empty() {
            self.sweep(mem);
        }
        Ok(())
    }

    #[inline]
    fn remove_part(
        &mut self,
        mem: &mut Memory,
        (place, nth): (usize, usize),
        run: &Run,
        at: u64,
        stop: u64,
    ) -> Result<(), VmError> {
        let node = self.tables.node_mut(place);
        let (first, end) = node.entries(at, stop);
        let empty = |node: &Node| {
            let count = u32::from(end - first);
            node.table().unmap(first.into(), count, at).map_err(refused("unmapping"))
        };
        let whole = (first, end) == (run.first, run.end);
        let holed = !self.holed.is_empty() && self.holed.contains_key(&run.cap);
        let (start, last) = node.addresses(run.first, run.end);
        if whole && !holed {
            match run.hold() {
                // Emptying entries by their numbers is quicker than by the capability that they came from.
                Hold::Copy if end - first >= MANY => {
                    empty(node)?;
                    mem.delete(run.cap)?;
                }
                Hold::Copy => mem.delete(run.cap)?,
                Hold::Own => mem.free(object(run.cap, run.base(), last - start))?,
                Hold::Lent => empty(node)?,
            }
            node.runs.remove(nth);
            return Ok(());
        }
        empty(node)?;
        let new = Holed { start, end: last, hold: run.hold(), base: run.base(), runs: 1 };
        let counted = self.holed.entry(run.cap).or_insert(new);
        counted.runs -= 1;
        node.runs.remove(nth);
        for left in [run.part(run.first, first), run.part(end, run.end)] {
            if left.first < left.end {
                node.insert(left);
                counted.runs += 1;
            }
        }
        Ok(())
    }

    /// Lets go of the capabilities that map nothing any more, if nothing else is mapped where they were.
    fn sweep(&mut self, mem: &mut Memory) {
        let tables = &self.tables;
        self.holed.retain(|&cap, h| {
            if h.runs > 0 || tables.any_in(h.start, h.end) {
                return true;
            }
            let done = match h.hold {
                Hold::Copy => mem.delete(cap),
                Hold::Own => mem.free(object(cap, h.base, h.end - h.start)),
                Hold::Lent => Ok(()),
            };
            if let Err(error) = done {
                ::log::warn!("the frame that was mapped at {:#x} stays: {error}", h.start);
            }
            false
        });
    }
}
