//! A domain over several cores of its island: a dispatcher on each, one address space, threads that go from one to another
//! (paper §4.8).
//!
//! What the dispatchers share is ordinary memory, which they use with ordinary atomics; what belongs to one (its queue of
//! threads, its timers, its capabilities) no other touches. A thread is made on another dispatcher, woken there or moved there by
//! a message over the channel between the two ([`peers`](super::peers)). Why it is so, and what happens when one of them dies:
//! `docs/decisions/0018-domains-over-cores.md`.
//!
//! The domain's capabilities are the first dispatcher's, *home*: a thread that needs them goes there, and back.

use super::common::{Away, Change, Common, HOME, Layout};
use super::peers::{ELSEWHERE, Peers};
use super::sched::{self, OWN, Own, State, with};
use super::stack::holds_domain;
use super::table::bucket;
use super::tls::Template;
use crate::cap::{Core, VNode};
use crate::chan::{self, Chan, PAGE_LAYOUT};
use crate::dispatch::Off;
use crate::info::Info;
use crate::mem::Store;
use crate::spawn::FURTHER_TOP;
use crate::vspace::{Mapping, Space};
use crate::{Domain, heap, program, rt};
use alloc::boxed::Box;
use alloc::vec::Vec;
use core::convert::Infallible;
use core::fmt;
use core::ptr::with_exposed_provenance_mut;
use core::sync::atomic::AtomicU32;
use core::sync::atomic::Ordering::{Acquire, Release};
use core::time::Duration;
use skerry_abi::domain::slot;
use skerry_abi::{Error, HwId, PAGE_SIZE};
use skerry_urpc::formats::Refusal;
use skerry_urpc::formats::proc::Extend;
use skerry_urpc::formats::span::{
    Changed, Dispatcher, Grant, LastWords, Map, Thread, Unmap, Wake, WakeThread,
};

/// Messages that are heard in a row.
const BATCH: usize = 64;
/// How long to sleep before it is looked again whether all dispatchers are there.
const PATIENCE: Duration = Duration::from_millis(1);

/// What a dispatcher keeps of the others' business.
pub(super) struct Side {
    /// The program's last words, which another has left.
    last_words: Option<LastWords>,
    /// At home: what is changed.
    pub change: Change,
    /// Elsewhere: what changes are made with.
    away: Option<Box<Away>>,
}

impl Side {
    pub(super) const fn new() -> Self {
        Self { last_words: None, change: Change::NONE, away: None }
    }
}

/// Why a domain has no further dispatchers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SpanError {
    /// There is no scheduler for this one's threads, or no room.
    Own(Error),
    /// The process server's answer.
    Refused(Refusal),
    /// The heap has grown already, by memory that the other cores do not have.
    Heap,
}

impl fmt::Display for SpanError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Own(error) => error.fmt(f),
            Self::Refused(refusal) => refusal.fmt(f),
            Self::Heap => f.write_str("the heap has grown before the domain did: begin with a larger one"),
        }
    }
}

impl From<Error> for SpanError {
    fn from(error: Error) -> Self {
        Self::Own(error)
    }
}

/// [Starts](sched::start) threads, with a dispatcher on every core that the program was started for; how many. The caller becomes
/// the thread `main`, at home.
///
/// # Errors
/// [`SpanError`].
pub fn start(domain: Domain) -> Result<u32, SpanError> {
    let info = domain.info;
    sched::start(domain)?;
    let opened = Common::open(&mut super::domain())?;
    let Some((common, view)) = opened else { return Ok(1) };
    let layout = common.layout();
    let (offset, len) = layout.heap();
    if !heap::go_on_in(view.addr + offset, len) {
        return Err(SpanError::Heap);
    }
    let own = core::ptr::from_ref(&OWN).addr() as u64;
    let extend = Extend {
        entry: arrive as *const () as u64,
        own,
        own_len: size_of::<Own>() as u32,
        ..Extend::default()
    };
    greet(&view, &common, 0, info);
    *HOME.lock() = Some(common);
    program::extend(&extend);
    let chans = loop {
        if let Some(chans) = meet(&view, &layout, 0)? {
            break chans;
        }
        program::extended().map_err(SpanError::Refused)?;
        super::sleep(PATIENCE);
    };
    with(&Off::enter(), |state| state.peers = Some(Box::new(Peers::new(0, chans))));
    super::growth::begin();
    Ok(layout.dispatchers())
}

/// Where the other dispatchers begin, disabled.
extern "C" fn arrive(info: *const u8) -> ! {
    #[expect(unsafe_code, reason = "the one pointer that a spawner passes")]
    // SAFETY: the process server passes what it has mapped for good; any bit pattern is an `Info`.
    let info: &'static Info = unsafe { &*info.cast() };
    // Its end is the end of the domain, and the process server says so.
    let Err(_why) = take_part(info);
    rt::stop()
}

fn take_part(info: &'static Info) -> Result<Infallible, Error> {
    let me = info.arg("dispatcher").and_then(|text| text.parse().ok()).ok_or(Error::BadArgument)?;
    let mut domain = Domain::take_into(info, Box::leak(Box::new(Store::new())));
    domain.space = Space::told(VNode(slot::VSPACE));
    let (common, view) = Common::open(&mut domain)?.ok_or(Error::BadArgument)?;
    let layout = common.layout();
    greet(&view, &common, me, info);
    let chans = loop {
        if let Some(chans) = meet(&view, &layout, me)? {
            break chans;
        }
        let _came = crate::cap::SELF.wait(0, crate::clock::ticks() + crate::clock::span(PATIENCE));
    };
    let mut state = State::new();
    state.peers = Some(Box::new(Peers::new(me, chans)));
    state.span.away = Some(Box::new(Away { domain, common }));
    sched::run(state, Template::new(&info.tls), FURTHER_TOP)
}

/// Says that dispatcher `me` is there, and on which core.
fn greet(view: &Mapping, common: &Common, me: u32, info: &Info) {
    view.word(common.layout().greeting(me)).store(info.hw_id + 1, Release);
}

/// Channels to all others, by number, when all are there.
fn meet(view: &Mapping, layout: &Layout, me: u32) -> Result<Option<Vec<Option<Chan>>>, Error> {
    let mut chans = Vec::new();
    for other in 0..layout.dispatchers() {
        let name = view.word(layout.greeting(other)).load(Acquire);
        if name == 0 {
            return Ok(None);
        }
        if other == me {
            chans.push(None);
            continue;
        }
        let block = |from, to| view.block(layout.block(from, to), PAGE_SIZE).map_err(|_| Error::BadArgument);
        let wake = chan::Wake::Core(Core(slot::CORES), HwId(name - 1));
        let chan = Chan::new(block(other, me)?, block(me, other)?, PAGE_LAYOUT, wake);
        chans.push(Some(chan.map_err(|_| Error::BadArgument)?));
    }
    Ok(Some(chans))
}

/// Which of the domain's dispatchers runs this thread.
pub fn here() -> u32 {
    with(&Off::enter(), |state| state.me())
}

/// How many dispatchers the domain has.
pub fn count() -> u32 {
    with(&Off::enter(), |state| state.peers.as_ref().map_or(1, |peers| peers.count()))
}

/// The thread that runs goes on in dispatcher `to`, on its core.
///
/// # Errors
/// [`Error::BadArgument`] if there is none; [`Error::BadState`] if it holds the [domain](super::domain), which is at home.
pub fn migrate(to: u32) -> Result<(), Error> {
    if to >= count() {
        return Err(Error::BadArgument);
    }
    if holds_domain() {
        return Err(Error::BadState);
    }
    sched::move_to(&Off::enter(), to);
    Ok(())
}

/// The thread is at home while this lives, and then goes back where it was.
#[derive(Debug)]
pub(crate) struct AtHome(u32);

/// Goes home.
pub(crate) fn at_home() -> AtHome {
    let off = Off::enter();
    let from = with(&off, |state| state.me());
    if from != 0 {
        sched::move_to(&off, 0);
    }
    AtHome(from)
}

impl Drop for AtHome {
    fn drop(&mut self) {
        if self.0 != 0 {
            sched::move_to(&Off::enter(), self.0);
        }
    }
}

impl State {
    /// Hears what the other dispatchers say. Answers whether there is something to [do](act) about it outside.
    pub(super) fn hear(&mut self) -> bool {
        let Some(mut peers) = self.peers.take() else { return false };
        peers.flush();
        for _ in 0..BATCH {
            let Some((from, message)) = peers.next() else { break };
            self.peers = Some(peers);
            // Whatever else comes is no dispatcher's.
            let _known = self.dispatch(&message, from);
            let Some(back) = self.peers.take() else { return false };
            peers = back;
        }
        self.peers = Some(peers);
        self.span.last_words.is_some()
    }

    fn quiet(&self, key: u64) {
        let bucket = bucket(key);
        if self.table.is_quiet(bucket) {
            ELSEWHERE.clear(bucket, self.me());
        }
    }
}

/// What another dispatcher says; the context is its number.
impl Dispatcher<u32> for State {
    type Outcome = ();

    #[expect(unsafe_code, reason = "a thread changes hands")]
    fn thread(&mut self, body: &Thread, _: u32) {
        let at = with_exposed_provenance_mut::<sched::Tcb>(body.at as usize);
        // SAFETY: the sender, which is of this program, made it with `Box::into_raw`, and names it once, to this one.
        let tcb = unsafe { Box::from_raw(at) };
        let added = match tcb.pending {
            Some(_) => self.add_faulted(*tcb),
            None => self.add(*tcb).map(drop),
        };
        if added.is_err() {
            sched::fatal(format_args!("a dispatcher has more threads than it has room for"));
        }
    }

    fn wake(&mut self, body: &Wake, _: u32) {
        self.table.wake(body.key, usize::try_from(body.most).unwrap_or(usize::MAX));
        self.quiet(body.key);
    }

    fn wake_thread(&mut self, body: &WakeThread, _: u32) {
        self.table.wake_this(body.key, body.number);
    }

    #[expect(unsafe_code, reason = "a lock is named by its address")]
    fn grant(&mut self, body: &Grant, _: u32) {
        // SAFETY: the sender, which is of this program, had the lock, and passes it on with this; it cannot go before somebody
        // has given it up. All dispatchers have it at the same address.
        let word = unsafe { AtomicU32::from_ptr(with_exposed_provenance_mut(body.lock as usize)) };
        self.pass_on(word, false);
    }

    fn map(&mut self, body: &Map, from: u32) {
        let error = self.span.away.as_mut().map_or(Error::BadState as u32, |away| away.map(body));
        self.changed_here(body.change, error, from);
    }

    fn unmap(&mut self, body: &Unmap, from: u32) {
        let error = self.span.away.as_mut().map_or(Error::BadState as u32, |away| away.unmap(body));
        self.changed_here(body.change, error, from);
    }

    fn changed(&mut self, body: &Changed, _: u32) {
        if self.span.change.answered(body) {
            self.table.wake(sched::key::CHANGE, 1);
        }
    }

    fn last_words(&mut self, body: &LastWords, _: u32) {
        self.span.last_words = Some(*body);
    }
}

impl State {
    fn changed_here(&mut self, change: u32, error: u32, from: u32) {
        if let Some(peers) = &mut self.peers {
            peers.send(from, &Changed { change, error, ..Changed::default() });
        }
    }
}

/// Says another dispatcher's last words, and ends the program if that is this one's business.
#[cold]
pub(super) fn act(off: &Off) {
    let Some(words) = with(off, |state| state.span.last_words.take()) else { return };
    let at = core::ptr::with_exposed_provenance(words.at as usize);
    #[expect(unsafe_code, reason = "a text is named by its address")]
    // SAFETY: the sender, which is of this program, has leaked it.
    let text: &[u8] = unsafe { core::slice::from_raw_parts(at, words.len as usize) };
    match words.panicked {
        0 => program::last_words(text),
        _ => rt::end_for(text),
    }
}

/// Leaves the program's last words to home, if this is another dispatcher; whether it is.
pub(crate) fn leave_to_home(text: &[u8], panicked: bool) -> bool {
    let off = Off::enter();
    if with(&off, |state| state.me()) == 0 {
        return false;
    }
    let text: &'static [u8] = Box::leak(text.into());
    let words = LastWords {
        at: text.as_ptr().expose_provenance() as u64,
        len: text.len() as u64,
        panicked: panicked.into(),
        ..LastWords::default()
    };
    with(&off, |state| state.peers.iter_mut().for_each(|peers| peers.send(0, &words)));
    true
}
