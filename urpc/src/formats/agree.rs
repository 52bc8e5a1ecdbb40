//! Between monitors, about capabilities that several cores hold. Kinds 0x02xx.
//!
//! An object's *owner* is the core whose monitor decides about it: others ask it ([`Ask`]), it runs what was asked among the
//! *holders* of copies ([`Prepare`], [`Commit`], [`Abort`], [`Create`]), and tells who asked ([`Settled`]). `seq` is the
//! owner's number for an operation, under which its holders know it.

use skerry_hal::CoreId;

/// What an [`Ask`] asks for.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Hash)]
#[repr(u8)]
pub enum Work {
    /// A copy on another core.
    Transfer = 1,
    /// New objects of a part of it, on the core that asks.
    Retype = 2,
    /// The end of all that was made of it.
    Revoke = 3,
    /// That, and of all copies but the one that it is asked with.
    RevokeCopies = 4,
}

impl Work {
    /// The work with this wire value.
    pub const fn from_raw(raw: u8) -> Option<Self> {
        Some(match raw {
            1 => Self::Transfer,
            2 => Self::Retype,
            3 => Self::Revoke,
            4 => Self::RevokeCopies,
            _ => return None,
        })
    }
}

interface! {
    /// What the owner of an object takes.
    trait Owner as ToOwner {
        /// Asks for an operation; answered with [`Settled`].
        fn ask(Ask) = 0x0200 {
            /// The object's first byte.
            base: u64,
            /// Its length.
            len: u64,
            /// Retype: the first page of the part, counted from the object's. Transfer: who gets it, as the receiving core
            /// names its domains.
            first: u32,
            /// Retype: pages of the part.
            pages: u32,
            /// Transfer: the core that gets a copy.
            to: CoreId,
            /// The object's type.
            ty: u8,
            /// A [`Work`].
            work: u8,
            /// Retype: the new type.
            new: u8,
            /// Transfer: rights of the copy, at most.
            rights: u8,
        }
        /// A holder's answer to [`Prepare`].
        fn vote(Vote) = 0x0201 {
            /// As in the question.
            seq: u32,
            /// A [`Refusal`](super::refusal::Refusal) code; 0: it has locked what it holds.
            refusal: u16,
            /// 1: it holds nothing, and need not hear how it ends.
            none: u8,
        }
        /// A holder's answer to [`Commit`], [`Abort`] or [`Create`].
        fn done(Done) = 0x0202 {
            /// As in the question.
            seq: u32,
            /// A [`Refusal`](super::refusal::Refusal) code.
            refusal: u16,
            /// 1: it holds nothing any more.
            none: u8,
        }
        /// Answers [`Invalidate`].
        fn invalidated(Invalidated) = 0x0220 {
            /// As in the question.
            seq: u32,
        }
    }

    /// What those who hold copies take, and those who asked.
    trait Party as ToParty {
        /// Asks a holder to lock its copies, and whether anything speaks against it. Answered with [`Vote`].
        fn prepare(Prepare) = 0x0210 {
            /// The object's first byte.
            base: u64,
            /// Its length.
            len: u64,
            /// As in [`Ask`].
            first: u32,
            /// As in [`Ask`].
            pages: u32,
            /// The owner's number for the operation.
            seq: u32,
            /// The object's type.
            ty: u8,
            /// A [`Work`], above it the new type.
            work: u8,
            /// The number under which the receiver asked for it; 0: another core did.
            asked: u16,
        }
        /// Everybody agrees: do it, unlock, and answer with [`Done`].
        fn commit(Commit) = 0x0211 {
            /// As in [`Prepare`].
            seq: u32,
        }
        /// It does not come to it: unlock, and answer with [`Done`].
        fn abort(Abort) = 0x0212 {
            /// As in [`Prepare`].
            seq: u32,
        }
        /// Make a copy of an object of the sender's; answered with [`Done`].
        fn create(Create) = 0x0213 {
            /// The object's first byte.
            base: u64,
            /// Its length.
            len: u64,
            /// The owner's number for the operation.
            seq: u32,
            /// Who gets it.
            whom: u32,
            /// The object's type.
            ty: u8,
            /// Its rights.
            rights: u8,
        }
        /// How what was asked for has ended.
        fn settled(Settled) = 0x0214 {
            /// A [`Refusal`](super::refusal::Refusal) code.
            refusal: u16,
        }
        /// Forget the translations of a range of an address space; answered with [`Invalidated`].
        fn invalidate(Invalidate) = 0x0221 {
            /// The address space, as its domain's cores name it.
            space: u64,
            /// The first address.
            base: u64,
            /// Bytes.
            len: u64,
            /// The sender's number for it.
            seq: u32,
        }
    }
}
