//! The memory that a domain over several cores has on all of them, at the same addresses.
//!
//! It is one frame, of which each dispatcher has a capability. Its first part is mapped everywhere from the beginning: what the
//! dispatchers say to each other, and the heap. Ranges of the rest come and go: stacks, and what the program asks for. Each
//! dispatcher maps them in page tables of its own core, told by home, and answers; a change is complete when all have.

use super::Mutex;
use super::sched::key::CHANGE;
use super::sched::{self, State, with};
use super::stack::domain;
use crate::Domain;
use crate::dispatch::Off;
use crate::vspace::column::HEAP;
use crate::vspace::demand::DemandError;
use crate::vspace::ranges::Ranges;
use crate::vspace::{Mapping, RW, VmError};
use alloc::collections::BTreeMap;
use skerry_abi::domain::Purpose;
use skerry_abi::{CPtr, Error, PAGE_SIZE};
use skerry_hal::MapFlags;
use skerry_hal::addr::LARGE_PAGE;
use skerry_urpc::formats::span::{Changed, Map, ToDispatcher, Unmap};

/// Where it begins: behind the heap of a domain of one core, under the same root entry.
pub const COMMON: u64 = HEAP + (256 << 30);
/// Dispatchers of a domain, at most.
pub const MAX_DISPATCHERS: u32 = 16;
const _: () = assert!(MAX_DISPATCHERS <= super::word::ROOM);
/// Bytes that the heap begins with at least, and that are left for stacks and for more of it.
const LEAST: u64 = 512 << 10;

/// How the common memory is laid out.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Layout {
    dispatchers: u32,
    len: u64,
}

impl Layout {
    /// For so many dispatchers and bytes; `None` if there is no room.
    pub fn new(dispatchers: u32, len: u64) -> Option<Self> {
        let this = Self { dispatchers, len: len & !(PAGE_SIZE - 1) };
        let fits = (2..=MAX_DISPATCHERS).contains(&dispatchers) && this.fixed() + LEAST <= this.len;
        fits.then_some(this)
    }

    /// How many dispatchers there are.
    pub const fn dispatchers(&self) -> u32 {
        self.dispatchers
    }

    /// The word by which a dispatcher says that it is there: its core's name on the bus, and 1.
    pub const fn greeting(&self, dispatcher: u32) -> u64 {
        dispatcher as u64 * 64
    }

    /// The block of a channel, of a page.
    pub const fn block(&self, from: u32, to: u32) -> u64 {
        (1 + to as u64 * self.dispatchers as u64 + from as u64) * PAGE_SIZE
    }

    /// The heap: from where on, and its bytes.
    pub const fn heap(&self) -> (u64, u64) {
        let start = self.block(0, self.dispatchers);
        (start, self.fixed() - start)
    }

    /// Bytes of the first part: a quarter, or what is needed.
    pub const fn fixed(&self) -> u64 {
        let (quarter, least) = ((self.len / 4) & !(PAGE_SIZE - 1), self.block(0, self.dispatchers) + LEAST);
        if quarter > least { quarter } else { least }
    }

    /// The part of which ranges come and go.
    fn rest(&self) -> Ranges {
        Ranges::new(self.fixed(), self.len)
    }
}

/// A dispatcher's part in it: a capability for the frame and where to map it; at home, what is free, too.
pub(super) struct Common {
    frame: CPtr,
    layout: Layout,
    free: Ranges,
}

impl Common {
    /// Maps the first part, and answers with it. `None`: the domain was started for one core.
    pub(super) fn open(domain: &mut Domain) -> Result<Option<(Self, Mapping)>, Error> {
        let Some(listed) = domain.info.caps_for(Purpose::Common).next() else { return Ok(None) };
        let layout = Layout::new(listed.detail as u32, listed.len).ok_or(Error::BadArgument)?;
        let this = Self { frame: listed.cptr, layout, free: layout.rest() };
        let view = this.map(domain, 0, layout.fixed())?;
        Ok(Some((this, view)))
    }

    pub(super) const fn layout(&self) -> Layout {
        self.layout
    }

    /// Clears a range that is mapped nowhere, where nobody looks for it: threads of this dispatcher too go on meanwhile.
    fn clear(&self, domain: &mut Domain, offset: u64, len: u64) -> Result<(), Error> {
        let view = domain.space.map(&mut domain.mem, self.frame, offset, len, RW)?;
        view.zero();
        domain.unmap(view);
        Ok(())
    }

    fn map(&self, domain: &mut Domain, offset: u64, len: u64) -> Result<Mapping, Error> {
        Ok(domain.space.map_at(&mut domain.mem, COMMON + offset, self.frame, offset, len, RW)?)
    }
}

/// What a dispatcher that is not home maps with.
pub(super) struct Away {
    pub domain: Domain,
    pub common: Common,
}

impl Away {
    /// Does what home says; 0, or the code of an error.
    pub(super) fn map(&mut self, asked: &Map) -> u32 {
        code(self.common.map(&mut self.domain, asked.offset, asked.len).map(drop))
    }

    /// The same.
    pub(super) fn unmap(&mut self, asked: &Unmap) -> u32 {
        code(take_away(&mut self.domain, asked.offset, asked.len))
    }
}

fn take_away(domain: &mut Domain, offset: u64, len: u64) -> Result<(), Error> {
    Ok(domain.space.unmap_range(&mut domain.mem, COMMON + offset, len)?)
}

fn code(done: Result<(), Error>) -> u32 {
    done.err().map_or(0, |error| error as u32)
}

/// Home's.
pub(super) static HOME: Mutex<Option<Common>> = Mutex::new(None);

/// The change that is under way.
#[derive(Clone, Copy, Default)]
pub(super) struct Change {
    number: u32,
    /// Dispatchers that have not answered.
    missing: u32,
    /// The first error that one answered with.
    error: u32,
}

impl Change {
    pub(super) const NONE: Self = Self { number: 0, missing: 0, error: 0 };

    /// One has answered. Whether that was the last.
    pub(super) const fn answered(&mut self, answer: &Changed) -> bool {
        if answer.change != self.number || self.missing == 0 {
            return false;
        }
        self.missing -= 1;
        if self.error == 0 {
            self.error = answer.error;
        }
        self.missing == 0
    }
}

/// Has all other dispatchers make a change, and waits until they have.
fn everywhere<B: ToDispatcher>(body: impl FnOnce(u32) -> B) -> Result<(), Error> {
    let off = Off::enter();
    with(&off, |state| {
        let State { span, peers: Some(peers), .. } = state else { return };
        let number = span.change.number.wrapping_add(1);
        span.change = Change { number, missing: peers.count() - 1, error: 0 };
        peers.send_all(&body(number));
    });
    while with(&off, |state| state.span.change.missing > 0) {
        sched::block(&off, CHANGE, 0);
    }
    match with(&off, |state| state.span.change.error) {
        0 => Ok(()),
        code => Err(Error::from_code(code.into())),
    }
}

/// Maps `len` bytes of common memory on all cores of the domain, with an unmapped page before and behind; the first address. It
/// holds what was there before.
///
/// # Errors
/// [`Error::Full`] if there is no more; [`Error::BadState`] in a domain of one dispatcher; what a dispatcher answers.
pub fn map(len: u64) -> Result<u64, Error> {
    let mut domain = domain();
    let mut home = HOME.lock();
    let common = home.as_mut().ok_or(Error::BadState)?;
    let len = len.checked_next_multiple_of(PAGE_SIZE).ok_or(Error::BadArgument)?;
    let offset = common.free.take(len, PAGE_SIZE).ok_or(Error::Full)?;
    let made = map_on_all(&mut domain, common, offset, len);
    if made.is_err() {
        common.free.give(offset);
    }
    made.map(|()| COMMON + offset)
}

/// Maps a range on all cores.
fn map_on_all(domain: &mut Domain, common: &Common, offset: u64, len: u64) -> Result<(), Error> {
    let here = common.map(domain, offset, len);
    let done = here.and_then(|_| everywhere(|change| Map { offset, len, change, ..Map::default() }));
    if done.is_err() {
        // Wherever it was mapped, it is no longer; elsewhere there is nothing to take.
        let _nothing = take_from_all(domain, offset, len);
    }
    done
}

fn take_from_all(domain: &mut Domain, offset: u64, len: u64) -> Result<(), Error> {
    let here = take_away(domain, offset, len);
    let there = everywhere(|change| Unmap { offset, len, change, ..Unmap::default() });
    here.and(there)
}

/// Takes away what [`map`] answered with `addr`: when this returns, no core of the domain reaches it.
///
/// # Errors
/// [`Error::BadArgument`] if it was not mapped so; what a dispatcher answers: then nobody gets it again.
pub fn unmap(addr: u64) -> Result<(), Error> {
    let mut domain = domain();
    let mut home = HOME.lock();
    let common = home.as_mut().ok_or(Error::BadState)?;
    let offset = addr.checked_sub(COMMON).ok_or(Error::BadArgument)?;
    let len = common.free.length(offset).ok_or(Error::BadArgument)?;
    take_from_all(&mut domain, offset, len)?;
    common.free.give(offset);
    Ok(())
}

/// Common memory that is mapped, on all cores, when a thread of one touches it first: in pieces, each of zeros.
pub(super) struct Lazy {
    offset: u64,
    len: u64,
    step: u64,
    /// Pieces that are there, by their offsets.
    there: BTreeMap<u64, u64>,
}

impl Lazy {
    /// Takes `len` bytes, of which `step` are mapped at a time.
    ///
    /// # Errors
    /// [`VmError`]; other flags than to be read and written are refused.
    pub(super) fn new(len: u64, step: u64, flags: MapFlags) -> Result<Self, VmError> {
        if flags | MapFlags::USER != RW {
            return Err(VmError::Refused("common memory", Error::NoRight));
        }
        if !step.is_power_of_two() || !(PAGE_SIZE..=LARGE_PAGE).contains(&step) {
            return Err(VmError::Unaligned(step));
        }
        let _domain = domain();
        let mut home = HOME.lock();
        let common = home.as_mut().ok_or(VmError::Refused("common memory", Error::BadState))?;
        let len = len.checked_next_multiple_of(PAGE_SIZE).ok_or(VmError::Addresses(len))?;
        let offset = common.free.take(len, step).ok_or(VmError::Addresses(len))?;
        Ok(Self { offset, len, step, there: BTreeMap::new() })
    }

    /// From where to where.
    pub(super) const fn bounds(&self) -> (u64, u64) {
        (COMMON + self.offset, COMMON + self.offset + self.len)
    }

    /// Makes what a thread lacked that touched `addr`.
    ///
    /// # Errors
    /// [`DemandError`].
    pub(super) fn serve(&mut self, addr: u64) -> Result<(), DemandError> {
        let offset = addr.wrapping_sub(COMMON);
        if !(self.offset..self.offset + self.len).contains(&offset) {
            return Err(DemandError::Outside);
        }
        let start = offset & !(self.step - 1);
        if self.there.contains_key(&start) {
            // Another thread's fault was served first.
            return Ok(());
        }
        let len = self.step.min(self.offset + self.len - start);
        let mut domain = domain();
        let home = HOME.lock();
        let made = match home.as_ref() {
            Some(common) => common
                .clear(&mut domain, start, len)
                .and_then(|()| map_on_all(&mut domain, common, start, len)),
            None => Err(Error::BadState),
        };
        made.map_err(|error| DemandError::Vm(VmError::Refused("mapping it on all cores", error)))?;
        self.there.insert(start, len);
        Ok(())
    }

    /// Gives it back.
    ///
    /// # Errors
    /// What a dispatcher answers: then nobody gets it again.
    pub(super) fn release(self) -> Result<(), VmError> {
        let refused = |error| VmError::Refused("taking it from all cores", error);
        let mut domain = domain();
        let mut home = HOME.lock();
        let common = home.as_mut().ok_or(VmError::NotReserved(COMMON + self.offset))?;
        for (offset, len) in self.there {
            take_from_all(&mut domain, offset, len).map_err(refused)?;
        }
        common.free.give(self.offset);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_heap_and_the_rest_do_not_touch() {
        for dispatchers in 2..=MAX_DISPATCHERS {
            let layout = Layout::new(dispatchers, 8 << 20).unwrap();
            let mut blocks: Vec<u64> = (0..dispatchers)
                .flat_map(|from| (0..dispatchers).map(move |to| layout.block(from, to)))
                .collect();
            blocks.sort_unstable();
            assert!(blocks.windows(2).all(|two| two[1] - two[0] == PAGE_SIZE));
            assert!(blocks[0] > layout.greeting(dispatchers - 1));
            let (heap, bytes) = layout.heap();
            assert_eq!(heap, blocks[blocks.len() - 1] + PAGE_SIZE);
            assert_eq!(heap + bytes, layout.fixed());
            assert!(bytes >= LEAST && layout.fixed() + LEAST <= 8 << 20);
        }
        assert_eq!(Layout::new(1, 8 << 20), None);
        assert_eq!(Layout::new(MAX_DISPATCHERS + 1, 8 << 20), None);
        assert_eq!(Layout::new(2, 256 << 10), None);
    }

    #[test]
    fn a_change_is_complete_when_all_have_answered() {
        let mut change = Change { number: 7, missing: 2, error: 0 };
        let answer = |change, error| Changed { change, error, ..Changed::default() };
        assert!(!change.answered(&answer(6, 0)), "of an earlier one");
        assert!(!change.answered(&answer(7, Error::Full as u32)));
        assert!(change.answered(&answer(7, 0)));
        assert!(!change.answered(&answer(7, 0)), "one too many");
        assert_eq!(change.error, Error::Full as u32);
    }
}
