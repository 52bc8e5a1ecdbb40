//! Everything a core offers its CPU driver besides registers and page tables.

use crate::{HwId, Isa, PageFormat, PhysAddr, UserContext};
use core::ptr::NonNull;

/// Why a core could not be started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StartError {
    /// No such core, or firmware denies it (PSCI `INVALID_PARAMETERS`, `DENIED`).
    Refused,
    /// The core runs already (PSCI `ALREADY_ON`).
    AlreadyOn,
    /// The entry address cannot be reached by a starting core.
    BadEntry,
    /// This machine has no way to start cores.
    Unsupported,
}

/// The first message line: one that a device raises by writing a word to an address. (ARM's LPIs begin here; those of
/// a GICv2m are among the lines below.)
pub const FIRST_MESSAGE: u32 = 8192;
/// Bytes of the tables for [`Machine::irq_tables`], aligned to [`IRQ_TABLES_ALIGN`]: which lines are pending, and from
/// the second page on a byte for each of 8192 lines, which the user writes: its priority, and bit 0 for on.
pub const IRQ_TABLES_BYTES: u64 = 0x3000;
/// See [`IRQ_TABLES_BYTES`].
pub const IRQ_TABLES_ALIGN: u64 = 0x1_0000;

/// What [`Machine::next_interrupt`] found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Interrupt {
    /// The deadline set by [`Machine::set_deadline`] has passed.
    Timer,
    /// Another core rang.
    Doorbell,
    /// A device line, in the machine's own numbering (x86: I/O APIC input as global system interrupt; ARM: GIC
    /// interrupt number; both: from [`FIRST_MESSAGE`] on messages). A level-triggered one stays masked until
    /// [`Machine::unmask_irq`]; another may come again.
    Line(u32),
}

/// One core.
///
/// # Safety
/// Isolation rests on this: [`phys`](Self::phys) must reach exactly the given physical memory,
/// [`switch_space`](Self::switch_space) must make exactly the given tables effective, and the trap stubs must save
/// and restore as [`Handler`](crate::Handler) says.
#[expect(unsafe_code, reason = "isolation rests on the implementation")]
pub unsafe trait Machine: 'static {
    /// The instruction set.
    const ISA: Isa;
    /// User register state.
    type Context: UserContext;
    /// Page-table spelling.
    type Pages: PageFormat;

    /// Where the CPU driver reaches physical memory. Valid for the island's RAM only.
    fn phys(&self, pa: PhysAddr) -> NonNull<u8>;

    /// The clock, in ticks; never goes back. The same counter user programs read (TSC, `CNTVCT_EL0`).
    fn now(&self) -> u64;
    /// Ticks per second of [`now`](Self::now).
    fn frequency(&self) -> u64;
    /// Asks for [`Interrupt::Timer`] at or soon after `ticks`; `None` for never. Replaces the last request.
    fn set_deadline(&mut self, ticks: Option<u64>);

    /// Takes the next pending interrupt and acknowledges it; `None` when there is none left.
    fn next_interrupt(&mut self) -> Option<Interrupt>;
    /// Lets a device line interrupt this core; `None` if there is no such line. For a message line of which the CPU
    /// driver alone knows what the device is to write where: address << 32 | data. For all others 0.
    fn unmask_irq(&mut self, line: u32) -> Option<u64>;
    /// The line is raised by edges, before it is first unmasked. Nothing where the machine tells by itself.
    fn set_edge(&mut self, _line: u32) {}
    /// Lets the interrupt controller keep its tables of message lines in this zeroed memory, for good (see
    /// [`IrqTables`](IRQ_TABLES_BYTES)). Answers the controller's name of this core; `None` where it needs none, has no
    /// message lines, or has its tables already.
    fn irq_tables(&mut self, _at: PhysAddr) -> Option<u64> {
        None
    }
    /// Stops a device line from interrupting.
    fn mask_irq(&mut self, line: u32);

    /// Raises [`Interrupt::Doorbell`] on another core of the island. Ringing a core that does not exist is harmless.
    fn ring(&mut self, core: HwId);
    /// Starts a core at physical address `entry`, MMU state as the ISA's boot glue expects, with `arg` in hand. Answers
    /// whether that is done: where it takes several steps with time between them, the same call is made until it is.
    fn start_core(&mut self, core: HwId, entry: PhysAddr, arg: PhysAddr) -> Result<bool, StartError>;

    /// Prepares a freshly zeroed root table: copies whatever the CPU driver itself needs in it.
    fn init_root(&mut self, root: PhysAddr);
    /// Makes a user address space the current one, and forgets all of this core's translations of user addresses.
    fn switch_space(&mut self, root: PhysAddr);
    /// Forgets all of this core's translations of user addresses.
    fn flush_all(&mut self);
    /// Makes page-table entries that were just written visible to the table walker. Removing or changing an entry needs
    /// a flush besides. Nothing on x86; a barrier on ARM.
    fn sync_tables(&mut self) {}
    /// Makes instructions that were written as data (through the CPU driver's or a user's mapping) fetchable on every core
    /// of the island. Nothing on x86; cache maintenance on ARM.
    fn sync_instructions(&mut self, pa: PhysAddr, len: u64);

    /// Saves the floating-point registers into a context that is about to lose the core.
    fn save_float(&mut self, context: &mut Self::Context);
    /// Loads the floating-point registers of a context that is about to get the core.
    fn load_float(&mut self, context: &Self::Context);

    /// Reads an I/O port, `width` 1, 2 or 4 bytes. `None` where the ISA has no ports.
    fn port_read(&mut self, port: u16, width: u8) -> Option<u32>;
    /// Writes an I/O port; `false` where the ISA has none.
    fn port_write(&mut self, port: u16, width: u8, value: u32) -> bool;

    /// Writes to the early console, for the log and for what the CPU driver has to say about a domain. Waits for room, but
    /// no longer than a kernel entry may ([`ENTRY_LOOKS`](crate::print::ENTRY_LOOKS)). Answers how many bytes were dropped.
    fn console(&mut self, bytes: &[u8]) -> usize;
    /// Turns the island off, or, where nothing can, stops this core for good.
    fn power_off(&mut self) -> !;
    /// Stops this core until it is started again. The CPU driver's memory may be overwritten at any time from now on, with
    /// the same code.
    fn stop_core(&mut self) -> !;
}
