//! Which threads there are, who is ready, who waits for what and until when. Pure: it decides, [`super::sched`] does.
//!
//! Whoever blocks does so under a *key*, in practice the address of what it waits for, which makes every mutex, join and
//! futex one mechanism: waiters stand in a table of queues by key, first come, first served.

use alloc::collections::BTreeSet;
use alloc::vec::Vec;

/// Threads of a domain on a core.
pub const MAX_THREADS: usize = 4096;
/// Queues of waiters.
const BUCKETS: usize = super::peers::BUCKETS;
/// No thread.
const NONE: u32 = u32::MAX;

/// Names a thread; the number is used again after it has ended.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Id(u32);

impl Id {
    /// Its number.
    pub const fn number(self) -> u32 {
        self.0
    }
}

/// Why a thread goes on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Woken {
    /// It was woken, with this word.
    By(u64),
    /// Its time had come.
    TimedOut,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum State {
    Free,
    /// Runs, or is ready to.
    Active,
    /// In the queue of waiters for this key.
    Waiting(u64),
}

struct Entry<T> {
    next: u32,
    prev: u32,
    state: State,
    deadline: u64,
    woken: Woken,
    what: Option<T>,
}

/// A queue, linked through the entries.
#[derive(Clone, Copy)]
struct Queue {
    head: u32,
    tail: u32,
}

impl Queue {
    const EMPTY: Self = Self { head: NONE, tail: NONE };

    /// Adds one at the end of a queue of which only the first is ever taken.
    #[inline]
    fn push_ready<T>(&mut self, entries: &mut [Entry<T>], id: u32) {
        if let Some(entry) = entries.get_mut(id as usize) {
            entry.next = NONE;
        }
        match entries.get_mut(self.tail as usize) {
            Some(last) => last.next = id,
            None => self.head = id,
        }
        self.tail = id;
    }

    /// Takes the first of such a queue.
    #[inline]
    fn pop_ready<T>(&mut self, entries: &[Entry<T>]) -> Option<u32> {
        let id = self.head;
        self.head = entries.get(id as usize)?.next;
        if self.head == NONE {
            self.tail = NONE;
        }
        Some(id)
    }

    fn push<T>(&mut self, entries: &mut [Entry<T>], id: u32) {
        let entry = &mut entries[id as usize];
        (entry.prev, entry.next) = (self.tail, NONE);
        match entries.get_mut(self.tail as usize) {
            Some(last) => last.next = id,
            None => self.head = id,
        }
        self.tail = id;
    }

    fn remove<T>(&mut self, entries: &mut [Entry<T>], id: u32) {
        let (prev, next) = (entries[id as usize].prev, entries[id as usize].next);
        match entries.get_mut(prev as usize) {
            Some(entry) => entry.next = next,
            None => self.head = next,
        }
        match entries.get_mut(next as usize) {
            Some(entry) => entry.prev = prev,
            None => self.tail = prev,
        }
    }
}

/// All threads of a domain on a core. `T` is what its scheduler keeps of each.
pub struct Table<T> {
    entries: Vec<Entry<T>>,
    ready: Queue,
    waiting: [Queue; BUCKETS],
    timers: BTreeSet<(u64, Id)>,
    current: u32,
    count: usize,
}

/// [`MAX_THREADS`] threads are there already.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TooManyThreads;

/// Which queue of waiters a key belongs to.
pub(super) const fn bucket(key: u64) -> usize {
    // Keys are addresses of words.
    (key >> 2 ^ key >> 8) as usize % BUCKETS
}

impl<T> Table<T> {
    /// Without threads.
    #[expect(clippy::new_without_default, reason = "it belongs in a static")]
    pub const fn new() -> Self {
        Self {
            entries: Vec::new(),
            ready: Queue::EMPTY,
            waiting: [Queue::EMPTY; BUCKETS],
            timers: BTreeSet::new(),
            current: NONE,
            count: 0,
        }
    }

    /// How many threads there are.
    pub const fn count(&self) -> usize {
        self.count
    }

    /// Adds a thread, ready to run.
    ///
    /// # Errors
    /// [`TooManyThreads`].
    pub fn add(&mut self, what: T) -> Result<Id, TooManyThreads> {
        let at = self.place(what)?;
        self.ready.push_ready(&mut self.entries, at);
        Ok(Id(at))
    }

    /// Adds a thread that waits under `key`.
    ///
    /// # Errors
    /// [`TooManyThreads`].
    pub fn add_waiting(&mut self, what: T, key: u64) -> Result<Id, TooManyThreads> {
        let at = self.place(what)?;
        self.entries[at as usize].state = State::Waiting(key);
        self.waiting[bucket(key)].push(&mut self.entries, at);
        Ok(Id(at))
    }

    /// Takes a thread out that waits under `key`, without a deadline; what was kept of it.
    pub fn take_waiting(&mut self, key: u64, id: Id) -> Option<T> {
        self.entries.get(id.0 as usize).filter(|entry| entry.state == State::Waiting(key))?;
        self.waiting[bucket(key)].remove(&mut self.entries, id.0);
        self.entries[id.0 as usize].state = State::Free;
        self.count -= 1;
        self.entries[id.0 as usize].what.take()
    }

    fn place(&mut self, what: T) -> Result<u32, TooManyThreads> {
        let entry = Entry {
            next: NONE,
            prev: NONE,
            state: State::Active,
            deadline: 0,
            woken: Woken::By(0),
            what: Some(what),
        };
        // Ends of threads are rare enough that looking for a gap pays only when there is one.
        let gap = if self.count < self.entries.len() {
            self.entries.iter().position(|e| e.state == State::Free)
        } else {
            None
        };
        let at = match gap {
            Some(at) => {
                self.entries[at] = entry;
                at
            }
            None if self.entries.len() < MAX_THREADS => {
                self.entries.push(entry);
                self.entries.len() - 1
            }
            None => return Err(TooManyThreads),
        };
        self.count += 1;
        Ok(at as u32)
    }

    /// Who runs.
    #[inline]
    pub const fn current(&self) -> Option<Id> {
        if self.current == NONE { None } else { Some(Id(self.current)) }
    }

    /// What is kept of a thread.
    #[inline]
    pub fn get(&mut self, id: Id) -> Option<&mut T> {
        self.entries.get_mut(id.0 as usize)?.what.as_mut()
    }

    /// What is kept of every thread.
    pub fn all(&self) -> impl Iterator<Item = (Id, &T)> {
        self.entries.iter().enumerate().filter_map(|(n, e)| Some((Id(n as u32), e.what.as_ref()?)))
    }

    /// Whether a thread is ready that does not run.
    #[inline]
    pub const fn any_ready(&self) -> bool {
        self.ready.head != NONE
    }

    /// The one who runs goes to the end of the queue of the ready.
    #[inline]
    pub fn put_back(&mut self) {
        let at = core::mem::replace(&mut self.current, NONE);
        if at != NONE {
            self.ready.push_ready(&mut self.entries, at);
        }
    }

    /// The one who runs goes to the end of the queue of the ready, and the first of them runs: who ran, and who runs.
    /// `None`: nobody else is ready, or nobody runs.
    #[inline]
    pub fn rotate(&mut self) -> Option<(Id, Id)> {
        let at = self.current;
        if at == NONE {
            return None;
        }
        let next = self.ready.pop_ready(&self.entries)?;
        self.ready.push_ready(&mut self.entries, at);
        self.current = next;
        Some((Id(at), Id(next)))
    }

    /// The one who runs waits under `key`, until `deadline` (0: for ever).
    pub fn block(&mut self, key: u64, deadline: u64) {
        let at = core::mem::replace(&mut self.current, NONE);
        let Some(entry) = self.entries.get_mut(at as usize) else { return };
        entry.state = State::Waiting(key);
        entry.deadline = deadline;
        self.waiting[bucket(key)].push(&mut self.entries, at);
        if deadline != 0 {
            self.timers.insert((deadline, Id(at)));
        }
    }

    /// The one who runs has ended; what was kept of it.
    pub fn end(&mut self) -> Option<T> {
        let at = core::mem::replace(&mut self.current, NONE);
        let entry = self.entries.get_mut(at as usize)?;
        entry.state = State::Free;
        self.count -= 1;
        entry.what.take()
    }

    /// Takes the first who is ready, who now runs. Nobody must be running.
    #[inline]
    pub fn take_next(&mut self) -> Option<Id> {
        self.current = self.ready.pop_ready(&self.entries)?;
        Some(Id(self.current))
    }

    /// Why the thread goes on: how its last wait ended.
    #[inline]
    pub fn woken(&self, id: Id) -> Woken {
        self.entries.get(id.0 as usize).map_or(Woken::By(0), |entry| entry.woken)
    }

    fn ready(&mut self, at: u32, key: u64, woken: Woken) {
        self.waiting[bucket(key)].remove(&mut self.entries, at);
        let entry = &mut self.entries[at as usize];
        entry.state = State::Active;
        entry.woken = woken;
        if entry.deadline != 0 {
            self.timers.remove(&(entry.deadline, Id(at)));
            entry.deadline = 0;
        }
        self.ready.push_ready(&mut self.entries, at);
    }

    /// The first who waits under `key`.
    pub fn first_waiter(&self, key: u64) -> Option<Id> {
        let mut at = self.waiting[bucket(key)].head;
        while let Some(entry) = self.entries.get(at as usize) {
            if entry.state == State::Waiting(key) {
                return Some(Id(at));
            }
            at = entry.next;
        }
        None
    }

    /// Makes the first who waits under `key` ready, and tells it `word`.
    pub fn wake_one(&mut self, key: u64, word: u64) -> Option<Id> {
        let id = self.first_waiter(key)?;
        self.ready(id.0, key, Woken::By(word));
        Some(id)
    }

    /// Whether nobody waits under any key of a bucket.
    pub const fn is_quiet(&self, bucket: usize) -> bool {
        self.waiting[bucket % BUCKETS].head == NONE
    }

    /// Makes at most `most` of those who wait under `key` ready; how many.
    pub fn wake(&mut self, key: u64, most: usize) -> usize {
        (0..most).take_while(|_| self.wake_one(key, 0).is_some()).count()
    }

    /// Makes the thread with this number ready if it waits under `key`.
    pub fn wake_this(&mut self, key: u64, number: u32) {
        if self.entries.get(number as usize).is_some_and(|entry| entry.state == State::Waiting(key)) {
            self.ready(number, key, Woken::By(0));
        }
    }

    /// Makes those ready who wait under `key` and to whom `tell` has something to say.
    pub fn wake_each(&mut self, key: u64, mut tell: impl FnMut(&mut T) -> Option<u64>) {
        let mut at = self.waiting[bucket(key)].head;
        while let Some(entry) = self.entries.get_mut(at as usize) {
            let (id, next) = (at, entry.next);
            if entry.state == State::Waiting(key)
                && let Some(word) = entry.what.as_mut().and_then(&mut tell)
            {
                self.ready(id, key, Woken::By(word));
            }
            at = next;
        }
    }

    /// Makes those ready whose deadline has come; the next deadline.
    pub fn expire(&mut self, now: impl FnOnce() -> u64) -> Option<u64> {
        if self.timers.is_empty() {
            return None;
        }
        let now = now();
        while let Some(&(deadline, id)) = self.timers.first() {
            if deadline > now {
                return Some(deadline);
            }
            match self.entries.get(id.0 as usize).map(|entry| entry.state) {
                Some(State::Waiting(key)) => self.ready(id.0, key, Woken::TimedOut),
                _ => drop(self.timers.pop_first()),
            }
        }
        None
    }
}

#[cfg(test)]
mod tests;
