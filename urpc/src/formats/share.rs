//! Between a domain and the monitor of its core, about capabilities that several cores hold. They share a core, so these are
//! no messages of 64 bytes but the four words of a local one (LRPC), and a capability beside them.
//!
//! A domain *joins*: it names an endpoint for answers, and is given one whose badge is its *number*, by which domains of
//! other cores name it as a receiver. Then it shows its root CNode, once: requests name slots, of which the monitor takes what they
//! are about and fills what they ask for. Each request has a *ticket*, and one answer.

use super::Refusal;
use super::agree::Work;
use skerry_hal::CoreId;

/// What a broker is asked for: to join. (Others: `user`'s `remote`.) The capability is the endpoint for answers.
pub const JOIN: u32 = 3;

/// First word's low half of everything that a monitor says: "SKAG".
pub const SAYS: u32 = u32::from_le_bytes(*b"SKAG");

/// Requests that a domain may have under way; one more is refused as [`Busy`](Refusal::Busy).
pub const MAX_TICKETS: usize = 32;
/// Slots that a domain may offer at a time, and so capabilities that can come before it offers more.
pub const MAX_OFFERED: usize = 16;

/// What a domain asks for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Ask {
    /// The capability is the domain's root CNode.
    Space,
    /// What comes next goes to this free slot.
    Offer {
        /// Which.
        slot: u32,
    },
    /// A copy on another core.
    Transfer {
        /// Its ticket.
        ticket: u16,
        /// What is copied.
        cap: u32,
        /// With which rights.
        rights: u8,
        /// Where to.
        to: CoreId,
        /// The number that the receiver has there.
        whom: u32,
    },
    /// New objects.
    Retype {
        /// Its ticket.
        ticket: u16,
        /// What they are made of.
        cap: u32,
        /// The slot of the first of them.
        dest: u32,
        /// Type | level << 8 | rights << 16, as the CPU driver takes it.
        what: u32,
        /// How many.
        count: u8,
        /// The first page of the part.
        first: u32,
        /// Pages of each.
        pages: u32,
    },
    /// The end of what was made of it, and if so it says of all other copies.
    Revoke {
        /// Its ticket.
        ticket: u16,
        /// Of what.
        cap: u32,
        /// Whether copies go, too.
        copies: bool,
    },
    /// The cores of this island whose bits are set forget the translations of a range.
    Forget {
        /// Its ticket.
        ticket: u16,
        /// The address space, as the domain's cores name it.
        space: u32,
        /// The first address.
        base: u64,
        /// Bytes.
        len: u64,
        /// By local number.
        cores: u64,
    },
}

const SPACE: u8 = 1;
const OFFER: u8 = 2;
const TRANSFER: u8 = Work::Transfer as u8 + 0x10;
const RETYPE: u8 = Work::Retype as u8 + 0x10;
const REVOKE: u8 = Work::Revoke as u8 + 0x10;
const REVOKE_COPIES: u8 = Work::RevokeCopies as u8 + 0x10;
const FORGET: u8 = 0x20;

/// Kind, a byte beside it, ticket, and a half word.
const fn head(kind: u8, byte: u8, ticket: u16, half: u32) -> u64 {
    kind as u64 | (byte as u64) << 8 | (ticket as u64) << 16 | (half as u64) << 32
}

const fn pair(low: u32, high: u32) -> u64 {
    low as u64 | (high as u64) << 32
}

const fn low(word: u64) -> u32 {
    word as u32
}

const fn high(word: u64) -> u32 {
    (word >> 32) as u32
}

impl Ask {
    /// As four words.
    pub const fn words(&self) -> [u64; 4] {
        match *self {
            Self::Space => [head(SPACE, 0, 0, 0), 0, 0, 0],
            Self::Offer { slot } => [head(OFFER, 0, 0, slot), 0, 0, 0],
            Self::Transfer { ticket, cap, rights, to, whom } => {
                [head(TRANSFER, rights, ticket, cap), pair(to.raw(), whom), 0, 0]
            }
            Self::Retype { ticket, cap, dest, what, count, first, pages } => {
                [head(RETYPE, count, ticket, cap), pair(dest, what), pair(first, pages), 0]
            }
            Self::Revoke { ticket, cap, copies } => {
                [head(if copies { REVOKE_COPIES } else { REVOKE }, 0, ticket, cap), 0, 0, 0]
            }
            Self::Forget { ticket, space, base, len, cores } => {
                [head(FORGET, 0, ticket, space), base, len, cores]
            }
        }
    }

    /// The ticket of a request; `None` of what has no answer.
    pub const fn ticket(&self) -> Option<u16> {
        match *self {
            Self::Space | Self::Offer { .. } => None,
            Self::Transfer { ticket, .. } | Self::Retype { ticket, .. } => Some(ticket),
            Self::Revoke { ticket, .. } | Self::Forget { ticket, .. } => Some(ticket),
        }
    }

    /// The slot of what a request is about, or 0.
    pub const fn cap(&self) -> u32 {
        match *self {
            Self::Transfer { cap, .. } | Self::Retype { cap, .. } | Self::Revoke { cap, .. } => cap,
            Self::Space | Self::Offer { .. } | Self::Forget { .. } => 0,
        }
    }

    /// From four words; `None` if they are none of these.
    pub const fn from_words(words: &[u64; 4]) -> Option<Self> {
        let [first, second, third, fourth] = *words;
        let (byte, ticket, half) = ((first >> 8) as u8, (first >> 16) as u16, high(first));
        Some(match first as u8 {
            SPACE => Self::Space,
            OFFER => Self::Offer { slot: half },
            TRANSFER => Self::Transfer {
                ticket,
                cap: half,
                rights: byte,
                to: CoreId::from_raw(low(second)),
                whom: high(second),
            },
            RETYPE => Self::Retype {
                ticket,
                cap: half,
                dest: low(second),
                what: high(second),
                count: byte,
                first: low(third),
                pages: high(third),
            },
            REVOKE => Self::Revoke { ticket, cap: half, copies: false },
            REVOKE_COPIES => Self::Revoke { ticket, cap: half, copies: true },
            FORGET => Self::Forget { ticket, space: half, base: second, len: third, cores: fourth },
            _ => return None,
        })
    }
}

/// What a monitor says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Say {
    /// The domain has joined under this number: the capability is the endpoint to ask. Or it could not.
    Joined(Result<u32, Refusal>),
    /// How the request with this ticket has ended.
    Settled(u16, Result<(), Refusal>),
    /// A capability came to this slot.
    Arrived {
        /// Which.
        slot: u32,
    },
}

impl Say {
    /// As four words.
    pub const fn words(&self) -> [u64; 4] {
        let (kind, refusal, second) = match *self {
            Self::Joined(Ok(number)) => (1, 0, number as u64),
            Self::Joined(Err(refusal)) => (1, refusal as u16, 0),
            Self::Settled(ticket, result) => (2, Refusal::code(result), ticket as u64),
            Self::Arrived { slot } => (3, 0, slot as u64),
        };
        [SAYS as u64 | kind << 32 | (refusal as u64) << 48, second, 0, 0]
    }

    /// From four words; `None` if they are none of these.
    pub fn from_words(words: &[u64; 4]) -> Option<Self> {
        let [first, second, ..] = *words;
        let result = Refusal::result((first >> 48) as u16);
        match (low(first), high(first) as u16) {
            (SAYS, 1) => Some(Self::Joined(result.map(|()| low(second)))),
            (SAYS, 2) => Some(Self::Settled(second as u16, result)),
            (SAYS, 3) => Some(Self::Arrived { slot: low(second) }),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_say_what_was_meant() {
        let core = CoreId::new(skerry_hal::IslandId(1), 3);
        let asks = [
            Ask::Space,
            Ask::Offer { slot: 0x1f2 },
            Ask::Transfer { ticket: 7, cap: 0x3_00, rights: 0x1f, to: core, whom: 0xfeed_beef },
            Ask::Retype { ticket: 8, cap: 9, dest: 10, what: 0xff_0001, count: 4, first: 11, pages: 12 },
            Ask::Revoke { ticket: 0xffff, cap: 13, copies: false },
            Ask::Revoke { ticket: 1, cap: 13, copies: true },
            Ask::Forget { ticket: 2, space: 14, base: 1 << 40, len: 4096, cores: 1 << 63 | 5 },
        ];
        for ask in asks {
            assert_eq!(Ask::from_words(&ask.words()), Some(ask));
        }
        assert_eq!(Ask::from_words(&[0; 4]), None);
        assert_eq!(Ask::from_words(&[0x15, 0, 0, 0]), None);
        let says = [
            Say::Joined(Ok(5)),
            Say::Joined(Err(Refusal::Busy)),
            Say::Settled(9, Ok(())),
            Say::Settled(0xffff, Err(Refusal::MayNotCross)),
            Say::Arrived { slot: 77 },
        ];
        for say in says {
            assert_eq!(Say::from_words(&say.words()), Some(say));
        }
        assert_eq!(Say::from_words(&[SAYS.into(), 0, 0, 0]), None);
        assert_eq!(Say::from_words(&[0; 4]), None);
    }
}
