//! What crosses a channel.

/// Words of payload in a [`Message`].
pub const PAYLOAD_WORDS: usize = 7;

/// One message: 64 bytes in a slot, of which the last word belongs to the channel but for `kind` and `flags`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[repr(C)]
pub struct Message {
    /// The payload. [`wire`](crate::wire) says what it means.
    pub words: [u64; PAYLOAD_WORDS],
    /// Which [`Body`](crate::wire::Body) it carries.
    pub kind: u16,
    /// For the users of a channel to agree on; 0 so far.
    pub flags: u16,
}

const _: () = assert!(size_of::<Message>() == 64);

impl Message {
    /// The last word of the slot: sequence | kind << 32 | flags << 48.
    #[inline(always)]
    pub(crate) const fn last_word(&self, sequence: u32) -> u64 {
        sequence as u64 | (self.kind as u64) << 32 | (self.flags as u64) << 48
    }

    /// The message with this payload and last word.
    #[inline(always)]
    pub(crate) const fn from_parts(words: [u64; PAYLOAD_WORDS], last: u64) -> Self {
        Self { words, kind: (last >> 32) as u16, flags: (last >> 48) as u16 }
    }
}
