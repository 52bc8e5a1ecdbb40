//! Locks that many readers or one writer have. A writer who waits goes before readers that come after it.
#![expect(unsafe_code, reason = "what is locked is reached through the lock")]

use super::sched;
use crate::dispatch::Off;
use crate::lock::Exclusive;
use core::cell::UnsafeCell;
use core::marker::PhantomData;
use core::ops::{Deref, DerefMut};

/// Who has it, and who wants it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
struct Holders {
    readers: u32,
    writer: bool,
    waiting_readers: u32,
    waiting_writers: u32,
    /// Of those that waited: let in, and not gone on yet.
    admitted_readers: u32,
    admitted_writers: u32,
}

/// Who goes on when a holder has gone.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Next {
    Nobody,
    Writer,
    Readers(u32),
}

impl Holders {
    const fn may_read(&self) -> bool {
        !self.writer && self.waiting_writers == 0
    }

    const fn may_write(&self) -> bool {
        !self.writer && self.readers == 0
    }

    /// A holder has gone: who has it now.
    fn pass_on(&mut self, from_writer: bool) -> Next {
        if from_writer {
            self.writer = false;
        } else {
            self.readers -= 1;
        }
        // After a writer it is the readers' turn, so that neither side waits for ever.
        if self.waiting_readers > 0 && from_writer {
            let count = core::mem::take(&mut self.waiting_readers);
            self.readers += count;
            self.admitted_readers += count;
            return Next::Readers(count);
        }
        if self.waiting_writers > 0 && self.may_write() {
            self.waiting_writers -= 1;
            self.admitted_writers += 1;
            self.writer = true;
            return Next::Writer;
        }
        Next::Nobody
    }
}

/// One less, if there is one.
const fn take_one(count: &mut u32) -> bool {
    let any = *count > 0;
    *count -= any as u32;
    any
}

/// A value that many read or one writes.
#[derive(Debug, Default)]
pub struct RwLock<T> {
    holders: Exclusive<Holders>,
    value: UnsafeCell<T>,
}

// SAFETY: the lock gives the value to readers or to one writer.
unsafe impl<T: Send + Sync> Sync for RwLock<T> {}

impl<T> RwLock<T> {
    /// A free one.
    pub const fn new(value: T) -> Self {
        let holders = Holders {
            readers: 0,
            writer: false,
            waiting_readers: 0,
            waiting_writers: 0,
            admitted_readers: 0,
            admitted_writers: 0,
        };
        Self { holders: Exclusive::new(holders), value: UnsafeCell::new(value) }
    }

    fn read_key(&self) -> u64 {
        core::ptr::from_ref(self).addr() as u64
    }

    fn write_key(&self) -> u64 {
        self.read_key() + 4
    }

    /// Waits under `key` until it is let in, if it was not at once.
    fn enter(&self, key: u64, at_once: bool, is_let_in: impl Fn(&mut Holders) -> bool, off: &Off) {
        let mut done = at_once;
        while !done {
            // Who lets it in has counted it, and may have woken others as well.
            sched::announce(off, key);
            done = self.holders.with(&is_let_in);
            if !done {
                sched::block(off, key, 0);
            }
        }
    }

    /// The value, to read.
    pub fn read(&self) -> ReadGuard<'_, T> {
        let off = Off::enter();
        let free = self.holders.with(|holders| {
            let free = holders.may_read();
            *if free { &mut holders.readers } else { &mut holders.waiting_readers } += 1;
            free
        });
        self.enter(self.read_key(), free, |holders| take_one(&mut holders.admitted_readers), &off);
        ReadGuard { lock: self, _own: PhantomData }
    }

    /// The value, to write.
    pub fn write(&self) -> WriteGuard<'_, T> {
        let off = Off::enter();
        let free = self.holders.with(|holders| {
            let free = holders.may_write();
            if free {
                holders.writer = true;
            } else {
                holders.waiting_writers += 1;
            }
            free
        });
        self.enter(self.write_key(), free, |holders| take_one(&mut holders.admitted_writers), &off);
        WriteGuard { lock: self, _own: PhantomData }
    }

    fn release(&self, from_writer: bool) {
        let off = Off::enter();
        let next = self.holders.with(|holders| holders.pass_on(from_writer));
        match next {
            Next::Nobody => 0,
            Next::Writer => sched::wake(&off, self.write_key(), 1),
            Next::Readers(count) => sched::wake(&off, self.read_key(), count as usize),
        };
    }
}

/// The right to read a value.
#[must_use = "what is not held is free at once"]
pub struct ReadGuard<'a, T> {
    lock: &'a RwLock<T>,
    _own: PhantomData<*mut ()>,
}

/// The right to write a value.
#[must_use = "what is not held is free at once"]
pub struct WriteGuard<'a, T> {
    lock: &'a RwLock<T>,
    _own: PhantomData<*mut ()>,
}

impl<T> Deref for ReadGuard<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        // SAFETY: no writer has it while a reader does.
        unsafe { &*self.lock.value.get() }
    }
}

impl<T> Deref for WriteGuard<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        // SAFETY: a writer has it alone.
        unsafe { &*self.lock.value.get() }
    }
}

impl<T> DerefMut for WriteGuard<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: as above.
        unsafe { &mut *self.lock.value.get() }
    }
}

impl<T> Drop for ReadGuard<'_, T> {
    fn drop(&mut self) {
        self.lock.release(false);
    }
}

impl<T> Drop for WriteGuard<'_, T> {
    fn drop(&mut self) {
        self.lock.release(true);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writers_go_before_later_readers_and_readers_after_a_writer() {
        let mut holders =
            Holders { readers: 2, waiting_writers: 1, waiting_readers: 3, ..Holders::default() };
        assert!(!holders.may_read() && !holders.may_write());
        assert_eq!(holders.pass_on(false), Next::Nobody);
        assert_eq!(holders.pass_on(false), Next::Writer);
        holders.waiting_writers = 1;
        assert_eq!(holders.pass_on(true), Next::Readers(3));
        assert_eq!((holders.readers, holders.writer), (3, false));
        for _ in 0..2 {
            assert_eq!(holders.pass_on(false), Next::Nobody);
        }
        assert_eq!(holders.pass_on(false), Next::Writer);
        assert_eq!(holders.pass_on(true), Next::Nobody);
        assert_eq!((holders.admitted_readers, holders.admitted_writers), (3, 2));
        while take_one(&mut holders.admitted_readers) | take_one(&mut holders.admitted_writers) {}
        assert_eq!(holders, Holders::default());
    }
}
