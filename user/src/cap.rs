//! Typed capabilities. Each is a name ([`CPtr`]) and a promise, checked by the CPU driver at every use, of what is there.

mod agreed;

pub use agreed::Place;

use crate::sys::invoke;
use skerry_abi::cap::mark;
use skerry_abi::domain::slot;
use skerry_abi::op::halves;
use skerry_abi::{CPtr, CapType, CoreId, Error, HwId, Op, PhysAddr, PhysRange, Rights};
use skerry_hal::{FaultKind, MapFlags};

macro_rules! caps {
    ($($(#[$doc:meta])* $name:ident,)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Debug)]
        pub struct $name(pub CPtr);

        impl $name {
            /// Its name.
            pub const fn cptr(self) -> CPtr {
                self.0
            }
        }
    )*};
}

caps! {
    /// Something to be retyped: RAM, a device frame, a window frame, IRQs, ports, cores.
    Ram,
    /// Memory that can be mapped: a frame, a device frame or a window frame.
    Frame,
    /// A page table.
    VNode,
    /// A table of slots; most operations want a root.
    CNode,
    /// A domain's presence on a core.
    Dispatcher,
    /// The right to signal a dispatcher.
    Endpoint,
    /// A range of interrupt lines.
    Irq,
    /// A range of I/O ports.
    IoPort,
    /// A range of cores.
    Core,
    /// Authority over the own CPU driver.
    Kernel,
}

/// The domain's own root CNode.
pub const ROOT: CNode = CNode(slot::ROOT);
/// The domain's own dispatcher.
pub const SELF: Dispatcher = Dispatcher(slot::DISPATCHER);
/// The domain's `Kernel` capability, with whatever rights it has.
pub const KERNEL: Kernel = Kernel(slot::KERNEL);

/// What a retype makes.
#[derive(Clone, Copy, Debug)]
pub struct Make {
    /// The new type.
    pub ty: CapType,
    /// Level of a VNode, else 0.
    pub level: u8,
    /// Rights kept.
    pub rights: Rights,
    /// Offset of the first object in the source.
    pub offset: u64,
    /// Length of each object.
    pub len: u64,
    /// How many.
    pub count: u32,
}

/// Makes objects out of `source`; the first goes to `dest` in the own space, the others follow.
///
/// # Errors
/// What the CPU driver answers.
pub fn retype(source: CPtr, make: &Make, dest: CPtr) -> Result<(), Error> {
    invoke(source, Op::Retype, make.words(CPtr::NULL, dest, CPtr::NULL)).map(drop)
}

impl Make {
    #[inline]
    fn words(&self, root: CPtr, dest: CPtr, source: CPtr) -> [u64; 5] {
        let what =
            u32::from(self.ty as u8) | u32::from(self.level) << 8 | u32::from(self.rights.bits()) << 16;
        [halves(what, self.count), self.offset, self.len, halves(root.0, dest.0), source.0.into()]
    }
}

/// Zeroes `len` bytes (at most 32 KiB) from `offset` of RAM that nothing was made of, or of a frame.
pub fn clear(memory: CPtr, offset: u64, len: u64) -> Result<(), Error> {
    invoke(memory, Op::Clear, [offset, len, 0, 0, 0]).map(drop)
}

/// Zeroes the first `len` bytes of RAM that nothing was made of, or of a frame.
pub fn clear_all(memory: CPtr, len: u64) -> Result<(), Error> {
    (0..len).step_by(MAX_CLEAR as usize).try_for_each(|at| clear(memory, at, MAX_CLEAR.min(len - at)))
}

/// Type and range of a capability.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Identity {
    /// Its type.
    pub ty: CapType,
    /// Its rights.
    pub rights: Rights,
    /// The core that decides about it.
    pub owner: CoreId,
    /// First byte, line, port or core.
    pub base: u64,
    /// How many.
    pub len: u64,
}

/// Asks what lies at `cptr`.
///
/// # Errors
/// [`Error::EmptySlot`].
pub fn identify(cptr: CPtr) -> Result<Identity, Error> {
    let word = invoke(cptr, Op::Identify, [0; 5])?;
    let base = invoke(cptr, Op::Identify, [1, 0, 0, 0, 0])?;
    let len = invoke(cptr, Op::Identify, [2, 0, 0, 0, 0])?;
    let ty = CapType::from_raw(word as u8).ok_or(Error::Unknown)?;
    let owner = CoreId::from_raw((word >> 32) as u32);
    Ok(Identity { ty, rights: Rights::from_bits_truncate((word >> 8) as u8), owner, base, len })
}

/// Bytes that one invocation clears at most.
const MAX_CLEAR: u64 = 32 << 10;

impl Ram {
    /// Fills `len` bytes of RAM that nothing was made of with zeros.
    pub fn clear(self, len: u64) -> Result<(), Error> {
        clear_all(self.0, len)
    }
}

impl CNode {
    /// Copies `from` (own space) to `to` in this root's space, with at most `rights`.
    pub fn copy_in(self, from: CPtr, to: CPtr, rights: Rights) -> Result<(), Error> {
        self.copy(CPtr::NULL, from, to, rights)
    }

    /// Copies `from` in the space of `from_root` to `to` in this root's space.
    pub fn copy(self, from_root: CPtr, from: CPtr, to: CPtr, rights: Rights) -> Result<(), Error> {
        let mask = halves(u32::from(rights.bits()), from_root.0);
        invoke(self.0, Op::Copy, [halves(from.0, to.0), mask, 0, 0, 0]).map(drop)
    }

    /// Whether a slot of this root's space is empty.
    ///
    /// # Errors
    /// [`Error::EmptySlot`] if there is no such slot.
    pub fn is_free(self, at: CPtr) -> Result<bool, Error> {
        invoke(self.0, Op::IsFree, [u64::from(at.0), 0, 0, 0, 0]).map(|free| free != 0)
    }

    /// Empties a slot of this root's space. The last capability of a dispatcher stops it, of a CNode empties it.
    pub fn delete(self, at: CPtr) -> Result<(), Error> {
        let delete = |at: CPtr| invoke(self.0, Op::Delete, [u64::from(at.0), 0, 0, 0, 0]);
        let mut left = delete(at)?;
        while left != 0 {
            left = match delete(at) {
                // The slot is empty, what its CNode held is not gone yet.
                Err(Error::EmptySlot) => delete(CPtr::NULL)?,
                other => other?,
            };
        }
        Ok(())
    }

    /// Deletes every other copy on this core of the capability at `at` in this root's space, and everything that was
    /// made from it. It needs `GRANT` and `CONTROL`.
    pub fn revoke(self, at: CPtr) -> Result<(), Error> {
        self.take_back(at, 0)
    }

    /// Deletes everything on this core that was made from the capability at `at`, and leaves its copies. It needs `GRANT`.
    pub fn revoke_made(self, at: CPtr) -> Result<(), Error> {
        self.take_back(at, 1)
    }

    fn take_back(self, at: CPtr, copies_stay: u32) -> Result<(), Error> {
        while invoke(self.0, Op::Revoke, [halves(at.0, copies_stay), 0, 0, 0, 0])? != 0 {}
        Ok(())
    }

    /// Hangs a CNode (own space) into this root at `index`.
    pub fn attach(self, node: CNode, index: u32) -> Result<(), Error> {
        invoke(self.0, Op::Attach, [u64::from(node.0.0), u64::from(index), 0, 0, 0]).map(drop)
    }
}

impl VNode {
    /// Fills `count` entries from `entry` with pages of `what` from `offset`, or one with a table one level down.
    pub fn map(self, entry: u32, count: u32, what: CPtr, flags: MapFlags, offset: u64) -> Result<(), Error> {
        let flags = u64::from(flags.bits());
        invoke(self.0, Op::Map, [halves(entry, count), u64::from(what.0), flags, offset, 0]).map(drop)
    }

    /// Empties `count` entries from `entry`, which translate addresses from `va`.
    pub fn unmap(self, entry: u32, count: u32, va: u64) -> Result<(), Error> {
        invoke(self.0, Op::Unmap, [halves(entry, count), va, 0, 0, 0]).map(drop)
    }

    /// Changes the flags of `count` entries from `entry`: how many, at least one. It stops where the flags were others before.
    #[inline]
    pub fn protect(self, entry: u32, count: u32, flags: MapFlags) -> Result<u32, Error> {
        let words = [halves(entry, count), 0, flags.bits().into(), 0, 0];
        invoke(self.0, Op::Protect, words).map(|done| done as u32)
    }
}

/// What [`Dispatcher::configure`] takes.
#[derive(Clone, Copy, Debug)]
pub struct Configure {
    /// Root CNode.
    pub root: CNode,
    /// Root page table.
    pub vspace: VNode,
    /// Frame of the dispatcher page.
    pub page: Frame,
    /// Signalled when it dies.
    pub death: Option<Endpoint>,
    /// Where it starts.
    pub entry: u64,
    /// Its stack pointer.
    pub stack: u64,
    /// Its argument.
    pub arg: u64,
}

impl Dispatcher {
    /// Gives it all it needs to run.
    pub fn configure(self, how: &Configure) -> Result<(), Error> {
        let spaces = halves(how.root.0.0, how.vspace.0.0);
        let page = halves(how.page.0.0, how.death.map_or(0, |e| e.0.0));
        invoke(self.0, Op::Configure, [spaces, page, how.entry, how.stack, how.arg]).map(drop)
    }

    /// Makes it runnable.
    pub fn start(self) -> Result<(), Error> {
        invoke(self.0, Op::Start, [0; 5]).map(drop)
    }

    /// Own dispatcher: blocks until an event of `mask` or the clock's `deadline` (0: none). The events that came.
    #[inline]
    pub fn wait(self, mask: u64, deadline: u64) -> Result<u64, Error> {
        invoke(self.0, Op::Wait, [mask, deadline, 0, 0, 0])
    }

    /// Own dispatcher: lets others run.
    pub fn give_way(self) -> Result<(), Error> {
        invoke(self.0, Op::Yield, [0; 5]).map(drop)
    }

    /// Makes an endpoint that raises `bits`, in the own space at `dest`.
    pub fn endpoint(self, bits: u64, dest: CPtr) -> Result<Endpoint, Error> {
        invoke(self.0, Op::MakeEndpoint, [bits, halves(slot::ROOT.0, dest.0), 0, 0, 0])?;
        Ok(Endpoint(dest))
    }

    /// Makes an endpoint with a ring at `offset` of its page frame, in the own space at `dest`; and the ring's number.
    pub fn ring(
        self,
        bits: u64,
        dest: CPtr,
        offset: u64,
        slots: u64,
        badge: u64,
    ) -> Result<(Endpoint, u64), Error> {
        let to = halves(slot::ROOT.0, dest.0);
        let number = invoke(self.0, Op::MakeEndpoint, [bits, to, offset, slots, badge])?;
        Ok((Endpoint(dest), number))
    }

    /// Priority, 0 to 7, and ticks it may run in a period (0: no limit).
    pub fn schedule(self, priority: u32, budget: u64, period: u64) -> Result<(), Error> {
        invoke(self.0, Op::Schedule, [priority.into(), budget, period, 0, 0]).map(drop)
    }

    /// Stops it for good.
    pub fn stop(self) -> Result<(), Error> {
        invoke(self.0, Op::Stop, [0; 5]).map(drop)
    }

    /// Its [`State`](skerry_abi::dispatcher::State).
    pub fn state(self) -> Result<u64, Error> {
        invoke(self.0, Op::State, [0; 5]).map(|word| word & 0xff)
    }

    /// The fault it died of, if of one.
    pub fn fault(self) -> Result<Option<FaultKind>, Error> {
        invoke(self.0, Op::State, [0; 5]).map(|word| FaultKind::from_raw((word >> 8) as u32 & 0xff))
    }

    /// The address of that fault, as far as 48 bits tell, and where the dispatcher stood.
    pub fn fault_at(self) -> Result<(u64, u64), Error> {
        let word = |which| invoke(self.0, Op::State, [which, 0, 0, 0, 0]);
        // Above the low half the bits are alike.
        let addr = word(0)? as i64 >> 16;
        Ok((addr as u64, word(1)?))
    }
}

impl Endpoint {
    /// A copy at `to` in the own space, whose messages carry `badge`. It may be passed on, but not take the others back.
    pub fn mint(self, to: CPtr, badge: u64) -> Result<Self, Error> {
        let rights = u64::from((Rights::SIGNAL | Rights::GRANT).bits());
        invoke(ROOT.0, Op::Copy, [halves(self.0.0, to.0), rights, badge, 0, 0])?;
        Ok(Self(to))
    }

    /// Raises its events.
    #[inline]
    pub fn signal(self) -> Result<(), Error> {
        invoke(self.0, Op::Signal, [0; 5]).map(drop)
    }
}

impl Irq {
    /// Delivers `line` to `endpoint`.
    pub fn bind(self, line: u32, endpoint: Endpoint) -> Result<(), Error> {
        invoke(self.0, Op::BindIrq, [line.into(), endpoint.0.0.into(), 0, 0, 0]).map(drop)
    }

    /// The same for a message line: what its device is to write where, address << 32 | data, or 0 if the CPU driver does
    /// not know.
    pub fn bind_message(self, line: u32, endpoint: Endpoint) -> Result<u64, Error> {
        invoke(self.0, Op::BindIrq, [line.into(), endpoint.0.0.into(), 1, 0, 0])
    }

    /// Masks `line`, and delivers it to nobody.
    pub fn unbind(self, line: u32) -> Result<(), Error> {
        invoke(self.0, Op::BindIrq, [line.into(), 0, 0, 0, 0]).map(drop)
    }

    /// The interrupt controller keeps its tables of message lines in `frame`. The controller's name of this core.
    pub fn tables(self, frame: Frame) -> Result<u64, Error> {
        invoke(self.0, Op::IrqTables, [frame.0.0.into(), 0, 0, 0, 0])
    }

    /// `line` has been served.
    pub fn ack(self, line: u32) -> Result<(), Error> {
        invoke(self.0, Op::AckIrq, [line.into(), 0, 0, 0, 0]).map(drop)
    }
}

impl IoPort {
    /// Reads `width` bytes.
    pub fn read(self, port: u16, width: u8) -> Result<u32, Error> {
        invoke(self.0, Op::PortIn, [port.into(), width.into(), 0, 0, 0]).map(|value| value as u32)
    }

    /// Writes `width` bytes.
    pub fn write(self, port: u16, width: u8, value: u32) -> Result<(), Error> {
        invoke(self.0, Op::PortOut, [port.into(), width.into(), value.into(), 0, 0]).map(drop)
    }
}

impl Core {
    /// Starts a core.
    pub fn start(self, core: HwId, entry: PhysAddr, arg: PhysAddr) -> Result<(), Error> {
        while invoke(self.0, Op::StartCore, [core.0, entry.0, arg.0, 0, 0])? != 0 {
            // A step takes some µs on x86, nothing elsewhere.
            skerry_arch::user::relax();
        }
        Ok(())
    }

    /// Rings a core.
    #[inline]
    pub fn ring(self, core: HwId) -> Result<(), Error> {
        invoke(self.0, Op::Ring, [core.0, 0, 0, 0, 0]).map(drop)
    }
}

impl Kernel {
    /// Writes at most 32 bytes to the early console.
    pub fn console_write(self, bytes: &[u8]) -> Result<(), Error> {
        let mut room = [0u8; 32];
        let len = bytes.len().min(room.len());
        room[..len].copy_from_slice(&bytes[..len]);
        let word = |n: usize| {
            let mut eight = [0; 8];
            eight.copy_from_slice(&room[n * 8..n * 8 + 8]);
            u64::from_le_bytes(eight)
        };
        invoke(self.0, Op::ConsoleWrite, [len as u64, word(0), word(1), word(2), word(3)]).map(drop)
    }

    /// Makes a capability at `dest` for memory that `owner` owns.
    pub fn adopt(
        self,
        ty: CapType,
        rights: Rights,
        owner: CoreId,
        at: PhysRange,
        dest: CPtr,
    ) -> Result<(), Error> {
        self.adopt_level(ty, 0, rights, owner, at, dest)
    }

    /// The same, for a page table of some level; else the level is 0.
    pub fn adopt_level(
        self,
        ty: CapType,
        level: u8,
        rights: Rights,
        owner: CoreId,
        at: PhysRange,
        dest: CPtr,
    ) -> Result<(), Error> {
        let what = u32::from(ty as u8) | u32::from(rights.bits()) << 8 | u32::from(level) << 16;
        let to = halves(slot::ROOT.0, dest.0);
        invoke(self.0, Op::Adopt, [halves(what, owner.raw()), at.base.0, at.len, to, 0]).map(drop)
    }

    fn mark(self, how: u32, (ty, at): (CapType, PhysRange), more: [u64; 2]) -> Result<u64, Error> {
        invoke(self.0, Op::Mark, [halves(ty as u32, how), at.base.0, at.len, more[0], more[1]])
    }

    /// Locks the object of a type that lies `at`, unless it is RAM something was made of, in `part` of it: the offset, and the
    /// length, 0 to lock it anyhow. Answers what is here of it, in the bits of [`held`](skerry_abi::cap::held).
    pub fn lock(self, ty: CapType, at: PhysRange, part: (u64, u64)) -> Result<u64, Error> {
        self.mark(mark::LOCK, (ty, at), [part.0, part.1])
    }

    /// Unlocks it, if it is locked. Answers what is here of it, as [`lock`](Self::lock) does.
    pub fn unlock(self, ty: CapType, at: PhysRange) -> Result<u64, Error> {
        self.mark(mark::UNLOCK, (ty, at), [0; 2])
    }

    /// From now on other cores hold copies of it, or none does. It is to be locked meanwhile.
    pub fn share(self, ty: CapType, at: PhysRange, shared: bool) -> Result<(), Error> {
        let (how, mut from) = (if shared { mark::SHARE } else { mark::UNSHARE }, 0);
        loop {
            from = self.mark(how, (ty, at), [from, 0])?;
            if from == 0 {
                return Ok(());
            }
        }
    }

    /// Makes objects of the capability at `source`, as every core with a say has agreed, in a space of that `root`.
    pub fn retype_agreed(self, source: CPtr, make: &Make, root: CPtr, dest: CPtr) -> Result<(), Error> {
        let words = make.words(root, dest, source);
        invoke(self.0, Op::RetypeAgreed, words).map(drop)
    }

    /// Takes away some of what was made of an object and, if so, of its `copies`, as every core with a say has agreed. What is
    /// in the slots to `keep` (or null) stays. Answers whether there is more.
    pub fn revoke_agreed(
        self,
        ty: CapType,
        at: PhysRange,
        copies: bool,
        keep: [CPtr; 2],
    ) -> Result<bool, Error> {
        let what = halves(ty as u32, u32::from(!copies));
        let words = [what, at.base.0, at.len, halves(keep[0].0, keep[1].0), 0];
        invoke(self.0, Op::RevokeAgreed, words).map(|more| more != 0)
    }

    /// The RAM at `ram` now belongs to `owner`.
    pub fn disown(self, ram: CPtr, owner: CoreId) -> Result<(), Error> {
        invoke(self.0, Op::Disown, [u64::from(ram.0), u64::from(owner.raw()), 0, 0, 0]).map(drop)
    }

    /// Stops this core; the first word of `told`, a frame, becomes 1 when its memory is used no more.
    pub fn stop_core(self, told: CPtr) -> Result<(), Error> {
        invoke(self.0, Op::PowerOff, [u64::from(told.0), 0, 0, 0, 0]).map(drop)
    }

    /// Turns the island off.
    pub fn power_off(self) -> Result<(), Error> {
        invoke(self.0, Op::PowerOff, [0; 5]).map(drop)
    }

    /// One of the CPU driver's counters.
    pub fn counter(self, which: u64) -> Result<u64, Error> {
        invoke(self.0, Op::Counter, [which, 0, 0, 0, 0])
    }
}
