//! Between whoever asks for knowledge and the knowledge base of an island. Kinds 0x08xx.
//!
//! A client sends its text to the monitor of its own core, with the first core of the island as destination, and the
//! answers come back under the request's number, as with [process servers](super::proc), of which these are, too:
//! [`proc::Output`], as far as [`proc::Credit`] lets it flow, and [`proc::Done`], whose `code` is 0 for an answer
//! and 1 for an error, which is told in the lines before it. A client that does not listen any more says
//! [`proc::Leave`].
//!
//! [`proc::Output`]: super::proc::Output
//! [`proc::Credit`]: super::proc::Credit
//! [`proc::Done`]: super::proc::Done
//! [`proc::Leave`]: super::proc::Leave
//!
//! The monitors of an island talk to it without such sessions: the first tells it what cores and islands come and go, and
//! all ask for what they keep. So do the knowledge bases of the islands among each other, through their first monitors:
//! each keeps a log of what its own island has learnt, and the others read it, from where they have come to.

use skerry_hal::{CoreId, Epoch, IslandId};

/// Whether a kind is a request to a knowledge base.
pub const fn is_request(kind: u16) -> bool {
    kind >> 4 == 0x080
}

/// Bytes of a text.
pub const MAX_TEXT: usize = 4096;

/// What a text is, in [`Ask::what`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum What {
    /// A question.
    Question = 0,
    /// A name, and after the first blank rules, which replace those of that name; without any they are taken away.
    Rules = 1,
}

impl What {
    /// What this wire value means.
    pub const fn from_raw(raw: u8) -> Option<Self> {
        match raw {
            0 => Some(Self::Question),
            1 => Some(Self::Rules),
            _ => None,
        }
    }
}

interface! {
    /// What the knowledge base takes from clients.
    trait Knowledge as ToKnowledge {
        /// Asks a question, or brings rules.
        fn ask(Ask) = 0x0800 {
            /// A [`What`].
            what: u8,
            /// 1 if the text goes on in the next message.
            more: u8,
            /// Bytes used of `text`.
            len: u8,
            /// Its number among the pieces of the text, from 0.
            piece: u8,
            /// The text, UTF-8.
            text: [u8; 28],
        }
    }
    /// What it takes from the monitors of its island.
    trait Advisor as ToAdvisor {
        /// Asks for the multicast tree of the core that asks; answered with [`TreePart`]s.
        fn tree_query(TreeQuery) = 0x0810 {
            /// The asker's number for the question.
            version: u32,
        }
        /// A core of the island comes or goes.
        fn core_news(CoreNews) = 0x0811 {
            /// Which.
            core: CoreId,
            /// 1 if it takes part.
            up: u8,
        }
        /// An island comes or goes; the own one, that it has another epoch.
        fn island_news(IslandNews) = 0x0812 {
            /// Which.
            island: IslandId,
            /// 1 if it can be reached.
            up: u8,
            /// 0.
            reserved: u8,
            /// In which epoch; what was learnt in others is void.
            epoch: Epoch,
        }
    }
    /// What it takes from monitors that measure.
    trait Measured as ToMeasured {
        /// Asks between which cores it is worth knowing what a message takes; answered with [`MeasurePart`]s.
        fn measure_query(MeasureQuery) = 0x0820 {
            /// The asker's number for the question.
            version: u32,
        }
        /// What a message takes between two cores, either way.
        fn latency_news(LatencyNews) = 0x0821 {
            /// One.
            from: CoreId,
            /// The other.
            to: CoreId,
            /// Half of the shortest round trip, in nanoseconds.
            ns: u32,
        }
        /// What it takes the core that says so to block and to be woken by an interrupt; answered with [`PollTime`].
        fn wake_news(WakeNews) = 0x0822 {
            /// In nanoseconds.
            ns: u32,
        }
    }
    /// What knowledge bases take from each other. A log is of an epoch, and of a generation in it: from one to the next the
    /// numbers of its entries mean something else. Whatever is lost or doubled on the way, the reader asks again for what it
    /// has not got, and takes nothing twice.
    trait Replica as ToReplica {
        /// Asks for entries of the receiver's log; answered with [`LogPart`]s, and then [`LogState`].
        fn log_query(LogQuery) = 0x0814 {
            /// The epoch of the receiver's island.
            epoch: Epoch,
            /// Its generation; 0 if none is known yet.
            generation: u16,
            /// The first that is wanted.
            from: u16,
        }
        /// Part of an entry: a record that holds or holds no longer, without the zeros at its end.
        fn log_part(LogPart) = 0x0815 {
            /// The epoch of the sender's island.
            epoch: Epoch,
            /// The log's generation.
            generation: u16,
            /// The entry's number, from 0.
            entry: u16,
            /// The part's number, from 0.
            part: u8,
            /// [`HOLDS`] and [`LAST`].
            flags: u8,
            /// Bytes of the record; zeros after it.
            bytes: [u8; LOG_BYTES],
        }
        /// How long the sender's log is: the end of an answer, or that there is something new.
        fn log_state(LogState) = 0x0816 {
            /// The epoch of the sender's island.
            epoch: Epoch,
            /// The log's generation.
            generation: u16,
            /// Its entries.
            len: u16,
            /// The number after that of the last entry in this answer; [`NEWS`] if it is none.
            upto: u16,
        }
    }
    /// What they take from it.
    trait Advised as ToAdvised {
        /// Part of a multicast tree: of its edges within the island, those from `place` on.
        fn tree_part(TreePart) = 0x0818 {
            /// As in the question.
            version: u32,
            /// How many edges came before.
            place: u16,
            /// How many there are in all; each part but the last is full.
            count: u16,
            /// Who tells whom, in this order.
            edges: [[CoreId; 2]; EDGES],
        }
        /// Some of the pairs of cores between which a message is to be measured.
        fn measure_part(MeasurePart) = 0x0828 {
            /// As in the question.
            version: u32,
            /// How many pairs came before.
            place: u16,
            /// How many there are in all; each part but the last is full.
            count: u16,
            /// Who sends to whom.
            pairs: [[CoreId; 2]; EDGES],
        }
        /// How long this core should poll before it blocks.
        fn poll_time(PollTime) = 0x0829 {
            /// In nanoseconds.
            ns: u32,
        }
    }
}

/// Bytes of a record in one [`LogPart`].
pub const LOG_BYTES: usize = 22;
/// In [`LogPart::flags`]: the record holds; else it did, and does no longer.
pub const HOLDS: u8 = 1;
/// In [`LogPart::flags`]: no part of this entry follows.
pub const LAST: u8 = 2;
/// In [`LogState::upto`]: nobody asked.
pub const NEWS: u16 = u16::MAX;

/// Edges of a tree, or pairs of cores, in one message.
pub const EDGES: usize = 3;

/// The pieces of a text: as many as its length takes, and one at least.
pub fn pieces(what: What, text: &[u8]) -> impl Iterator<Item = Ask> + use<'_> {
    const ROOM: usize = 28;
    let count = text.len().div_ceil(ROOM).max(1);
    (0..count).map(move |n| {
        let part = &text[n * ROOM..text.len().min((n + 1) * ROOM)];
        let (more, len, piece) = (u8::from(n + 1 < count), part.len() as u8, n as u8);
        let mut ask = Ask { what: what as u8, more, len, piece, ..Ask::default() };
        ask.text[..part.len()].copy_from_slice(part);
        ask
    })
}

#[cfg(test)]
mod tests {
    use super::super::{device, proc};
    use super::*;
    use crate::wire::Body;

    #[test]
    fn its_requests_are_nobody_elses() {
        assert!(is_request(Ask::KIND));
        assert!(!is_request(TreeQuery::KIND) && !is_request(TreePart::KIND));
        assert!(!is_request(proc::Credit::KIND) && !is_request(device::RandomQuery::KIND));
        assert!(!proc::is_request(Ask::KIND) && !device::is_request(Ask::KIND) && !proc::is_answer(Ask::KIND));
    }

    #[test]
    fn a_text_is_cut_and_ends_once() {
        for len in [0, 1, 27, 28, 29, 56, 57] {
            let text: Vec<u8> = (0..len).collect();
            let cut: Vec<Ask> = pieces(What::Rules, &text).collect();
            let joined: Vec<u8> = cut.iter().flat_map(|ask| ask.text[..usize::from(ask.len)].to_vec()).collect();
            assert_eq!(joined, text);
            assert_eq!(cut.iter().filter(|ask| ask.more == 0).count(), 1);
            assert!(cut.iter().zip(0..).all(|(ask, n)| ask.piece == n));
        }
    }
}
