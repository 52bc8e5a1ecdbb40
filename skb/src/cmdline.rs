//! What the fleet runner asserts about an island: `key=value` words separated by spaces.
//!
//! | word | meaning | if absent |
//! | --- | --- | --- |
//! | `island=N` | the island's number | 0 |
//! | `epoch=E` | its first epoch | 1 |
//! | `bound_ms=D` | how long a peer may be silent | 2000 |
//! | `links=DEV:PEER,…` | PCI device DEV (bus 0, function 0) leads to island PEER | none |
//! | `fleet=NAME` | the fleet's name | none |
//!
//! Each may stand there once. Words with other keys belong to others, who find them with [`CommandLine::get`].

use core::fmt;
use skerry_hal::{Epoch, IslandId};

/// Links of one island.
pub const MAX_LINKS: usize = 16;
/// The default of `bound_ms`.
pub const DEFAULT_BOUND_MS: u32 = 2000;
/// The most that `bound_ms` may say: an hour.
pub const MAX_BOUND_MS: u32 = 3_600_000;

/// A link: the PCI device that offers its window, and the island at its other end.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Link {
    /// PCI device number; bus 0, function 0.
    pub device: u8,
    /// The island at the other end.
    pub peer: IslandId,
}

/// A command line, understood.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct CommandLine<'a> {
    /// This island.
    pub island: IslandId,
    /// Its first epoch.
    pub epoch: Epoch,
    /// How long a peer may be silent, in milliseconds.
    pub bound_ms: u32,
    /// The fleet's name.
    pub fleet: Option<&'a str>,
    links: [Option<Link>; MAX_LINKS],
    text: &'a str,
}

/// What is wrong with a word.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fault {
    /// The command line is no UTF-8 (there is no word to name).
    NotText,
    /// It has no `=`.
    NoValue,
    /// The key stands there twice.
    Twice,
    /// The value is no number, or outside what the key takes.
    Number,
    /// A link is not spelt `DEV:PEER` with DEV below 32.
    Link,
    /// A link leads to the island itself.
    SelfLink,
    /// A device or a peer stands in two links.
    LinkTwice,
    /// There are more than [`MAX_LINKS`] links.
    TooManyLinks,
}

/// A command line that is not understood, and the word at fault.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct CommandLineError<'a> {
    /// The word.
    pub word: &'a str,
    /// What is wrong with it.
    pub fault: Fault,
}

impl fmt::Display for CommandLineError<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = match self.fault {
            Fault::NotText => "it is not UTF-8",
            Fault::NoValue => "the word has no `=`",
            Fault::Twice => "the key is given twice",
            Fault::Number => "the number is missing or out of range",
            Fault::Link => "a link is spelt DEV:PEER, with DEV below 32",
            Fault::SelfLink => "a link leads to the island itself",
            Fault::LinkTwice => "a device or peer stands in two links",
            Fault::TooManyLinks => "there are more than 16 links",
        };
        write!(f, "command line: `{}`: {text}", self.word)
    }
}

impl core::error::Error for CommandLineError<'_> {}

impl<'a> CommandLine<'a> {
    /// Understands a command line; trailing zeros are ignored.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, CommandLineError<'a>> {
        let end = bytes.iter().rposition(|&b| b != 0).map_or(0, |last| last + 1);
        let text = core::str::from_utf8(&bytes[..end])
            .map_err(|_| CommandLineError { word: "", fault: Fault::NotText })?;
        let mut line = Self {
            island: IslandId(0),
            epoch: Epoch(1),
            bound_ms: DEFAULT_BOUND_MS,
            fleet: None,
            links: [None; MAX_LINKS],
            text,
        };
        for word in text.split_ascii_whitespace() {
            line.word(word).map_err(|fault| CommandLineError { word, fault })?;
        }
        // Only now is the island's own number known for sure.
        match words(text).find(|(_, key, _)| *key == "links") {
            Some((word, _, _)) if line.links().any(|link| link.peer == line.island) => {
                Err(CommandLineError { word, fault: Fault::SelfLink })
            }
            _ => Ok(line),
        }
    }

    /// The links, in the order in which they are given.
    pub fn links(&self) -> impl Iterator<Item = Link> {
        self.links.into_iter().flatten()
    }

    /// The value of any key; the first, if it stands there twice.
    pub fn get(&self, key: &str) -> Option<&'a str> {
        words(self.text).find(|(_, k, _)| *k == key).map(|(_, _, value)| value)
    }

    fn word(&mut self, word: &'a str) -> Result<(), Fault> {
        let (key, value) = word.split_once('=').ok_or(Fault::NoValue)?;
        let ours = matches!(key, "island" | "epoch" | "bound_ms" | "links" | "fleet");
        if ours && words(self.text).filter(|(_, k, _)| *k == key).count() > 1 {
            return Err(Fault::Twice);
        }
        match key {
            "island" => self.island = IslandId(value.parse().map_err(|_| Fault::Number)?),
            "epoch" => self.epoch = Epoch(number(value, 1, u32::MAX)?),
            "bound_ms" => self.bound_ms = number(value, 1, MAX_BOUND_MS)?,
            "fleet" => self.fleet = Some(value),
            "links" => {
                for text in value.split(',').filter(|_| !value.is_empty()) {
                    self.link(text)?;
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn link(&mut self, text: &str) -> Result<(), Fault> {
        let (device, peer) = text.split_once(':').ok_or(Fault::Link)?;
        let device = device.parse().ok().filter(|&d: &u8| d < 32).ok_or(Fault::Link)?;
        let link = Link { device, peer: IslandId(peer.parse().map_err(|_| Fault::Link)?) };
        if self.links().any(|other| other.device == link.device || other.peer == link.peer) {
            return Err(Fault::LinkTwice);
        }
        *self.links.iter_mut().find(|slot| slot.is_none()).ok_or(Fault::TooManyLinks)? = Some(link);
        Ok(())
    }
}

fn words(text: &str) -> impl Iterator<Item = (&str, &str, &str)> {
    text.split_ascii_whitespace().filter_map(|word| {
        let (key, value) = word.split_once('=')?;
        Some((word, key, value))
    })
}

fn number(value: &str, min: u32, max: u32) -> Result<u32, Fault> {
    value.parse().ok().filter(|n| (min..=max).contains(n)).ok_or(Fault::Number)
}
