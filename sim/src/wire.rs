//! How messages travel: the ring says what was sent, a wire says when it is seen.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;

#[derive(Debug, Default)]
struct Inner {
    due: RefCell<VecDeque<u64>>,
    last: Cell<u64>,
}

/// One direction of a channel. Both ends have it.
#[derive(Clone, Debug, Default)]
pub struct Wire(Rc<Inner>);

impl Wire {
    /// A message that is seen from `at` on, and no sooner than `gap` after the one before. Answers when.
    pub fn sent(&self, at: u64, gap: u64) -> u64 {
        let at = at.max(self.0.last.get() + gap);
        self.0.last.set(at);
        self.0.due.borrow_mut().push_back(at);
        at
    }

    /// When the next message is seen; `None`: there is none, as far as the wire knows.
    pub fn next(&self) -> Option<u64> {
        self.0.due.borrow().front().copied()
    }

    /// Messages that were sent and not taken.
    pub fn pending(&self) -> usize {
        self.0.due.borrow().len()
    }

    /// The next message was taken.
    pub fn took(&self) {
        self.0.due.borrow_mut().pop_front();
    }

    /// What should have been seen by now is not there: it was lost with a session of its link.
    pub fn forget(&self, now: u64) {
        self.0.due.borrow_mut().retain(|at| *at > now);
    }
}
