//! From clients' pieces to whole lines, beside the prompt.

use alloc::vec::Vec;
use skerry_urpc::formats::console::{ANSWER, End, Output, STATUS};

/// Bytes of a line of output; what is longer is broken.
pub const MAX_LINE: usize = 1024;

/// The unfinished line of one client.
#[derive(Default, Debug)]
pub struct Pieces(Vec<u8>);

impl Pieces {
    /// Takes a piece; a complete line and how it ends.
    pub fn take(&mut self, piece: &Output) -> Option<(Vec<u8>, End)> {
        let len = usize::from(piece.len).min(piece.text.len());
        self.0.extend_from_slice(&piece.text[..len]);
        match End::from_raw(piece.end) {
            End::More if self.0.len() < MAX_LINE => None,
            End::More => Some((core::mem::take(&mut self.0), End::Line)),
            end => Some((core::mem::take(&mut self.0), end)),
        }
    }
}

/// What stands in the last line of the screen.
#[derive(Default, Debug)]
pub struct Screen {
    prompt: Vec<u8>,
    shown: bool,
    offered: bool,
}

impl Screen {
    /// Shows prompts from now on, or no more.
    pub fn offer(&mut self, on: bool, typed: &[u8], out: &mut Vec<u8>) {
        if on && !self.offered {
            self.offered = true;
            self.show(typed, out);
        } else if !on && self.offered {
            self.offered = false;
            self.hide(out);
        }
    }

    /// A client's line: what to write goes to `out`.
    pub fn line(&mut self, line: &[u8], end: End, typed: &[u8], out: &mut Vec<u8>) {
        if end == End::Prompt {
            self.prompt = line.to_vec();
            if !self.shown {
                self.show(typed, out);
            }
            return;
        }
        let again = self.shown && !matches!(line.first(), Some(&ANSWER | &STATUS));
        self.hide(out);
        out.extend_from_slice(line);
        out.extend_from_slice(b"\r\n");
        if again {
            self.show(typed, out);
        }
    }

    /// A person finished a line: the prompt has had its answer.
    pub fn entered(&mut self) {
        self.shown = false;
    }

    /// A person typed: without a prompt before it, show one.
    pub fn typing(&mut self, typed_before: &[u8], out: &mut Vec<u8>) {
        if !self.shown {
            self.show(typed_before, out);
        }
    }

    fn show(&mut self, typed: &[u8], out: &mut Vec<u8>) {
        if self.offered && !self.prompt.is_empty() {
            out.extend_from_slice(&self.prompt);
            out.extend_from_slice(typed);
            self.shown = true;
        }
    }

    fn hide(&mut self, out: &mut Vec<u8>) {
        if self.shown {
            out.extend_from_slice(b"\r\n");
            self.shown = false;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use skerry_urpc::formats::console::output;

    #[test]
    fn pieces_become_the_line_again() {
        let line: Vec<u8> = (b'a'..=b'z').cycle().take(100).collect();
        let mut pieces = Pieces::default();
        let done: Vec<_> = output(&line, End::Line).filter_map(|piece| pieces.take(&piece)).collect();
        assert_eq!(done, [(line, End::Line)]);
    }

    #[test]
    fn an_endless_line_is_broken_and_a_bad_length_harmless() {
        let mut pieces = Pieces::default();
        let endless = Output { len: 255, end: End::More as u8, ..Output::default() };
        let mut broken = 0;
        for _ in 0..100 {
            broken += usize::from(pieces.take(&endless).is_some());
        }
        assert!(broken >= 2);
    }

    #[test]
    fn a_machines_answer_always_starts_a_line() {
        let (mut screen, mut out) = (Screen::default(), Vec::new());
        screen.line(b"> ", End::Prompt, b"", &mut out);
        assert_eq!(out, b"", "nothing is offered yet");
        screen.offer(true, b"", &mut out);
        assert_eq!(out, b"> ");
        out.clear();
        screen.line(b"\x02yes", End::Line, b"", &mut out);
        assert_eq!(out, b"\r\n\x02yes\r\n");
        out.clear();
        screen.typing(b"", &mut out);
        screen.line(b"log", End::Line, b"typ", &mut out);
        assert_eq!(out, b"> \r\nlog\r\n> typ");
    }
}
