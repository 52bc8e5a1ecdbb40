//! A split virtqueue whose buffers the device writes. Descriptor `n` is for good buffer `n`, so none is ever looked for.

use alloc::vec::Vec;
use core::fmt;

/// Memory that the device shares. Offsets are aligned to the width.
pub trait Shared {
    /// Reads 16 bits.
    fn read16(&self, at: u64) -> u16;
    /// Reads 32 bits.
    fn read32(&self, at: u64) -> u32;
    /// Writes 16 bits.
    fn write16(&self, at: u64, value: u16);
    /// Writes 32 bits.
    fn write32(&self, at: u64, value: u32);
    /// What was written or read before comes before what comes after, as the device sees it.
    fn fence(&self);
}

/// The device writes the buffer.
const WRITE: u16 = 2;

/// What the device said that cannot be. Its queue is not to be used any more.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Bad {
    /// It has used a buffer that it did not have.
    NotOurs(u32),
    /// It has written more than the buffer holds.
    TooMuch(u32),
    /// It has used more buffers than it had.
    Ahead(u16),
}

impl fmt::Display for Bad {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotOurs(id) => write!(f, "the device used buffer {id}, which it did not have"),
            Self::TooMuch(len) => write!(f, "the device wrote {len} bytes, more than the buffer holds"),
            Self::Ahead(count) => write!(f, "the device used {count} buffers, more than it had"),
        }
    }
}

/// Where the three parts of a queue of `size` buffers lie, each aligned as it must be (§2.7).
pub const fn layout(size: u16) -> [u64; 3] {
    let available = 16 * size as u64;
    [0, available, (available + 6 + 2 * size as u64).next_multiple_of(4)]
}

/// Bytes of a queue of `size` buffers.
pub const fn bytes(size: u16) -> u64 {
    layout(size)[2] + 6 + 8 * size as u64
}

/// A queue and who has which buffer.
#[derive(Debug)]
pub struct Queue<S> {
    shared: S,
    size: u16,
    /// Bytes of a buffer.
    buffer: u32,
    /// Buffers that the device has.
    given: Vec<bool>,
    /// Buffers given, ever.
    available: u16,
    /// Buffers taken back, ever.
    used: u16,
}

impl<S: Shared> Queue<S> {
    /// A queue of `size` buffers, a power of two, of `buffer` bytes each from device address `base` on, in zeroed memory.
    pub fn new(shared: S, size: u16, base: u64, buffer: u32) -> Self {
        for n in 0..size {
            let (at, address) = (16 * u64::from(n), base + u64::from(n) * u64::from(buffer));
            shared.write32(at, address as u32);
            shared.write32(at + 4, (address >> 32) as u32);
            shared.write32(at + 8, buffer);
            shared.write16(at + 12, WRITE);
        }
        Self { shared, size, buffer, given: alloc::vec![false; size.into()], available: 0, used: 0 }
    }

    /// Lets the device fill buffer `n`. Nothing if it has it already.
    pub fn give(&mut self, n: u16) {
        let Some(given) = self.given.get_mut(usize::from(n)).filter(|given| !**given) else { return };
        *given = true;
        let [_, ring, _] = layout(self.size);
        self.shared.write16(ring + 4 + 2 * u64::from(self.available % self.size), n);
        self.available = self.available.wrapping_add(1);
        // The entry before the count that says it is there (§2.7.13.3.1).
        self.shared.fence();
        self.shared.write16(ring + 2, self.available);
        self.shared.fence();
    }

    /// Takes a buffer that the device has filled: its number, and the bytes written.
    ///
    /// # Errors
    /// [`Bad`].
    pub fn take(&mut self) -> Result<Option<(u16, u32)>, Bad> {
        let [.., ring] = layout(self.size);
        let waiting = self.shared.read16(ring + 2).wrapping_sub(self.used);
        if waiting == 0 {
            return Ok(None);
        }
        if waiting > self.available.wrapping_sub(self.used) {
            return Err(Bad::Ahead(waiting));
        }
        self.shared.fence();
        let at = ring + 4 + 8 * u64::from(self.used % self.size);
        let (id, len) = (self.shared.read32(at), self.shared.read32(at + 4));
        let given = self.given.get_mut(id as usize).filter(|given| **given).ok_or(Bad::NotOurs(id))?;
        if len > self.buffer {
            return Err(Bad::TooMuch(len));
        }
        *given = false;
        self.used = self.used.wrapping_add(1);
        Ok(Some((id as u16, len)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::cell::RefCell;
    use std::rc::Rc;

    #[derive(Clone)]
    struct Ram(Rc<RefCell<Vec<u8>>>);

    impl Ram {
        fn get<const N: usize>(&self, at: u64) -> [u8; N] {
            assert!(at.is_multiple_of(N as u64), "{at}");
            self.0.borrow()[at as usize..][..N].try_into().unwrap()
        }
        fn set(&self, at: u64, bytes: &[u8]) {
            assert!(at.is_multiple_of(bytes.len() as u64), "{at}");
            self.0.borrow_mut()[at as usize..][..bytes.len()].copy_from_slice(bytes);
        }
    }

    impl Shared for Ram {
        fn read16(&self, at: u64) -> u16 {
            u16::from_le_bytes(self.get(at))
        }
        fn read32(&self, at: u64) -> u32 {
            u32::from_le_bytes(self.get(at))
        }
        fn write16(&self, at: u64, value: u16) {
            self.set(at, &value.to_le_bytes());
        }
        fn write32(&self, at: u64, value: u32) {
            self.set(at, &value.to_le_bytes());
        }
        fn fence(&self) {}
    }

    const SIZE: u16 = 4;

    fn queue() -> (Ram, Queue<Ram>) {
        let ram = Ram(Rc::new(RefCell::new(vec![0; bytes(SIZE) as usize])));
        (ram.clone(), Queue::new(ram, SIZE, 0x1_2345_6000, 64))
    }

    /// What the device does: uses a buffer as its `nth`.
    fn uses(ram: &Ram, nth: u16, id: u32, len: u32) {
        let [.., ring] = layout(SIZE);
        let at = ring + 4 + 8 * u64::from(nth % SIZE);
        ram.write32(at, id);
        ram.write32(at + 4, len);
        ram.write16(ring + 2, nth.wrapping_add(1));
    }

    #[test]
    fn buffers_go_round_however_often_the_counts_overflow() {
        let (ram, mut queue) = queue();
        assert_eq!((ram.read32(16), ram.read32(20)), (0x2345_6040, 1), "the second buffer's address");
        assert_eq!((ram.read32(24), ram.read16(28)), (64, WRITE));
        let mut nth = 0u16;
        for round in 0..40_000u32 {
            let n = (round % 3) as u16;
            queue.give(n);
            queue.give(n);
            let [_, ring, _] = layout(SIZE);
            assert_eq!(ram.read16(ring + 2), nth.wrapping_add(1), "given once");
            assert_eq!(ram.read16(ring + 4 + 2 * u64::from(nth % SIZE)), n);
            assert_eq!(queue.take(), Ok(None));
            uses(&ram, nth, n.into(), 33);
            assert_eq!(queue.take(), Ok(Some((n, 33))));
            nth = nth.wrapping_add(1);
        }
    }

    #[test]
    fn a_device_that_lies_is_not_believed() {
        let lie = |id, len, nth| {
            let (ram, mut queue) = queue();
            queue.give(1);
            uses(&ram, nth, id, len);
            queue.take()
        };
        assert_eq!(lie(1, 64, 0), Ok(Some((1, 64))));
        assert_eq!(lie(1, 65, 0), Err(Bad::TooMuch(65)));
        assert_eq!(lie(2, 1, 0), Err(Bad::NotOurs(2)));
        assert_eq!(lie(u32::MAX, 1, 0), Err(Bad::NotOurs(u32::MAX)));
        assert_eq!(lie(1, 1, 1), Err(Bad::Ahead(2)));
        assert_eq!(lie(1, 1, u16::MAX - 1), Err(Bad::Ahead(u16::MAX)));
    }

    proptest! {
        /// Whatever the device writes: what is taken was given, and each once.
        #[test]
        fn noise_in_the_ring_gives_nothing_twice(
            noise in prop::collection::vec((0..10u64, any::<u32>()), 0..40), gives in 0..SIZE,
        ) {
            let (ram, mut queue) = queue();
            for n in 0..gives {
                queue.give(n);
            }
            let [.., ring] = layout(SIZE);
            let mut taken = Vec::new();
            for (at, value) in noise {
                ram.write32((ring + 4 * at).min(bytes(SIZE) - 6), value % 7);
                while let Ok(Some((id, len))) = queue.take() {
                    prop_assert!(id < gives && len <= 64 && !taken.contains(&id));
                    taken.push(id);
                }
            }
        }
    }
}
