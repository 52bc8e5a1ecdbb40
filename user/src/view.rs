//! What is mapped, looked at: bounds-checked access to the memory of a [`Mapping`].
#![expect(unsafe_code, reason = "mapped memory has no owner that the compiler knows")]

use crate::vspace::Mapping;
use core::ptr::{NonNull, copy_nonoverlapping, write_bytes};
use core::sync::atomic::AtomicU64;
use skerry_urpc::{Block, LayoutError};

impl Mapping {
    /// A pointer to `len` bytes at `offset`, which lie inside.
    ///
    /// # Panics
    /// If they do not.
    fn at(&self, offset: u64, len: u64) -> *mut u8 {
        let inside = offset.checked_add(len).is_some_and(|end| end <= self.len);
        assert!(inside, "{len} bytes at {offset} of a mapping of {}", self.len);
        core::ptr::with_exposed_provenance_mut((self.addr + offset) as usize)
    }

    /// Fills it with zeros.
    pub fn zero(&self) {
        // SAFETY: `at` checked the range, which is mapped for as long as `self` is not given to `unmap`; the domain
        // holds no reference into it, as only `bytes` makes one, whose caller vouched that nobody writes.
        unsafe { write_bytes(self.at(0, self.len), 0, self.len as usize) }
    }

    /// Writes `from` at `offset`.
    pub fn write(&self, offset: u64, from: &[u8]) {
        let to = self.at(offset, from.len() as u64);
        // SAFETY: as in `zero`; `from` is memory that the compiler knows, so the two do not overlap.
        unsafe { copy_nonoverlapping(from.as_ptr(), to, from.len()) }
    }

    /// Writes all of it back to memory, past every cache, for a core that will start in it with its caches off.
    pub fn publish(&self) {
        skerry_arch::user::publish_code(self.at(0, self.len), self.len as usize);
    }

    /// Reads `to.len()` bytes at `offset`.
    pub fn read(&self, offset: u64, to: &mut [u8]) {
        let from = self.at(offset, to.len() as u64);
        // SAFETY: as in `write`.
        unsafe { copy_nonoverlapping(from, to.as_mut_ptr(), to.len()) }
    }

    /// Reads a device register of 8 bits.
    pub fn read8(&self, offset: u64) -> u8 {
        // SAFETY: the address is mapped, as in `zero`.
        unsafe { self.at(offset, 1).read_volatile() }
    }

    /// Reads a device register of 16 bits.
    pub fn read16(&self, offset: u64) -> u16 {
        assert!(offset.is_multiple_of(2), "register {offset:#x}");
        // SAFETY: the address is mapped, as in `zero`, and aligned.
        unsafe { self.at(offset, 2).cast::<u16>().read_volatile() }
    }

    /// Reads a device register of 32 bits.
    pub fn read32(&self, offset: u64) -> u32 {
        assert!(offset.is_multiple_of(4), "register {offset:#x}");
        // SAFETY: the address is mapped, as in `zero`, and aligned.
        unsafe { self.at(offset, 4).cast::<u32>().read_volatile() }
    }

    /// Writes a device register of 8 bits.
    pub fn write8(&self, offset: u64, value: u8) {
        // SAFETY: the address is mapped, as in `zero`.
        unsafe { self.at(offset, 1).write_volatile(value) }
    }

    /// Writes a device register of 16 bits.
    pub fn write16(&self, offset: u64, value: u16) {
        assert!(offset.is_multiple_of(2), "register {offset:#x}");
        // SAFETY: the address is mapped, as in `zero`, and aligned.
        unsafe { self.at(offset, 2).cast::<u16>().write_volatile(value) }
    }

    /// Writes a device register of 32 bits.
    pub fn write32(&self, offset: u64, value: u32) {
        assert!(offset.is_multiple_of(4), "register {offset:#x}");
        // SAFETY: the address is mapped, as in `zero`, and aligned.
        unsafe { self.at(offset, 4).cast::<u32>().write_volatile(value) }
    }

    /// All of it, for good.
    ///
    /// # Safety
    /// Nobody writes to this memory from now on.
    pub unsafe fn bytes(self) -> &'static [u8] {
        let (at, len) = (self.at(0, self.len), self.len as usize);
        // SAFETY: the range is mapped, and stays so: `self` is consumed, so that `unmap` cannot be called. The caller
        // vouches that nobody writes.
        unsafe { core::slice::from_raw_parts(at, len) }
    }

    /// The word at `offset`, for good: the mapping must not be undone after. For memory that others write too.
    pub fn word(&self, offset: u64) -> &'static AtomicU64 {
        assert!(offset.is_multiple_of(8), "word at {offset:#x}");
        let at = self.at(offset, 8).cast();
        // SAFETY: `at` checked that the bytes are mapped, they are aligned, and nothing else in this domain refers to
        // them but as in `block`.
        unsafe { AtomicU64::from_ptr(at) }
    }

    /// The line of eight words at `offset`, as [`word`](Self::word).
    pub fn line(&self, offset: u64) -> &'static [AtomicU64; 8] {
        assert!(offset.is_multiple_of(8), "line at {offset:#x}");
        let at: *const [AtomicU64; 8] = self.at(offset, 64).cast();
        // SAFETY: as in `word`.
        unsafe { &*at }
    }

    /// The block of a channel that takes up `len` bytes at `offset`, for good: the mapping must not be undone after.
    ///
    /// # Errors
    /// As [`Block::from_raw`].
    pub fn block(&self, offset: u64, len: u64) -> Result<Block, LayoutError> {
        let Some(at) = NonNull::new(self.at(offset, len)) else { return Err(LayoutError::Unaligned) };
        // SAFETY: `at` checked that the bytes are mapped; nothing else in this domain refers to them but through
        // `Mapping`'s own copies of bytes and other blocks.
        unsafe { Block::from_raw(at, len as usize) }
    }
}
