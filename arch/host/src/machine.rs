//! An island's memory and one of its cores.
#![expect(unsafe_code, reason = "physical addresses become pointers into the arena")]

use crate::{Context, Pages};
use skerry_hal::machine::{FIRST_MESSAGE, Interrupt};
use skerry_hal::{HwId, Isa, Machine, PAGE_SIZE, PhysAddr, StartError};
use std::alloc::{Layout, alloc_zeroed, dealloc, handle_alloc_error};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::ptr::NonNull;
use std::sync::{Arc, Mutex, PoisonError};

/// An island's RAM, from physical address 0.
#[derive(Debug)]
pub struct Arena {
    /// What was allocated, a page more than the RAM: memory that is asked for with a page's alignment is cleared at once,
    /// other memory when it is first touched.
    base: NonNull<u8>,
    layout: Layout,
    /// Where the RAM begins in it.
    skip: usize,
}

// SAFETY: the arena only lends raw pointers; whoever makes references of them answers for it, as on a real machine.
unsafe impl Send for Arena {}
// SAFETY: as above.
unsafe impl Sync for Arena {}

impl Arena {
    /// `bytes` of zeroed RAM.
    ///
    /// # Panics
    /// If `bytes` is not a positive multiple of a page.
    pub fn new(bytes: u64) -> Arc<Self> {
        assert!(bytes > 0 && bytes.is_multiple_of(PAGE_SIZE), "an arena is a positive number of whole pages");
        let layout = Layout::from_size_align((bytes + PAGE_SIZE) as usize, 16)
            .expect("an arena is no larger than memory");
        // SAFETY: the layout has a size above zero.
        let base = unsafe { alloc_zeroed(layout) };
        let base = NonNull::new(base).unwrap_or_else(|| handle_alloc_error(layout));
        let skip = base.as_ptr().align_offset(PAGE_SIZE as usize);
        Arc::new(Self { base, layout, skip })
    }

    /// Its size in bytes.
    pub const fn len(&self) -> u64 {
        self.layout.size() as u64 - PAGE_SIZE
    }

    /// Never: an arena has at least a page.
    pub const fn is_empty(&self) -> bool {
        false
    }

    /// A pointer to physical address `pa`.
    ///
    /// # Panics
    /// If there is no such RAM: on a real machine the CPU driver would fault.
    pub fn at(&self, pa: PhysAddr) -> NonNull<u8> {
        assert!(pa.0 < self.len(), "no RAM at {pa}");
        // SAFETY: the offset lies inside the allocation (asserted).
        unsafe { self.base.add(self.skip + pa.0 as usize) }
    }
}

impl Drop for Arena {
    fn drop(&mut self) {
        // SAFETY: allocated in `new` with the same layout.
        unsafe { dealloc(self.base.as_ptr(), self.layout) }
    }
}

/// What a core shows of itself to the test, and what the test gives it.
#[derive(Debug, Default)]
pub struct Outside {
    /// The clock, in nanoseconds.
    pub now: u64,
    /// Interrupts the core has not seen.
    pub pending: VecDeque<Interrupt>,
    /// What the timer is set to.
    pub deadline: Option<u64>,
    /// Lines that edges raise.
    pub edges: BTreeSet<u32>,
    /// Whether message lines have their tables.
    pub has_tables: bool,
    /// Cores rung, in order.
    pub rung: Vec<HwId>,
    /// Cores started: bus name, entry, argument.
    pub started: Vec<(HwId, PhysAddr, PhysAddr)>,
    /// The core that is on its way.
    pub starting: Option<(HwId, PhysAddr, PhysAddr)>,
    /// Device lines that may interrupt.
    pub unmasked: BTreeSet<u32>,
    /// What was written to the console.
    pub console: Vec<u8>,
    /// Bytes that it takes of a write; `None`: all.
    pub console_room: Option<usize>,
    /// I/O ports that hold something.
    pub ports: BTreeMap<u16, u32>,
    /// The active root table.
    pub space: PhysAddr,
    /// How often all translations were forgotten.
    pub flushes: u64,
    /// The floating-point registers.
    pub float: [u64; 2],
}

/// One simulated core.
#[derive(Debug)]
pub struct HostMachine {
    arena: Arc<Arena>,
    outside: Arc<Mutex<Outside>>,
}

impl HostMachine {
    /// A core of the island whose RAM is `arena`, and the test's end of it.
    pub fn new(arena: Arc<Arena>) -> (Self, Arc<Mutex<Outside>>) {
        let outside = Arc::new(Mutex::new(Outside::default()));
        (Self { arena, outside: outside.clone() }, outside)
    }

    fn with<R>(&self, f: impl FnOnce(&mut Outside) -> R) -> R {
        f(&mut self.outside.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// What a device writes where to raise the one message line.
pub const MESSAGE: u64 = 0xfee0_0000 << 32 | 64;
/// Device lines this machine has, besides.
const LINES: u32 = 256;

// SAFETY: `phys` reaches exactly the arena; there is no user code here that address spaces would have to keep apart.
unsafe impl Machine for HostMachine {
    const ISA: Isa = Isa::Host;
    type Context = Context;
    type Pages = Pages;

    fn phys(&self, pa: PhysAddr) -> NonNull<u8> {
        self.arena.at(pa)
    }
    fn now(&self) -> u64 {
        self.with(|o| o.now)
    }
    fn frequency(&self) -> u64 {
        1_000_000_000
    }
    fn set_deadline(&mut self, ticks: Option<u64>) {
        self.with(|o| o.deadline = ticks);
    }
    fn next_interrupt(&mut self) -> Option<Interrupt> {
        self.with(|o| match o.pending.pop_front() {
            Some(Interrupt::Line(line)) => {
                o.unmasked.remove(&line);
                Some(Interrupt::Line(line))
            }
            Some(other) => Some(other),
            None if o.deadline.is_some_and(|d| d <= o.now) => {
                o.deadline = None;
                Some(Interrupt::Timer)
            }
            None => None,
        })
    }
    fn unmask_irq(&mut self, line: u32) -> Option<u64> {
        let there = line < LINES || line == FIRST_MESSAGE;
        there.then(|| {
            self.with(|o| o.unmasked.insert(line));
            u64::from(line == FIRST_MESSAGE) * MESSAGE
        })
    }
    fn set_edge(&mut self, line: u32) {
        self.with(|o| o.edges.insert(line));
    }
    fn irq_tables(&mut self, _at: PhysAddr) -> Option<u64> {
        self.with(|o| (!core::mem::replace(&mut o.has_tables, true)).then_some(0))
    }
    fn mask_irq(&mut self, line: u32) {
        self.with(|o| o.unmasked.remove(&line));
    }
    fn ring(&mut self, core: HwId) {
        self.with(|o| o.rung.push(core));
    }
    fn start_core(&mut self, core: HwId, entry: PhysAddr, arg: PhysAddr) -> Result<bool, StartError> {
        self.with(|o| {
            if o.started.iter().any(|s| s.0 == core) {
                return Err(StartError::AlreadyOn);
            }
            // In two steps, as on a machine where it takes time.
            let asked = Some((core, entry, arg));
            if o.starting != asked {
                o.starting = asked;
                return Ok(false);
            }
            o.starting = None;
            o.started.push((core, entry, arg));
            Ok(true)
        })
    }
    fn init_root(&mut self, _root: PhysAddr) {}
    fn switch_space(&mut self, root: PhysAddr) {
        self.with(|o| o.space = root);
    }
    fn flush_all(&mut self) {
        self.with(|o| o.flushes += 1);
    }
    fn sync_instructions(&mut self, _pa: PhysAddr, _len: u64) {}
    fn save_float(&mut self, context: &mut Context) {
        context.float = self.with(|o| o.float);
    }
    fn load_float(&mut self, context: &Context) {
        self.with(|o| o.float = context.float);
    }
    fn port_read(&mut self, port: u16, _width: u8) -> Option<u32> {
        Some(self.with(|o| o.ports.get(&port).copied().unwrap_or(u32::MAX)))
    }
    fn port_write(&mut self, port: u16, _width: u8, value: u32) -> bool {
        self.with(|o| o.ports.insert(port, value));
        true
    }
    fn console(&mut self, bytes: &[u8]) -> usize {
        self.with(|o| {
            let room = o.console_room.unwrap_or(bytes.len()).min(bytes.len());
            o.console.extend_from_slice(&bytes[..room]);
            bytes.len() - room
        })
    }
    fn power_off(&mut self) -> ! {
        panic!("the island was turned off")
    }
    fn stop_core(&mut self) -> ! {
        panic!("the core was stopped")
    }
}
