//! From the loader's start info, or a starter's `CoreBoot`, to the first program.

use crate::board::{BOARD, LOW};
use core::mem::MaybeUninit;
use skerry_abi::boot::{self, CoreBoot, RegionKind, firmware};
use skerry_arch_x86_64::console::Console;
use skerry_arch_x86_64::machine::X86;
use skerry_arch_x86_64::pvh::{Memory, StartInfo};
use skerry_arch_x86_64::regions::RamMap;
use skerry_arch_x86_64::space::Pool;
use skerry_arch_x86_64::{boot as entry, cpu, interrupt, trap};
use skerry_hal::addr::{KERNEL, PAGE_SIZE, SLICE};
use skerry_hal::{CoreId, Isa, IslandId, PhysAddr, PhysRange, Print};
use skerry_kernel::Kernel;
use zerocopy::FromZeros;

/// Physical memory as the first core sees it before it has tables of its own.
struct Early;

impl<'a> Memory<'a> for Early {
    fn bytes(&self, base: PhysAddr, len: u64) -> Option<&'a [u8]> {
        let at = entry::early(base, len)?;
        // SAFETY: `early` answers mapped addresses; the loader has left, and nothing of ours writes there.
        Some(unsafe { core::slice::from_raw_parts(at.0 as *const u8, len as usize) })
    }
}

/// An island's first core: called by the entry code with the start info's physical address.
#[unsafe(no_mangle)]
extern "C" fn skerry_first(start_info: u64) -> ! {
    Console::new(BOARD.console).init();
    // SAFETY: this is the early call on the kernel stack.
    unsafe { trap::init(fatal) };
    let features = cpu::init();
    let info = match StartInfo::read(&Early, PhysAddr(start_info)) {
        Ok(info) => info,
        Err(wrong) => die(wrong.text()),
    };
    // The page that secondary cores find filled in.
    let place = (KERNEL + SLICE - PAGE_SIZE) as *mut MaybeUninit<CoreBoot>;
    // SAFETY: the last page of the slice, mapped, aligned, and not the pool's.
    let boot = unsafe { &mut *place };
    let boot = boot.write(CoreBoot::new_zeroed());
    describe(boot, &info, features.physical_bits);
    run(boot, features)
}

/// Any other core: called by the entry code with the `CoreBoot`'s physical address, in the last page of the slice.
#[unsafe(no_mangle)]
extern "C" fn skerry_next(core_boot: u64) -> ! {
    // SAFETY: this is the early call on the kernel stack.
    unsafe { trap::init(fatal) };
    let features = cpu::init();
    let place = KERNEL + SLICE - PAGE_SIZE;
    if core_boot != entry::slice().0 + SLICE - PAGE_SIZE {
        die("the CoreBoot is not in the last page of the slice");
    }
    // SAFETY: the starter has filled the last page of this core's slice and does not touch it again; every bit pattern
    // is a `CoreBoot`.
    let boot = unsafe { &mut *(place as *mut CoreBoot) };
    if (boot.magic, boot.version) != (boot::MAGIC, boot::VERSION) || boot.slice != entry::slice() {
        die("the CoreBoot is not one of this version and slice");
    }
    run(boot, features)
}

/// Fills in what the loader told us.
fn describe(boot: &mut CoreBoot, info: &StartInfo<'_>, physical_bits: u8) {
    boot.magic = boot::MAGIC;
    boot.version = boot::VERSION;
    boot.slice = entry::slice();
    if !boot.set_cmdline(info.cmdline) {
        die("the command line is too long");
    }
    boot.core = CoreId::new(IslandId(island(info.cmdline).unwrap_or(0)), 0);
    if info.rsdp.0 != 0 {
        (boot.firmware_kind, boot.firmware_addr) = (firmware::ACPI, info.rsdp);
    }
    let slice = PhysRange::new(boot.slice, SLICE);
    let bundle = info.module.map(pages).unwrap_or_default();
    let ram = RamMap::new(info.memory_map());
    let mut fits = true;
    ram.free(&[LOW, slice, bundle, info.at], &mut |free| fits &= boot.add(RegionKind::Ram, free, 0));
    let own = [BOARD.io_apic, PhysAddr(interrupt::LOCAL_BASE)].map(|page| PhysRange::new(page, PAGE_SIZE));
    let limit = PhysAddr(1 << physical_bits);
    ram.devices(limit, &own, &mut |device| fits &= boot.add(RegionKind::Device, device, 0));
    if bundle.len > 0 {
        fits &= boot.add(RegionKind::Bundle, bundle, 0);
    }
    if boot.firmware_kind == firmware::ACPI {
        fits &= boot.add(RegionKind::Firmware, PhysRange::new(info.rsdp, 36), 0);
    }
    if !fits {
        die("the memory map has too many pieces");
    }
    let Some(module) = info.module else { die("the loader brought no bundle") };
    let Some(bytes) = Early.bytes(module.base, module.len) else {
        die("the bundle is out of reach");
    };
    let Some(init) = skerry_bundle::find_member(bytes, Isa::X86_64.name(), "init") else {
        die("no init for x86_64 in the bundle");
    };
    let offset = init.as_ptr() as u64 - bytes.as_ptr() as u64;
    boot.first_domain = PhysRange::new(PhysAddr(module.base.0 + offset), init.len() as u64);
}

/// The way that all cores share.
fn run(boot: &'static mut CoreBoot, features: cpu::Features) -> ! {
    // SAFETY: `run` is called once, and only the pool uses the memory behind the image.
    let mut pool = unsafe { Pool::new() };
    let Ok(place) = pool.place() else { die("no room in the slice") };
    // SAFETY: once per core, after `cpu::init`, on the temporary tables.
    let machine = match unsafe { X86::new(&BOARD, features, boot, &mut pool) } {
        Ok(machine) => machine,
        Err(_) => die("this machine has more RAM than a slice has room for page tables"),
    };
    match Kernel::boot(place, machine, boot) {
        Ok((kernel, next)) => {
            trap::install(kernel);
            trap::enter(next)
        }
        Err(error) => die(error.text()),
    }
}

/// The island's number on the command line.
fn island(cmdline: &[u8]) -> Option<u16> {
    let number = cmdline.split(|&b| b == b' ').find_map(|word| word.strip_prefix(b"island="))?;
    number.iter().try_fold(0_u16, |value, digit| {
        let digit = digit.wrapping_sub(b'0');
        if digit < 10 { value.checked_mul(10)?.checked_add(digit.into()) } else { None }
    })
}

/// The whole pages that a range touches.
fn pages(range: PhysRange) -> PhysRange {
    let base = range.base.align_down(PAGE_SIZE);
    let end = range.end().align_up(PAGE_SIZE).unwrap_or(range.end());
    PhysRange::new(base, end.0 - base.0)
}

/// A CPU driver that cannot go on takes its island down: others must not mistake it for a slow one.
fn die(why: &str) -> ! {
    stopped().text(why).text("\n");
    BOARD.power_off()
}

/// The beginning of what it says then.
fn stopped() -> Console {
    let mut out = Console::new(BOARD.console);
    out.text("\nskerry: CPU driver stopped: ");
    out
}

/// An exception in the CPU driver.
fn fatal(frame: &trap::Frame) -> ! {
    frame.print(&mut stopped());
    BOARD.power_off()
}

#[panic_handler]
fn panic(info: &core::panic::PanicInfo<'_>) -> ! {
    stopped().panic(info).text("\n");
    BOARD.power_off()
}
