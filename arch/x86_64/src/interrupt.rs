//! The local APIC, which every core has (SDM vol. 3 ch. 10), and the I/O APIC, which brings device lines to the core
//! that asks for them (Intel 82093AA data sheet). The 8259 pair stays masked.

use crate::trap::FIRST_INTERRUPT;
use skerry_hal::HwId;
use skerry_hal::addr::{DEVICES, PAGE_SIZE};
use x86_64::instructions::port::Port;
use x86_64::registers::model_specific::Msr;

/// Inputs of the I/O APIC that get vectors: those of the one that a PC has.
pub const LINES: u32 = 24;
/// Message lines that get vectors, all those above the spurious one's group of 16.
pub const MESSAGES: u32 = 32;
/// Vector of the first message line.
pub const FIRST_MESSAGE_VECTOR: u8 = 64;
/// Vector of the local timer.
pub const TIMER: u8 = FIRST_INTERRUPT + LINES as u8;
/// Vector of the doorbell.
pub const DOORBELL: u8 = TIMER + 1;
/// Vector of what turned out to be no interrupt; its low four bits are ones on every processor.
pub const SPURIOUS: u8 = 63;

/// Which page at [`DEVICES`] is which.
pub const LOCAL_PAGE: u64 = 0;
/// The I/O APIC's page at [`DEVICES`].
pub const IO_PAGE: u64 = 1;
/// Where the local APIC's registers lie in physical memory, after reset and in every firmware we know.
pub const LOCAL_BASE: u64 = 0xfee0_0000;

const APIC_BASE: u32 = 0x1b;
const BASE_ENABLE: u64 = 1 << 11;
const BASE_X2APIC: u64 = 1 << 10;

/// Registers, by their number in x2APIC mode (offset divided by 16).
mod register {
    pub const ID: u32 = 0x02;
    pub const PRIORITY: u32 = 0x08;
    pub const EOI: u32 = 0x0b;
    pub const SPURIOUS: u32 = 0x0f;
    pub const COMMAND: u32 = 0x30;
    pub const COMMAND_HIGH: u32 = 0x31;
    pub const TIMER: u32 = 0x32;
    pub const LINT0: u32 = 0x35;
    pub const ERROR: u32 = 0x37;
    pub const INITIAL: u32 = 0x38;
    pub const CURRENT: u32 = 0x39;
    pub const DIVIDE: u32 = 0x3e;
}
const MASKED: u32 = 1 << 16;
const TIMER_DEADLINE: u32 = 2 << 17;

/// This core's local APIC.
#[derive(Clone, Copy, Debug)]
pub struct LocalApic {
    x2: bool,
}

/// What to send to another core (SDM vol. 3 §10.6.1).
#[derive(Clone, Copy, Debug)]
pub enum Message {
    /// An interrupt.
    Vector(u8),
    /// Reset.
    Init,
    /// Start in real mode at this page below 1 MiB.
    Startup(u8),
}

impl LocalApic {
    /// Turns the local APIC on, in x2APIC mode if there is one, with all its own interrupts masked.
    ///
    /// # Safety
    /// Once per core, with [`LOCAL_PAGE`] mapped.
    pub unsafe fn init(has_x2apic: bool) -> Self {
        let mut base = Msr::new(APIC_BASE);
        // SAFETY: every 64-bit processor has this register.
        let old = unsafe { base.read() };
        // A firmware may have chosen x2APIC mode: there is no way back from it but through reset.
        let x2 = has_x2apic || old & BASE_X2APIC != 0;
        let mode = if x2 { BASE_ENABLE | BASE_X2APIC } else { BASE_ENABLE };
        // SAFETY: the mode is one that CPUID offers; the base stays.
        unsafe { base.write(old | mode) };
        let apic = Self { x2 };
        for lvt in [register::TIMER, register::LINT0, register::ERROR] {
            apic.write(lvt, MASKED);
        }
        apic.write(register::PRIORITY, 0);
        apic.write(register::SPURIOUS, 1 << 8 | u32::from(SPURIOUS));
        apic
    }

    /// This core's name on its bus.
    pub fn id(self) -> HwId {
        let raw = self.read(register::ID);
        HwId(u64::from(if self.x2 { raw } else { raw >> 24 }))
    }

    /// The interrupt taken last has been dealt with.
    #[inline]
    pub fn end(self) {
        self.write(register::EOI, 0);
    }

    /// Sends a message. A core that does not exist does not get it.
    pub fn send(self, to: HwId, message: Message) {
        let command = match message {
            Message::Vector(vector) => u32::from(vector) | 1 << 14,
            Message::Init => 5 << 8 | 1 << 14,
            Message::Startup(page) => 6 << 8 | 1 << 14 | u32::from(page),
        };
        // The highest name means all cores, and is no core's.
        if self.x2 && to.0 < 0xffff_ffff {
            // Writes to this register do not wait for earlier stores (SDM vol. 3 §10.12.3): what the other core is
            // to see must be visible first.
            // SAFETY: a fence touches no memory.
            unsafe { core::arch::x86_64::_mm_mfence() };
            // SAFETY: a well-formed command; no message can make another core do more than it is ready for.
            unsafe { Msr::new(0x800 + register::COMMAND).write(to.0 << 32 | u64::from(command)) };
        } else if !self.x2 && to.0 < 0xff {
            self.settle();
            self.write(register::COMMAND_HIGH, (to.0 as u32) << 24);
            self.write(register::COMMAND, command);
        }
    }

    /// Waits until the last command has left: at most a few bus cycles (xAPIC only).
    fn settle(self) {
        for _ in 0..1000 {
            if self.read(register::COMMAND) & 1 << 12 == 0 {
                return;
            }
            core::hint::spin_loop();
        }
    }

    /// The timer counts down at the APIC's own pace, and then raises [`TIMER`] once.
    pub fn timer_one_shot(self) {
        self.write(register::DIVIDE, 0b1011); // by 1
        self.write(register::TIMER, u32::from(TIMER));
    }

    /// The timer raises [`TIMER`] when the time-stamp counter reaches the value in `IA32_TSC_DEADLINE`.
    pub fn timer_deadline(self) {
        self.write(register::TIMER, u32::from(TIMER) | TIMER_DEADLINE);
        // SAFETY: a fence touches no memory. In xAPIC mode it keeps the MSR write behind (SDM vol. 3 §10.5.4.1).
        unsafe { core::arch::x86_64::_mm_mfence() };
    }

    /// Starts the one-shot timer; 0 stops it.
    pub fn timer_start(self, count: u32) {
        self.write(register::INITIAL, count);
    }

    /// What the one-shot timer still has to count.
    pub fn timer_left(self) -> u32 {
        self.read(register::CURRENT)
    }

    #[inline(never)]
    fn read(self, register: u32) -> u32 {
        if self.x2 {
            // SAFETY: `init` has turned x2APIC mode on; the register is one of `register`.
            unsafe { Msr::new(0x800 + register).read() as u32 }
        } else {
            // SAFETY: `init`'s caller has mapped the registers.
            unsafe { local(register).read_volatile() }
        }
    }

    #[inline(never)]
    fn write(self, register: u32, value: u32) {
        if self.x2 {
            // SAFETY: as in `read`; no register of the local APIC reaches memory.
            unsafe { Msr::new(0x800 + register).write(u64::from(value)) };
        } else {
            // SAFETY: as in `read`.
            unsafe { local(register).write_volatile(value) };
        }
    }
}

fn local(register: u32) -> *mut u32 {
    (DEVICES + LOCAL_PAGE * PAGE_SIZE + u64::from(register) * 16) as *mut u32
}

/// The I/O APIC. One core at a time may use it: on an island's first core, the holder of the `Irq` capability.
///
/// A level-triggered line is masked when it strikes. An edge would be lost while its input is masked, so those stay
/// open.
#[derive(Debug)]
pub struct IoApic {
    inputs: u32,
}

impl IoApic {
    /// Masks every input.
    ///
    /// # Safety
    /// [`IO_PAGE`] is mapped if `present`.
    pub unsafe fn init(present: bool) -> Self {
        let mut io = Self { inputs: 0 };
        if present {
            io.inputs = ((io_read(1) >> 16 & 0xff) + 1).min(LINES);
            for line in 0..io.inputs {
                io_write(0x10 + 2 * line, MASKED);
            }
        }
        io
    }

    /// Opens a line to `core`. `None` if there is no such line.
    pub fn unmask(&mut self, line: u32, core: HwId) -> Option<u64> {
        if line >= self.inputs || core.0 > 0xff {
            return None;
        }
        io_write(0x11 + 2 * line, (core.0 as u32) << 24);
        io_write(0x10 + 2 * line, input(line));
        Some(0)
    }

    /// Closes a line.
    pub fn mask(&mut self, line: u32) {
        if line < self.inputs {
            io_write(0x10 + 2 * line, MASKED);
        }
    }

    /// A line has struck.
    pub fn strike(&mut self, line: u32) {
        if mode(line) & LEVEL != 0 {
            io_write(0x10 + 2 * line, input(line) | MASKED);
        }
    }
}

const LEVEL: u32 = 1 << 15;
const ACTIVE_LOW: u32 = 1 << 13;

/// A PC's first 16 lines are those of the ISA bus, edge-triggered and active high; the others are PCI's,
/// level-triggered and active low (PCI Local Bus 3.0 §2.2.6, MultiProcessor Specification 1.4 §4.3.4).
fn mode(line: u32) -> u32 {
    if line < 16 { 0 } else { LEVEL | ACTIVE_LOW }
}

/// What an open input's register says: vector, fixed delivery, trigger mode.
fn input(line: u32) -> u32 {
    (u32::from(FIRST_INTERRUPT) + line) | mode(line)
}

/// What a device writes where to raise message line number `n` on `core` (SDM vol. 3 §10.11): address << 32 | data. A
/// core whose name has more than 8 bits gets no messages.
pub fn message(n: u32, core: HwId) -> Option<u64> {
    let vector = u64::from(FIRST_MESSAGE_VECTOR) + u64::from(n);
    (n < MESSAGES && core.0 < 0xff).then_some((LOCAL_BASE | core.0 << 12) << 32 | vector)
}

fn io_register(offset: u64) -> *mut u32 {
    (DEVICES + IO_PAGE * PAGE_SIZE + offset) as *mut u32
}

fn io_read(index: u32) -> u32 {
    // SAFETY: `IoApic::init`'s caller has mapped the registers; this one selects another.
    unsafe { io_register(0).write_volatile(index) };
    // SAFETY: as above.
    unsafe { io_register(0x10).read_volatile() }
}

fn io_write(index: u32, value: u32) {
    // SAFETY: as in `io_read`.
    unsafe { io_register(0).write_volatile(index) };
    // SAFETY: as in `io_read`; an input can only raise a vector that has a stub.
    unsafe { io_register(0x10).write_volatile(value) };
}

/// Masks both 8259 controllers.
pub fn mask_legacy() {
    for port in [0x21, 0xa1] {
        // SAFETY: the interrupt mask registers of a PC; masking takes nothing away that we use.
        unsafe { Port::<u8>::new(port).write(0xff) };
    }
}
