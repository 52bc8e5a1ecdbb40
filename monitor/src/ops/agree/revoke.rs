//! The end of all that was made of an object, and if so asked of its copies: first on every other core, then on the
//! owner's, whose copies hold the memory until then.

use super::owner::Said;
use super::{Agreement, Cx};
use skerry_urpc::formats::agree::Work;

impl Agreement {
    /// Deletes some of what is on the owner's own core. Answers whether there is more.
    pub(super) fn revoke_some(&mut self, n: usize, cx: &mut Cx<'_>) -> bool {
        let op = &self.ops[n];
        let keep = (op.asker.0 == self.core).then(|| self.asked_token(op.asker.1)).flatten();
        cx.objects.revoke(&op.region, op.work == Work::RevokeCopies, keep)
    }

    pub(super) fn end_revoke(&mut self, n: usize) {
        let op = &self.ops[n];
        if op.verdict.is_err() {
            return;
        }
        self.holders.revoked(&op.region);
        for member in op.members.iter().filter(|m| matches!(m.said, Some(Said::None | Said::Lost))) {
            self.holders.remove(&op.region, member.core);
        }
    }
}
