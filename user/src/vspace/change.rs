//! What changes an address space, run by run. The ranges that come in here were checked.

use super::runs::{Cut, Hold, MAX_EXECUTABLE, Run, any_in, at_or_after, cuts};
use super::{Backing, Space, VmError, object, range, sound};
use crate::mem::{Memory, What};
use skerry_abi::{CPtr, CapType, Error, PAGE_SIZE, Rights};
use skerry_hal::MapFlags;
use skerry_hal::addr::LARGE_PAGE;
use skerry_hal::paging::{ENTRIES, index, span};

/// Entries that one invocation protects.
const MAX_PROTECT: u64 = 32;

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

const fn refused(doing: &'static str) -> impl Fn(Error) -> VmError {
    move |error| VmError::Refused(doing, error)
}

impl Space {
    /// Checks that something may be mapped with `flags`; the first address after the range.
    #[inline]
    pub(super) fn vacant(&self, va: u64, len: u64, flags: MapFlags) -> Result<u64, VmError> {
        let end = range(va, len)?;
        sound(flags)?;
        if !self.ranges.allows(va, end) {
            return Err(VmError::NotReserved(va));
        }
        match self.runs.range(..end).next_back() {
            Some((start, run)) if run.end > va => {
                // The last run that reaches into the range; the page to blame is the first.
                let first = at_or_after(&self.runs, va).map_or(*start, |(start, _)| start);
                Err(VmError::Occupied(first.max(va)))
            }
            _ => Ok(end),
        }
    }

    /// Checks that all of a range is mapped, large pages wholly in or out; the run that it begins in.
    #[inline]
    pub(super) fn covered(&self, va: u64, end: u64) -> Result<(u64, Run), VmError> {
        let Some((&start, &first)) = self.runs.range(..=va).next_back().filter(|(_, run)| run.end > va)
        else {
            return Err(VmError::NotMapped(va));
        };
        let whole = |start: u64, run: &Run| {
            let inside = |edge: &u64| *edge > start && *edge < run.end && !edge.is_multiple_of(LARGE_PAGE);
            match [va, end].into_iter().find(inside) {
                Some(edge) if run.level == 1 => Err(VmError::InLargePage(edge)),
                _ => Ok(()),
            }
        };
        whole(start, &first)?;
        let mut at = first.end;
        if at < end {
            for (&start, run) in self.runs.range(at..end) {
                if start != at {
                    break;
                }
                whole(start, run)?;
                at = run.end;
            }
        }
        if at < end { Err(VmError::NotMapped(at)) } else { Ok((start, first)) }
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
            let (frame, hold) = (backing.frame, if lent { Hold::Lent } else { Hold::Copy });
            let mut done = if lent { self.map_cut(mem, &cut, frame, hold, offset, flags) } else { Ok(()) };
            // It may be mapped elsewhere already.
            if !lent || done == Err(VmError::Refused("mapping", Error::Mapped)) {
                done = mem.copy(frame, Rights::all()).map_err(VmError::from).and_then(|copy| {
                    self.map_cut(mem, &cut, copy, Hold::Copy, offset, flags).inspect_err(|_| {
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
        cap: CPtr,
        hold: Hold,
        offset: u64,
        flags: MapFlags,
    ) -> Result<(), VmError> {
        if cut.level == 1 {
            // Where a table hangs no large page can: it is empty, since the range is.
            for at in (cut.va..cut.end).step_by(LARGE_PAGE as usize) {
                self.tables.make_way(mem, &self.runs, at);
            }
        }
        let table = self.tables.get(mem, cut.level, cut.va)?;
        let run = Run { end: cut.end, table, cap, hold, base: 0, level: cut.level };
        let first = index(cut.va, cut.level) as u32;
        table.map(first, run.entries(cut.va, cut.end), cap, flags, offset).map_err(refused("mapping"))?;
        self.runs.insert(cut.va, run);
        Ok(())
    }

    /// Fills a vacant range with new frames.
    pub(super) fn fill(
        &mut self,
        mem: &mut Memory,
        va: u64,
        end: u64,
        flags: MapFlags,
    ) -> Result<(), VmError> {
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
                let mapped = self.map_cut(mem, &cut, frame.cap, Hold::Own, 0, flags);
                match (mapped, self.runs.get_mut(&at)) {
                    (Ok(()), Some(run)) => run.base = frame.base,
                    (Err(error), _) => {
                        mem.free(frame)?;
                        return Err(error);
                    }
                    (Ok(()), None) => {}
                }
                Ok(())
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
        self.tables.emptied(mem, &self.runs, at);
        Err(error)
    }

    /// Changes the flags of a range.
    pub(super) fn reflag(&mut self, va: u64, end: u64, flags: MapFlags) -> Result<(), VmError> {
        let (_, mut run) = self.covered(va, end)?;
        let mut at = va;
        loop {
            let stop = run.end.min(end);
            let step = MAX_PROTECT * span(run.level);
            while at < stop {
                let upto = stop.min(at.saturating_add(step));
                let (first, count) = (index(at, run.level) as u32, run.entries(at, upto));
                run.table.protect(first, count, flags, run.cap).map_err(refused("protecting"))?;
                at = upto;
            }
            if at >= end {
                return Ok(());
            }
            run = *self.runs.get(&at).ok_or(VmError::NotMapped(at))?;
        }
    }

    /// Removes whatever is mapped in `va..end`, which no large page reaches out of.
    pub(super) fn clear(&mut self, mem: &mut Memory, va: u64, end: u64) -> Result<(), VmError> {
        let mut at = va;
        while let Some((start, run)) = at_or_after(&self.runs, at).filter(|(start, _)| *start < end) {
            let from = start.max(va);
            let stop = run.end.min(end);
            self.remove(mem, (start, run), from, stop)?;
            at = stop;
        }
        Ok(())
    }

    /// Removes the range `va..end`, all of which is mapped, beginning in the run `first`.
    #[inline]
    pub(super) fn remove(
        &mut self,
        mem: &mut Memory,
        first: (u64, Run),
        va: u64,
        end: u64,
    ) -> Result<(), VmError> {
        let ((mut start, mut run), mut at) = (first, va);
        loop {
            let stop = run.end.min(end);
            self.remove_part(mem, start, run, at, stop)?;
            let table = at & !(LARGE_PAGE - 1);
            if run.level == 1 {
                self.tables.drop_empty(mem, &self.runs, 1, at);
            } else if !any_in(&self.runs, table, table + LARGE_PAGE) {
                self.tables.emptied(mem, &self.runs, at);
            }
            at = stop;
            if at >= end {
                break;
            }
            (start, run) = (at, *self.runs.get(&at).ok_or(VmError::NotMapped(at))?);
        }
        if !self.holed.is_empty() {
            self.sweep(mem);
        }
        Ok(())
    }

    /// Removes `at..stop` of the run at `start`.
    #[inline]
    fn remove_part(
        &mut self,
        mem: &mut Memory,
        start: u64,
        run: Run,
        at: u64,
        stop: u64,
    ) -> Result<(), VmError> {
        let whole = at == start && stop == run.end;
        let holed = !self.holed.is_empty() && self.holed.contains_key(&run.cap);
        if whole && !holed {
            match run.hold {
                Hold::Copy => mem.delete(run.cap)?,
                Hold::Own => mem.free(object(run.cap, run.base, run.end - start))?,
                Hold::Lent => self.empty(&run, at, stop)?,
            }
            self.runs.remove(&start);
            return Ok(());
        }
        self.empty(&run, at, stop)?;
        let Run { hold, base, .. } = run;
        let new = Holed { start, end: run.end, hold, base, runs: 1 };
        let counted = self.holed.entry(run.cap).or_insert(new);
        counted.runs -= 1;
        self.runs.remove(&start);
        if start < at {
            self.runs.insert(start, Run { end: at, ..run });
            counted.runs += 1;
        }
        if stop < run.end {
            self.runs.insert(stop, run);
            counted.runs += 1;
        }
        Ok(())
    }

    fn empty(&self, run: &Run, at: u64, stop: u64) -> Result<(), VmError> {
        let (first, count) = (index(at, run.level) as u32, run.entries(at, stop));
        run.table.unmap(first, count, at).map_err(refused("unmapping"))
    }

    /// Lets go of the capabilities that map nothing any more, if nothing else is mapped where they were.
    fn sweep(&mut self, mem: &mut Memory) {
        let runs = &self.runs;
        self.holed.retain(|&cap, h| {
            if h.runs > 0 || any_in(runs, h.start, h.end) {
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
