//! `pci`: scans the PCI hosts, turns memory decoding on, reports facts and windows to `init`; then gives devices their
//! message lines and drivers, and stays to look after them.
#![no_std]
#![no_main]

extern crate alloc;

mod host;

use alloc::vec::Vec;
use core::cell::RefCell;
use host::drivers::{Drivers, Host};
use host::ecam::Ecam;
use host::messages::Messages;
use host::service::Service;
use skerry_abi::CapType;
use skerry_abi::domain::{ListedCap, Purpose};
use skerry_app_pci::{facts, scan};
use skerry_hal::PhysRange;
use skerry_skb::{CommandLine, Fact, Origin, Source, Store, View, WireRecord};
use skerry_urpc::Transport;
use skerry_urpc::formats::pci::{ScanDone, WindowFound};
use skerry_urpc::wire::{Header, encode};
use skerry_user::cap::SELF;
use skerry_user::chan::{Chan, Peer};
use skerry_user::logging::{error, warn};
use skerry_user::spawn::CHANNEL_EVENT;
use skerry_user::vspace::{R, RW};
use skerry_user::{Domain, Error, log};

skerry_user::main!(main);

fn main(mut domain: Domain) {
    let Ok(line) = CommandLine::parse(domain.info.args().as_bytes()) else { return };
    let Some(chan) = Chan::listed(&mut domain, Peer::Init) else { return };
    let monitor = Chan::listed(&mut domain, Peer::Monitor);
    let Some(cap) = domain.info.caps_for(Purpose::Facts).next() else { return };
    let Ok(view) = domain.map(cap.cptr, cap.len, RW) else {
        error!("the facts cannot be mapped");
        return;
    };
    let mut bytes = alloc::vec![0; cap.detail.min(cap.len) as usize];
    view.read(0, &mut bytes);
    let mut known = Store::default();
    if let Err(error) = known.read_from(&bytes) {
        error!("{error}");
    }
    let links: Vec<_> = line.links().collect();
    let island = known.island(line.island);
    let mut found = Store::default();
    let (mut functions, mut windows, mut hosts) = (0, Vec::new(), Vec::new());
    let domain = RefCell::new(domain);
    for host in island.pci_hosts() {
        let ranges = island.pci_windows(host.segment);
        let Some(mut ecam) = Ecam::open(&domain, &host) else {
            warn!("segment {}: configuration space cannot be mapped", host.segment);
            continue;
        };
        let scan = scan(&mut ecam, &host, &ranges);
        functions += scan.functions.len() as u32;
        for problem in &scan.problems {
            warn!("{problem}");
        }
        for fact in facts(&scan, &host, &ranges, &links) {
            if let Fact::Window(window) = fact {
                windows.push(window);
            }
            let origin = Origin { island: line.island, epoch: line.epoch, source: Source::Discovered };
            if let Err(error) = found.add(origin, fact) {
                warn!("{error}");
            }
        }
        hosts.push(Host { host, ecam, windows: ranges, scan });
    }
    let mut out = alloc::vec![0; (view.len as usize) / size_of::<WireRecord>() * size_of::<WireRecord>()];
    let used = found.write_to(&mut out).unwrap_or_else(|| {
        warn!("more facts than room for them");
        0
    });
    view.write(0, &out[..used]);
    let mut report = Report { chan };
    for window in &windows {
        report.window(&mut domain.borrow_mut(), u32::from(window.link), window.range);
    }
    let windows = windows.len() as u32;
    // `init` goes on once it has the report, and starts the console's driver: lines go there from now on.
    log::queue(monitor.is_some());
    report.send(&ScanDone { facts: used as u64, windows, functions, ..ScanDone::default() });
    let Some(mut monitor) = monitor else { return };
    match drivers(&domain, island, hosts) {
        Ok(drivers) => Service::new(drivers, monitor).run(),
        Err(error) => {
            error!("no drivers: {error}");
            log::flush(&mut monitor);
        }
    }
}

/// What drivers take: message lines, and the bundle that they are in.
fn drivers<'a>(
    domain: &'a RefCell<Domain>,
    island: View<'_>,
    hosts: Vec<Host<'a>>,
) -> Result<Drivers<'a>, Error> {
    let (mut messages, bundle, wake) = {
        let domain = &mut *domain.borrow_mut();
        let cap = domain.info.caps_for(Purpose::Bundle).next().ok_or(Error::EmptySlot)?;
        let view = domain.map(cap.cptr, cap.len, R)?;
        #[expect(unsafe_code, reason = "the bundle is memory that the boot loader wrote")]
        // SAFETY: boot glue took the bundle's memory out of RAM; every domain that has it has it read-only.
        let bundle = unsafe { view.bytes() };
        let wake = domain.mem.endpoint(SELF, CHANNEL_EVENT)?;
        (Messages::open(domain, island)?, bundle, wake)
    };
    Ok(Drivers::find(domain, hosts, &mut messages, bundle, wake))
}

struct Report {
    chan: Chan,
}

impl Report {
    fn send<B: skerry_urpc::wire::Body>(&mut self, body: &B) {
        // `init` reads at once; a channel has room for more windows than an island has links.
        if let Err(error) = self.chan.try_send(&encode(&Header::default(), body)) {
            warn!("the report: {error}");
        }
        self.chan.kick();
    }

    /// Cuts the window out of the host's memory, as a capability of its own.
    fn window(&mut self, domain: &mut Domain, link: u32, range: PhysRange) {
        let (base, len) = (range.base.0, range.len);
        let covers = |cap: &&ListedCap| cap.base <= base && base - cap.base + len <= cap.len;
        let Some(cap) = domain.info.caps_for(Purpose::Device).find(covers) else {
            warn!("link {link}: its window at {base:#x} is in no memory of the host");
            return;
        };
        match domain.mem.part_of(cap.cptr, CapType::WindowFrame, base - cap.base, len) {
            Ok(at) => self.send(&WindowFound { link, cptr: at.0, base, len, ..WindowFound::default() }),
            Err(error) => warn!("link {link}: its window: {error}"),
        }
    }
}
