//! A copy on another core. The new holder is written down *before* it is told to make its copy: should a revocation come
//! behind, it finds it.

use super::owner::{Phase, Said};
use super::{Agreement, Copy, Cx};
use skerry_urpc::formats::Refusal;

impl Agreement {
    pub(super) fn begin_transfer(&mut self, n: usize, cx: &mut Cx<'_>) -> Result<(), Refusal> {
        let op = &mut self.ops[n];
        if op.to == self.core {
            let copy = Copy { region: op.region, owner: self.core, rights: op.rights, whom: op.whom };
            cx.objects.create(&copy)?;
            op.phase = Phase::Over;
            return Ok(());
        }
        cx.out.status(op.to)?;
        cx.objects.export(&op.region, op.to, op.asker.0 != self.core)?;
        op.reserved = self.holders.add(&op.region, op.to, true)?;
        op.involve([op.to]);
        op.enter(Phase::Creating, cx.due());
        Ok(())
    }

    pub(super) fn end_transfer(&mut self, n: usize) {
        let op = &self.ops[n];
        // One that has said nothing in time may have its copy.
        let refused = op.members.iter().any(|m| matches!(m.said, Some(Said::No(_))));
        if op.reserved && refused {
            self.holders.remove(&op.region, op.to);
        }
    }
}
