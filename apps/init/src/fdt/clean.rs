//! A device tree, checked token by token and written out anew.
//!
//! The `fdt` crate trusts its input: a missing terminator, a length past the end, a NOP in an unexpected place or a
//! tree deeper than 64 makes it panic. So it only ever sees what this module wrote: one root with an empty name, no
//! NOPs, properties before children, every string terminated and ASCII, every length inside its block.

use crate::{Problem, TableError, limit};
use alloc::vec::Vec;

const MAGIC: u32 = 0xd00d_feed;
/// Bytes of the header (§5.2).
const HEADER: usize = 40;
/// The version of the format that all others since 2006 are compatible with.
const VERSION: u32 = 17;
const BEGIN_NODE: u32 = 1;
const END_NODE: u32 = 2;
const PROP: u32 = 3;
const NOP: u32 = 4;
const END: u32 = 9;

fn error(field: &'static str, problem: Problem) -> TableError {
    TableError::new("FDT", field, problem)
}

/// How long the tree whose header begins with `head` is.
pub fn total_size(head: &[u8]) -> Result<usize, TableError> {
    if word(head, 0, "magic")? != MAGIC {
        return Err(error("magic", Problem::Signature));
    }
    match word(head, 4, "totalsize")? as usize {
        len if len < HEADER => Err(error("totalsize", Problem::Value(len as u64))),
        len if len > limit::TREE_BYTES => Err(error("totalsize", Problem::TooLong(limit::TREE_BYTES))),
        len => Ok(len),
    }
}

/// The tree in `blob`, written out anew.
pub fn clean(blob: &[u8]) -> Result<Vec<u8>, TableError> {
    let total = total_size(blob)?;
    let blob = blob.get(..total).ok_or_else(|| error("totalsize", Problem::Short))?;
    if word(blob, 20, "version")? < VERSION {
        return Err(error("version", Problem::Value(word(blob, 20, "version")?.into())));
    }
    if word(blob, 24, "last_comp_version")? > VERSION {
        return Err(error("last_comp_version", Problem::Value(word(blob, 24, "last_comp_version")?.into())));
    }
    let block = |at, offset, size| {
        let start = word(blob, at, offset)? as usize;
        let len = word(blob, at + if at == 8 { 28 } else { 20 }, size)? as usize;
        let rest = blob.get(start..).ok_or_else(|| error(offset, Problem::Value(start as u64)))?;
        rest.get(..len).ok_or_else(|| error(size, Problem::Value(len as u64)))
    };
    let structs = block(8, "off_dt_struct", "size_dt_struct")?;
    let strings = block(12, "off_dt_strings", "size_dt_strings")?;
    let mut cleaner = Cleaner { rest: structs, strings, out: Vec::with_capacity(total) };
    cleaner.out.resize(HEADER, 0);
    cleaner.tree()?;
    let mut out = cleaner.out;
    let structs_len = out.len() - HEADER;
    out.extend_from_slice(strings);
    let strings_at = HEADER + structs_len;
    // An empty list of reservations: an entry of zeros, behind the strings.
    let reservations_at = out.len();
    out.extend_from_slice(&[0; 16]);
    let header = [
        MAGIC,
        out.len() as u32,
        HEADER as u32,
        strings_at as u32,
        reservations_at as u32,
        VERSION,
        VERSION - 1,
        0,
        strings.len() as u32,
        structs_len as u32,
    ];
    for (to, word) in out.chunks_exact_mut(4).zip(header) {
        to.copy_from_slice(&word.to_be_bytes());
    }
    Ok(out)
}

fn word(bytes: &[u8], at: usize, field: &'static str) -> Result<u32, TableError> {
    let found = bytes.get(at..).and_then(|rest| rest.first_chunk());
    found.map(|word| u32::from_be_bytes(*word)).ok_or_else(|| error(field, Problem::Short))
}

struct Cleaner<'a> {
    rest: &'a [u8],
    strings: &'a [u8],
    out: Vec<u8>,
}

impl<'a> Cleaner<'a> {
    /// One root and all in it, then the end.
    fn tree(&mut self) -> Result<(), TableError> {
        let mut depth = 0;
        // Whether a property may follow: only between a node's begin and its first child.
        let mut open = false;
        let mut done = false;
        loop {
            let token = self.word("token")?;
            match token {
                NOP => continue,
                END if depth == 0 && done => {
                    self.put(END);
                    return Ok(());
                }
                BEGIN_NODE if !done || depth > 0 => {
                    if depth == limit::TREE_DEPTH {
                        return Err(error("token", Problem::TooDeep(limit::TREE_DEPTH)));
                    }
                    self.begin(depth == 0)?;
                    (depth, open, done) = (depth + 1, true, true);
                }
                PROP if open => self.property()?,
                END_NODE if depth > 0 => {
                    self.put(END_NODE);
                    (depth, open) = (depth - 1, false);
                }
                BEGIN_NODE | END_NODE | PROP | END => return Err(error("token", Problem::Misplaced)),
                _ => return Err(error("token", Problem::Value(token.into()))),
            }
        }
    }

    /// The root's name is empty (§2.2.1); some write "/".
    fn begin(&mut self, root: bool) -> Result<(), TableError> {
        let len = self.rest.iter().position(|&b| b == 0);
        let len = len.ok_or_else(|| error("node name", Problem::Short))?;
        let name = self.bytes(len + 1, "node name")?;
        let name = &name[..len];
        if !name.iter().all(u8::is_ascii_graphic) {
            return Err(error("node name", Problem::NotText));
        }
        if root != (name.is_empty() || name == b"/") {
            return Err(error("node name", Problem::Misplaced));
        }
        self.put(BEGIN_NODE);
        if !root {
            self.out.extend_from_slice(name);
        }
        self.out.push(0);
        self.pad();
        Ok(())
    }

    fn property(&mut self) -> Result<(), TableError> {
        let len = self.word("property length")?;
        let name = self.word("property name")?;
        let value = self.bytes(len as usize, "property value")?;
        let text = self.strings.get(name as usize..);
        let text = text.ok_or_else(|| error("property name", Problem::Value(name.into())))?;
        let end = text.iter().position(|&b| b == 0);
        let end = end.ok_or_else(|| error("property name", Problem::Short))?;
        if end == 0 || !text[..end].iter().all(u8::is_ascii_graphic) {
            return Err(error("property name", Problem::NotText));
        }
        for word in [PROP, len, name] {
            self.put(word);
        }
        self.out.extend_from_slice(value);
        self.pad();
        Ok(())
    }

    fn word(&mut self, field: &'static str) -> Result<u32, TableError> {
        word(self.bytes(4, field)?, 0, field)
    }

    /// The next `len` bytes; also skips what pads them to a whole word.
    fn bytes(&mut self, len: usize, field: &'static str) -> Result<&'a [u8], TableError> {
        let short = || error(field, Problem::Short);
        let padded = len.checked_next_multiple_of(4).ok_or_else(short)?;
        let (now, later) = self.rest.split_at_checked(padded).ok_or_else(short)?;
        self.rest = later;
        Ok(&now[..len])
    }

    fn put(&mut self, word: u32) {
        self.out.extend_from_slice(&word.to_be_bytes());
    }

    fn pad(&mut self) {
        let len = self.out.len().next_multiple_of(4);
        self.out.resize(len, 0);
    }
}
