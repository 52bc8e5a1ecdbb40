//! Those who asked: domains of this core, each known by a token. Every request has one answer.

use super::{Agreement, Arrival, Cx, MAX_ASKED, Region};
use skerry_abi::CapType;
use skerry_hal::CoreId;
use skerry_urpc::formats::Refusal;
use skerry_urpc::formats::agree::{Ask, Work};

/// What a domain asks its monitor for.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub struct Request {
    /// The owner of the object, as its capability says.
    pub owner: CoreId,
    /// The object.
    pub region: Region,
    /// What is to be done.
    pub what: What,
}

/// What is to be done with an object.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub enum What {
    /// A copy on another core.
    Transfer {
        /// Which.
        to: CoreId,
        /// For whom there, as that core names its domains.
        whom: u32,
        /// With which rights, at most.
        rights: u8,
    },
    /// New objects of a part of it.
    Retype {
        /// Their type.
        new: CapType,
        /// Pages before the part.
        first: u32,
        /// Pages of it.
        pages: u32,
    },
    /// The end of what was made of it.
    Revoke {
        /// And of all its copies but the one it is asked with.
        copies: bool,
    },
}

impl Request {
    fn body(&self) -> Ask {
        let Region { ty, base, len } = self.region;
        let ask = Ask { base, len, ty: ty as u8, ..Ask::default() };
        match self.what {
            What::Transfer { to, whom, rights } => {
                Ask { work: Work::Transfer as u8, to, first: whom, rights, ..ask }
            }
            What::Retype { new, first, pages } => {
                Ask { work: Work::Retype as u8, new: new as u8, first, pages, ..ask }
            }
            What::Revoke { copies: false } => Ask { work: Work::Revoke as u8, ..ask },
            What::Revoke { copies: true } => Ask { work: Work::RevokeCopies as u8, ..ask },
        }
    }
}

/// A request that has no answer yet.
#[derive(Clone, PartialEq, Eq, Debug, Hash)]
pub(super) struct Asked {
    pub number: u16,
    pub token: u32,
    pub owner: CoreId,
    /// What came of it on this core, whatever the owner says.
    pub made: Option<Result<(), Refusal>>,
    pub due: Option<u64>,
}

/// Bounds that a request may take: in the owner's queue, for votes, for what follows, and there and back.
const PATIENCE: u64 = 4;

impl Agreement {
    /// A domain of this core, known as `token`, asks. [`Out::settle`](super::Out::settle) answers, perhaps at once.
    pub fn ask(&mut self, token: u32, request: &Request, cx: &mut Cx<'_>) {
        if self.asked.len() >= MAX_ASKED {
            return cx.out.settle(token, Err(Refusal::Busy));
        }
        self.count = self.count.checked_add(1).unwrap_or(1);
        let (number, owner) = (self.count, request.owner);
        let due = (cx.bound > 0).then(|| cx.now.saturating_add(cx.bound.saturating_mul(PATIENCE)));
        self.asked.push(Asked { number, token, owner, made: None, due });
        let asked = if owner == self.core {
            self.admit(&request.body(), (owner, number), cx)
        } else {
            cx.out.status(owner).and_then(|()| cx.send(owner, number, &request.body()))
        };
        if let Err(refusal) = asked {
            self.settle(number, Err(refusal), cx);
        }
    }

    /// How the request of this number has ended, as its owner says.
    pub(super) fn settle(&mut self, number: u16, result: Result<(), Refusal>, cx: &mut Cx<'_>) {
        if let Some(at) = self.asked.iter().position(|a| a.number == number) {
            let asked = self.asked.swap_remove(at);
            cx.out.settle(asked.token, asked.made.unwrap_or(result));
        }
    }

    pub(super) fn on_settled(&mut self, result: Result<(), Refusal>, at: Arrival<'_, '_>) {
        if self.asked.iter().any(|a| a.number == at.number && a.owner == at.src) {
            self.settle(at.number, result, at.cx);
        }
    }

    /// A request did not get to its owner.
    pub fn refused(&mut self, number: u16, owner: CoreId, refusal: Refusal, cx: &mut Cx<'_>) {
        if self.asked.iter().any(|a| a.number == number && a.owner == owner) {
            self.settle(number, Err(refusal), cx);
        }
    }

    /// The token of a request. 0 is no request's number.
    pub(super) fn asked_token(&self, number: u16) -> Option<u32> {
        self.asked.iter().find(|a| a.number == number).map(|a| a.token)
    }

    /// Gives up what is overdue.
    pub(super) fn run_asked(&mut self, cx: &mut Cx<'_>) {
        while let Some(number) = self.asked.iter().find(|a| cx.is_past(a.due)).map(|a| a.number) {
            self.settle(number, Err(Refusal::TimedOut), cx);
        }
    }

    pub(super) fn lost_asked(&mut self, is_lost: &dyn Fn(CoreId) -> bool, cx: &mut Cx<'_>) {
        while let Some(at) = self.asked.iter().position(|a| is_lost(a.owner)) {
            // Whatever was made here is void.
            cx.out.settle(self.asked.remove(at).token, Err(Refusal::Lost));
        }
    }
}
