//! A duplex channel over two blocks of shared memory.

use crate::message::Message;
use crate::ring::{Block, Layout, LayoutError, Receiver, Sender};
use crate::sync::full_fence;
use crate::transport::{Field, RecvError, SendError, Transport};

/// One end of a channel: what the peer writes lies in its *inbox*, what it writes itself in its *outbox*, which is the
/// peer's inbox.
pub struct Channel {
    tx: Sender,
    rx: Receiver,
    closed: Option<RecvError>,
}

impl Channel {
    /// A channel in zeroed blocks, between ends that know all there is to know of each other. Others
    /// [`connect`](Self::connect).
    pub fn new(inbox: Block, outbox: Block, layout: Layout) -> Result<Self, LayoutError> {
        Self::with_base(inbox, outbox, layout, 0)
    }

    /// A channel whose first message has sequence number `base + 1`, in blocks that were cleared for that.
    pub(crate) fn with_base(
        inbox: Block,
        outbox: Block,
        layout: Layout,
        base: u32,
    ) -> Result<Self, LayoutError> {
        Ok(Self {
            tx: Sender::new(inbox, outbox, layout, base)?,
            rx: Receiver::new(inbox, outbox, layout, base)?,
            closed: None,
        })
    }

    /// Sends and receives nothing more. The first reason stays.
    #[cold]
    pub fn close(&mut self, why: RecvError) -> RecvError {
        self.tx.close();
        *self.closed.get_or_insert(why)
    }

    /// Why the channel is closed, if it is.
    pub fn closed(&self) -> Option<RecvError> {
        self.closed
    }

    /// Looks for what the fast path cannot see: a message that is missing although a later one is there. Puts our credit
    /// right if somebody destroyed it. Answers why the channel is closed, if it is.
    pub fn audit(&mut self) -> Option<RecvError> {
        if self.closed.is_none() {
            if self.rx.has_gap() {
                self.close(RecvError::Corrupt(Field::Sequence));
            } else {
                self.rx.confirm();
            }
        }
        self.closed
    }

    /// Whether the message that was just received returned credit, so that a peer that waits for room may want to be
    /// woken. After all others there is no need to look.
    #[inline]
    pub const fn returned_credit(&self) -> bool {
        self.rx.has_returned()
    }

    /// How many messages were sent of which the peer has not said that it took them: it says so by the quarter of a ring.
    pub fn untaken(&self) -> u32 {
        self.tx.untaken()
    }

    #[cold]
    fn refill(&mut self) -> Result<(), SendError> {
        if self.closed.is_some() {
            return Err(SendError::Closed);
        }
        match self.tx.refill() {
            Ok(true) => Ok(()),
            Ok(false) => Err(SendError::Full),
            Err(field) => {
                self.close(RecvError::Corrupt(field));
                Err(SendError::Closed)
            }
        }
    }

    #[cold]
    fn corrupt(&mut self, field: Field) -> RecvError {
        self.close(RecvError::Corrupt(field))
    }
}

impl Transport for Channel {
    #[inline]
    fn try_send(&mut self, message: &Message) -> Result<(), SendError> {
        if self.tx.is_stopped() {
            self.refill()?;
        }
        self.tx.send(message);
        Ok(())
    }

    #[inline]
    fn try_recv(&mut self) -> Result<Option<Message>, RecvError> {
        if let Some(why) = self.closed {
            return Err(why);
        }
        self.rx.recv().map_err(|field| self.corrupt(field))
    }

    fn peer_wants_wake(&self) -> bool {
        full_fence();
        self.rx.peer_wants_wake()
    }

    fn arm_wake(&mut self) {
        self.rx.set_wake(true);
        full_fence();
    }

    fn disarm_wake(&mut self) {
        self.rx.set_wake(false);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ring::Word;
    use crate::sync::Ordering;

    const LAYOUT: Layout = Layout { slots: 4, stride: 64 };

    fn block() -> (&'static [Word], Block) {
        let words: Vec<Word> = (0..LAYOUT.block_bytes() / 8).map(|_| Word::new(0)).collect();
        let words: &'static [Word] = Vec::leak(words);
        (words, Block::from_words(words))
    }

    fn message(n: u64) -> Message {
        Message { words: [n; 7], kind: n as u16, flags: 3 }
    }

    #[test]
    fn messages_arrive_in_order_and_a_full_channel_says_so() {
        let ((_, a), (_, b)) = (block(), block());
        let mut left = Channel::new(a, b, LAYOUT).unwrap();
        let mut right = Channel::new(b, a, LAYOUT).unwrap();
        let (mut sent, mut received) = (0, 0);
        for _ in 0..10 {
            while left.try_send(&message(sent)).is_ok() {
                sent += 1;
            }
            assert_eq!(sent, received + 4);
            assert_eq!(left.try_send(&message(sent)), Err(SendError::Full));
            while let Some(m) = right.try_recv().unwrap() {
                assert_eq!(m, message(received));
                received += 1;
            }
            assert_eq!(sent, received);
        }
    }

    #[test]
    fn what_the_peer_has_not_taken_is_known() {
        let ((words, a), (_, b)) = (block(), block());
        let mut left = Channel::new(a, b, LAYOUT).unwrap();
        let mut right = Channel::new(b, a, LAYOUT).unwrap();
        assert_eq!(left.untaken(), 0);
        for lap in 0..3 {
            (0..4).for_each(|n| left.try_send(&message(4 * lap + n)).unwrap());
            for n in 0..4 {
                assert_eq!(left.untaken(), 4 - n);
                right.try_recv().unwrap().unwrap();
            }
            assert_eq!(left.untaken(), 0);
        }
        left.close(RecvError::Corrupt(Field::Sequence));
        for bad in [13, 1 << 32, u64::MAX] {
            words[8].store(bad, Ordering::Release);
            assert_eq!(left.untaken(), 4, "{bad:#x}");
        }
    }

    #[test]
    fn credit_that_was_destroyed_is_returned_again() {
        let ((_, a), (words, b)) = (block(), block());
        let mut left = Channel::new(b, a, LAYOUT).unwrap();
        let mut right = Channel::new(a, b, LAYOUT).unwrap();
        for n in 0..4 {
            left.try_send(&message(n)).unwrap();
        }
        while right.try_recv().unwrap().is_some() {}
        words[8].store(0, Ordering::Release);
        assert_eq!(left.try_send(&message(4)), Err(SendError::Full));
        assert_eq!(right.audit(), None);
        assert_eq!(left.try_send(&message(4)), Ok(()));
    }

    #[test]
    fn a_bad_sequence_number_closes_the_channel() {
        let ((words, a), (_, b)) = (block(), block());
        let mut left = Channel::new(a, b, LAYOUT).unwrap();
        words[2 * 8 + 8 + 7].store(77, Ordering::Release);
        assert_eq!(left.try_recv(), Err(RecvError::Corrupt(Field::Sequence)));
        assert_eq!(left.try_send(&message(0)), Err(SendError::Closed));
        assert_eq!(left.closed(), Some(RecvError::Corrupt(Field::Sequence)));
    }

    #[test]
    fn a_lost_message_is_missed_even_if_those_after_it_changed_places() {
        let ((words, a), (_, b)) = (block(), block());
        let mut left = Channel::new(a, b, LAYOUT).unwrap();
        let mut right = Channel::new(b, a, LAYOUT).unwrap();
        (0..3).for_each(|n| right.try_send(&message(n)).unwrap());
        let last = |n: usize| &words[2 * 8 + n * 8 + 7];
        last(1).store(0, Ordering::Release);
        let (second, third) = (last(2).load(Ordering::Acquire), last(3).load(Ordering::Acquire));
        last(2).store(third, Ordering::Release);
        last(3).store(second, Ordering::Release);
        assert_eq!(left.try_recv(), Ok(None), "that looks like nothing yet");
        assert_eq!(left.audit(), Some(RecvError::Corrupt(Field::Sequence)));
    }

    #[test]
    fn credit_for_what_was_never_sent_closes_the_channel() {
        for bad in [5, 1 << 32, u64::MAX, u64::from(u32::MAX)] {
            let ((words, a), (_, b)) = (block(), block());
            let mut left = Channel::new(a, b, LAYOUT).unwrap();
            for n in 0..4 {
                left.try_send(&message(n)).unwrap();
            }
            words[8].store(bad, Ordering::Release);
            assert_eq!(left.try_send(&message(4)), Err(SendError::Closed), "{bad:#x}");
            assert_eq!(left.try_recv(), Err(RecvError::Corrupt(Field::Credit)));
        }
    }
}
