//! Interrupt lines, I/O ports, and other cores.

use crate::dispatcher::{DcbRef, RING_BYTES, RingRef};
use crate::invoke::Call;
use crate::kernel::{Kernel, Outcome};
use skerry_abi::dispatcher::State;
use skerry_abi::lrpc::kind;
use skerry_abi::{CPtr, CapType, Error, HwId, PhysAddr, Rights};
use skerry_hal::machine::{FIRST_MESSAGE, IRQ_TABLES_ALIGN, IRQ_TABLES_BYTES};
use skerry_hal::{Machine, StartError};

/// Lines that one core delivers at most.
const MAX_LINES: usize = 32;

#[derive(Clone, Copy, Debug, Default)]
struct Binding {
    line: u32,
    /// The endpoint's base; 0: unused.
    to: u64,
    /// Events, or with a ring the badge.
    word: u64,
    ring: bool,
    /// Whether message number `number` tells of it, or did, and how often the line struck since the last one was taken.
    posted: bool,
    number: u32,
    count: u64,
    /// Without a ring: delivered and not yet acknowledged.
    held: bool,
    /// Came again meanwhile: an edge, or a message, which no mask holds back.
    again: bool,
}

/// Which line goes to which endpoint.
#[derive(Clone, Copy, Debug)]
pub struct IrqTable([Binding; MAX_LINES]);

impl Default for IrqTable {
    fn default() -> Self {
        Self([Binding::default(); MAX_LINES])
    }
}

impl IrqTable {
    fn find(&mut self, line: u32) -> Option<&mut Binding> {
        self.0.iter_mut().find(|b| b.to != 0 && b.line == line)
    }

    /// Unbinds every line of a dispatcher that goes.
    pub(crate) fn forget<M: Machine>(&mut self, at: DcbRef, machine: &mut M) {
        self.unbind(&|b| DcbRef::of_endpoint(b.to) == at, machine);
    }

    /// Unbinds every line of a ring that goes.
    pub(crate) fn forget_ring<M: Machine>(&mut self, ring: RingRef, machine: &mut M) {
        self.unbind(&|b| b.to == ring.0, machine);
    }

    #[inline(never)]
    fn unbind<M: Machine>(&mut self, which: &dyn Fn(&Binding) -> bool, machine: &mut M) {
        for binding in self.0.iter_mut().filter(|b| b.to != 0 && which(b)) {
            machine.mask_irq(binding.line);
            *binding = Binding::default();
        }
    }
}

impl<M: Machine> Kernel<M> {
    /// A device line went off. A level stays masked until its driver acknowledges. With a ring all are counted; without,
    /// what comes before the acknowledgement is held until then.
    pub(crate) fn deliver_irq(&mut self, line: u32) {
        let Some(binding) = self.irqs.find(line) else { return };
        if !binding.ring {
            binding.again = binding.held;
            binding.held = true;
        }
        let mut found = *binding;
        let mut events = found.word;
        if found.ring {
            found.count += 1;
            events = self.post_irq(&mut found);
            if let Some(binding) = self.irqs.find(line) {
                *binding = found;
            }
        } else if found.again {
            return;
        }
        self.raise(DcbRef::of_endpoint(found.to), events, true);
    }

    /// Tells of a line: raises the count in a message that is unread still, or writes one if there is room. Answers the
    /// ring's events.
    fn post_irq(&mut self, binding: &mut Binding) -> u64 {
        let ring = *self.memory.ring(RingRef(binding.to));
        let (unread, tail) = self.unread(&ring);
        if binding.posted && binding.number.wrapping_sub(tail) < unread {
            let count = Self::message(&ring, binding.number) + 24;
            self.memory.write_shared(PhysAddr(count), binding.count);
        } else {
            if core::mem::take(&mut binding.posted) {
                binding.count = 1;
            }
            if unread > ring.mask {
                self.want_room(&ring);
            } else {
                (binding.posted, binding.number) = (true, ring.head);
                let (to, line) = (RingRef(binding.to), binding.line.into());
                self.post(to, kind::IRQ.into(), binding.word, line, binding.count, 0, 0);
            }
        }
        ring.events
    }

    /// There is room in a ring: tells of lines that had to wait for it.
    pub(crate) fn post_irqs(&mut self, ring: RingRef) {
        for n in 0..MAX_LINES {
            let mut binding = self.irqs.0[n];
            if binding.to == ring.0 && !binding.posted && binding.count != 0 {
                let events = self.post_irq(&mut binding);
                self.irqs.0[n] = binding;
                self.raise(ring.receiver(), events, false);
            }
        }
    }

    /// Checks that word 1 lies in the capability's range; answers it.
    fn in_range(call: &Call) -> Result<u64, Error> {
        let n = call.w[1];
        if n >= call.cap.base && n < call.cap.end() { Ok(n) } else { Err(Error::BadArgument) }
    }

    fn line(call: &Call) -> Result<u32, Error> {
        u32::try_from(Self::in_range(call)?).map_err(|_| Error::BadArgument)
    }

    pub(crate) fn bind_irq(&mut self, call: &Call) -> Result<Outcome, Error> {
        let line = Self::line(call)?;
        if call.cptr_lo(2) == CPtr::NULL {
            self.memory.machine().mask_irq(line);
            self.irqs.unbind(&|b| b.line == line, self.memory.machine());
            return Ok(Outcome::Value(0));
        }
        let (_, endpoint) = self.lookup_as(call.cptr_lo(2), CapType::Endpoint, Rights::SIGNAL)?;
        if endpoint.owner != self.core {
            return Err(Error::Remote);
        }
        if self.memory.dcb(DcbRef::of_endpoint(endpoint.base)).state() == State::Dead {
            return Err(Error::PeerDied);
        }
        if self.irqs.find(line).is_some() {
            return Err(Error::InUse);
        }
        let free = self.irqs.0.iter_mut().find(|b| b.to == 0).ok_or(Error::Full)?;
        let machine = self.memory.machine();
        if call.w[3] == 1 {
            machine.set_edge(line);
        }
        let value = machine.unmask_irq(line).ok_or(Error::Hardware)?;
        let ring = endpoint.len == RING_BYTES;
        *free = Binding { line, to: endpoint.base, word: endpoint.extra, ring, ..Binding::default() };
        Ok(Outcome::Value(value))
    }

    pub(crate) fn ack_irq(&mut self, call: &Call) -> Result<Outcome, Error> {
        let line = Self::line(call)?;
        let binding = self.irqs.find(line).ok_or(Error::BadState)?;
        binding.held = false;
        if core::mem::take(&mut binding.again) {
            self.deliver_irq(line);
        } else {
            self.memory.machine().unmask_irq(line);
        }
        Ok(Outcome::Value(0))
    }

    /// The interrupt controller keeps its tables in memory that the caller gives it (rule `user-pays`).
    pub(crate) fn irq_tables(&mut self, call: &Call) -> Result<Outcome, Error> {
        let (_, frame) = self.lookup_as(call.cptr_lo(1), CapType::Frame, Rights::READ | Rights::WRITE)?;
        let messages = u64::from(FIRST_MESSAGE);
        let at = PhysAddr(frame.base);
        if call.cap.base > messages
            || call.cap.end() <= messages
            || frame.owner != self.core
            || frame.len < IRQ_TABLES_BYTES
            || !at.is_aligned(IRQ_TABLES_ALIGN)
        {
            return Err(Error::BadArgument);
        }
        self.memory.machine().irq_tables(at).map(Outcome::Value).ok_or(Error::Hardware)
    }

    /// The port and width an invocation names.
    fn port(call: &Call) -> Result<(u16, u8), Error> {
        let (first, width) = (Self::in_range(call)?, call.w[2]);
        if !matches!(width, 1 | 2 | 4) || first + width > call.cap.end() {
            return Err(Error::BadArgument);
        }
        Ok((u16::try_from(first).map_err(|_| Error::BadArgument)?, width as u8))
    }

    pub(crate) fn port_in(&mut self, call: &Call) -> Result<Outcome, Error> {
        let (port, width) = Self::port(call)?;
        let value = self.memory.machine().port_read(port, width).ok_or(Error::Hardware)?;
        Ok(Outcome::Value(u64::from(value)))
    }

    pub(crate) fn port_out(&mut self, call: &Call) -> Result<Outcome, Error> {
        let (port, width) = Self::port(call)?;
        if self.memory.machine().port_write(port, width, call.lo(3)) {
            Ok(Outcome::Value(0))
        } else {
            Err(Error::Hardware)
        }
    }

    pub(crate) fn start_core(&mut self, call: &Call) -> Result<Outcome, Error> {
        let core = HwId(Self::in_range(call)?);
        match self.memory.machine().start_core(core, PhysAddr(call.w[2]), PhysAddr(call.w[3])) {
            Ok(done) => Ok(Outcome::Value(u64::from(!done))),
            Err(StartError::AlreadyOn) => Err(Error::BadState),
            Err(StartError::BadEntry) => Err(Error::BadArgument),
            Err(StartError::Refused | StartError::Unsupported) => Err(Error::Hardware),
        }
    }

    pub(crate) fn ring(&mut self, call: &Call) -> Result<Outcome, Error> {
        let core = HwId(Self::in_range(call)?);
        self.memory.machine().ring(core);
        Ok(Outcome::Value(0))
    }
}
