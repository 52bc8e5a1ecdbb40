//! Operations. A system call has six 64-bit words: word 0 names the capability (low half, a
//! [`CPtr`](crate::CPtr)) and the operation (high half); words 1 to 5 are its arguments. It answers with a code (0, or
//! an [`Error`](crate::Error)) and a value.
//!
//! | ISA | words in | code, value out |
//! | --- | --- | --- |
//! | x86-64 (`syscall`) | rdi, rsi, rdx, r10, r8, r9 | rax, rdx |
//! | AArch64 (`svc #0`) | x0 … x5 | x0, x1 |
//!
//! `Call` and `ReplyWait` answer five further words: in rdi, rsi, r10, r8, r9, or x2 … x6.
//!
//! "w1" below is word 1, "lo/hi" its halves. Where an operation takes a *root*, 0 means the caller's own root CNode.

use crate::CPtr;

/// An operation on a capability.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u32)]
pub enum Op {
    /// Any type, and the null CPtr: does nothing and answers 0. On a CPtr other than null, the slot must be full.
    Nop = 0,
    /// Any type: value = type | rights << 8 | level << 16 | owner core << 32; w1 selects what: 0 that word, 1 base, 2 length,
    /// 3 the word the type keeps (endpoint: its event bits; mapped frame: where).
    Identify = 1,
    /// RAM, device frame, window frame, IRQ, I/O port, core: makes `count` objects of another type, or of a sub-range.
    /// w1 lo: type | level << 8 | rights mask << 16; w1 hi: count. w2: offset into the source. w3: length of each.
    /// w4 lo: root CPtr; w4 hi: first destination CPtr, the others follow in the same CNode.
    Retype = 2,
    /// RAM that nothing was made of, or a frame, with `WRITE`: zeroes w2 bytes (at most 32 KiB) from offset w1.
    Clear = 3,

    /// CNode as a root: copies. w1 lo: source CPtr; w1 hi: destination CPtr in the invoked root; w2 lo: rights mask;
    /// w2 hi: source root CPtr. w3: 0, or the badge of the copy: of an endpoint with a ring that has none.
    Copy = 10,
    /// CNode as a root: deletes the capability at w1, unmapping it if it is mapped. The last one of a dispatcher stops it,
    /// the last one of a CNode empties it. Value 0: done; 1: more is left, call again; once the slot is empty, with
    /// w1 = 0, which goes on with whatever was left.
    Delete = 11,
    /// CNode as a root: is the slot at w1 free? Value 1 if so.
    IsFree = 12,
    /// CNode as a root: puts the CNode capability at w1 (caller's space) at index w2 of the invoked root.
    Attach = 13,
    /// CNode as a root: deletes everything that was made from the capability at w1 lo (`GRANT`) and, if w1 hi is 0, every
    /// other copy of it (`CONTROL` besides), on this core. The capability stays, unless what went held it. Value as for
    /// `Delete`, called again with the same words.
    Revoke = 14,

    /// VNode: maps. w1 lo: first entry; w1 hi: number of entries. w2: CPtr of a frame, device frame, window frame, or
    /// of a VNode one level down; a slot can be mapped in one place at a time: for two, copy it. w3: [`MapFlags`](skerry_hal::MapFlags) bits. w4: offset into the frame.
    /// Executable: at most 32 pages, of a frame of this core's own.
    Map = 20,
    /// VNode: unmaps w1 hi entries from entry w1 lo. (w2 is unused: all translations of user addresses are forgotten.)
    Unmap = 21,
    /// VNode: changes flags of entries that have the same flags, from entry w1 lo on, at most w1 hi (to executable: at most
    /// 32). w3: flags, at most what the capability allowed that they were mapped with. Value: how many it changed, at least one.
    Protect = 22,

    /// Dispatcher: w1 lo: root CNode, w1 hi: root VNode, w2 lo: frame of the dispatcher page, w2 hi: [`Endpoint`](crate::CapType::Endpoint)
    /// signalled when it dies, or 0; w3: entry, w4: stack pointer, w5: argument.
    Configure = 30,
    /// Dispatcher: makes it runnable.
    Start = 31,
    /// Dispatcher, the caller's own: gives up the core until an event of mask w1 is pending or the clock reaches w2
    /// (0: no deadline). Value: the pending events of the mask, which are cleared; 0 if the deadline came first.
    Wait = 32,
    /// Dispatcher, the caller's own: lets others run, then returns. If its page names an upcall by now, it hears of the
    /// end of its slices from here on even if nobody else is ready.
    Yield = 33,
    /// Dispatcher, the caller's own: takes up the thread saved in the dispatcher page, and enables upcalls.
    Resume = 34,
    /// Dispatcher: makes an endpoint. w1: event bits it raises; w2 lo: root; w2 hi: destination CPtr. w3: 0, or where in the
    /// frame of its dispatcher page a [ring](crate::lrpc) lies (a multiple of 64) that it fills; w4: the ring's slots, a
    /// power of two; w5: badge. Value: the ring's number, for `Room`.
    MakeEndpoint = 35,
    /// Dispatcher: stops it for good.
    Stop = 36,
    /// Dispatcher: value = [state](crate::dispatcher::State) | fault it died of << 8 | its address << 16; w1 = 1: program counter.
    State = 37,

    /// Dispatcher, the caller's own: answers the current caller, if any, with w1 to w4 and a copy of the capability at w5 lo
    /// (0: none); then waits for the next call or for the events in w5 hi. Value: badge, or events; further words: what
    /// the call says, and where its capability landed | [`lrpc::wake`](crate::lrpc::wake) << 32.
    ReplyWait = 38,
    /// Dispatcher, with `CONTROL`: w1: priority, 0 to 7, higher goes first. w2: ticks it may run in each period of w3 ticks
    /// before everybody else goes before it; 0: no limit.
    Schedule = 39,

    /// Endpoint: raises its event bits.
    Signal = 40,
    /// Endpoint with a ring: puts a message there, w1 to w4, and with it a copy of the capability at w5 lo (0: none); w5 hi: 0 or
    /// [`HAND_OVER`](crate::lrpc::HAND_OVER). Never waits: `Full`, and the event [`ROOM`](crate::dispatcher::event::ROOM)
    /// when there is room.
    Send = 41,
    /// Endpoint with a ring: says w1 to w4 to its dispatcher, with a copy of the capability at w5 lo (0: none), and waits for the
    /// answer; a capability in it lands in the slot w5 hi. Further words: the answer, and where its capability landed.
    Call = 42,
    /// Dispatcher: there is room in its ring number w1.
    Room = 43,

    /// IRQ: delivers line w1 to endpoint w2 and unmasks it; w3 = 1: edges raise it. w2 = 0 masks and unbinds. Value: what
    /// a device writes where to raise a message line, address << 32 | data, if the CPU driver alone knows that, else 0.
    BindIrq = 50,
    /// IRQ: line w1 has been served, unmask it. An edge that came meanwhile is delivered now.
    AckIrq = 51,
    /// IRQ, message lines among its range: the interrupt controller keeps its tables of them in the frame w1, for good
    /// (see [`Machine::irq_tables`](skerry_hal::Machine::irq_tables)). Value: the controller's name of this core.
    IrqTables = 52,

    /// I/O port: value = what port w1 holds; w2: width in bytes, 1, 2 or 4.
    PortIn = 60,
    /// I/O port: writes w3 to port w1; w2: width.
    PortOut = 61,

    /// Core: starts the core with bus name w1 at physical address w2 with argument w3. Value 1: it is on its way, call
    /// again with the same words; 0: done.
    StartCore = 70,
    /// Core: rings the core with bus name w1. Every dispatcher there that waits for
    /// [`DOORBELL`](crate::dispatcher::event::DOORBELL) becomes runnable.
    Ring = 71,

    /// Kernel: writes w1 (at most 32) bytes, taken from words 2 to 5 in little-endian order, to the early console.
    ConsoleWrite = 80,
    /// Kernel: makes a capability that another core gave: for what that one owns, for another's, or for what is this one's
    /// own. w1 lo: type | rights << 8 | level << 16; w1 hi: owner core; w2: base; w3: length; w4 lo: root; w4 hi: destination.
    /// Of a type that crosses cores, says the table in `cpu-driver/caps`.
    Adopt = 81,
    /// Kernel: the RAM at CPtr w1 now belongs to core w2; from here on it answers `Remote`.
    Disown = 82,
    /// Kernel: turns the island off; or, if CPtr w1 is a writable frame, stops this core alone, which can then be started
    /// again: the frame's first word becomes 1 when the CPU driver uses its memory no more.
    PowerOff = 83,
    /// Kernel: value = a count since boot; w1 selects: 0 faults and interrupt entries, 1 dispatcher switches,
    /// 2 interrupts, 3 idle waits,
    /// 4 bytes that the console had no room for.
    Counter = 84,
    /// Kernel: [marks](crate::cap::mark) the object of type w1 lo that lies at w2 and is w3 long, as w1 hi says. To lock or unlock:
    /// if it is RAM, nothing may be made yet of w5 bytes from offset w4 (0: whatever is); value: what is
    /// [here](crate::cap::held) of it. To share or not: value 0, or w4 to call again with, while it is locked.
    Mark = 85,
    /// Kernel: `Retype` of the capability at w5 lo, on which every core with a say has agreed. What is made is the owner's.
    RetypeAgreed = 86,
    /// Kernel: `Revoke` of an object that is named as for `Mark`, on which every core with a say has agreed; w1 hi: as for
    /// `Revoke`. Of its copies those at w4 lo, in the space of root w5 lo, and at w4 hi stay, if not 0.
    RevokeAgreed = 87,
}

/// Word 0 of an invocation.
pub const fn word0(target: CPtr, op: Op) -> u64 {
    target.0 as u64 | (op as u64) << 32
}

/// Two 32-bit halves in one word.
pub const fn halves(lo: u32, hi: u32) -> u64 {
    lo as u64 | (hi as u64) << 32
}
