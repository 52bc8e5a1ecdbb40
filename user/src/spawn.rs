//! A new domain, piece by piece: its spaces, its image, what it is told, what it is given; then it runs.
//!
//! A child is built by its parent through capabilities alone; the CPU driver knows nothing of processes (paper §4.6).

use crate::cap::{CNode, Configure, Dispatcher, Endpoint, Frame, ROOT, VNode};
use crate::chan::{Chan, PAGE_LAYOUT, Peer, Wake};
use crate::domain::Domain;
use crate::image::{self, Bad};
use crate::mem::Object;
use crate::vspace::{Mapping, R, RW, Space};
use alloc::boxed::Box;
use core::fmt;
use skerry_abi::dispatcher::event;
use skerry_abi::domain::{DomainInfo, IMAGE_VADDR, INFO_VADDR, PAGE_VADDR, Purpose, STACK_TOP, Tls, slot};
use skerry_abi::{CPtr, Error, PAGE_SIZE, Rights};
use zerocopy::IntoBytes;

/// Event bit that all channel peers of a domain raise.
pub const CHANNEL_EVENT: u64 = 1 << event::FIRST_USER;
/// Bytes of a child's stack.
pub const STACK: u64 = 128 << 10;

/// Why a child could not be made.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SpawnError {
    /// Its file cannot be loaded.
    Image(Bad),
    /// An invocation was refused while doing this.
    Refused(&'static str, Error),
    /// Its arguments or capabilities do not fit into its [`DomainInfo`].
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

/// A domain under construction.
pub struct Child {
    root: CNode,
    space: Space,
    dispatcher: Dispatcher,
    page: Object,
    info_page: Object,
    info: Box<DomainInfo>,
    entry: u64,
    next: u32,
    death: Option<Endpoint>,
}

impl Child {
    /// Makes the spaces of a domain and loads `file` into it.
    ///
    /// # Errors
    /// [`SpawnError`]; what was made so far is then lost, for nothing frees memory yet.
    pub fn load(domain: &mut Domain, name: &str, file: &[u8], args: &str) -> Result<Self, SpawnError> {
        let plan = image::plan(file, skerry_arch::user::ISA).map_err(SpawnError::Image)?;
        let root = CNode(domain.mem.cnode().during("root CNode")?.cap);
        let first = CNode(domain.mem.cnode().during("first CNode")?.cap);
        root.attach(first, 0).during("attaching")?;
        let mut space = Space::new(VNode(domain.mem.vnode(3).during("root table")?.cap));
        for segment in &plan.segments {
            let (frame, view) = domain.zeroed(segment.len, None).during("segment")?;
            view.write(segment.skip, &file[segment.from..segment.from + segment.bytes]);
            domain.unmap(view);
            let at = IMAGE_VADDR + segment.page;
            space
                .map_at(&mut domain.mem, at, frame.cap, 0, frame.len, segment.flags)
                .during("mapping the image")?;
        }
        let mut fresh = |domain: &mut Domain, at, len, flags| {
            let (frame, view) = domain.zeroed(len, None).during("frame")?;
            domain.unmap(view);
            space.map_at(&mut domain.mem, at, frame.cap, 0, frame.len, flags).during("mapping")?;
            Ok(frame)
        };
        fresh(domain, STACK_TOP - STACK, STACK, RW)?;
        let page = fresh(domain, PAGE_VADDR, PAGE_SIZE, RW)?;
        let info_page = fresh(domain, INFO_VADDR, PAGE_SIZE, R)?;
        let dispatcher = Dispatcher(domain.mem.dispatcher().during("dispatcher")?.cap);
        let mut info = Box::new(DomainInfo::new(domain.info.core));
        info.frequency = domain.info.frequency;
        info.arch_word = domain.info.arch_word;
        info.hw_id = domain.info.hw_id;
        if let Some(tls) = plan.tls {
            info.tls = Tls { addr: IMAGE_VADDR + tls.addr, ..tls };
        }
        let len = name.len().min(info.name.len());
        info.name[..len].copy_from_slice(&name.as_bytes()[..len]);
        if !info.set_args(args) {
            return Err(SpawnError::TooMuch);
        }
        let next = slot::FIRST_FREE.0;
        let entry = IMAGE_VADDR + plan.entry;
        let child = Self { root, space, dispatcher, page, info_page, info, entry, next, death: None };
        for (cap, at) in [
            (root.0, slot::ROOT),
            (child.space.root().0, slot::VSPACE),
            (dispatcher.0, slot::DISPATCHER),
            (page.cap, slot::PAGE),
            (info_page.cap, slot::INFO),
        ] {
            child.grant(cap, at, Rights::all())?;
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
        self.give(Purpose::Ram, ram.cap, (ram.base, ram.len, 0), Rights::all())?;
        // The child alone may spend it.
        domain.mem.delete(ram.cap).during("handing RAM over")
    }

    /// An endpoint of the child that says "look at your channels", in the parent's space.
    pub fn doorbell(&self, domain: &mut Domain) -> Result<Endpoint, SpawnError> {
        domain.mem.endpoint(self.dispatcher, CHANNEL_EVENT).during("endpoint")
    }

    fn list_channel(
        &mut self,
        frame: &Object,
        peer: Peer,
        side: u64,
        wake: Endpoint,
    ) -> Result<(), SpawnError> {
        let detail = peer as u64 | side << 32;
        self.give(Purpose::Channel, frame.cap, (frame.base, frame.len, detail), Rights::all())?;
        self.give(Purpose::Endpoint, wake.0, (0, 0, peer as u64), Rights::all()).map(drop)
    }

    /// Makes a channel between two children.
    pub fn connect(
        domain: &mut Domain,
        (one, one_is): (&mut Self, Peer),
        (other, other_is): (&mut Self, Peer),
    ) -> Result<(), SpawnError> {
        let (frame, view) = domain.zeroed(2 * PAGE_SIZE, None).during("channel")?;
        domain.unmap(view);
        let (one_wake, other_wake) = (one.doorbell(domain)?, other.doorbell(domain)?);
        one.list_channel(&frame, other_is, 0, other_wake)?;
        other.list_channel(&frame, one_is, 1, one_wake)
    }

    /// Makes a channel between the child and the parent. `wake` raises what the parent waits for, and the parent raises
    /// the child's events `bell`.
    pub fn connect_parent(
        &mut self,
        domain: &mut Domain,
        parent_is: Peer,
        wake: Endpoint,
        bell: u64,
    ) -> Result<Chan, SpawnError> {
        let (frame, view) = domain.zeroed(2 * PAGE_SIZE, None).during("channel")?;
        self.list_channel(&frame, parent_is, 0, wake)?;
        let bell = domain.mem.endpoint(self.dispatcher, bell).during("endpoint")?;
        let wake = Wake::Endpoint(bell);
        let (inbox, outbox) = (view.block(PAGE_SIZE, PAGE_SIZE), view.block(0, PAGE_SIZE));
        let (Ok(inbox), Ok(outbox)) = (inbox, outbox) else { return Err(SpawnError::TooMuch) };
        Chan::new(inbox, outbox, PAGE_LAYOUT, wake).map_err(|_| SpawnError::TooMuch)
    }

    /// Tells the child what it was given, and lets it run.
    pub fn start(mut self, domain: &mut Domain) -> Result<Running, SpawnError> {
        self.info.first_free = CPtr(self.next);
        let view: Mapping = domain.map(self.info_page.cap, PAGE_SIZE, RW).during("info page")?;
        view.write(0, self.info.as_bytes());
        domain.unmap(view);
        self.dispatcher
            .configure(&Configure {
                root: self.root,
                vspace: self.space.root(),
                page: Frame(self.page.cap),
                death: self.death,
                entry: self.entry,
                stack: STACK_TOP,
                arg: INFO_VADDR,
            })
            .during("configuring")?;
        self.dispatcher.start().during("starting")?;
        Ok(Running { root: self.root, dispatcher: self.dispatcher })
    }
}

/// A domain that was started.
#[derive(Clone, Copy, Debug)]
pub struct Running {
    /// Its root CNode.
    pub root: CNode,
    /// Its dispatcher.
    pub dispatcher: Dispatcher,
}

impl Running {
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
