//! Numbered places, each taken by one child at a time: where its room hangs in the parent's capability space.

/// Places below 64.
#[derive(Debug)]
pub struct Places {
    free: u64,
}

impl Default for Places {
    fn default() -> Self {
        Self::new()
    }
}

impl Places {
    /// All free.
    pub const fn new() -> Self {
        Self { free: u64::MAX }
    }

    /// The lowest free place.
    pub const fn take(&mut self) -> Option<u32> {
        if self.free == 0 {
            return None;
        }
        let place = self.free.trailing_zeros();
        self.free &= self.free - 1;
        Some(place)
    }

    /// A place is free again.
    pub const fn give(&mut self, place: u32) {
        self.free |= 1 << place;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_is_taken_once_until_it_is_given_back() {
        let mut places = Places::new();
        let taken: Vec<u32> = core::iter::from_fn(|| places.take()).collect();
        assert_eq!(taken, (0..64).collect::<Vec<u32>>());
        places.give(17);
        assert_eq!((places.take(), places.take()), (Some(17), None));
    }
}
