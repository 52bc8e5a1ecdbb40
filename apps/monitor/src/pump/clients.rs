//! Domains of this core that share capabilities with others: what they have asked for, and where what comes for them goes
//! (`urpc::formats::share`).

use alloc::collections::{BTreeMap, VecDeque};
use alloc::vec::Vec;
use skerry_abi::{CPtr, CapType, CoreId, Error, PAGE_SIZE, Rights};
use skerry_monitor::ops::agree::Region;
use skerry_monitor::ops::agree::asker::{Request, What};
use skerry_urpc::formats::Refusal;
use skerry_urpc::formats::share::{Ask, MAX_OFFERED, MAX_TICKETS, Say};
use skerry_user::cap::{Endpoint, Identity, Make, Place, ROOT, identify};
use skerry_user::lrpc::{Message, send};
use skerry_user::mem::Memory;

/// Domains at a time; one more is refused as [`Busy`](Refusal::Busy).
const MAX_CLIENTS: usize = 64;

/// A domain.
struct Client {
    answers: Endpoint,
    root: Option<CPtr>,
    /// Free slots for what comes.
    offered: VecDeque<CPtr>,
    /// Requests under way.
    tickets: usize,
    /// What it has not been told. No more than it has asked for.
    waiting: VecDeque<Say>,
}

/// A request under way.
pub struct Asked {
    client: u32,
    ticket: u16,
    /// The monitor's own copy of what it is about; null if of nothing.
    pub cap: CPtr,
    what: Option<Identity>,
    /// Where the domain has it.
    pub place: Place,
    /// Retype: what, and where to.
    pub make: Option<(Make, Place)>,
}

impl Asked {
    /// Whether the capability it was made with is still there.
    pub fn is_held(&self) -> bool {
        self.what.is_some() && identify(self.cap).ok() == self.what
    }
}

/// What to do with what a domain has said.
pub enum Wanted {
    /// The owner is to be asked.
    Owner(u32, Request),
    /// Cores are to forget translations: an address space, first address, bytes, cores.
    Forget(u32, u32, u64, u64, Vec<CoreId>),
}

/// All of them.
#[derive(Default)]
pub struct Clients {
    all: BTreeMap<u32, Client>,
    asked: BTreeMap<u32, Asked>,
    /// Whose, and what, in the order in which it came.
    heard: VecDeque<(u32, Ask)>,
    token: u32,
    number: u32,
}

impl Clients {
    /// None yet; numbers begin behind `number`, so that those of an earlier life of this core mean nobody.
    pub fn new(number: u32) -> Self {
        Self { number, ..Self::default() }
    }

    /// A request.
    pub fn asked(&self, token: u32) -> Option<&Asked> {
        self.asked.get(&token)
    }

    /// Whether there is nobody.
    pub fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    /// A domain joins: its number.
    ///
    /// # Errors
    /// [`Refusal::Busy`].
    pub fn join(&mut self, answers: Endpoint) -> Result<u32, Refusal> {
        if self.all.len() >= MAX_CLIENTS {
            return Err(Refusal::Busy);
        }
        // Never 0: that is no badge.
        self.number = self.number.checked_add(1).unwrap_or(1);
        let (root, offered, waiting) = (None, VecDeque::new(), VecDeque::new());
        self.all.insert(self.number, Client { answers, root, offered, tickets: 0, waiting });
        Ok(self.number)
    }

    /// Takes out whom nobody could tell that it joined. It has asked for nothing.
    pub fn leave(&mut self, number: u32) {
        self.all.remove(&number);
    }

    /// Takes out whoever has ended; the slots that the monitor has of theirs. Not before all is settled that it has asked for: the
    /// CPU driver is still to put into its root what that makes, and the slot of that root would be another's.
    pub fn bury(&mut self) -> Vec<CPtr> {
        let gone = |_: &u32, client: &mut Client| client.tickets == 0 && client.answers.signal().is_err();
        let dead = self.all.extract_if(.., gone);
        dead.flat_map(|(_, client)| [Some(client.answers.0), client.root]).flatten().collect()
    }

    /// Takes in what the domain with this badge has said.
    pub fn hear(&mut self, message: &Message) {
        let number = message.badge as u32;
        let Some(client) = self.all.get_mut(&number) else { return };
        match Ask::from_words(&message.words) {
            Some(Ask::Space) if message.cap != CPtr::NULL && client.root.is_none() => {
                client.root = Some(message.cap);
            }
            Some(Ask::Offer { slot }) if client.offered.len() < MAX_OFFERED => {
                client.offered.push_back(CPtr(slot));
            }
            Some(ask) if ask.ticket().is_some() => {
                client.tickets += 1;
                self.heard.push_back((number, ask));
            }
            _ => {}
        }
    }

    /// Whether [`admit`](Self::admit) has something to do.
    pub fn has_heard(&self) -> bool {
        !self.heard.is_empty()
    }

    /// What is to be done about what domains have asked for. What is locked at the moment waits.
    pub fn admit(&mut self, mem: &mut Memory, me: CoreId) -> Vec<Wanted> {
        let mut wanted = Vec::new();
        for _ in 0..self.heard.len() {
            let Some((number, ask)) = self.heard.pop_front() else { break };
            let (Some(client), Some(ticket)) = (self.all.get_mut(&number), ask.ticket()) else { continue };
            let admitted = match client.tickets {
                0..=MAX_TICKETS => admit(client, mem, &ask),
                _ => Err(Refused::Because(Refusal::Busy)),
            };
            let (mut asked, request) = match admitted {
                Ok(admitted) => admitted,
                Err(Refused::Locked) => {
                    self.heard.push_back((number, ask));
                    continue;
                }
                Err(Refused::Because(why)) => {
                    client.settle(ticket, Err(why));
                    continue;
                }
            };
            self.token = self.token.wrapping_add(1);
            (asked.client, asked.ticket) = (number, ticket);
            self.asked.insert(self.token, asked);
            wanted.push(match (request, ask) {
                (None, Ask::Forget { space, base, len, cores, .. }) => {
                    let local = (0..64).filter(|n| cores >> n & 1 != 0);
                    let cores = local.map(|n| CoreId::new(me.island(), n)).collect();
                    Wanted::Forget(self.token, space, base, len, cores)
                }
                (None, _) => continue,
                (Some(request), _) => Wanted::Owner(self.token, request),
            });
        }
        wanted
    }

    /// A request has ended so; the slot of the monitor's that is free now.
    pub fn settled(&mut self, token: u32, result: Result<(), Refusal>) -> Option<CPtr> {
        let asked = self.asked.remove(&token)?;
        if let Some(client) = self.all.get_mut(&asked.client) {
            client.settle(asked.ticket, result);
        }
        (asked.cap != CPtr::NULL).then_some(asked.cap)
    }

    /// Where the next capability for a domain goes.
    ///
    /// # Errors
    /// [`Refusal::NotFound`]; [`Refusal::Busy`]: it has offered no slot.
    pub fn place_for(&self, number: u32) -> Result<Place, Refusal> {
        let client = self.all.get(&number).ok_or(Refusal::NotFound)?;
        let root = client.root.filter(|root| identify(*root).is_ok()).ok_or(Refusal::NotFound)?;
        client.offered.front().map(|at| Place { root, at: *at }).ok_or(Refusal::Busy)
    }

    /// It is there.
    pub fn arrived(&mut self, number: u32) {
        if let Some(client) = self.all.get_mut(&number)
            && let Some(slot) = client.offered.pop_front()
        {
            client.say(Say::Arrived { slot: slot.0 });
        }
    }

    /// Tells whoever had no room. Answers whether anybody still has none.
    pub fn flush(&mut self) -> bool {
        let mut left = false;
        for client in self.all.values_mut() {
            client.flush();
            left |= !client.waiting.is_empty();
        }
        left
    }
}

impl Client {
    fn say(&mut self, say: Say) {
        self.waiting.push_back(say);
        self.flush();
    }

    fn settle(&mut self, ticket: u16, result: Result<(), Refusal>) {
        self.tickets -= 1;
        self.say(Say::Settled(ticket, result));
    }

    fn flush(&mut self) {
        while let Some(say) = self.waiting.front() {
            match send(self.answers, say.words(), None) {
                // Event `ROOM` says when there is room. Who never reads has what it deserves, but no more than a limit.
                Err(Error::Full) if self.waiting.len() <= 2 * (MAX_TICKETS + MAX_OFFERED) => return,
                // It has ended.
                Ok(()) | Err(_) => drop(self.waiting.pop_front()),
            }
        }
    }
}

/// Why a request is not admitted.
enum Refused {
    /// Another operation is under way on the same object.
    Locked,
    Because(Refusal),
}

impl From<Refusal> for Refused {
    fn from(refusal: Refusal) -> Self {
        Self::Because(refusal)
    }
}

/// Copies what a request is about into a slot of the monitor's own, and looks at it.
fn admit(client: &Client, mem: &mut Memory, ask: &Ask) -> Result<(Asked, Option<Request>), Refused> {
    let root = client.root.ok_or(Refusal::BadRequest)?;
    let place = Place { root, at: CPtr(ask.cap()) };
    let mut asked = Asked { client: 0, ticket: 0, cap: CPtr::NULL, what: None, place, make: None };
    if matches!(ask, Ask::Forget { .. }) {
        return Ok((asked, None));
    }
    let at = mem.slot().map_err(|_| Refusal::NoMemory)?;
    if let Err(error) = ROOT.copy(root, place.at, at, Rights::all()) {
        mem.give_slot(at);
        return Err(if error == Error::Busy { Refused::Locked } else { Refusal::NoCap.into() });
    }
    let looked = identify(at).map_err(|_| Refusal::NoCap).and_then(|what| {
        let request = request(&what, ask)?;
        Ok((what, make(ask, root)?, request))
    });
    match looked {
        Ok((what, make, request)) => {
            (asked.cap, asked.what, asked.make) = (at, Some(what), make);
            Ok((asked, Some(request)))
        }
        Err(refusal) => {
            // Nobody has locked it since it was copied.
            let _empty = ROOT.delete(at);
            mem.give_slot(at);
            Err(refusal.into())
        }
    }
}

/// What a retype is to make, and where to.
fn make(ask: &Ask, root: CPtr) -> Result<Option<(Make, Place)>, Refusal> {
    let Ask::Retype { dest, what, count, first, pages, .. } = *ask else { return Ok(None) };
    let make = Make {
        ty: CapType::from_raw(what as u8).ok_or(Refusal::BadRequest)?,
        level: (what >> 8) as u8,
        rights: Rights::from_bits_truncate((what >> 16) as u8),
        offset: u64::from(first) * PAGE_SIZE,
        len: u64::from(pages) * PAGE_SIZE,
        count: count.into(),
    };
    Ok(Some((make, Place { root, at: CPtr(dest) })))
}

/// What the owner is asked for, if the domain may.
fn request(what: &Identity, ask: &Ask) -> Result<Request, Refusal> {
    let Identity { ty, rights, owner, base, len } = *what;
    let region = Region { ty, base, len };
    let needs = |needed| if rights.contains(needed) { Ok(()) } else { Err(Refusal::NoCap) };
    let what = match *ask {
        Ask::Transfer { rights: given, to, whom, .. } => {
            needs(Rights::from_bits(given).ok_or(Refusal::BadRequest)? | Rights::GRANT)?;
            What::Transfer { to, whom, rights: given }
        }
        Ask::Retype { what, count, first, pages, .. } => {
            needs(Rights::GRANT)?;
            let pages = pages.checked_mul(count.into()).ok_or(Refusal::BadRequest)?;
            let new = CapType::from_raw(what as u8).ok_or(Refusal::BadRequest)?;
            What::Retype { new, first, pages }
        }
        Ask::Revoke { copies, .. } => {
            needs(if copies { Rights::GRANT | Rights::CONTROL } else { Rights::GRANT })?;
            What::Revoke { copies }
        }
        Ask::Space | Ask::Offer { .. } | Ask::Forget { .. } => return Err(Refusal::BadRequest),
    };
    Ok(Request { owner, region, what })
}
