//! A line of log text in pieces: from a domain to whoever passes its lines on, and from monitor to monitor.

use super::monitor::LogText;

/// Bytes of text in one message.
pub const PIECE: usize = 29;

/// The pieces of one line of a [level](LogText::level).
pub fn pieces(level: u8, line: &[u8]) -> impl Iterator<Item = LogText> + use<'_> {
    let count = line.len().div_ceil(PIECE).max(1);
    (0..count).map(move |n| {
        let part = &line[n * PIECE..line.len().min((n + 1) * PIECE)];
        let more = u8::from(n + 1 < count);
        let mut piece = LogText { level, more, len: part.len() as u8, ..LogText::default() };
        piece.text[..part.len()].copy_from_slice(part);
        piece
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_cut_and_ends_once() {
        for len in [0, 1, PIECE, PIECE + 1, 3 * PIECE] {
            let line: Vec<u8> = (0..len as u8).collect();
            let cut: Vec<LogText> = pieces(2, &line).collect();
            let joined: Vec<u8> = cut.iter().flat_map(|p| p.text[..p.len as usize].to_vec()).collect();
            assert_eq!(joined, line);
            let more: Vec<u8> = cut.iter().map(|piece| piece.more).collect();
            assert_eq!((more.last(), more.iter().filter(|more| **more == 0).count()), (Some(&0), 1));
        }
    }
}
