//! RAM that comes back when a program ends. Mostly the own CPU driver takes it back at once; where other cores hold
//! something that was made of it, the monitors have to agree first, and the server goes on meanwhile.

use super::Server;
use alloc::format;
use alloc::string::String;
use skerry_user::Domain;
use skerry_user::abi::Error;
use skerry_user::agent::{Agent, Refusal, ShareError, Ticket};
use skerry_user::cap::ROOT;
use skerry_user::logging::error;
use skerry_user::mem::Object;
use skerry_user::spawn::Estate;

/// How often the monitors are asked, where it may help.
const ATTEMPTS: u32 = 8;

/// What is to come back.
#[derive(Clone, Copy)]
pub enum What {
    /// All that a program was made of.
    Estate(Estate),
    /// A piece that it was granted.
    Piece(Object),
}

/// What the monitors are at.
pub struct Returning {
    what: What,
    whose: String,
    ticket: Ticket,
    attempts: u32,
}

impl What {
    const fn len(&self) -> u64 {
        match self {
            Self::Estate(estate) => estate.ram.len,
            Self::Piece(piece) => piece.len,
        }
    }

    fn take_back(self, domain: &mut Domain) -> Result<(), Error> {
        match self {
            Self::Estate(estate) => estate.reclaim(domain),
            Self::Piece(piece) => {
                ROOT.revoke(piece.cap)?;
                Ok(domain.mem.free(piece)?)
            }
        }
    }

    fn ask(self, agent: Option<&Agent>) -> Result<Ticket, ShareError> {
        let agent = agent.ok_or(Error::Remote)?;
        match self {
            Self::Estate(estate) => agent.revoke_made(estate.ram.cap),
            Self::Piece(piece) => agent.revoke(piece.cap),
        }
    }
}

impl Server {
    /// Takes RAM back that `whose` program had.
    pub(super) fn take_back(&mut self, what: What, whose: &str) {
        self.again(what, String::from(whose), ATTEMPTS);
    }

    fn again(&mut self, what: What, whose: String, attempts: u32) {
        let why = match what.take_back(&mut self.domain) {
            Ok(()) => return,
            Err(Error::Remote | Error::Busy) if attempts > 0 => match what.ask(self.agent.as_ref()) {
                Ok(ticket) => {
                    self.returning.push(Returning { what, whose, ticket, attempts: attempts - 1 });
                    return;
                }
                Err(why) => format!("{why}"),
            },
            Err(why) => format!("{why}"),
        };
        error!("{whose}: {} KiB of RAM do not come back: {why}", what.len() >> 10);
    }

    /// Looks how far the monitors are. Answers whether there was news.
    pub(super) fn poll_returning(&mut self) -> bool {
        let mut news = false;
        let mut n = 0;
        while n < self.returning.len() {
            let agent = self.agent.as_ref();
            let Some(ended) = agent.and_then(|agent| agent.ended(&self.returning[n].ticket)) else {
                n += 1;
                continue;
            };
            news = true;
            let Returning { what, whose, attempts, .. } = self.returning.swap_remove(n);
            use Refusal::{Aborted, Busy, TimedOut};
            match ended {
                Ok(()) | Err(ShareError::Refused(Aborted | Busy | TimedOut)) => {
                    self.again(what, whose, attempts);
                }
                Err(why) => {
                    error!("{whose}: {} KiB of RAM do not come back: {why}", what.len() >> 10);
                }
            }
        }
        news
    }
}
