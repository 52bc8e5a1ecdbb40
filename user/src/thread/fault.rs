//! Threads that did what they must not: mended by a handler, or the end of the program.
//!
//! The CPU driver turns a thread's fault into an upcall. The thread waits, and a thread of its own, `pager`, looks whether it
//! touched [memory on demand](super::demand), or else asks the program's handler; it may block, take locks and call servers
//! as any thread does. It maps a page, say, and the faulting instruction runs again.
//!
//! There is one pager, at home: where the domain's memory is managed. A thread of another dispatcher that faults is given to
//! home, as one that moves there is, but waits; when what it lacked is there on its own core too, it is given back, and goes on
//! there. One that cannot be mended is given back to end its dispatcher.

use super::demand;
use super::mutex::Mutex;
use super::sched::{self, State, Tcb, key, with};
use super::spawn::{Builder, SpawnError};
use super::table::{Id, TooManyThreads};
use crate::dispatch::{self, Off};
use crate::{log, program};
use alloc::boxed::Box;
use core::fmt::{self, Write};
use core::sync::atomic::AtomicBool;
use core::sync::atomic::Ordering::{Acquire, Release};
use skerry_hal::FaultKind;

/// Bytes of the pager's stack.
const STACK: u64 = 64 << 10;

/// What a thread did.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Fault {
    /// Who.
    pub thread: Id,
    /// What it tried.
    pub kind: FaultKind,
    /// The address it tried it on (for memory faults), else where it stands.
    pub addr: u64,
    /// The ISA's own words.
    pub code: u64,
}

/// A fault of a thread that waits for the handler's word.
#[derive(Clone, Copy)]
pub(super) struct Pending {
    fault: Fault,
    asked: bool,
    /// The dispatcher that it happened to.
    of: u32,
    /// Nothing can be done.
    hopeless: bool,
}

type Handler = Box<dyn FnMut(&Fault) -> bool + Send>;

static HANDLER: Mutex<Option<Handler>> = Mutex::new(None);

/// Has `handler` look at every memory fault of a thread from now on, except the overflow of a stack, and what memory on
/// demand is for: `true` means that the thread may try again, `false` that nothing can be done. There is one at a time.
///
/// # Errors
/// [`SpawnError`], if the thread that runs it cannot be made.
pub fn handle(handler: impl FnMut(&Fault) -> bool + Send + 'static) -> Result<(), SpawnError> {
    *HANDLER.lock() = Some(Box::new(handler));
    start_pager()
}

static STARTED: Mutex<bool> = Mutex::new(false);
/// Whether there is a pager.
static PAGED: AtomicBool = AtomicBool::new(false);

/// Has a thread look at faults from now on.
pub(super) fn start_pager() -> Result<(), SpawnError> {
    let mut started = STARTED.lock();
    if !*started {
        Builder::new("pager").stack(STACK).on(0).spawn(page)?.detach();
        // It says itself which thread it is.
        while !PAGED.load(Acquire) {
            sched::yield_now();
        }
        *started = true;
    }
    Ok(())
}

/// What the pager does.
fn page() {
    with(&Off::enter(), |state| state.pager = state.table.current());
    PAGED.store(true, Release);
    loop {
        let fault = next();
        let mended = match demand::serve(&fault) {
            Some(served) => served.map_err(Some),
            None if HANDLER.lock().as_mut().is_some_and(|handler| handler(&fault)) => Ok(()),
            None => Err(None),
        };
        let off = Off::enter();
        match mended {
            Ok(()) => with(&off, |state| state.mended(fault.thread)),
            Err(why) => {
                let why = why.as_ref().map(|why| why as &dyn fmt::Display);
                let line = with(&off, |state| state.line_about(&fault, why));
                program::last_words(line.as_bytes());
                with(&off, |state| state.give_up(fault.thread));
            }
        }
    }
}

/// The next fault that nobody has looked at.
fn next() -> Fault {
    let off = Off::enter();
    loop {
        if let Some(fault) = with(&off, State::unasked) {
            return fault;
        }
        sched::block(&off, key::PAGER, 0);
    }
}

impl State {
    fn unasked(&mut self) -> Option<Fault> {
        let mut found = None;
        self.table.wake_each(key::FAULT, |tcb| {
            if found.is_none()
                && let Some(pending) = tcb.pending.as_mut().filter(|pending| !pending.asked)
            {
                pending.asked = true;
                found = Some(pending.fault);
            }
            None
        });
        found
    }

    /// The current thread, whose registers have been taken, has faulted. It waits, or this is the end.
    pub(super) fn faulted(&mut self) {
        let Some(thread) = self.table.current() else { return };
        let (kind, addr, code) = dispatch::fault();
        let fault = Fault { thread, kind, addr, code };
        let handled = matches!(kind, FaultKind::Read | FaultKind::Write | FaultKind::Execute)
            && PAGED.load(Acquire)
            && self.pager != Some(thread)
            && !self.overflowed(&fault);
        if !handled {
            self.end_of(&fault);
        }
        let of = self.me();
        if let Some(tcb) = self.table.get(thread) {
            tcb.pending = Some(Pending { fault, asked: false, of, hopeless: false });
        }
        if let Some(peers) = self.peers.as_mut().filter(|_| of != 0) {
            if let Some(tcb) = self.table.end() {
                peers.send_thread(0, Box::new(tcb));
            }
            return;
        }
        self.table.block(key::FAULT, 0);
        self.table.wake(key::PAGER, 1);
    }

    /// A thread has come that has faulted: at home it waits for the pager; elsewhere, where it has come back to, it is the end.
    pub(super) fn add_faulted(&mut self, tcb: Tcb) -> Result<(), TooManyThreads> {
        let hopeless = tcb.pending.as_ref().is_some_and(|pending| pending.hopeless);
        let thread = self.table.add_waiting(tcb, key::FAULT)?;
        if hopeless {
            self.die(thread);
        }
        if let Some(pending) = self.table.get(thread).and_then(|tcb| tcb.pending.as_mut()) {
            pending.fault.thread = thread;
        }
        self.table.wake(key::PAGER, 1);
        Ok(())
    }

    /// The thread may try again, where it did.
    fn mended(&mut self, thread: Id) {
        let of = self.table.get(thread).and_then(|tcb| tcb.pending.take()).map_or(0, |pending| pending.of);
        if of == self.me() {
            return self.table.wake_this(key::FAULT, thread.number());
        }
        self.send_back(thread, of);
    }

    /// It may not: the end of its dispatcher.
    fn give_up(&mut self, thread: Id) {
        let me = self.me();
        let pending = self.table.get(thread).and_then(|tcb| tcb.pending.as_mut());
        let Some(pending) = pending.filter(|pending| pending.of != me) else { self.die(thread) };
        pending.hopeless = true;
        let of = pending.of;
        self.send_back(thread, of);
    }

    fn send_back(&mut self, thread: Id, to: u32) {
        let tcb = self.table.take_waiting(key::FAULT, thread);
        if let (Some(tcb), Some(peers)) = (tcb, &mut self.peers) {
            peers.send_thread(to, Box::new(tcb));
        }
    }

    fn overflowed(&mut self, fault: &Fault) -> bool {
        let stack = self.table.get(fault.thread).and_then(|tcb| tcb.stack);
        stack.is_some_and(|stack| stack.guards(fault.addr))
    }

    /// Says who did what, and that is the end.
    fn end_of(&mut self, fault: &Fault) -> ! {
        program::last_words(self.line_about(fault, None).as_bytes());
        self.die(fault.thread)
    }

    /// The thread does it again, and as no upcall is left, the CPU driver stops the dispatcher and whoever waits for the program
    /// learns what of.
    fn die(&mut self, thread: Id) -> ! {
        if let Some(tcb) = self.table.get(thread) {
            tcb.put_registers();
        }
        dispatch::clear_upcall();
        sched::resume(0)
    }

    /// Who did what.
    fn line_about(&mut self, fault: &Fault, why: Option<&dyn fmt::Display>) -> log::Line {
        let overflowed = self.overflowed(fault);
        let mut line = log::Line::new();
        let name = self.table.get(fault.thread).map_or("?", |tcb| &*tcb.name);
        // A line that does not fit is cut.
        let _cut = if overflowed {
            write!(line, "thread '{name}' overflowed its stack")
        } else {
            write!(line, "thread '{name}': {} fault at {:#x}", fault.kind.name(), fault.addr)
        };
        if let Some(why) = why {
            let _cut = write!(line, ": {why}");
        }
        line
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_is_asked_about_once() {
        let mut state = State::new();
        for _ in 0..2 {
            let block = super::super::tls::Block::new(&super::super::tls::Template::NOTHING);
            state.table.add(Tcb::new("t", None, 0, block)).unwrap();
        }
        for n in 0..2u64 {
            let thread = state.table.take_next().unwrap();
            let fault = Fault { thread, kind: FaultKind::Read, addr: n, code: 0 };
            let pending = Pending { fault, asked: false, of: 0, hopeless: false };
            state.table.get(thread).unwrap().pending = Some(pending);
            state.table.block(key::FAULT, 0);
        }
        assert_eq!(state.unasked().map(|fault| fault.addr), Some(0));
        assert_eq!(state.unasked().map(|fault| fault.addr), Some(1));
        assert_eq!(state.unasked(), None);
    }
}
