//! Drivers: each a domain with the registers of its device, its message lines, RAM, and nothing else.
//!
//! What stays here is configuration space and the table of messages: a driver could write any word to any address with
//! it, and so raise what is not its own. One that has ended is cut off first (no message, no access to memory), then
//! its lines are free, then it is started anew.

use super::ecam::Ecam;
use super::messages::{Lines, Messages};
use alloc::format;
use alloc::vec::Vec;
use core::cell::RefCell;
use skerry_abi::dispatcher::State;
use skerry_abi::domain::{Purpose, slot};
use skerry_abi::{CPtr, PAGE_SIZE, Rights};
use skerry_app_pci::msix::{ENTRY, Msix, Place, VIRTIO, Virtio};
use skerry_app_pci::report::cores_see;
use skerry_app_pci::{Function, Scan};
use skerry_bundle::find_member;
use skerry_skb::{PciAddress, PciHost, PciWindow};
use skerry_urpc::formats::device::Arrived;
use skerry_urpc::formats::monitor::LogText;
use skerry_urpc::formats::proc::ProcessState;
use skerry_urpc::{Message, Transport};
use skerry_user::cap::Endpoint;
use skerry_user::chan::{Chan, PAGE_LAYOUT, Peer};
use skerry_user::log::{self, Unfinished};
use skerry_user::logging::{error, info, warn};
use skerry_user::spawn::{CHANNEL_EVENT, Child, Program, Running, SpawnError};
use skerry_user::vspace::{DEVICE, Mapping};
use skerry_user::{Domain, Error, ISA};

/// Devices that have drivers: vendor, device, the driver's name in the bundle, and the lines it uses.
const KNOWN: &[(u16, u16, &str, u16)] = &[(VIRTIO.0, VIRTIO.1 + 4, "rng", 1)];
/// How often a driver is started.
const MOST_STARTS: u16 = 32;
/// RAM that a driver gets to spend.
const RAM: u64 = 128 << 10;

/// Registers of a device, for its driver.
struct Part {
    cap: CPtr,
    /// Physical address and bytes of the structure, and which it is.
    what: (u64, u64, u64),
}

/// A driver, running or not.
pub struct Driver {
    /// Its name.
    pub name: &'static str,
    /// What it drives.
    pub at: PciAddress,
    /// Its lines.
    pub lines: Lines,
    /// How often it has been started.
    pub starts: u16,
    /// What it does, or how it ended.
    pub state: ProcessState,
    /// What fault ended it.
    pub code: u8,
    /// Interrupts it has had and when the last came, as it said last.
    pub arrived: Arrived,
    /// To it.
    pub chan: Option<Chan>,
    /// Its log line of which more is to come.
    pub line: Unfinished,
    running: Option<Running>,
    host: usize,
    msix: Msix,
    parts: Vec<Part>,
    args: alloc::string::String,
}

/// A PCI host, and the way to its functions.
pub struct Host<'a> {
    /// It.
    pub host: PciHost,
    /// Its configuration space.
    pub ecam: Ecam<'a>,
    /// Its windows.
    pub windows: Vec<PciWindow>,
    /// What was found.
    pub scan: Scan,
}

/// All drivers.
pub struct Drivers<'a> {
    domain: &'a RefCell<Domain>,
    hosts: Vec<Host<'a>>,
    bundle: &'static [u8],
    wake: Endpoint,
    /// Them.
    pub list: Vec<Driver>,
}

impl<'a> Drivers<'a> {
    /// Those of all devices that have one; none of them runs yet.
    pub fn find(
        domain: &'a RefCell<Domain>,
        mut hosts: Vec<Host<'a>>,
        messages: &mut Messages,
        bundle: &'static [u8],
        wake: Endpoint,
    ) -> Self {
        let mut list = Vec::new();
        for (index, host) in hosts.iter_mut().enumerate() {
            let Host { host, ecam, windows, scan } = host;
            for function in &scan.functions {
                let (vendor, device) = (function.vendor, function.device);
                let known = KNOWN.iter().find(|k| (k.0, k.1) == (vendor, device));
                let Some(&(_, _, name, lines)) = known else { continue };
                let mut maker = Maker { domain, ecam, host, windows, function, messages };
                match maker.make(index, name, lines) {
                    Ok(driver) => list.push(driver),
                    Err(why) => warn!("pci {}: no driver: {why}", function.address),
                }
            }
        }
        Self { domain, hosts, bundle, wake, list }
    }

    /// Starts a driver.
    pub fn start(&mut self, n: usize) {
        let Self { domain, hosts, bundle, wake, list } = self;
        let driver = &mut list[n];
        driver.msix.enable(&mut hosts[driver.host].ecam, driver.at);
        driver.starts += 1;
        match driver.spawn(&mut domain.borrow_mut(), bundle, *wake) {
            Ok(()) => info!("{}: started for pci {}, line {}", driver.name, driver.at, driver.lines.first),
            Err(why) => {
                driver.msix.disable(&mut hosts[driver.host].ecam, driver.at);
                driver.state = ProcessState::Vanished;
                error!("{}: {why}", driver.name);
            }
        }
    }

    /// Cuts off each driver that has ended, and starts it anew. Answers which ended.
    pub fn replace_dead(&mut self) -> Vec<usize> {
        let mut ended = Vec::new();
        for n in 0..self.list.len() {
            let driver = &mut self.list[n];
            let dead = |r: &mut Running| r.dispatcher.state() == Ok(State::Dead as u64);
            let Some(running) = driver.running.take_if(dead) else { continue };
            driver.msix.disable(&mut self.hosts[driver.host].ecam, driver.at);
            driver.last_words();
            driver.chan = None;
            let fault = running.dispatcher.fault().ok().flatten();
            if let Err(error) = running.reclaim(&mut self.domain.borrow_mut()) {
                error!("{}: what it was made of does not come back: {error}", driver.name);
            }
            (driver.state, driver.code) = match fault {
                Some(kind) => (ProcessState::Faulted, kind as u8),
                None => (ProcessState::Vanished, 0),
            };
            ended.push(n);
            if driver.starts < MOST_STARTS {
                warn!("{}: {}; starting it again", driver.name, driver.state.name());
                self.start(n);
            } else {
                error!("{}: ended for the {MOST_STARTS}th time; it stays so", driver.name);
            }
        }
        ended
    }

    /// Ends a driver; it is found dead after. Answers whether there is one of that name that runs.
    pub fn stop(&mut self, name: &[u8]) -> bool {
        let named = |driver: &&Driver| driver.name.as_bytes() == name && driver.running.is_some();
        let running = self.list.iter().find(named).and_then(|driver| driver.running.as_ref());
        running.is_some_and(|running| running.dispatcher.stop().is_ok())
    }
}

impl Driver {
    /// Passes on a piece of a line for the log; whether it was one.
    pub fn logs(&mut self, message: &Message) -> bool {
        let piece = message.body::<LogText>();
        if let Some((level, text)) = piece.as_ref().and_then(|piece| self.line.take(piece)) {
            log::pass_on(level, text);
        }
        piece.is_some()
    }

    /// Passes on what it said before it died. What it answered goes with it.
    fn last_words(&mut self) {
        for _ in 0..PAGE_LAYOUT.slots {
            let found = self.chan.as_mut().map(Transport::try_recv);
            let Some(Ok(Some(message))) = found else { break };
            self.logs(&message);
        }
        self.line = Unfinished::default();
    }

    fn spawn(&mut self, domain: &mut Domain, bundle: &[u8], wake: Endpoint) -> Result<(), SpawnError> {
        let missing = SpawnError::Refused("the bundle", Error::EmptySlot);
        let file = find_member(bundle, ISA.name(), self.name).ok_or(missing)?;
        let program = Program { name: self.name, file, args: &self.args };
        let mut child = Child::load_with(domain, &program, RAM)?;
        let mut give = || {
            child.grant(slot::KERNEL, slot::KERNEL, Rights::CONSOLE)?;
            child.grant(self.lines.cap, slot::IRQS, Rights::READ | Rights::WRITE)?;
            for part in &self.parts {
                child.give(
                    Purpose::Device,
                    part.cap,
                    part.what,
                    Rights::READ | Rights::WRITE | Rights::GRANT,
                )?;
            }
            child.on_death(wake);
            let chan = child.connect_parent(domain, Peer::Pci, wake, CHANNEL_EVENT)?;
            child.give_rest()?;
            Ok(chan)
        };
        match give() {
            Ok(chan) => (self.running, self.chan) = (Some(child.start(domain)?), Some(chan)),
            Err(error) => {
                child.abandon(domain);
                return Err(error);
            }
        }
        (self.state, self.code, self.arrived) = (ProcessState::Running, 0, Arrived::default());
        Ok(())
    }
}

/// What making a driver takes.
struct Maker<'m, 'a> {
    domain: &'m RefCell<Domain>,
    ecam: &'m mut Ecam<'a>,
    host: &'m PciHost,
    windows: &'m [PciWindow],
    function: &'m Function,
    messages: &'m mut Messages,
}

impl Maker<'_, '_> {
    fn make(&mut self, host: usize, name: &'static str, lines: u16) -> Result<Driver, alloc::string::String> {
        let msix = Msix::find(self.ecam, self.function).ok_or("it has no messages")?;
        let msix = msix.map_err(|bad| format!("its table of messages: {bad}"))?;
        let virtio = Virtio::find(self.ecam, self.function, Some(&msix));
        let virtio = virtio.map_err(|bad| format!("a structure: {bad}"))?;
        if msix.entries < lines {
            return Err(format!("it has {} messages, the driver wants {lines}", msix.entries));
        }
        let domain = &mut *self.domain.borrow_mut();
        let at = self.function.address;
        let refused = |error: Error| format!("{error}");
        let lines = self.messages.give(domain, at, lines).map_err(refused)?;
        let table = self.map(domain, &msix.table).map_err(refused)?;
        for (n, word) in (0..).zip(&lines.words) {
            let (view, entry) = (&table.0, table.1 + n * ENTRY);
            view.write32(entry, word.address as u32);
            view.write32(entry + 4, (word.address >> 32) as u32);
            view.write32(entry + 8, word.data);
            // Not masked.
            view.write32(entry + 12, 0);
        }
        let mut parts = Vec::new();
        for (which, place) in (1..).zip(virtio.places) {
            let Some(place) = place else { continue };
            let (first, base, bytes) = self.pages(&place);
            let cap = domain.device(first, bytes).map_err(refused)?;
            parts.push(Part { cap, what: (base, place.len, which) });
        }
        let args = format!("line={} step={}", lines.first, virtio.notify_step);
        let (state, starts, code, arrived) = (ProcessState::Vanished, 0, 0, Arrived::default());
        Ok(Driver {
            name,
            at,
            lines,
            starts,
            state,
            code,
            arrived,
            chan: None,
            line: Unfinished::default(),
            running: None,
            host,
            msix,
            parts,
            args,
        })
    }

    /// As the cores see them: a place's first page, its first byte, and the bytes of its pages.
    fn pages(&self, place: &Place) -> (u64, u64, u64) {
        let bars = &self.function.bars;
        // It was checked that there is one, and that it has a base.
        let seen = bars
            .iter()
            .find(|bar| bar.index == place.bar)
            .and_then(|bar| Some(cores_see(self.windows, self.host, bar.space, bar.base?, bar.size).base.0));
        let base = seen.unwrap_or(0) + place.offset;
        let first = base & !(PAGE_SIZE - 1);
        (first, base, (base + place.len).next_multiple_of(PAGE_SIZE) - first)
    }

    fn map(&self, domain: &mut Domain, place: &Place) -> Result<(Mapping, u64), Error> {
        let (first, base, bytes) = self.pages(place);
        let frame = domain.device(first, bytes)?;
        Ok((domain.map(frame, bytes, DEVICE)?, base - first))
    }
}
