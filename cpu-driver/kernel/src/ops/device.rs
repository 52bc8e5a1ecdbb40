//! Interrupt lines, I/O ports, and other cores.

use crate::dispatcher::DcbRef;
use crate::invoke::Call;
use crate::kernel::{Kernel, Outcome};
use skerry_abi::dispatcher::State;
use skerry_abi::{CPtr, CapType, Error, HwId, PhysAddr, Rights};
use skerry_hal::machine::{FIRST_MESSAGE, IRQ_TABLES_ALIGN, IRQ_TABLES_BYTES};
use skerry_hal::{Machine, StartError};

/// Lines that one core delivers at most.
const MAX_LINES: usize = 32;

#[derive(Clone, Copy, Debug, Default)]
struct Binding {
    line: u32,
    to: DcbRef,
    events: u64,
    /// Delivered and not yet acknowledged.
    held: bool,
    /// Came again meanwhile: an edge, or a message, which no mask holds back.
    again: bool,
}

/// Which line goes to which dispatcher, as which events.
#[derive(Clone, Copy, Debug)]
pub struct IrqTable([Binding; MAX_LINES]);

impl Default for IrqTable {
    fn default() -> Self {
        Self([Binding::default(); MAX_LINES])
    }
}

impl IrqTable {
    fn find(&mut self, line: u32) -> Option<&mut Binding> {
        self.0.iter_mut().find(|b| !b.to.is_none() && b.line == line)
    }

    /// Unbinds every line of a dispatcher that goes.
    pub(crate) fn forget<M: Machine>(&mut self, at: DcbRef, machine: &mut M) {
        for binding in self.0.iter_mut().filter(|b| b.to == at) {
            machine.mask_irq(binding.line);
            *binding = Binding::default();
        }
    }
}

impl<M: Machine> Kernel<M> {
    /// A device line went off. It is held until its driver acknowledges. Answers whether that woke anybody.
    pub(crate) fn deliver_irq(&mut self, line: u32) -> bool {
        let Some(binding) = self.irqs.find(line) else { return false };
        binding.again = binding.held;
        binding.held = true;
        let Binding { to, events, again, .. } = *binding;
        !again && self.raise(to, events, true)
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
        call.need(Rights::WRITE)?;
        let line = Self::line(call)?;
        if call.cptr_lo(2) == CPtr::NULL {
            self.memory.machine().mask_irq(line);
            for binding in self.irqs.0.iter_mut().filter(|b| b.line == line) {
                *binding = Binding::default();
            }
            return Ok(Outcome::Value(0));
        }
        let (_, endpoint) = self.lookup_as(call.cptr_lo(2), CapType::Endpoint, Rights::SIGNAL)?;
        if endpoint.owner != self.core {
            return Err(Error::Remote);
        }
        // An endpoint may outlive its dispatcher, whose memory becomes something else when the endpoint goes too.
        if self.memory.dcb(DcbRef::new(PhysAddr(endpoint.base))).state() == State::Dead {
            return Err(Error::BadState);
        }
        if self.irqs.find(line).is_some() {
            return Err(Error::InUse);
        }
        let free = self.irqs.0.iter_mut().find(|b| b.to.is_none()).ok_or(Error::Full)?;
        let machine = self.memory.machine();
        if call.w[3] == 1 {
            machine.set_edge(line);
        }
        let word = machine.unmask_irq(line).ok_or(Error::Hardware)?;
        let to = DcbRef::new(PhysAddr(endpoint.base));
        *free = Binding { line, to, events: endpoint.extra, ..Binding::default() };
        Ok(Outcome::Value(word))
    }

    pub(crate) fn ack_irq(&mut self, call: &Call) -> Result<Outcome, Error> {
        call.need(Rights::WRITE)?;
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
        call.need(Rights::WRITE)?;
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
        call.need(Rights::READ)?;
        let (port, width) = Self::port(call)?;
        let value = self.memory.machine().port_read(port, width).ok_or(Error::Hardware)?;
        Ok(Outcome::Value(u64::from(value)))
    }

    pub(crate) fn port_out(&mut self, call: &Call) -> Result<Outcome, Error> {
        call.need(Rights::WRITE)?;
        let (port, width) = Self::port(call)?;
        if self.memory.machine().port_write(port, width, call.lo(3)) {
            Ok(Outcome::Value(0))
        } else {
            Err(Error::Hardware)
        }
    }

    pub(crate) fn start_core(&mut self, call: &Call) -> Result<Outcome, Error> {
        call.need(Rights::CONTROL)?;
        let core = HwId(Self::in_range(call)?);
        match self.memory.machine().start_core(core, PhysAddr(call.w[2]), PhysAddr(call.w[3])) {
            Ok(done) => Ok(Outcome::Value(u64::from(!done))),
            Err(StartError::AlreadyOn) => Err(Error::BadState),
            Err(StartError::BadEntry) => Err(Error::BadArgument),
            Err(StartError::Refused | StartError::Unsupported) => Err(Error::Hardware),
        }
    }

    pub(crate) fn ring(&mut self, call: &Call) -> Result<Outcome, Error> {
        call.need(Rights::SIGNAL)?;
        let core = HwId(Self::in_range(call)?);
        self.memory.machine().ring(core);
        Ok(Outcome::Value(0))
    }
}
