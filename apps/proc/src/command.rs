//! The text of a `spawn`: `[KEY=VALUE…] NAME [ARGUMENT…]`, as in a POSIX shell.

use alloc::string::String;

/// What is to be started.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Command<'a> {
    /// Words `KEY=VALUE`.
    pub env: String,
    /// The program.
    pub name: &'a str,
    /// Its arguments, words separated by single spaces.
    pub args: String,
}

impl<'a> Command<'a> {
    /// Takes `text` apart; `None` if it names no program.
    pub fn parse(text: &'a str) -> Option<Self> {
        let mut words = text.split_ascii_whitespace();
        let mut env = String::new();
        loop {
            let word = words.next()?;
            if is_assignment(word) {
                add(&mut env, word);
                continue;
            }
            let mut args = String::new();
            words.for_each(|word| add(&mut args, word));
            return Some(Self { env, name: word, args });
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
        assert_eq!(Command::parse("A=1"), None);
        assert_eq!(Command::parse(""), None);
        assert_eq!(Command::parse("=1").unwrap().name, "=1");
    }

    #[test]
    fn sizes() {
        assert_eq!((bytes("4096"), bytes("64K"), bytes("3M")), (Some(4096), Some(64 << 10), Some(3 << 20)));
        for bad in ["", "K", "x", "4G", "-1", "18446744073709551615M"] {
            assert_eq!(bytes(bad), None, "{bad}");
        }
    }
}
