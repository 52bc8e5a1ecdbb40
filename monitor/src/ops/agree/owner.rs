//! The owner's side: what is asked for, in order, and how far it has come.
//!
//! An operation waits for every earlier one whose memory overlaps its own, and for no other. So there is one order, and
//! the oldest always can go on: no deadlock. Transfers to different cores do not wait for each other.

use super::taken::Number;
use super::{Agreement, Arrival, Claim, Cx, MAX_OPS, Region, Span};
use alloc::vec::Vec;
use skerry_abi::{CapType, PAGE_SIZE};
use skerry_hal::CoreId;
use skerry_urpc::formats::Refusal;
use skerry_urpc::formats::agree::{
    Abort, Ask, Commit, Create, Done, Invalidated, Owner, Prepare, Settled, Vote, Work,
};

/// A holder, as far as an operation has to do with it.
#[derive(Clone, PartialEq, Eq, Debug, Hash)]
pub(super) struct Member {
    pub core: CoreId,
    sent: bool,
    pub said: Option<Said>,
}

/// What a holder has said in the present phase.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub(super) enum Said {
    /// It has locked its copies; or done it.
    Yes,
    /// It holds nothing (any more).
    None,
    No(Refusal),
    /// Its island is lost.
    Lost,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub(super) enum Phase {
    /// Behind another operation.
    Queued,
    /// Every holder is asked.
    Voting,
    /// The new holder makes its copy.
    Creating,
    /// All agreed.
    Committing,
    /// It does not come to it.
    Aborting,
    /// The owner's own core revokes.
    Local,
    Over,
    /// It has ended, and goes when all others have been looked at.
    Gone,
}

#[derive(Clone, PartialEq, Eq, Debug, Hash)]
pub(super) struct Op {
    pub seq: u32,
    pub asker: (CoreId, u16),
    pub work: Work,
    pub region: Region,
    /// Retype: the part, with its new type. Else the region.
    pub part: Region,
    pub to: CoreId,
    pub whom: u32,
    pub rights: u8,
    pub phase: Phase,
    pub members: Vec<Member>,
    pub verdict: Result<(), Refusal>,
    /// The asker was told, or is lost.
    pub answered: bool,
    /// The owner's own copies are locked.
    pub locked: bool,
    /// Somebody became a holder only by this: of the part who asked to retype it, of the object who is to get a copy.
    pub reserved: bool,
    pub due: Option<u64>,
}

impl Op {
    /// The number that its messages carry: the last bits of `seq`.
    pub fn number(&self) -> u16 {
        self.seq as u16
    }

    pub fn claim(&self) -> Claim {
        Claim { region: self.region, work: self.work, part: self.part }
    }

    fn conflicts(&self, other: &Self) -> bool {
        if other.phase == Phase::Gone {
            return false;
        }
        let both = self.work == Work::Transfer && other.work == Work::Transfer;
        let apart = both && (self.to, self.region) != (other.to, other.region);
        !apart && self.part.span().overlaps(other.part.span())
    }

    /// Goes on to a phase in which the members are to be told something.
    pub fn enter(&mut self, phase: Phase, due: Option<u64>) {
        (self.phase, self.due) = (phase, due);
        self.members.retain(|m| m.said != Some(Said::Lost));
        for member in &mut self.members {
            (member.sent, member.said) = (false, None);
        }
    }

    /// Takes in new members.
    pub fn involve(&mut self, cores: impl IntoIterator<Item = CoreId>) {
        self.members = cores.into_iter().map(|core| Member { core, sent: false, said: None }).collect();
    }

    fn all_said(&self) -> bool {
        self.members.iter().all(|m| m.said.is_some())
    }

    fn objection(&self) -> Option<Refusal> {
        self.members.iter().find_map(|m| match m.said {
            Some(Said::No(refusal)) => Some(refusal),
            _ => None,
        })
    }
}

impl Owner<Arrival<'_, '_>> for Agreement {
    type Outcome = ();

    fn ask(&mut self, ask: &Ask, at: Arrival<'_, '_>) {
        let admitted = match self.asks.entry(at.src).or_default().take_half(at.number) {
            // It came before: its answer stands, or will.
            Number::Taken => return,
            Number::Old => Err(Refusal::Busy),
            Number::New => self.admit(ask, (at.src, at.number), at.cx),
        };
        if let Err(refusal) = admitted {
            let settled = Settled { refusal: refusal as u16, ..Settled::default() };
            let _lost = at.cx.send(at.src, at.number, &settled);
        }
    }

    fn vote(&mut self, vote: &Vote, at: Arrival<'_, '_>) {
        let said = match Refusal::result(vote.refusal) {
            Err(refusal) => Said::No(refusal),
            Ok(()) if vote.none != 0 => Said::None,
            Ok(()) => Said::Yes,
        };
        let op = self.ops.iter_mut().find(|op| op.seq == vote.seq && op.phase != Phase::Queued);
        let Some(op) = op else {
            if said == Said::Yes {
                // It has locked for nothing.
                let abort = Abort { seq: vote.seq, ..Abort::default() };
                let _again = at.cx.send(at.src, vote.seq as u16, &abort);
            }
            return;
        };
        if op.phase == Phase::Voting {
            say(op, at.src, said);
        }
    }

    fn done(&mut self, done: &Done, at: Arrival<'_, '_>) {
        let said = match Refusal::result(done.refusal) {
            Err(refusal) => Said::No(refusal),
            Ok(()) if done.none != 0 => Said::None,
            Ok(()) => Said::Yes,
        };
        let phases = [Phase::Creating, Phase::Committing, Phase::Aborting];
        if let Some(op) = self.ops.iter_mut().find(|op| op.seq == done.seq && phases.contains(&op.phase)) {
            say(op, at.src, said);
        }
    }

    fn invalidated(&mut self, done: &Invalidated, at: Arrival<'_, '_>) {
        self.on_invalidated(done, at);
    }
}

/// Notes what a member has said; the first time counts.
fn say(op: &mut Op, core: CoreId, said: Said) {
    if let Some(member) = op.members.iter_mut().find(|m| m.core == core && m.sent) {
        member.said.get_or_insert(said);
    }
}

impl Agreement {
    /// Puts what was asked for in the queue. All of it is an allegation.
    pub(super) fn admit(&mut self, ask: &Ask, asker: (CoreId, u16), cx: &Cx<'_>) -> Result<(), Refusal> {
        let (ty, work) = (CapType::from_raw(ask.ty), Work::from_raw(ask.work));
        let (ty, work) = ty.zip(work).ok_or(Refusal::BadRequest)?;
        let region = Region { ty, base: ask.base, len: ask.len };
        if ask.len == 0 || ask.base.checked_add(ask.len).is_none() {
            return Err(Refusal::BadRequest);
        }
        let mut part = region;
        if work == Work::Retype {
            let ty = CapType::from_raw(ask.new).ok_or(Refusal::BadRequest)?;
            let base = ask.base.saturating_add(u64::from(ask.first) * PAGE_SIZE);
            part = Region { ty, base, len: u64::from(ask.pages) * PAGE_SIZE };
            if part.len == 0 || !region.span().contains(part.span()) {
                return Err(Refusal::BadRequest);
            }
        }
        if self.ops.len() >= MAX_OPS {
            return Err(Refusal::Busy);
        }
        self.ops.push(Op {
            seq: 0,
            asker,
            work,
            region,
            part,
            to: ask.to,
            whom: ask.first,
            rights: ask.rights,
            phase: Phase::Queued,
            members: Vec::new(),
            verdict: Ok(()),
            answered: false,
            locked: false,
            reserved: false,
            due: cx.due(),
        });
        Ok(())
    }

    /// Takes every operation as far as it goes. Answers whether one could go on at once.
    pub(super) fn run_ops(&mut self, cx: &mut Cx<'_>) -> bool {
        let (mut more, mut gone, mut n) = (false, false, 0);
        while n < self.ops.len() {
            let mut steps = true;
            while steps {
                steps = self.step(n, cx);
            }
            more |= self.ops[n].phase == Phase::Local;
            if self.ops[n].phase == Phase::Over {
                self.end(n, cx);
                gone = true;
            } else {
                self.tell(n, cx);
            }
            n += 1;
        }
        if gone {
            self.ops.retain(|op| op.phase != Phase::Gone);
        }
        more
    }

    /// One step of one operation. Answers whether the next may follow at once.
    fn step(&mut self, n: usize, cx: &mut Cx<'_>) -> bool {
        let (before, op) = self.ops.split_at_mut(n);
        let op = &mut op[0];
        if cx.is_past(op.due) {
            self.late(n, cx);
            return self.ops[n].phase != Phase::Over;
        }
        match op.phase {
            Phase::Queued if before.iter().any(|earlier| op.conflicts(earlier)) => return false,
            Phase::Queued => {
                if let Err(refusal) = self.begin(n, cx) {
                    let op = &mut self.ops[n];
                    (op.verdict, op.phase) = (Err(refusal), Phase::Over);
                }
            }
            Phase::Voting if op.all_said() => self.decide(n, cx),
            Phase::Creating if op.all_said() => {
                op.verdict = op.objection().map_or(op.verdict, Err);
                op.phase = Phase::Over;
            }
            Phase::Aborting if op.all_said() => op.phase = Phase::Over,
            Phase::Committing if op.all_said() => match op.work {
                Work::Revoke | Work::RevokeCopies => op.phase = Phase::Local,
                Work::Transfer | Work::Retype => {
                    op.verdict = op.objection().map_or(op.verdict, Err);
                    op.phase = Phase::Over;
                }
            },
            Phase::Local => {
                // One piece of work a call.
                if !self.revoke_some(n, cx) {
                    self.ops[n].phase = Phase::Over;
                }
                return false;
            }
            _ => return false,
        }
        self.ops[n].phase != Phase::Over
    }

    pub(super) fn begin(&mut self, n: usize, cx: &mut Cx<'_>) -> Result<(), Refusal> {
        self.seq = self.seq.wrapping_add(1);
        let op = &mut self.ops[n];
        // Not sooner: holders remember the newest numbers.
        op.seq = self.seq;
        let (asker, number) = op.asker;
        let (region, work) = (op.region, op.work);
        let may = if asker == self.core {
            self.asked_token(number).is_some_and(|token| cx.objects.is_held(token))
        } else {
            self.holders.holds(&region, asker)
        };
        match work {
            _ if !may => Err(Refusal::NoCap),
            Work::Transfer => self.begin_transfer(n, cx),
            Work::Retype => self.begin_retype(n, cx),
            Work::Revoke | Work::RevokeCopies => self.begin_vote(n, cx),
        }
    }

    /// Locks the owner's own copies, and asks everybody else concerned.
    pub(super) fn begin_vote(&mut self, n: usize, cx: &mut Cx<'_>) -> Result<(), Refusal> {
        let op = &mut self.ops[n];
        let _none_here = cx.objects.lock(&op.claim())?;
        op.locked = true;
        op.involve(self.holders.parties(&op.region, op.part.span()));
        op.enter(Phase::Voting, cx.due());
        Ok(())
    }

    /// All have voted, or are lost.
    fn decide(&mut self, n: usize, cx: &mut Cx<'_>) {
        let op = &mut self.ops[n];
        for member in op.members.iter().filter(|m| m.said == Some(Said::None)) {
            self.holders.none(&op.region, op.part.span(), member.core);
        }
        if let (Ok(()), Some(refusal)) = (op.verdict, op.objection()) {
            op.verdict = Err(refusal);
        }
        // Whoever holds nothing, or has refused, has locked nothing.
        op.members.retain(|m| m.said == Some(Said::Yes));
        let agreed = op.verdict.is_ok();
        if agreed && op.work == Work::Retype && skerry_caps::types::of(op.region.ty).exclusive {
            self.holders.vacated(&op.region, &op.part, op.asker.0);
        }
        op.enter(if agreed { Phase::Committing } else { Phase::Aborting }, cx.due());
        if !agreed {
            self.unreserve(n);
        }
    }

    /// The bound has passed.
    fn late(&mut self, n: usize, cx: &mut Cx<'_>) {
        let due = cx.due();
        self.answer(n, Err(Refusal::TimedOut), cx);
        let op = &mut self.ops[n];
        match op.phase {
            Phase::Queued => (op.verdict, op.phase) = (Err(Refusal::TimedOut), Phase::Over),
            Phase::Voting | Phase::Creating => {
                op.verdict = Err(Refusal::TimedOut);
                // What they have said does not count: whoever has locked something hears of it.
                op.enter(Phase::Aborting, due);
                self.unreserve(n);
            }
            _ => {
                op.due = due;
                op.members.iter_mut().filter(|m| m.said.is_none()).for_each(|m| m.sent = false);
            }
        }
    }

    /// Sends what the members have not been told.
    fn tell(&mut self, n: usize, cx: &mut Cx<'_>) {
        let op = &mut self.ops[n];
        let (number, seq) = (op.number(), op.seq);
        for at in 0..op.members.len() {
            let core = op.members[at].core;
            if op.members[at].sent {
                continue;
            }
            let sent = match op.phase {
                Phase::Voting => {
                    let Claim { region, part, work } = op.claim();
                    let asked = if op.asker.0 == core { op.asker.1 } else { 0 };
                    let prepare = Prepare {
                        base: region.base,
                        len: region.len,
                        first: ((part.base - region.base) / PAGE_SIZE) as u32,
                        pages: (part.len / PAGE_SIZE) as u32,
                        seq,
                        ty: region.ty as u8,
                        work: work as u8 | (part.ty as u8) << 4,
                        asked,
                        ..Prepare::default()
                    };
                    cx.send(core, number, &prepare)
                }
                Phase::Creating => {
                    let Region { ty, base, len } = op.region;
                    let (ty, rights, whom) = (ty as u8, op.rights, op.whom);
                    let create = Create { base, len, seq, whom, ty, rights, ..Create::default() };
                    cx.send(core, number, &create)
                }
                Phase::Committing => cx.send(core, number, &Commit { seq, ..Commit::default() }),
                Phase::Aborting => cx.send(core, number, &Abort { seq, ..Abort::default() }),
                Phase::Queued | Phase::Local | Phase::Over | Phase::Gone => return,
            };
            op.members[at].sent = sent.is_ok();
        }
    }

    /// Tells who asked, once.
    fn answer(&mut self, n: usize, result: Result<(), Refusal>, cx: &mut Cx<'_>) {
        let op = &mut self.ops[n];
        if core::mem::replace(&mut op.answered, true) {
            return;
        }
        let (core, number) = op.asker;
        if core == self.core {
            self.settle(number, result, cx);
        } else {
            let settled = Settled { refusal: Refusal::code(result), ..Settled::default() };
            let _late = cx.send(core, number, &settled);
        }
    }

    /// An operation is over.
    fn end(&mut self, n: usize, cx: &mut Cx<'_>) {
        match self.ops[n].work {
            Work::Transfer => self.end_transfer(n),
            Work::Retype => self.end_retype(n, cx),
            Work::Revoke | Work::RevokeCopies => self.end_revoke(n),
        }
        self.answer(n, self.ops[n].verdict, cx);
        let op = &mut self.ops[n];
        op.phase = Phase::Gone;
        let (claim, locked) = (op.claim(), core::mem::replace(&mut op.locked, false));
        if locked && !self.ops.iter().any(|other| other.locked && other.region == claim.region) {
            cx.objects.unlock(&claim);
        }
        self.tidy(claim.region.span(), cx);
    }

    /// Lets go of what nobody else holds any more.
    pub(super) fn tidy(&mut self, span: Span, cx: &mut Cx<'_>) {
        let idle = [Phase::Queued, Phase::Gone];
        let busy = self.ops.iter().any(|op| !idle.contains(&op.phase) && op.region.span().overlaps(span));
        if !busy {
            for region in self.holders.tidy(span) {
                cx.objects.retract(&region);
            }
        }
    }

    /// A message of an operation, or of an invalidation, did not get to `to`: it is sent again, unless that core turns out to
    /// be lost, or does not understand it.
    pub fn unsent(&mut self, number: u16, to: CoreId, refusal: Refusal) {
        for op in self.ops.iter_mut().filter(|op| op.number() == number) {
            for member in op.members.iter_mut().filter(|m| m.core == to && m.said.is_none()) {
                match refusal {
                    Refusal::BadKind => member.said = Some(Said::No(refusal)),
                    _ => member.sent = false,
                }
            }
        }
        self.untell(number, to);
    }

    /// Holders and askers are lost: their copies are gone with them.
    pub(super) fn lost_parties(&mut self, is_lost: &dyn Fn(CoreId) -> bool, cx: &mut Cx<'_>) {
        for op in &mut self.ops {
            for member in op.members.iter_mut().filter(|m| is_lost(m.core)) {
                (member.sent, member.said) = (true, Some(Said::Lost));
            }
            if is_lost(op.asker.0) {
                op.answered = true;
                if matches!(op.phase, Phase::Queued | Phase::Voting) {
                    op.verdict = Err(Refusal::Lost);
                }
            }
            if op.work == Work::Transfer && is_lost(op.to) {
                op.verdict = Err(Refusal::Lost);
            }
        }
        self.ops.retain(|op| op.phase != Phase::Queued || !is_lost(op.asker.0));
        for region in self.holders.lost(is_lost) {
            self.tidy(region.span(), cx);
        }
    }
}
