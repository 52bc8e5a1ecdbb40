//! Between the console driver and its clients. Headers are not used.
//!
//! Output is atomic by lines: the driver puts a client's pieces together and writes a line when it is complete.

interface! {
    /// What the driver takes.
    trait Driver as ToDriver {
        /// Client to driver: a piece of output.
        fn output(Output) = 0x0400 {
            /// Bytes used of `text`.
            len: u8,
            /// An [`End`].
            end: u8,
            /// The piece.
            text: [u8; 30],
        }
        /// Monitor to driver: whether this island offers the shell. Prompts are shown only then.
        fn offer(Offer) = 0x0401 {
            /// 1 if so.
            on: u8,
        }
    }
    /// What a shell takes from the driver.
    trait Client as ToClient {
        /// Driver to shell: a piece of an input line.
        fn input(Input) = 0x0410 {
            /// Bytes used of `text`.
            len: u8,
            /// 1 for the last piece.
            last: u8,
            /// 1 if a machine asks: it wants marked lines and a status.
            machine: u8,
            /// The piece.
            text: [u8; 29],
        }
    }
}

/// What follows a piece of output.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum End {
    /// The next piece.
    More = 0,
    /// The end of the line.
    Line = 1,
    /// Nothing: the line is a prompt, and the cursor stays behind it.
    Prompt = 2,
}

impl End {
    /// The value with this number; what is unknown ends the line.
    pub const fn from_raw(raw: u8) -> Self {
        match raw {
            0 => Self::More,
            2 => Self::Prompt,
            _ => Self::Line,
        }
    }
}

/// First byte of an input line in which a machine asks.
pub const REQUEST: u8 = 0x01;
/// First byte of each line of the answer.
pub const ANSWER: u8 = 0x02;
/// First byte of the answer's last line, `<0x03> <exit status>`.
pub const STATUS: u8 = 0x03;

/// The pieces of one line of output.
pub fn output(line: &[u8], end: End) -> impl Iterator<Item = Output> + use<'_> {
    let pieces = line.len().div_ceil(30).max(1);
    (0..pieces).map(move |n| {
        let part = &line[n * 30..line.len().min((n + 1) * 30)];
        let mut piece = Output { len: part.len() as u8, ..Output::default() };
        piece.text[..part.len()].copy_from_slice(part);
        piece.end = if n + 1 == pieces { end as u8 } else { End::More as u8 };
        piece
    })
}

/// The pieces of one line of input.
pub fn input(line: &[u8], machine: bool) -> impl Iterator<Item = Input> + use<'_> {
    let pieces = line.len().div_ceil(29).max(1);
    (0..pieces).map(move |n| {
        let part = &line[n * 29..line.len().min((n + 1) * 29)];
        let mut piece = Input { len: part.len() as u8, machine: machine.into(), ..Input::default() };
        piece.text[..part.len()].copy_from_slice(part);
        piece.last = (n + 1 == pieces).into();
        piece
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_cut_and_ends_once() {
        for len in [0, 1, 29, 30, 31, 60, 61] {
            let line: Vec<u8> = (0..len).collect();
            let mut joined = Vec::new();
            let pieces: Vec<Output> = output(&line, End::Line).collect();
            for (n, piece) in pieces.iter().enumerate() {
                joined.extend_from_slice(&piece.text[..piece.len as usize]);
                assert_eq!(End::from_raw(piece.end) == End::Line, n + 1 == pieces.len());
            }
            assert_eq!(joined, line);
            let joined: Vec<u8> =
                input(&line, true).flat_map(|p| p.text[..p.len as usize].to_vec()).collect();
            assert_eq!(joined, line);
            assert_eq!(input(&line, false).filter(|p| p.last == 1).count(), 1);
        }
    }
}
