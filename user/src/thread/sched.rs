//! The scheduler: who runs, and what happens when nobody can.
#![expect(
    unsafe_code,
    reason = "threads switch stacks; the scheduler's state is the domain's one such static"
)]

use super::fault::Pending;
use super::peers::{ELSEWHERE, Peers};
use super::stack::{STACKS, Stack};
use super::table::{Id, Table, Woken, bucket};
use super::tls::{Block, Template};
use super::word::{Heir, give_up};
use crate::Domain;
use crate::cap::SELF;
use crate::dispatch::{self, Off, Registers};
use crate::{clock, log, program, rt, spawn};
use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec::Vec;
use core::any::Any;
use core::cell::UnsafeCell;
use core::convert::Infallible;
use core::fmt::Write;
use core::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use skerry_abi::Error;
use skerry_abi::dispatcher::event;
use skerry_abi::domain::STACK_TOP;
use skerry_arch::user;
use skerry_urpc::formats::span::Grant;

/// Bytes of the stack that upcalls run on.
const UPCALL_STACK: u64 = 32 << 10;
/// Bytes at its end where the first frame of [`resume`] goes: an upcall prepares it while it runs on the rest.
pub(crate) const RESUME_ROOM: u64 = 512;
/// Switches from one look at clock and events to the next, at most: a look is a system call, a switch is none.
const SWITCHES: u32 = 64;

/// Keys that are no addresses.
pub(super) mod key {
    /// Waits for events of the dispatcher.
    pub const EVENTS: u64 = 4;
    /// Waits for its deadline alone.
    pub const SLEEP: u64 = 8;
    /// Has faulted.
    pub const FAULT: u64 = 12;
    /// The pager: waits for a fault.
    pub const PAGER: u64 = 16;
    /// Waits until all dispatchers have made a change of the common memory.
    pub const CHANGE: u64 = 20;
}

/// What the scheduler keeps of a thread.
pub(super) struct Tcb {
    pub name: Box<str>,
    /// Where its stack is.
    pub stack: Option<Stack>,
    /// Its stack pointer, while it does not run and is not `full`.
    sp: u64,
    /// Its registers are in `registers`: it lost the core against its will.
    full: bool,
    registers: Box<Registers>,
    /// Its thread-local storage.
    tls: Block,
    /// Events it waits for, under [`key::EVENTS`].
    pub(super) mask: u64,
    /// What it did that it must not, and waits for to be mended.
    pub pending: Option<Pending>,
    /// Values of thread-specific keys.
    pub locals: Vec<Option<Box<dyn Any>>>,
}

impl Tcb {
    pub(super) fn new(name: &str, stack: Option<Stack>, sp: u64, tls: Block) -> Self {
        let registers = Box::new([0; user::CONTEXT_BYTES]);
        let (name, locals) = (name.into(), Vec::new());
        Self { name, stack, sp, full: false, registers, tls, mask: 0, pending: None, locals }
    }

    /// Puts its registers, which have been taken, where it is resumed from.
    pub(super) fn put_registers(&self) {
        dispatch::put_saved(&self.registers);
    }
}

pub(super) struct State {
    pub table: Table<Tcb>,
    /// The stack of the thread that ended last: it is off it when another runs.
    pub left: Option<Stack>,
    pub tls: Template,
    upcall_stack: u64,
    /// Events that came and nobody waited for.
    pub(super) events: u64,
    upcalls: u64,
    /// Switches that are left until the next look at clock and events.
    until_look: u32,
    /// The thread that has faults mended, if there is one.
    pub pager: Option<Id>,
    /// The domain's other dispatchers, if it has any.
    pub peers: Option<Box<Peers>>,
    /// What another dispatcher has for this one to do outside the scheduler, or wants to be told.
    pub span: super::span::Side,
    /// A thread that goes to another dispatcher, and where it goes.
    leaving: Option<(u32, Box<Tcb>)>,
}

/// What a dispatcher has for itself although it is a static: whole pages, of which each core that the domain runs on has its own
/// at the same address (`docs/decisions/0018-domains-over-cores.md`).
#[repr(C, align(4096))]
pub(crate) struct Own {
    /// There is a scheduler.
    pub scheduled: AtomicBool,
    state: UnsafeCell<State>,
}

// SAFETY: no other core sees these pages, and `with` switches this one's threads off.
unsafe impl Sync for Own {}

pub(crate) static OWN: Own = Own { scheduled: AtomicBool::new(false), state: UnsafeCell::new(State::new()) };

/// Runs `what` on the scheduler's state. `what` must not come back here, nor block.
#[inline]
pub(super) fn with<R>(_off: &Off, what: impl FnOnce(&mut State) -> R) -> R {
    // SAFETY: the dispatcher is disabled while `_off` lives, so no other thread is in here; and this thread is not, for
    // only this module's own closures run here, and none of them calls this function.
    what(unsafe { &mut *OWN.state.get() })
}

/// Makes the program one with threads; the caller becomes the thread `main`. [`domain`](super::domain) has the domain
/// from now on.
///
/// # Errors
/// [`Error::BadState`] if it was done before; [`Error::Hardware`] where user mode cannot set a thread pointer;
/// [`Error::Full`] without memory.
pub fn start(mut domain: Domain) -> Result<(), Error> {
    if !user::has_thread_pointer() {
        return Err(Error::Hardware);
    }
    let (_, stack) = domain.zeroed(UPCALL_STACK, None)?;
    let template = Template::new(&domain.info.tls);
    let tls = Block::new(&template);
    user::set_thread_pointer(tls.pointer());
    super::stack::keep_domain(domain)?;
    let off = Off::inherited();
    with(&off, |state| {
        let own = Stack { bottom: STACK_TOP - spawn::STACK, top: STACK_TOP };
        state.table.add(Tcb::new("main", Some(own), 0, tls)).map_err(|_| Error::Full)?;
        state.table.take_next();
        Ok::<(), Error>(())
    })?;
    open(&off, template, stack.addr + stack.len)?;
    drop(off);
    Ok(())
}

/// Upcalls come from now on, on the stack that ends at `upcall_stack`.
fn open(off: &Off, template: Template, upcall_stack: u64) -> Result<(), Error> {
    with(off, |state| {
        state.tls = template;
        state.upcall_stack = upcall_stack;
        dispatch::set_upcall(upcall, upcall_stack - RESUME_ROOM);
    });
    // From here on the CPU driver tells of the end of every slice.
    SELF.give_way()?;
    OWN.scheduled.store(true, Ordering::Relaxed);
    Ok(())
}

/// Runs what threads come to this dispatcher, which has none: a further one of its domain. The caller's stack is the upcalls', and
/// ends [`RESUME_ROOM`] below `upcall_stack`.
pub(super) fn run(state: State, template: Template, upcall_stack: u64) -> Result<Infallible, Error> {
    let off = Off::inherited();
    // SAFETY: this dispatcher's page, in which nobody was yet.
    unsafe { OWN.state.get().write(state) };
    open(&off, template, upcall_stack)?;
    leave(&off)
}

/// Gives the core to `next`. Returns when the thread whose stack pointer belongs into `save` gets it back.
///
/// # Safety
/// The dispatcher is disabled; `next` is the table's current thread; `save` is where its own thread's stack pointer
/// belongs, or anything that can be written if nobody will come back.
#[inline]
unsafe fn go(off: &Off, save: *mut u64, next: Id) {
    let to = with(off, |state| {
        let upcall_stack = state.upcall_stack;
        let Some(tcb) = state.table.get(next) else { return 0 };
        if !tcb.full {
            user::set_thread_pointer(tcb.tls.pointer());
            return tcb.sp;
        }
        tcb.full = false;
        tcb.put_registers();
        // SAFETY: that part of the stack is for this; who is on the rest, an upcall, leaves it for good with the switch.
        unsafe { user::new_stack(upcall_stack, resume, 0) }
    });
    // SAFETY: the caller vouches for `save`; the thread is current, was saved when it last gave the core up, or is new.
    unsafe { user::switch(save, to) };
}

/// Takes up the thread whose registers are in the dispatcher page.
pub(super) extern "C" fn resume(_: u64) -> ! {
    // Comes back only if they are not a thread's: then the domain has overwritten its own scheduler.
    let refused = dispatch::resume();
    fatal(format_args!("a thread could not be resumed: {refused:?}"));
}

/// The current thread was put somewhere; runs who comes next, until it is the current thread's turn again.
#[inline]
fn reschedule(off: &Off, current: Id) {
    let next = next(off);
    if next != current {
        hand_over(off, current, next);
    }
}

/// Runs `next`, which has just been taken, until it is `current`'s turn again.
#[inline]
fn hand_over(off: &Off, current: Id, next: Id) {
    let save = with(off, |state| state.table.get(current).map(|tcb| &raw mut tcb.sp));
    if let Some(save) = save {
        // SAFETY: disabled; `next` has just been taken; the place is the current thread's, and nothing is added to the
        // table before it is written.
        unsafe { go(off, save, next) };
    }
}

/// Takes who comes next; waits in the CPU driver while nobody can run.
#[inline]
fn next(off: &Off) -> Id {
    let next = with(off, |state| {
        state.count_switch();
        state.table.take_next()
    });
    match next {
        Some(id) => id,
        None => wait(off),
    }
}

#[cold]
fn wait(off: &Off) -> Id {
    loop {
        listen(off);
        let (deadline, mut mask, next) = with(off, |state| {
            let deadline = state.table.expire(clock::ticks);
            (deadline, state.mask(), state.table.take_next())
        });
        if let Some(id) = next {
            return id;
        }
        let alone = with(off, |state| state.peers.is_none());
        if !alone {
            mask |= event::DOORBELL;
            arm(off, true);
            listen(off);
            if let Some(id) = with(off, |state| state.table.take_next()) {
                arm(off, false);
                return id;
            }
        } else if deadline.is_none() && mask == 0 {
            fatal(format_args!("deadlock: every thread waits for another"));
        }
        // Refused only if mask or deadline were malformed; then this is a poll.
        let came = SELF.wait(mask, deadline.unwrap_or(0)).unwrap_or(0);
        if !alone {
            arm(off, false);
        }
        with(off, |state| state.deliver(came));
    }
}

/// Has the other dispatchers ring from now on, or no longer.
fn arm(off: &Off, on: bool) {
    with(off, |state| state.peers.iter_mut().for_each(|peers| peers.arm(on)));
}

/// Hears what the other dispatchers say, if there are any.
fn listen(off: &Off) {
    if with(off, State::hear) {
        super::span::act(off);
    }
}

impl State {
    pub(super) const fn new() -> Self {
        Self {
            table: Table::new(),
            left: None,
            tls: Template::NOTHING,
            upcall_stack: 0,
            events: 0,
            upcalls: 0,
            until_look: SWITCHES,
            pager: None,
            peers: None,
            span: super::span::Side::new(),
            leaving: None,
        }
    }

    /// Which of its domain's dispatchers this is.
    #[inline]
    pub(super) fn me(&self) -> u32 {
        self.peers.as_ref().map_or(0, |peers| peers.me)
    }

    /// A new thread is ready, here or in dispatcher `on`.
    pub(super) fn give(&mut self, tcb: Tcb, on: Option<u32>) -> Result<(), super::table::TooManyThreads> {
        match (on.filter(|on| *on != self.me()), &mut self.peers) {
            (None, _) => self.add(tcb).map(drop),
            (Some(on), Some(peers)) if on < peers.count() => {
                peers.send_thread(on, Box::new(tcb));
                Ok(())
            }
            _ => Err(super::table::TooManyThreads),
        }
    }

    /// Takes a thread that is this dispatcher's from now on.
    pub(super) fn add(&mut self, tcb: Tcb) -> Result<Id, super::table::TooManyThreads> {
        self.table.add(tcb)
    }

    /// See [`pass_on`].
    pub(super) fn pass_on(&mut self, word: &AtomicU32, others_first: bool) {
        let Some(peers) = &mut self.peers else { return };
        let key = core::ptr::from_ref(word).addr() as u64;
        let mine = self.table.first_waiter(key).is_some();
        match give_up(word, peers.me, mine, others_first) {
            Heir::Nobody => {}
            Heir::Mine => drop(self.table.wake_one(key, 0)),
            Heir::Of(other) => peers.send(other, &Grant { lock: key, ..Grant::default() }),
        }
    }

    /// Makes at most `most` who wait under `key` ready, here and elsewhere; how many here.
    fn wake(&mut self, key: u64, most: usize) -> usize {
        let woken = self.table.wake(key, most);
        if let Some(peers) = &mut self.peers
            && (woken < most || peers.others_first())
        {
            let left = most.saturating_sub(woken).max(1) as u64;
            let me = peers.me;
            ELSEWHERE.of(bucket(key)).filter(|at| *at != me).for_each(|at| peers.wake(at, key, left));
        }
        woken
    }

    /// All events that some thread waits for.
    fn mask(&mut self) -> u64 {
        let mut mask = 0;
        self.table.wake_each(key::EVENTS, |tcb| {
            mask |= tcb.mask;
            None
        });
        mask
    }

    /// Events came: whoever waits for one of them is ready; the first has it.
    fn deliver(&mut self, came: u64) {
        let mut left = self.events | came;
        self.table.wake_each(key::EVENTS, |tcb| {
            let taken = left & tcb.mask;
            left &= !taken;
            (taken != 0).then_some(taken)
        });
        self.events = left;
    }

    /// The core passes from thread to thread. While some are always ready the domain never waits, and whoever waits for
    /// an event would otherwise hear of it only when the slice ends.
    #[inline]
    fn count_switch(&mut self) {
        self.until_look = self.until_look.wrapping_sub(1);
        if self.until_look == 0 {
            self.poll();
        }
    }

    /// Looks at clock and events without waiting.
    #[cold]
    fn poll(&mut self) {
        self.until_look = SWITCHES;
        // What is to be done about it outside is done at the next yield, or when the slice ends.
        let _outside = self.hear();
        let mask = self.mask();
        if mask != 0 {
            // A deadline that has passed: what is there, at once.
            let came = SELF.wait(mask, 1).unwrap_or(0);
            self.deliver(came);
        }
        self.table.expire(clock::ticks);
    }
}

/// The CPU driver enters here, on the upcall stack, disabled, when a thread has lost the core and the dispatcher gets it
/// back.
extern "C" fn upcall() -> ! {
    let off = Off::inherited();
    with(&off, |state| {
        state.upcalls += 1;
        if let Some(tcb) = state.table.current().and_then(|id| state.table.get(id)) {
            dispatch::take_saved(&mut tcb.registers);
            tcb.full = true;
        }
        if dispatch::is_fault() {
            state.faulted();
        } else {
            state.table.put_back();
        }
        state.poll();
    });
    listen(&off);
    leave(&off)
}

/// The core was lost while upcalls were off: what the upcall would have done.
pub(crate) fn missed(off: &Off) {
    listen(off);
    let current = with(off, |state| {
        state.upcalls += 1;
        state.poll();
        let current = state.table.current();
        state.table.put_back();
        current
    });
    if let Some(current) = current {
        reschedule(off, current);
    }
}

/// Upcalls so far, those that were put off because they were switched off included.
pub fn upcalls() -> u64 {
    with(&Off::enter(), |state| state.upcalls)
}

/// Runs who comes next, and never comes back to this stack.
fn leave(off: &Off) -> ! {
    let next = next(off);
    let mut nowhere = 0;
    // SAFETY: disabled; `next` has just been taken; nobody comes back.
    unsafe { go(off, &raw mut nowhere, next) };
    fatal(format_args!("a thread came back that had ended"));
}

/// Says why, and stops the program.
pub(super) fn fatal(why: core::fmt::Arguments<'_>) -> ! {
    let mut line = log::Line::new();
    // A line that does not fit is cut.
    let _cut = write!(line, "threads: {why}");
    program::last_words(line.as_bytes());
    rt::stop();
}

/// Lets every other ready thread run first.
#[inline]
pub fn yield_now() {
    let off = Off::enter();
    if with(&off, |state| state.peers.is_some()) {
        listen(&off);
    }
    let turn = with(&off, |state| {
        state.count_switch();
        state.table.rotate()
    });
    if let Some((current, next)) = turn {
        hand_over(&off, current, next);
    }
}

/// The thread that runs goes on in dispatcher `to` of its domain.
pub(super) fn move_to(off: &Off, to: u32) {
    let gone = with(off, |state| {
        let tcb = state.peers.as_ref().filter(|peers| to != peers.me && to < peers.count());
        let mut tcb = Box::new(tcb.and(state.table.end())?);
        let save = &raw mut tcb.sp;
        state.leaving = Some((to, tcb));
        Some((save, state.upcall_stack))
    });
    let Some((save, upcall_stack)) = gone else { return };
    // SAFETY: nobody is on that stack: a thread runs. Its end is left free for `resume`, as in an upcall.
    let stack = unsafe { user::new_stack(upcall_stack - RESUME_ROOM, depart, 0) };
    // SAFETY: the place is the thread's, which is this dispatcher's until `depart` gives it away.
    unsafe { user::switch(save, stack) };
}

/// The thread that was current has left its stack, and all of it is saved: it is another dispatcher's from here on.
extern "C" fn depart(_: u64) -> ! {
    let off = Off::inherited();
    with(&off, |state| {
        if let (Some((to, tcb)), Some(peers)) = (state.leaving.take(), &mut state.peers) {
            peers.send_thread(to, tcb);
        }
    });
    leave(&off)
}

/// Which dispatcher this is, if its domain has several.
#[inline]
pub(super) fn others(off: &Off) -> Option<u32> {
    with(off, |state| state.peers.as_ref().map(|peers| peers.me))
}

/// A lock that this dispatcher's thread has goes to the next that waits for it, wherever.
#[cold]
pub(super) fn pass_on(off: &Off, word: &AtomicU32) {
    with(off, |state| {
        let others_first = state.peers.as_mut().is_some_and(|peers| peers.others_first());
        state.pass_on(word, others_first);
    });
}

/// A thread of this dispatcher is about to wait under `key` for something that other dispatchers may change: from here on they
/// see to it that it hears so. It looks once more before it blocks, and upcalls stay off until then.
#[inline]
pub(super) fn announce(off: &Off, key: u64) {
    with(off, |state| {
        if let Some(peers) = &state.peers {
            ELSEWHERE.note(bucket(key), peers.me);
        }
    });
}

/// The name of the thread that runs.
pub fn name() -> String {
    with(&Off::enter(), |state| {
        let tcb = state.table.current().and_then(|id| state.table.get(id));
        tcb.map_or_else(String::new, |tcb| (*tcb.name).into())
    })
}

/// Blocks the thread that runs under `key` until it is woken or the clock reaches `deadline` (0: never). The dispatcher
/// is disabled before and after, but not meanwhile.
#[inline]
pub(super) fn block(off: &Off, key: u64, deadline: u64) -> Woken {
    let Some(current) = with(off, |state| state.table.current()) else {
        fatal(format_args!("a program without threads would wait for itself"));
    };
    with(off, |state| state.table.block(key, deadline));
    reschedule(off, current);
    with(off, |state| state.table.woken(current))
}

/// Makes the first who waits under `key` ready. Answers whether there was one.
#[inline]
pub(super) fn wake_one(off: &Off, key: u64) -> bool {
    with(off, |state| state.table.wake_one(key, 0).is_some())
}

/// Makes at most `most` who wait under `key` ready, those of other dispatchers as well; how many of this one. Over several
/// dispatchers, as many as that may be woken in each.
pub(super) fn wake(off: &Off, key: u64, most: usize) -> usize {
    with(off, |state| state.wake(key, most))
}

/// The thread that runs has ended; its stack may be used again once the core is another's.
pub(super) fn exit() -> ! {
    let off = Off::enter();
    with(&off, |state| {
        let stack = state.table.end().and_then(|tcb| tcb.stack);
        if let Some(earlier) = core::mem::replace(&mut state.left, stack) {
            STACKS.with(|pool| pool.give(earlier));
        }
    });
    leave(&off)
}
