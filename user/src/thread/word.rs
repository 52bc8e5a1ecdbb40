//! A lock's word, for threads of several dispatchers: free or held, and which dispatchers have threads that wait. Pure.
//!
//! A dispatcher's threads stand in its own queue, which no other core looks at. The word says only *where* somebody waits: bit
//! `1 + d` is set by dispatcher `d` before a thread of its blocks, and cleared by `d` alone, when none does. Whoever gives the
//! lock up keeps it held and passes it to such a dispatcher, by a message if it is another; that one gives it to its
//! first waiter, or passes it on in turn. So the lock is free only when no bit is set, which one compare-and-swap
//! decides: nobody is forgotten, and each hop wakes a thread or clears a bit.

use core::sync::atomic::AtomicU32;
use core::sync::atomic::Ordering::{self, AcqRel, Acquire, Relaxed, Release};

/// Nobody has it.
pub const FREE: u32 = 0;
/// Somebody has it.
pub const HELD: u32 = 1;
/// Dispatchers that a word has room for.
pub const ROOM: u32 = u32::BITS - 1;

/// An atomic word; loom has its own.
pub trait Word {
    /// Its value.
    fn get(&self) -> u32;
    /// Replaces `old` by `new`; the value found if it is another.
    fn swap_if(&self, old: u32, new: u32, success: Ordering) -> Result<u32, u32>;
    /// Clears bits.
    fn clear(&self, bits: u32);
}

macro_rules! word {
    ($ty:ty) => {
        impl Word for $ty {
            fn get(&self) -> u32 {
                self.load(Relaxed)
            }
            fn swap_if(&self, old: u32, new: u32, success: Ordering) -> Result<u32, u32> {
                self.compare_exchange(old, new, success, Relaxed)
            }
            fn clear(&self, bits: u32) {
                self.fetch_and(!bits, AcqRel);
            }
        }
    };
}
word!(AtomicU32);

/// The bit of a dispatcher.
pub const fn bit(dispatcher: u32) -> u32 {
    2 << dispatcher
}

/// Takes the lock, or says that a thread of dispatcher `me` waits for it; whether it was taken. To be called with the
/// dispatcher disabled, and if it was not, until the thread is in the queue.
pub fn take_or_wait<W: Word>(word: &W, me: u32) -> bool {
    let mut found = word.get();
    loop {
        let taken = found & HELD == 0;
        let wanted = if taken { found | HELD } else { found | bit(me) };
        match word.swap_if(found, wanted, Acquire) {
            Ok(_) => return taken,
            Err(other) => found = other,
        }
    }
}

/// To whom a lock goes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Heir {
    /// It is free.
    Nobody,
    /// The first thread of this dispatcher that waits.
    Mine,
    /// Whoever that dispatcher says.
    Of(u32),
}

/// Dispatcher `me`, of which a thread waits if `mine`, has the lock and gives it up: who is next. The other dispatchers' threads
/// come first if `others_first`; not if the lock has just come from one of them, or it might go round for ever. To be called with the
/// dispatcher disabled, until that is carried out.
pub fn give_up<W: Word>(word: &W, me: u32, mine: bool, others_first: bool) -> Heir {
    loop {
        let found = word.get();
        if found & bit(me) != 0 && !mine {
            // Disabled: none of them can have come meanwhile.
            word.clear(bit(me));
            continue;
        }
        let others = (found & !bit(me)) >> 1;
        if found & bit(me) != 0 && !(others_first && others != 0) {
            return Heir::Mine;
        }
        if others != 0 {
            // Round in order, so that none is left out.
            let after = others.checked_shr(me + 1).unwrap_or(0);
            let next = if after == 0 { others.trailing_zeros() } else { me + 1 + after.trailing_zeros() };
            return Heir::Of(next);
        }
        if word.swap_if(HELD, FREE, Release).is_ok() {
            return Heir::Nobody;
        }
    }
}

#[cfg(test)]
mod tests;
