//! Bytes on their way to a transmitter that takes a few at a time. Clients wait while there are many; a transmitter that
//! takes none for a while loses them, so that nobody waits for ever.

use alloc::collections::VecDeque;

/// From here on clients wait.
pub const HIGH: usize = 4 << 10;
/// What would lie behind this is dropped: room for a line of each client, and for what is typed.
pub const LIMIT: usize = 4 * HIGH;

/// The bytes, in order.
#[derive(Default, Debug)]
pub struct Backlog {
    bytes: VecDeque<u8>,
    /// When the transmitter took some last, or these came.
    since: u64,
    dropped: u64,
}

impl Backlog {
    /// Adds bytes.
    pub fn push(&mut self, bytes: &[u8], now: u64) {
        if self.bytes.is_empty() {
            self.since = now;
        }
        let (fit, rest) = bytes.split_at(bytes.len().min(LIMIT - self.bytes.len()));
        self.bytes.extend(fit);
        self.dropped += rest.len() as u64;
    }

    /// Whether clients may say more.
    pub fn has_room(&self) -> bool {
        self.bytes.len() < HIGH
    }

    /// Whether nothing is left.
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Lets `write` take what it can, and says how many bytes that was. If it takes none for `patience`, all are dropped.
    pub fn send(&mut self, now: u64, patience: u64, mut write: impl FnMut(&[u8]) -> usize) {
        loop {
            let (first, _) = self.bytes.as_slices();
            let count = if first.is_empty() { 0 } else { write(first).min(first.len()) };
            if count == 0 {
                break;
            }
            self.bytes.drain(..count);
            self.since = now;
        }
        if self.deadline(patience).is_some_and(|deadline| now >= deadline) {
            self.dropped += self.bytes.len() as u64;
            self.bytes.clear();
        }
    }

    /// When all will be dropped, if the transmitter goes on taking none.
    pub fn deadline(&self, patience: u64) -> Option<u64> {
        (!self.bytes.is_empty()).then_some(self.since.saturating_add(patience))
    }

    /// Bytes dropped since this was asked last.
    pub fn dropped(&mut self) -> u64 {
        core::mem::take(&mut self.dropped)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slow_transmitter_gets_all_in_order() {
        let (mut backlog, mut sent) = (Backlog::default(), Vec::new());
        let text: Vec<u8> = (0..=255).cycle().take(3 * HIGH).collect();
        backlog.push(&text, 0);
        assert!(!backlog.has_room());
        let mut now = 0;
        while let Some(deadline) = backlog.deadline(10) {
            now = deadline - 1;
            let mut room = 16;
            backlog.send(now, 10, |bytes| {
                let count = bytes.len().min(core::mem::take(&mut room));
                sent.extend_from_slice(&bytes[..count]);
                count
            });
        }
        assert_eq!((sent, backlog.dropped()), (text, 0));
        assert!(now > 10, "each byte taken put the deadline off");
    }

    #[test]
    fn a_dead_transmitter_holds_nobody_up() {
        let mut backlog = Backlog::default();
        backlog.push(&[b'x'; LIMIT + 5], 100);
        assert_eq!(backlog.dropped(), 5);
        backlog.send(109, 10, |_| 0);
        assert!(!backlog.has_room());
        backlog.send(110, 10, |_| 0);
        assert!(backlog.has_room() && backlog.is_empty());
        assert_eq!((backlog.deadline(10), backlog.dropped(), backlog.dropped()), (None, LIMIT as u64, 0));
    }
}
