//! Domains of a core that share capabilities with those of others, and what the monitors agree on about them: the CPU driver
//! is tried first, and what it answers with `Remote` or `Busy` is asked of the owner. And an address space that all cores of
//! an island run in, with a translation buffer a core.

use crate::kernel::Core;
use crate::mutants::Bug;
use crate::rng::Rng;
use skerry_abi::cap::{held, mark};
use skerry_abi::domain::slot;
use skerry_abi::op::halves;
use skerry_abi::{CPtr, CapType, CoreId, Error, Op, PAGE_SIZE};
use skerry_monitor::ops::agree::asker::{Request, What};
use skerry_monitor::ops::agree::local::{Driver, Local, refusal};
use skerry_monitor::ops::agree::{Copy, Region, Span};
use skerry_urpc::formats::Refusal;
use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};

/// A capability of a domain.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Held {
    /// Where.
    pub at: CPtr,
    /// For what.
    pub region: Region,
    /// Whose that is.
    pub owner: CoreId,
}

/// A request that has no answer.
#[derive(Clone, Copy, Debug)]
pub struct Asked {
    /// With which capability.
    pub cap: Held,
    /// For what; `None`: that a page of the shared address space is forgotten.
    pub what: Option<What>,
    /// Retype: the new object, and where to.
    make: (Region, CPtr),
    /// When it must have been answered.
    pub due: u64,
    /// Transfer: the life of the receiver's island.
    pub life: u32,
    /// Others that concern the same memory were under way meanwhile.
    pub crowded: bool,
}

/// What domains of a core share.
pub struct Share {
    core: CoreId,
    local: Local<CPtr>,
    /// What they have.
    pub held: Vec<Held>,
    empty: Vec<CPtr>,
    /// What they wait for.
    pub asked: BTreeMap<u32, Asked>,
    token: u32,
    /// Numbers of the copies that came.
    pub arrived: BTreeSet<u32>,
    /// Revocations that somebody here has begun.
    pub revoked: Vec<(CoreId, Region)>,
    /// The pages of the shared address space whose translations this core keeps.
    pub tlb: BTreeSet<u64>,
    /// What came of requests: done, refused.
    pub counts: [u64; 2],
}

/// The address space that all cores of an island share.
#[derive(Default)]
pub struct Space {
    mapped: BTreeSet<u64>,
    next: u64,
}

/// Capabilities of a core's domains, at most.
const MOST: usize = 24;
/// Requests of a core, at most.
const PENDING: usize = 12;
/// Bounds within which a request must be answered: the asker's monitor gives it up after four; it may stand behind others.
pub const ANSWER: u64 = 6;

/// What an act of a domain asks of its monitor.
pub enum Wish {
    /// Nothing: it was done here.
    None,
    /// Its owner is to be asked.
    Owner(u32, Request),
    /// Translations of a page are to be forgotten on all cores of the island.
    Forget(u32, Span),
}

fn same(core: &mut Core, held: &Held) -> bool {
    let mut word = |n| core.invoke(held.at, Op::Identify, &[n]);
    let region = held.region;
    word(0).is_ok_and(|w| w as u8 == region.ty as u8 && (w >> 32) as u32 == held.owner.raw())
        && (word(1), word(2)) == (Ok(region.base), Ok(region.len))
}

impl Share {
    /// A core's, with what it has from the beginning.
    pub fn new(core: CoreId, roots: Vec<Held>) -> Self {
        Self {
            core,
            local: Local::new(core),
            held: roots,
            empty: Vec::new(),
            asked: BTreeMap::new(),
            token: 0,
            arrived: BTreeSet::new(),
            revoked: Vec::new(),
            tlb: BTreeSet::new(),
            counts: [0; 2],
        }
    }

    /// The monitor's way to the CPU driver, for what `call` does with it.
    pub fn lend<R>(
        &mut self,
        core: &mut Core,
        bug: Option<Bug>,
        call: impl FnOnce(&mut dyn skerry_monitor::ops::agree::Objects) -> R,
    ) -> R {
        let Self { core: me, local, held, empty, asked, arrived, tlb, .. } = self;
        let mut driver = Lender { me: *me, core: RefCell::new(core), held, empty, asked, arrived, tlb, bug };
        call(&mut local.with(&mut driver))
    }

    /// A domain does something. `others`: cores with which it may share, each with its island's life.
    pub fn act(
        &mut self,
        core: &mut Core,
        space: &mut Space,
        rng: &mut Rng,
        others: &[(CoreId, u32)],
        due: u64,
    ) -> Wish {
        if self.asked.len() >= PENDING {
            return Wish::None;
        }
        if rng.one_in(4) {
            return self.touch(space, rng, due);
        }
        let Some(&cap) = self.held.get(rng.below(self.held.len() as u64) as usize) else { return Wish::None };
        let begun = match rng.below(8) {
            0..3 => self.make(core, rng, cap),
            3..6 if !others.is_empty() => {
                let (to, life) = *rng.pick(others);
                let whom = self.core.raw() << 16 ^ (self.token + 1);
                Some((What::Transfer { to, whom, rights: 0xff }, (cap.region, CPtr::NULL), life))
            }
            6 => {
                let copies = rng.one_in(2);
                self.revoked.push((cap.owner, cap.region));
                let words = [halves(cap.at.0, u32::from(!copies))];
                let result = loop {
                    match core.invoke(slot::ROOT, Op::Revoke, &words) {
                        Ok(1) => {}
                        other => break other,
                    }
                };
                let others = matches!(result, Err(Error::Remote | Error::Busy));
                others.then_some((What::Revoke { copies }, (cap.region, CPtr::NULL), 0))
            }
            _ => {
                let root = cap.region.ty == CapType::Ram && cap.region.len == ROOT_BYTES
                    || cap.region.ty == CapType::DeviceFrame;
                if !root && core.invoke(slot::ROOT, Op::Delete, &[cap.at.0.into()]) == Ok(0) {
                    self.held.retain(|h| h.at != cap.at);
                    self.empty.push(cap.at);
                }
                None
            }
        };
        let Some((what, make, life)) = begun else { return Wish::None };
        let token = self.ask(Asked { cap, what: Some(what), make, due, life, crowded: false });
        Wish::Owner(token, Request { owner: cap.owner, region: cap.region, what })
    }

    /// Makes something of a capability. Answers what the owner is to be asked for.
    fn make(&mut self, core: &mut Core, rng: &mut Rng, cap: Held) -> Option<(What, (Region, CPtr), u32)> {
        let ty = match cap.region.ty {
            CapType::Ram => *rng.pick(&[CapType::Ram, CapType::Ram, CapType::Frame, CapType::VNode]),
            CapType::DeviceFrame | CapType::WindowFrame => CapType::WindowFrame,
            _ => return None,
        };
        if self.held.len() >= MOST {
            return None;
        }
        let all = cap.region.len / PAGE_SIZE;
        let pages = if ty == CapType::VNode { 1 } else { rng.between(1, all / 2 + 2).min(all) };
        // Windows nest: the index takes what begins in an object for a part of it (RAM is given out once only).
        let window = ty == CapType::WindowFrame;
        let pages = if window { 1 << pages.ilog2() } else { pages };
        let page = cap.region.base / PAGE_SIZE;
        let first = rng.below(all - pages + 1);
        let first = if window { (first + page) / pages * pages } else { first + page };
        let first = first.checked_sub(page)?;
        let part = Region { ty, base: cap.region.base + first * PAGE_SIZE, len: pages * PAGE_SIZE };
        let to = self.empty.pop().map_or_else(|| core.slot(), Ok).ok()?;
        match core.retype(cap.at, ty, 0, first * PAGE_SIZE, part.len, to) {
            Ok(_) => self.held.push(Held { at: to, region: part, owner: cap.owner }),
            Err(Error::Remote | Error::Busy) => {
                let what = What::Retype { new: ty, first: first as u32, pages: pages as u32 };
                return Some((what, (part, to), 0));
            }
            Err(_) => self.empty.push(to),
        }
        None
    }

    /// A page of the shared address space is used, mapped, or taken out of it.
    fn touch(&mut self, space: &mut Space, rng: &mut Rng, due: u64) -> Wish {
        let some = rng.below(space.mapped.len() as u64 + 1) as usize;
        let Some(&page) = space.mapped.iter().nth(some) else {
            // A new one: of those that are being taken out none is mapped again.
            space.next += 1;
            space.mapped.insert(space.next);
            self.tlb.insert(space.next);
            return Wish::None;
        };
        if !rng.one_in(3) {
            self.tlb.insert(page);
            return Wish::None;
        }
        space.mapped.remove(&page);
        let region = Region { ty: CapType::Frame, base: page * PAGE_SIZE, len: PAGE_SIZE };
        let cap = Held { at: CPtr::NULL, region, owner: self.core };
        let token =
            self.ask(Asked { cap, what: None, make: (region, CPtr::NULL), due, life: 0, crowded: false });
        Wish::Forget(token, region.span())
    }

    /// A domain asks for something, of the first RAM that it has; `make` says where what is made lies, and goes to.
    pub(crate) fn begin(&mut self, what: What, make: Option<(Region, CPtr)>, due: u64) -> Wish {
        let Some(&cap) = self.held.iter().find(|h| h.region.ty == CapType::Ram) else { return Wish::None };
        let make = make.unwrap_or((cap.region, CPtr::NULL));
        let token = self.ask(Asked { cap, what: Some(what), make, due, life: 1, crowded: true });
        Wish::Owner(token, Request { owner: cap.owner, region: cap.region, what })
    }

    /// A domain wants a page forgotten everywhere.
    pub(crate) fn forget_page(&mut self, due: u64) -> Wish {
        let region = Region { ty: CapType::Frame, base: 0, len: PAGE_SIZE };
        let cap = Held { at: CPtr::NULL, region, owner: self.core };
        let make = (region, CPtr::NULL);
        let token = self.ask(Asked { cap, what: None, make, due, life: 0, crowded: false });
        Wish::Forget(token, region.span())
    }

    fn ask(&mut self, mut asked: Asked) -> u32 {
        self.token += 1;
        let span = asked.cap.region.span();
        for other in self.asked.values_mut().filter(|o| o.cap.region.span().overlaps(span)) {
            (other.crowded, asked.crowded) = (true, true);
        }
        self.asked.insert(self.token, asked);
        self.token
    }

    /// A request has ended. Answers what it was.
    ///
    /// # Errors
    /// If there is no such.
    pub fn settled(&mut self, token: u32, result: Result<(), Refusal>) -> Result<Asked, String> {
        let asked = self.asked.remove(&token).ok_or(format!("{}: request {token} ends twice", self.core))?;
        self.counts[usize::from(result.is_err())] += 1;
        let (_, to) = asked.make;
        if to != CPtr::NULL && !self.held.iter().any(|h| h.at == to) {
            self.empty.push(to);
        }
        Ok(asked)
    }

    /// What is not there any more.
    pub fn sweep(&mut self, core: &mut Core) -> Vec<Held> {
        let gone: Vec<Held> = self.held.extract_if(.., |held| !same(core, held)).collect();
        self.empty.extend(gone.iter().map(|held| held.at));
        gone
    }

    /// Something that is there of an object, or was made of it.
    pub fn left_of(&mut self, core: &mut Core, owner: CoreId, region: &Region) -> Option<Held> {
        let concerned = |h: &&Held| h.owner == owner && (h.region == *region || region.could_make(&h.region));
        self.held.iter().filter(concerned).find(|held| same(core, held)).copied()
    }

    /// Something that is locked.
    pub fn locked(&mut self, core: &mut Core) -> Option<Held> {
        let to = self.empty.pop().map_or_else(|| core.slot(), Ok).ok()?;
        let found = self.held.iter().find(|held| {
            let copied = core.invoke(slot::ROOT, Op::Copy, &[halves(held.at.0, to.0), 0xff]);
            if copied.is_ok() {
                let _own = core.invoke(slot::ROOT, Op::Delete, &[to.0.into()]);
            }
            copied == Err(Error::Busy)
        });
        let found = found.copied();
        self.empty.push(to);
        found
    }

    /// The first request that should have been answered by now.
    pub fn late(&self, now: u64) -> Option<String> {
        let (token, asked) = self.asked.iter().find(|(_, asked)| asked.due < now)?;
        Some(format!("{}: request {token} is not answered: {asked:?}", self.core))
    }

    /// Whoever stood still could not answer.
    pub fn extend(&mut self, ticks: u64) {
        self.asked.values_mut().for_each(|asked| asked.due += ticks);
    }
}

/// Bytes of the RAM that a core has to share.
pub const ROOT_BYTES: u64 = 16 * PAGE_SIZE;

/// The CPU driver and the domains, as the monitor sees them.
struct Lender<'a> {
    me: CoreId,
    core: RefCell<&'a mut Core>,
    held: &'a mut Vec<Held>,
    empty: &'a mut Vec<CPtr>,
    asked: &'a BTreeMap<u32, Asked>,
    arrived: &'a mut BTreeSet<u32>,
    tlb: &'a mut BTreeSet<u64>,
    bug: Option<Bug>,
}

impl Lender<'_> {
    fn slot(&mut self) -> Result<CPtr, Refusal> {
        let core = self.core.get_mut();
        self.empty.pop().map_or_else(|| core.slot(), Ok).map_err(|_| Refusal::NoMemory)
    }

    fn mark(&mut self, how: u32, region: &Region, more: [u64; 2]) -> Result<u64, Error> {
        let words = [halves(region.ty as u32, how), region.base, region.len, more[0], more[1]];
        self.core.get_mut().invoke(slot::KERNEL, Op::Mark, &words)
    }

    fn adopt_at(&mut self, region: &Region, owner: CoreId, rights: u8) -> Result<CPtr, Refusal> {
        let to = self.slot()?;
        let what = halves(u32::from(region.ty as u8) | u32::from(rights) << 8, owner.raw());
        let words = [what, region.base, region.len, halves(0, to.0)];
        match self.core.get_mut().invoke(slot::KERNEL, Op::Adopt, &words) {
            Ok(_) => Ok(to),
            Err(error) => {
                self.empty.push(to);
                Err(refusal(error))
            }
        }
    }
}

impl Driver for Lender<'_> {
    type Place = CPtr;

    fn is_held(&self, token: u32) -> bool {
        let asked = self.asked.get(&token);
        matches!(self.bug, Some(Bug::AskerUnchecked))
            || asked.is_some_and(|asked| same(&mut self.core.borrow_mut(), &asked.cap))
    }

    fn anchor(&mut self, region: &Region) -> Result<CPtr, Refusal> {
        self.adopt_at(region, self.me, 0xff)
    }

    fn is_there(&mut self, at: CPtr, region: &Region) -> bool {
        same(self.core.get_mut(), &Held { at, region: *region, owner: self.me })
    }

    fn drop_cap(&mut self, at: CPtr) {
        let gone = self.core.get_mut().invoke(slot::ROOT, Op::Delete, &[at.0.into()]);
        if matches!(gone, Ok(0) | Err(Error::EmptySlot)) {
            self.empty.push(at);
        }
    }

    fn share(&mut self, region: &Region, shared: bool) -> Result<(), Error> {
        let (how, mut from) = (if shared { mark::SHARE } else { mark::UNSHARE }, 0);
        loop {
            from = self.mark(how, region, [from, 0])?;
            if from == 0 {
                return Ok(());
            }
        }
    }

    fn lock(&mut self, region: &Region, part: (u64, u64)) -> Result<bool, Error> {
        let part = match self.bug {
            Some(Bug::VoteSkipped) => return Ok(true),
            Some(Bug::OverlapUnchecked) => (part.0, 0),
            _ => part,
        };
        let here = self.mark(mark::LOCK, region, part.into())?;
        Ok(here != 0)
    }

    fn unlock(&mut self, region: &Region) {
        if !matches!(self.bug, Some(Bug::NeverUnlocked)) {
            // A revocation may have taken what was locked.
            let _gone = self.mark(mark::UNLOCK, region, [0; 2]);
        }
    }

    fn is_here(&mut self, region: &Region) -> bool {
        self.mark(mark::UNLOCK, region, [0; 2]).is_ok_and(|here| here & (held::COPY | held::MADE) != 0)
    }

    fn adopt(&mut self, copy: &Copy) -> Result<(), Refusal> {
        let Copy { region, owner, rights, whom } = *copy;
        if self.held.len() >= MOST {
            return Err(Refusal::Busy);
        }
        let at = self.adopt_at(&region, owner, rights)?;
        self.held.push(Held { at, region, owner });
        self.arrived.insert(whom);
        Ok(())
    }

    fn retype(&mut self, token: u32) -> Result<(), Refusal> {
        let Asked { cap, make: (part, to), .. } = *self.asked.get(&token).ok_or(Refusal::Aborted)?;
        if to == CPtr::NULL || !same(self.core.get_mut(), &cap) {
            return Err(Refusal::NoCap);
        }
        let offset = part.base - cap.region.base;
        let words = [
            halves(u32::from(part.ty as u8) | 0xff_0000, 1),
            offset,
            part.len,
            halves(0, to.0),
            cap.at.0.into(),
        ];
        self.core.get_mut().invoke(slot::KERNEL, Op::RetypeAgreed, &words).map_err(refusal)?;
        self.held.push(Held { at: to, region: part, owner: cap.owner });
        Ok(())
    }

    fn revoke(
        &mut self,
        region: &Region,
        copies: bool,
        keep: Option<u32>,
        own: Option<CPtr>,
    ) -> Result<bool, Error> {
        let kept = keep.and_then(|token| self.asked.get(&token)).map(|asked| asked.cap);
        let core = self.core.get_mut();
        let kept = kept.filter(|cap| same(core, cap)).map_or(0, |cap| cap.at.0);
        let own = own.map_or(0, |at| at.0);
        let what = halves(region.ty as u32, u32::from(!copies));
        let words = [what, region.base, region.len, halves(kept, own), 0];
        if matches!(self.bug, Some(Bug::RevokeSkipped)) {
            return Ok(false);
        }
        core.invoke(slot::KERNEL, Op::RevokeAgreed, &words).map(|more| more != 0)
    }

    fn invalidate(&mut self, _: u64, span: Span) {
        if !matches!(self.bug, Some(Bug::TranslationsKept)) {
            self.tlb.remove(&(span.base / PAGE_SIZE));
        }
    }
}
