//! Amounts of memory, as people write them.

use std::fmt;

/// Bytes; written `64M`, `2G`, `512K` or as a plain number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Size(pub u64);

impl Size {
    /// Reads an amount; `None` if it is none, or more than 64 bits hold.
    pub fn parse(text: &str) -> Option<Self> {
        let shift = match text.bytes().last()? {
            b'K' => 10,
            b'M' => 20,
            b'G' => 30,
            _ => 0,
        };
        let digits = if shift == 0 { text } else { &text[..text.len() - 1] };
        if !digits.bytes().all(|byte| byte.is_ascii_digit()) {
            return None;
        }
        Some(Self(digits.parse::<u64>().ok()?.checked_mul(1 << shift)?))
    }
}

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            n if n > 0 && n.is_multiple_of(1 << 30) => write!(f, "{}G", n >> 30),
            n if n > 0 && n.is_multiple_of(1 << 20) => write!(f, "{}M", n >> 20),
            n if n > 0 && n.is_multiple_of(1 << 10) => write!(f, "{}K", n >> 10),
            n => write!(f, "{n}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_read_and_print() {
        for (text, bytes) in [("512M", 512 << 20), ("2G", 2 << 30), ("64K", 64 << 10), ("100", 100)] {
            assert_eq!(Size::parse(text), Some(Size(bytes)));
            assert_eq!(Size(bytes).to_string(), text);
        }
        for text in ["", "M", "-1M", "1.5G", "1T", "99999999999999999999", "18446744073709551615G", "é"] {
            assert_eq!(Size::parse(text), None, "{text}");
        }
    }
}
