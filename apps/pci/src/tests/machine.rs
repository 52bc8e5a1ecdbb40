//! A made-up PCI machine: functions with registers that behave as the specification says, bridges that pass on.

use crate::{ConfigSpace, Width};
use skerry_hal::{PhysAddr, PhysRange};
use skerry_skb::{PciAddress, PciHost, PciSpace, PciWindow};

/// A function. Of its 256 bytes, those with set bits in `writable` can be written.
#[derive(Clone, Debug)]
pub struct Device {
    pub device: u8,
    pub function: u8,
    pub bytes: [u8; 256],
    pub writable: [u8; 256],
    /// What is behind it, if it is a bridge.
    pub behind: Vec<Device>,
}

impl Device {
    pub fn new(device: u8, vendor: u16, id: u16) -> Self {
        let mut it = Self { device, function: 0, bytes: [0; 256], writable: [0; 256], behind: Vec::new() };
        it.set(0, u32::from(id) << 16 | u32::from(vendor));
        it.writable[4] = 7;
        it
    }

    /// A bridge with all its windows, not numbered.
    pub fn bridge(device: u8, behind: Vec<Device>) -> Self {
        let mut it = Self::new(device, 0x1b36, 0x000c);
        it.bytes[0x0e] = 1;
        it.set(0x08, 0x0604_0000);
        it.writable[0x18..0x1b].fill(0xff);
        it.writable[0x20..0x28].copy_from_slice(&[0xf0, 0xff, 0xf0, 0xff, 0xf0, 0xff, 0xf0, 0xff]);
        it.bytes[0x24] = 1;
        it.bytes[0x26] = 1;
        it.writable[0x28..0x30].fill(0xff);
        it.behind = behind;
        it
    }

    /// The device that shares memory, with `size` bytes of it.
    pub fn shared_memory(device: u8, size: u64) -> Self {
        Self::new(device, 0x1af4, 0x1110).bar(0, 0, 256).wide(2, 0b1100, size)
    }

    pub fn function(mut self, function: u8) -> Self {
        self.function = function;
        self
    }

    pub fn multi(mut self) -> Self {
        self.bytes[0x0e] |= 0x80;
        self
    }

    /// A 32-bit BAR with these flags.
    pub fn bar(mut self, index: usize, flags: u8, size: u32) -> Self {
        let at = 0x10 + 4 * index;
        self.bytes[at] |= flags;
        self.writable[at..at + 4].copy_from_slice(&size.wrapping_neg().to_le_bytes());
        self
    }

    /// A 64-bit BAR with these flags.
    pub fn wide(mut self, index: usize, flags: u8, size: u64) -> Self {
        let at = 0x10 + 4 * index;
        self.bytes[at] |= flags;
        self.writable[at..at + 8].copy_from_slice(&size.wrapping_neg().to_le_bytes());
        self
    }

    /// What the firmware wrote into a BAR.
    pub fn at(mut self, index: usize, base: u64) -> Self {
        let at = 0x10 + 4 * index;
        for (to, from) in self.bytes[at..].iter_mut().zip(base.to_le_bytes()).take(8) {
            *to |= from;
        }
        self
    }

    /// What the firmware wrote into a bridge.
    pub fn numbered(mut self, primary: u8, secondary: u8, subordinate: u8) -> Self {
        self.bytes[0x18..0x1b].copy_from_slice(&[primary, secondary, subordinate]);
        self
    }

    pub fn set(&mut self, at: usize, word: u32) {
        self.bytes[at..at + 4].copy_from_slice(&word.to_le_bytes());
    }

    pub fn get(&self, at: usize) -> u32 {
        u32::from_le_bytes(self.bytes[at..at + 4].try_into().unwrap())
    }

    /// Addresses that a bridge passes on: 32 bits, then prefetchable.
    pub fn passes(&self) -> [(u64, u64); 2] {
        let range = |word: u32, high: (u32, u32)| {
            let base = u64::from(high.0) << 32 | u64::from(word & 0xfff0) << 16;
            let limit = u64::from(high.1) << 32 | u64::from(word & 0xfff0_0000) | 0xf_ffff;
            (base, limit)
        };
        [range(self.get(0x20), (0, 0)), range(self.get(0x24), (self.get(0x28), self.get(0x2c)))]
    }

    pub fn base(&self, index: usize) -> u64 {
        u64::from(self.get(0x10 + 4 * index) & !0xf)
    }

    pub fn wide_base(&self, index: usize) -> u64 {
        u64::from(self.get(0x14 + 4 * index)) << 32 | self.base(index)
    }

    pub fn decodes_memory(&self) -> bool {
        self.bytes[4] & 2 != 0
    }
}

/// A host bridge and what is behind it.
#[derive(Clone, Debug)]
pub struct Machine(pub Vec<Device>);

impl Machine {
    /// The function that hears an access, by way of the bridges.
    pub fn find(&mut self, at: PciAddress) -> Option<&mut Device> {
        fn on(bus: u8, devices: &mut [Device], at: PciAddress) -> Option<&mut Device> {
            if at.bus == bus {
                return devices.iter_mut().find(|d| (d.device, d.function) == (at.device, at.function));
            }
            devices.iter_mut().find_map(|d| {
                let (secondary, subordinate) = (d.bytes[0x19], d.bytes[0x1a]);
                let passes = d.bytes[0x0e] & 0x7f == 1 && secondary != 0;
                if !passes || !(secondary..=subordinate).contains(&at.bus) || secondary == bus {
                    return None;
                }
                on(secondary, &mut d.behind, at)
            })
        }
        on(0, &mut self.0, at)
    }

    pub fn get(&mut self, bus: u8, device: u8) -> &mut Device {
        self.find(PciAddress::new(0, bus, device, 0)).unwrap()
    }
}

impl ConfigSpace for Machine {
    fn read(&mut self, at: PciAddress, offset: u16, width: Width) -> u32 {
        assert!(offset < 256 && offset.is_multiple_of(width as u16), "{offset:#x} {width:?}");
        let mut word = [0; 4];
        let (at, len) = (self.find(at), width as usize);
        match at {
            Some(device) => word[..len].copy_from_slice(&device.bytes[offset as usize..][..len]),
            None => word[..len].fill(0xff),
        }
        u32::from_le_bytes(word)
    }

    fn write(&mut self, at: PciAddress, offset: u16, width: Width, value: u32) {
        assert!(offset < 256 && offset.is_multiple_of(width as u16), "{offset:#x} {width:?}");
        let Some(device) = self.find(at) else { return };
        assert!(
            !(0x10..0x28).contains(&offset) || device.bytes[0x0e] & 0x7f == 1 || device.bytes[4] & 2 == 0,
            "a BAR changes while it is decoded"
        );
        for (n, byte) in value.to_le_bytes().into_iter().take(width as usize).enumerate() {
            let at = offset as usize + n;
            device.bytes[at] = device.bytes[at] & !device.writable[at] | byte & device.writable[at];
        }
    }
}

pub const HOST: PciHost = PciHost {
    segment: 0,
    ecam: PhysRange::new(PhysAddr(0x40_1000_0000), 256 << 20),
    first_bus: 0,
    last_bus: 255,
};

/// QEMU's ARM board, but with device addresses of its own above 4 GiB.
pub const WINDOWS: [PciWindow; 3] = [
    window(PciSpace::Io, 0, 0x3eff_0000, 0x1_0000),
    window(PciSpace::Memory32, 0x1000_0000, 0x1000_0000, 0x2eff_0000),
    window(PciSpace::Memory64, 0x80_0000_0000, 0xf0_0000_0000, 0x80_0000_0000),
];

const fn window(space: PciSpace, pci: u64, cpu: u64, len: u64) -> PciWindow {
    PciWindow { segment: 0, space, prefetchable: false, pci, cpu: PhysRange::new(PhysAddr(cpu), len) }
}
