//! From six words to an operation.

use crate::kernel::{Kernel, Outcome};
use skerry_abi::{CPtr, CapType, Error, Op, Rights};
use skerry_caps::types::Types;
use skerry_caps::{Cap, SlotRef, Store};
use skerry_hal::Machine;

/// What does an operation.
type Operate<M> = fn(&mut Kernel<M>, &Call) -> Result<Outcome, Error>;

/// The types that offer an operation, the rights that it needs, and what does it.
type Row<M> = (Types, Rights, Operate<M>);

/// The arguments of an invocation, and whom it addresses.
#[derive(Clone, Copy)]
pub(crate) struct Call<'a> {
    /// The slot invoked.
    pub at: SlotRef,
    /// What is in it.
    pub cap: Cap,
    /// Words 1 to 5, at the same indices; word 0 is spent.
    pub w: &'a [u64; 6],
}

impl Call<'_> {
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
}

impl<M: Machine> Kernel<M> {
    /// Every operation but `Nop`.
    const TABLE: &'static [(Op, Types, Rights, Operate<M>)] = {
        use {CapType as T, Rights as R};
        const ALL: Types = Types::of(&CapType::ALL);
        const NONE: Rights = Rights::empty();
        &[
            (Op::Identify, ALL, NONE, Self::identify),
            (Op::Retype, ALL.without(T::Kernel), NONE, Self::retype),
            (Op::Clear, Types::of(&[T::Ram, T::Frame]), R::WRITE, Self::clear),
            (Op::Copy, Types::of(&[T::CNode]), R::WRITE, Self::copy),
            (Op::Delete, Types::of(&[T::CNode]), R::WRITE, Self::delete),
            (Op::IsFree, Types::of(&[T::CNode]), R::READ, Self::is_free),
            (Op::Attach, Types::of(&[T::CNode]), R::WRITE, Self::attach),
            (Op::Revoke, Types::of(&[T::CNode]), R::WRITE, Self::revoke),
            (Op::Map, Types::of(&[T::VNode]), R::WRITE, Self::map),
            (Op::Unmap, Types::of(&[T::VNode]), R::WRITE, Self::unmap),
            (Op::Protect, Types::of(&[T::VNode]), R::WRITE, Self::protect),
            (Op::Wait, Types::of(&[T::Dispatcher]), NONE, Self::wait),
            (Op::Yield, Types::of(&[T::Dispatcher]), NONE, Self::yield_core),
            (Op::Resume, Types::of(&[T::Dispatcher]), NONE, Self::resume),
            (Op::Configure, Types::of(&[T::Dispatcher]), R::WRITE, Self::configure),
            (Op::Start, Types::of(&[T::Dispatcher]), R::WRITE, Self::start),
            (Op::Stop, Types::of(&[T::Dispatcher]), R::WRITE, Self::stop),
            (Op::State, Types::of(&[T::Dispatcher]), NONE, Self::state),
            (Op::MakeEndpoint, Types::of(&[T::Dispatcher]), R::GRANT, Self::make_endpoint),
            (Op::ReplyWait, Types::of(&[T::Dispatcher]), NONE, Self::reply_wait),
            (Op::Schedule, Types::of(&[T::Dispatcher]), R::CONTROL, Self::set_schedule),
            (Op::Room, Types::of(&[T::Dispatcher]), R::WRITE, Self::room),
            (Op::Signal, Types::of(&[T::Endpoint]), R::SIGNAL, Self::signal),
            (Op::Send, Types::of(&[T::Endpoint]), R::SIGNAL, Self::send),
            (Op::Call, Types::of(&[T::Endpoint]), R::SIGNAL, Self::call),
            (Op::BindIrq, Types::of(&[T::Irq]), R::WRITE, Self::bind_irq),
            (Op::AckIrq, Types::of(&[T::Irq]), R::WRITE, Self::ack_irq),
            (Op::IrqTables, Types::of(&[T::Irq]), R::WRITE, Self::irq_tables),
            (Op::PortIn, Types::of(&[T::IoPort]), R::READ, Self::port_in),
            (Op::PortOut, Types::of(&[T::IoPort]), R::WRITE, Self::port_out),
            (Op::StartCore, Types::of(&[T::Core]), R::CONTROL, Self::start_core),
            (Op::Ring, Types::of(&[T::Core]), R::SIGNAL, Self::ring),
            (Op::ConsoleWrite, Types::of(&[T::Kernel]), R::CONSOLE, Self::console_write),
            (Op::Adopt, Types::of(&[T::Kernel]), R::CONTROL, Self::adopt),
            (Op::Disown, Types::of(&[T::Kernel]), R::CONTROL, Self::disown),
            (Op::PowerOff, Types::of(&[T::Kernel]), R::CONTROL, Self::power_off),
            (Op::Counter, Types::of(&[T::Kernel]), NONE, Self::counter),
            (Op::Mark, Types::of(&[T::Kernel]), R::CONTROL, Self::mark),
            (Op::RetypeAgreed, Types::of(&[T::Kernel]), R::CONTROL, Self::retype_agreed),
            (Op::RevokeAgreed, Types::of(&[T::Kernel]), R::CONTROL, Self::revoke_agreed),
        ]
    };

    /// The table, by the operations' numbers.
    const ROWS: [Row<M>; Op::RevokeAgreed as usize + 1] = {
        let none: Row<M> = (Types::of(&CapType::ALL), Rights::empty(), |_, _| Err(Error::NoSuchOp));
        let (mut rows, mut n) = ([none; Op::RevokeAgreed as usize + 1], 0);
        while n < Self::TABLE.len() {
            let (op, types, rights, run) = Self::TABLE[n];
            rows[op as usize] = (types, rights, run);
            n += 1;
        }
        rows
    };

    /// Does what the six words ask for.
    #[inline(never)]
    pub(crate) fn operate(&mut self, w: &[u64; 6]) -> Result<Outcome, Error> {
        let root = self.own_root();
        let at = self.find_slot(root, CPtr(w[0] as u32)).ok_or(Error::EmptySlot)?;
        let cap = self.memory.slot(at).cap().ok_or(Error::EmptySlot)?;
        let rows = const { &Self::ROWS };
        let &(types, rights, run) = rows.get((w[0] >> 32) as usize).ok_or(Error::NoSuchOp)?;
        if !types.contains(cap.ty) {
            return Err(Error::WrongType);
        }
        if !cap.rights.contains(rights) {
            return Err(Error::NoRight);
        }
        run(self, &Call { at, cap, w })
    }

    fn identify(&mut self, call: &Call) -> Result<Outcome, Error> {
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
