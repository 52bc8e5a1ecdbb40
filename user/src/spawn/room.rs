//! What a domain is made of: one piece of RAM, and a CNode made of it that holds the parent's capabilities for the parts.
//! So revoking that one RAM capability takes all of it back, whatever the child has made of its own share, and nothing
//! of the parent's stays behind.

use super::{During, SpawnError};
use crate::cap::{self, CNode, Make, ROOT, Ram, VNode};
use crate::domain::Domain;
use crate::image::Plan;
use crate::mem::Object;
use crate::vspace::R;
use alloc::collections::BTreeMap;
use skerry_abi::cap::{CNODE_BYTES, CNODE_SLOTS, DISPATCHER_BYTES};
use skerry_abi::{CPtr, CapType, Error, PAGE_SIZE, Rights};
use skerry_hal::MapFlags;
use skerry_hal::paging::{ENTRIES, ROOT_LEVEL, index, span};

/// Index in the parent's root CNode from which on rooms hang; below are the parent's own CNodes.
const FIRST_INDEX: u32 = crate::cspace::NODES;
/// Pages that one invocation maps executable at most: the CPU driver must make each fetchable.
const MAX_EXECUTABLE: u64 = 32;
/// Page tables besides those of the image's last level: the root, and two or three for each of the image, the stack, and
/// the pages that the CPU driver and the parent write.
const TABLES: u64 = 10;
/// Bytes of a channel to the parent.
pub(super) const CHANNEL: u64 = 2 * PAGE_SIZE;

/// What a room takes of its parent.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Estate {
    /// All its RAM. Whoever holds this capability can take everything back.
    pub ram: Object,
    /// The capability for its CNode, in a slot of the parent's own.
    node: CPtr,
    /// Where that hangs, behind [`FIRST_INDEX`].
    place: u32,
}

impl Estate {
    fn take(domain: &mut Domain, bytes: u64) -> Result<Self, SpawnError> {
        let place = domain.rooms.take().ok_or(Error::Full).during("a place for its capabilities")?;
        let ram = domain.mem.ram(bytes, PAGE_SIZE, None).during("RAM");
        let ram = ram.inspect_err(|_| domain.rooms.give(place))?;
        match domain.mem.slot().during("a slot") {
            Ok(node) => Ok(Self { ram, node, place }),
            Err(error) => {
                domain.rooms.give(place);
                // It came from there just now.
                let _back = domain.mem.free(ram);
                Err(error)
            }
        }
    }

    /// Takes back all that was made of the room, whose dispatcher was stopped: its RAM may be used anew.
    ///
    /// # Errors
    /// What the CPU driver answers; then the RAM stays with what was made of it.
    pub fn reclaim(self, domain: &mut Domain) -> Result<(), Error> {
        ROOT.revoke_made(self.ram.cap)?;
        domain.mem.give_slot(self.node);
        domain.mem.free(self.ram)?;
        domain.rooms.give(self.place);
        Ok(())
    }
}

/// A piece of RAM from which a domain is made.
#[derive(Debug)]
pub struct Room {
    /// What it takes of the parent.
    pub estate: Estate,
    used: u64,
    next: u32,
    tables: BTreeMap<(u8, u64), VNode>,
}

impl Room {
    /// Bytes for a domain of `plan` that gets `grant` bytes of RAM to spend.
    pub fn need(plan: &Plan, grant: u64) -> u64 {
        let segments: u64 = plan.segments.iter().map(|segment| segment.len).sum();
        let end = plan.segments.last().map_or(0, |segment| segment.page + segment.len);
        let tables = TABLES + end.div_ceil(span(1)) + 1;
        let fixed = 3 * CNODE_BYTES + DISPATCHER_BYTES + 2 * PAGE_SIZE + CHANNEL;
        fixed + segments + super::STACK + tables * PAGE_SIZE + grant.next_multiple_of(PAGE_SIZE)
    }

    /// Bytes for a further dispatcher of it, which has what can be written from the first, but for `own` bytes.
    pub fn need_further(plan: &Plan, own: u64, grant: u64) -> u64 {
        let shared = plan.segments.iter().filter(|segment| segment.flags.contains(MapFlags::WRITE));
        let shared: u64 = shared.map(|segment| segment.len).sum();
        Self::need(plan, grant) - shared - super::STACK - CHANNEL + own + super::FURTHER_STACK
    }

    /// A room of so many bytes out of the domain's own RAM, cleared, with its CNode.
    ///
    /// # Errors
    /// Without memory; what the CPU driver answers. Then nothing is left of it.
    pub fn take(domain: &mut Domain, bytes: u64) -> Result<Self, SpawnError> {
        let estate = Estate::take(domain, bytes)?;
        let mut room = Self { estate, used: 0, next: 0, tables: BTreeMap::new() };
        room.prepare().inspect_err(|_| forget(estate.reclaim(domain)))?;
        Ok(room)
    }

    fn prepare(&mut self) -> Result<(), SpawnError> {
        let Estate { ram, node, place } = self.estate;
        Ram(ram.cap).clear(ram.len).during("clearing RAM")?;
        self.retype(CapType::CNode, 0, CNODE_BYTES, node).during("a CNode")?;
        ROOT.attach(CNode(node), FIRST_INDEX + place).during("hanging in a CNode")
    }

    fn retype(&mut self, ty: CapType, level: u8, len: u64, at: CPtr) -> Result<Object, Error> {
        let len = len.next_multiple_of(PAGE_SIZE);
        if self.estate.ram.len - self.used < len {
            return Err(Error::Full);
        }
        let make = Make { ty, level, rights: Rights::all(), offset: self.used, len, count: 1 };
        cap::retype(self.estate.ram.cap, &make, at)?;
        let base = self.estate.ram.base + self.used;
        self.used += len;
        Ok(Object { cap: at, base, len })
    }

    /// An empty slot.
    pub fn slot(&mut self) -> Result<CPtr, Error> {
        if self.next == CNODE_SLOTS {
            return Err(Error::Full);
        }
        self.next += 1;
        Ok(CPtr::new(FIRST_INDEX + self.estate.place, self.next - 1))
    }

    /// Makes an object of RAM that is zero.
    pub fn make(&mut self, ty: CapType, level: u8, len: u64) -> Result<Object, Error> {
        let at = self.slot()?;
        self.retype(ty, level, len, at)
    }

    /// All RAM that is left, in one piece.
    pub fn rest(&mut self) -> Result<Object, Error> {
        self.make(CapType::Ram, 0, self.estate.ram.len - self.used)
    }

    /// The table of `level` that translates `va` in the space of `root`, made if it is not there.
    fn table(&mut self, root: VNode, level: u8, va: u64) -> Result<VNode, Error> {
        if level == ROOT_LEVEL {
            return Ok(root);
        }
        let key = (level, va & !(span(level + 1) - 1));
        if let Some(table) = self.tables.get(&key) {
            return Ok(*table);
        }
        let above = self.table(root, level + 1, va)?;
        let table = VNode(self.make(CapType::VNode, level, PAGE_SIZE)?.cap);
        above.map(index(va, level + 1) as u32, 1, table.0, R, 0)?;
        self.tables.insert(key, table);
        Ok(table)
    }

    /// Maps all of `frame` at `va` in the space of `root`.
    pub fn map(&mut self, root: VNode, va: u64, frame: &Object, flags: MapFlags) -> Result<(), Error> {
        self.map_part(root, va, frame, (0, frame.len), flags)
    }

    /// Maps part of `frame`, from where to where, so that its beginning would be at `va`. A slot remembers one place where it is
    /// mapped: what crosses tables is mapped by copies.
    pub fn map_part(
        &mut self,
        root: VNode,
        va: u64,
        frame: &Object,
        (start, end): (u64, u64),
        flags: MapFlags,
    ) -> Result<(), Error> {
        let most = if flags.contains(MapFlags::EXECUTE) { MAX_EXECUTABLE } else { ENTRIES as u64 };
        let mut offset = start;
        while offset < end {
            let at = va + offset;
            let border = (at & !(span(1) - 1)) + span(1);
            let len = (border - at).min(most * PAGE_SIZE).min(end - offset);
            let table = self.table(root, 0, at)?;
            let copy = self.slot()?;
            ROOT.copy_in(frame.cap, copy, Rights::all())?;
            table.map(index(at, 0) as u32, (len / PAGE_SIZE) as u32, copy, flags, offset)?;
            offset += len;
        }
        Ok(())
    }
}

/// Notes that something does not come back.
pub(super) fn forget(result: Result<(), Error>) {
    if let Err(error) = result {
        ::log::error!("what a domain was made of does not come back: {error}");
    }
}
