//! What a CPU driver says on its console. Not `core::fmt`, which would be an eighth of a CPU driver's code.

use core::panic::PanicInfo;

/// Takes text; an ISA's early console does. The methods can be chained.
pub trait Print {
    /// Writes all of `bytes`.
    fn bytes(&mut self, bytes: &[u8]);

    /// Writes text.
    #[inline(never)]
    fn text(&mut self, text: &str) -> &mut Self {
        self.bytes(text.as_bytes());
        self
    }

    /// Writes a number, as in `0x2a`.
    #[inline(never)]
    fn hex(&mut self, value: u64) -> &mut Self {
        self.text("0x");
        self.bytes(digits(value, 16, 1, &mut [0; DIGITS]));
        self
    }

    /// Writes all sixteen hexadecimal digits of a number.
    #[inline(never)]
    fn word(&mut self, value: u64) -> &mut Self {
        self.bytes(digits(value, 16, 16, &mut [0; DIGITS]));
        self
    }

    /// Writes a number in decimal.
    #[inline(never)]
    fn decimal(&mut self, value: u64) -> &mut Self {
        self.bytes(digits(value, 10, 1, &mut [0; DIGITS]));
        self
    }

    /// Writes where a panic came from, and what it said if that is plain text.
    fn panic(&mut self, info: &PanicInfo<'_>) -> &mut Self {
        self.text("panicked");
        if let Some(at) = info.location() {
            self.text(" at ").text(at.file()).text(":").decimal(at.line().into());
        }
        self.text(": ").text(info.message().as_str().unwrap_or("(see there)"))
    }
}

/// Decimal digits of the largest number.
const DIGITS: usize = 20;

/// At `least` so many digits of `value`, at the end of `room`.
#[inline(never)]
fn digits(mut value: u64, radix: u64, least: usize, room: &mut [u8; DIGITS]) -> &[u8] {
    let mut used = 0;
    for place in room.iter_mut().rev() {
        if value == 0 && used >= least {
            break;
        }
        *place = b"0123456789abcdef"[(value % radix) as usize & 15];
        value /= radix;
        used += 1;
    }
    room.get(DIGITS - used..).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    impl Print for Vec<u8> {
        fn bytes(&mut self, bytes: &[u8]) {
            self.extend_from_slice(bytes);
        }
    }

    #[test]
    fn numbers_are_spelt_as_fmt_does() {
        for value in [0, 1, 9, 10, 15, 16, 12_345, 0xdead_beef, u64::MAX - 1, u64::MAX] {
            let mut out = Vec::new();
            out.hex(value).text(" ").word(value).text(" ").decimal(value);
            assert_eq!(String::from_utf8(out).unwrap(), format!("{value:#x} {value:016x} {value}"));
        }
    }
}
