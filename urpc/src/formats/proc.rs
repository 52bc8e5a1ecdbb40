//! Between whoever starts programs (a shell) and the process server of a core. Kinds 0x06xx.
//!
//! A client sends a request to the monitor of its own core, with the target's core as destination; the monitors carry
//! it there and the answers back under the request's number. A request is one message, but for [`Spawn`], whose text
//! may take several. The last answer is [`Done`]. Output flows as the client grants credit, so that a program that
//! says more than anyone reads waits, and nobody else does.


/// Whether a kind is a request to a process server.
pub const fn is_request(kind: u16) -> bool {
    kind >> 4 == 0x060
}

/// Whether a kind is what a process server answers.
pub const fn is_answer(kind: u16) -> bool {
    kind >> 4 == 0x061
}

/// States of a process in [`Process::state`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum ProcessState {
    /// It runs, or waits for something.
    Running = 0,
    /// It ended by itself; its status is in `code`.
    Exited = 1,
    /// Somebody killed it.
    Killed = 2,
    /// A fault ended it; which, is in `code`.
    Faulted = 3,
    /// It ended without a word.
    Vanished = 4,
}

impl ProcessState {
    /// The state with this wire value.
    pub const fn from_raw(raw: u8) -> Option<Self> {
        Some(match raw {
            0 => Self::Running,
            1 => Self::Exited,
            2 => Self::Killed,
            3 => Self::Faulted,
            4 => Self::Vanished,
            _ => return None,
        })
    }

    /// The name that users see.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Exited => "exited",
            Self::Killed => "killed",
            Self::Faulted => "fault",
            Self::Vanished => "vanished",
        }
    }
}

interface! {
    /// What a process server takes from those who start programs.
    trait Service as ToService {
        /// Asks for a program to be started: words `KEY=VALUE` of its environment, its name, its arguments. Answered with
        /// [`Spawned`], and with [`Done`] at once, or if `wait` is 1 when it has ended.
        fn spawn(Spawn) = 0x0600 {
            /// 1 to be sent its output, and to hear of its end.
            wait: u8,
            /// 1 if the text goes on in the next message.
            more: u8,
            /// Bytes used of `text`.
            len: u8,
            /// Its number among the pieces of the text, from 0.
            piece: u8,
            /// The text, UTF-8.
            text: [u8; 28],
        }
        /// Asks for the output of a process from now on, and for its end.
        fn wait(Wait) = 0x0601 {
            /// Its number on the core.
            pid: u32,
        }
        /// Ends a process.
        fn kill(Kill) = 0x0602 {
            /// Its number on the core.
            pid: u32,
        }
        /// Asks for one [`Process`] each.
        fn list(List) = 0x0603 {
        }
        /// So many more pieces of [`Output`] may be sent.
        fn credit(Credit) = 0x0604 {
            /// How many.
            pieces: u32,
        }
        /// The client does not listen any more.
        fn leave(Leave) = 0x0605 {
        }
        /// Asks for a [`MemoryState`].
        fn memory_query(MemoryQuery) = 0x0606 {
        }
        /// From the process server of another core of the island: asks for a further dispatcher of a domain that is at home there. So
        /// many [`FurtherPart`]s follow. Answered with [`FurtherPlace`], with [`Spawned`] when it runs, and at its end with [`Done`].
        fn further_ask(FurtherAsk) = 0x0607 {
            /// Where it begins, from where images are loaded.
            entry: u32,
            /// Pages of the image that it has for itself: the first, from where images are loaded.
            own: u32,
            /// How many.
            own_pages: u16,
            /// Which of its domain's dispatchers it is.
            number: u8,
            /// How many there are.
            count: u8,
            /// Parts that it shares.
            parts: u8,
            /// Its priority on its core, 0 to 7.
            priority: u8,
            /// Percent of its core's time that it may have before everybody else; 0: no limit.
            budget: u8,
            /// The program, padded with zeros.
            name: [u8; 16],
        }
        /// Memory that it shares, of which a capability will come.
        fn further_part(FurtherPart) = 0x0608 {
            /// Where it is mapped.
            at: u64,
            /// Physical address.
            base: u64,
            /// Bytes.
            len: u64,
            /// 1: it is the common memory, which the dispatcher maps itself.
            common: u8,
        }
        /// It is not wanted any more. Answered with [`Done`] when it is gone.
        fn further_end(FurtherEnd) = 0x0609 {
        }
    }
    /// What they take from it: answers, each under the number of its request.
    trait Client as ToClient {
        /// A process has been made.
        fn spawned(Spawned) = 0x0610 {
            /// Its number on the core.
            pid: u32,
        }
        /// Text for people: a line of a program's, or why something is refused.
        fn output(Output) = 0x0611 {
            /// Bytes used of `text`.
            len: u8,
            /// 1 if the line goes on in the next answer.
            more: u8,
            /// The text.
            text: [u8; 30],
        }
        /// A process.
        fn process(Process) = 0x0612 {
            /// Its number on the core.
            pid: u32,
            /// RAM it was given, in KiB.
            ram: u32,
            /// A [`ProcessState`].
            state: u8,
            /// Its exit status, or what fault ended it.
            code: u8,
            /// Its name, padded with zeros.
            name: [u8; 22],
        }
        /// What the process server has to give.
        fn memory_state(MemoryState) = 0x0613 {
            /// Bytes of RAM it was given.
            total: u64,
            /// Bytes that no process has.
            free: u64,
            /// Free slots in its capability space.
            slots: u32,
            /// Capabilities in that space, and in what its processes were made of.
            caps: u32,
            /// Processes that run.
            running: u32,
        }
        /// What a further dispatcher shares is to be sent to the answering server.
        fn further_place(FurtherPlace) = 0x0614 {
            /// Its number among those of its core who share.
            number: u32,
        }
        /// The last answer.
        fn done(Done) = 0x061f {
            /// A [`Refusal`](super::refusal::Refusal) code, 0 for success.
            refusal: u16,
            /// The [`ProcessState`] of the process that was waited for.
            state: u8,
            /// Its exit status, or what fault ended it.
            code: u8,
            /// Its number on the core.
            pid: u32,
            /// Of a fault: its address.
            addr: u64,
            /// Of a fault: where the program stood.
            pc: u64,
        }
    }
    /// What a process server takes from its programs.
    trait Parent as ToParent {
        /// From a program to its process server: part of a line.
        fn say(Say) = 0x0620 {
            /// Bytes used of `text`.
            len: u8,
            /// 1 if the line goes on in the next message.
            more: u8,
            /// The text.
            text: [u8; 30],
        }
        /// From a program to its process server: its last word.
        fn exit(Exit) = 0x0621 {
            /// Its exit status.
            status: u8,
        }
        /// From a program to its process server: dispatchers are wanted on the other cores that it was started for. Answered
        /// with [`Extended`] if that fails; else they come up.
        fn extend(Extend) = 0x0622 {
            /// Where they begin.
            entry: u64,
            /// Pages of its image that each core has for itself: the first.
            own: u64,
            /// Their bytes.
            own_len: u32,
        }
    }
    /// What a program takes from its process server.
    trait Program as ToProgram {
        /// Answers [`Extend`].
        fn extended(Extended) = 0x0628 {
            /// Why there are none.
            refusal: u16,
        }
    }
    /// What a process server takes from the monitor of its core alone.
    trait Server as ToServer {
        /// The core is to stop: if no process runs, none is started from now on. Answered with [`Retired`].
        fn retire(Retire) = 0x0630 {
        }
    }
    /// What that monitor takes from it.
    trait Supervisor as ToSupervisor {
        /// Answers [`Retire`].
        fn retired(Retired) = 0x0631 {
            /// Processes that run; 0: it starts no more.
            running: u32,
        }
    }
}

/// Pieces of [`Output`] that may be under way to one client before it grants more.
pub const WINDOW: u32 = 32;
/// Bytes of the text of a [`Spawn`].
pub const MAX_COMMAND: usize = 512;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::Body;

    #[test]
    fn states_round_trip() {
        for raw in 0..5 {
            assert_eq!(ProcessState::from_raw(raw).unwrap() as u8, raw);
        }
        assert_eq!(ProcessState::from_raw(5), None);
    }

    #[test]
    fn requests_and_answers_are_told_apart() {
        assert!(is_request(Spawn::KIND) && is_request(Leave::KIND));
        assert!(!is_answer(Spawn::KIND) && is_answer(Done::KIND) && !is_request(Done::KIND));
        assert!(!is_request(0x0500) && !is_answer(Say::KIND) && !is_request(Say::KIND));
    }
}
