//! Builds the core's first domain: `init` on an island's first core, `monitor` elsewhere.

use crate::cspace::slot_in;
use crate::dispatcher::DcbRef;
use crate::kernel::Kernel;
use crate::ops::vnode::Mapping;
use core::mem::MaybeUninit;
use skerry_abi::boot::{self, CoreBoot, MAX_IMAGE, Program, RegionKind, Segment};
use skerry_abi::cap::{CNODE_BYTES, CNODE_SLOTS, DISPATCHER_BYTES};
use skerry_abi::domain::{
    DomainInfo, IMAGE_VADDR, INFO_VADDR, PAGE_VADDR, Purpose, STACK_BYTES, STACK_TOP, slot,
};
use skerry_abi::{CPtr, CapType, Error, PAGE_SIZE, PhysAddr, PhysRange, Rights};
use skerry_caps::{Cap, SlotRef};
use skerry_hal::addr::SLICE;
use skerry_hal::paging::{ROOT_LEVEL, index};
use skerry_hal::{Machine, MapFlags, Next, PageFormat, Pte};
use zerocopy::{FromBytes, IntoBytes};

skerry_hal::reasons! {
    /// Why a core cannot start its first domain.
    pub enum BootError {
        /// The boot record has another magic number, version or slice than this CPU driver expects.
        BadRecord: "the boot record has another magic number, version or slice",
        /// The first domain is not for this ISA, or has a segment that is not whole pages in order, or cut off.
        BadProgram: "the first domain cannot be loaded",
        /// A segment of the first domain is writable and executable.
        WriteExecute: "the first domain has a segment that is writable and executable",
        /// No RAM region is large enough for the first domain.
        NoMemory: "no RAM region is large enough for the first domain",
        /// More capabilities than slots.
        Slots: "more capabilities than slots",
        /// A rule of the capability database was broken: a region is listed twice.
        Capability: "a region of memory is listed twice",
    }
}

impl From<Error> for BootError {
    fn from(_: Error) -> Self {
        Self::Capability
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
        let program = self.program(record.first_domain)?;
        let need = OVERHEAD + program.segments.iter().map(|segment| segment.len).sum::<u64>();
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
        builder.image(record.first_domain.base, &program)?;
        let rw = MapFlags::READ | MapFlags::WRITE | MapFlags::USER;
        let stack = builder.place(STACK_TOP - STACK_BYTES, STACK_BYTES, rw)?;
        builder.keep(&builder.cap(CapType::Frame, stack, STACK_BYTES))?;
        let page = builder.place(PAGE_VADDR, PAGE_SIZE, rw)?;
        builder.well_known(slot::PAGE, CapType::Frame, page, PAGE_SIZE)?;
        let info = builder.place(INFO_VADDR, PAGE_SIZE, MapFlags::READ | MapFlags::USER)?;
        builder.well_known(slot::INFO, CapType::Frame, info, PAGE_SIZE)?;
        let dispatcher = builder.dispatcher(IMAGE_VADDR + program.entry)?;
        builder.authority(record)?;
        builder.describe(record, home, info)?;
        Ok(self.make_ready(dispatcher)?)
    }

    /// What the first domain's file says, checked.
    fn program(&self, file: PhysRange) -> Result<Program, BootError> {
        let found = Program::read_from_prefix(self.memory.bytes(file.base, file.len));
        let Ok((program, _)) = found else { return Err(BootError::BadProgram) };
        let mut end = 0;
        for &Segment { start, len, offset, bytes, flags } in &program.segments {
            let whole = (start | len).is_multiple_of(PAGE_SIZE) && start.max(len) <= MAX_IMAGE;
            let inside = offset <= file.len && bytes <= len.min(file.len - offset);
            if len != 0 && !(whole && inside && start >= end) {
                return Err(BootError::BadProgram);
            }
            if !mapped(flags).is_sound() {
                return Err(BootError::WriteExecute);
            }
            end = start + len;
        }
        let right = program.magic == boot::PROGRAM_MAGIC && program.isa == M::ISA as u64;
        if right { Ok(program) } else { Err(BootError::BadProgram) }
    }
}

/// How a segment is mapped.
fn mapped(flags: u64) -> MapFlags {
    (MapFlags::from_bits_truncate(flags as u8) - MapFlags::DEVICE) | MapFlags::READ | MapFlags::USER
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
    fn well_known(&mut self, at: CPtr, ty: CapType, base: PhysAddr, len: u64) -> Result<(), BootError> {
        let mut cap = self.cap(ty, base, len);
        cap.level = if at == slot::VSPACE { ROOT_LEVEL } else { 0 };
        self.insert(slot_in(self.nodes[0], at.slot()), &cap)
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
        self.well_known(slot::ROOT, CapType::CNode, root, CNODE_BYTES)?;
        self.root = self.take(PAGE_SIZE)?;
        self.kernel.memory.machine().init_root(self.root);
        self.well_known(slot::VSPACE, CapType::VNode, self.root, PAGE_SIZE)
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

    /// Takes RAM and maps it at `va`.
    fn place(&mut self, va: u64, len: u64, flags: MapFlags) -> Result<PhysAddr, BootError> {
        let at = self.take(len)?;
        for offset in (0..len).step_by(PAGE_SIZE as usize) {
            self.map(va + offset, PhysAddr(at.0 + offset), flags)?;
        }
        Ok(at)
    }

    /// Loads the segments.
    fn image(&mut self, file: PhysAddr, program: &Program) -> Result<(), BootError> {
        for segment in program.segments.iter().filter(|segment| segment.len != 0) {
            let flags = mapped(segment.flags);
            let at = self.place(IMAGE_VADDR + segment.start, segment.len, flags)?;
            self.kernel.memory.copy_within(PhysAddr(file.0 + segment.offset), at, segment.bytes);
            if flags.contains(MapFlags::EXECUTE) {
                self.kernel.memory.machine().sync_instructions(at, segment.len);
            }
            self.keep(&self.cap(CapType::Frame, at, segment.len))?;
        }
        Ok(())
    }

    fn dispatcher(&mut self, entry: u64) -> Result<DcbRef, BootError> {
        let object = self.take(DISPATCHER_BYTES)?;
        self.well_known(slot::DISPATCHER, CapType::Dispatcher, object, DISPATCHER_BYTES)?;
        let kept = [slot::ROOT, slot::VSPACE, slot::PAGE].map(|cptr| slot_in(self.nodes[0], cptr.slot()));
        let at = DcbRef::new(object);
        self.kernel.prepare(at, kept, [entry, STACK_TOP, INFO_VADDR])?;
        Ok(at)
    }

    /// What only the first domain of a core holds.
    fn authority(&mut self, record: &CoreBoot) -> Result<(), BootError> {
        let devices = record.of_kind(RegionKind::Device).next().is_some();
        let ports = devices && self.kernel.memory.machine().port_read(0x80, 1).is_some();
        let whole = [
            (slot::KERNEL, CapType::Kernel, 1, true),
            (slot::CORES, CapType::Core, 1 << 48, true),
            (slot::IRQS, CapType::Irq, 1 << 32, devices),
            (slot::PORTS, CapType::IoPort, 1 << 16, ports),
        ];
        for (cptr, ty, len, _) in whole.into_iter().filter(|(.., there)| *there) {
            self.well_known(cptr, ty, PhysAddr(0), len)?;
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
                let range = PhysRange::new(base, end.0 - base.0);
                self.list(&mut info, (CapType::Ram, Purpose::Ram), range, region.node)?;
            }
        }
        let others = [
            (RegionKind::Device, (CapType::DeviceFrame, Purpose::Device)),
            (RegionKind::Bundle, (CapType::Frame, Purpose::Bundle)),
            (RegionKind::Channel, (CapType::Frame, Purpose::Channel)),
        ];
        for (kind, what) in others {
            for region in record.of_kind(kind) {
                self.list(&mut info, what, region.range, region.node)?;
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
        (ty, purpose): (CapType, Purpose),
        PhysRange { base, len }: PhysRange,
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
