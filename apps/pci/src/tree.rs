//! Buses, bridges and functions.

use crate::config::{capabilities, register};
use crate::{Bar, ConfigSpace, Scan, Trouble, Width};
use alloc::vec::Vec;
use skerry_skb::{PciAddress, PciHost};

/// Functions of one host that are believed.
pub const MAX_FUNCTIONS: usize = 1024;

/// Bridges behind bridges that are believed. It also bounds the stack that a scan needs.
pub const MAX_DEPTH: usize = 16;

/// A bridge's far side.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Bridge {
    /// The bus directly behind it.
    pub secondary: u8,
    /// The last bus behind it.
    pub subordinate: u8,
    /// Whether this scan numbered the bus: then its windows are ours to open, too.
    pub numbered: bool,
}

/// A function that answered.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Function {
    /// Where.
    pub address: PciAddress,
    /// Vendor.
    pub vendor: u16,
    /// Device.
    pub device: u16,
    /// Class, subclass and programming interface.
    pub class: u32,
    /// Legacy interrupt pin, 1 to 4; 0 for none.
    pub pin: u8,
    /// What the firmware noted as its line; 255 for unknown.
    pub noted_line: u8,
    /// Capabilities: identifier and offset.
    pub capabilities: Vec<(u8, u8)>,
    /// Set if it is a bridge whose far side was scanned.
    pub bridge: Option<Bridge>,
    /// The bridge it is behind, as an index of [`Scan::functions`]; `None` on the host's first bus.
    pub behind: Option<usize>,
    /// How many BARs its kind of header has.
    pub(crate) bar_count: u8,
    /// Its BARs.
    pub bars: Vec<Bar>,
}

/// A bus to be scanned.
struct Bus {
    number: u8,
    /// The last number that a bus behind it may have.
    last: u8,
    behind: Option<usize>,
    /// How many bridges it is behind.
    depth: usize,
}

/// Finds all functions.
pub fn find(config: &mut dyn ConfigSpace, host: &PciHost, scan: &mut Scan) {
    let mut finder =
        Finder { config, segment: host.segment, scan, highest: host.first_bus, seen: [false; 256] };
    finder.bus(&Bus { number: host.first_bus, last: host.last_bus, behind: None, depth: 0 });
}

struct Finder<'a> {
    config: &'a mut dyn ConfigSpace,
    segment: u16,
    scan: &'a mut Scan,
    /// The highest bus number in use.
    highest: u8,
    seen: [bool; 256],
}

impl Finder<'_> {
    /// Scans a bus, then what is behind its bridges. Each bus is seen once.
    fn bus(&mut self, bus: &Bus) {
        self.seen[usize::from(bus.number)] = true;
        self.highest = self.highest.max(bus.number);
        let first = self.scan.functions.len();
        for device in 0..32 {
            self.device(bus, device);
        }
        let bridges: Vec<usize> =
            (first..self.scan.functions.len()).filter(|&at| self.scan.functions[at].bar_count == 2).collect();
        // A bus is numbered by the firmware or by us, never by both: whoever numbers it must know all numbers.
        let unnumbered = bridges.iter().all(|&at| self.numbers(at).0 == 0);
        for at in bridges {
            if bus.depth == MAX_DEPTH {
                let address = self.scan.functions[at].address;
                self.scan.problem(address, Trouble::TooDeep(MAX_DEPTH));
                continue;
            }
            if unnumbered { self.number(bus, at) } else { self.follow(bus, at) }
        }
    }

    fn device(&mut self, bus: &Bus, device: u8) {
        let address = |function| PciAddress::new(self.segment, bus.number, device, function);
        let (first, functions) = (address(0), [1, 2, 3, 4, 5, 6, 7].map(address));
        if !self.function(bus, first) {
            return;
        }
        if self.config.read(first, register::HEADER_TYPE, Width::Byte) & 0x80 != 0 {
            for function in functions {
                self.function(bus, function);
            }
        }
    }

    /// Whether a function answers; if so, it is listed.
    fn function(&mut self, bus: &Bus, address: PciAddress) -> bool {
        let id = self.config.read(address, register::VENDOR, Width::Word);
        if matches!(id as u16, 0 | 0xffff) {
            return false;
        }
        if self.scan.functions.len() == MAX_FUNCTIONS {
            // Said once.
            if !self.scan.problems.iter().any(|p| matches!(p.trouble, Trouble::TooMany(_))) {
                self.scan.problem(address, Trouble::TooMany(MAX_FUNCTIONS));
            }
            return false;
        }
        let header = self.config.read(address, register::HEADER_TYPE, Width::Byte) as u8 & 0x7f;
        let bar_count = match header {
            0 => 6,
            1 => 2,
            _ => {
                self.scan.problem(address, Trouble::Header(header));
                return true;
            }
        };
        let pin = self.config.read(address, register::PIN, Width::Byte) as u8;
        self.scan.functions.push(Function {
            address,
            vendor: id as u16,
            device: (id >> 16) as u16,
            class: self.config.read(address, register::CLASS, Width::Word) >> 8,
            pin: if pin <= 4 { pin } else { 0 },
            noted_line: self.config.read(address, register::LINE, Width::Byte) as u8,
            capabilities: capabilities(self.config, address),
            bridge: None,
            behind: bus.behind,
            bar_count,
            bars: Vec::new(),
        });
        true
    }

    fn numbers(&mut self, at: usize) -> (u8, u8) {
        let address = self.scan.functions[at].address;
        let secondary = self.config.read(address, register::SECONDARY_BUS, Width::Byte);
        let subordinate = self.config.read(address, register::SUBORDINATE_BUS, Width::Byte);
        (secondary as u8, subordinate as u8)
    }

    /// Scans behind a bridge that the firmware numbered.
    fn follow(&mut self, bus: &Bus, at: usize) {
        let (secondary, subordinate) = self.numbers(at);
        let address = self.scan.functions[at].address;
        if secondary == 0 {
            return self.scan.problem(address, Trouble::NoBusNumber);
        }
        let inside = secondary > bus.number && secondary <= subordinate && subordinate <= bus.last;
        if !inside || self.seen[usize::from(secondary)] {
            return self.scan.problem(address, Trouble::BusNumber(secondary));
        }
        self.scan.functions[at].bridge = Some(Bridge { secondary, subordinate, numbered: false });
        self.bus(&Bus { number: secondary, last: subordinate, behind: Some(at), depth: bus.depth + 1 });
    }

    /// Numbers the bus behind a bridge and scans it. While it is scanned, the bridge passes on all numbers that are
    /// left; after that, those that were used.
    fn number(&mut self, bus: &Bus, at: usize) {
        let address = self.scan.functions[at].address;
        let Some(secondary) = self.highest.checked_add(1).filter(|&number| number <= bus.last) else {
            return self.scan.problem(address, Trouble::NoBusNumber);
        };
        self.set(address, register::PRIMARY_BUS, bus.number);
        self.set(address, register::SECONDARY_BUS, secondary);
        self.set(address, register::SUBORDINATE_BUS, bus.last);
        self.bus(&Bus { number: secondary, last: bus.last, behind: Some(at), depth: bus.depth + 1 });
        let subordinate = self.highest;
        self.set(address, register::SUBORDINATE_BUS, subordinate);
        self.scan.functions[at].bridge = Some(Bridge { secondary, subordinate, numbered: true });
    }

    fn set(&mut self, at: PciAddress, offset: u16, value: u8) {
        self.config.write(at, offset, Width::Byte, value.into());
    }
}
