//! New objects of a part of an object, on the core that asks. Everybody who holds copies, or something that was made there,
//! looks whether the part is free; then the asker's CPU driver makes them, and they stay the owner's.

use super::owner::{Member, Phase, Said};
use super::{Agreement, Cx};
use skerry_urpc::formats::Refusal;
use skerry_urpc::formats::agree::Work;

impl Agreement {
    pub(super) fn begin_retype(&mut self, n: usize, cx: &mut Cx<'_>) -> Result<(), Refusal> {
        let op = &self.ops[n];
        if !skerry_caps::types::of(op.region.ty).children.contains(op.part.ty) {
            return Err(Refusal::BadRequest);
        }
        self.begin_vote(n, cx)?;
        let op = &mut self.ops[n];
        if op.asker.0 != self.core {
            // A holder of the part from now on; taken back if nothing comes of it.
            match self.holders.add(&op.part, op.asker.0, false) {
                Ok(new) => op.reserved = new,
                Err(refusal) => {
                    // Nobody was asked yet.
                    op.members.clear();
                    op.verdict = Err(refusal);
                    op.phase = Phase::Aborting;
                }
            }
        }
        Ok(())
    }

    pub(super) fn end_retype(&mut self, n: usize, cx: &mut Cx<'_>) {
        let op = &self.ops[n];
        if op.verdict.is_ok() && op.asker.0 == self.core {
            let token = self.asked_token(op.asker.1).ok_or(Refusal::Aborted);
            self.ops[n].verdict = token.and_then(|token| cx.objects.retype(token));
        }
        let op = &self.ops[n];
        let refused = |m: &Member| m.core == op.asker.0 && matches!(m.said, Some(Said::No(_)));
        if op.members.iter().any(refused) {
            self.unreserve(n);
        }
    }

    /// Who asked has made nothing there.
    pub(super) fn unreserve(&mut self, n: usize) {
        let op = &mut self.ops[n];
        if op.work == Work::Retype && core::mem::replace(&mut op.reserved, false) {
            self.holders.remove(&op.part, op.asker.0);
        }
    }
}
