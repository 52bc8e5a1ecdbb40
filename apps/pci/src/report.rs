//! What a scan found, as facts.

use crate::{Function, Scan};
use alloc::vec::Vec;
use skerry_hal::{PhysAddr, PhysRange};
use skerry_skb::{Fact, Link, PciBar, PciDevice, PciHost, PciSpace, PciWindow, Window};

/// The device that shares memory between machines (QEMU, *Inter-VM Shared Memory device*), and the BAR that holds it.
const SHARED_MEMORY: (u16, u16, u8) = (0x1af4, 0x1110, 2);
/// Less is no window.
const LEAST: u64 = 4096;

/// The functions, their placed BARs, and the windows to other islands. `links` say which device leads where; a window
/// that no link names is reported without a peer.
pub fn facts(scan: &Scan, host: &PciHost, windows: &[PciWindow], links: &[Link]) -> Vec<Fact> {
    let mut facts = Vec::new();
    let mut unnamed = links.len();
    for function in &scan.functions {
        facts.push(device(function).into());
        for bar in &function.bars {
            let Some(range) = bar.base.map(|base| cores_see(windows, host, bar.space, base, bar.size)) else {
                continue;
            };
            let (address, index) = (function.address, bar.index);
            let space = bar.space;
            facts.push(PciBar { address, index, space, prefetchable: bar.prefetchable, range }.into());
            let is_window = (function.vendor, function.device, index) == SHARED_MEMORY;
            if !is_window || space == PciSpace::Io || range.len < LEAST {
                continue;
            }
            let on_first = address.bus == host.first_bus && address.function == 0;
            let named = links.iter().position(|link| on_first && link.device == address.device);
            let link = named.unwrap_or(unnamed);
            unnamed += usize::from(named.is_none());
            let peer = named.map(|at| links[at].peer);
            facts.push(Window { link: link as u16, address, range, peer }.into());
        }
    }
    facts
}

fn device(function: &Function) -> PciDevice {
    let Function { address, vendor, device, class, pin, noted_line, .. } = *function;
    PciDevice { address, vendor, device, class, pin, noted_line }
}

/// A device's address as the cores see it. Where the host's windows are unknown, it is the same (a PC).
pub fn cores_see(windows: &[PciWindow], host: &PciHost, space: PciSpace, base: u64, size: u64) -> PhysRange {
    let is_io = space == PciSpace::Io;
    let found = windows.iter().filter(|w| w.segment == host.segment && (w.space == PciSpace::Io) == is_io);
    let cpu = found.into_iter().find_map(|window| {
        let offset = base.checked_sub(window.pci)?;
        (offset.checked_add(size)? <= window.cpu.len).then(|| window.cpu.base.checked_add(offset))?
    });
    PhysRange::new(cpu.unwrap_or(PhysAddr(base)), size)
}
