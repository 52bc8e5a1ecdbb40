//! Address spaces: page tables made and filled through capabilities, the domain's own or a child's.
//!
//! A mapped frame remembers in its slot where it is mapped, so each run of entries in one leaf table has a copy of the
//! frame's capability to itself; deleting the copy unmaps the run.

use crate::cap::{ROOT, VNode};
use crate::mem::Memory;
use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use skerry_abi::{CPtr, Error, PAGE_SIZE, Rights};
use skerry_hal::MapFlags;
use skerry_hal::paging::{ENTRIES, ROOT_LEVEL, index, span};

/// First address that [`Space::reserve`] hands out: root entry 1, where no spawner maps anything.
const OWN_FIRST: u64 = span_of_root();
/// First address past what it hands out: root entry 254.
const OWN_END: u64 = 254 * span_of_root();

const fn span_of_root() -> u64 {
    span(ROOT_LEVEL)
}

/// Flags of ordinary private memory.
pub const RW: MapFlags = MapFlags::READ.union(MapFlags::WRITE).union(MapFlags::USER);
/// Flags of memory to look at.
pub const R: MapFlags = MapFlags::READ.union(MapFlags::USER);
/// Flags of program text.
pub const RX: MapFlags = MapFlags::READ.union(MapFlags::EXECUTE).union(MapFlags::USER);
/// Flags of device registers.
pub const DEVICE: MapFlags = RW.union(MapFlags::DEVICE);

/// A run of pages in one leaf table.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Run {
    va: u64,
    count: u32,
    offset: u64,
}

/// Pages that one invocation maps executable at most: the CPU driver must make each fetchable.
const MAX_EXECUTABLE: u64 = 32;

/// Cuts a page-aligned range at the borders of leaf tables, and after `most` pages.
fn runs(va: u64, len: u64, most: u64) -> impl Iterator<Item = Run> {
    let end = va + len;
    let mut at = va;
    core::iter::from_fn(move || {
        (at < end).then(|| {
            let border = ((at & !(span(1) - 1)) + span(1)).min(at + most * PAGE_SIZE);
            let stop = border.min(end);
            let run = Run { va: at, count: ((stop - at) / PAGE_SIZE) as u32, offset: at - va };
            at = stop;
            run
        })
    })
}

/// Something that is mapped.
#[derive(Debug)]
pub struct Mapping {
    /// First address.
    pub addr: u64,
    /// Bytes, whole pages.
    pub len: u64,
    copies: Vec<CPtr>,
}

/// An address space under construction.
#[derive(Debug)]
pub struct Space {
    root: VNode,
    /// Tables made here, by level and first address.
    tables: BTreeMap<(u8, u64), VNode>,
    next: u64,
}

impl Space {
    /// The space whose root table is `root`.
    pub const fn new(root: VNode) -> Self {
        Self { root, tables: BTreeMap::new(), next: OWN_FIRST }
    }

    /// Its root table.
    pub const fn root(&self) -> VNode {
        self.root
    }

    /// Addresses for `len` bytes, aligned to `align`, with an unmapped guard page before and behind.
    pub fn reserve(&mut self, len: u64, align: u64) -> Result<u64, Error> {
        let start = (self.next + PAGE_SIZE).checked_next_multiple_of(align.max(PAGE_SIZE));
        let start = start.ok_or(Error::BadArgument)?;
        let end = start.checked_add(len).filter(|end| *end < OWN_END).ok_or(Error::Full)?;
        self.next = end.next_multiple_of(PAGE_SIZE);
        Ok(start)
    }

    /// The table of `level` that translates `va`, made if it is not there.
    fn table(&mut self, mem: &mut Memory, level: u8, va: u64) -> Result<VNode, Error> {
        if level == ROOT_LEVEL {
            return Ok(self.root);
        }
        let key = (level, va & !(span(level + 1) - 1));
        if let Some(table) = self.tables.get(&key) {
            return Ok(*table);
        }
        let above = self.table(mem, level + 1, va)?;
        let table = VNode(mem.vnode(level)?.cap);
        above.map(index(va, level + 1) as u32, 1, table.0, R, 0)?;
        self.tables.insert(key, table);
        Ok(table)
    }

    /// Maps `len` bytes of `frame` from `offset` at `va`.
    ///
    /// # Errors
    /// [`Error::BadArgument`] for what is not page-aligned or not user space; what the CPU driver answers.
    pub fn map_at(
        &mut self,
        mem: &mut Memory,
        va: u64,
        frame: CPtr,
        offset: u64,
        len: u64,
        flags: MapFlags,
    ) -> Result<Mapping, Error> {
        let aligned = (va | offset | len).is_multiple_of(PAGE_SIZE);
        let inside = va.checked_add(len).is_some_and(|end| end <= skerry_hal::addr::USER_END);
        if !aligned || !inside || len == 0 {
            return Err(Error::BadArgument);
        }
        let mut mapping = Mapping { addr: va, len, copies: Vec::new() };
        let most = if flags.contains(MapFlags::EXECUTE) { MAX_EXECUTABLE } else { ENTRIES as u64 };
        for run in runs(va, len, most) {
            let done = self.map_run(mem, run, frame, offset, flags);
            match done {
                Ok(copy) => mapping.copies.push(copy),
                Err(error) => {
                    self.unmap(mem, mapping);
                    return Err(error);
                }
            }
        }
        Ok(mapping)
    }

    fn map_run(
        &mut self,
        mem: &mut Memory,
        run: Run,
        frame: CPtr,
        offset: u64,
        flags: MapFlags,
    ) -> Result<CPtr, Error> {
        let leaf = self.table(mem, 0, run.va)?;
        let copy = mem.copy(frame, Rights::all())?;
        match leaf.map(index(run.va, 0) as u32, run.count, copy, flags, offset + run.offset) {
            Ok(()) => Ok(copy),
            Err(error) => {
                if ROOT.delete(copy).is_ok() {
                    mem.slots.give(copy);
                }
                Err(error)
            }
        }
    }

    /// Maps all of what [`map_at`](Self::map_at) does, at an address of its own choice.
    pub fn map(
        &mut self,
        mem: &mut Memory,
        frame: CPtr,
        offset: u64,
        len: u64,
        flags: MapFlags,
    ) -> Result<Mapping, Error> {
        let va = self.reserve(len, PAGE_SIZE)?;
        self.map_at(mem, va, frame, offset, len, flags)
    }

    /// Takes a mapping away. Its addresses are not used again.
    pub fn unmap(&mut self, mem: &mut Memory, mapping: Mapping) {
        for copy in mapping.copies {
            if mem.delete(copy).is_err() {
                ::log::warn!("a mapping at {:#x} could not be undone", mapping.addr);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_cover_the_range_and_never_cross_a_table() {
        for (va, len) in
            [(0x40_0000, 0x1000), (0x3f_f000, 0x2000), (0x20_0000, 0x60_0000), (0x5f_e000, 0x40_3000)]
        {
            let mut at = va;
            for run in runs(va, len, 512) {
                assert_eq!((run.va, run.offset), (at, at - va));
                let last = run.va + u64::from(run.count) * PAGE_SIZE - 1;
                assert_eq!(run.va / span(1), last / span(1));
                at = last + 1;
            }
            assert_eq!(at, va + len);
            assert!(runs(va, len, 2).all(|run| run.count <= 2));
            assert_eq!(runs(va, len, 2).map(|run| u64::from(run.count)).sum::<u64>(), len / PAGE_SIZE);
        }
    }
}
