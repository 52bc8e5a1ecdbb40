//! A bundle reads back as it was packed, and no damage to it goes unnoticed.

use proptest::prelude::*;
use skerry_bundle::{Bundle, BundleError, Kind, find_member};
use skerry_images::pack::Packer;

fn packer() -> Packer {
    let mut packer = Packer::new();
    packer.add("x86_64", Kind::CpuDriver, "qemu-q35", vec![0x90; 700]);
    packer.add("aarch64", Kind::Domain, "init", (0..=255).collect());
    packer.add("any", Kind::Data, "motd", Vec::new());
    packer
}

/// Everything a reader can learn from a bundle.
fn contents(bytes: &[u8]) -> Result<Vec<(String, Vec<u8>)>, String> {
    let bundle = Bundle::open(bytes).map_err(|cause| cause.to_string())?;
    Ok(bundle.members().map(|m| (format!("{} {} {}", m.isa, m.kind, m.name), m.data.to_vec())).collect())
}

#[test]
fn what_was_packed_is_found() {
    let bytes = packer().pack().unwrap();
    let bundle = Bundle::open(&bytes).unwrap();
    assert_eq!(bundle.find("x86_64", "qemu-q35").unwrap(), [0x90; 700]);
    assert_eq!(bundle.find("any", "motd").unwrap(), []);
    assert_eq!(find_member(&bytes, "aarch64", "init").unwrap().len(), 256);
    assert_eq!(bundle.members().count(), 3);
    let missing = bundle.find("x86_64", "init").unwrap_err();
    assert_eq!(missing.to_string(), "bundle: no member x86_64/init");
    assert_eq!(find_member(&bytes, "x86_64", "init"), None);
}

#[test]
fn packing_is_reproducible() {
    assert_eq!(packer().pack().unwrap(), packer().pack().unwrap());
}

#[test]
fn every_truncation_is_refused() {
    let bytes = packer().pack().unwrap();
    for len in 0..bytes.len() {
        assert!(matches!(Bundle::open(&bytes[..len]), Err(BundleError::Archive(_))), "{len} bytes opened");
        let _ = find_member(&bytes[..len], "any", "motd");
    }
}

#[test]
fn every_damaged_byte_is_noticed_or_harmless() {
    let bytes = packer().pack().unwrap();
    let whole = contents(&bytes).unwrap();
    let mut refused = 0;
    for at in 0..bytes.len() {
        for change in [0x01, 0x20, 0x80, 0xff] {
            let mut damaged = bytes.clone();
            damaged[at] ^= change;
            match contents(&damaged) {
                Ok(read) => assert_eq!(read, whole, "byte {at} ^ {change:#x}"),
                Err(_) => refused += 1,
            }
            let _ = find_member(&damaged, "aarch64", "init");
        }
    }
    assert!(refused > 4 * 1200, "only {refused} damages were noticed");
}

#[test]
fn another_version_is_named() {
    let mut bytes = packer().pack().unwrap();
    assert_eq!(bytes[512..528], *b"skerry-bundle 1\n");
    bytes[526] = b'2';
    let message = Bundle::open(&bytes).unwrap_err().to_string();
    assert_eq!(message, "bundle: wrong version: this system reads 1, the bundle has 2");
}

#[test]
fn a_corrupt_member_is_named() {
    let mut bytes = packer().pack().unwrap();
    let at = bytes.windows(700).position(|w| w == [0x90; 700]).unwrap();
    bytes[at + 10] = 0;
    let message = Bundle::open(&bytes).unwrap_err().to_string();
    assert_eq!(message, "bundle: x86_64/qemu-q35 is corrupt: bad checksum");
}

#[test]
fn a_name_that_would_not_read_back_is_refused() {
    for name in ["two words", "", "twice"] {
        let mut packer = Packer::new();
        packer.add("any", Kind::Data, "twice", vec![1]);
        packer.add("any", Kind::Data, name, vec![2]);
        assert!(packer.pack().is_err(), "{name:?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn any_members_read_back(members in prop::collection::btree_map("[a-z][a-z0-9-]{0,30}", prop::collection::vec(any::<u8>(), 0..2000), 0..8)) {
        let mut packer = Packer::new();
        for (name, data) in &members {
            packer.add("any", Kind::Data, name, data.clone());
        }
        let bytes = packer.pack().unwrap();
        let bundle = Bundle::open(&bytes).unwrap();
        prop_assert_eq!(bundle.members().count(), members.len());
        for (name, data) in &members {
            prop_assert_eq!(bundle.find("any", name).unwrap(), &data[..]);
        }
    }

    #[test]
    fn noise_is_no_bundle(noise in prop::collection::vec(any::<u8>(), 0..4096)) {
        prop_assert!(Bundle::open(&noise).is_err());
        let _ = find_member(&noise, "any", "x");
    }
}
