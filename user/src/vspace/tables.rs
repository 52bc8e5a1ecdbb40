//! The page tables of an address space: made when first needed, kept while something hangs in them, and for a while
//! after that, since what was mapped is often mapped again.

use super::VmError;
use super::runs::{Run, any_in};
use crate::cap::VNode;
use crate::mem::{Memory, Object};
use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use skerry_hal::MapFlags;
use skerry_hal::paging::{ROOT_LEVEL, index, span};

/// Empty leaf tables that are kept; when there are more, all empty ones are given back.
const SPARE: usize = 16;

/// The tables below a root.
#[derive(Debug)]
pub struct Tables {
    root: VNode,
    /// By level and first address.
    below: BTreeMap<(u8, u64), Object>,
    /// The leaf table used last.
    last: Option<(u64, VNode)>,
    /// First addresses of tables that may be empty.
    spare: Vec<u64>,
}

/// First address that a table of `level` which translates `va` does.
const fn first(level: u8, va: u64) -> u64 {
    va & !(span(level + 1) - 1)
}

impl Tables {
    /// None but the root.
    pub const fn new(root: VNode) -> Self {
        Self { root, below: BTreeMap::new(), last: None, spare: Vec::new() }
    }

    /// The root table.
    pub const fn root(&self) -> VNode {
        self.root
    }

    /// Tables below the root.
    pub fn count(&self) -> usize {
        self.below.len()
    }

    /// The table of `level` that translates `va`, made if it is not there.
    #[inline]
    pub fn get(&mut self, mem: &mut Memory, level: u8, va: u64) -> Result<VNode, VmError> {
        let start = first(level, va);
        if let Some((at, table)) = self.last
            && level == 0
            && at == start
        {
            return Ok(table);
        }
        let table = self.find_or_make(mem, level, va)?;
        if level == 0 {
            self.last = Some((start, table));
        }
        Ok(table)
    }

    fn find_or_make(&mut self, mem: &mut Memory, level: u8, va: u64) -> Result<VNode, VmError> {
        if level == ROOT_LEVEL {
            return Ok(self.root);
        }
        let key = (level, first(level, va));
        if let Some(table) = self.below.get(&key) {
            return Ok(VNode(table.cap));
        }
        let above = self.find_or_make(mem, level + 1, va)?;
        let made = mem.vnode(level)?;
        let table = VNode(made.cap);
        if let Err(error) = above.map(index(va, level + 1) as u32, 1, table.0, MapFlags::READ, 0) {
            // It was made just now, and hangs nowhere.
            let _freed = mem.free(made);
            return Err(VmError::Refused("hanging in a page table", error));
        }
        self.below.insert(key, made);
        Ok(table)
    }

    /// Nothing is left in the leaf table of `va`.
    pub fn emptied(&mut self, mem: &mut Memory, runs: &BTreeMap<u64, Run>, va: u64) {
        let start = first(0, va);
        if self.spare.contains(&start) {
            return;
        }
        if self.spare.len() == SPARE {
            self.trim(mem, runs);
        }
        self.spare.push(start);
    }

    /// Gives back all tables that nothing hangs in.
    pub fn trim(&mut self, mem: &mut Memory, runs: &BTreeMap<u64, Run>) {
        for start in core::mem::take(&mut self.spare) {
            self.drop_empty(mem, runs, 0, start);
        }
    }

    /// Gives back the leaf table of `va`, in which nothing hangs: a large page will.
    pub fn make_way(&mut self, mem: &mut Memory, runs: &BTreeMap<u64, Run>, va: u64) {
        if self.below.contains_key(&(0, va)) {
            self.drop_empty(mem, runs, 0, va);
        }
    }

    /// Gives back the table of `level` that translates `va`, if nothing hangs in it, and those above it.
    pub fn drop_empty(&mut self, mem: &mut Memory, runs: &BTreeMap<u64, Run>, level: u8, va: u64) {
        for level in level..ROOT_LEVEL {
            let start = first(level, va);
            let end = start + span(level + 1);
            let tables = level > 0 && self.below.range((level - 1, start)..(level - 1, end)).next().is_some();
            if tables || any_in(runs, start, end) {
                return;
            }
            if let Some(table) = self.below.get(&(level, start)) {
                if let Err(error) = mem.free(*table) {
                    ::log::warn!("the table at {start:#x} stays: {error}");
                    return;
                }
                self.below.remove(&(level, start));
            }
            self.last = self.last.filter(|(at, _)| level > 0 || *at != start);
        }
    }
}
