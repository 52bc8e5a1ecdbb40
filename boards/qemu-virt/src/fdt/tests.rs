//! Trees that are right, trees that are wrong, and bytes that are no trees.

use super::*;
use proptest::prelude::*;

/// Writes trees.
#[derive(Default)]
struct Maker {
    structure: Vec<u8>,
    strings: Vec<u8>,
    reserved: Vec<(u64, u64)>,
}

impl Maker {
    fn word(&mut self, word: u32) {
        self.structure.extend(word.to_be_bytes());
    }
    fn bytes(&mut self, bytes: &[u8]) {
        self.structure.extend(bytes);
        self.structure.resize(self.structure.len().next_multiple_of(4), 0);
    }
    fn begin(&mut self, name: &str) -> &mut Self {
        self.word(1);
        self.bytes(format!("{name}\0").as_bytes());
        self
    }
    fn end(&mut self) -> &mut Self {
        self.word(2);
        self
    }
    fn prop(&mut self, name: &str, value: &[u8]) -> &mut Self {
        self.word(3);
        self.word(value.len() as u32);
        self.word(self.strings.len() as u32);
        self.strings.extend(format!("{name}\0").as_bytes());
        self.bytes(value);
        self
    }
    fn cells(&mut self, name: &str, cells: &[u32]) -> &mut Self {
        let value: Vec<u8> = cells.iter().flat_map(|c| c.to_be_bytes()).collect();
        self.prop(name, &value)
    }
    fn finish(&mut self) -> Vec<u8> {
        self.word(9);
        let reserved: Vec<u8> = self
            .reserved
            .iter()
            .chain(&[(0, 0)])
            .flat_map(|(base, len)| [base.to_be_bytes(), len.to_be_bytes()].concat())
            .collect();
        let off_struct = HEADER + reserved.len();
        let off_strings = off_struct + self.structure.len();
        let total = off_strings + self.strings.len();
        let header = [
            MAGIC,
            total as u32,
            off_struct as u32,
            off_strings as u32,
            HEADER as u32,
            17,
            16,
            0,
            self.strings.len() as u32,
            self.structure.len() as u32,
        ];
        let header: Vec<u8> = header.iter().flat_map(|w| w.to_be_bytes()).collect();
        [header, reserved, self.structure.clone(), self.strings.clone()].concat()
    }
}

/// Like the tree of `virt` with two NUMA nodes.
fn virt() -> Vec<u8> {
    let mut m = Maker { reserved: vec![(0x4000_0000, 0x1000)], ..Maker::default() };
    m.begin("").cells("#address-cells", &[2]).cells("#size-cells", &[2]);
    m.begin("psci").prop("method", b"hvc\0").end();
    m.begin("memory@40000000")
        .cells("reg", &[0, 0x4000_0000, 0, 0x800_0000])
        .cells("numa-node-id", &[0])
        .end();
    m.begin("memory@48000000")
        .cells("reg", &[0, 0x4800_0000, 0, 0x800_0000])
        .cells("numa-node-id", &[1])
        .end();
    m.begin("reserved-memory").cells("#address-cells", &[1]).cells("#size-cells", &[1]);
    m.begin("secure@4ff00000").cells("reg", &[0x4ff0_0000, 0x1000]).end().end();
    m.begin("soc")
        .begin("memory@1")
        .cells("reg", &[1, 2, 3, 4])
        .begin("x")
        .begin("y")
        .end()
        .end()
        .end()
        .end();
    m.begin("chosen")
        .cells("linux,initrd-start", &[0x4800_0000])
        .cells("linux,initrd-end", &[0, 0x4810_0123]);
    m.prop("bootargs", b"island=1 links=1:0\0").end().end();
    m.finish()
}

#[test]
fn a_good_tree_is_read() {
    let blob = virt();
    let facts = read(&blob).unwrap();
    let bank = |base, len, node| Bank { base, len, node };
    assert_eq!(facts.memory.as_slice(), [bank(0x4000_0000, 0x800_0000, 0), bank(0x4800_0000, 0x800_0000, 1)]);
    assert_eq!(facts.reserved.as_slice(), [bank(0x4000_0000, 0x1000, 0), bank(0x4ff0_0000, 0x1000, 0)]);
    assert_eq!(facts.initrd, (0x4800_0000, 0x4810_0123));
    assert_eq!(facts.bootargs, b"island=1 links=1:0");
    assert_eq!(facts.psci_method, b"hvc");
}

#[test]
fn a_tree_cut_short_is_an_error_wherever_it_is_cut() {
    let blob = virt();
    for len in 0..blob.len() {
        assert!(read(&blob[..len]).is_err(), "cut at {len}");
        // And with a header that admits it.
        let mut liar = blob[..len].to_vec();
        if let Some(field) = liar.get_mut(4..8) {
            field.copy_from_slice(&(len as u32).to_be_bytes());
        }
        assert!(read(&liar).is_err(), "cut at {len}, admitted");
    }
}

#[test]
fn what_is_no_tree_is_an_error() {
    assert_eq!(read(&[]).err(), Some(FdtError::BadHeader));
    assert_eq!(read(&[0; 4096]).err(), Some(FdtError::BadHeader));
    let mut future = virt();
    future[27] = 18;
    assert_eq!(read(&future).err(), Some(FdtError::BadHeader));
}

#[test]
fn ranges_that_wrap_and_odd_cells_are_errors() {
    let tree = |cells: u32, reg: &[u32]| {
        let mut m = Maker::default();
        m.begin("").cells("#address-cells", &[cells]).cells("#size-cells", &[cells]);
        m.begin("memory@0").cells("reg", reg).end().end();
        read(&m.finish()).err()
    };
    assert_eq!(tree(2, &[!0, !0, 0, 2]), Some(FdtError::BadRange));
    assert_eq!(tree(2, &[0, 0, 1]), Some(FdtError::BadRange));
    assert_eq!(tree(3, &[0, 0, 0, 0, 0, 1]), Some(FdtError::BadRange));
    assert_eq!(tree(0, &[1]), Some(FdtError::BadRange));
    assert_eq!(tree(1, &[0, 1].repeat(MAX_RANGES + 1)), Some(FdtError::TooMany));
    assert_eq!(tree(1, &[0, 1].repeat(MAX_RANGES)), None);
}

#[test]
fn nodes_that_do_not_match_up_are_errors() {
    assert!(read(&Maker::default().begin("").end().end().finish()).is_err());
    assert!(read(&Maker::default().begin("").finish()).is_err());
    assert!(read(&Maker::default().prop("reg", &[0; 8]).finish()).is_err());
}

proptest! {
    #[test]
    fn a_damaged_tree_is_read_or_refused(
        edits in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8)
    ) {
        let mut blob = virt();
        for (at, byte) in edits {
            let at = at.index(blob.len());
            blob[at] = byte;
        }
        let _ = read(&blob);
    }

    #[test]
    fn a_damaged_word_is_read_or_refused(at in any::<prop::sample::Index>(), word in any::<u32>()) {
        let mut blob = virt();
        let at = at.index(blob.len() / 4) * 4;
        blob[at..at + 4].copy_from_slice(&word.to_be_bytes());
        let _ = read(&blob);
    }
}
