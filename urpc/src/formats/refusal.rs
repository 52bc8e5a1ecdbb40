//! Why a request between monitors, or from a shell, did not succeed.

use core::fmt;

macro_rules! refusals {
    ($($(#[$doc:meta])* $name:ident = $code:literal, $text:literal;)*) => {
        /// Why a request was refused or given up. The codes are wire values; 0 is success and no refusal.
        #[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
        #[repr(u16)]
        pub enum Refusal { $($(#[$doc])* $name = $code,)* }

        impl Refusal {
            /// All of them, in order of their codes.
            pub const ALL: &[Self] = &[$(Self::$name,)*];

            /// The refusal with this code; a code from a newer peer is [`Refusal::Other`].
            pub const fn from_raw(raw: u16) -> Self {
                match raw { $($code => Self::$name,)* _ => Self::Other }
            }
            /// One line for people.
            pub const fn text(self) -> &'static str {
                match self { $(Self::$name => $text,)* }
            }
        }
    };
}

refusals! {
    /// No island or core of that name was ever seen.
    Unknown = 1, "no such core";
    /// The island, or the core, was given up.
    Lost = 2, "the core is lost";
    /// No route leads there now.
    Unreachable = 3, "no route to the core";
    /// The message was relayed too often.
    HopLimit = 4, "relayed too often";
    /// A limit was reached; trying later may help.
    Busy = 5, "too much is under way";
    /// The other side did not answer within the bound.
    TimedOut = 6, "no answer within the bound";
    /// An argument is outside what the request takes.
    BadRequest = 7, "an argument is out of range";
    /// The core has not been started, or could not be.
    NotUp = 8, "the core is not up";
    /// The island took a new epoch, or the channel was lost, while the request was under way.
    Aborted = 9, "the way there changed meanwhile; try again";
    /// The receiver does not know this kind of message.
    BadKind = 10, "not understood";
    /// What arrived was not what was sent.
    Damaged = 11, "messages were lost, doubled or out of order";
    /// The core has no process server.
    NoServer = 12, "no process server on that core";
    /// The process server knows no such program or process.
    NotFound = 13, "no such program or process";
    /// There is not enough memory for it.
    NoMemory = 14, "not enough memory on that core";
    /// The program's file cannot be loaded, or the CPU driver refused a step.
    NotMade = 15, "the program could not be started";
    /// Programs run on a core that is to be taken off line.
    InUse = 16, "programs run on that core; `ps` lists them; wait for them, or `kill` them, first";
    /// An island cannot do without its first core.
    FirstCore = 17, "an island's first core holds its links and devices, and stays on line";
    /// No capability for that object is there, or not with the rights that it takes.
    NoCap = 18, "no such capability there";
    /// Something else was made of that memory.
    Occupied = 19, "the memory is in other use";
    /// Objects of that type may not be held there.
    MayNotCross = 20, "may not be held by that core";
    /// A code from a newer peer.
    Other = 65535, "refused for an unknown reason";
}

impl Refusal {
    /// The wire value of a result: 0 for success.
    pub const fn code(result: Result<(), Self>) -> u16 {
        match result {
            Ok(()) => 0,
            Err(refusal) => refusal as u16,
        }
    }

    /// The result with this wire value.
    pub const fn result(code: u16) -> Result<(), Self> {
        match code {
            0 => Ok(()),
            code => Err(Self::from_raw(code)),
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.text())
    }
}

impl core::error::Error for Refusal {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_round_trip_and_unknown_ones_stay_refusals() {
        for &refusal in Refusal::ALL {
            assert_eq!(Refusal::result(refusal as u16), Err(refusal));
            assert_eq!(Refusal::code(Err(refusal)), refusal as u16);
        }
        assert_eq!(Refusal::result(0), Ok(()));
        assert_eq!(Refusal::result(4711), Err(Refusal::Other));
    }
}
