//! Step 4: monitor, console, shell and knowledge base, with channels between them; then everything that is left goes to the monitor.

use super::bundle::Verified;
use super::facts::Facts;
use super::pci::Window;
use alloc::vec::Vec;
use skerry_abi::domain::{Purpose, slot};
use skerry_abi::lrpc::FIRST_OFFSET;
use skerry_abi::{CPtr, CapType, Rights};
use skerry_skb::ConsoleKind;
use skerry_user::Domain;
use skerry_user::cap::{Dispatcher, Endpoint};
use skerry_user::chan::Peer;
use skerry_user::logging::{error, info, warn};
use skerry_user::mem::{MemError, Object};
use skerry_user::ram::Piece;
use skerry_user::remote::BROKER_SLOTS;
use skerry_user::spawn::{CHANNEL_EVENT, CONSOLE_DEATH, Child, Running, SERVER_DEATH, SpawnError};

/// RAM of a small domain.
const SMALL: u64 = 256 << 10;

/// RAM of the knowledge base beside what it starts with: what its limits on facts and tuples come to.
const SKB: u64 = 12 << 20;

/// Starts all of them, as far as possible.
pub fn start(
    domain: &mut Domain,
    bundle: &Verified,
    facts: &Facts,
    windows: &[Window],
    mut monitor: Option<Child>,
) {
    let args = domain.info.args();
    let frame = facts.frame(domain, 0).map(|(frame, view, used)| {
        domain.unmap(view);
        (frame, used)
    });
    let mut console = bundle.child(domain, "console", args);
    let mut shell = bundle.child(domain, "shell", args);
    let mut proc = bundle.child(domain, "proc", args);
    let mut skb = bundle.child(domain, "skb", args);
    join(domain, (&mut monitor, Peer::Monitor), (&mut console, Peer::Console));
    join(domain, (&mut monitor, Peer::Monitor), (&mut shell, Peer::Shell));
    join(domain, (&mut monitor, Peer::Monitor), (&mut proc, Peer::Proc));
    join(domain, (&mut monitor, Peer::Monitor), (&mut skb, Peer::Skb));
    if let (Some(monitor), Some(proc)) = (&mut monitor, &mut proc) {
        match monitor.endpoint(SERVER_DEATH) {
            Ok(endpoint) => proc.on_death(endpoint),
            Err(error) => warn!("the monitor will not hear of the process server's end: {error}"),
        }
    }
    if let (Some(monitor), Some(console)) = (&mut monitor, &mut console) {
        match monitor.endpoint(CONSOLE_DEATH) {
            Ok(endpoint) => console.on_death(endpoint),
            Err(error) => warn!("the monitor will not hear of the console driver's end: {error}"),
        }
    }
    join(domain, (&mut console, Peer::Console), (&mut shell, Peer::Shell));
    if let Some(child) = shell {
        run(domain, "shell", child, small_caps);
    }
    if let Some(child) = skb {
        run(domain, "skb", child, |domain, child| {
            child.grant(slot::KERNEL, slot::KERNEL, Rights::CONSOLE)?;
            give_facts(child, frame)?;
            child.give_ram(domain, SKB)
        });
    }
    // They take their share before the monitor gets the rest, but start after it: the process server is given an endpoint
    // of the monitor's first ring.
    let console = console.and_then(|mut child| {
        let given = console_caps(domain, &mut child, facts, frame);
        given.map(|()| child).inspect_err(|error| error!("console: {error}")).ok()
    });
    let proc = proc.and_then(|mut child| {
        let given = proc_caps(domain, &mut child, bundle, facts);
        given.map(|()| child).inspect_err(|error| error!("proc: {error}")).ok()
    });
    let mut ring = None;
    if let Some(mut child) = monitor {
        let given = monitor_caps(domain, &mut child, bundle, windows, frame);
        let make = |domain: &mut Domain, of| broker(domain, of).map(|made| ring = Some(made));
        started("monitor", given.and_then(|()| child.start_with(domain, make)));
    }
    if let Some(child) = proc {
        run(domain, "proc", child, |_, child| match ring {
            Some(ring) => {
                let rights = Rights::SIGNAL | Rights::GRANT;
                child.give(Purpose::Endpoint, ring.0, (0, 0, Peer::Broker as u64), rights).map(drop)
            }
            None => Ok(()),
        });
    }
    // Last, and without a word after: from then on the device is the driver's alone.
    if let Some(child) = console {
        info!("console: starting");
        if let Err(error) = child.start(domain) {
            error!("console: {error}");
        }
    }
}

/// Makes the monitor's first ring, by which programs talk to it; its endpoint is for the process server.
fn broker(domain: &mut Domain, monitor: Dispatcher) -> Result<Endpoint, SpawnError> {
    let refused = |error| SpawnError::Refused("the monitor's ring", error);
    let at = domain.mem.slot().map_err(|error| refused(error.into()))?;
    let ring = monitor.ring(CHANNEL_EVENT, at, FIRST_OFFSET, BROKER_SLOTS.into(), 0);
    ring.map(|(endpoint, _)| endpoint).map_err(refused)
}

fn join(domain: &mut Domain, one: (&mut Option<Child>, Peer), other: (&mut Option<Child>, Peer)) {
    if let (Some(one_child), Some(other_child)) = (one.0, other.0)
        && let Err(error) = Child::connect(domain, (one_child, one.1), (other_child, other.1))
    {
        error!("no channel between {:?} and {:?}: {error}", one.1, other.1);
    }
}

fn run(
    domain: &mut Domain,
    name: &str,
    mut child: Child,
    give: impl FnOnce(&mut Domain, &mut Child) -> Result<(), SpawnError>,
) {
    started(name, give(domain, &mut child).and_then(|()| child.start(domain)));
}

fn started(name: &str, result: Result<Running, SpawnError>) {
    match result {
        Ok(_) => info!("{name}: started"),
        Err(error) => error!("{name}: {error}"),
    }
}

fn small_caps(domain: &mut Domain, child: &mut Child) -> Result<(), SpawnError> {
    child.grant(slot::KERNEL, slot::KERNEL, Rights::CONSOLE)?;
    child.give_ram(domain, SMALL)
}

/// The console driver gets its device, whichever kind it is, and its line.
fn console_caps(
    domain: &mut Domain,
    child: &mut Child,
    facts: &Facts,
    frame: Option<(Object, u64)>,
) -> Result<(), SpawnError> {
    small_caps(domain, child)?;
    give_facts(child, frame)?;
    let Some(console) = facts.store.island(facts.cmdline.island).console() else {
        warn!("console: the firmware names none");
        return Ok(());
    };
    let (base, len) = (console.base.base.0, console.base.len.max(1));
    let mut part = |child: &Child, whole, ty, what, first, len| {
        let cap =
            domain.mem.part_of(whole, ty, first, len).map_err(|e| SpawnError::Refused(what, e.into()))?;
        child.grant(cap, whole, Rights::all())
    };
    if let Some(line) = console.line {
        part(child, slot::IRQS, CapType::Irq, "the UART's line", line.into(), 1)?;
    }
    if console.kind == ConsoleKind::Uart16550Port {
        part(child, slot::PORTS, CapType::IoPort, "the UART's ports", base, UART_PORTS)?;
    } else {
        let first = base & !(skerry_abi::PAGE_SIZE - 1);
        let bytes = (base + len).next_multiple_of(skerry_abi::PAGE_SIZE) - first;
        let cap = domain.device(first, bytes).map_err(|e| SpawnError::Refused("the UART", e))?;
        child.give(Purpose::Device, cap, (first, bytes, 0), Rights::all())?;
    }
    Ok(())
}

/// I/O ports of a 16550.
const UART_PORTS: u64 = 8;

fn give_facts(child: &mut Child, frame: Option<(Object, u64)>) -> Result<(), SpawnError> {
    let Some((frame, used)) = frame else { return Ok(()) };
    let what = (frame.base, frame.len, used);
    child.give(Purpose::Facts, frame.cap, what, Rights::READ | Rights::GRANT).map(drop)
}

/// The process server gets the bundle, and this core's share of its node's RAM.
fn proc_caps(
    domain: &mut Domain,
    child: &mut Child,
    bundle: &Verified,
    facts: &Facts,
) -> Result<(), SpawnError> {
    child.grant(slot::KERNEL, slot::KERNEL, Rights::CONSOLE | Rights::GRANT)?;
    // Domains over several cores ring each other.
    child.grant(slot::CORES, slot::CORES, Rights::SIGNAL | Rights::GRANT)?;
    let (base, len) = bundle.range;
    child.give(Purpose::Bundle, bundle.frame, (base, len, 0), Rights::READ | Rights::GRANT)?;
    let island = facts.store.island(facts.cmdline.island);
    let node = island.node_of(domain.info.core.local()).unwrap_or(0);
    let beside = island.cores().iter().filter(|core| core.node == node).count() as u64;
    let share = domain.mem.free_on(node) / (beside + 1);
    child.give_ram(domain, share.max(PROC) & !(skerry_abi::PAGE_SIZE - 1))
}

/// RAM for the programs of this core, at least.
const PROC: u64 = 2 << 20;

/// The monitor gets all that is left.
fn monitor_caps(
    domain: &mut Domain,
    child: &mut Child,
    bundle: &Verified,
    windows: &[Window],
    frame: Option<(Object, u64)>,
) -> Result<(), SpawnError> {
    for cap in [slot::KERNEL, slot::CORES] {
        child.grant(cap, cap, Rights::all())?;
    }
    give_facts(child, frame)?;
    let (base, len) = bundle.range;
    child.give(Purpose::Bundle, bundle.frame, (base, len, 0), Rights::READ | Rights::GRANT)?;
    for window in windows {
        let what = (window.base, window.len, u64::from(window.link));
        child.give(Purpose::Window, window.cap, what, Rights::all())?;
    }
    // What starting it takes: slots, tables and a page to tell it all that.
    let refused = |error: MemError| SpawnError::Refused("RAM for the monitor", error.into());
    let own = domain.mem.take(OWN, skerry_abi::PAGE_SIZE, None);
    let rest: Vec<Piece> = core::iter::from_fn(|| domain.mem.take_largest()).collect();
    if let Some(own) = own {
        domain.mem.give_back(&own).map_err(refused)?;
    }
    for piece in rest.iter().filter(|piece| piece.len >= LEAST).take(MOST) {
        let ram = domain.mem.ram_of(piece).map_err(refused)?;
        child.give(Purpose::Ram, ram.cap, (ram.base, ram.len, piece.node.into()), Rights::all())?;
        delete(domain, ram.cap);
    }
    Ok(())
}

/// RAM that `init` keeps for itself.
const OWN: u64 = 128 << 10;
/// Pieces of RAM smaller than this are not worth a capability.
const LEAST: u64 = 64 << 10;
/// Pieces that fit into what a domain is told, beside the rest.
const MOST: usize = 32;

fn delete(domain: &mut Domain, cap: CPtr) {
    if let Err(error) = domain.mem.delete(cap) {
        warn!("RAM stays with init: {error}");
    }
}
