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

    /// Maps at least `len` bytes more, or as many as there is memory for: the bytes.
    ///
    /// # Errors
    /// [`VmError`], if it is none at all.
    pub fn grow(&mut self, store: &Store, len: u64) -> Result<u64, VmError> {
        let start = self.end;
        let goal = len.checked_next_multiple_of(PAGE_SIZE).and_then(|len| start.checked_add(len));
        let goal = goal.filter(|goal| *goal <= self.limit).ok_or(VmError::Addresses(len))?;
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
