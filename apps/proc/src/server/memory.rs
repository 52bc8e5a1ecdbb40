//! The memory server: calls of programs that want RAM, or give some back, or want random bytes. The program waits, so
//! what is done is short.

use super::Server;
use super::back::What;
use alloc::vec::Vec;
use skerry_app_proc::account::Account;
use skerry_app_proc::entropy::Dry;
use skerry_urpc::wire::{Header, encode};
use skerry_user::abi::dispatcher::event;
use skerry_user::abi::{CoreId, Error, PAGE_SIZE};
use skerry_user::cap::{Endpoint, Ram};
use skerry_user::logging::warn;
use skerry_user::lrpc::{Server as Answers, Woken, Words};
use skerry_user::mem::Object;
use skerry_user::more::ask;
use skerry_user::spawn::OWN;

/// What a program has of the memory server.
pub struct Share {
    /// The endpoint by which it calls.
    pub endpoint: Endpoint,
    pub account: Account,
    pieces: Vec<Object>,
}

impl Share {
    /// Nothing yet.
    pub const fn new(endpoint: Endpoint, limit: u64) -> Self {
        Self { endpoint, account: Account::new(limit), pieces: Vec::new() }
    }
}

/// What the caller that was heard last is told when the server waits again.
#[derive(Default)]
pub struct Reply {
    words: Words,
    /// What was granted, and whom.
    granted: Option<(u32, Object)>,
}

impl Server {
    /// Answers calls until one of `events` comes. Answers whether there were calls.
    pub(super) fn serve(&mut self, mut events: u64) -> bool {
        let mut news = false;
        loop {
            let Reply { words, granted } = core::mem::take(&mut self.reply);
            let woken = Answers.reply_wait(&words, events);
            if let Some(lent) = words.cap {
                // The caller has it now, or will never have it.
                let _gone = self.domain.mem.delete(lent);
            }
            match woken {
                Ok(Woken::Call(pid, asked)) => {
                    self.reply = self.asked(pid as u32, &asked.words);
                    news = true;
                    // Answer soon: the next look is none that blocks.
                    events = event::NOW;
                }
                Ok(Woken::Events(_)) => return news,
                Err(why) => {
                    if let Some((pid, piece)) = granted {
                        self.take_piece(pid, piece.base);
                    }
                    self.reply = refused(why);
                }
            }
        }
    }

    fn asked(&mut self, pid: u32, words: &[u64; 4]) -> Reply {
        let done = match words[0] {
            ask::ALLOC => self.grant(pid, words[1]),
            ask::RANDOM => self.random(),
            ask::FREE if self.take_piece(pid, words[1]) => Ok(Reply::default()),
            _ => Err(Error::BadArgument),
        };
        if let Some(program) = self.programs.get(&pid) {
            self.table.set_ram(pid, program.bytes());
        }
        done.unwrap_or_else(refused)
    }

    fn random(&mut self) -> Result<Reply, Error> {
        let Self { entropy, waiting, domain, .. } = self;
        // The devices of an island are its first core's.
        let dst = CoreId::new(domain.info.core.island(), 0);
        let header = Header { dst, request: KEY_REQUEST, ..Header::default() };
        match entropy.next(|query| waiting.push_back(encode(&header, query))) {
            Ok([a, b, c]) => {
                Ok(Reply { words: Words { words: [0, a, b, c], cap: None }, ..Reply::default() })
            }
            Err(Dry::Soon) => Err(Error::Busy),
            Err(Dry::Refused(why)) => {
                warn!("no random bytes: {why}");
                Err(Error::Hardware)
            }
        }
    }

    fn grant(&mut self, pid: u32, len: u64) -> Result<Reply, Error> {
        let len = len.checked_next_multiple_of(PAGE_SIZE).filter(|len| *len > 0).ok_or(Error::BadArgument)?;
        let share = &mut self.programs.get_mut(&pid).ok_or(Error::BadState)?.share;
        if !share.account.take(len) {
            return Err(Error::Full);
        }
        let mem = &mut self.domain.mem;
        let piece = mem.ram(len, PAGE_SIZE, None).map_err(Error::from);
        let piece = piece.inspect_err(|_| share.account.give(len))?;
        share.pieces.push(piece);
        // The copy that it gets cannot take ours away.
        let lent = Ram(piece.cap).clear(piece.len).and_then(|()| Ok(mem.copy(piece.cap, OWN)?));
        match lent {
            Ok(lent) => Ok(Reply {
                words: Words { words: [0, piece.base, piece.len, 0], cap: Some(lent) },
                granted: Some((pid, piece)),
            }),
            Err(error) => {
                self.take_piece(pid, piece.base);
                Err(error)
            }
        }
    }

    /// Takes a piece back from a program. Answers whether it had it.
    fn take_piece(&mut self, pid: u32, base: u64) -> bool {
        let Some(Share { account, pieces, .. }) = self.programs.get_mut(&pid).map(|p| &mut p.share) else {
            return false;
        };
        let Some(at) = pieces.iter().position(|piece| piece.base == base) else { return false };
        let piece = pieces.swap_remove(at);
        account.give(piece.len);
        self.take_back(What::Piece(piece), "a program");
        true
    }

    /// Takes back all that a program has, what it was made of being gone already.
    pub(super) fn close(&mut self, share: Share, whose: &str) {
        share.pieces.into_iter().for_each(|piece| self.take_back(What::Piece(piece), whose));
        // Its own copy went with its capability space.
        let _gone = self.domain.mem.delete(share.endpoint.0);
    }
}

fn refused(error: Error) -> Reply {
    Reply { words: Words { words: [error as u64, 0, 0, 0], cap: None }, granted: None }
}

/// Number of the server's own request, for a key. It has one at a time.
pub const KEY_REQUEST: u16 = 1;
/// Event bits of the ring that takes the calls.
pub const CALLS: u64 = 1 << (event::FIRST_USER + 2);
/// Messages that it holds: none are taken.
pub const RING: u32 = 2;
