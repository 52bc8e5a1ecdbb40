//! A new domain, piece by piece: its spaces, its image, what it is told, what it is given; then it runs. All of it is
//! made of one piece of RAM, a [`Room`].
//!
//! A child is built by its parent through capabilities alone; the CPU driver knows nothing of processes (paper §4.6).

mod places;
mod room;

pub use places::Places;
pub use room::{Estate, Room};

use crate::cap::{CNode, Configure, Dispatcher, Endpoint, Frame, ROOT, VNode};
use crate::chan::{Chan, PAGE_LAYOUT, Peer, Wake};
use crate::domain::Domain;
use crate::image::{self, Bad, Plan, Segment};
use crate::info::Info;
use crate::mem::Object;
use crate::thread::sched::RESUME_ROOM;
use crate::vspace::{Mapping, R, RW};
use alloc::boxed::Box;
use alloc::vec::Vec;
use core::fmt;
use room::{CHANNEL, forget};
use skerry_abi::cap::{CNODE_BYTES, DISPATCHER_BYTES};
use skerry_abi::dispatcher::event;
use skerry_abi::domain::{IMAGE_VADDR, INFO_VADDR, PAGE_VADDR, Purpose, STACK_TOP, Tls, slot};
use skerry_abi::{CPtr, CapType, Error, PAGE_SIZE, Rights};
use skerry_arch::user::ENTRY_SKEW;
use skerry_hal::MapFlags;
use skerry_hal::paging::ROOT_LEVEL;
use zerocopy::IntoBytes;

/// Event bit that all channel peers of a domain raise.
pub const CHANNEL_EVENT: u64 = 1 << event::FIRST_USER;
/// Event bit of a monitor: its process server has ended.
pub const SERVER_DEATH: u64 = 1 << (event::FIRST_USER + 3);
/// Event bit of a monitor: the console driver of its island has ended.
pub const CONSOLE_DEATH: u64 = 1 << (event::FIRST_USER + 4);
/// Bytes of a child's stack.
pub const STACK: u64 = 128 << 10;

/// Where the stack of a further dispatcher of a domain ends, on its core alone.
pub const FURTHER_TOP: u64 = STACK_TOP - (1 << 20);
/// Its bytes.
pub const FURTHER_STACK: u64 = 32 << 10;

/// Rights of a child to what it is made of and given: it must not take the parent's copies away, nor schedule itself.
pub const OWN: Rights = Rights::all().difference(Rights::CONTROL);

/// Why a child could not be made.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SpawnError {
    /// Its file cannot be loaded.
    Image(Bad),
    /// An invocation was refused while doing this.
    Refused(&'static str, Error),
    /// Its arguments or capabilities do not fit into its [`Info`].
    TooMuch,
}

impl fmt::Display for SpawnError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Image(bad) => write!(f, "its file: {bad}"),
            Self::Refused(what, error) => write!(f, "{what}: {error}"),
            Self::TooMuch => f.write_str("too many arguments or capabilities"),
        }
    }
}

trait During<T> {
    fn during(self, what: &'static str) -> Result<T, SpawnError>;
}

impl<T, E: Into<Error>> During<T> for Result<T, E> {
    fn during(self, what: &'static str) -> Result<T, SpawnError> {
        self.map_err(|error| SpawnError::Refused(what, error.into()))
    }
}

/// What a domain is to run.
#[derive(Clone, Copy, Debug)]
pub struct Program<'a> {
    /// Its name.
    pub name: &'a str,
    /// Its ELF file.
    pub file: &'a [u8],
    /// Its arguments, separated by spaces.
    pub args: &'a str,
}

/// Memory of a domain that its further dispatchers have as well.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Part {
    /// Where it is mapped.
    pub at: u64,
    /// What is mapped there, to be read and written.
    pub frame: Object,
}

/// What a further dispatcher of a domain begins with.
#[derive(Clone, Copy, Debug)]
pub struct Further<'a> {
    /// What can be written of the first dispatcher's image, and its stack.
    pub parts: &'a [Part],
    /// Where it starts.
    pub entry: u64,
    /// Pages of the image that it has for itself: from where to where.
    pub own: (u64, u64),
}

impl Further<'_> {
    fn part(&self, at: u64, len: u64) -> Result<&Part, SpawnError> {
        let part = self.parts.iter().find(|part| part.at == at && part.frame.len == len);
        part.ok_or(SpawnError::Refused("memory of the first dispatcher", Error::EmptySlot))
    }

    /// Checks what the program says.
    fn check(&self, plan: &Plan) -> Result<u64, SpawnError> {
        let (start, end) = self.own;
        let within = |s: &Segment| {
            let at = IMAGE_VADDR + s.page;
            s.flags.contains(MapFlags::WRITE) && start >= at && end <= at + s.len
        };
        let sound = start < end && (start | end).is_multiple_of(PAGE_SIZE);
        if sound && plan.segments.iter().any(within) {
            Ok(end - start)
        } else {
            Err(SpawnError::Refused("pages of its own", Error::BadArgument))
        }
    }
}

/// A domain under construction.
pub struct Child {
    room: Room,
    root: CNode,
    vspace: VNode,
    dispatcher: Dispatcher,
    page: Object,
    info_page: Object,
    info: Box<Info>,
    entry: u64,
    stack: u64,
    parts: Vec<Part>,
    next: u32,
    death: Option<Endpoint>,
    /// What the parent looks at of it.
    views: Vec<Mapping>,
}

impl Child {
    /// Makes the spaces of a domain out of the parent's RAM, and loads `file` into it.
    ///
    /// # Errors
    /// [`SpawnError`]; then nothing is left of it.
    pub fn load(domain: &mut Domain, name: &str, file: &[u8], args: &str) -> Result<Self, SpawnError> {
        Self::load_with(domain, &Program { name, file, args }, 0)
    }

    /// The same, with `grant` bytes of RAM more, for [`give_rest`](Self::give_rest).
    ///
    /// # Errors
    /// [`SpawnError`]; then nothing is left of it.
    pub fn load_with(domain: &mut Domain, program: &Program<'_>, grant: u64) -> Result<Self, SpawnError> {
        let plan = image::plan(program.file, skerry_arch::user::ISA).map_err(SpawnError::Image)?;
        let room = Room::take(domain, Room::need(&plan, grant))?;
        let estate = room.estate;
        let made = Self::furnish(domain, room, &plan, program, None);
        made.inspect_err(|_| forget(estate.reclaim(domain)))
    }

    /// Makes a further dispatcher of a domain that runs, which may be another core's, with `grant` bytes of RAM. What cannot be
    /// written of the image is this core's own copy.
    ///
    /// # Errors
    /// [`SpawnError`]; then nothing is left of it.
    pub fn further(
        domain: &mut Domain,
        program: &Program<'_>,
        how: &Further<'_>,
        grant: u64,
    ) -> Result<Self, SpawnError> {
        let plan = image::plan(program.file, skerry_arch::user::ISA).map_err(SpawnError::Image)?;
        let own = how.check(&plan)?;
        let room = Room::take(domain, Room::need_further(&plan, own, grant))?;
        let estate = room.estate;
        let made = Self::furnish(domain, room, &plan, program, Some(how));
        made.inspect_err(|_| forget(estate.reclaim(domain)))
    }

    fn furnish(
        domain: &mut Domain,
        mut room: Room,
        plan: &Plan,
        program: &Program<'_>,
        further: Option<&Further<'_>>,
    ) -> Result<Self, SpawnError> {
        let mut info = Box::new(Info::new(domain.info.core));
        info.frequency = domain.info.frequency;
        info.arch_word = domain.info.arch_word;
        info.hw_id = domain.info.hw_id;
        if let Some(tls) = plan.tls {
            info.tls = Tls { addr: IMAGE_VADDR + tls.addr, ..tls };
        }
        let len = program.name.len().min(info.name.len());
        info.name[..len].copy_from_slice(&program.name.as_bytes()[..len]);
        if !info.set_args(program.args) {
            return Err(SpawnError::TooMuch);
        }
        let root = CNode(room.make(CapType::CNode, 0, CNODE_BYTES).during("root CNode")?.cap);
        let first = CNode(room.make(CapType::CNode, 0, CNODE_BYTES).during("first CNode")?.cap);
        root.attach(first, 0).during("attaching")?;
        let vspace = VNode(room.make(CapType::VNode, ROOT_LEVEL, PAGE_SIZE).during("root table")?.cap);
        let mut parts = Vec::new();
        for segment in &plan.segments {
            let at = IMAGE_VADDR + segment.page;
            let writable = segment.flags.contains(MapFlags::WRITE);
            if let Some(how) = further.filter(|_| writable) {
                let frame = how.part(at, segment.len)?.frame;
                let own =
                    (how.own.0.clamp(at, at + segment.len) - at, how.own.1.clamp(at, at + segment.len) - at);
                for part in [(0, own.0), (own.1, segment.len)] {
                    room.map_part(vspace, at, &frame, part, segment.flags)
                        .during("mapping the first's image")?;
                }
                if own.0 < own.1 {
                    let fresh = room.make(CapType::Frame, 0, own.1 - own.0).during("pages of its own")?;
                    room.map(vspace, at + own.0, &fresh, segment.flags).during("mapping its own pages")?;
                }
                continue;
            }
            let frame = room.make(CapType::Frame, 0, segment.len).during("segment")?;
            let bytes = program.file.get(segment.from..segment.from + segment.bytes);
            let bytes = bytes.ok_or(SpawnError::Image(Bad::NotElf))?;
            if !bytes.is_empty() {
                let view = domain.map(frame.cap, frame.len, RW).during("mapping a segment")?;
                view.write(segment.skip, bytes);
                domain.unmap(view);
            }
            room.map(vspace, at, &frame, segment.flags).during("mapping the image")?;
            if writable {
                parts.push(Part { at, frame });
            }
        }
        let mut fresh = |at, len, flags| {
            let frame = room.make(CapType::Frame, 0, len).during("frame")?;
            room.map(vspace, at, &frame, flags).during("mapping")?;
            Ok(frame)
        };
        let (stack_at, stack) = match further {
            None => (STACK_TOP - STACK, STACK),
            Some(_) => (FURTHER_TOP - FURTHER_STACK, FURTHER_STACK),
        };
        let stack = fresh(stack_at, stack, RW)?;
        let page = fresh(PAGE_VADDR, PAGE_SIZE, RW)?;
        let info_page = fresh(INFO_VADDR, PAGE_SIZE, R)?;
        let dispatcher = room.make(CapType::Dispatcher, 0, DISPATCHER_BYTES).during("dispatcher")?;
        let dispatcher = Dispatcher(dispatcher.cap);
        let (entry, top) = match further {
            None => (IMAGE_VADDR + plan.entry, STACK_TOP),
            Some(how) => {
                let first = how.part(STACK_TOP - STACK, STACK)?;
                room.map(vspace, first.at, &first.frame, RW).during("mapping the first's stack")?;
                (how.entry, FURTHER_TOP - RESUME_ROOM - ENTRY_SKEW)
            }
        };
        parts.push(Part { at: stack_at, frame: stack });
        let next = slot::FIRST_FREE.0;
        let child = Self {
            room,
            root,
            vspace,
            dispatcher,
            page,
            info_page,
            info,
            entry,
            stack: top,
            parts,
            next,
            death: None,
            views: Vec::new(),
        };
        for (cap, at) in [
            (root.0, slot::ROOT),
            (vspace.0, slot::VSPACE),
            (dispatcher.0, slot::DISPATCHER),
            (page.cap, slot::PAGE),
            (info_page.cap, slot::INFO),
        ] {
            child.grant(cap, at, OWN)?;
        }
        Ok(child)
    }

    /// Sets its environment: words `KEY=VALUE`.
    pub fn set_env(&mut self, text: &str) -> Result<(), SpawnError> {
        if self.info.set_env(text) { Ok(()) } else { Err(SpawnError::TooMuch) }
    }

    /// Copies a capability to a well-known slot.
    pub fn grant(&self, cap: CPtr, at: CPtr, rights: Rights) -> Result<(), SpawnError> {
        self.root.copy_in(cap, at, rights).during("granting a capability")
    }

    /// Copies a capability to the next free slot and lists it.
    pub fn give(
        &mut self,
        purpose: Purpose,
        cap: CPtr,
        (base, len, detail): (u64, u64, u64),
        rights: Rights,
    ) -> Result<CPtr, SpawnError> {
        let at = CPtr(self.next);
        self.grant(cap, at, rights)?;
        self.next += 1;
        if self.info.list(purpose, at, base, len, detail) { Ok(at) } else { Err(SpawnError::TooMuch) }
    }

    /// Signals `endpoint` when the child dies.
    pub fn on_death(&mut self, endpoint: Endpoint) {
        self.death = Some(endpoint);
    }

    /// Makes a fresh RAM capability of `len` bytes and gives it to the child.
    pub fn give_ram(&mut self, domain: &mut Domain, len: u64) -> Result<(), SpawnError> {
        let ram = domain.mem.ram(len, PAGE_SIZE, None).during("RAM for the child")?;
        // The child alone may spend it, and take it back from whom it lends it to.
        self.give(Purpose::Ram, ram.cap, (ram.base, ram.len, 0), Rights::all())?;
        domain.mem.delete(ram.cap).during("handing RAM over")
    }

    /// Gives the child all RAM that is left of its room.
    pub fn give_rest(&mut self) -> Result<(), SpawnError> {
        let ram = self.room.rest().during("RAM for the child")?;
        self.give(Purpose::Ram, ram.cap, (ram.base, ram.len, 0), OWN).map(drop)
    }

    /// Makes a frame of `len` bytes for all dispatchers of the domain, of which there are to be `count`.
    ///
    /// # Errors
    /// [`SpawnError`].
    pub fn give_common(&mut self, len: u64, count: u64) -> Result<Object, SpawnError> {
        let frame = self.room.make(CapType::Frame, 0, len).during("common memory")?;
        self.have_common(&frame, count)?;
        Ok(frame)
    }

    /// Gives a further dispatcher the frame that the first has.
    ///
    /// # Errors
    /// [`SpawnError`].
    pub fn have_common(&mut self, frame: &Object, count: u64) -> Result<(), SpawnError> {
        self.give(Purpose::Common, frame.cap, (frame.base, frame.len, count), OWN).map(drop)
    }

    /// An endpoint of the child, for the parent, that raises `bits`.
    pub fn endpoint(&mut self, bits: u64) -> Result<Endpoint, SpawnError> {
        let at = self.room.slot().during("a slot")?;
        self.dispatcher.endpoint(bits, at).during("endpoint")
    }

    /// An endpoint of the child that says "look at your channels", in the parent's space.
    pub fn doorbell(&mut self) -> Result<Endpoint, SpawnError> {
        self.endpoint(CHANNEL_EVENT)
    }

    fn list_channel(
        &mut self,
        frame: &Object,
        peer: Peer,
        side: u64,
        wake: Endpoint,
    ) -> Result<(), SpawnError> {
        let detail = peer as u64 | side << 32;
        self.give(Purpose::Channel, frame.cap, (frame.base, frame.len, detail), OWN)?;
        self.give(Purpose::Endpoint, wake.0, (0, 0, peer as u64), OWN).map(drop)
    }

    /// Makes a channel between two children.
    pub fn connect(
        domain: &mut Domain,
        (one, one_is): (&mut Self, Peer),
        (other, other_is): (&mut Self, Peer),
    ) -> Result<(), SpawnError> {
        let (frame, view) = domain.zeroed(2 * PAGE_SIZE, None).during("channel")?;
        domain.unmap(view);
        let (one_wake, other_wake) = (one.doorbell()?, other.doorbell()?);
        one.list_channel(&frame, other_is, 0, other_wake)?;
        other.list_channel(&frame, one_is, 1, one_wake)
    }

    /// Makes a channel between the child and the parent. `wake` raises what the parent waits for, and the parent raises
    /// the child's events `bell`. The channel is to be dropped before the child's
    /// memory is taken back.
    pub fn connect_parent(
        &mut self,
        domain: &mut Domain,
        parent_is: Peer,
        wake: Endpoint,
        bell: u64,
    ) -> Result<Chan, SpawnError> {
        let frame = self.room.make(CapType::Frame, 0, CHANNEL).during("channel")?;
        self.list_channel(&frame, parent_is, 0, wake)?;
        let wake = Wake::Endpoint(self.endpoint(bell)?);
        let view = domain.map(frame.cap, frame.len, RW).during("mapping a channel")?;
        let (inbox, outbox) = (view.block(PAGE_SIZE, PAGE_SIZE), view.block(0, PAGE_SIZE));
        self.views.push(view);
        let (Ok(inbox), Ok(outbox)) = (inbox, outbox) else { return Err(SpawnError::TooMuch) };
        Chan::new(inbox, outbox, PAGE_LAYOUT, wake).map_err(|_| SpawnError::TooMuch)
    }

    /// Bytes of RAM that it is made of, its own share included.
    pub const fn bytes(&self) -> u64 {
        self.room.estate.ram.len
    }

    /// Takes back all that it was made of.
    pub fn abandon(self, domain: &mut Domain) {
        let Self { room, views, .. } = self;
        views.into_iter().for_each(|view| domain.unmap(view));
        forget(room.estate.reclaim(domain));
    }

    /// Tells the child what it was given, and lets it run.
    ///
    /// # Errors
    /// [`SpawnError`]; then nothing is left of it.
    pub fn start(self, domain: &mut Domain) -> Result<Running, SpawnError> {
        self.start_with(domain, |_, _| Ok(()))
    }

    /// The same, with something done before it runs: rings may be made of its dispatcher.
    ///
    /// # Errors
    /// As [`start`](Self::start).
    pub fn start_with(
        mut self,
        domain: &mut Domain,
        before: impl FnOnce(&mut Domain, Dispatcher) -> Result<(), SpawnError>,
    ) -> Result<Running, SpawnError> {
        if let Err(error) = self.launch(domain, before) {
            self.abandon(domain);
            return Err(error);
        }
        let Self { root, dispatcher, room, views, parts, .. } = self;
        Ok(Running { root, dispatcher, estate: room.estate, views, parts })
    }

    fn launch(
        &mut self,
        domain: &mut Domain,
        before: impl FnOnce(&mut Domain, Dispatcher) -> Result<(), SpawnError>,
    ) -> Result<(), SpawnError> {
        self.info.first_free = CPtr(self.next);
        let view: Mapping = domain.map(self.info_page.cap, PAGE_SIZE, RW).during("info page")?;
        view.write(0, self.info.as_bytes());
        domain.unmap(view);
        self.dispatcher
            .configure(&Configure {
                root: self.root,
                vspace: self.vspace,
                page: Frame(self.page.cap),
                death: self.death,
                entry: self.entry,
                stack: self.stack,
                arg: INFO_VADDR,
            })
            .during("configuring")?;
        before(domain, self.dispatcher)?;
        self.dispatcher.start().during("starting")
    }
}

/// A domain that was started.
#[derive(Debug)]
pub struct Running {
    /// Its root CNode.
    pub root: CNode,
    /// Its dispatcher.
    pub dispatcher: Dispatcher,
    /// What it is made of.
    estate: Estate,
    views: Vec<Mapping>,
    /// What further dispatchers of it have as well.
    pub parts: Vec<Part>,
}

impl Running {
    /// Bytes of RAM that it is made of, its own share included.
    pub const fn bytes(&self) -> u64 {
        self.estate.ram.len
    }

    /// Ends it, and takes back all that it was made of. Its channel to the parent must be dropped before.
    ///
    /// # Errors
    /// What the CPU driver answers; then the RAM stays with what was made of it.
    pub fn reclaim(self, domain: &mut Domain) -> Result<(), Error> {
        self.end(domain).reclaim(domain)
    }

    /// Ends it; what it was made of is to be [taken back](Estate::reclaim).
    pub fn end(self, domain: &mut Domain) -> Estate {
        // It may have ended by itself.
        let _refused = self.dispatcher.stop();
        self.views.into_iter().for_each(|view| domain.unmap(view));
        self.estate
    }

    /// Copies the capability at `at` in the child's space to the own space.
    ///
    /// # Errors
    /// What the CPU driver answers.
    pub fn fetch(&self, domain: &mut Domain, at: CPtr) -> Result<CPtr, Error> {
        let to = domain.mem.slot()?;
        ROOT.copy(self.root.0, at, to, Rights::all()).inspect_err(|_| domain.mem.give_slot(to))?;
        Ok(to)
    }
}
