//! RAM from the memory server of the core: what a program gets when its own is used up, and gives back when it likes. It
//! has random bytes, too.
//!
//! A call to the server, by an endpoint that says who calls. The server keeps the capability it made the RAM of, so that
//! all of it comes back when the program ends.

use crate::cap::{Endpoint, SELF};
use crate::clock;
use crate::domain::Domain;
use crate::entropy::{self, NoEntropy, Source};
use crate::lrpc::{Words, call};
use crate::mem::{Grant, MoreRam};
use core::sync::atomic::{AtomicU32, Ordering};
use core::time::Duration;
use skerry_abi::domain::Purpose;
use skerry_abi::{CPtr, Error};

/// What a call asks for: its first word.
pub mod ask {
    /// RAM: second word bytes. Answer: 0 or an error's code, physical address, bytes, NUMA node, and the capability.
    pub const ALLOC: u64 = 1;
    /// Takes RAM back that was granted: second word its physical address. Answer: 0 or an error's code.
    pub const FREE: u64 = 2;
    /// Random bytes. Answer: 0 or an error's code, and three words of them; `Busy`: there will be some soon.
    pub const RANDOM: u64 = 3;
}

/// How long random bytes are waited for, and how long between asking and asking again.
const PATIENCE: (Duration, Duration) = (Duration::from_secs(5), Duration::from_millis(1));

struct Server(AtomicU32);

static SERVER: Server = Server(AtomicU32::new(CPtr::NULL.0));

/// Lets the domain's memory ask the server, if there is one.
pub(crate) fn init(domain: &mut Domain) {
    if let Some(cap) = domain.info.caps_for(Purpose::Memory).next() {
        SERVER.0.store(cap.cptr.0, Ordering::Relaxed);
        domain.mem.set_more(&SERVER);
        entropy::set_source(&SERVER);
    }
}

fn asked(words: [u64; 4], receive: Option<CPtr>) -> Result<[u64; 4], Error> {
    let server = Endpoint(CPtr(SERVER.0.load(Ordering::Relaxed)));
    if server.0 == CPtr::NULL {
        return Err(Error::EmptySlot);
    }
    let answer = call(server, &Words { words, cap: None }, receive)?.words;
    if answer[0] == 0 { Ok(answer) } else { Err(Error::from_code(answer[0])) }
}

/// Gets RAM of `len` bytes, zeroed; its capability lands in the empty slot `into`.
///
/// # Errors
/// [`Error::EmptySlot`] without a server; [`Error::Full`] at the program's limit or where there is no more; what the CPU
/// driver answers.
pub fn alloc(len: u64, into: CPtr) -> Result<Grant, Error> {
    let [_, base, len, node] = asked([ask::ALLOC, len, 0, 0], Some(into))?;
    Ok(Grant { base, len, node: node as u32 })
}

/// Gives RAM back that [`alloc`] got, and with it whatever was made of it: the slot of its capability is empty then.
///
/// # Errors
/// [`Error::BadArgument`] if it was not granted.
pub fn free(base: u64) -> Result<(), Error> {
    asked([ask::FREE, base, 0, 0], None).map(drop)
}

/// Fills `to` with random bytes of the server's.
///
/// # Errors
/// [`Error::EmptySlot`] without a server; [`Error::Hardware`] without a random device on this island; [`Error::Busy`] if
/// it takes too long.
pub fn random(to: &mut [u8]) -> Result<(), Error> {
    let until = clock::ticks() + clock::span(PATIENCE.0);
    for part in to.chunks_mut(24) {
        let words = loop {
            match asked([ask::RANDOM, 0, 0, 0], None) {
                Err(Error::Busy) if clock::ticks() < until => {
                    let _came = SELF.wait(0, clock::ticks() + clock::span(PATIENCE.1));
                }
                answer => break answer?,
            }
        };
        let bytes = words[1..].iter().flat_map(|word| word.to_le_bytes());
        part.iter_mut().zip(bytes).for_each(|(to, from)| *to = from);
    }
    Ok(())
}

impl Source for Server {
    fn fill(&self, to: &mut [u8]) -> Result<(), NoEntropy> {
        random(to).map_err(|_| NoEntropy)
    }
}

impl MoreRam for Server {
    fn more(&self, len: u64, into: CPtr) -> Result<Grant, Error> {
        alloc(len, into)
    }
}
