//! An answer as lines for people, which programs can read, too: columns are apart by blanks, the first line names them.

use alloc::string::{String, ToString};
use alloc::vec::Vec;
use skerry_skb::rules::Answer;

/// Tuples that are shown.
pub const MOST: usize = 2_000;

/// The lines of an answer; `yes` or `no` where nothing was asked for.
pub fn lines(answer: &Answer) -> Vec<String> {
    if answer.columns.is_empty() {
        return [if answer.rows.is_empty() { "no" } else { "yes" }.to_string()].into();
    }
    let shown = &answer.rows[..answer.rows.len().min(MOST)];
    let rows = shown.iter().map(|row| row.iter().map(quoted).collect::<Vec<_>>());
    let cells: Vec<Vec<String>> = core::iter::once(answer.columns.clone()).chain(rows).collect();
    let width = |column: usize| {
        cells.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..answer.columns.len()).map(width).collect();
    let line = |row: &Vec<String>| {
        let mut line = String::new();
        for (cell, width) in row.iter().zip(&widths) {
            line += &alloc::format!("{cell:width$} ");
        }
        line.trim_end().to_string()
    };
    let mut lines: Vec<String> = cells.iter().map(line).collect();
    if answer.rows.len() > MOST {
        lines.push(alloc::format!("{MOST} of {} are shown; bind more of the columns", answer.rows.len()));
    }
    lines
}

/// A text with blanks in it stands in quotation marks, so that it is one word.
fn quoted(value: &skerry_skb::rules::Const) -> String {
    let text = value.to_string();
    if text.is_empty() || text.contains(' ') { alloc::format!("\"{text}\"") } else { text }
}
