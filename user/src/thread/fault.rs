//! Threads that did what they must not: mended by a handler, or the end of the program.
//!
//! The CPU driver turns a thread's fault into an upcall. The thread waits, and a thread of its own, `pager`, looks whether it
//! touched [memory on demand](super::demand), or else asks the program's handler; it may block, take locks and call servers
//! as any thread does. It maps a page, say, and the faulting instruction runs again.

use super::demand;
use super::mutex::Mutex;
use super::sched::{self, State, key, with};
use super::spawn::{Builder, SpawnError};
use super::table::Id;
use crate::dispatch::{self, Off};
use crate::{log, program};
use alloc::boxed::Box;
use core::fmt::{self, Write};
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

/// Has a thread look at faults from now on.
pub(super) fn start_pager() -> Result<(), SpawnError> {
    let mut started = STARTED.lock();
    if !*started {
        Builder::new("pager").stack(STACK).spawn(page)?.detach();
        // It says itself which thread it is.
        while with(&Off::enter(), |state| state.pager.is_none()) {
            sched::yield_now();
        }
        *started = true;
    }
    Ok(())
}

/// What the pager does.
fn page() {
    with(&Off::enter(), |state| state.pager = state.table.current());
    loop {
        let fault = next();
        let mended = match demand::serve(&fault) {
            Some(served) => served.map_err(Some),
            None if HANDLER.lock().as_mut().is_some_and(|handler| handler(&fault)) => Ok(()),
            None => Err(None),
        };
        let off = Off::enter();
        match mended {
            Ok(()) => with(&off, |state| state.table.wake_this(key::FAULT, fault.thread.number())),
            Err(why) => {
                let why = why.as_ref().map(|why| why as &dyn fmt::Display);
                with(&off, |state| state.end_of(&fault, why));
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
            && self.pager.is_some_and(|pager| pager != thread)
            && !self.overflowed(&fault);
        if !handled {
            self.end_of(&fault, None);
        }
        if let Some(tcb) = self.table.get(thread) {
            tcb.pending = Some(Pending { fault, asked: false });
        }
        self.table.block(key::FAULT, 0);
        self.table.wake(key::PAGER, 1);
    }

    fn overflowed(&mut self, fault: &Fault) -> bool {
        let stack = self.table.get(fault.thread).and_then(|tcb| tcb.stack);
        stack.is_some_and(|stack| stack.guards(fault.addr))
    }

    /// Says who did what. Then the thread does it again, and as no upcall is left, the CPU driver stops the dispatcher
    /// and whoever waits for the program learns what of.
    fn end_of(&mut self, fault: &Fault, why: Option<&dyn fmt::Display>) -> ! {
        let overflowed = self.overflowed(fault);
        let mut line = log::Line::new();
        if let Some(tcb) = self.table.get(fault.thread) {
            // A line that does not fit is cut.
            let _cut = if overflowed {
                write!(line, "thread '{}' overflowed its stack", tcb.name)
            } else {
                write!(line, "thread '{}': {} fault at {:#x}", tcb.name, fault.kind.name(), fault.addr)
            };
            if let Some(why) = why {
                let _cut = write!(line, ": {why}");
            }
            program::last_words(line.as_bytes());
            tcb.put_registers();
        }
        dispatch::clear_upcall();
        sched::resume(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_is_asked_about_once() {
        let mut state = State::new();
        for _ in 0..2 {
            state
                .table
                .add(sched::Tcb::new(
                    "t",
                    None,
                    0,
                    super::super::tls::Block::new(&super::super::tls::Template::NOTHING),
                ))
                .unwrap();
        }
        for n in 0..2u64 {
            let thread = state.table.take_next().unwrap();
            let fault = Fault { thread, kind: FaultKind::Read, addr: n, code: 0 };
            state.table.get(thread).unwrap().pending = Some(Pending { fault, asked: false });
            state.table.block(key::FAULT, 0);
        }
        assert_eq!(state.unasked().map(|fault| fault.addr), Some(0));
        assert_eq!(state.unasked().map(|fault| fault.addr), Some(1));
        assert_eq!(state.unasked(), None);
    }
}
