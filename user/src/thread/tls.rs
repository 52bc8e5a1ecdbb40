//! Thread-local storage of the ELF file (segment `PT_TLS`), by the initial-exec model: one module, whose variables lie
//! at distances from the thread pointer that the linker has fixed (*ELF Handling For Thread-Local Storage*, §3).

use alloc::boxed::Box;
use skerry_abi::domain::Tls;
use skerry_arch::user::TLS_BELOW;

/// Words before the variables where those lie above the thread pointer, or after them where below.
const HEAD: usize = 16;

/// Where a thread's variables go.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Place {
    /// Bytes in all.
    bytes: usize,
    /// What the first byte must be aligned to.
    align: usize,
    /// Where the variables begin.
    image: usize,
    /// Where the thread pointer points.
    pointer: usize,
}

impl Place {
    /// For a segment of `len` bytes at `addr`, which need not be a multiple of `align`.
    const fn new(len: usize, addr: usize, align: usize, below: bool) -> Self {
        let align = if align < HEAD { HEAD } else { align };
        if below {
            // The end of the segment, rounded so that its beginning is congruent to `addr`.
            let distance = len + (addr.wrapping_neg().wrapping_sub(len) & (align - 1));
            let pointer = distance.next_multiple_of(align);
            Self { bytes: pointer + HEAD, align, image: pointer - distance, pointer }
        } else {
            let image = HEAD + (addr.wrapping_sub(HEAD) & (align - 1));
            Self { bytes: image + len, align, image, pointer: 0 }
        }
    }
}

/// What every thread gets a copy of.
#[derive(Clone, Copy)]
pub(super) struct Template {
    image: &'static [u8],
    place: Place,
}

impl Template {
    /// Of a program without thread-local variables.
    pub const NOTHING: Self = Self { image: &[], place: Place::new(0, 0, 1, TLS_BELOW) };

    /// What the spawner found in the program's file.
    #[expect(unsafe_code, reason = "the program's own image")]
    pub fn new(tls: &Tls) -> Self {
        if tls.len == 0 {
            return Self::NOTHING;
        }
        let at = core::ptr::with_exposed_provenance(tls.addr as usize);
        // SAFETY: the spawner has checked that the initial values lie in a segment; the program has relocated them, and
        // never writes to them.
        let image = unsafe { core::slice::from_raw_parts(at, tls.filled as usize) };
        Self { image, place: Place::new(tls.len as usize, tls.addr as usize, tls.align as usize, TLS_BELOW) }
    }
}

/// One thread's variables.
#[derive(Debug)]
pub(super) struct Block {
    _bytes: Box<[u8]>,
    pointer: u64,
}

impl Block {
    /// With their initial values.
    pub fn new(template: &Template) -> Self {
        Self::made(template.image, template.place, TLS_BELOW)
    }

    fn made(image: &[u8], place: Place, below: bool) -> Self {
        let mut bytes = alloc::vec![0u8; place.bytes + place.align].into_boxed_slice();
        let first = bytes.as_ptr().expose_provenance();
        let skip = first.next_multiple_of(place.align) - first;
        let from = skip + place.image;
        bytes[from..from + image.len()].copy_from_slice(image);
        let pointer = first + skip + place.pointer;
        if below {
            let head = skip + place.pointer;
            bytes[head..head + 8].copy_from_slice(&pointer.to_le_bytes());
        }
        Self { _bytes: bytes, pointer: pointer as u64 }
    }

    /// The thread pointer.
    #[inline]
    pub const fn pointer(&self) -> u64 {
        self.pointer
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn below_the_pointer_variables_end_where_linkers_count_from() {
        // Distance of the first variable: the length, rounded up to the alignment.
        let place = Place::new(0x48, 0x2000, 64, true);
        assert_eq!((place.pointer - place.image, place.pointer % 64), (0x80, 0));
        assert_eq!(place.bytes, place.pointer + 16);
        assert_eq!(Place::new(0, 0, 1, true), Place { bytes: 16, align: 16, image: 0, pointer: 0 });
        // The segment need not begin at a multiple of its alignment.
        let place = Place::new(8, 0x2038, 64, true);
        assert_eq!((place.image % 64, place.pointer % 64), (0x38, 0));
    }

    #[test]
    fn above_the_pointer_they_follow_two_words() {
        assert_eq!(
            Place::new(0x48, 0x2000, 8, false),
            Place { bytes: 16 + 0x48, align: 16, image: 16, pointer: 0 }
        );
        assert_eq!(Place::new(8, 0x2000, 64, false).image, 64);
        assert_eq!(Place::new(8, 0x2038, 64, false).image, 0x38);
    }

    #[test]
    fn a_block_holds_the_initial_values_and_is_aligned() {
        for below in [true, false] {
            let place = Place::new(64, 0, 64, below);
            let block = Block::made(&[7, 8, 9], place, below);
            let first = block._bytes.as_ptr() as u64;
            let image = (block.pointer - first) as usize + place.image - place.pointer;
            assert_eq!(block._bytes[image..image + 4], [7, 8, 9, 0]);
            assert_eq!((first as usize + image) % 64, 0);
            if below {
                let at = (block.pointer - first) as usize;
                assert_eq!(block._bytes[at..at + 8], block.pointer.to_le_bytes());
            }
        }
    }
}
