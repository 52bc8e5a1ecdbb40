//! The CPU driver that ships, over the simulated machine, under this library's tests: one core a test thread. What the
//! library invokes, it answers.

use crate::Domain;
use crate::info::Info;
use crate::mem::Store;
use skerry_abi::boot::{self, CoreBoot, RegionKind};
use skerry_abi::domain::INFO_VADDR;
use skerry_abi::{CoreId, IslandId, PhysAddr, PhysRange};
use skerry_arch_host::{Arena, Context, HostMachine, Outside, Pages, executable};
use skerry_hal::paging::index;
use skerry_hal::{Handler, Next, PageFormat, Pte};
use skerry_kernel::Kernel;
use std::boxed::Box;
use std::cell::RefCell;
use std::mem::MaybeUninit;
use std::ptr::NonNull;
use std::sync::{Arc, Mutex};
use zerocopy::FromZeros;

/// First byte of RAM that the first domain is given.
pub const RAM: u64 = 4 << 20;
/// Bytes of it.
pub const BYTES: u64 = 28 << 20;
const FILE: PhysAddr = PhysAddr(0x10_0000);

struct Rig {
    kernel: &'static mut Kernel<HostMachine>,
    outside: Arc<Mutex<Outside>>,
    calls: u64,
}

thread_local! {
    /// A CPU driver never goes: they share their memory, one after another on each thread.
    static ARENA: Arc<Arena> = Arena::new(RAM + BYTES);
    static RIG: RefCell<Option<Rig>> = const { RefCell::new(None) };
}

/// What a system call is, under test.
pub fn syscall(words: [u64; 6]) -> (u64, u64) {
    let (code, value, _) = syscall_wide(words);
    (code, value)
}

/// And one that answers five words more.
pub fn syscall_wide(words: [u64; 6]) -> (u64, u64, [u64; 5]) {
    RIG.with_borrow_mut(|rig| {
        let rig = rig.as_mut().expect("`boot` comes first");
        rig.calls += 1;
        let Next::Run(at) = rig.kernel.syscall(words) else { panic!("the core is idle") };
        #[expect(unsafe_code, reason = "the test plays trap stub")]
        // SAFETY: the kernel named it as the running context; nobody else touches it between entries.
        let Context { words, more, .. } = unsafe { at.as_ref().clone() };
        (words[0], words[1], more)
    })
}

/// Invocations so far.
pub fn calls() -> u64 {
    RIG.with_borrow(|rig| rig.as_ref().map_or(0, |rig| rig.calls))
}

/// A new core, and its first domain.
pub fn boot() -> Domain {
    let arena = ARENA.with(Arc::clone);
    let file = executable();
    #[expect(unsafe_code, reason = "the test plays power switch")]
    // SAFETY: the whole arena, and nobody looks: the core that ran on it before is gone with its test.
    unsafe {
        arena.at(PhysAddr(0)).write_bytes(0, arena.len() as usize);
    }
    #[expect(unsafe_code, reason = "the test plays boot loader")]
    // SAFETY: the file fits below the RAM, and nobody else looks yet.
    unsafe {
        arena.at(FILE).copy_from_nonoverlapping(NonNull::from(&file).cast(), file.len());
    }
    let mut record = CoreBoot::new_zeroed();
    (record.magic, record.version) = (boot::MAGIC, boot::VERSION);
    record.core = CoreId::new(IslandId(0), 0);
    record.slice = PhysAddr(0x20_0000);
    record.first_domain = PhysRange::new(FILE, file.len() as u64);
    assert!(record.set_cmdline(b"island=0"));
    assert!(record.add(RegionKind::Ram, PhysRange::new(PhysAddr(RAM), BYTES), 0));
    let (machine, outside) = HostMachine::new(arena.clone());
    let room = Box::leak(Box::new(MaybeUninit::uninit()));
    let (kernel, _) = Kernel::boot(room, machine, &record).expect("the core boots");
    RIG.set(Some(Rig { kernel, outside, calls: 0 }));
    let Pte::Page(info, _) = walk(INFO_VADDR) else { panic!("the domain is told nothing") };
    let mut told = Box::new(Info::new_zeroed());
    #[expect(unsafe_code, reason = "the test plays memory bus")]
    // SAFETY: the page is RAM, holds an `Info`, and any bits are one.
    unsafe {
        arena.at(info).cast::<Info>().copy_to_nonoverlapping(NonNull::from(&mut *told), 1);
    }
    Domain::take_into(Box::leak(told), Box::leak(Box::new(Store::new())))
}

/// What the page tables say of an address.
pub fn walk(va: u64) -> Pte {
    let outside = RIG.with_borrow(|rig| rig.as_ref().expect("`boot` comes first").outside.clone());
    let mut table = outside.lock().expect("no test failed while it held this").space;
    for level in (0..4).rev() {
        let at = ARENA.with(|arena| arena.at(PhysAddr(table.0 + index(va, level) as u64 * 8)));
        #[expect(unsafe_code, reason = "the test plays page-table walker")]
        // SAFETY: aligned, inside the arena.
        let entry = unsafe { at.cast::<u64>().read() };
        match Pages::decode(entry, level) {
            Pte::Table(next) => table = next,
            Pte::Page(pa, flags) => {
                let inside = va & (skerry_hal::paging::span(level) - 1) & !(skerry_abi::PAGE_SIZE - 1);
                return Pte::Page(PhysAddr(pa.0 + inside), flags);
            }
            Pte::Empty => return Pte::Empty,
        }
    }
    Pte::Empty
}

fn at(va: u64) -> NonNull<u64> {
    let Pte::Page(pa, _) = walk(va) else { panic!("{va:#x} is not mapped") };
    ARENA.with(|arena| arena.at(PhysAddr(pa.0 + va % skerry_abi::PAGE_SIZE))).cast()
}

/// A load of the program.
pub fn read(va: u64) -> u64 {
    #[expect(unsafe_code, reason = "the test plays user program")]
    // SAFETY: inside the arena, aligned by whoever asks; nobody else runs.
    unsafe {
        at(va).read()
    }
}

/// A store of the program.
pub fn write(va: u64, value: u64) {
    #[expect(unsafe_code, reason = "the test plays user program")]
    // SAFETY: as in `read`.
    unsafe {
        at(va).write(value);
    }
}
