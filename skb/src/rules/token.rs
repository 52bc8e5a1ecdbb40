//! Words of the rule language.

use super::error::{Fault, Position};
use crate::CoreId;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::fmt;

/// A word.
#[derive(Clone, PartialEq, Debug)]
pub(super) enum Token {
    /// Starts with a small letter.
    Name(String),
    /// Starts with a capital letter, or with `_` and goes on.
    Variable(String),
    /// `_`
    Any,
    Int(i128),
    Core(CoreId),
    Text(String),
    /// Anything else.
    Sign(&'static str),
    End,
}

impl fmt::Display for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(text) | Self::Variable(text) => write!(f, "`{text}`"),
            Self::Any => f.write_str("`_`"),
            Self::Int(number) => write!(f, "`{number}`"),
            Self::Core(core) => write!(f, "`{core}`"),
            Self::Text(text) => write!(f, "`\"{text}\"`"),
            Self::Sign(sign) => write!(f, "`{sign}`"),
            Self::End => f.write_str("the end"),
        }
    }
}

/// Longer ones first.
const SIGNS: [&str; 20] =
    [":-", "!=", "<=", ">=", "(", ")", "{", "}", ",", ".", ":", "=", "<", ">", "+", "-", "*", "/", "[", "]"];

/// All words of a text; the last is [`Token::End`].
pub(super) fn tokens(text: &str) -> Result<Vec<(Token, Position)>, (Position, Fault)> {
    let mut rest = Rest { text, at: Position { line: 1, column: 1 } };
    let mut tokens = Vec::new();
    loop {
        rest.skip_blanks();
        let at = rest.at;
        let token = rest.token().map_err(|fault| (at, fault))?;
        tokens.push((token, at));
        if rest.text.is_empty() {
            tokens.push((Token::End, rest.at));
            return Ok(tokens);
        }
    }
}

struct Rest<'a> {
    text: &'a str,
    at: Position,
}

impl<'a> Rest<'a> {
    /// Takes as many characters as fit.
    fn take(&mut self, fits: impl Fn(char) -> bool) -> &'a str {
        let end = self.text.find(|c| !fits(c)).unwrap_or(self.text.len());
        self.take_bytes(end)
    }

    fn take_bytes(&mut self, bytes: usize) -> &'a str {
        let (taken, rest) = self.text.split_at(bytes);
        for c in taken.chars() {
            if c == '\n' {
                self.at = Position { line: self.at.line + 1, column: 1 };
            } else {
                self.at.column += 1;
            }
        }
        self.text = rest;
        taken
    }

    /// Blanks, and what stands after `#` in a line.
    fn skip_blanks(&mut self) {
        self.take(char::is_whitespace);
        while self.text.starts_with('#') {
            self.take(|c| c != '\n');
            self.take(char::is_whitespace);
        }
    }

    fn token(&mut self) -> Result<Token, Fault> {
        let Some(first) = self.text.chars().next() else { return Ok(Token::End) };
        let word = |c: char| c.is_ascii_alphanumeric() || c == '_';
        match first {
            'a'..='z' => Ok(Token::Name(self.take(word).into())),
            'A'..='Z' | '_' => Ok(match self.take(word) {
                "_" => Token::Any,
                name => Token::Variable(name.into()),
            }),
            '0'..='9' => self.number(),
            '"' => self.string(),
            _ => {
                let sign = SIGNS.into_iter().find(|sign| self.text.starts_with(sign));
                let sign = sign.ok_or(Fault::Character(first))?;
                self.take_bytes(sign.len());
                Ok(Token::Sign(sign))
            }
        }
    }

    /// `10`, `1_000`, `0x1f`; `0.3` is a core.
    fn number(&mut self) -> Result<Token, Fault> {
        let digits = self.take(|c| c.is_ascii_alphanumeric() || c == '_');
        let mut after = self.text.chars();
        if after.next() == Some('.') && after.next().is_some_and(|c| c.is_ascii_digit()) {
            self.take_bytes(1);
            let spelt = alloc::format!("{digits}.{}", self.take(|c| c.is_ascii_alphanumeric()));
            return CoreId::parse(&spelt).map(Token::Core).ok_or(Fault::Number(spelt));
        }
        let plain: String = digits.chars().filter(|&c| c != '_').collect();
        let number = match plain.strip_prefix("0x") {
            Some(hex) => i128::from_str_radix(hex, 16),
            None => plain.parse(),
        };
        number.map(Token::Int).map_err(|_| Fault::Number(digits.into()))
    }

    fn string(&mut self) -> Result<Token, Fault> {
        self.take_bytes(1);
        let inside = self.take(|c| c != '"' && c != '\n').to_string();
        if !self.text.starts_with('"') {
            return Err(Fault::OpenString);
        }
        self.take_bytes(1);
        Ok(Token::Text(inside))
    }
}
