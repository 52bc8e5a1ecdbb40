//! From the first Rust function to the first domain.

use crate::facts;
use board_qemu_virt::{fdt, record};
use skerry_abi::boot::{CoreBoot, RegionKind};
use skerry_abi::{CoreId, IslandId, PhysAddr, PhysRange};
use skerry_arch_aarch64::console::Console;
use skerry_arch_aarch64::dump::{self, stop};
use skerry_arch_aarch64::machine::{Arm, own_id};
use skerry_arch_aarch64::mmu::{self, Devices, Pieces};
use skerry_arch_aarch64::psci::Conduit;
use skerry_arch_aarch64::space::{Image, Tables};
use skerry_arch_aarch64::trap;
use skerry_hal::addr::{KERNEL, PHYSMAP, SLICE};
use skerry_kernel::Kernel;
use zerocopy::FromZeros;

/// Tables for the CPU driver's own space: 8, and 3 for each region with ragged ends.
const TABLES: usize = 64;
/// What a stop is about.
const TREE: &str = "device tree";
const BUNDLE: &str = "bundle";
/// A device tree is at most this long (arm64 boot protocol).
const MAX_TREE: usize = 2 << 20;

/// A link-time symbol's value.
macro_rules! symbol {
    ($name:ident) => {{
        unsafe extern "C" {
            static $name: u8;
        }
        (&raw const $name).addr() as u64
    }};
}

/// Called by `arch/aarch64`'s boot code with the early tables in effect: the MMU is on, everything near is writable and
/// executable. `arg` is the device tree on the first core, the core's `CoreBoot` on every other.
#[unsafe(no_mangle)]
extern "C" fn skerry_board_entry(arg: PhysAddr, slice: PhysAddr, later: bool) -> ! {
    let image_end = symbol!(__image_end);
    let (record, mut pieces) = if later {
        let at = KERNEL + arg.0.wrapping_sub(slice.0);
        if at < image_end || at > KERNEL + SLICE - size_of::<CoreBoot>() as u64 {
            stop(BOOT, "the CoreBoot is not in the slice");
        }
        // SAFETY: in this core's own slice behind the image, which only the starter wrote, before this core started.
        let record = unsafe { &mut *(at as *mut CoreBoot) };
        // SAFETY: the slice between the image and the record is unused and mapped read-write; this is the one call.
        (record, unsafe { Pieces::new(image_end, at) })
    } else {
        // SAFETY: the slice behind the image is unused and mapped read-write; this is the one call.
        let mut pieces = unsafe { Pieces::new(image_end, KERNEL + SLICE) };
        let record = room(pieces.place::<CoreBoot>()).write(CoreBoot::new_zeroed());
        Console.enable();
        first_record(record, arg, slice);
        (record, pieces)
    };
    let conduit = Conduit::from_raw(record.arch_word);
    trap::set_conduit(conduit);

    let mut devices = own_space(record, slice, &mut pieces);
    if !later {
        record.first_domain = first_domain(record);
    }
    let machine = Arm::new(&facts::GIC, &mut devices, conduit, !later)
        .unwrap_or_else(|error| stop("interrupt controller", error.text()));
    let (kernel, next) = Kernel::boot(room(pieces.place::<Kernel<Arm>>()), machine, record)
        .unwrap_or_else(|error| stop("first domain", error.text()));
    trap::install(kernel);
    trap::enter(next)
}

/// What a stop is about when it is about this code's own record or slice.
const BOOT: &str = "boot";

/// What was cut off the slice.
fn room<T>(piece: Option<T>) -> T {
    piece.unwrap_or_else(|| stop(BOOT, "the slice has no room left"))
}

/// Leaves the early tables.
fn own_space(record: &CoreBoot, slice: PhysAddr, pieces: &mut Pieces) -> Devices {
    let physical = |at: u64| PhysAddr(at - KERNEL + slice.0);
    let image = Image {
        text_end: symbol!(__text_end) - KERNEL,
        rodata_end: symbol!(__rodata_end) - KERNEL,
        guards: [symbol!(__guard_stack) - KERNEL, symbol!(__guard_emergency) - KERNEL],
    };
    let mapped = [RegionKind::Ram, RegionKind::Bundle, RegionKind::Firmware, RegionKind::Channel];
    let memory = record.regions.iter().filter(|r| mapped.iter().any(|&kind| kind as u32 == r.kind));
    let memory = memory.map(|r| r.range).chain([record.first_domain]);
    let (pool, at) = room(pieces.tables(TABLES));
    let devices = Tables::kernel(pool, physical(at), slice, &image, memory)
        .and_then(|tables| Devices::new(tables, facts::CONSOLE))
        .unwrap_or_else(|error| stop("page tables", error.text()));
    let (_, no_user) = room(pieces.tables(1));
    // SAFETY: the tables map the image as the linker script has it, and all that `record` lists.
    unsafe { mmu::switch_to(devices.tables(), slice, physical(no_user)) };
    devices
}

/// What every later core is told by its monitor, from the device tree.
fn first_record(record: &mut CoreBoot, tree: PhysAddr, slice: PhysAddr) {
    let start = (PHYSMAP + tree.0) as *const u8;
    // SAFETY: the early tables map the GiB that the tree lies in, and nobody writes to it.
    let header = unsafe { core::slice::from_raw_parts(start, fdt::HEADER) };
    let len = fdt::total_size(header).unwrap_or_else(|error| stop(TREE, error.text()));
    if len > MAX_TREE {
        stop(TREE, "longer than the arm64 boot protocol allows");
    }
    // SAFETY: as above; a tree of at most 2 MiB does not leave its GiB here, where RAM starts at a GiB.
    let tree_bytes = unsafe { core::slice::from_raw_parts(start, len) };
    let found = fdt::read(tree_bytes).unwrap_or_else(|error| stop(TREE, error.text()));
    let given = record::Given {
        slice,
        tree: PhysRange::new(tree, len as u64),
        limit: 1 << mmu::physical_bits(),
        kept: &facts::KEPT,
    };
    record.arch_word = match found.psci_method {
        b"hvc" => Conduit::Hvc,
        b"smc" => Conduit::Smc,
        _ => Conduit::None,
    } as u64;
    trap::set_conduit(Conduit::from_raw(record.arch_word));
    record::fill(record, &found, &given).unwrap_or_else(|error| stop("memory map", error.text()));
    record.core = CoreId::new(IslandId(island(found.bootargs).unwrap_or(0)), 0);
    record.hw_id = own_id();
}

/// The island's number on the command line.
fn island(cmdline: &[u8]) -> Option<u16> {
    let number = cmdline.split(|&byte| byte == b' ').find_map(|word| word.strip_prefix(b"island="))?;
    number.iter().try_fold(0_u16, |value, digit| {
        let digit = digit.wrapping_sub(b'0');
        if digit < 10 { value.checked_mul(10)?.checked_add(digit.into()) } else { None }
    })
}

/// Where `init` lies in the bundle.
fn first_domain(record: &CoreBoot) -> PhysRange {
    let region = record.of_kind(RegionKind::Bundle).next();
    let bundle = region.unwrap_or_else(|| stop(BUNDLE, "none was loaded")).range;
    // SAFETY: `own_space` has mapped the bundle; nobody writes to it.
    let bytes =
        unsafe { core::slice::from_raw_parts((PHYSMAP + bundle.base.0) as *const u8, bundle.len as usize) };
    let file = skerry_bundle::find_member(bytes, "aarch64", "init");
    let file = file.unwrap_or_else(|| stop(BUNDLE, "no init for aarch64"));
    PhysRange::new(PhysAddr(file.as_ptr() as u64 - PHYSMAP), file.len() as u64)
}

#[panic_handler]
fn panic(info: &core::panic::PanicInfo<'_>) -> ! {
    dump::panicked(info)
}
