//! The interrupt translation service of a GICv3 (Arm IHI 0069 §5.2, §12.18): it turns a word that a device writes into
//! an interrupt of a core. Its commands and the contents of its registers, as words; the binary carries them there.

/// A command: four words in its queue (§5.3).
pub type Command = [u64; 4];

/// Offsets of registers, from the first of its two 64 KiB frames.
pub mod register {
    /// Control.
    pub const CTLR: u64 = 0x0;
    /// What it is like.
    pub const TYPER: u64 = 0x8;
    /// Where the queue of commands is.
    pub const CBASER: u64 = 0x80;
    /// Where the next command is written.
    pub const CWRITER: u64 = 0x88;
    /// Where the next command is read.
    pub const CREADR: u64 = 0x90;
    /// Where its eight tables are.
    pub const BASER: u64 = 0x100;
    /// What devices write to; in the second frame.
    pub const TRANSLATER: u64 = 0x1_0040;
}

/// Kinds of tables (`GITS_BASER.Type`).
pub mod table {
    /// By device.
    pub const DEVICES: u64 = 1;
    /// By collection.
    pub const COLLECTIONS: u64 = 4;
}

/// Of a table's or queue's address: there is one; inner shareable, write-back.
const VALID: u64 = 1 << 63;
const SHARED_CACHED: u64 = 0b01 << 10 | 0b111 << 59;
/// `GITS_CTLR.Enabled`.
pub const ENABLED: u32 = 1;

/// The collection of interrupts that go to the one core that drives devices.
const COLLECTION: u64 = 0;

/// What the service is like.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Typer {
    /// Bytes of an entry of a device's own table.
    pub entry: u64,
    /// Bits of a device's number.
    pub device_bits: u32,
    /// Bits of an event's number.
    pub event_bits: u32,
    /// Whether cores are named by their redistributors' addresses.
    pub by_address: bool,
}

impl Typer {
    /// What `GITS_TYPER` says.
    pub const fn new(word: u64) -> Self {
        Self {
            entry: (word >> 4 & 0xf) + 1,
            event_bits: (word >> 8 & 0x1f) as u32 + 1,
            device_bits: (word >> 13 & 0x1f) as u32 + 1,
            by_address: word >> 19 & 1 != 0,
        }
    }
}

/// The kind of table a `GITS_BASER` is for.
pub const fn kind(baser: u64) -> u64 {
    baser >> 56 & 7
}

/// Bytes of an entry of that table.
pub const fn entry_bytes(baser: u64) -> u64 {
    (baser >> 48 & 0x1f) + 1
}

/// Bytes of the pages that a `GITS_BASER`, read back, counts in.
pub const fn page_bytes(baser: u64) -> u64 {
    match baser >> 8 & 3 {
        0 => 4 << 10,
        1 => 16 << 10,
        _ => 64 << 10,
    }
}

/// A `GITS_BASER`, once to learn the page size (`len` of one page), once to be used: `len` bytes at `base`.
pub const fn baser(old: u64, base: u64, len: u64) -> u64 {
    let kept = old & (7 << 56 | 0x1f << 48 | 3 << 8);
    kept | VALID | SHARED_CACHED | base & 0xffff_ffff_f000 | (len / page_bytes(old)).wrapping_sub(1) & 0xff
}

/// `GITS_CBASER` of a queue of `len` bytes, a multiple of 4 KiB, at `base`.
pub const fn cbaser(base: u64, len: u64) -> u64 {
    VALID | SHARED_CACHED | base | (len / 4096 - 1)
}

/// Device `device` has a table of `1 << bits` events at `itt`, which is aligned to 256 bytes.
pub const fn map_device(device: u32, itt: u64, bits: u32) -> Command {
    [0x08 | (device as u64) << 32, bits as u64 - 1, VALID | itt, 0]
}

/// The collection's interrupts go to this core.
pub const fn map_collection(core: u64) -> Command {
    [0x09, 0, VALID | core << 16 | COLLECTION, 0]
}

/// Event `event` of `device` is interrupt `line`.
pub const fn map_event(device: u32, event: u32, line: u32) -> Command {
    [0x0a | (device as u64) << 32, event as u64 | (line as u64) << 32, COLLECTION, 0]
}

/// What is known of the lines' priorities is read anew.
pub const fn invalidate() -> Command {
    [0x0d, 0, COLLECTION, 0]
}

/// All before has been seen by this core.
pub const fn sync(core: u64) -> Command {
    [0x05, 0, core << 16, 0]
}

/// A device's number: its bus, device and function.
pub const fn device_id(at: skerry_skb::PciAddress) -> u32 {
    (at.bus as u32) << 8 | (at.device as u32) << 3 | at.function as u32
}

#[cfg(test)]
mod tests {
    use super::*;
    use skerry_skb::PciAddress;

    #[test]
    fn registers_say_what_the_manual_says() {
        // QEMU 10: 16 bits of events and devices, entries of 12 bytes, cores by number.
        let typer = Typer::new(0x1_efb1 | 1 << 36);
        let expected = Typer { entry: 12, device_bits: 16, event_bits: 16, by_address: false };
        assert_eq!(typer, expected);
        let fresh = table::DEVICES << 56 | 7 << 48 | 2 << 8;
        assert_eq!((kind(fresh), entry_bytes(fresh), page_bytes(fresh)), (1, 8, 64 << 10));
        let used = baser(fresh, 0x4321_0000, 128 << 10);
        assert_eq!(used, 0xb907_0000_4321_0601, "valid, cacheable, kind and entry kept, two pages");
        assert_eq!(cbaser(0x1234_5000, 4096), 0xb800_0000_1234_5400);
    }

    #[test]
    fn commands_are_spelt_as_in_the_manual() {
        let device = device_id(PciAddress::new(0, 2, 3, 1));
        assert_eq!(device, 0x219);
        assert_eq!(map_device(device, 0xabc00, 5), [0x219_0000_0008, 4, 1 << 63 | 0xabc00, 0]);
        assert_eq!(map_collection(3), [9, 0, 1 << 63 | 3 << 16, 0]);
        assert_eq!(map_event(device, 2, 8195), [0x219_0000_000a, 2 | 8195 << 32, 0, 0]);
        assert_eq!((invalidate(), sync(3)), ([0xd, 0, 0, 0], [5, 0, 3 << 16, 0]));
    }
}
