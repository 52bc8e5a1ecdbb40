//! What an invocation answers when it does not succeed.

use core::fmt;

macro_rules! errors {
    ($($(#[$doc:meta])* $name:ident = $code:literal, $text:literal;)*) => {
        /// Why an invocation was refused. The codes cross the kernel boundary; 0 is success and no error.
        #[derive(Clone, Copy, PartialEq, Eq, Debug)]
        #[repr(u32)]
        pub enum Error { $($(#[$doc])* $name = $code,)* }

        impl Error {
            /// The error with this code; an unknown code is [`Error::Unknown`].
            pub const fn from_code(code: u64) -> Self {
                match code { $($code => Self::$name,)* _ => Self::Unknown }
            }
            /// One line for people.
            pub const fn text(self) -> &'static str {
                match self { $(Self::$name => $text,)* }
            }
        }
    };
}

errors! {
    /// The slot named holds nothing, or lies outside the capability space.
    EmptySlot = 1, "no capability in that slot";
    /// The destination slot already holds a capability.
    SlotInUse = 2, "the destination slot is in use";
    /// The capability's type has no such operation.
    WrongType = 3, "the capability's type does not offer this operation";
    /// The capability lacks a right.
    NoRight = 4, "the capability lacks the right";
    /// An argument is outside what the operation takes.
    BadArgument = 5, "an argument is out of range";
    /// The region, or a part of it, is already in use as something else.
    Overlap = 6, "the region is in use as something else";
    /// The capability's type cannot become the type asked for.
    BadRetype = 7, "this type cannot be retyped to that one";
    /// The page-table entry already maps something.
    Mapped = 8, "the page-table entry is in use";
    /// The page-table entry maps nothing.
    NotMapped = 9, "nothing is mapped there";
    /// Another core has a say in this; only the monitors can agree on it.
    Remote = 10, "another core owns or shares this object";
    /// An operation on this object is under way.
    Busy = 11, "an operation on this object is under way";
    /// The object is not in a state in which the operation makes sense.
    BadState = 12, "the object is in the wrong state";
    /// The machine refused (no such core, line or port).
    Hardware = 13, "the machine refused";
    /// The operation asked for a page that could be written and executed.
    WriteExecute = 14, "a page may not be writable and executable";
    /// A limit was reached.
    Full = 15, "a limit was reached";
    /// No such operation.
    NoSuchOp = 16, "no such operation";
    /// A capability that something still depends on.
    InUse = 17, "something still depends on this capability";
    /// A capability came with a message, and the receiver has not named a free slot for it.
    NoReceiveSlot = 18, "the receiver has no free slot for a capability";
    /// The dispatcher at the other end has stopped.
    PeerDied = 19, "the peer has stopped";
    /// A code from a newer or broken peer.
    Unknown = 255, "unknown error code";
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.text())
    }
}

impl core::error::Error for Error {}
