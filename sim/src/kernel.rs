//! The CPU driver of a simulated core: the one that ships, over `arch/host`, with the first domain of a core as the caller.
//! What a monitor's domain binary asks of its CPU driver, the simulator asks here.
#![expect(unsafe_code, reason = "plays boot loader, trap stub and power switch for CPU drivers")]

use crate::share::{Held, ROOT_BYTES};
use skerry_abi::boot::{self, CoreBoot, RegionKind};
use skerry_abi::cap::{CNODE_BYTES, CNODE_SLOTS};
use skerry_abi::domain::slot;
use skerry_abi::op::{halves, word0};
use skerry_abi::{CPtr, CapType, CoreId, Error, Op, PAGE_SIZE, PhysAddr, PhysRange, Rights};
use skerry_arch_host::{Arena, HostMachine, executable};
use skerry_caps::{Cap, Slot, SlotRef, Store};
use skerry_hal::{Handler, Next};
use skerry_kernel::Kernel;
use skerry_monitor::ops::agree::Region as Object;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::mem::MaybeUninit;
use std::ptr::NonNull;
use std::sync::Arc;
use zerocopy::FromZeros;

type Driver = Kernel<HostMachine>;

/// Where the first domain's file lies, and where RAM begins.
const FILE: PhysAddr = PhysAddr(0x10_0000);
const RAM: u64 = 0x40_0000;
/// RAM of a core: its first domain, and some for what domains make.
pub const SHARE: u64 = 1 << 20;
/// RAM for what domains make.
const PLAY: u64 = 64 * PAGE_SIZE;
/// Where windows lie, each island's behind the last one's, and how long they are.
const WINDOW: u64 = 1 << 40;
const WINDOW_BYTES: u64 = 16 * PAGE_SIZE;

thread_local! {
    /// Memory of earlier runs: of CPU drivers, and of islands by size. Each boot clears what it uses.
    static DRIVERS: RefCell<Vec<&'static mut MaybeUninit<Driver>>> = const { RefCell::new(Vec::new()) };
    static ARENAS: RefCell<BTreeMap<u64, Vec<Arc<Arena>>>> = const { RefCell::new(BTreeMap::new()) };
}

/// An island's RAM.
pub struct Ram(Arc<Arena>);

impl Ram {
    /// RAM for so many cores, and for a channel between each two of them.
    pub fn new(cores: u16) -> Self {
        let channels = u64::from(cores) * u64::from(cores) + 64;
        let bytes = RAM + u64::from(cores) * (SHARE + 64 * PAGE_SIZE) + channels * PAGE_SIZE;
        let used = ARENAS.with_borrow_mut(|pool| pool.entry(bytes).or_default().pop());
        Self(used.unwrap_or_else(|| {
            let (arena, file) = (Arena::new(bytes), executable());
            // SAFETY: the file fits below the RAM, and nobody else looks yet.
            unsafe {
                arena.at(FILE).copy_from_nonoverlapping(NonNull::from(&file).cast(), file.len());
            }
            arena
        }))
    }

    /// What the first core is given.
    pub fn whole(&self) -> PhysRange {
        PhysRange::new(PhysAddr(RAM), self.0.len() - RAM)
    }
}

impl Drop for Ram {
    fn drop(&mut self) {
        ARENAS.with_borrow_mut(|pool| pool.entry(self.0.len()).or_default().push(self.0.clone()));
    }
}

/// Memory that has a type: what must not be two things at once.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Region {
    /// First byte.
    pub base: u64,
    /// First byte after it.
    pub end: u64,
    /// What it is.
    pub ty: CapType,
}

/// One core's CPU driver, and its first domain.
pub struct Core {
    driver: Option<&'static mut Driver>,
    /// The domain's RAM, and how much there is.
    pub ram: (CPtr, u64),
    /// Where its RAM begins.
    pub base: u64,
    /// RAM for other domains.
    pub play: (CPtr, u64),
    /// What its domains may share with other cores.
    pub roots: Vec<Held>,
    /// Bytes of it that were given out.
    taken: u64,
    /// The next slot that nothing was put in, and the CNode for the next ones.
    free: CPtr,
    node: u32,
}

impl Core {
    /// Boots a core in its part of the island's RAM, with frames that its record lists.
    ///
    /// # Errors
    /// Why it cannot boot.
    pub fn boot(ram: &Ram, core: CoreId, part: PhysRange, frames: &[PhysRange]) -> Result<Self, String> {
        let mut record = CoreBoot::new_zeroed();
        (record.magic, record.version, record.core) = (boot::MAGIC, boot::VERSION, core);
        record.slice = PhysAddr(0x20_0000);
        record.first_domain = PhysRange::new(FILE, executable().len() as u64);
        let listed = frames.iter().map(|frame| (RegionKind::Channel, *frame));
        // Memory that other islands can be given a part of.
        let window =
            PhysRange::new(PhysAddr(WINDOW + u64::from(core.island().0) * WINDOW_BYTES), WINDOW_BYTES);
        let window = (core.local() == 0).then_some((RegionKind::Device, window));
        for (kind, range) in std::iter::once((RegionKind::Ram, part)).chain(listed).chain(window) {
            if !record.add(kind, range, 0) {
                return Err(format!("{core}: its record is full"));
            }
        }
        let (machine, _) = HostMachine::new(ram.0.clone());
        let room = DRIVERS.with_borrow_mut(Vec::pop);
        let room = room.unwrap_or_else(|| Box::leak(Box::new(MaybeUninit::uninit())));
        let (driver, _) =
            Kernel::boot(room, machine, &record).map_err(|e| format!("{core}: {}", e.text()))?;
        let (free, node) = (CPtr::new(1, 0), 2);
        let none = (CPtr::NULL, 0);
        let roots = Vec::new();
        let mut this =
            Self { driver: Some(driver), ram: none, base: 0, play: none, roots, taken: 0, free, node };
        while let Ok(what) = this.invoke(this.free, Op::Identify, &[0]) {
            let len = this.invoke(this.free, Op::Identify, &[2]).unwrap_or(0);
            if what as u8 == CapType::Ram as u8 && len > this.ram.1 {
                this.ram = (this.free, len);
            }
            if what as u8 == CapType::DeviceFrame as u8 {
                let base = this.invoke(this.free, Op::Identify, &[1]).unwrap_or(0);
                let region = Object { ty: CapType::DeviceFrame, base, len };
                this.roots.push(Held { at: this.free, region, owner: core });
            }
            this.free.0 += 1;
        }
        let wrong = |e| format!("{core}: its RAM: {e}");
        this.base = this.invoke(this.ram.0, Op::Identify, &[1]).map_err(wrong)?;
        this.play = (this.take(CapType::Ram, PLAY, false).map_err(wrong)?.0, PLAY);
        let (at, base) = this.take(CapType::Ram, ROOT_BYTES, false).map_err(wrong)?;
        let region = Object { ty: CapType::Ram, base, len: ROOT_BYTES };
        this.roots.push(Held { at, region, owner: core });
        Ok(this)
    }

    const fn driver(&mut self) -> &mut Driver {
        self.driver.as_mut().expect("it is there until it is dropped")
    }

    /// A system call of the domain.
    ///
    /// # Errors
    /// What the CPU driver answers.
    pub fn invoke(&mut self, target: CPtr, op: Op, args: &[u64]) -> Result<u64, Error> {
        let mut words = [0; 6];
        words[0] = word0(target, op);
        words[1..=args.len()].copy_from_slice(args);
        let Next::Run(at) = self.driver().syscall(words) else { return Err(Error::Busy) };
        // SAFETY: the CPU driver named it as the running context; nobody else touches it between entries.
        let [code, value] = unsafe { at.as_ref() }.words;
        if code == 0 { Ok(value) } else { Err(Error::from_code(code)) }
    }

    /// A slot that was not used yet.
    ///
    /// # Errors
    /// If there is no room for more.
    pub fn slot(&mut self) -> Result<CPtr, Error> {
        let at = self.free;
        if at.slot() < CNODE_SLOTS - 1 {
            self.free.0 += 1;
            return Ok(at);
        }
        // The last slot of a CNode holds the next one.
        self.retype(self.ram.0, CapType::CNode, 0, self.taken, CNODE_BYTES, at)?;
        self.taken += CNODE_BYTES;
        let node = self.node;
        self.invoke(slot::ROOT, Op::Attach, &[at.0.into(), node.into()])?;
        (self.node, self.free) = (node + 1, CPtr::new(node, 1));
        Ok(CPtr::new(node, 0))
    }

    /// Makes an object.
    ///
    /// # Errors
    /// What the CPU driver answers.
    pub fn retype(
        &mut self,
        from: CPtr,
        ty: CapType,
        level: u8,
        offset: u64,
        len: u64,
        to: CPtr,
    ) -> Result<u64, Error> {
        let what = ty as u32 | u32::from(level) << 8 | u32::from(Rights::all().bits()) << 16;
        self.invoke(from, Op::Retype, &[halves(what, 1), offset, len, halves(0, to.0)])
    }

    /// Makes an object of RAM that nothing was made of; its address. `again`: of RAM that something was made of.
    ///
    /// # Errors
    /// What the CPU driver answers.
    pub fn take(&mut self, ty: CapType, len: u64, again: bool) -> Result<(CPtr, u64), Error> {
        let to = self.slot()?;
        let offset = if again { self.taken.saturating_sub(len) } else { self.taken };
        self.retype(self.ram.0, ty, 0, offset, len, to)?;
        self.taken = offset + len;
        Ok((to, self.base + offset))
    }

    /// RAM for another core, which is that core's from then on.
    ///
    /// # Errors
    /// What the CPU driver answers.
    pub fn give(&mut self, to: CoreId) -> Result<PhysRange, Error> {
        let (ram, base) = self.take(CapType::Ram, SHARE, false)?;
        self.invoke(slot::KERNEL, Op::Disown, &[ram.0.into(), to.raw().into()])?;
        Ok(PhysRange::new(PhysAddr(base), SHARE))
    }

    /// A capability for a frame that another core owns.
    ///
    /// # Errors
    /// What the CPU driver answers.
    pub fn adopt(&mut self, owner: CoreId, base: u64, len: u64) -> Result<CPtr, Error> {
        let to = self.slot()?;
        let rights = Rights::READ | Rights::WRITE | Rights::GRANT;
        let what = CapType::Frame as u32 | u32::from(rights.bits()) << 8;
        self.invoke(slot::KERNEL, Op::Adopt, &[halves(what, owner.raw()), base, len, halves(0, to.0)])?;
        Ok(to)
    }

    /// Every region of memory that is a typed object to this core, in order; checks the index on the way.
    ///
    /// # Panics
    /// If an invariant of the index does not hold.
    pub fn typed(&mut self) -> Vec<Region> {
        let driver = self.driver();
        let seen = Seen { store: &driver.memory, slots: RefCell::default() };
        driver.caps.check(&seen);
        let mut slots = seen.slots.into_inner();
        slots.sort_unstable();
        slots.dedup();
        let caps = slots.iter().filter_map(|at| driver.memory.slot(*at).cap());
        let mut regions: Vec<Region> = caps.filter_map(|cap| typed(&cap)).collect();
        regions.sort_unstable();
        regions.dedup();
        regions
    }
}

/// What a capability makes of memory. RAM is nothing yet; devices and windows are no RAM; an endpoint is part of its
/// dispatcher.
const fn typed(cap: &Cap) -> Option<Region> {
    match cap.ty {
        CapType::Frame | CapType::VNode | CapType::CNode | CapType::Dispatcher => {
            Some(Region { base: cap.base, end: cap.end(), ty: cap.ty })
        }
        _ => None,
    }
}

impl Drop for Core {
    fn drop(&mut self) {
        let Some(driver) = self.driver.take() else { return };
        let room = std::ptr::from_mut(driver);
        // SAFETY: the reference it was made of is gone, so the driver ends here, once.
        unsafe { room.drop_in_place() };
        // SAFETY: memory that was leaked when the driver was made; nothing is in it any more.
        let room = unsafe { &mut *room.cast::<MaybeUninit<Driver>>() };
        DRIVERS.with_borrow_mut(|pool| pool.push(room));
    }
}

/// A store that notes what is looked at: the walk that checks the index looks at all of it.
struct Seen<'a, S> {
    store: &'a S,
    slots: RefCell<Vec<SlotRef>>,
}

impl<S: Store> Store for Seen<'_, S> {
    fn slot(&self, at: SlotRef) -> &Slot {
        self.slots.borrow_mut().push(at);
        self.store.slot(at)
    }

    fn slot_mut(&mut self, _: SlotRef) -> &mut Slot {
        unreachable!("a walk changes nothing")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use skerry_abi::IslandId;

    #[test]
    fn two_cores_of_an_island_boot_in_one_memory_and_share_a_frame() {
        let ids = [0, 1].map(|local| CoreId::new(IslandId(0), local));
        for _ in 0..3 {
            let ram = Ram::new(2);
            let mut first = Core::boot(&ram, ids[0], ram.whole(), &[]).unwrap();
            let (_, frame) = first.take(CapType::Frame, PAGE_SIZE, false).unwrap();
            assert_eq!(first.take(CapType::Frame, PAGE_SIZE, true), Err(Error::Overlap));
            let part = first.give(ids[1]).unwrap();
            let mut second = Core::boot(&ram, ids[1], part, &[]).unwrap();
            assert!(second.base > part.base.0 && second.ram.1 < SHARE);
            second.adopt(ids[0], frame, PAGE_SIZE).unwrap();
            let shared = Region { base: frame, end: frame + PAGE_SIZE, ty: CapType::Frame };
            assert!(first.typed().contains(&shared) && second.typed().contains(&shared));
        }
    }

    #[test]
    fn there_are_slots_for_as_many_objects_as_there_is_memory_for() {
        let (ram, core) = (Ram::new(1), CoreId::new(IslandId(0), 0));
        let mut first = Core::boot(&ram, core, ram.whole(), &[]).unwrap();
        let before = first.typed().len();
        let made = (0..).take_while(|_| first.take(CapType::Frame, PAGE_SIZE, false).is_ok()).count();
        assert!(made > 256, "{made}");
        assert!(first.typed().len() >= before + made);
    }
}
