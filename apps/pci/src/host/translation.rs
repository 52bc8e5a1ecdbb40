//! A GICv3's interrupt translation service, driven from here: its registers are a device frame, its tables and those of
//! the redistributor this domain's own memory. The CPU driver only tells the redistributor where those are.
//!
//! The service writes to memory as a device does; whoever drives it is trusted like one (decision 0012).

use super::messages::Word;
use alloc::vec::Vec;
use core::ops::Range;
use skerry_abi::domain::slot;
use skerry_abi::{CapType, Error, IRQ_TABLES_ALIGN, IRQ_TABLES_BYTES, PAGE_SIZE};
use skerry_app_pci::its::{self, Command, Typer, register};
use skerry_hal::PhysRange;
use skerry_skb::PciAddress;
use skerry_user::cap::{Frame, Irq};
use skerry_user::logging::warn;
use skerry_user::mem::Object;
use skerry_user::vspace::{Mapping, RW};
use skerry_user::{Domain, full_fence};

/// Bytes of each of its tables: entries for 32 buses' devices, at 8 bytes.
const TABLE: u64 = 64 << 10;
/// Bytes of the queue of commands.
const QUEUE: u64 = 4096;
/// How often it is looked at until it has done a command.
const PATIENCE: u32 = 1_000_000;
/// Of a line's byte: a priority in the middle, the bit that is always one, and on (IHI 0069 §5.1.1).
const LINE_ON: u8 = 0xa0 | 0b11;

/// The service.
pub struct Translation {
    registers: Mapping,
    base: u64,
    typer: Typer,
    queue: Mapping,
    /// Offset in the queue of the next command.
    next: u64,
    /// The core that gets the interrupts.
    core: u64,
}

/// Memory of zeros, aligned to 64 KiB.
fn memory(domain: &mut Domain, len: u64) -> Result<(Object, Mapping), Error> {
    let frame = domain.mem.make(CapType::Frame, 0, len, IRQ_TABLES_ALIGN, None)?;
    let view = domain.map(frame.cap, len, RW)?;
    view.zero();
    Ok((frame, view))
}

impl Translation {
    /// Sets it up: the lines' tables, its own tables, its queue, and where interrupts go.
    pub fn open(domain: &mut Domain, at: PhysRange) -> Result<Self, Error> {
        let base = at.base.0;
        let (registers, 0) = domain.map_device(base, register::TRANSLATER & !0xffff)? else {
            return Err(Error::BadArgument);
        };
        let typer = Typer::new(wide(&registers, register::TYPER));
        if typer.by_address {
            warn!("the translation service at {base:#x} names cores by address");
            return Err(Error::Hardware);
        }
        let (lines, view) = memory(domain, IRQ_TABLES_BYTES)?;
        view.write(PAGE_SIZE, &alloc::vec![LINE_ON; (IRQ_TABLES_BYTES - PAGE_SIZE) as usize]);
        domain.unmap(view);
        full_fence();
        let core = Irq(slot::IRQS).tables(Frame(lines.cap))?;
        for n in 0..8 {
            let at = register::BASER + 8 * n;
            let old = wide(&registers, at);
            if matches!(its::kind(old), its::table::DEVICES | its::table::COLLECTIONS) {
                let (table, view) = memory(domain, TABLE)?;
                domain.unmap(view);
                set_wide(&registers, at, its::baser(old, table.base, TABLE));
            }
        }
        let (frame, queue) = memory(domain, QUEUE)?;
        set_wide(&registers, register::CBASER, its::cbaser(frame.base, QUEUE));
        set_wide(&registers, register::CWRITER, 0);
        full_fence();
        registers.write32(register::CTLR, its::ENABLED);
        let mut it = Self { registers, base, typer, queue, next: 0, core };
        it.run(&[its::map_collection(core), its::invalidate()])?;
        Ok(it)
    }

    /// Makes `lines` the first events of a function.
    pub fn give(
        &mut self,
        domain: &mut Domain,
        at: PciAddress,
        lines: Range<u32>,
    ) -> Result<Vec<Word>, Error> {
        let (device, count) = (its::device_id(at), lines.end - lines.start);
        let bits = count.next_power_of_two().trailing_zeros().max(1);
        if u64::from(device) >= TABLE / 8
            || device >> self.typer.device_bits != 0
            || bits > self.typer.event_bits
        {
            return Err(Error::BadArgument);
        }
        let (events, view) = domain.zeroed((self.typer.entry << bits).next_multiple_of(PAGE_SIZE), None)?;
        domain.unmap(view);
        full_fence();
        let mut commands = alloc::vec![its::map_device(device, events.base, bits)];
        let events = lines.enumerate().map(|(event, line)| its::map_event(device, event as u32, line));
        commands.extend(events);
        self.run(&commands)?;
        let address = self.base + register::TRANSLATER;
        Ok((0..count).map(|event| Word { address, data: event }).collect())
    }

    /// Has it do commands, and waits until the core has seen what they do.
    fn run(&mut self, commands: &[Command]) -> Result<(), Error> {
        for command in commands.iter().chain([&its::sync(self.core)]) {
            for (n, word) in (0..).zip(command) {
                self.queue.write(self.next + 8 * n, &word.to_le_bytes());
            }
            self.next = (self.next + size_of::<Command>() as u64) % QUEUE;
            full_fence();
            set_wide(&self.registers, register::CWRITER, self.next);
            if !(0..PATIENCE).any(|_| wide(&self.registers, register::CREADR) & 0xf_ffe0 == self.next) {
                warn!("the translation service does not do command {:#x}", command[0] & 0xff);
                return Err(Error::Hardware);
            }
        }
        Ok(())
    }
}

fn wide(registers: &Mapping, at: u64) -> u64 {
    u64::from(registers.read32(at + 4)) << 32 | u64::from(registers.read32(at))
}

/// The upper half last: it has the bit that makes an address one.
fn set_wide(registers: &Mapping, at: u64, value: u64) {
    registers.write32(at, value as u32);
    registers.write32(at + 4, (value >> 32) as u32);
}
