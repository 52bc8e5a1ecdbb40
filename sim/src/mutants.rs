//! Deliberate bugs. Each stands between a monitor and its world, or in what the world does for it; a run with one must fail,
//! else the checks are blind to it. A protocol adds a row for each way in which it could be wrong: the test that goes
//! through the table finds it there.

use skerry_urpc::Message;
use skerry_urpc::formats::agree::{Create, Done, Invalidated, Vote};
use skerry_urpc::formats::monitor::{PingDone, StreamData, StreamDone};
use skerry_urpc::wire::{self, Body};

/// What is wrong.
#[derive(Clone, Copy, Debug)]
pub enum Bug {
    /// Of the messages of these kinds one in so many is not sent.
    Drops(&'static [u16], u64),
    /// Or is sent twice.
    Doubles(&'static [u16], u64),
    /// Or changes places with the next of these kinds.
    Swaps(&'static [u16], u64),
    /// Messages of this kind are sent with something changed: a vote turned into its opposite, an answer before its time.
    Rewrites(u16, fn(&mut Message)),
    /// Messages of an epoch that was given up are taken for those of the current one.
    TakesStaleEpochs,
    /// One island never hears that a link was lost.
    MissesLoss,
    /// An island that was given up does not notice.
    IgnoresRefusal,
    /// Channels are made in memory that is in use.
    SharesBlocks,
    /// A holder agrees without having looked, and locks nothing.
    VoteSkipped,
    /// Nobody looks whether the part is free.
    OverlapUnchecked,
    /// What was locked stays so.
    NeverUnlocked,
    /// A revocation is reported as done that was not.
    RevokeSkipped,
    /// Whoever once held a copy may ask for ever.
    AskerUnchecked,
    /// A core says that it has forgotten a translation, and has not.
    TranslationsKept,
    /// What one core says of these kinds counts for all of its island.
    OneForAll(&'static [u16]),
    /// The first core makes a page table of a channel's frame that another core holds.
    RetypesHeld,
}

/// A row of the table.
#[derive(Debug)]
pub struct Mutant {
    /// What it is called.
    pub name: &'static str,
    /// What it breaks, for people.
    pub breaks: &'static str,
    /// What is wrong.
    pub bug: Bug,
    /// The machine on which it is looked for.
    pub machine: &'static str,
    /// Seeds within which it must be found; at most [`BUDGET`].
    pub seeds: u64,
}

/// Seeds that any of them may take.
pub const BUDGET: u64 = 10_000;

/// All of them.
pub const MUTANTS: &[Mutant] = &[
    Mutant {
        name: "stale-epoch",
        breaks: "membership: a message of a given-up epoch counts",
        bug: Bug::TakesStaleEpochs,
        machine: "3+3",
        seeds: 2_000,
    },
    Mutant {
        name: "loss-unheard",
        breaks: "membership: one island goes on talking to a dead one",
        bug: Bug::MissesLoss,
        machine: "3+3",
        seeds: 100,
    },
    Mutant {
        name: "refusal-ignored",
        breaks: "membership: an island that was given up keeps its epoch",
        bug: Bug::IgnoresRefusal,
        machine: "3+3",
        seeds: 100,
    },
    Mutant {
        name: "answer-dropped",
        breaks: "ping, stream: a request is never answered",
        bug: Bug::Drops(&[PingDone::KIND, StreamDone::KIND], 4),
        machine: "3+3",
        seeds: 20,
    },
    Mutant {
        name: "stream-doubled",
        breaks: "stream: a message is delivered twice",
        bug: Bug::Doubles(&[StreamData::KIND], 40),
        machine: "3+3",
        seeds: 50,
    },
    Mutant {
        name: "stream-swapped",
        breaks: "stream: two messages are delivered in the wrong order",
        bug: Bug::Swaps(&[StreamData::KIND], 40),
        machine: "3+3",
        seeds: 50,
    },
    Mutant {
        name: "blocks-shared",
        breaks: "binding: two channels lie in the same memory",
        bug: Bug::SharesBlocks,
        machine: "3+3",
        seeds: 5,
    },
    Mutant {
        name: "held-retyped",
        breaks: "capabilities: a core makes something else of what another one holds",
        bug: Bug::RetypesHeld,
        machine: "4",
        seeds: 20,
    },
    Mutant {
        name: "vote-skipped",
        breaks: "2PC: a holder agrees without having looked",
        bug: Bug::VoteSkipped,
        machine: "4",
        seeds: 2_000,
    },
    Mutant {
        name: "no-is-yes",
        breaks: "2PC: a holder's no counts as a yes",
        bug: Bug::Rewrites(Vote::KIND, agrees),
        machine: "4",
        seeds: 2_000,
    },
    Mutant {
        name: "says-none",
        breaks: "2PC: a holder says that it holds nothing, and does",
        bug: Bug::Rewrites(Vote::KIND, holds_none),
        machine: "4",
        seeds: 2_000,
    },
    Mutant {
        name: "one-vote-for-all",
        breaks: "2PC: one vote counts for all of an island",
        bug: Bug::OneForAll(&[Vote::KIND]),
        machine: "4",
        seeds: 2_000,
    },
    Mutant {
        name: "one-done-for-all",
        breaks: "2PC: one holder's report that it has done it counts for all",
        bug: Bug::OneForAll(&[Done::KIND]),
        machine: "4",
        seeds: 2_000,
    },
    Mutant {
        name: "overlap-unchecked",
        breaks: "retype: nobody looks whether the part is free",
        bug: Bug::OverlapUnchecked,
        machine: "4",
        seeds: 2_000,
    },
    Mutant {
        name: "never-unlocked",
        breaks: "2PC: what was locked stays so",
        bug: Bug::NeverUnlocked,
        machine: "4",
        seeds: 2_000,
    },
    Mutant {
        name: "revoke-skipped",
        breaks: "revoke: what was agreed on is not done",
        bug: Bug::RevokeSkipped,
        machine: "4",
        seeds: 2_000,
    },
    Mutant {
        name: "asker-unchecked",
        breaks: "2PC: whoever once held a copy may ask for ever",
        bug: Bug::AskerUnchecked,
        machine: "4",
        seeds: 10_000,
    },
    Mutant {
        name: "translation-kept",
        breaks: "unmap: a core says that it has forgotten, and has not",
        bug: Bug::TranslationsKept,
        machine: "4",
        seeds: 2_000,
    },
    Mutant {
        name: "ack-counted-twice",
        breaks: "unmap: an answer is counted twice",
        bug: Bug::Doubles(&[Invalidated::KIND], 2),
        machine: "4",
        seeds: 2_000,
    },
    Mutant {
        name: "create-dropped",
        breaks: "transfer: what was said to be given was not",
        bug: Bug::Rewrites(Create::KIND, nowhere),
        machine: "4",
        seeds: 2_000,
    },
];

/// Turns a vote into a yes.
fn agrees(message: &mut Message) {
    rewrite(message, |vote: Vote| Vote { refusal: 0, ..vote });
}

/// Turns a vote into that of somebody who holds nothing.
fn holds_none(message: &mut Message) {
    rewrite(message, |vote: Vote| Vote { none: 1, ..vote });
}

/// A copy is made for somebody else.
fn nowhere(message: &mut Message) {
    rewrite(message, |create: Create| Create { whom: !create.whom, ..create });
}

fn rewrite<B: Body>(message: &mut Message, change: impl FnOnce(B) -> B) {
    if let Some(body) = message.body::<B>() {
        let flags = message.flags;
        *message = Message { flags, ..wire::encode(&message.header(), &change(body)) };
    }
}

/// The mutant of this name.
///
/// # Errors
/// If there is none, with a list of those there are.
pub fn named(name: &str) -> Result<&'static Mutant, String> {
    MUTANTS.iter().find(|m| m.name == name).ok_or_else(|| {
        let all: Vec<&str> = MUTANTS.iter().map(|m| m.name).collect();
        format!("there is no mutant `{name}`; there are {}", all.join(", "))
    })
}
