//! How two ends agree on a session, whatever watches over them afterwards.
//!
//! Each end publishes its incarnation. Having read the peer's, it makes its own outbox new *for that pair of
//! incarnations* (empty slots, credit for nothing, sequence numbers from a base that follows from the pair), and only
//! then publishes that it accepts the peer's. An end that has accepted, and sees itself accepted, is open: the peer
//! made the inbox new before it said so, and nobody but the peer writes there. So no slot and no credit of an earlier
//! session can be taken for one of this session; the base, different for each pair, is a second line of defence.

use crate::channel::Channel;
use crate::greeting::{self, Greeting, Identity, Writer};
use crate::ring::{Block, Layout, LayoutError};
use crate::transport::Field;
use core::fmt;
use skerry_hal::{CoreId, Epoch};

/// What two open ends have agreed on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Agreed {
    /// The lower of the two versions.
    pub version: u32,
    /// What both ends can do.
    pub features: u32,
    /// The peer.
    pub core: CoreId,
    /// The epoch of the peer's island.
    pub epoch: Epoch,
}

/// Why an end does not talk to its peer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Refusal {
    /// The majors differ.
    Version {
        /// What we speak.
        ours: u32,
        /// What the peer speaks.
        theirs: u32,
    },
    /// The peer takes the memory for something of another shape.
    Layout {
        /// What we were told.
        ours: Layout,
        /// What the peer was told.
        theirs: Layout,
    },
    /// The peer's greeting cannot be right.
    Corrupt(Field),
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Version { ours, theirs } => write!(
                f,
                "the peer speaks version {}.{}, we speak {}.{}",
                theirs >> 16,
                theirs & 0xffff,
                ours >> 16,
                ours & 0xffff
            ),
            Self::Layout { ours, theirs } => write!(
                f,
                "the peer expects {} slots at a stride of {}, we {} at {}",
                theirs.slots, theirs.stride, ours.slots, ours.stride
            ),
            Self::Corrupt(field) => write!(f, "the peer wrote a bad {field}"),
        }
    }
}

impl core::error::Error for Refusal {}

/// The base of the sequence numbers of a session: the sum of two numbers of which each only grows is new for each
/// pair, and the multiplication, by an odd number, spreads the sums without making two equal.
const fn base(a: u32, b: u32) -> u32 {
    a.wrapping_add(b).wrapping_mul(0x9e37_79b1)
}

/// Both greetings of a channel.
pub(crate) struct Handshake {
    inbox: Block,
    outbox: Block,
    writer: Writer,
    /// What we say.
    pub(crate) own: Greeting,
}

impl Handshake {
    /// Publishes `own`.
    pub(crate) fn new(inbox: Block, outbox: Block, own: Greeting) -> Result<Self, LayoutError> {
        inbox.check(own.layout)?;
        outbox.check(own.layout)?;
        let mut this = Self { inbox, outbox, writer: Writer::new(outbox), own };
        this.publish();
        Ok(this)
    }

    pub(crate) fn publish(&mut self) {
        self.writer.publish(&self.own);
    }

    pub(crate) fn beat(&mut self) {
        self.own.heartbeat = self.own.heartbeat.wrapping_add(1);
        self.writer.beat(self.own.heartbeat);
    }

    /// Puts our greeting right if somebody else wrote to it.
    pub(crate) fn heal(&mut self) {
        if !self.writer.is_intact(&self.own) {
            self.publish();
        }
    }

    /// The peer's greeting, if it is there and we can talk to it.
    pub(crate) fn peer(&self) -> Result<Option<Greeting>, Refusal> {
        let Some(peer) = greeting::read(self.inbox).map_err(Refusal::Corrupt)? else { return Ok(None) };
        if peer.version >> 16 != self.own.version >> 16 {
            return Err(Refusal::Version { ours: self.own.version, theirs: peer.version });
        }
        if peer.layout != self.own.layout || peer.channels != self.own.channels {
            return Err(Refusal::Layout { ours: self.own.layout, theirs: peer.layout });
        }
        Ok(Some(peer))
    }

    /// Makes the outbox new for a session with this life of the peer, and says so.
    pub(crate) fn accept(&mut self, peer: &Greeting) {
        if self.own.accepted != peer.incarnation {
            self.outbox.clear(self.own.layout, base(self.own.incarnation, peer.incarnation));
            self.own.accepted = peer.incarnation;
            self.publish();
        }
    }

    /// Whether both ends have accepted each other.
    pub(crate) fn is_open(&self, peer: &Greeting) -> bool {
        self.own.accepted == peer.incarnation && peer.accepted == self.own.incarnation
    }

    /// The channel of the session.
    pub(crate) fn channel(&self, peer: &Greeting) -> Result<Channel, LayoutError> {
        let base = base(self.own.incarnation, peer.incarnation);
        Channel::with_base(self.inbox, self.outbox, self.own.layout, base)
    }

    pub(crate) fn agreed(&self, peer: &Greeting) -> Agreed {
        Agreed {
            version: self.own.version.min(peer.version),
            features: self.own.identity.features & peer.identity.features,
            core: peer.identity.core,
            epoch: peer.identity.epoch,
        }
    }
}

/// A channel end that waits for its peer.
pub struct Connecting {
    handshake: Handshake,
}

impl Channel {
    /// Greets the peer of a channel. Blocks that served an earlier channel may be used again once its two ends are gone.
    pub fn connect(
        inbox: Block,
        outbox: Block,
        layout: Layout,
        identity: Identity,
    ) -> Result<Connecting, LayoutError> {
        outbox.check(layout)?;
        let own = Greeting::new(identity, greeting::previous(outbox).saturating_add(1), layout, 0);
        Ok(Connecting { handshake: Handshake::new(inbox, outbox, own)? })
    }
}

impl Connecting {
    /// Looks at the peer: `Ok(None)` waiting, `Ok(Some(…))` open, `Err(…)` refused.
    pub fn poll(&mut self) -> Result<Option<(Channel, Agreed)>, Refusal> {
        let Some(peer) = self.handshake.peer()? else { return Ok(None) };
        self.handshake.accept(&peer);
        if !self.handshake.is_open(&peer) {
            return Ok(None);
        }
        let channel = self.handshake.channel(&peer).map_err(|_| Refusal::Corrupt(Field::Layout))?;
        Ok(Some((channel, self.handshake.agreed(&peer))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ring::{Word, test_words};
    use crate::sync::Ordering;
    use crate::{IslandId, Message, Transport};

    const LAYOUT: Layout = Layout { slots: 4, stride: 64 };

    fn identity(island: u16) -> Identity {
        Identity { core: CoreId::new(IslandId(island), 1), epoch: Epoch(9), features: 1 << island | 8 }
    }

    fn memory() -> [&'static [Word]; 2] {
        [test_words(LAYOUT.block_bytes()), test_words(LAYOUT.block_bytes())]
    }

    fn connect(inbox: &'static [Word], outbox: &'static [Word], island: u16) -> Connecting {
        let [inbox, outbox] = [inbox, outbox].map(Block::from_words);
        Channel::connect(inbox, outbox, LAYOUT, identity(island)).unwrap()
    }

    fn open(left: &mut Connecting, right: &mut Connecting) -> (Channel, Channel) {
        let mut opened = (left.poll().unwrap(), right.poll().unwrap());
        opened.0 = opened.0.or_else(|| left.poll().unwrap());
        (opened.0.unwrap().0, opened.1.unwrap().0)
    }

    #[test]
    fn two_ends_agree_on_what_both_can_do() {
        let [a, b] = memory();
        let mut left = connect(a, b, 1);
        assert!(left.poll().unwrap().is_none());
        let mut right = connect(b, a, 2);
        assert!(left.poll().unwrap().is_none(), "the peer has not accepted yet");
        let (_, agreed) = right.poll().unwrap().expect("accepted both ways");
        assert_eq!(agreed.features, 8);
        assert_eq!((agreed.core, agreed.epoch), (CoreId::new(IslandId(1), 1), Epoch(9)));
        assert_eq!(left.poll().unwrap().unwrap().1.core, CoreId::new(IslandId(2), 1));
    }

    #[test]
    fn blocks_used_again_show_nothing_of_the_earlier_channel() {
        let [a, b] = memory();
        for life in 0..20u64 {
            let (mut left, mut right) = open(&mut connect(a, b, 1), &mut connect(b, a, 2));
            assert_eq!(left.try_recv(), Ok(None), "life {life}");
            assert_eq!(right.try_recv(), Ok(None), "life {life}");
            for n in 0..life {
                let message = Message { words: [life; 7], ..Message::default() };
                left.try_send(&message).unwrap();
                if n % 3 != 2 {
                    assert_eq!(right.try_recv(), Ok(Some(message)));
                }
                if n % 5 == 4 {
                    right.try_recv().unwrap();
                }
            }
        }
    }

    #[test]
    fn another_major_version_is_refused_by_name_and_a_lower_minor_is_used() {
        let [a, b] = memory();
        let mut left = connect(a, b, 1);
        let _right = connect(b, a, 2);
        let ours = crate::formats::VERSION;
        let version = |version: u32| a[1].store(u64::from(version) | 0xff << 32, Ordering::Release);
        version(ours + 0x1_0000);
        let Err(refusal) = left.poll() else { panic!("it was not refused") };
        assert_eq!(refusal, Refusal::Version { ours, theirs: ours + 0x1_0000 });
        assert_eq!(refusal.to_string(), "the peer speaks version 2.0, we speak 1.0");
        version(ours + 3);
        let peer = left.handshake.peer().unwrap().unwrap();
        assert_eq!(left.handshake.agreed(&peer).version, ours);
    }

    #[test]
    fn a_bad_greeting_names_the_field() {
        let slots_and_stride = 5 | 64 << 32;
        let bad = [
            (0, 1, Refusal::Corrupt(Field::Magic)),
            (3, 1 << 32, Refusal::Corrupt(Field::Epoch)),
            (5, 2 << 32, Refusal::Corrupt(Field::Refused)),
            (6, slots_and_stride, Refusal::Corrupt(Field::Layout)),
            (6, 8 | 64 << 32, Refusal::Layout { ours: LAYOUT, theirs: Layout { slots: 8, stride: 64 } }),
        ];
        for (word, value, refusal) in bad {
            let [a, b] = memory();
            let mut left = connect(a, b, 1);
            let _right = connect(b, a, 2);
            a[word].store(value, Ordering::Release);
            assert_eq!(left.poll().err(), Some(refusal));
        }
    }

    #[test]
    fn a_greeting_that_is_just_changing_is_not_read() {
        let [a, b] = memory();
        let mut left = connect(a, b, 1);
        let _right = connect(b, a, 2);
        a[7].store(a[7].load(Ordering::Acquire) | 1, Ordering::Release);
        assert!(left.poll().unwrap().is_none());
    }
}
