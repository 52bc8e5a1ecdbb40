//! Reading physical memory.

use alloc::vec::Vec;
use skerry_hal::PhysAddr;

/// How the caller lets this library read physical memory: in the domain, by mapping the frame that holds it; in a
/// test, from a vector.
pub trait PhysMem {
    /// The `len` bytes from `base`; `None` if any of them cannot be read. `len` is at most
    /// [`TREE_BYTES`](crate::limit::TREE_BYTES).
    fn read(&mut self, base: PhysAddr, len: usize) -> Option<&[u8]>;
}

/// A copy of memory: what is checked cannot change any more. A lender that gives fewer bytes than asked gives none.
pub(crate) fn copy(memory: &mut dyn PhysMem, base: PhysAddr, len: usize) -> Option<Vec<u8>> {
    base.checked_add(len as u64)?;
    memory.read(base, len)?.get(..len).map(<[u8]>::to_vec)
}
