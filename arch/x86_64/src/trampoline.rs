//! Starting another core (SDM vol. 3 §8.4.4): it wakes in real mode at a page below 1 MiB, which holds a copy of the
//! code below, and leaves for its own copy of the image in long mode, under tables that map just these two places.
//!
//! Every start uses the next of a few *berths*, so that a core that is still on its way out of one does not see it
//! change. The words at the end of the code page are the one thing that the starting and the started core share; the
//! started one writes [`Words::busy`] alone.

use crate::X86Pages;
use core::arch::global_asm;
use core::sync::atomic::{AtomicU32, Ordering};
use skerry_hal::addr::{KERNEL, LARGE_PAGE, PAGE_SIZE, PHYSMAP};
use skerry_hal::paging::index;
use skerry_hal::{MapFlags, PageFormat, PhysAddr, PhysRange, StartError};

/// Pages of a berth: the code, and tables for two large pages.
const PAGES: u64 = 6;

/// The low memory that a board sets aside for berths.
#[derive(Clone, Copy, Debug)]
pub struct Berths {
    range: PhysRange,
    next: u64,
}

/// What the code finds at the end of its page. Offsets are known to the code.
#[repr(C)]
struct Words {
    entry: u64,
    arg: u64,
    /// Root of the berth's tables.
    root: u32,
    /// Not zero from the start until the core has left the page.
    busy: AtomicU32,
    /// Far pointer to the 64-bit part.
    long: u32,
    long_segment: u32,
    /// Segment table register: limit, then base.
    table_limit: [u16; 2],
    table_base: u32,
    table: [u64; 3],
}

/// Where in the page the words are.
const WORDS: u64 = 0xf00;

unsafe extern "C" {
    static skerry_trampoline: u8;
    static skerry_trampoline_long: u8;
    static skerry_trampoline_end: u8;
}

global_asm!(
    ".pushsection .rodata.skerry_trampoline,\"a\",@progbits",
    ".code16",
    ".balign 16",
    "skerry_trampoline:",
    "cli",
    "cld",
    "movw %cs, %ax",
    "movw %ax, %ds",
    "lgdtl {words} + 34",
    "movl {words} + 16, %eax",
    "movl %eax, %cr3",
    "movl $0x20, %eax",
    "movl %eax, %cr4",
    "movl $0xc0000080, %ecx",
    "movl $0x100, %eax",
    "xorl %edx, %edx",
    "wrmsr",
    "movl $0x80000011, %eax", // paging and protection at once: straight into long mode
    "movl %eax, %cr0",
    "ljmpl *{words} + 24",
    ".code64",
    "skerry_trampoline_long:",
    "movl $16, %eax",
    "movl %eax, %ds",
    "movl %eax, %es",
    "movl %eax, %ss",
    "leaq skerry_trampoline + {words}(%rip), %rbx",
    "movq 8(%rbx), %rdi",
    "movq (%rbx), %rax",
    "movl $0, 20(%rbx)",
    "jmpq *%rax",
    "skerry_trampoline_end:",
    ".popsection",
    words = const WORDS,
    options(att_syntax)
);

impl Berths {
    /// The berths in `range`, whole pages of RAM below 1 MiB that nothing else uses and that are mapped at [`PHYSMAP`].
    pub const fn new(range: PhysRange) -> Self {
        Self { range, next: 0 }
    }

    /// Makes a berth from which a core will enter `entry` with `arg`. Answers the page to start at.
    ///
    /// # Errors
    /// `BadEntry` if the entry cannot be reached, `Refused` if too many cores are on their way.
    pub fn prepare(&mut self, entry: PhysAddr, arg: PhysAddr) -> Result<u8, StartError> {
        let berths = self.range.len / (PAGES * PAGE_SIZE);
        if berths == 0 {
            return Err(StartError::Unsupported);
        }
        if entry.0 < 1 << 20 || entry.0 >= 1 << 47 {
            return Err(StartError::BadEntry);
        }
        let page = self.range.base.0 + self.next % berths * PAGES * PAGE_SIZE;
        let words = (PHYSMAP + page + WORDS) as *mut Words;
        let busy = words.wrapping_byte_add(core::mem::offset_of!(Words, busy)).cast::<u32>();
        // SAFETY: the board's promise: the page is mapped RAM. A started core writes this word in one piece.
        let busy = unsafe { AtomicU32::from_ptr(busy) };
        // Low memory has whatever the firmware left in it when a berth is used for the first time.
        if self.next >= berths && busy.load(Ordering::Acquire) != 0 {
            return Err(StartError::Refused);
        }
        self.next += 1;

        let code = &raw const skerry_trampoline;
        let code_len = (&raw const skerry_trampoline_end as usize) - code as usize;
        // SAFETY: the code is shorter than `WORDS`; both places are mapped, and do not overlap.
        unsafe { (PHYSMAP as *mut u8).wrapping_add(page as usize).copy_from_nonoverlapping(code, code_len) };
        let long = (&raw const skerry_trampoline_long as u64) - code as u64;
        let content = Words {
            entry: entry.0,
            arg: arg.0,
            root: (page + PAGE_SIZE) as u32,
            busy: AtomicU32::new(1),
            long: (page + long) as u32,
            long_segment: 8,
            table_limit: [0, 23],
            table_base: (page + WORDS) as u32 + core::mem::offset_of!(Words, table) as u32,
            table: [0, 0x00af_9b00_0000_ffff, 0x00cf_9300_0000_ffff],
        };
        // SAFETY: no core uses the berth, as checked above.
        unsafe { words.write(content) };

        // Root, then directory pointers and directory for each of the two pages.
        let tables = |n: u64| PhysAddr(page + n * PAGE_SIZE);
        for table in 1..PAGES {
            // SAFETY: pages of this berth, mapped RAM.
            unsafe { ((PHYSMAP + tables(table).0) as *mut u8).write_bytes(0, PAGE_SIZE as usize) };
        }
        map_large(page, [tables(1), tables(2), tables(3)]);
        map_large(entry.0, [tables(1), tables(4), tables(5)]);
        Ok((page >> 12) as u8)
    }
}

/// Maps the large page around `at` to itself, in a root, and where these tables are not there yet, through them.
fn map_large(at: u64, tables: [PhysAddr; 3]) {
    let mut table = tables[0];
    for (level, &fresh) in [(3, &tables[1]), (2, &tables[2])] {
        let entry = slot(table, index(at, level));
        // SAFETY: `slot` answers an entry of a table in this berth.
        table = match X86Pages::decode(unsafe { entry.read() }, level) {
            skerry_hal::Pte::Table(next) => next,
            _ => {
                // SAFETY: as above.
                unsafe { entry.write(X86Pages::table(fresh)) };
                fresh
            }
        };
    }
    // Writable at first use by the core for `busy`, executable: the tables are gone as soon as the core has its own.
    let base = at & !(LARGE_PAGE - 1);
    let entry = X86Pages::page(PhysAddr(base), MapFlags::READ | MapFlags::EXECUTE, 1) | 2;
    // SAFETY: as above.
    unsafe { slot(table, index(at, 1)).write(entry) };
}

fn slot(table: PhysAddr, index: usize) -> *mut u64 {
    ((PHYSMAP + table.0) as *mut u64).wrapping_add(index)
}

const _: () = assert!(size_of::<Words>() as u64 <= PAGE_SIZE - WORDS && KERNEL > PHYSMAP);
const _: () = {
    use core::mem::offset_of;
    assert!(offset_of!(Words, root) == 16 && offset_of!(Words, busy) == 20 && offset_of!(Words, long) == 24);
    assert!(offset_of!(Words, table_limit) == 32 && offset_of!(Words, table_base) == 36);
};
