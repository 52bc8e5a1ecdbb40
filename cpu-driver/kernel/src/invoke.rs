//! From six words to an operation.

use crate::kernel::{Kernel, Outcome};
use skerry_abi::{CPtr, CapType, Error, Op, Rights};
use skerry_caps::{Cap, SlotRef, Store};
use skerry_hal::Machine;

/// The arguments of an invocation, and whom it addresses.
#[derive(Clone, Copy)]
pub(crate) struct Call {
    /// The slot invoked.
    pub at: SlotRef,
    /// What is in it.
    pub cap: Cap,
    /// Words 1 to 5, at the same indices; word 0 is spent.
    pub w: [u64; 6],
}

impl Call {
    /// The low half of word `n`.
    pub const fn lo(&self, n: usize) -> u32 {
        self.w[n] as u32
    }
    /// The high half of word `n`.
    pub const fn hi(&self, n: usize) -> u32 {
        (self.w[n] >> 32) as u32
    }
    /// The low half of word `n` as a CPtr.
    pub const fn cptr_lo(&self, n: usize) -> CPtr {
        CPtr(self.lo(n))
    }
    /// The high half of word `n` as a CPtr.
    pub const fn cptr_hi(&self, n: usize) -> CPtr {
        CPtr(self.hi(n))
    }
    /// Refuses an invocation that needs `rights` the capability lacks.
    pub const fn need(&self, rights: Rights) -> Result<(), Error> {
        if self.cap.rights.contains(rights) { Ok(()) } else { Err(Error::NoRight) }
    }
}

impl<M: Machine> Kernel<M> {
    /// Does what the six words ask for.
    #[inline(never)]
    pub(crate) fn operate(&mut self, w: [u64; 6]) -> Result<Outcome, Error> {
        use CapType as T;
        let (at, cap) = self.lookup(CPtr(w[0] as u32))?;
        let call = Call { at, cap, w };
        let op = Op::from_raw((w[0] >> 32) as u32).ok_or(Error::NoSuchOp)?;
        match (cap.ty, op) {
            (_, Op::Identify) => self.identify(&call),
            (_, Op::Retype) => self.retype(&call),
            (T::Ram | T::Frame, Op::Clear) => self.clear(&call),
            (T::CNode, Op::Copy) => self.copy(&call),
            (T::CNode, Op::Delete) => self.delete(&call),
            (T::CNode, Op::IsFree) => self.is_free(&call),
            (T::CNode, Op::Attach) => self.attach(&call),
            (T::CNode, Op::Revoke) => self.revoke(&call),
            (T::VNode, Op::Map) => self.map(&call),
            (T::VNode, Op::Unmap) => self.unmap(&call),
            (T::VNode, Op::Protect) => self.protect(&call),
            (T::Dispatcher, Op::Wait) => self.wait(&call),
            (T::Dispatcher, Op::Yield) => self.yield_core(&call),
            (T::Dispatcher, Op::Resume) => self.resume(&call),
            (T::Dispatcher, Op::Configure) => self.configure(&call),
            (T::Dispatcher, Op::Start) => self.start(&call),
            (T::Dispatcher, Op::Stop) => self.stop(&call),
            (T::Dispatcher, Op::State) => self.state(&call),
            (T::Dispatcher, Op::MakeEndpoint) => self.make_endpoint(&call),
            (T::Dispatcher, Op::ReplyWait) => self.reply_wait(&call),
            (T::Dispatcher, Op::Schedule) => self.set_schedule(&call),
            (T::Dispatcher, Op::Room) => self.room(&call),
            (T::Endpoint, Op::Signal) => self.signal(&call),
            (T::Endpoint, Op::Send) => self.send(&call),
            (T::Endpoint, Op::Call) => self.call(&call),
            (T::Irq, Op::BindIrq) => self.bind_irq(&call),
            (T::Irq, Op::AckIrq) => self.ack_irq(&call),
            (T::Irq, Op::IrqTables) => self.irq_tables(&call),
            (T::IoPort, Op::PortIn) => self.port_in(&call),
            (T::IoPort, Op::PortOut) => self.port_out(&call),
            (T::Core, Op::StartCore) => self.start_core(&call),
            (T::Core, Op::Ring) => self.ring(&call),
            (T::Kernel, Op::ConsoleWrite) => self.console_write(&call),
            (T::Kernel, Op::Adopt) => self.adopt(&call),
            (T::Kernel, Op::Disown) => self.disown(&call),
            (T::Kernel, Op::PowerOff) => self.power_off(&call),
            (T::Kernel, Op::Counter) => self.counter(&call),
            _ => Err(Error::WrongType),
        }
    }

    fn identify(&self, call: &Call) -> Result<Outcome, Error> {
        let cap = self.memory.slot(call.at).cap().ok_or(Error::EmptySlot)?;
        Ok(Outcome::Value(match call.w[1] {
            0 => {
                u64::from(cap.ty as u8)
                    | u64::from(cap.rights.bits()) << 8
                    | u64::from(cap.level) << 16
                    | u64::from(cap.owner.raw()) << 32
            }
            1 => cap.base,
            2 => cap.len,
            3 => cap.extra,
            _ => return Err(Error::BadArgument),
        }))
    }
}
