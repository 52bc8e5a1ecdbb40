//! Devices that lie.

use super::machine::*;
use crate::config::capabilities;
use crate::{ConfigSpace, Trouble, Width, facts, scan, tree};
use proptest::collection::vec;
use proptest::prelude::*;
use skerry_skb::PciAddress;

fn troubles(device: Device) -> Vec<Trouble> {
    let mut machine = Machine(vec![device]);
    scan(&mut machine, &HOST, &WINDOWS).problems.into_iter().map(|problem| problem.trouble).collect()
}

#[test]
fn bars_that_are_no_bars() {
    let plain = || Device::new(1, 1, 1);
    let wired = |bytes: [u8; 4]| {
        let mut device = plain();
        device.bytes[0x10..0x14].copy_from_slice(&bytes);
        device
    };
    // Hard-wired registers are no BARs, whatever they hold.
    for device in [plain(), wired([0; 4]), wired([1, 0, 0, 0]), wired([8, 0, 0, 0]), wired([0xff; 4])] {
        assert_eq!(troubles(device), []);
    }
    // All bits writable: a size of 16 bytes, the least there is.
    assert_eq!(troubles(plain().bar(0, 0, 16)), []);
    let gap = troubles(plain().bar(0, 0, 0x3000));
    assert_eq!(gap, [Trouble::BadBar { index: 0, mask: 0xffff_ffff_ffff_d000 }]);
    assert_eq!(troubles(plain().bar(0, 2, 4096)), [Trouble::BadBar { index: 0, mask: 2 }]);
    assert_eq!(troubles(plain().bar(0, 6, 4096)), [Trouble::BadBar { index: 0, mask: 6 }]);
    assert_eq!(troubles(plain().bar(5, 4, 4096)), [Trouble::BadBar { index: 5, mask: 4 }]);
    // A wired bit below the size reads back as if it could be written.
    let skew = troubles(plain().bar(0, 0, 4096).at(0, 0x100));
    assert_eq!(skew, [Trouble::BadBar { index: 0, mask: 0xffff_ffff_ffff_f100 }]);
    let huge = 1 << 63;
    assert_eq!(troubles(plain().wide(0, 12, huge)), [Trouble::NoRoom { index: 0, size: huge }]);
    assert_eq!(troubles(plain().wide(0, 12, 0)), [Trouble::BadBar { index: 0, mask: 0 }]);
    let full = 2u32 << 30;
    assert_eq!(troubles(plain().bar(0, 0, full)), [Trouble::NoRoom { index: 0, size: full.into() }]);
}

#[test]
fn headers_and_bridges_that_lie() {
    let header = |kind| {
        let mut device = Device::new(1, 1, 1);
        device.bytes[0x0e] = kind;
        troubles(device)
    };
    assert_eq!(header(2), [Trouble::Header(2)]);
    assert_eq!(header(0x7f), [Trouble::Header(0x7f)]);
    let loops =
        |secondary, subordinate| troubles(Device::bridge(1, vec![]).numbered(0, secondary, subordinate));
    assert_eq!(loops(3, 2), [Trouble::BusNumber(3)]);
    assert_eq!(loops(1, 1), []);
    // Two bridges to one bus.
    let mut machine = Machine(vec![
        Device::bridge(1, vec![]).numbered(0, 1, 1),
        Device::bridge(2, vec![]).numbered(0, 1, 1),
        Device::bridge(3, vec![]),
    ]);
    let scan = scan(&mut machine, &HOST, &[]);
    let found: Vec<_> = scan.problems.iter().map(|p| (p.at.device, p.trouble)).collect();
    assert_eq!(found, [(2, Trouble::BusNumber(1)), (3, Trouble::NoBusNumber)]);
}

#[test]
fn bridges_without_end() {
    let deep = (0..40).fold(vec![], |behind, _| vec![Device::bridge(0, behind)]);
    assert_eq!(troubles(deep[0].clone()), [Trouble::TooDeep(tree::MAX_DEPTH)]);
    // More buses than the host has numbers for.
    let mut machine = Machine((0..32).map(|n| Device::bridge(n, vec![])).collect());
    let host = skerry_skb::PciHost { last_bus: 9, ..HOST };
    let scan = scan(&mut machine, &host, &[]);
    let full = scan.problems.iter().filter(|p| p.trouble == Trouble::NoBusNumber).count();
    assert_eq!((full, scan.functions.len()), (32 - 9, 32));
}

#[test]
fn capability_lists_that_loop_or_stray() {
    let at = PciAddress::new(0, 0, 1, 0);
    let list = |links: &[(usize, u8, u8)], first| {
        let mut device = Device::new(1, 1, 1);
        (device.bytes[6], device.bytes[0x34]) = (0x10, first);
        for &(at, id, next) in links {
            (device.bytes[at], device.bytes[at + 1]) = (id, next);
        }
        capabilities(&mut Machine(vec![device]), at)
    };
    assert_eq!(list(&[(0x40, 5, 0x50), (0x50, 17, 0)], 0x40), [(5, 0x40), (17, 0x50)]);
    assert_eq!(list(&[(0x40, 5, 0x40)], 0x40), [(5, 0x40)]);
    assert_eq!(list(&[(0x40, 5, 0x50), (0x50, 17, 0x40)], 0x42), [(5, 0x40), (17, 0x50)]);
    assert_eq!(list(&[(0x40, 5, 0x3c)], 0x40), [(5, 0x40)]);
    assert_eq!(list(&[], 0), []);
    let all: Vec<_> = (0x40..0x100).step_by(4).map(|at| (at, 9, (at + 4) as u8)).collect();
    assert_eq!(list(&all, 0x40).len(), 48);
}

/// A machine that answers every read with noise: everywhere are functions, bridges, BARs.
struct Noise {
    state: u64,
    /// The probability, of 8, that a read gives what was written last.
    sticky: u64,
    last: u32,
}

impl ConfigSpace for Noise {
    fn read(&mut self, _: PciAddress, _: u16, width: Width) -> u32 {
        self.state ^= self.state << 13;
        self.state ^= self.state >> 7;
        self.state ^= self.state << 17;
        let value = if self.state % 8 < self.sticky { self.last } else { (self.state >> 8) as u32 };
        value & (u32::MAX >> (32 - 8 * width as u32))
    }

    fn write(&mut self, _: PciAddress, _: u16, _: Width, value: u32) {
        self.last = value;
    }
}

fn device() -> impl Strategy<Value = Device> {
    let changes = vec((0..0x40usize, any::<u8>(), any::<u8>()), 0..12);
    (0..32u8, 0..4u8, changes).prop_map(|(at, kind, changes)| {
        let mut device = match kind {
            0 => Device::bridge(at, vec![Device::shared_memory(0, 1 << 20)]),
            1 => Device::shared_memory(at, 1 << 20),
            _ => Device::new(at, 1, 1).bar(0, 0, 4096).wide(1, 12, 1 << 16).bar(3, 1, 32),
        };
        for (at, byte, writable) in changes {
            // Decoding can be turned off on any device; otherwise the machine's own check would fire.
            if at >= 8 {
                (device.bytes[at], device.writable[at]) = (byte, writable);
            }
        }
        device
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 30, failure_persistence: None, ..Default::default() })]

    #[test]
    fn noise_ends(seed in 1..u64::MAX, sticky in 0..8u64) {
        let mut noise = Noise { state: seed, sticky, last: 0 };
        let scan = scan(&mut noise, &HOST, &WINDOWS);
        prop_assert!(scan.functions.len() <= tree::MAX_FUNCTIONS);
        let _ = facts(&scan, &HOST, &WINDOWS, &[]);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..Default::default() })]

    /// Whatever devices claim: no two placed BARs overlap, all that decode lie in a window, and facts are valid.
    #[test]
    fn what_is_placed_does_not_overlap(devices in vec(device(), 1..6)) {
        let mut machine = Machine(devices);
        let scan = scan(&mut machine, &HOST, &WINDOWS);
        let bars = || scan.functions.iter().flat_map(|f| &f.bars).filter(|bar| bar.base.is_some());
        let mut spans: Vec<_> = bars()
            .filter(|bar| bar.space != skerry_skb::PciSpace::Io)
            .map(|bar| (bar.base.unwrap(), bar.base.unwrap() + bar.size))
            .collect();
        spans.sort_unstable();
        for pair in spans.windows(2) {
            prop_assert!(pair[0].1 <= pair[1].0, "{:x?}", pair);
        }
        for (base, end) in spans {
            let inside = WINDOWS[1..].iter().any(|w| w.pci <= base && end <= w.pci + w.cpu.len);
            prop_assert!(inside, "{base:#x}");
        }
        for fact in facts(&scan, &HOST, &WINDOWS, &[]) {
            let origin = skerry_skb::Origin {
                island: skerry_hal::IslandId(0),
                epoch: skerry_hal::Epoch(1),
                source: skerry_skb::Source::Discovered,
            };
            let record = skerry_skb::Record { fact, origin };
            prop_assert_eq!(skerry_skb::WireRecord::encode(&record).decode(), Ok(record));
        }
    }
}
