//! Step 3: the PCI domain. It gets the configuration space and the windows of each host, the interrupt lines, and the
//! controller's blocks for message lines.

use super::bundle::Verified;
use super::facts::Facts;
use alloc::vec::Vec;
use core::time::Duration;
use skerry_abi::domain::{Purpose, slot};
use skerry_abi::{CPtr, Rights};
use skerry_skb::{InterruptPart, InterruptPartKind, PciSpace, WireRecord};
use skerry_urpc::Transport;
use skerry_urpc::formats::pci::{ScanDone, WindowFound};
use skerry_user::cap::SELF;
use skerry_user::chan::{Chan, Peer};
use skerry_user::logging::{error, info, warn};
use skerry_user::spawn::{CHANNEL_EVENT, Child, Running, SpawnError};
use skerry_user::vspace::Mapping;
use skerry_user::{Domain, clock};

/// Memory shared with another island.
pub struct Window {
    /// Number of the link.
    pub link: u32,
    /// The window frame.
    pub cap: CPtr,
    /// Physical address.
    pub base: u64,
    /// Bytes.
    pub len: u64,
}

/// Records that the scan may add.
const SPARE: usize = 512;
/// RAM for it, page tables, tables of message lines and drivers included.
const RAM: u64 = 6 << 20;
/// How long it may take.
const PATIENCE: Duration = Duration::from_secs(20);

/// Runs the scan, if the machine has a PCI host; takes in what it found.
///
/// The domain stays: it starts drivers, and serves those who ask the monitor for them.
pub fn scan(
    domain: &mut Domain,
    bundle: &Verified,
    facts: &mut Facts,
    monitor: Option<&mut Child>,
) -> Vec<Window> {
    if facts.store.island(facts.cmdline.island).pci_hosts().next().is_none() {
        info!("pci: no host, so no links");
        return Vec::new();
    }
    let Some((child, chan, view)) = start(domain, bundle, facts, monitor) else {
        return Vec::new();
    };
    collect(domain, facts, child, chan, &view)
}

fn start(
    domain: &mut Domain,
    bundle: &Verified,
    facts: &Facts,
    monitor: Option<&mut Child>,
) -> Option<(Running, Chan, Mapping)> {
    let (frame, view, used) = facts.frame(domain, SPARE)?;
    let mut child = bundle.child(domain, "pci", domain.info.args())?;
    let island = facts.store.island(facts.cmdline.island);
    let give = || -> Result<Chan, SpawnError> {
        child.grant(slot::KERNEL, slot::KERNEL, Rights::CONSOLE | Rights::GRANT)?;
        // It hands lines on to drivers, and gives the controller the tables of message lines.
        child.grant(slot::IRQS, slot::IRQS, Rights::all())?;
        let (base, len) = bundle.range;
        child.give(Purpose::Bundle, bundle.frame, (base, len, 0), Rights::READ | Rights::GRANT)?;
        if let Some(monitor) = monitor {
            Child::connect(domain, (monitor, Peer::Monitor), (&mut child, Peer::Pci))?;
        }
        child.give_ram(domain, RAM)?;
        child.give(Purpose::Facts, frame.cap, (frame.base, frame.len, used), Rights::all())?;
        for host in island.pci_hosts() {
            if island.pci_windows(host.segment).is_empty() {
                // The firmware placed everything, and does not say within which ranges.
                for cap in domain.info.caps_for(Purpose::Device) {
                    child.give(Purpose::Device, cap.cptr, (cap.base, cap.len, 0), Rights::all())?;
                }
            }
            let windows = island.pci_windows(host.segment);
            let memory =
                windows.iter().filter(|window| window.space != PciSpace::Io).map(|window| window.cpu);
            let parts = island.all::<InterruptPart>();
            let parts = parts.filter(|part| part.kind != InterruptPartKind::Redistributors);
            let parts = parts.map(|part| part.range);
            for range in [host.ecam].into_iter().chain(memory).chain(parts) {
                match domain.device(range.base.0, range.len) {
                    Ok(cap) => {
                        let what = (range.base.0, range.len, u64::from(host.segment));
                        child.give(Purpose::Device, cap, what, Rights::all())?;
                    }
                    Err(error) => warn!("pci: {:#x} + {:#x}: {error}", range.base.0, range.len),
                }
            }
        }
        let wake = domain
            .mem
            .endpoint(SELF, CHANNEL_EVENT)
            .map_err(|error| SpawnError::Refused("own endpoint", error.into()))?;
        child.on_death(wake);
        child.connect_parent(domain, Peer::Init, wake, CHANNEL_EVENT)
    };
    let given = give().and_then(|chan| Ok((child.start(domain)?, chan)));
    let (running, chan) = given.inspect_err(|error| error!("pci: {error}; no links")).ok()?;
    Some((running, chan, view))
}

/// Waits for the scan's report.
fn collect(
    domain: &mut Domain,
    facts: &mut Facts,
    child: Running,
    mut chan: Chan,
    view: &Mapping,
) -> Vec<Window> {
    let mut windows = Vec::new();
    let deadline = clock::ticks() + clock::span(PATIENCE);
    loop {
        match chan.try_recv() {
            Ok(Some(message)) => {
                if let Some(found) = message.body::<WindowFound>() {
                    match child.fetch(domain, CPtr(found.cptr)) {
                        Ok(cap) => {
                            windows.push(Window { link: found.link, cap, base: found.base, len: found.len });
                        }
                        Err(error) => warn!("pci: link {}: {error}", found.link),
                    }
                } else if let Some(done) = message.body::<ScanDone>() {
                    let whole = done.facts.min(view.len) / size_of::<WireRecord>() as u64;
                    let mut bytes = alloc::vec![0; whole as usize * size_of::<WireRecord>()];
                    view.read(0, &mut bytes);
                    facts.take(&bytes);
                    info!("pci: {} functions, {} links", done.functions, windows.len());
                    return windows;
                }
                chan.kick();
            }
            Ok(None) => {
                chan.arm_wake();
                if clock::ticks() >= deadline || child.dispatcher.state() == Ok(3) {
                    error!("pci: the scan did not finish; {} links so far", windows.len());
                    return windows;
                }
                // Only the deadline can make it return without an event, and that is looked at above.
                let _came = SELF.wait(CHANNEL_EVENT, deadline);
            }
            Err(error) => {
                error!("pci: {error}");
                return windows;
            }
        }
    }
}
