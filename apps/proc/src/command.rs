//! The text of a `spawn`: `[OPTION…] [KEY=VALUE…] NAME [ARGUMENT…]`, as in a POSIX shell.

use crate::cores::{BadCores, CORES, Cores};
use crate::portion::{BadPortion, Portion};
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

/// What is to be started.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Command<'a> {
    /// What of the core's time it may have.
    pub portion: Portion,
    /// The cores it runs on, if there are to be several (`--cores`).
    pub cores: Option<Cores<'a>>,
    /// Words `KEY=VALUE`.
    pub env: String,
    /// The program.
    pub name: &'a str,
    /// Its arguments, words separated by single spaces.
    pub args: String,
}

/// Why a text starts nothing.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum BadCommand<'a> {
    /// It names no program.
    NoName,
    /// Its options.
    Portion(BadPortion<'a>),
    /// The value of `--cores`.
    Cores(BadCores<'a>),
}

impl fmt::Display for BadCommand<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoName => f.write_str("name a program"),
            Self::Portion(bad) => bad.fmt(f),
            Self::Cores(bad) => bad.fmt(f),
        }
    }
}

impl<'a> Command<'a> {
    /// Takes `text` apart.
    ///
    /// # Errors
    /// [`BadCommand`].
    pub fn parse(text: &'a str) -> Result<Self, BadCommand<'a>> {
        let mut words = text.split_ascii_whitespace().peekable();
        let mut options = Vec::new();
        let mut cores = None;
        while let Some(option) = words.next_if(|word| word.starts_with("--")) {
            let value = words.next();
            if option == CORES {
                cores = Some(Cores::new(value).map_err(BadCommand::Cores)?);
            } else {
                options.extend([Some(option), value].into_iter().flatten());
            }
        }
        let portion = Portion::take(&mut options.into_iter().peekable()).map_err(BadCommand::Portion)?;
        let mut env = String::new();
        loop {
            let word = words.next().ok_or(BadCommand::NoName)?;
            if is_assignment(word) {
                add(&mut env, word);
                continue;
            }
            let mut args = String::new();
            words.for_each(|word| add(&mut args, word));
            return Ok(Self { portion, cores, env, name: word, args });
        }
    }

    /// The value of a variable; of several, the last.
    pub fn var(&self, key: &str) -> Option<&str> {
        self.env.split(' ').filter_map(|word| word.strip_prefix(key)?.strip_prefix('=')).next_back()
    }
}

fn is_assignment(word: &str) -> bool {
    word.split_once('=').is_some_and(|(key, _)| {
        !key.is_empty() && key.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
    })
}

fn add(to: &mut String, word: &str) {
    if !to.is_empty() {
        to.push(' ');
    }
    to.push_str(word);
}

/// Bytes: a number, with `K` or `M` behind it for KiB and MiB.
pub fn bytes(text: &str) -> Option<u64> {
    let (digits, shift) = match text.as_bytes().last()? {
        b'K' => (&text[..text.len() - 1], 10),
        b'M' => (&text[..text.len() - 1], 20),
        _ => (text, 0),
    };
    let number: u64 = digits.parse().ok()?;
    number.checked_shl(shift).filter(|bytes| bytes >> shift == number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn environment_name_and_arguments() {
        let command = Command::parse(" A=1  RAM=4M B=x=y hello  exit=3 b ").unwrap();
        assert_eq!(
            (command.env.as_str(), command.name, command.args.as_str()),
            ("A=1 RAM=4M B=x=y", "hello", "exit=3 b")
        );
        assert_eq!((command.var("B"), command.var("RA")), (Some("x=y"), None));
        assert_eq!(Command::parse("A=1"), Err(BadCommand::NoName));
        assert_eq!(Command::parse(""), Err(BadCommand::NoName));
        let command = Command::parse("--priority 1 A=1 hello --budget 7").unwrap();
        assert_eq!((command.portion.priority(), command.args.as_str()), (1, "--budget 7"));
        assert!(matches!(Command::parse("--budget hello"), Err(BadCommand::Portion(_))));
        assert_eq!(Command::parse("=1").unwrap().name, "=1");
        let command = Command::parse("--cores 0.1,0.0 --priority 1 hello").unwrap();
        assert_eq!((command.portion.priority(), command.cores.is_some()), (1, true));
        assert!(matches!(Command::parse("--cores 0 hello"), Err(BadCommand::Cores(_))));
    }

    #[test]
    fn sizes() {
        assert_eq!((bytes("4096"), bytes("64K"), bytes("3M")), (Some(4096), Some(64 << 10), Some(3 << 20)));
        for bad in ["", "K", "x", "4G", "-1", "18446744073709551615M"] {
            assert_eq!(bytes(bad), None, "{bad}");
        }
    }
}
