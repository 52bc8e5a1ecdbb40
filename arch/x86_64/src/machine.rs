//! One core, as the CPU driver asks for it.

use crate::console::Console;
use crate::cpu::Features;
use crate::interrupt::{self, DOORBELL, FIRST_MESSAGE_VECTOR, IO_PAGE, IoApic, LOCAL_BASE, LOCAL_PAGE};
use crate::interrupt::{LocalApic, Message, SPURIOUS, TIMER};
use crate::space::{OutOfSlice, Pool, Space, in_slice};
use crate::timer::{self, Rates, Timer};
use crate::trampoline::Berths;
use crate::trap::{self, FIRST_INTERRUPT};
use crate::{Context, X86Pages};
use core::arch::asm;
use core::ptr::NonNull;
use skerry_abi::boot::{CoreBoot, RegionKind};
use skerry_hal::addr::PHYSMAP;
use skerry_hal::machine::{FIRST_MESSAGE, Interrupt};
use skerry_hal::paging::ENTRIES;
use skerry_hal::print::ENTRY_LOOKS;
use skerry_hal::{HwId, Isa, Machine, PhysAddr, PhysRange, StartError};
use x86_64::instructions::{port::Port, tlb};
use x86_64::registers::control::{Cr3, Cr3Flags};
use x86_64::structures::paging::PhysFrame;

/// What a board asserts about itself, because only firmware tables that the CPU driver does not read would tell.
#[derive(Clone, Copy, Debug)]
pub struct Board {
    /// Port of the console's UART.
    pub console: u16,
    /// Where the I/O APIC is.
    pub io_apic: PhysAddr,
    /// The port, and what written to it turns the island off (ACPI `PM1a_CNT`, sleep type of S5 and `SLP_EN`).
    pub power_off: (u16, u16),
    /// RAM below 1 MiB for starting cores.
    pub berths: PhysRange,
}

/// One x86-64 core.
#[derive(Debug)]
pub struct X86 {
    board: &'static Board,
    features: Features,
    slice: PhysAddr,
    /// Root of the CPU driver's own tables.
    root: PhysAddr,
    hw_id: HwId,
    frequency: u64,
    apic: LocalApic,
    io_apic: IoApic,
    timer: Timer,
    berths: Berths,
    start: Option<Start>,
}

/// Between two messages to a core that is being started.
const STEP_MICROSECONDS: u64 = 5;

/// The start of a core under way.
#[derive(Debug)]
struct Start {
    /// What was asked for.
    words: (HwId, PhysAddr, PhysAddr),
    /// Where it starts.
    page: u8,
    /// When the next step may come.
    next: u64,
    /// Start-up messages still to send.
    left: u8,
}

impl X86 {
    /// Makes the final tables and turns on what a core has. Fills in what `boot` leaves open (see [`Self::rates`]).
    ///
    /// # Errors
    /// If the slice has too little room for the page tables.
    ///
    /// # Safety
    /// Called once per core, after `cpu::init`, on the temporary tables, with the slice's own [`Pool`].
    pub unsafe fn new(
        board: &'static Board,
        features: Features,
        boot: &mut CoreBoot,
        pool: &mut Pool,
    ) -> Result<Self, OutOfSlice> {
        let first = boot.core.local() == 0;
        let mut space = Space::new(boot.slice, pool)?;
        for kind in [RegionKind::Ram, RegionKind::Bundle, RegionKind::Channel] {
            for region in boot.of_kind(kind) {
                space.add_ram(region.range, pool)?;
            }
        }
        space.add_ram(boot.first_domain, pool)?;
        space.add_ram(board.berths, pool)?;
        space.add_device(LOCAL_PAGE, PhysAddr(LOCAL_BASE), pool)?;
        if first {
            space.add_device(IO_PAGE, board.io_apic, pool)?;
            interrupt::mask_legacy();
        }
        let root = space.switch();
        // SAFETY: the registers are mapped now; the caller calls this once.
        let apic = unsafe { LocalApic::init(features.x2apic) };
        // SAFETY: as above; only an island's first core has the I/O APIC.
        let io_apic = unsafe { IoApic::init(first) };
        let told = Rates { clock: boot.frequency, apic: boot.arch_word };
        let rates = if told.clock == 0 { timer::calibrate(&features, apic) } else { told };
        (boot.frequency, boot.arch_word) = (rates.clock, rates.apic);
        boot.hw_id = apic.id();
        Ok(Self {
            board,
            features,
            slice: boot.slice,
            root,
            hw_id: apic.id(),
            frequency: rates.clock,
            apic,
            io_apic,
            timer: Timer::new(&features, apic, rates),
            berths: Berths::new(board.berths),
            start: None,
        })
    }
}

// SAFETY: `PHYSMAP` maps each page of the core's RAM to itself (`space`); `switch_space` loads CR3 with what it got;
// the stubs of `trap` save and restore as documented there.
unsafe impl Machine for X86 {
    const ISA: Isa = Isa::X86_64;
    type Context = Context;
    type Pages = X86Pages;

    #[inline]
    fn phys(&self, pa: PhysAddr) -> NonNull<u8> {
        let at = (PHYSMAP + pa.0) as *mut u8;
        // SAFETY: an address in the upper half is not null.
        unsafe { NonNull::new_unchecked(at) }
    }

    #[inline]
    fn now(&self) -> u64 {
        timer::now()
    }

    fn frequency(&self) -> u64 {
        self.frequency
    }

    #[inline]
    fn set_deadline(&mut self, ticks: Option<u64>) {
        self.timer.set(ticks);
    }

    fn next_interrupt(&mut self) -> Option<Interrupt> {
        while let Some(vector) = trap::take_pending() {
            let found = match vector {
                TIMER => self.timer.struck().then_some(Interrupt::Timer),
                DOORBELL => Some(Interrupt::Doorbell),
                FIRST_INTERRUPT..TIMER => {
                    let line = u32::from(vector - FIRST_INTERRUPT);
                    self.io_apic.strike(line);
                    Some(Interrupt::Line(line))
                }
                FIRST_MESSAGE_VECTOR.. => {
                    Some(Interrupt::Line(FIRST_MESSAGE + u32::from(vector - FIRST_MESSAGE_VECTOR)))
                }
                // Not acknowledged (SDM vol. 3 §10.9).
                SPURIOUS => continue,
                // A device that was told a wrong word: without its end, it would keep all below it away.
                _ => None,
            };
            self.apic.end();
            if found.is_some() {
                return found;
            }
        }
        None
    }

    fn unmask_irq(&mut self, line: u32) -> Option<u64> {
        match line.checked_sub(FIRST_MESSAGE) {
            Some(n) => interrupt::message(n, self.hw_id),
            None => self.io_apic.unmask(line, self.hw_id),
        }
    }

    fn mask_irq(&mut self, line: u32) {
        self.io_apic.mask(line);
    }

    #[inline]
    fn ring(&mut self, core: HwId) {
        self.apic.send(core, Message::Vector(DOORBELL));
    }

    /// INIT and two start-up messages. The manual's long waits between them are for processors before 2006
    /// (MultiProcessor Specification 1.4 §B.4); 64-bit ones need 10 µs at most. The caller does the waiting.
    fn start_core(&mut self, core: HwId, entry: PhysAddr, arg: PhysAddr) -> Result<bool, StartError> {
        if core == self.hw_id {
            return Err(StartError::AlreadyOn);
        }
        let now = timer::now();
        let next = now + self.frequency / 1_000_000 * STEP_MICROSECONDS;
        match &mut self.start {
            Some(start) if start.words == (core, entry, arg) => {
                if now < start.next {
                    return Ok(false);
                }
                if start.left == 0 {
                    self.start = None;
                    return Ok(true);
                }
                (start.next, start.left) = (next, start.left - 1);
                self.apic.send(core, Message::Startup(start.page));
            }
            // The first step. A start that was left half done is given up.
            start => {
                let page = self.berths.prepare(entry, arg)?;
                *start = Some(Start { words: (core, entry, arg), page, next, left: 2 });
                self.apic.send(core, Message::Init);
            }
        }
        Ok(false)
    }

    fn init_root(&mut self, root: PhysAddr) {
        let own = in_slice(self.slice, self.root).cast::<u64>();
        let user = self.phys(root).as_ptr().cast::<u64>();
        let half = ENTRIES / 2;
        // SAFETY: the upper half of a table each; the CPU driver's lies in the slice, the other one outside of it.
        unsafe { user.wrapping_add(half).copy_from_nonoverlapping(own.wrapping_add(half), half) };
    }

    #[inline]
    fn switch_space(&mut self, root: PhysAddr) {
        let frame = PhysFrame::containing_address(x86_64::PhysAddr::new_truncate(root.0));
        // SAFETY: the trait's contract: a root that `init_root` prepared, so that the CPU driver stays mapped.
        unsafe { Cr3::write(frame, Cr3Flags::empty()) };
    }

    fn flush_all(&mut self) {
        tlb::flush_all();
    }

    fn sync_instructions(&mut self, _: PhysAddr, _: u64) {}

    fn save_float(&mut self, context: &mut Context) {
        // SAFETY: 512 aligned bytes; `cpu::init` has turned the instruction on.
        unsafe { core::arch::x86_64::_fxsave64((&raw mut context.float).cast()) };
        if self.features.fsgsbase {
            // SAFETY: the feature is on.
            unsafe { asm!("rdfsbase {}", out(reg) context.fs_base, options(nomem, nostack, preserves_flags)) };
            // SAFETY: as above; the CPU driver does not use this base, so it is the program's.
            unsafe { asm!("rdgsbase {}", out(reg) context.gs_base, options(nomem, nostack, preserves_flags)) };
        }
    }

    fn load_float(&mut self, context: &Context) {
        // SAFETY: 512 aligned bytes, whose MXCSR has no reserved bit: `start` and `load_from` see to that.
        unsafe { core::arch::x86_64::_fxrstor64((&raw const context.float).cast()) };
        if self.features.fsgsbase {
            // SAFETY: the feature is on, and the address canonical: `load_from` sees to that.
            unsafe { asm!("wrfsbase {}", in(reg) context.fs_base, options(nomem, nostack, preserves_flags)) };
            // SAFETY: as above.
            unsafe { asm!("wrgsbase {}", in(reg) context.gs_base, options(nomem, nostack, preserves_flags)) };
        }
    }

    fn port_read(&mut self, port: u16, width: u8) -> Option<u32> {
        Some(match width {
            // SAFETY: the caller has shown the capability for the port; what a device does then is its holder's affair.
            1 => unsafe { Port::<u8>::new(port).read() }.into(),
            // SAFETY: as above.
            2 => unsafe { Port::<u16>::new(port).read() }.into(),
            // SAFETY: as above.
            4 => unsafe { Port::<u32>::new(port).read() },
            _ => return None,
        })
    }

    fn port_write(&mut self, port: u16, width: u8, value: u32) -> bool {
        match width {
            // SAFETY: as in `port_read`.
            1 => unsafe { Port::<u8>::new(port).write(value as u8) },
            // SAFETY: as in `port_read`.
            2 => unsafe { Port::<u16>::new(port).write(value as u16) },
            // SAFETY: as in `port_read`.
            4 => unsafe { Port::<u32>::new(port).write(value) },
            _ => return false,
        }
        true
    }

    fn console(&mut self, bytes: &[u8]) -> usize {
        Console::new(self.board.console).write(bytes, ENTRY_LOOKS)
    }

    fn power_off(&mut self) -> ! {
        self.board.power_off()
    }

    /// Nothing but INIT gets it out of there (Intel SDM vol. 3, §9.4).
    fn stop_core(&mut self) -> ! {
        trap::halt()
    }
}

impl Board {
    /// Turns the island off; where that does not work, stops this core.
    pub fn power_off(&self) -> ! {
        let (port, value) = self.power_off;
        // SAFETY: the board says that this turns the island off.
        unsafe { Port::<u16>::new(port).write(value) };
        trap::halt()
    }
}
