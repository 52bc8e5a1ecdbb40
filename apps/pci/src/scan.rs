//! All of it: configuration space to functions, placed and turned on.

use crate::{ConfigSpace, Function, place, tree};
use alloc::vec::Vec;
use core::fmt;
use skerry_skb::{PciAddress, PciHost, PciWindow};

/// What is wrong with a function; the scan goes on without it, or without the part at fault.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Trouble {
    /// Its header is of a kind that nobody knows.
    Header(u8),
    /// There are more functions than are believed; this one and all after it are left out.
    TooMany(usize),
    /// The bus behind the bridge has a number that is taken or out of range.
    BusNumber(u8),
    /// The bridge is behind more bridges than are believed.
    TooDeep(usize),
    /// There is no number left for the bus behind the bridge, or its neighbours have numbers and it has none.
    NoBusNumber,
    /// A BAR says something that is no size.
    BadBar {
        /// Its number.
        index: u8,
        /// What it says.
        mask: u64,
    },
    /// A BAR overlaps another function's.
    Overlap {
        /// Its number.
        index: u8,
    },
    /// There is no room for a BAR in the host's windows, or none that its bridge passes on.
    NoRoom {
        /// Its number.
        index: u8,
        /// How much it needs.
        size: u64,
    },
    /// What is behind a bridge would take in somebody else's addresses.
    BridgeOverlap,
}

/// A function and what is wrong with it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Problem {
    /// Which.
    pub at: PciAddress,
    /// What.
    pub trouble: Trouble,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "pci {}: ", self.at)?;
        match self.trouble {
            Trouble::Header(kind) => write!(f, "unknown header type {kind:#x}"),
            Trouble::TooMany(limit) => write!(f, "more than {limit} functions"),
            Trouble::BusNumber(bus) => write!(f, "bridge to bus {bus}, which is taken or out of range"),
            Trouble::TooDeep(limit) => write!(f, "bridge behind more than {limit} others"),
            Trouble::NoBusNumber => f.write_str("no number for the bus behind this bridge"),
            Trouble::BadBar { index, mask } => write!(f, "bar {index}: {mask:#x} is no size"),
            Trouble::Overlap { index } => write!(f, "bar {index} overlaps another"),
            Trouble::NoRoom { index, size } => write!(f, "bar {index}: no room for {size:#x} bytes"),
            Trouble::BridgeOverlap => f.write_str("bridge would take in another function's addresses"),
        }
    }
}

/// What a scan found.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Scan {
    /// All functions, each after the bridge it is behind.
    pub functions: Vec<Function>,
    /// What is wrong.
    pub problems: Vec<Problem>,
}

impl Scan {
    pub(crate) fn problem(&mut self, at: PciAddress, trouble: Trouble) {
        self.problems.push(Problem { at, trouble });
    }
}

/// Scans one host. `windows` are the host's; where there are none, the firmware is taken to have placed all BARs, at
/// the same addresses for devices and cores.
pub fn scan(config: &mut dyn ConfigSpace, host: &PciHost, windows: &[PciWindow]) -> Scan {
    let mut scan = Scan::default();
    tree::find(config, host, &mut scan);
    for at in 0..scan.functions.len() {
        let (bars, troubles) = crate::bar::measure(config, &scan.functions[at]);
        scan.functions[at].bars = bars;
        for trouble in troubles {
            let address = scan.functions[at].address;
            scan.problem(address, trouble);
        }
    }
    place::all(config, host, windows, &mut scan);
    scan
}
