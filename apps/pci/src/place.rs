//! Placing BARs, opening bridges, turning on.
//!
//! What the firmware placed stays, if it does not overlap and lies in a window of the host. The rest is placed one
//! after another, in the order of the scan, so that all that is behind one bridge lies together, as the bridge needs
//! it. Ports are never placed: nothing here needs them.

use crate::config::{command, register};
use crate::{Bar, ConfigSpace, Scan, Trouble, Width, bar};
use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use skerry_skb::{PciAddress, PciHost, PciSpace, PciWindow};

/// What a bridge passes on begins and ends at multiples of this.
const BRIDGE_GRAIN: u64 = 1 << 20;

/// Places and turns on all functions of a scan.
pub fn all(config: &mut dyn ConfigSpace, host: &PciHost, windows: &[PciWindow], scan: &mut Scan) {
    let windows: Vec<&PciWindow> = windows.iter().filter(|w| w.segment == host.segment).collect();
    let mut placer = Placer {
        config,
        low: Pool::largest(&windows, PciSpace::Memory32),
        high: Pool::largest(&windows, PciSpace::Memory64),
        memory: Spans::default(),
        ports: Spans::default(),
    };
    placer.keep(&windows, scan);
    placer.bus(None, scan);
    for at in 0..scan.functions.len() {
        placer.turn_on(at, scan);
    }
}

/// Address ranges that do not overlap, by first address, with their ends.
#[derive(Default)]
struct Spans(BTreeMap<u64, u64>);

impl Spans {
    /// The end of a span that overlaps `base..end`.
    fn overlap(&self, base: u64, end: u64) -> Option<u64> {
        self.0.range(..end).next_back().map(|(_, &other)| other).filter(|&other| other > base)
    }

    /// Adds a span, unless it overlaps.
    fn add(&mut self, base: u64, size: u64) -> bool {
        let free = self.overlap(base, base + size).is_none();
        if free {
            self.0.insert(base, base + size);
        }
        free
    }
}

/// The part of a window that is not yet given away.
#[derive(Clone, Copy)]
struct Pool {
    next: u64,
    end: u64,
}

impl Pool {
    fn largest(windows: &[&PciWindow], space: PciSpace) -> Self {
        let fit = windows.iter().filter(|w| w.space == space && w.pci.checked_add(w.cpu.len).is_some());
        let largest = fit.max_by_key(|window| window.cpu.len);
        largest.map_or(Self { next: 0, end: 0 }, |w| Self { next: w.pci, end: w.pci + w.cpu.len })
    }

    /// Room for `size` bytes at a multiple of `size`, past all that is taken. Address 0 means "not placed" to a
    /// device, so it is never given.
    fn take(&mut self, size: u64, taken: &mut Spans) -> Option<u64> {
        let mut base = self.next.max(1).checked_next_multiple_of(size)?;
        loop {
            let end = base.checked_add(size).filter(|&end| end <= self.end)?;
            match taken.overlap(base, end) {
                Some(past) => base = past.checked_next_multiple_of(size)?,
                None => {
                    self.next = end;
                    taken.add(base, size);
                    return Some(base);
                }
            }
        }
    }

    fn align(&mut self) -> u64 {
        self.next = self.next.checked_next_multiple_of(BRIDGE_GRAIN).unwrap_or(u64::MAX);
        self.next
    }
}

struct Placer<'a> {
    config: &'a mut dyn ConfigSpace,
    low: Pool,
    high: Pool,
    memory: Spans,
    ports: Spans,
}

impl Placer<'_> {
    /// Notes what the firmware placed. A BAR outside all windows is as good as not placed.
    fn keep(&mut self, windows: &[&PciWindow], scan: &mut Scan) {
        let has_memory = windows.iter().any(|window| window.space != PciSpace::Io);
        for at in 0..scan.functions.len() {
            for n in 0..scan.functions[at].bars.len() {
                let bar = scan.functions[at].bars[n];
                let Some(base) = bar.base else { continue };
                let is_io = bar.space == PciSpace::Io;
                let inside = windows.iter().any(|w| {
                    let offset = base.checked_sub(w.pci).and_then(|offset| offset.checked_add(bar.size));
                    w.space != PciSpace::Io && offset.is_some_and(|end| end <= w.cpu.len)
                });
                let spans = if is_io { &mut self.ports } else { &mut self.memory };
                let outside = has_memory && !is_io && !inside;
                if outside || !spans.add(base, bar.size) {
                    scan.functions[at].bars[n].base = None;
                    if !outside {
                        let address = scan.functions[at].address;
                        scan.problem(address, Trouble::Overlap { index: bar.index });
                    }
                }
            }
        }
    }

    /// Places what is not placed, on one bus and behind its bridges. As deep as the tree of buses.
    fn bus(&mut self, behind: Option<usize>, scan: &mut Scan) {
        for at in 0..scan.functions.len() {
            if scan.functions[at].behind != behind {
                continue;
            }
            self.function(at, scan);
            let Some(bridge) = scan.functions[at].bridge else { continue };
            if !bridge.numbered {
                self.bus(Some(at), scan);
                continue;
            }
            let start = (self.low.align(), self.high.align());
            self.bus(Some(at), scan);
            let end = (self.low.align(), self.high.align());
            self.open(at, start, end, scan);
        }
    }

    fn function(&mut self, at: usize, scan: &mut Scan) {
        let (address, behind) = (scan.functions[at].address, scan.functions[at].behind);
        // What a bridge that the firmware opened passes on is the firmware's to know.
        let closed = behind.and_then(|b| scan.functions[b].bridge).is_some_and(|bridge| !bridge.numbered);
        for n in 0..scan.functions[at].bars.len() {
            let bar = scan.functions[at].bars[n];
            if bar.base.is_some() || bar.space == PciSpace::Io {
                continue;
            }
            // A bridge passes on only what is prefetchable above 4 GiB.
            let may_high = bar.space == PciSpace::Memory64 && (behind.is_none() || bar.prefetchable);
            let high = may_high && bar.prefetchable && !closed;
            let mut base = if high { self.high.take(bar.size, &mut self.memory) } else { None };
            if base.is_none() && !closed {
                base = self.low.take(bar.size, &mut self.memory);
            }
            if base.is_none() && may_high && !high && !closed {
                base = self.high.take(bar.size, &mut self.memory);
            }
            match base {
                Some(base) => {
                    self.write(address, &bar, base);
                    scan.functions[at].bars[n].base = Some(base);
                }
                None => scan.problem(address, Trouble::NoRoom { index: bar.index, size: bar.size }),
            }
        }
    }

    /// Decoding is off while both halves are written, so that no half-written address is ever answered.
    fn write(&mut self, at: PciAddress, bar: &Bar, base: u64) {
        let before = self.config.read(at, register::COMMAND, Width::Half);
        self.config.write(at, register::COMMAND, Width::Half, before & !command::MEMORY);
        self.config.write(at, bar::offset(bar.index), Width::Word, base as u32);
        if bar.space == PciSpace::Memory64 {
            self.config.write(at, bar::offset(bar.index + 1), Width::Word, (base >> 32) as u32);
        }
    }

    /// Tells a bridge what to pass on: `start` to `end`, below and above 4 GiB.
    fn open(&mut self, at: usize, start: (u64, u64), end: (u64, u64), scan: &mut Scan) {
        let address = scan.functions[at].address;
        let foreign = |base: u64, end: u64| {
            let inside = |f: &crate::Function| {
                let mut behind = f.behind;
                while let Some(next) = behind.filter(|&b| b != at) {
                    behind = scan.functions[next].behind;
                }
                behind == Some(at)
            };
            scan.functions.iter().filter(|f| !inside(f)).flat_map(|f| &f.bars).any(|bar| {
                let io = bar.space == PciSpace::Io;
                bar.base.is_some_and(|b| !io && b < end && b + bar.size > base)
            })
        };
        let overlap = foreign(start.0, end.0) || foreign(start.1, end.1);
        if overlap {
            scan.problem(address, Trouble::BridgeOverlap);
        }
        let limits = |start: u64, end: u64| {
            // A base above its limit passes on nothing.
            if start >= end || overlap { (0xfff0_0000, 0) } else { (start, end - 1) }
        };
        let word = |(base, limit): (u64, u64)| (base >> 16 & 0xfff0 | limit & 0xfff0_0000) as u32;
        let (low, high) = (limits(start.0, end.0), limits(start.1, end.1));
        for (register, value) in [
            (register::MEMORY_BASE, word(low)),
            (register::PREFETCHABLE_BASE, word(high)),
            (register::PREFETCHABLE_BASE_HIGH, (high.0 >> 32) as u32),
            (register::PREFETCHABLE_LIMIT_HIGH, (high.1 >> 32) as u32),
        ] {
            self.config.write(address, register, Width::Word, value);
        }
    }

    /// Memory decoding is on for a function all of whose memory BARs are placed, off for the others. Ports stay as
    /// the firmware left them. A bridge also passes on its devices' accesses to memory.
    fn turn_on(&mut self, at: usize, scan: &mut Scan) {
        let function = &scan.functions[at];
        let mut memory = function.bars.iter().filter(|bar| bar.space != PciSpace::Io).peekable();
        let some = memory.peek().is_some() || function.bridge.is_some();
        let placed = memory.all(|bar| bar.base.is_some());
        let bad =
            |p: &crate::Problem| p.at == function.address && matches!(p.trouble, Trouble::BadBar { .. });
        let on = some && placed && !scan.problems.iter().any(bad);
        let mut value = self.config.read(function.address, register::COMMAND, Width::Half);
        value = if on { value | command::MEMORY } else { value & !command::MEMORY };
        if function.bridge.is_some() {
            value |= command::MASTER;
        }
        self.config.write(function.address, register::COMMAND, Width::Half, value);
    }
}
