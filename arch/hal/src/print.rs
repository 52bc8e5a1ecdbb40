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

/// Vain looks for room in a console that one kernel entry may take: with three to five instructions a look, within the
/// bound of an entry.
pub const ENTRY_LOOKS: u32 = 3_000;

/// The same for a CPU driver that fails, and has all the time there is, but an end.
pub const LAST_LOOKS: u32 = 10_000_000;

/// Hands `bytes` to `put`, which takes one or answers `false` where the device has no room. A device that is stuck must
/// not take the core along: after `looks` vain attempts in all, the rest is dropped. Answers how many bytes that is.
#[inline]
pub fn send(bytes: &[u8], mut looks: u32, mut put: impl FnMut(u8) -> bool) -> usize {
    for (sent, &byte) in bytes.iter().enumerate() {
        while !put(byte) {
            if looks == 0 {
                return bytes.len() - sent;
            }
            looks -= 1;
        }
    }
    0
}

/// A line that is written in one go. What does not fit is cut.
pub struct Line {
    room: [u8; 192],
    used: usize,
}

impl Line {
    /// The empty line.
    #[expect(clippy::new_without_default, reason = "nobody asks for one by trait")]
    pub const fn new() -> Self {
        Self { room: [0; 192], used: 0 }
    }

    /// What was written.
    pub fn as_bytes(&self) -> &[u8] {
        self.room.get(..self.used).unwrap_or_default()
    }
}

impl Print for Line {
    #[inline(never)]
    fn bytes(&mut self, bytes: &[u8]) {
        for (place, &byte) in self.room.iter_mut().skip(self.used).zip(bytes) {
            *place = byte;
            self.used += 1;
        }
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
    fn a_stuck_console_costs_a_bounded_number_of_looks() {
        let mut asked = 0;
        let dropped = send(b"hello", 7, |_| {
            asked += 1;
            false
        });
        assert_eq!((dropped, asked), (5, 8));
    }

    #[test]
    fn a_slow_console_gets_what_there_is_time_for() {
        let (mut looks, mut out) = (0, Vec::new());
        // Room at every third look.
        let dropped = send(b"0123456789", 9, |byte| {
            looks += 1;
            let room = looks % 3 == 0;
            out.extend(room.then_some(byte));
            room
        });
        assert_eq!((dropped, &out[..]), (6, &b"0123"[..]));
        assert_eq!(send(b"all", 0, |_| true), 0);
    }

    #[test]
    fn a_line_is_cut_at_its_end() {
        let mut line = Line::new();
        line.text("pc ").hex(0x2a);
        assert_eq!(line.as_bytes(), b"pc 0x2a");
        line.bytes(&[b'x'; 500]);
        assert_eq!(line.as_bytes().len(), 192);
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
