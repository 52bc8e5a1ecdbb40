//! Walking over a `ustar` archive: a 512-byte header, the data padded to 512 bytes, and so on until a header whose
//! name is empty (POSIX.1-2017, pax, "ustar Interchange Format").

/// Bytes in a block.
const BLOCK: usize = 512;
/// The member's name, padded with zeros.
const NAME: core::ops::Range<usize> = 0..100;
/// Its length in octal digits.
const SIZE: core::ops::Range<usize> = 124..135;

/// The members in order: name and data. Ends at the archive's end or at the first thing that does not fit.
pub(crate) struct Walk<'a> {
    rest: &'a [u8],
}

impl<'a> Walk<'a> {
    pub(crate) fn new(archive: &'a [u8]) -> Self {
        Self { rest: archive }
    }
}

impl<'a> Iterator for Walk<'a> {
    type Item = (&'a [u8], &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let (header, body) = self.rest.split_at_checked(BLOCK)?;
        let name = until_zero(header.get(NAME)?);
        if name.is_empty() {
            return None;
        }
        let mut size = 0_usize;
        for digit in header.get(SIZE)? {
            size = size << 3 | usize::from(digit.wrapping_sub(b'0') & 7);
        }
        let data = body.get(..size)?;
        self.rest = body.get(size.checked_next_multiple_of(BLOCK)?..).unwrap_or(&[]);
        Some((name, data))
    }
}

fn until_zero(field: &[u8]) -> &[u8] {
    field.split(|&byte| byte == 0).next().unwrap_or(field)
}

/// The data of member `isa/name`, looked up without the manifest: for boot glue, which finds its first domain before
/// anything could report an error. Stays inside `archive` whatever it holds; checks nothing else.
pub fn find_member<'a>(archive: &'a [u8], isa: &str, name: &str) -> Option<&'a [u8]> {
    Walk::new(archive).find(|(path, _)| is_path(path, isa, name)).map(|(_, data)| data)
}

/// Whether `path` is `isa/name`.
pub(crate) fn is_path(path: &[u8], isa: &str, name: &str) -> bool {
    path.strip_prefix(isa.as_bytes()).and_then(|rest| rest.strip_prefix(b"/")) == Some(name.as_bytes())
}
