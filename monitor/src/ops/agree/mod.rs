//! Agreement about capabilities that several cores hold (paper §4.7, §4.8, §5.2; `docs/decisions/0015-agreement.md`).
//!
//! Every object has an *owner*, a core, whose monitor alone decides about it. So what two cores want at the same time is
//! put in one order, at one place, and nobody ever waits for somebody who waits for him.
//!
//! ```text
//! asker ── Ask ──► owner ══ Prepare ══► holders         Transfer:   owner ── Create ──► new holder
//!                        ◄══ Vote ═════                 Invalidate: owner ══ Invalidate ══► exactly the cores concerned
//!                        ══ Commit or Abort ══►
//!                        ◄══ Done ═════
//!       ◄── Settled ──
//! ```
//!
//! | file | what it holds |
//! | --- | --- |
//! | [`holders`] | who may hold copies of what: a superset, known to the owner |
//! | [`owner`] | the owner's side: one operation after another where they overlap, else side by side |
//! | [`transfer`], [`retype`], [`revoke`] | what is particular to each of them |
//! | [`invalidate`] | translations that cores forget: one phase, no owner |
//! | [`party`] | the holders' side |
//! | [`asker`] | who asked, and waits |
//! | [`local`] | a core's capabilities: the orders to the own kernel, carried out |
//! | [`glue`] | all that in a [`Monitor`](crate::Monitor) |
//! | `taken` | which numbers have come |
//!
//! An [`Agreement`] is a value: messages in, messages and orders to the own kernel out ([`Cx`]). Tests copy it, and search
//! all orders in which messages can arrive.

pub mod adopted;
pub mod asker;
pub mod glue;
pub mod holders;
pub mod invalidate;
pub mod local;
pub mod owner;
pub mod party;
pub mod retype;
pub mod revoke;
mod taken;
pub mod transfer;

use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use holders::Holders;
use skerry_abi::CapType;
use skerry_hal::CoreId;
use skerry_urpc::Message;
use skerry_urpc::formats::Refusal;
use skerry_urpc::formats::agree::{Owner, Party, Work};
use skerry_urpc::wire::{self, Body, Header};
use taken::Taken;

/// Operations that an owner has under way or in its queue. At the limit one that is asked for is refused as
/// [`Busy`](Refusal::Busy).
pub const MAX_OPS: usize = 64;
/// Operations of other owners that a holder takes part in; at the limit it votes [`Busy`](Refusal::Busy).
pub const MAX_PARTS: usize = 256;
/// Operations that the domains of a core have asked for.
pub const MAX_ASKED: usize = 64;

/// A range of physical memory.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Hash)]
pub struct Span {
    /// First byte.
    pub base: u64,
    /// First byte behind it.
    pub end: u64,
}

impl Span {
    /// Whether the two share a byte.
    pub const fn overlaps(self, other: Self) -> bool {
        self.base < other.end && other.base < self.end
    }

    /// Whether all of `other` lies in it.
    pub const fn contains(self, other: Self) -> bool {
        self.base <= other.base && other.end <= self.end
    }
}

/// An object, as all its copies name it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Hash)]
pub struct Region {
    /// Its type.
    pub ty: CapType,
    /// Its first byte.
    pub base: u64,
    /// Its length.
    pub len: u64,
}

impl Region {
    /// Its memory.
    pub const fn span(&self) -> Span {
        Span { base: self.base, end: self.base.saturating_add(self.len) }
    }

    /// Whether `other` was, or could have been, made of it.
    pub fn could_make(&self, other: &Self) -> bool {
        // Whatever descends from a type over others is among its children; endpoints are not shared in this way.
        let child = skerry_caps::types::of(self.ty).children.contains(other.ty);
        child && self.span().contains(other.span()) && (other.ty != self.ty || other.len < self.len)
    }
}

/// What is to be locked, and why.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub struct Claim {
    /// The object.
    pub region: Region,
    /// What is to be done with it.
    pub work: Work,
    /// Retype: the part of it, and its new type. Else all of it, and its own.
    pub part: Region,
}

/// A copy to be made.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub struct Copy {
    /// Of what.
    pub region: Region,
    /// Whose it is.
    pub owner: CoreId,
    /// With which rights, at most.
    pub rights: u8,
    /// For which domain, as the receiving core names it.
    pub whom: u32,
}

/// The capabilities of this core: real ones in a monitor, a model in tests. Calls are short; what may be long is done in
/// steps.
pub trait Objects {
    /// `core` is about to hold a copy of an object of this core's: from now on the CPU driver leaves decisions about it to the
    /// monitor, and the monitor holds a copy of its own, so that no user's is the last. Called again for the same object it
    /// changes nothing. If it was made `elsewhere`, there may be none here yet.
    ///
    /// # Errors
    /// [`Refusal::NoCap`], [`Refusal::MayNotCross`], [`Refusal::Busy`].
    fn export(&mut self, region: &Region, core: CoreId, elsewhere: bool) -> Result<(), Refusal>;
    /// Whether the capability is still there that the request `token` of a domain of this core was made with.
    fn is_held(&self, token: u32) -> bool;
    /// No other core holds anything of an object of this core's any more.
    fn retract(&mut self, region: &Region);
    /// Locks the copies of an object, and for a revocation all that was made of it: they cannot be copied, retyped, mapped or
    /// deleted until [`unlock`](Self::unlock). Answers whether there is anything.
    ///
    /// # Errors
    /// Nothing is locked then. [`Refusal::Occupied`]: the part to be retyped has another use here.
    fn lock(&mut self, claim: &Claim) -> Result<bool, Refusal>;
    /// Ends what [`lock`](Self::lock) did for this claim; what lies in it may be locked for another.
    fn unlock(&mut self, claim: &Claim);
    /// Makes a copy that another core gave.
    ///
    /// # Errors
    /// Nothing is made then.
    fn create(&mut self, copy: &Copy) -> Result<(), Refusal>;
    /// Makes the objects that the request `token` of a domain of this core asks for, all or none.
    ///
    /// # Errors
    /// Nothing is made then.
    fn retype(&mut self, token: u32) -> Result<(), Refusal>;
    /// Deletes some of what was made of an object, and of its copies, locked or not. The one that the request `keep` was made
    /// with stays, and so does what [`export`](Self::export) made. Answers whether there is more.
    fn revoke(&mut self, region: &Region, copies: bool, keep: Option<u32>) -> bool;
    /// Forgets the translations of a range of an address space.
    fn invalidate(&mut self, space: u64, span: Span);
    /// Deletes some of what is `core`'s: it is lost. Answers whether there is more.
    fn forget(&mut self, core: CoreId) -> bool;
}

/// Where messages and answers go.
pub trait Out {
    /// Sends a message; its header has the number only. It must not be taken in by an island that has been lost since, nor
    /// come from one: header and flags name the epochs of both.
    ///
    /// # Errors
    /// It is not under way.
    fn send(&mut self, to: CoreId, message: &Message) -> Result<(), Refusal>;
    /// Whether a core can be talked to.
    ///
    /// # Errors
    /// Why not.
    fn status(&self, core: CoreId) -> Result<(), Refusal>;
    /// A request of a domain of this core has ended so.
    fn settle(&mut self, token: u32, result: Result<(), Refusal>);
}

/// The world that an [`Agreement`] is in.
pub struct Cx<'a> {
    /// The time.
    pub now: u64,
    /// How long an answer may take. 0: for ever.
    pub bound: u64,
    /// The own core's capabilities.
    pub objects: &'a mut dyn Objects,
    /// The others.
    pub out: &'a mut dyn Out,
}

impl Cx<'_> {
    fn due(&self) -> Option<u64> {
        (self.bound > 0).then(|| self.now.saturating_add(self.bound))
    }

    fn is_past(&self, due: Option<u64>) -> bool {
        due.is_some_and(|due| due <= self.now)
    }

    /// What is lost is made up for when the owner's deadline passes.
    fn send<B: Body>(&mut self, to: CoreId, number: u16, body: &B) -> Result<(), Refusal> {
        self.out.send(to, &wire::encode(&Header { request: number, ..Header::default() }, body))
    }
}

/// One core's part in all agreements.
#[derive(Clone, PartialEq, Eq, Debug, Hash)]
pub struct Agreement {
    core: CoreId,
    holders: Holders,
    /// As owner.
    ops: Vec<owner::Op>,
    seq: u32,
    /// The requests of each core.
    asks: BTreeMap<CoreId, Taken>,
    /// As holder.
    parts: Vec<party::Part>,
    /// The operations of each core.
    taken: BTreeMap<CoreId, Taken>,
    /// As asker.
    asked: Vec<asker::Asked>,
    count: u16,
    /// Lost cores whose objects have not all been deleted.
    dead: Vec<CoreId>,
    invalidations: Vec<invalidate::Invalidation>,
}

/// Who sent a message, its number, and the world.
pub(crate) struct Arrival<'a, 'b> {
    src: CoreId,
    number: u16,
    cx: &'a mut Cx<'b>,
}

impl Agreement {
    /// That of `core`, which shares nothing yet.
    pub fn new(core: CoreId) -> Self {
        Self {
            core,
            holders: Holders::default(),
            ops: Vec::new(),
            seq: 0,
            asks: BTreeMap::new(),
            parts: Vec::new(),
            taken: BTreeMap::new(),
            asked: Vec::new(),
            count: 0,
            dead: Vec::new(),
            invalidations: Vec::new(),
        }
    }

    /// Takes a message in. Whether its epochs count was seen to. [`run`](Self::run) after some of them.
    pub fn message(&mut self, src: CoreId, message: &Message, cx: &mut Cx<'_>) {
        let number = message.header().request;
        if let Err(at) = Owner::dispatch(self, message, Arrival { src, number, cx }) {
            // What is for neither is not for this module.
            let _other = Party::dispatch(self, message, at);
        }
    }

    /// Goes on as far as it can without waiting for others. Answers whether there is more to do at once.
    pub fn run(&mut self, cx: &mut Cx<'_>) -> bool {
        let forgets = self.forget_some(cx);
        let deletes = self.run_parts(cx);
        let revokes = self.run_ops(cx);
        self.run_asked(cx);
        self.run_invalidations(cx);
        forgets || deletes || revokes
    }

    /// When [`run`](Self::run) is due at the latest.
    pub fn deadline(&self) -> Option<u64> {
        let ops = self.ops.iter().filter_map(|op| op.due);
        let asked = self.asked.iter().filter_map(|asked| asked.due);
        ops.chain(asked).chain(self.invalidations.iter().filter_map(|i| i.due)).min()
    }

    /// Cores are lost: nothing of them comes any more, and what they owned is void.
    pub fn lost(&mut self, is_lost: &dyn Fn(CoreId) -> bool, cx: &mut Cx<'_>) {
        self.asks.retain(|&core, _| !is_lost(core));
        self.lost_parties(is_lost, cx);
        self.lost_owners(is_lost, cx);
        self.run(cx);
    }

    /// Every core that it waits for, or that waits for it, or holds what is this core's.
    pub fn concerns(&self) -> Vec<CoreId> {
        let members = self.ops.iter().flat_map(|op| op.members.iter().map(|m| m.core).chain([op.asker.0]));
        let others = self.parts.iter().map(|p| p.owner).chain(self.asked.iter().map(|a| a.owner));
        let mut all: Vec<CoreId> = members
            .chain(others)
            .chain(self.taken.keys().chain(self.asks.keys()).copied())
            .chain(self.holders.cores())
            .collect();
        all.sort_unstable();
        all.dedup();
        all
    }

    /// Whether all that is under way waits for such cores, or behind what does.
    pub(crate) fn waits_for_none_but(&self, such: &dyn Fn(CoreId) -> bool) -> bool {
        let waits = |op: &owner::Op| {
            op.phase == owner::Phase::Queued || op.members.iter().any(|m| m.said.is_none() && such(m.core))
        };
        self.dead.is_empty()
            && self.invalidations.is_empty()
            && self.ops.iter().all(waits)
            && self.parts.iter().all(|part| such(part.owner))
            && self.asked.iter().all(|asked| such(asked.owner))
    }

    /// Operations, parts, requests, entries of holders, invalidations.
    pub(crate) fn sizes(&self) -> [usize; 5] {
        [self.ops.len(), self.parts.len(), self.asked.len(), self.holders.len(), self.invalidations.len()]
    }

    /// Whether nothing is under way.
    pub fn is_quiet(&self) -> bool {
        self.ops.is_empty()
            && self.parts.is_empty()
            && self.asked.is_empty()
            && self.dead.is_empty()
            && self.invalidations.is_empty()
    }

    fn forget_some(&mut self, cx: &mut Cx<'_>) -> bool {
        if let Some(&core) = self.dead.last()
            && !cx.objects.forget(core)
        {
            self.dead.pop();
        }
        !self.dead.is_empty()
    }
}

#[cfg(test)]
mod model;
#[cfg(test)]
mod search;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod world;
