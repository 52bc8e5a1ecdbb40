//! The ring: shared memory, and the only `unsafe` of this crate.
//!
//! A block is memory with exactly one writer, the peer:
//!
//! | line (64 bytes) | what |
//! | --- | --- |
//! | 0 | greeting |
//! | 1 | credit: word 0 = how many of *my* messages the peer has consumed, word 1 = 1 if it wants to be woken |
//! | from 2 | the slots, at a stride set at setup |
//!
//! Every access is an atomic load or store of one aligned 64-bit word, so that a peer which writes when it should not
//! can give us wrong values but no undefined behaviour; none is a read-modify-write (rule `channel-is-load-store`).
#![expect(unsafe_code, reason = "memory that another core writes has no owner that the compiler knows")]

use crate::message::{Message, PAYLOAD_WORDS};
use crate::sync::{AtomicU64, Ordering, publish_order};
use crate::transport::Field;
use core::fmt;
use core::ptr::NonNull;

/// One word of shared memory.
pub type Word = AtomicU64;

/// Bytes in a line.
pub const LINE: usize = 64;
const LINE_WORDS: usize = LINE / 8;
const CREDIT: usize = LINE_WORDS;
const WAKE: usize = LINE_WORDS + 1;
const SLOTS: usize = 2 * LINE_WORDS;
const LAST: usize = PAYLOAD_WORDS;

/// The shape of a block; both ends use the same.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Layout {
    /// Slots in each direction: a power of two, at least 4.
    pub slots: u32,
    /// Bytes from one slot to the next: a multiple of 64.
    pub stride: u32,
}

/// What is wrong with a [`Layout`], or with memory for one.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum LayoutError {
    /// The number of slots is no power of two, less than 4, or more than 2¹⁶.
    Slots(u32),
    /// The stride is no multiple of 64, 0, or more than 4096.
    Stride(u32),
    /// The memory is too small.
    TooSmall {
        /// Bytes that the layout needs.
        needed: usize,
        /// Bytes there are.
        given: usize,
    },
    /// The memory does not start on a 64-byte boundary.
    Unaligned,
}

impl Layout {
    /// Checks the numbers.
    pub const fn check(self) -> Result<(), LayoutError> {
        if !self.slots.is_power_of_two() || self.slots < 4 || self.slots > 1 << 16 {
            return Err(LayoutError::Slots(self.slots));
        }
        if self.stride == 0 || !self.stride.is_multiple_of(LINE as u32) || self.stride > 4096 {
            return Err(LayoutError::Stride(self.stride));
        }
        Ok(())
    }

    /// Bytes in one block of this layout.
    pub const fn block_bytes(self) -> usize {
        2 * LINE + self.slots as usize * self.stride as usize
    }
}

impl fmt::Display for LayoutError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Slots(n) => write!(f, "{n} slots: must be a power of two from 4 to 65536"),
            Self::Stride(n) => write!(f, "a stride of {n} bytes: must be a multiple of 64 up to 4096"),
            Self::TooSmall { needed, given } => write!(f, "{given} bytes for a block that needs {needed}"),
            Self::Unaligned => f.write_str("the block does not start on a 64-byte boundary"),
        }
    }
}

impl core::error::Error for LayoutError {}

/// Memory for one direction of a channel: zeroed when new.
#[derive(Clone, Copy, Debug)]
pub struct Block {
    base: NonNull<Word>,
    words: usize,
}

// SAFETY: a block is memory that is only accessed through atomics; any thread may do that.
unsafe impl Send for Block {}

impl Block {
    /// The block at `base`. (Not under loom, whose words are larger than memory's.)
    ///
    /// # Safety
    /// `bytes` bytes from `base` stay readable and writable, as normal cacheable memory, for as long as the block or a
    /// channel made from it is used, and no Rust reference to them exists other than to atomics.
    #[cfg(not(loom))]
    pub unsafe fn from_raw(base: NonNull<u8>, bytes: usize) -> Result<Self, LayoutError> {
        if !base.addr().get().is_multiple_of(LINE) {
            return Err(LayoutError::Unaligned);
        }
        Ok(Self { base: base.cast(), words: bytes / 8 })
    }

    /// The block in `words`: for tests and simulations, where memory is a slice. Its alignment is not asked for: lines
    /// matter to speed alone.
    pub fn from_words(words: &'static [Word]) -> Self {
        Self { base: NonNull::from(words).cast(), words: words.len() }
    }

    /// `bytes` bytes of it, from `offset`; both multiples of 64.
    pub fn part(self, offset: usize, bytes: usize) -> Option<Self> {
        let fits = offset.checked_add(bytes)? <= self.bytes();
        if !fits || !offset.is_multiple_of(LINE) || !bytes.is_multiple_of(LINE) || bytes == 0 {
            return None;
        }
        Some(Self { base: self.at(offset / 8), words: bytes / 8 })
    }

    /// Bytes in it.
    pub const fn bytes(self) -> usize {
        self.words * 8
    }

    /// Makes all slots empty and the credit line that of a peer which consumed nothing, for a ring whose first message
    /// has sequence number `base + 1`. Only the block's writer may.
    pub(crate) fn clear(self, layout: Layout, base: u32) {
        for slot in 0..layout.slots as usize {
            self.word(SLOTS + slot * (layout.stride as usize / 8) + LAST)
                .store(base.into(), Ordering::Release);
        }
        self.word(CREDIT).store(base.into(), Ordering::Release);
        self.word(WAKE).store(0, Ordering::Release);
    }

    pub(crate) fn check(self, layout: Layout) -> Result<(), LayoutError> {
        layout.check()?;
        let (needed, given) = (layout.block_bytes(), self.bytes());
        if given < needed { Err(LayoutError::TooSmall { needed, given }) } else { Ok(()) }
    }

    /// A pointer to word `index` that may reach the words after it too.
    fn at(self, index: usize) -> NonNull<Word> {
        assert!(index < self.words, "word {index} of a block of {}", self.words);
        // SAFETY: `index` is inside the block, as just asserted.
        unsafe { self.base.add(index) }
    }

    pub(crate) fn word(self, index: usize) -> &'static Word {
        let word = self.at(index);
        // SAFETY: whoever made the block vouched that its memory stays valid and is shared as atomics alone.
        unsafe { word.as_ref() }
    }
}

/// Where the slots of a block are.
struct Slots {
    first: NonNull<Word>,
    mask: u32,
    stride_words: u32,
}

impl Slots {
    fn new(block: Block, layout: Layout) -> Result<Self, LayoutError> {
        block.check(layout)?;
        Ok(Self { first: block.at(SLOTS), mask: layout.slots - 1, stride_words: layout.stride / 8 })
    }

    /// The slot of message `sequence`.
    #[inline(always)]
    fn at(&self, sequence: u32) -> &'static [Word; LINE_WORDS] {
        let offset = (sequence & self.mask) as usize * self.stride_words as usize;
        // SAFETY: `offset` is at most `(slots - 1) * stride`, and `new` checked that the block has room for all slots.
        let slot = unsafe { self.first.add(offset) };
        // SAFETY: as in `Block::word`; a slot is `LINE_WORDS` words, which the stride has room for.
        unsafe { slot.cast().as_ref() }
    }
}

/// The sending half: writes the slots of the outbox, reads the credit in the inbox.
pub(crate) struct Sender {
    slots: Slots,
    credit: &'static Word,
    /// Sequence number of the next message.
    next: u32,
    /// First sequence number that may not be sent yet. Equal to `next` when out of credit or closed.
    stop: u32,
}

// SAFETY: its pointers are to memory that is accessed only as atomics.
unsafe impl Send for Sender {}

impl Sender {
    pub(crate) fn new(inbox: Block, outbox: Block, layout: Layout, base: u32) -> Result<Self, LayoutError> {
        inbox.check(layout)?;
        let next = base.wrapping_add(1);
        let stop = next.wrapping_add(layout.slots);
        Ok(Self { slots: Slots::new(outbox, layout)?, credit: inbox.word(CREDIT), next, stop })
    }

    /// Whether [`refill`](Self::refill) must be called before the next [`send`](Self::send).
    #[inline(always)]
    pub(crate) fn is_stopped(&self) -> bool {
        self.next == self.stop
    }

    /// Reads the credit line. `Ok(false)` if the peer consumed nothing since.
    #[cold]
    pub(crate) fn refill(&mut self) -> Result<bool, Field> {
        let slots = self.slots.mask + 1;
        let known = self.stop.wrapping_sub(slots);
        let consumed = self.credit.load(Ordering::Acquire);
        let free = u32::try_from(consumed).map_err(|_| Field::Credit)?.wrapping_add(1);
        if free.wrapping_sub(known) > self.next.wrapping_sub(known) {
            return Err(Field::Credit);
        }
        self.stop = free.wrapping_add(slots);
        Ok(!self.is_stopped())
    }

    /// Writes the message. The caller knows that there is room.
    #[inline(always)]
    pub(crate) fn send(&mut self, message: &Message) {
        let slot = self.slots.at(self.next);
        for (to, from) in slot.iter().zip(&message.words) {
            to.store(*from, Ordering::Relaxed);
        }
        slot[LAST].store(message.last_word(self.next), publish_order());
        self.next = self.next.wrapping_add(1);
    }

    /// How many messages were sent of which the peer has not said that it took them; of a peer that says what cannot be, a
    /// whole ring.
    pub(crate) fn untaken(&self) -> u32 {
        let slots = self.slots.mask + 1;
        let consumed = self.credit.load(Ordering::Acquire);
        u32::try_from(consumed).map_or(slots, |n| self.next.wrapping_sub(1).wrapping_sub(n).min(slots))
    }

    /// Lets nothing more be sent.
    pub(crate) fn close(&mut self) {
        self.stop = self.next;
    }
}

/// The receiving half: reads the slots of the inbox, writes the credit and the wake request in the outbox.
pub(crate) struct Receiver {
    slots: Slots,
    credit: &'static Word,
    wake: &'static Word,
    peer_wake: &'static Word,
    next: u32,
    /// Credit is returned after each message whose sequence number has none of these bits.
    batch: u32,
    base: u32,
}

// SAFETY: its pointers are to memory that is accessed only as atomics.
unsafe impl Send for Receiver {}

impl Receiver {
    pub(crate) fn new(inbox: Block, outbox: Block, layout: Layout, base: u32) -> Result<Self, LayoutError> {
        outbox.check(layout)?;
        Ok(Self {
            slots: Slots::new(inbox, layout)?,
            credit: outbox.word(CREDIT),
            wake: outbox.word(WAKE),
            peer_wake: inbox.word(WAKE),
            next: base.wrapping_add(1),
            batch: layout.slots / 4 - 1,
            base,
        })
    }

    /// The next message, if it is there.
    #[inline(always)]
    pub(crate) fn recv(&mut self) -> Result<Option<Message>, Field> {
        let slot = self.slots.at(self.next);
        let last = slot[LAST].load(Ordering::Acquire);
        if last as u32 != self.next {
            return self.check_empty(last as u32);
        }
        let mut words = [0; PAYLOAD_WORDS];
        for (to, from) in words.iter_mut().zip(slot) {
            *to = from.load(Ordering::Relaxed);
        }
        if self.next & self.batch == 0 {
            self.credit.store(self.next.into(), Ordering::Release);
        }
        self.next = self.next.wrapping_add(1);
        Ok(Some(Message::from_parts(words, last)))
    }

    #[inline(always)]
    fn check_empty(&self, sequence: u32) -> Result<Option<Message>, Field> {
        if self.is_empty(self.next, sequence) { Ok(None) } else { Err(Field::Sequence) }
    }

    /// Whether the slot of message `of`, which holds `sequence`, is empty: it holds what it held a lap ago, or what it held
    /// at the start.
    #[inline(always)]
    fn is_empty(&self, of: u32, sequence: u32) -> bool {
        let slots = self.slots.mask + 1;
        sequence == of.wrapping_sub(slots) || (sequence == self.base && of.wrapping_sub(self.base) <= slots)
    }

    /// Whether taking the newest message returned credit.
    #[inline(always)]
    pub(crate) const fn has_returned(&self) -> bool {
        self.next.wrapping_sub(1) & self.batch == 0
    }

    /// Whether the next message is missing although something came after it. Acquiring what is later, we must see
    /// what is earlier: if not, somebody destroyed it.
    pub(crate) fn has_gap(&self) -> bool {
        let empty = |of| self.is_empty(of, self.slots.at(of)[LAST].load(Ordering::Acquire) as u32);
        !empty(self.next.wrapping_add(1)) && empty(self.next)
    }

    /// Returns credit for all that was consumed. What was returned may have been destroyed by somebody else who can write
    /// here; nobody repeats it otherwise while the sender waits.
    pub(crate) fn confirm(&self) {
        self.credit.store(self.next.wrapping_sub(1).into(), Ordering::Release);
    }

    pub(crate) fn set_wake(&self, on: bool) {
        self.wake.store(on.into(), Ordering::Release);
    }

    pub(crate) fn peer_wants_wake(&self) -> bool {
        self.peer_wake.load(Ordering::Acquire) != 0
    }
}

/// `bytes` bytes of zeroed memory for a test.
#[cfg(test)]
pub(crate) fn test_words(bytes: usize) -> &'static [Word] {
    Vec::leak((0..bytes / 8).map(|_| Word::new(0)).collect())
}
