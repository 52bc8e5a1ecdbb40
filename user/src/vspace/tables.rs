//! The page tables of an address space, and the runs of pages in each: made when first needed, kept while something
//! hangs in them, and for a while after that, since what was mapped is often mapped again.

use super::VmError;
use super::runs::{Node, Run};
use crate::cap::VNode;
use crate::mem::Memory;
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
    nodes: Vec<Node>,
    /// Where in `nodes` a table is, by its level and first address.
    places: BTreeMap<(u8, u64), usize>,
    /// First address and place of the leaf table used last.
    last: (u64, usize),
    /// First addresses of leaf tables that may be empty.
    spare: Vec<u64>,
}

/// First address that the table of `level` which translates `va` does.
const fn first(level: u8, va: u64) -> u64 {
    va & !(span(level + 1) - 1)
}

impl Tables {
    /// None but the root.
    pub const fn new(root: VNode) -> Self {
        Self { root, nodes: Vec::new(), places: BTreeMap::new(), last: (u64::MAX, 0), spare: Vec::new() }
    }

    /// The root table.
    pub const fn root(&self) -> VNode {
        self.root
    }

    /// Runs, and tables below the root.
    pub fn count(&self) -> (usize, usize) {
        (self.nodes.iter().map(|node| node.runs.len()).sum(), self.nodes.len())
    }

    /// The table at a place.
    #[inline]
    pub fn node(&self, place: usize) -> &Node {
        &self.nodes[place]
    }

    /// The table at a place, to change.
    #[inline]
    pub fn node_mut(&mut self, place: usize) -> &mut Node {
        &mut self.nodes[place]
    }

    /// The place of the table of `level` that translates `va`, if it is there.
    #[inline]
    fn place(&self, level: u8, va: u64) -> Option<usize> {
        let start = first(level, va);
        if level == 0 && start == self.last.0 {
            return Some(self.last.1);
        }
        self.places.get(&(level, start)).copied()
    }

    /// The table that the run which holds `va` is in, and which run of it.
    #[inline]
    pub fn find(&self, va: u64) -> Option<(usize, usize)> {
        // Where a leaf table hangs no large page can.
        let place = self.place(0, va).or_else(|| self.place(1, va))?;
        self.nodes[place].position(va).map(|run| (place, run))
    }

    /// The first mapped address in `va..end`.
    #[inline]
    pub fn first_in(&self, va: u64, end: u64) -> Option<u64> {
        if first(0, va) == self.last.0 && end <= self.last.0 + span(1) {
            return self.nodes[self.last.1].first_in(va, end);
        }
        self.among(va, end).filter_map(|place| self.nodes[place].first_in(va, end)).min()
    }

    /// The places of the tables with runs that reach into `va..end`.
    pub fn among(&self, va: u64, end: u64) -> impl Iterator<Item = usize> {
        let of =
            move |level| self.places.range((level, first(level, va))..(level, end)).map(|(_, place)| *place);
        of(0).chain(of(1))
    }

    /// The place of the table of `level`, 0 or 1, that translates `va`, made if it is not there.
    #[inline]
    pub fn get(&mut self, mem: &mut Memory, level: u8, va: u64) -> Result<usize, VmError> {
        let place = match self.place(level, va) {
            Some(place) => place,
            None => self.make(mem, level, va)?,
        };
        if level == 0 {
            self.last = (first(0, va), place);
        }
        Ok(place)
    }

    fn make(&mut self, mem: &mut Memory, level: u8, va: u64) -> Result<usize, VmError> {
        let above = if level + 1 == ROOT_LEVEL {
            self.root
        } else {
            let place = match self.place(level + 1, va) {
                Some(place) => place,
                None => self.make(mem, level + 1, va)?,
            };
            self.nodes[place].table()
        };
        let made = mem.vnode(level)?;
        if let Err(error) = above.map(index(va, level + 1) as u32, 1, made.cap, MapFlags::READ, 0) {
            // It was made just now, and hangs nowhere.
            let _freed = mem.free(made);
            return Err(VmError::Refused("hanging in a page table", error));
        }
        let (start, place) = (first(level, va), self.nodes.len());
        self.nodes.push(Node { object: made, level, start, runs: Vec::new(), last: 0 });
        self.places.insert((level, start), place);
        Ok(place)
    }

    /// Something went from the table at a place, or was not put there after all.
    #[inline]
    pub fn left(&mut self, mem: &mut Memory, place: usize, va: u64) {
        let node = &self.nodes[place];
        if !node.runs.is_empty() {
            return;
        }
        if node.level == 0 { self.keep_spare(mem, va) } else { self.drop_empty(mem, 1, va) }
    }

    /// The leaf table of `va` may be empty, or those above it.
    pub fn keep_spare(&mut self, mem: &mut Memory, va: u64) {
        let start = first(0, va);
        if self.spare.contains(&start) {
            return;
        }
        if self.spare.len() == SPARE {
            self.trim(mem);
        }
        self.spare.push(start);
    }

    /// Gives back all tables that nothing hangs in.
    pub fn trim(&mut self, mem: &mut Memory) {
        for start in core::mem::take(&mut self.spare) {
            self.drop_empty(mem, 0, start);
        }
    }

    /// Gives back the leaf table of `va`, in which nothing hangs: a large page will.
    pub fn make_way(&mut self, mem: &mut Memory, va: u64) {
        if self.place(0, va).is_some() {
            self.drop_empty(mem, 0, va);
        }
    }

    /// Gives back the table of `level` that translates `va`, if nothing hangs in it, and those above it.
    fn drop_empty(&mut self, mem: &mut Memory, level: u8, va: u64) {
        for level in level..ROOT_LEVEL {
            let start = first(level, va);
            let below = (level.saturating_sub(1), start)..(level.saturating_sub(1), start + span(level + 1));
            if level > 0 && self.places.range(below).next().is_some() {
                return;
            }
            let Some(place) = self.place(level, va) else { continue };
            if !self.nodes[place].runs.is_empty() {
                return;
            }
            if let Err(error) = mem.free(self.nodes[place].object) {
                ::log::warn!("the table at {start:#x} stays: {error}");
                return;
            }
            self.remove(place);
        }
    }

    fn remove(&mut self, place: usize) {
        let Node { level, start, .. } = self.nodes.swap_remove(place);
        self.places.remove(&(level, start));
        if let Some(moved) = self.nodes.get(place) {
            self.places.insert((moved.level, moved.start), place);
        }
        self.last = (u64::MAX, 0);
    }

    /// Whether any run is in `va..end`.
    pub fn any_in(&self, va: u64, end: u64) -> bool {
        self.first_in(va, end).is_some()
    }

    /// A run, by where [`find`](Self::find) found it.
    #[inline]
    pub fn run(&self, (place, run): (usize, usize)) -> (&Node, Run) {
        let node = &self.nodes[place];
        (node, node.runs[run])
    }
}
