//! Memory that only grows, upward from a fixed address: the heap's. It remembers the tables that it is filling and no
//! others, so that it allocates nothing while the allocator waits for it.

use super::{RW, VmError};
use crate::cap::VNode;
use crate::mem::{Object, Store, What};
use skerry_abi::{CPtr, PAGE_SIZE};
use skerry_hal::MapFlags;
use skerry_hal::addr::LARGE_PAGE;
use skerry_hal::paging::{ROOT_LEVEL, index, span};

/// Where the heap grows from: root entry 254, which it has for itself.
pub const HEAP: u64 = 254 * span(ROOT_LEVEL);

/// Mapped memory from a fixed address up to where it has grown.
#[derive(Debug)]
pub struct Column {
    root: VNode,
    end: u64,
    limit: u64,
    /// By level: the table that `end` lies in, and its first address.
    tables: [(CPtr, u64); ROOT_LEVEL as usize],
}

impl Column {
    /// Nothing, in the space of `root`, from `start` on and never past `start + most`.
    pub const fn new(root: VNode, start: u64, most: u64) -> Self {
        let tables = [(CPtr::NULL, 0); ROOT_LEVEL as usize];
        Self { root, end: start, limit: start + most, tables }
    }

    /// First address that is not mapped.
    pub const fn end(&self) -> u64 {
        self.end
    }

    /// The table of `level` that `end` lies in.
    fn table(&mut self, store: &Store, level: u8) -> Result<VNode, VmError> {
        if level == ROOT_LEVEL {
            return Ok(self.root);
        }
        let first = self.end & !(span(level + 1) - 1);
        let (cap, at) = self.tables[usize::from(level)];
        if cap != CPtr::NULL && at == first {
            return Ok(VNode(cap));
        }
        let above = self.table(store, level + 1)?;
        let made = store.make(&What::table(level))?;
        let entry = index(self.end, level + 1) as u32;
        above.map(entry, 1, made.cap, MapFlags::READ, 0).map_err(|error| {
            store.undo(&made);
            VmError::Refused("hanging in a page table", error)
        })?;
        self.tables[usize::from(level)] = (made.cap, first);
        Ok(VNode(made.cap))
    }

    /// Maps `len` bytes more, whole pages: how many.
    ///
    /// # Errors
    /// [`VmError`]; then nothing is mapped, for what was mapped would be lost to others.
    pub fn grow(&mut self, store: &Store, len: u64) -> Result<u64, VmError> {
        let start = self.end;
        let goal = len.checked_next_multiple_of(PAGE_SIZE).and_then(|len| start.checked_add(len));
        let goal = goal.filter(|goal| *goal <= self.limit).ok_or(VmError::Addresses(len))?;
        // Tables too: one for each 2 MiB begun, and one of each other level.
        let tables = (goal - start) / LARGE_PAGE + 2 + u64::from(ROOT_LEVEL);
        store.ensure(goal - start + tables * PAGE_SIZE)?;
        let mut most = LARGE_PAGE;
        while self.end < goal {
            let border = (self.end & !(LARGE_PAGE - 1)) + LARGE_PAGE;
            let len = (border - self.end).min(goal - self.end).min(most);
            match self.step(store, len) {
                Ok(()) => self.end += len,
                // No such piece: smaller ones will do.
                Err(VmError::Memory(error)) if error.is_lack() && len > PAGE_SIZE => {
                    most = (len / 2).next_multiple_of(PAGE_SIZE);
                }
                Err(error) if self.end == start => return Err(error),
                // Slots, then: what is there is there.
                Err(_) => break,
            }
        }
        Ok(self.end - start)
    }

    fn step(&mut self, store: &Store, len: u64) -> Result<(), VmError> {
        let level = u8::from(len == LARGE_PAGE);
        let frame: Object = store.make(&What { align: span(level), ..What::frame(len) })?;
        let entry = index(self.end, level) as u32;
        let mapped = self.table(store, level).and_then(|table| {
            let count = (len / span(level)) as u32;
            let done = table.map(entry, count, frame.cap, RW, 0);
            done.map_err(|error| VmError::Refused("mapping the heap", error))
        });
        mapped.inspect_err(|_| store.undo(&frame))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Domain;
    use crate::cap::ROOT;
    use crate::mem::{Grant, MemError, MoreRam};
    use crate::testing::{boot, walk};
    use skerry_abi::domain::slot;
    use skerry_abi::{Error, Rights};
    use skerry_hal::Pte;
    use std::cell::Cell;

    const P: u64 = PAGE_SIZE;

    #[test]
    fn it_grows_without_a_gap_as_long_as_there_is_ram() {
        let Domain { mem, .. } = boot();
        let mut column = Column::new(VNode(slot::VSPACE), HEAP, 1 << 30);
        let store = mem.store();
        let mut mapped = Vec::new();
        for len in [1, 16 * P, 3 * LARGE_PAGE, 5 * P + 1, 6 * LARGE_PAGE] {
            let grown = column.grow(store, len).unwrap();
            assert_eq!(grown, len.next_multiple_of(P));
            assert_eq!(column.end(), HEAP + (mapped.len() as u64) * P + grown);
            mapped.resize(((column.end() - HEAP) / P) as usize, ());
        }
        let mut frames: Vec<u64> = (0..mapped.len() as u64)
            .map(|n| match walk(HEAP + n * P) {
                Pte::Page(pa, RW) => pa.0,
                other => panic!("page {n}: {other:?}"),
            })
            .collect();
        frames.sort_unstable();
        assert!(frames.windows(2).all(|two| two[0] < two[1]), "a frame twice");
        // What there is not takes nothing of what there is.
        let (before, end) = (mem.free_ram(), column.end());
        assert!(matches!(column.grow(store, before), Err(VmError::Memory(MemError::Ram(_)))));
        assert_eq!((mem.free_ram(), column.end()), (before, end));
        // The last of it comes in smaller pieces, and then there is none.
        while mem.free_ram() >= 16 * P {
            let before = mem.free_ram();
            assert!(column.grow(store, before / 2).is_ok(), "{before} bytes free");
            assert!(mem.free_ram() < before);
        }
        assert!(matches!(column.grow(store, 16 * P), Err(VmError::Memory(MemError::Ram(_)))));
        assert_eq!(walk(column.end()), Pte::Empty);
        assert_eq!(column.grow(store, u64::MAX), Err(VmError::Addresses(u64::MAX)));
        assert_eq!(column.grow(store, 1 << 30), Err(VmError::Addresses(1 << 30)));
    }

    thread_local! {
        /// What the server still has: one RAM capability, where it is, how long.
        static SERVER: Cell<Option<Object>> = const { Cell::new(None) };
    }

    struct Server;

    impl MoreRam for Server {
        fn more(&self, len: u64, into: CPtr) -> Result<Grant, Error> {
            let ram = SERVER.get().filter(|ram| ram.len >= len).ok_or(Error::Full)?;
            ROOT.copy_in(ram.cap, into, Rights::all())?;
            SERVER.set(None);
            Ok(Grant { base: ram.base, len: ram.len, node: 0 })
        }
    }

    #[test]
    fn when_there_is_no_ram_the_server_is_asked() {
        let Domain { mut mem, .. } = boot();
        let kept = mem.ram(LARGE_PAGE, P, None).unwrap();
        SERVER.set(Some(kept));
        mem.set_more(&Server);
        while mem.take_largest().is_some() {}
        let slots = mem.free_slots();
        let mut column = Column::new(VNode(slot::VSPACE), HEAP, 1 << 30);
        assert_eq!(column.grow(mem.store(), 16 * P), Ok(16 * P));
        assert!(matches!(walk(HEAP + 15 * P), Pte::Page(pa, RW) if kept.range().contains(pa)));
        let all = mem.free_ram();
        assert_eq!(all, LARGE_PAGE - 19 * P, "three tables and sixteen pages");
        let refused = column.grow(mem.store(), LARGE_PAGE);
        assert!(matches!(refused, Err(VmError::Memory(MemError::Server(_, Error::Full)))), "{refused:?}");
        assert_eq!(
            (mem.free_ram(), mem.free_slots()),
            (all, slots - 5),
            "what it gave, three tables, a frame"
        );
        assert_eq!(column.grow(mem.store(), all - 6 * P), Ok(all - 6 * P));
        assert_eq!(mem.store().lost(), 0);
    }
}
