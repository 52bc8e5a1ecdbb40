//! Builds the core's first domain: `init` on an island's first core, `monitor` elsewhere.

use crate::cspace::slot_in;
use crate::dispatcher::{DcbRef, KeptSlot};
use crate::elf::{ElfError, Image, Segment};
use crate::kernel::Kernel;
use crate::ops::vnode::Mapping;
use core::mem::MaybeUninit;
use skerry_abi::boot::{self, CoreBoot, RegionKind};
use skerry_abi::cap::{CNODE_BYTES, CNODE_SLOTS, DISPATCHER_BYTES};
use skerry_abi::domain::{
    DomainInfo, IMAGE_VADDR, INFO_VADDR, PAGE_VADDR, Purpose, STACK_BYTES, STACK_TOP, slot,
};
use skerry_abi::{CPtr, CapType, Error, PAGE_SIZE, PhysAddr, Rights};
use skerry_caps::{Cap, SlotRef};
use skerry_hal::addr::SLICE;
use skerry_hal::paging::{ROOT_LEVEL, index, span};
use skerry_hal::{Machine, MapFlags, Next, PageFormat, Pte};
use zerocopy::IntoBytes;

/// Why a core cannot start its first domain.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum BootError {
    /// The boot record has another magic number, version or slice than this CPU driver expects.
    BadRecord,
    /// No RAM region is large enough for the first domain.
    NoMemory,
    /// The first domain's file cannot be loaded.
    Elf(ElfError),
    /// More capabilities than slots.
    Slots,
    /// A rule of the capability database was broken: a region that is not page-aligned, or listed twice.
    Capability(Error),
}

impl BootError {
    /// One line for people.
    pub const fn text(self) -> &'static str {
        match self {
            Self::BadRecord => "the boot record has another magic number, version or slice",
            Self::NoMemory => "no RAM region is large enough for the first domain",
            Self::Elf(error) => error.text(),
            Self::Slots => "more capabilities than slots",
            Self::Capability(error) => error.text(),
        }
    }
}

impl From<ElfError> for BootError {
    fn from(error: ElfError) -> Self {
        Self::Elf(error)
    }
}

impl From<Error> for BootError {
    fn from(error: Error) -> Self {
        Self::Capability(error)
    }
}

/// Room that page tables and the like take at most, besides the image.
const OVERHEAD: u64 = 3 * CNODE_BYTES + DISPATCHER_BYTES + STACK_BYTES + 64 * PAGE_SIZE;

/// A first domain under construction.
struct Builder<'k, M: Machine> {
    kernel: &'k mut Kernel<M>,
    /// RAM not used yet.
    next: PhysAddr,
    end: PhysAddr,
    /// CNode 0 (well-known slots) and CNode 1 (everything else) of the new space.
    nodes: [PhysAddr; 2],
    next_slot: u32,
    root: PhysAddr,
}

impl<M: Machine> Kernel<M> {
    /// Places the CPU driver in `at` and builds the first domain that `boot` describes. Answers what to run.
    ///
    /// # Errors
    /// See [`BootError`]; the core then has nothing to do.
    pub fn boot(
        at: &'static mut MaybeUninit<Self>,
        machine: M,
        boot: &CoreBoot,
    ) -> Result<(&'static mut Self, Next<M::Context>), BootError> {
        if boot.magic != boot::MAGIC || boot.version != boot::VERSION || !boot.slice.is_aligned(SLICE) {
            return Err(BootError::BadRecord);
        }
        let kernel = at.write(Self::new(boot.core, machine));
        kernel.build(boot)?;
        let next = kernel.dispatch();
        Ok((kernel, next))
    }

    fn build(&mut self, record: &CoreBoot) -> Result<(), BootError> {
        let file = record.first_domain;
        let image = Image::parse(self.memory.bytes(file.base, file.len), M::ISA)?;
        let (entry, mut need, mut end) = (image.entry(), OVERHEAD, 0);
        for n in 0..image.segments() {
            if let Some(segment) = image.segment(n, end)? {
                need += segment.len;
                end = segment.start + segment.len;
            }
        }
        let (home, region) = record
            .of_kind(RegionKind::Ram)
            .enumerate()
            .find(|(_, r)| r.range.len >= need && r.range.base.is_aligned(PAGE_SIZE))
            .ok_or(BootError::NoMemory)?;
        let mut builder = Builder {
            next: region.range.base,
            end: region.range.end(),
            nodes: [PhysAddr(0); 2],
            next_slot: 0,
            root: PhysAddr(0),
            kernel: self,
        };
        builder.spaces()?;
        builder.image(record)?;
        let page = builder.stack_and_page()?;
        let info = builder.take(PAGE_SIZE)?;
        builder.map(INFO_VADDR, info, MapFlags::READ | MapFlags::USER)?;
        builder.well_known(slot::INFO, Cap::new(CapType::Frame, info.0, PAGE_SIZE, record.core))?;
        let dispatcher = builder.dispatcher(record, page, IMAGE_VADDR + entry)?;
        builder.authority(record)?;
        builder.describe(record, home, info)?;
        Ok(self.make_ready(dispatcher)?)
    }
}

impl<M: Machine> Builder<'_, M> {
    /// Takes zeroed RAM.
    #[inline(never)]
    fn take(&mut self, bytes: u64) -> Result<PhysAddr, BootError> {
        let at = self.next;
        if self.end.0 - at.0 < bytes {
            return Err(BootError::NoMemory);
        }
        self.next = PhysAddr(at.0 + bytes);
        self.kernel.memory.clear(at, bytes);
        Ok(at)
    }

    fn insert(&mut self, at: SlotRef, cap: &Cap) -> Result<(), BootError> {
        Ok(self.kernel.caps.insert(&mut self.kernel.memory, at, cap)?)
    }

    #[inline(never)]
    fn well_known(&mut self, cptr: CPtr, cap: Cap) -> Result<(), BootError> {
        self.insert(slot_in(self.nodes[0], cptr.slot()), &cap)
    }

    /// Puts a capability into the next slot of CNode 1.
    #[inline(never)]
    fn keep(&mut self, cap: &Cap) -> Result<CPtr, BootError> {
        if self.next_slot == CNODE_SLOTS {
            return Err(BootError::Slots);
        }
        let cptr = CPtr::new(1, self.next_slot);
        self.insert(slot_in(self.nodes[1], cptr.slot()), cap)?;
        self.next_slot += 1;
        Ok(cptr)
    }

    #[inline(never)]
    fn cap(&self, ty: CapType, base: PhysAddr, len: u64) -> Cap {
        Cap::new(ty, base.0, len, self.kernel.core)
    }

    /// The capability space and the root page table.
    fn spaces(&mut self) -> Result<(), BootError> {
        let root = self.take(CNODE_BYTES)?;
        self.nodes = [self.take(CNODE_BYTES)?, self.take(CNODE_BYTES)?];
        for n in 0..2 {
            let cap = self.cap(CapType::CNode, self.nodes[n as usize], CNODE_BYTES);
            self.insert(slot_in(root, n), &cap)?;
        }
        self.well_known(slot::ROOT, self.cap(CapType::CNode, root, CNODE_BYTES))?;
        self.root = self.take(PAGE_SIZE)?;
        self.kernel.memory.machine().init_root(self.root);
        let mut cap = self.cap(CapType::VNode, self.root, PAGE_SIZE);
        cap.level = ROOT_LEVEL;
        self.well_known(slot::VSPACE, cap)
    }

    /// Maps one page, making tables as needed.
    fn map(&mut self, va: u64, pa: PhysAddr, flags: MapFlags) -> Result<(), BootError> {
        let mut table = self.root;
        for level in (1..=ROOT_LEVEL).rev() {
            let at = index(va, level);
            table = match M::Pages::decode(self.kernel.memory.entry(table, at), level) {
                Pte::Table(next) => next,
                _ => {
                    let next = self.take(PAGE_SIZE)?;
                    self.kernel.memory.set_entry(table, at, M::Pages::table(next));
                    let mut cap = self.cap(CapType::VNode, next, PAGE_SIZE);
                    cap.level = level - 1;
                    cap.extra = Mapping { table, entry: at as u32, count: 1 }.pack();
                    self.keep(&cap)?;
                    next
                }
            };
        }
        self.kernel.memory.set_entry(table, index(va, 0), M::Pages::page(pa, flags, 0));
        Ok(())
    }

    fn map_range(&mut self, va: u64, pa: PhysAddr, len: u64, flags: MapFlags) -> Result<(), BootError> {
        for offset in (0..len).step_by(span(0) as usize) {
            self.map(va + offset, PhysAddr(pa.0 + offset), flags)?;
        }
        Ok(())
    }

    /// Loads the file's segments.
    fn image(&mut self, record: &CoreBoot) -> Result<(), BootError> {
        let file = record.first_domain;
        let (mut n, mut end) = (0, 0);
        loop {
            // One segment at a time, so that the file's bytes are not borrowed while memory changes.
            let image = Image::parse(self.kernel.memory.bytes(file.base, file.len), M::ISA)?;
            if n == image.segments() {
                return Ok(());
            }
            let segment = image.segment(n, end)?;
            n += 1;
            let Some(Segment { start, len, skip, offset, bytes, flags }) = segment else { continue };
            end = start + len;
            let pa = self.take(len)?;
            self.kernel.memory.copy_within(PhysAddr(file.base.0 + offset), PhysAddr(pa.0 + skip), bytes);
            if flags.contains(MapFlags::EXECUTE) {
                self.kernel.memory.machine().sync_instructions(pa, len);
            }
            self.map_range(IMAGE_VADDR + start, pa, len, flags)?;
            let frame = self.cap(CapType::Frame, pa, len);
            self.keep(&frame)?;
        }
    }

    fn stack_and_page(&mut self) -> Result<Cap, BootError> {
        let rw = MapFlags::READ | MapFlags::WRITE | MapFlags::USER;
        let stack = self.take(STACK_BYTES)?;
        self.map_range(STACK_TOP - STACK_BYTES, stack, STACK_BYTES, rw)?;
        let frame = self.cap(CapType::Frame, stack, STACK_BYTES);
        self.keep(&frame)?;
        let page = self.take(PAGE_SIZE)?;
        self.map(PAGE_VADDR, page, rw)?;
        let cap = self.cap(CapType::Frame, page, PAGE_SIZE);
        self.well_known(slot::PAGE, cap)?;
        Ok(cap)
    }

    fn dispatcher(&mut self, record: &CoreBoot, page: Cap, entry: u64) -> Result<DcbRef, BootError> {
        let object = self.take(DISPATCHER_BYTES)?;
        self.well_known(slot::DISPATCHER, self.cap(CapType::Dispatcher, object, DISPATCHER_BYTES))?;
        let at = DcbRef::new(object);
        let kept =
            [(KeptSlot::Cspace, slot::ROOT), (KeptSlot::Vspace, slot::VSPACE), (KeptSlot::Page, slot::PAGE)];
        for (which, from) in kept {
            let from = slot_in(self.nodes[0], from.slot());
            self.kernel.caps.copy(&mut self.kernel.memory, from, at.slot(which), Rights::all())?;
        }
        let root = Cap::new(CapType::CNode, self.root_cnode(), CNODE_BYTES, record.core);
        let table = Cap::new(CapType::VNode, self.root.0, PAGE_SIZE, record.core);
        self.kernel.prepare(at, &root, &table, &page, [entry, STACK_TOP, INFO_VADDR]);
        Ok(at)
    }

    fn root_cnode(&self) -> u64 {
        // The three CNodes were taken first, one after another.
        self.nodes[0].0 - CNODE_BYTES
    }

    /// What only the first domain of a core holds.
    fn authority(&mut self, record: &CoreBoot) -> Result<(), BootError> {
        let whole = |ty, len| Cap::new(ty, 0, len, record.core);
        self.well_known(slot::KERNEL, whole(CapType::Kernel, 1))?;
        self.well_known(slot::CORES, whole(CapType::Core, 1 << 48))?;
        if record.of_kind(RegionKind::Device).next().is_some() {
            self.well_known(slot::IRQS, whole(CapType::Irq, 1 << 32))?;
            if self.kernel.memory.machine().port_read(0x80, 1).is_some() {
                self.well_known(slot::PORTS, whole(CapType::IoPort, 1 << 16))?;
            }
        }
        Ok(())
    }

    /// Makes the capabilities for memory, and writes the page that lists them.
    fn describe(&mut self, record: &CoreBoot, home: usize, at: PhysAddr) -> Result<(), BootError> {
        let mut info = DomainInfo::new(record.core);
        let name: &[u8] = if record.core.local() == 0 { b"init" } else { b"monitor" };
        info.name[..name.len()].copy_from_slice(name);
        info.frequency = self.kernel.memory.machine_ref().frequency();
        (info.arch_word, info.hw_id) = (record.arch_word, record.hw_id.0);
        // Non-UTF-8 is for the domain to complain about; the length always fits.
        let cmdline = record.cmdline();
        info.args[..cmdline.len()].copy_from_slice(cmdline);
        info.args_len = cmdline.len() as u32;
        for (n, region) in record.of_kind(RegionKind::Ram).enumerate() {
            let (mut base, end) = (region.range.base, region.range.end());
            if n == home {
                // What the first domain is made of is mapped without a record in its capabilities: it can never be made
                // into anything else, for without rights nothing can be made of it at all.
                let mut used = self.cap(CapType::Ram, base, self.next.0 - base.0);
                used.rights = Rights::empty();
                self.keep(&used)?;
                base = self.next;
            }
            if base < end {
                self.list(&mut info, CapType::Ram, Purpose::Ram, base, end.0 - base.0, region.node)?;
            }
        }
        let others = [
            (RegionKind::Device, CapType::DeviceFrame, Purpose::Device),
            (RegionKind::Bundle, CapType::Frame, Purpose::Bundle),
            (RegionKind::Channel, CapType::Frame, Purpose::Channel),
        ];
        for (kind, ty, purpose) in others {
            for region in record.of_kind(kind) {
                self.list(&mut info, ty, purpose, region.range.base, region.range.len, region.node)?;
            }
        }
        let tables = record.of_kind(RegionKind::Firmware).next().map(|r| r.range);
        let mut cptr = CPtr::NULL;
        if let Some(range) = tables {
            let mut cap = self.cap(CapType::Frame, range.base, range.len);
            cap.rights = Rights::READ | Rights::GRANT;
            cptr = self.keep(&cap)?;
        }
        if record.firmware_kind != boot::firmware::NONE {
            let len = tables.map_or(0, |r| r.len);
            let kind = u64::from(record.firmware_kind);
            let fits = info.list(Purpose::Firmware, cptr, record.firmware_addr.0, len, kind);
            fits.then_some(()).ok_or(BootError::Slots)?;
        }
        info.first_free = CPtr::new(1, self.next_slot);
        self.kernel.memory.copy_in(at, info.as_bytes());
        Ok(())
    }

    fn list(
        &mut self,
        info: &mut DomainInfo,
        ty: CapType,
        purpose: Purpose,
        base: PhysAddr,
        len: u64,
        detail: u32,
    ) -> Result<(), BootError> {
        if !base.is_aligned(PAGE_SIZE) || !len.is_multiple_of(PAGE_SIZE) {
            return Err(BootError::BadRecord);
        }
        let mut cap = self.cap(ty, base, len);
        if purpose == Purpose::Bundle {
            // Every core of the island reads it.
            cap.rights = Rights::READ | Rights::GRANT;
        }
        let cptr = self.keep(&cap)?;
        info.list(purpose, cptr, base.0, len, u64::from(detail)).then_some(()).ok_or(BootError::Slots)
    }
}
