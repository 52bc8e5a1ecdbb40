//! Host, x86 guest and ARM guest lay the same bytes out for every message.

use skerry_tests::boot_pair;
use skerry_tests::tables::ask_on;
use skerry_urpc::formats::conformance;

#[test]
fn every_isa_makes_the_same_bytes() {
    let kinds = conformance::check().expect("the host lays all messages out as it must");
    let crc = conformance::crc();
    assert!(kinds > 20, "only {kinds} kinds of messages are compared");
    let Some(system) = boot_pair(1, 1) else { return };
    for (island, isa) in ["x86_64", "aarch64"].into_iter().enumerate() {
        let expected = [
            format!("conformance.kinds.{isa} {kinds} messages"),
            format!("conformance.crc.{isa} {crc} crc32"),
        ];
        assert_eq!(ask_on(&system, island, "bench conformance"), expected);
    }
}
