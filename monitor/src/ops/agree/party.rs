//! The holders' side: lock and vote, then do it or let go.
//!
//! Every number of an owner's is taken once: so a message that comes late, behind the one that ended its
//! operation, or twice, does nothing any more.

use super::taken::Number;
use super::{Agreement, Arrival, Claim, Copy, Cx, MAX_PARTS, Region};
use alloc::vec::Vec;
use skerry_abi::{CapType, PAGE_SIZE};
use skerry_hal::CoreId;
use skerry_urpc::formats::Refusal;
use skerry_urpc::formats::agree::{
    Abort, Commit, Create, Done, Invalidate, Party, Prepare, Settled, Vote, Work,
};

/// An operation that something here is locked for.
#[derive(Clone, PartialEq, Eq, Debug, Hash)]
pub(super) struct Part {
    pub owner: CoreId,
    pub seq: u32,
    number: u16,
    pub claim: Claim,
    /// The own number of the request, if this core asked for it; or 0.
    asked: u16,
    /// It was committed, and what it takes away is going.
    deleting: bool,
}

fn claim_of(prepare: &Prepare) -> Option<Claim> {
    let region = Region { ty: CapType::from_raw(prepare.ty)?, base: prepare.base, len: prepare.len };
    let part = Region {
        ty: CapType::from_raw(prepare.work >> 4)?,
        base: region.base.checked_add(u64::from(prepare.first) * PAGE_SIZE)?,
        len: u64::from(prepare.pages) * PAGE_SIZE,
    };
    let work = Work::from_raw(prepare.work & 15)?;
    region.span().contains(part.span()).then_some(Claim { region, work, part })
}

impl Party<Arrival<'_, '_>> for Agreement {
    type Outcome = ();

    fn prepare(&mut self, prepare: &Prepare, mut at: Arrival<'_, '_>) {
        let vote = match self.take_part(prepare, &mut at) {
            // It votes already, or the operation is over.
            None => return,
            Some(Ok(true)) => Vote { seq: prepare.seq, ..Vote::default() },
            Some(Ok(false)) => Vote { seq: prepare.seq, none: 1, ..Vote::default() },
            Some(Err(refusal)) => Vote { seq: prepare.seq, refusal: refusal as u16, ..Vote::default() },
        };
        let _late = at.cx.send(at.src, at.number, &vote);
    }

    fn commit(&mut self, commit: &Commit, at: Arrival<'_, '_>) {
        let n = self.parts.iter().position(|p| p.owner == at.src && p.seq == commit.seq);
        let mut result = Ok(());
        if let Some(n) = n {
            if self.parts[n].claim.work != Work::Retype {
                self.parts[n].deleting = true;
                return;
            }
            let asked = self.let_go(n, at.cx).asked;
            if asked != 0 {
                result = self.retype_here(asked, at.cx);
            }
        }
        self.say_done(commit.seq, result, at);
    }

    fn abort(&mut self, abort: &Abort, at: Arrival<'_, '_>) {
        match self.parts.iter().position(|p| p.owner == at.src && p.seq == abort.seq) {
            // Too late: it says when it has done it.
            Some(n) if self.parts[n].deleting => return,
            Some(n) => drop(self.let_go(n, at.cx)),
            // The question may still come.
            None => drop(self.taken.entry(at.src).or_default().take(abort.seq)),
        }
        self.say_done(abort.seq, Ok(()), at);
    }

    fn create(&mut self, create: &Create, at: Arrival<'_, '_>) {
        let result = match self.taken.entry(at.src).or_default().take(create.seq) {
            Number::Taken => return,
            Number::Old => Err(Refusal::Busy),
            // What it owned before it was lost is still being deleted.
            Number::New if self.dead.contains(&at.src) => Err(Refusal::Busy),
            Number::New => CapType::from_raw(create.ty).ok_or(Refusal::BadRequest).and_then(|ty| {
                let region = Region { ty, base: create.base, len: create.len };
                let (owner, rights, whom) = (at.src, create.rights, create.whom);
                at.cx.objects.create(&Copy { region, owner, rights, whom })
            }),
        };
        self.say_done(create.seq, result, at);
    }

    fn settled(&mut self, settled: &Settled, at: Arrival<'_, '_>) {
        self.on_settled(Refusal::result(settled.refusal), at);
    }

    fn invalidate(&mut self, what: &Invalidate, at: Arrival<'_, '_>) {
        self.on_invalidate(what, at);
    }
}

impl Agreement {
    /// Locks what a question is about. Answers whether there is anything; nothing for a question that had its answer.
    fn take_part(&mut self, prepare: &Prepare, at: &mut Arrival<'_, '_>) -> Option<Result<bool, Refusal>> {
        match self.taken.entry(at.src).or_default().take(prepare.seq) {
            Number::Taken => return None,
            Number::New if self.parts.len() < MAX_PARTS => {}
            Number::New | Number::Old => return Some(Err(Refusal::Busy)),
        }
        let Some(claim) = claim_of(prepare) else { return Some(Err(Refusal::BadRequest)) };
        let held = || self.asked_token(prepare.asked).is_some_and(|token| at.cx.objects.is_held(token));
        if prepare.asked != 0 && !held() {
            return Some(Err(Refusal::NoCap));
        }
        let locked = at.cx.objects.lock(&claim);
        if locked == Ok(true) {
            let (owner, number, asked) = (at.src, at.number, prepare.asked);
            self.parts.push(Part { owner, seq: prepare.seq, number, claim, asked, deleting: false });
        }
        Some(locked)
    }

    /// Unlocks, unless another operation has locked the same.
    fn let_go(&mut self, n: usize, cx: &mut Cx<'_>) -> Part {
        let part = self.parts.swap_remove(n);
        if !self.parts.iter().any(|other| other.claim.region == part.claim.region) {
            cx.objects.unlock(&part.claim);
        }
        part
    }

    fn retype_here(&mut self, asked: u16, cx: &mut Cx<'_>) -> Result<(), Refusal> {
        let asked = self.asked.iter_mut().find(|a| a.number == asked).ok_or(Refusal::Aborted)?;
        let made = cx.objects.retype(asked.token);
        asked.made = Some(made);
        made
    }

    fn say_done(&self, seq: u32, result: Result<(), Refusal>, at: Arrival<'_, '_>) {
        let done = Done { seq, refusal: Refusal::code(result), ..Done::default() };
        let _late = at.cx.send(at.src, at.number, &done);
    }

    /// Deletes some of what committed revocations take away. Answers whether there is more.
    pub(super) fn run_parts(&mut self, cx: &mut Cx<'_>) -> bool {
        let (mut more, mut n) = (false, 0);
        while n < self.parts.len() {
            let part = &self.parts[n];
            let copies = part.claim.work == Work::RevokeCopies;
            let keep = self.asked_token(part.asked);
            if part.deleting && !cx.objects.revoke(&part.claim.region, copies, keep) {
                let none = u8::from(copies && keep.is_none());
                let part = self.let_go(n, cx);
                let done = Done { seq: part.seq, none, ..Done::default() };
                let _late = cx.send(part.owner, part.number, &done);
            } else {
                more |= part.deleting;
                n += 1;
            }
        }
        more
    }

    /// Owners are lost: what was theirs is void, and so is what was asked of them.
    pub(super) fn lost_owners(&mut self, is_lost: &dyn Fn(CoreId) -> bool, cx: &mut Cx<'_>) {
        self.parts.retain(|part| !is_lost(part.owner));
        let dead: Vec<CoreId> = self.taken.keys().copied().filter(|&core| is_lost(core)).collect();
        for core in dead {
            self.taken.remove(&core);
            if !self.dead.contains(&core) {
                self.dead.push(core);
            }
        }
        self.lost_asked(is_lost, cx);
    }
}
