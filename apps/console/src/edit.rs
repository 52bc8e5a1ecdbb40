//! From received bytes to lines.

use alloc::vec::Vec;
use skerry_urpc::formats::console::REQUEST;

/// Bytes of a line; what comes after is ignored until its end.
pub const MAX_LINE: usize = 256;

/// A line that was entered.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Line {
    /// Its bytes, without the mark of a machine.
    pub text: Vec<u8>,
    /// Whether a machine asks.
    pub machine: bool,
}

/// The line that is being entered.
#[derive(Default, Debug)]
pub struct Editor {
    line: Vec<u8>,
    machine: bool,
}

impl Editor {
    /// Takes a byte; what to echo goes to `echo`. Answers a line when it is complete.
    pub fn feed(&mut self, byte: u8, echo: &mut Vec<u8>) -> Option<Line> {
        match byte {
            b'\r' | b'\n' => {
                if self.machine {
                    self.machine = false;
                    return Some(Line { text: core::mem::take(&mut self.line), machine: true });
                }
                echo.extend_from_slice(b"\r\n");
                return Some(Line { text: core::mem::take(&mut self.line), machine: false });
            }
            REQUEST => {
                // A machine always starts afresh: half a line typed before is forgotten.
                self.line.clear();
                self.machine = true;
            }
            8 | 127 if !self.machine && self.line.pop().is_some() => echo.extend_from_slice(b"\x08 \x08"),
            // Ctrl-U, Ctrl-C: forget the line.
            3 | 21 if !self.machine => {
                for _ in self.line.drain(..) {
                    echo.extend_from_slice(b"\x08 \x08");
                }
            }
            b' '..=126 if self.line.len() < MAX_LINE => {
                self.line.push(byte);
                if !self.machine {
                    echo.push(byte);
                }
            }
            _ => {}
        }
        None
    }

    /// What a person has typed so far.
    pub fn typed(&self) -> &[u8] {
        if self.machine { b"" } else { &self.line }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn feed(editor: &mut Editor, bytes: &[u8]) -> (Vec<Line>, Vec<u8>) {
        let mut echo = Vec::new();
        let lines = bytes.iter().filter_map(|b| editor.feed(*b, &mut echo)).collect();
        (lines, echo)
    }

    #[test]
    fn a_person_sees_and_corrects_what_they_type() {
        let mut editor = Editor::default();
        let (lines, echo) = feed(&mut editor, b"corex\x7fs\r");
        assert_eq!(lines, [Line { text: b"cores".to_vec(), machine: false }]);
        assert_eq!(echo, b"corex\x08 \x08s\r\n");
    }

    #[test]
    fn a_machine_is_not_echoed_and_starts_afresh() {
        let mut editor = Editor::default();
        let (lines, _) = feed(&mut editor, b"half\x01ping 0.0 1.0\nmem\n");
        assert_eq!(lines[0], Line { text: b"ping 0.0 1.0".to_vec(), machine: true });
        assert_eq!(lines[1], Line { text: b"mem".to_vec(), machine: false });
        let (_, echo) = feed(&mut editor, b"\x01cores\n");
        assert_eq!(echo, b"");
    }

    #[test]
    fn a_line_is_bounded_and_noise_ignored() {
        let mut editor = Editor::default();
        let (lines, _) = feed(&mut editor, &[b'x'; 5000]);
        assert!(lines.is_empty());
        let (lines, _) = feed(&mut editor, &[0xff, 0x80, 0x1b, b'\n']);
        assert_eq!(lines[0].text.len(), MAX_LINE);
    }
}
