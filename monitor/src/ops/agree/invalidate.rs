//! One-phase commit: an address space has lost a mapping, or a right, and exactly the cores that run its domain forget
//! their translations before anybody relies on it (paper §4.7, §5.1). There is nothing to agree on: each core does it and says
//! so, and a count of those that have not is all there is to keep.

use super::{Agreement, Arrival, Cx, Span};
use alloc::vec::Vec;
use skerry_hal::CoreId;
use skerry_urpc::formats::Refusal;
use skerry_urpc::formats::agree::{Invalidate, Invalidated};

/// Invalidations that a core has under way; at the limit one more is refused as [`Busy`](Refusal::Busy), before anything is
/// done.
pub const MAX_INVALIDATIONS: usize = 64;

#[derive(Clone, PartialEq, Eq, Debug, Hash)]
pub(super) struct Invalidation {
    seq: u32,
    token: u32,
    /// Cores that have not said that it is done.
    left: usize,
    /// Those of them that could not be told yet.
    untold: Vec<CoreId>,
    space: u64,
    span: Span,
    pub due: Option<u64>,
}

impl Agreement {
    /// Has `cores`, the own one among them or not, forget the translations of `span` in an address space.
    /// [`Out::settle`](super::Out::settle) answers `token` when all have.
    pub fn invalidate(&mut self, token: u32, space: u64, span: Span, cores: &[CoreId], cx: &mut Cx<'_>) {
        if self.invalidations.len() >= MAX_INVALIDATIONS {
            return cx.out.settle(token, Err(Refusal::Busy));
        }
        let others: Vec<CoreId> = cores.iter().copied().filter(|&core| core != self.core).collect();
        if others.len() < cores.len() {
            cx.objects.invalidate(space, span);
        }
        if others.is_empty() {
            return cx.out.settle(token, Ok(()));
        }
        self.seq = self.seq.wrapping_add(1);
        let (seq, left, due) = (self.seq, others.len(), cx.due());
        self.invalidations.push(Invalidation { seq, token, left, untold: others, space, span, due });
        self.run_invalidations(cx);
    }

    /// Tells who could not be told before; gives up what is overdue.
    pub(super) fn run_invalidations(&mut self, cx: &mut Cx<'_>) {
        for invalidation in &mut self.invalidations {
            let Invalidation { seq, space, span, .. } = *invalidation;
            let body = Invalidate {
                space,
                base: span.base,
                len: span.end - span.base,
                seq,
                ..Invalidate::default()
            };
            invalidation.untold.retain(|&core| cx.send(core, seq as u16, &body).is_err());
        }
        while let Some(at) = self.invalidations.iter().position(|i| cx.is_past(i.due)) {
            cx.out.settle(self.invalidations.remove(at).token, Err(Refusal::TimedOut));
        }
    }

    /// The message to a core was lost.
    pub(super) fn untell(&mut self, number: u16, to: CoreId) {
        let concerned = self.invalidations.iter_mut().filter(|i| i.seq as u16 == number);
        concerned.for_each(|i| i.untold.push(to));
    }

    /// Another core's domain has lost a mapping.
    pub(super) fn on_invalidate(&mut self, what: &Invalidate, at: Arrival<'_, '_>) {
        let span = Span { base: what.base, end: what.base.saturating_add(what.len) };
        at.cx.objects.invalidate(what.space, span);
        let done = Invalidated { seq: what.seq, ..Invalidated::default() };
        let _late = at.cx.send(at.src, at.number, &done);
    }

    pub(super) fn on_invalidated(&mut self, done: &Invalidated, at: Arrival<'_, '_>) {
        let Some(n) = self.invalidations.iter().position(|i| i.seq == done.seq) else { return };
        let invalidation = &mut self.invalidations[n];
        invalidation.left -= 1;
        if invalidation.left == 0 {
            at.cx.out.settle(self.invalidations.remove(n).token, Ok(()));
        }
    }
}
