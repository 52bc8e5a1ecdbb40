//! A core on a bench: boots the CPU driver over `arch/host` with a tiny first domain, and invokes as that domain.

use crate::{BootError, Kernel};
use skerry_abi::boot::{self, CoreBoot, Program, RegionKind, Segment};
use skerry_abi::domain::slot;
use skerry_abi::op::{halves, word0};
use skerry_abi::{CPtr, CapType, CoreId, Error, IslandId, Op, PAGE_SIZE, PhysAddr, PhysRange, Rights};
use skerry_arch_host::{Arena, Context, HostMachine, Outside};
use skerry_caps::Store;
use skerry_hal::machine::Interrupt;
use skerry_hal::{Handler, Isa, Next};
use std::mem::MaybeUninit;
use std::sync::{Arc, Mutex};
use zerocopy::{FromZeros, IntoBytes};

pub const RAM: PhysRange = PhysRange::new(PhysAddr(0x40_0000), 2 << 20);
pub const FILE: PhysAddr = PhysAddr(0x10_0000);
pub const CORE: CoreId = CoreId::new(IslandId(0), 0);

thread_local! {
    /// Thousands of cores boot in these tests, one after another on each thread, and a CPU driver never goes: so they
    /// share their memory.
    static ARENA: Arc<Arena> = Arena::new(RAM.end().0);
}

pub struct Rig {
    pub kernel: &'static mut Kernel<HostMachine>,
    pub outside: Arc<Mutex<Outside>>,
    pub arena: Arc<Arena>,
    /// What runs.
    pub next: Next<Context>,
    /// The dispatchers made beside the first.
    pub peers: Vec<Peer>,
}

/// A second dispatcher in the same spaces, not started yet.
#[derive(Clone, Copy)]
pub struct Peer {
    pub dispatcher: CPtr,
    /// Its page frame, of two pages.
    pub page: PhysAddr,
}

/// A first domain with one read-execute and one read-write segment.
pub fn program() -> Program {
    let mut program = Program::new_zeroed();
    (program.magic, program.isa, program.entry) = (boot::PROGRAM_MAGIC, Isa::Host as u64, 0x1010);
    program.segments[0] = Segment { start: 0x1000, len: 0x1000, offset: 0x1000, bytes: 0x800, flags: 5 };
    program.segments[1] = Segment { start: 0x2000, len: 0x1000, offset: 0x2000, bytes: 0x1000, flags: 3 };
    program
}

/// Its file.
pub fn file(program: &Program) -> Vec<u8> {
    let mut file = vec![0u8; 0x3000];
    file[..size_of::<Program>()].copy_from_slice(program.as_bytes());
    file
}

pub fn record(file_len: u64) -> CoreBoot {
    let mut record = CoreBoot::new_zeroed();
    (record.magic, record.version, record.core) = (boot::MAGIC, boot::VERSION, CORE);
    record.slice = PhysAddr(0x20_0000);
    record.first_domain = PhysRange::new(FILE, file_len);
    assert!(record.set_cmdline(b"island=0"));
    assert!(record.add(RegionKind::Ram, RAM, 0));
    assert!(record.add(RegionKind::Device, PhysRange::new(PhysAddr(1 << 32), 1 << 32), 0));
    record
}

pub fn try_boot(file: &[u8], record: &CoreBoot) -> Result<Rig, BootError> {
    let arena = ARENA.with(Arc::clone);
    let (start, at) = (arena.at(PhysAddr(0)), arena.at(FILE));
    #[expect(unsafe_code, reason = "the test plays power switch")]
    // SAFETY: the whole arena, and nobody looks: the core that ran on it before is gone with its test.
    unsafe {
        start.write_bytes(0, arena.len() as usize);
    }
    #[expect(unsafe_code, reason = "the test plays boot loader")]
    // SAFETY: the file fits below the RAM region, and nobody else looks yet.
    unsafe {
        at.copy_from_nonoverlapping(std::ptr::NonNull::from(file).cast(), file.len());
    }
    let (machine, outside) = HostMachine::new(arena.clone());
    let room = Box::leak(Box::new(MaybeUninit::uninit()));
    let (kernel, next) = Kernel::boot(room, machine, record)?;
    Ok(Rig { kernel, outside, arena, next, peers: Vec::new() })
}

impl Rig {
    pub fn boot() -> Self {
        let file = file(&program());
        try_boot(&file, &record(file.len() as u64)).unwrap()
    }

    /// The registers of whatever runs.
    pub fn context(&self) -> Context {
        let Next::Run(at) = self.next else { panic!("the core is idle") };
        #[expect(unsafe_code, reason = "the test plays trap stub")]
        // SAFETY: the kernel named it as the running context; nobody else touches it between entries.
        unsafe {
            at.as_ref().clone()
        }
    }

    pub fn call(&mut self, words: [u64; 6]) -> Result<u64, Error> {
        self.next = self.kernel.syscall(words);
        match self.context().words {
            [0, value] => Ok(value),
            [code, _] => Err(Error::from_code(code)),
        }
    }

    pub fn invoke(&mut self, target: CPtr, op: Op, args: &[u64]) -> Result<u64, Error> {
        let mut words = [0; 6];
        words[0] = word0(target, op);
        words[1..=args.len()].copy_from_slice(args);
        self.call(words)
    }

    pub fn interrupt(&mut self, what: Interrupt) {
        self.outside.lock().unwrap().pending.push_back(what);
        self.next = self.kernel.interrupt();
    }

    pub fn pass(&mut self, ns: u64) {
        self.outside.lock().unwrap().now += ns;
        self.next = self.kernel.interrupt();
    }

    /// Revokes until it is done; the number of calls.
    pub fn revoke(&mut self, at: CPtr) -> Result<u32, Error> {
        let mut calls = 1;
        while self.invoke(slot::ROOT, Op::Revoke, &[u64::from(at.0)])? == 1 {
            calls += 1;
            assert!(calls < 100_000, "it comes to an end");
        }
        Ok(calls)
    }

    /// Makes dispatcher `n`, below 8.
    pub fn peer(&mut self, n: u32) -> Peer {
        let (ram, at) = (self.ram(), 0x4_0000 + u64::from(n) * 4 * PAGE_SIZE);
        let (dispatcher, page) = (CPtr::new(1, 220 + 2 * n), CPtr::new(1, 221 + 2 * n));
        self.retype(ram, CapType::Dispatcher, 0, at, PAGE_SIZE, dispatcher).unwrap();
        self.retype(ram, CapType::Frame, 0, at + PAGE_SIZE, 2 * PAGE_SIZE, page).unwrap();
        let start = 0x60_0000 + u64::from(n) * 0x1000;
        let args = [halves(slot::ROOT.0, slot::VSPACE.0), u64::from(page.0), start, 0x70_0000, 7];
        self.invoke(dispatcher, Op::Configure, &args).unwrap();
        let peer = Peer { dispatcher, page: PhysAddr(self.invoke(page, Op::Identify, &[1]).unwrap()) };
        self.peers.push(peer);
        peer
    }

    /// Which of these dispatchers has the core.
    pub fn running(&mut self, all: &[CPtr]) -> Option<CPtr> {
        let current = self.kernel.schedule.current;
        if current.is_none() {
            return None;
        }
        all.iter().copied().find(|at| {
            let root = self.kernel.memory.dcb(current).cspace;
            let slot = self.kernel.slot_at(root, *at).unwrap();
            self.kernel.memory.slot(slot).cap().is_some_and(|cap| PhysAddr(cap.base) == current.object())
        })
    }

    /// The CPtr of the listed RAM.
    pub fn ram(&mut self) -> CPtr {
        let mut best = (0, CPtr::NULL);
        for cptr in (0..256).map(|n| CPtr::new(1, n)) {
            if self.invoke(cptr, Op::Identify, &[0]).is_ok_and(|w| w as u8 == CapType::Ram as u8) {
                best = best.max((self.invoke(cptr, Op::Identify, &[2]).unwrap(), cptr));
            }
        }
        best.1
    }

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

    pub fn word(&self, at: PhysAddr) -> u64 {
        #[expect(unsafe_code, reason = "the test plays memory bus")]
        // SAFETY: aligned, inside the arena.
        unsafe {
            self.arena.at(at).cast::<u64>().read()
        }
    }

    pub fn set_word(&self, at: PhysAddr, value: u64) {
        #[expect(unsafe_code, reason = "the test plays user program")]
        // SAFETY: aligned, inside the arena; the kernel is not running.
        unsafe {
            self.arena.at(at).cast::<u64>().write(value);
        }
    }
}
