//! Physical memory and firmware tables, made by hand.

use crate::{DiscoverError, Firmware, PhysMem, discover};
use skerry_abi::boot::firmware;
use skerry_hal::{HwId, PhysAddr};
use skerry_skb::{CommandLine, Store};

/// QEMU's ACPI tables.
pub const Q35_NUMA: &[u8] = include_bytes!("data/q35-numa.bin");
pub const Q35_PLAIN: &[u8] = include_bytes!("data/q35-plain.bin");
/// QEMU's device trees.
pub const VIRT_GIC3_NUMA: &[u8] = include_bytes!("data/virt-gic3-numa.dtb");
pub const VIRT_GIC2: &[u8] = include_bytes!("data/virt-gic2.dtb");

/// Pieces of physical memory; between them is none.
#[derive(Clone, Debug, Default)]
pub struct Memory(pub Vec<(u64, Vec<u8>)>);

impl PhysMem for Memory {
    fn read(&mut self, base: PhysAddr, len: usize) -> Option<&[u8]> {
        self.0.iter().find_map(|(at, bytes)| {
            let offset = usize::try_from(base.0.checked_sub(*at)?).ok()?;
            bytes.get(offset..offset.checked_add(len)?)
        })
    }
}

impl Memory {
    /// The tables in one of the `.bin` files, and where the RSDP is.
    pub fn from_dump(mut dump: &[u8]) -> (Self, u64) {
        let mut pieces = Vec::new();
        while let Some((head, rest)) = dump.split_first_chunk::<12>() {
            let at = u64::from_le_bytes(head[..8].try_into().unwrap());
            let len = u32::from_le_bytes(head[8..].try_into().unwrap()) as usize;
            pieces.push((at, rest[..len].to_vec()));
            dump = &rest[len..];
        }
        let rsdp = pieces[0].0;
        (Self(pieces), rsdp)
    }
}

/// The boot core of all machines here has this name.
pub const BOOT: HwId = HwId(0);

pub fn discover_acpi(memory: &mut Memory, rsdp: u64) -> Result<Store, DiscoverError> {
    let from = Firmware { kind: firmware::ACPI, addr: PhysAddr(rsdp), boot_core: BOOT };
    discover(from, memory, &CommandLine::parse(b"island=1").unwrap())
}

pub fn discover_fdt(blob: &[u8]) -> Result<Store, DiscoverError> {
    let at = 0x4000_0000;
    let from = Firmware { kind: firmware::FDT, addr: PhysAddr(at), boot_core: BOOT };
    let mut memory = Memory(vec![(at, blob.to_vec())]);
    discover(from, &mut memory, &CommandLine::parse(b"island=1").unwrap())
}

/// Makes the bytes of an ACPI table add up to zero.
pub fn fix_checksum(table: &mut [u8]) {
    if let Some(sum) = table.get(9) {
        let sum = table.iter().fold(0u8, |sum, byte| sum.wrapping_add(*byte)).wrapping_sub(*sum);
        table[9] = sum.wrapping_neg();
    }
}

/// An ACPI table of this revision and body.
pub fn table(signature: &str, revision: u8, body: &[u8]) -> Vec<u8> {
    let mut table = signature.as_bytes().to_vec();
    table.extend((36 + body.len() as u32).to_le_bytes());
    table.extend([revision, 0]);
    table.extend(b"SKERRYTEST\0\0\0\0");
    table.extend([0; 12]);
    table.extend(body);
    fix_checksum(&mut table);
    table
}

/// A memory with these tables, an XSDT and an RSDP of revision 2. Answers with the RSDP's address, 0xf0000.
pub fn machine(tables: &[Vec<u8>]) -> (Memory, u64) {
    let mut memory = Memory::default();
    let mut pointers = Vec::new();
    for (n, table) in tables.iter().enumerate() {
        let at = 0x10_0000 + 0x1_0000 * n as u64;
        pointers.extend(at.to_le_bytes());
        memory.0.push((at, table.clone()));
    }
    memory.0.push((0xe_0000, table("XSDT", 1, &pointers)));
    memory.0.push((0xf_0000, rsdp(0xe_0000)));
    (memory, 0xf_0000)
}

/// An RSDP of revision 2.
pub fn rsdp(xsdt: u64) -> Vec<u8> {
    let mut rsdp = b"RSD PTR \0SKERRY\x02\0\0\0\0\x24\0\0\0".to_vec();
    rsdp.extend(xsdt.to_le_bytes());
    rsdp.extend([0; 4]);
    let sum = |bytes: &[u8]| bytes.iter().fold(0u8, |sum, byte| sum.wrapping_add(*byte)).wrapping_neg();
    rsdp[8] = sum(&rsdp[..20]);
    rsdp[32] = sum(&rsdp);
    rsdp
}

/// A MADT with these entries.
pub fn madt(entries: &[&[u8]]) -> Vec<u8> {
    table("APIC", 3, &[&[0, 0, 0xe0, 0xfe, 1, 0, 0, 0], entries.concat().as_slice()].concat())
}

/// MADT: a core that is enabled.
pub fn local_apic(id: u8) -> Vec<u8> {
    vec![0, 8, id, id, 1, 0, 0, 0]
}

/// Writes a device tree, and can be told to do it wrong.
pub struct Tree {
    pub structs: Vec<u8>,
    pub strings: Vec<u8>,
}

impl Tree {
    pub fn new() -> Self {
        Self { structs: Vec::new(), strings: Vec::new() }
    }

    pub fn token(mut self, token: u32) -> Self {
        self.structs.extend(token.to_be_bytes());
        self
    }

    pub fn begin(self, name: &str) -> Self {
        let mut tree = self.token(1);
        tree.structs.extend(name.bytes().chain([0]));
        tree.pad()
    }

    pub fn end(self) -> Self {
        self.token(2)
    }

    pub fn prop(mut self, name: &str, value: &[u8]) -> Self {
        let at = self.strings.len() as u32;
        self.strings.extend(name.bytes().chain([0]));
        let mut tree = self.token(3).token(value.len() as u32).token(at);
        tree.structs.extend(value);
        tree.pad()
    }

    pub fn cells(self, name: &str, cells: &[u32]) -> Self {
        let value: Vec<u8> = cells.iter().flat_map(|cell| cell.to_be_bytes()).collect();
        self.prop(name, &value)
    }

    pub fn text(self, name: &str, text: &str) -> Self {
        self.prop(name, format!("{text}\0").as_bytes())
    }

    fn pad(mut self) -> Self {
        self.structs.resize(self.structs.len().next_multiple_of(4), 0);
        self
    }

    /// The whole, after the end token.
    pub fn finish(self) -> Vec<u8> {
        let tree = self.token(9);
        let (structs, strings) = (tree.structs.len() as u32, tree.strings.len() as u32);
        let total = 56 + structs + strings;
        let header = [0xd00d_feed, total, 56, 56 + structs, 40, 17, 16, 0, strings, structs, 0, 0, 0, 0];
        let mut blob: Vec<u8> = header.iter().flat_map(|word| word.to_be_bytes()).collect();
        blob.extend(tree.structs);
        blob.extend(tree.strings);
        blob
    }
}

/// `/` with `#address-cells` and `#size-cells` 2 and one core, still open.
pub fn small() -> Tree {
    let tree = Tree::new().begin("").cells("#address-cells", &[2]).cells("#size-cells", &[2]);
    let tree = tree.begin("cpus").cells("#address-cells", &[1]).cells("#size-cells", &[0]);
    tree.begin("cpu@0").text("device_type", "cpu").cells("reg", &[0]).end().end()
}
