//! Random bytes that have come and have not been given away.

use alloc::collections::VecDeque;

/// Bytes in order of their coming, each of which leaves once.
#[derive(Debug, Default)]
pub struct Pool(VecDeque<u8>);

impl Pool {
    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Puts bytes in.
    pub fn add(&mut self, bytes: &[u8]) {
        self.0.extend(bytes);
    }

    /// Fills all of `room`, or nothing if there are fewer.
    pub fn fill(&mut self, room: &mut [u8]) -> bool {
        if self.0.len() < room.len() {
            return false;
        }
        let len = room.len();
        for (to, from) in room.iter_mut().zip(self.0.drain(..len)) {
            *to = from;
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_leave_once_and_all_or_none() {
        let mut pool = Pool::default();
        pool.add(b"abcde");
        let mut room = [0; 3];
        assert!(pool.fill(&mut room));
        assert_eq!(&room, b"abc");
        assert!(!pool.fill(&mut room), "two are left");
        assert_eq!(&room, b"abc");
        assert_eq!(pool.len(), 2);
    }
}
