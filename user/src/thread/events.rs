//! Threads that wait for events of the dispatcher, or for time to pass.

use super::sched::{block, key, with};
use super::table::Woken;
use crate::cap::SELF;
use crate::clock;
use crate::dispatch::{self, Off};
use core::sync::atomic::{AtomicU64, Ordering};
use core::time::Duration;
use skerry_urpc::formats::span::WakeThread;

/// Waits for an event of `mask`, at most until the clock reaches `deadline` (0: for ever), or until
/// [nudged](Sleeper::nudge); the events that came. Other threads run meanwhile. Works without threads too.
pub(crate) fn wait_event(mask: u64, deadline: u64, sleeper: &Sleeper) -> u64 {
    let off = Off::enter();
    let current = if dispatch::is_scheduled() { with(&off, |state| state.table.current()) } else { None };
    let Some(current) = current else {
        // Refused only if mask or deadline were malformed; then this is a poll.
        return SELF.wait(mask, deadline).unwrap_or(0);
    };
    let there = with(&off, |state| {
        let there = state.events & mask;
        state.events &= !there;
        if let Some(tcb) = state.table.get(current) {
            tcb.mask = mask;
        }
        there
    });
    if there != 0 {
        return there;
    }
    sleeper.announce(&off);
    let woken = block(&off, key::EVENTS, deadline);
    sleeper.0.store(0, Ordering::Relaxed);
    match woken {
        Woken::By(events) => events,
        Woken::TimedOut => 0,
    }
}

/// Which thread, if any, is in [`wait_event`]; 0, or its number and 1, and in the high half its dispatcher.
#[derive(Debug, Default)]
pub(crate) struct Sleeper(AtomicU64);

impl Sleeper {
    /// The thread that runs is about to wait, with upcalls off until then: who [nudges](Self::nudge) it from here on, ends that.
    pub(crate) fn announce(&self, off: &Off) {
        let at = with(off, |state| {
            let current = state.table.current()?;
            Some((u64::from(current.number()) + 1) | u64::from(state.me()) << 32)
        });
        self.0.store(at.unwrap_or(0), Ordering::SeqCst);
    }

    /// Ends the wait, without an event.
    pub(crate) fn nudge(&self) {
        let at = self.0.load(Ordering::SeqCst);
        if at == 0 {
            return;
        }
        let (to, number) = ((at >> 32) as u32, at as u32 - 1);
        with(&Off::enter(), |state| match &mut state.peers {
            Some(peers) if peers.me != to => {
                peers.send(to, &WakeThread { key: key::EVENTS, number, ..WakeThread::default() });
            }
            _ => state.table.wake_this(key::EVENTS, number),
        });
    }
}

/// Sleeps until the clock has reached `ticks`.
pub fn sleep_until(ticks: u64) {
    let off = Off::enter();
    while clock::ticks() < ticks {
        block(&off, key::SLEEP, ticks);
    }
}

/// Sleeps for a while.
pub fn sleep(duration: Duration) {
    sleep_until(clock::ticks().saturating_add(clock::span(duration)));
}
