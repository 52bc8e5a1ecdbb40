//! Every message of the system, in one place: a file for each protocol, whose number is the high byte of its kinds.
//!
//! To add a message, add it to its file's `interface!`; to add a protocol, add a file and a line below. Two kinds of
//! one number, or a body that is not 32 bytes without gaps, do not compile; nor does a handler that forgets a message.

#[macro_use]
mod macros;

/// Version of all formats together, as `major << 16 | minor`. Cores whose majors differ do not talk; of two minors
/// both ends use the lower.
pub const VERSION: u32 = 0x0001_0000;

pub mod conformance;
pub mod log;
pub mod refusal;
pub mod share;
pub use refusal::Refusal;

protocols! {
    /// Between monitors.
    monitor = 0x01,
    /// Between monitors, about capabilities that several cores hold.
    agree = 0x02,
    /// Between a shell, or another domain, and the monitor of its core.
    shell = 0x03,
    /// Between the console driver and its clients.
    console = 0x04,
    /// Between the PCI scan and `init`.
    pci = 0x05,
    /// Between whoever starts programs and the process server of a core.
    proc = 0x06,
    /// Between whoever asks for a device's service, the PCI domain, and its drivers.
    device = 0x07,
    /// Between whoever asks for knowledge and the knowledge base of an island.
    knowledge = 0x08,
    /// Between the dispatchers of one domain.
    span = 0x0a,
    /// A number and a check of it, sent to and fro: what tests and benchmarks send.
    echo = 0x7f,
}

/// A kind of message.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Kind {
    /// Its number, [`Body::KIND`](crate::wire::Body::KIND).
    pub number: u16,
    /// The name of its body.
    pub name: &'static str,
}

/// The name of the body with this kind.
pub fn kind_name(number: u16) -> Option<&'static str> {
    PROTOCOLS.iter().flat_map(|(_, kinds)| *kinds).find(|kind| kind.number == number).map(|kind| kind.name)
}

const fn check_number(kinds: &[Kind], number: u8) {
    let mut i = 0;
    while i < kinds.len() {
        assert!(kinds[i].number >> 8 == number as u16, "a kind's high byte is not its protocol's number");
        i += 1;
    }
}

const fn check_unique(protocols: &[(&str, &[Kind])]) {
    let mut p = 0;
    while p < protocols.len() {
        let kinds = protocols[p].1;
        let mut i = 0;
        while i < kinds.len() {
            let mut same = 0;
            let mut q = 0;
            while q < protocols.len() {
                let mut j = 0;
                while j < protocols[q].1.len() {
                    same += (protocols[q].1[j].number == kinds[i].number) as u32;
                    j += 1;
                }
                q += 1;
            }
            assert!(same == 1, "two bodies have the same kind");
            i += 1;
        }
        p += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_have_names() {
        assert_eq!(kind_name(0x7f01), Some("Echo"));
        assert_eq!(kind_name(0), None);
    }

    /// Takes what a console driver takes.
    struct Driver(Vec<&'static str>);

    impl console::Driver<&str> for Driver {
        type Outcome = usize;

        fn output(&mut self, body: &console::Output, _: &str) -> usize {
            self.0.push("output");
            body.len.into()
        }
        fn offer(&mut self, _: &console::Offer, _: &str) -> usize {
            self.0.push("offer");
            0
        }
    }

    #[test]
    fn a_message_is_given_to_its_method_and_to_nobody_else() {
        use crate::wire::{Header, encode};
        use console::Driver as _;
        let (mut driver, header) = (Driver(Vec::new()), Header::default());
        let output = console::Output { len: 7, ..console::Output::default() };
        assert_eq!(driver.dispatch(&encode(&header, &output), "a"), Ok(7));
        assert_eq!(driver.dispatch(&encode(&header, &console::Offer::default()), "b"), Ok(0));
        assert_eq!(
            driver.dispatch(&encode(&header, &console::Input::default()), "c"),
            Err("c"),
            "a client's"
        );
        assert_eq!(driver.0, ["output", "offer"]);
    }

    #[test]
    #[should_panic(expected = "same kind")]
    fn equal_kinds_are_refused() {
        let twice = Kind { number: 1, name: "a" };
        check_unique(&[("x", &[twice]), ("y", &[twice])]);
    }
}
