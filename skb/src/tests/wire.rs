use crate::*;
use proptest::prelude::*;
use zerocopy::{FromBytes, IntoBytes};

/// A source of random numbers with a seed (splitmix64).
pub fn random(mut seed: u64) -> impl FnMut() -> u64 {
    move || {
        seed = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (seed ^ (seed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}

/// Any record.
pub fn record() -> impl Strategy<Value = Record> {
    (any::<u64>(), 0..Fact::NUMBERS.len(), any::<u16>(), any::<u32>(), 0..3usize).prop_map(
        |(seed, kind, island, epoch, source)| Record {
            fact: Fact::sample(Fact::NUMBERS[kind], &mut random(seed)).unwrap(),
            origin: Origin {
                island: IslandId(island),
                epoch: Epoch(epoch),
                source: [Source::Discovered, Source::Measured, Source::Asserted][source],
            },
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4000, failure_persistence: None, ..Default::default() })]

    #[test]
    fn every_record_survives_the_wire(record in record()) {
        let wire = WireRecord::encode(&record);
        prop_assert_eq!(wire.decode(), Ok(record));
    }

    /// Starts from a good record, so that more than the header is reached.
    #[test]
    fn what_is_accepted_is_spelt_the_same_again(record in record(), at in 0..64usize, to in any::<u8>()) {
        let mut wire = WireRecord::encode(&record);
        wire.as_mut_bytes()[at] = to;
        if let Ok(record) = wire.decode() {
            prop_assert!(WireRecord::encode(&record) == wire);
        }
    }

    #[test]
    fn any_bytes_are_refused_or_spelt_the_same_again(bytes in any::<[u8; 32]>(), kind in 0..20u8) {
        let mut wire = WireRecord::read_from_bytes(&[bytes, [0; 32]].concat()).unwrap();
        wire.as_mut_bytes()[..4].copy_from_slice(&[kind, 0, 1, 1]);
        wire.as_mut_bytes()[6..8].fill(0);
        wire.as_mut_bytes()[12..16].fill(0);
        if let Ok(record) = wire.decode() {
            prop_assert!(WireRecord::encode(&record) == wire);
        }
    }
}

#[test]
fn an_error_names_the_field() {
    let origin = Origin { island: IslandId(1), epoch: Epoch(1), source: Source::Discovered };
    let fact = Core { local: 3, hw: HwId(7), enabled: true, node: 1 }.into();
    let good = WireRecord::encode(&Record { fact, origin });
    for (at, to, kind, field) in [
        (0, 200, "record", "kind"),
        (2, 9, "record", "version"),
        (3, 0, "record", "source"),
        (6, 1, "record", "reserved"),
        (13, 1, "record", "reserved"),
        (26, 2, "Core", "enabled"),
        (31, 1, "Core", "padding"),
        (63, 1, "Core", "padding"),
    ] {
        let mut bad = good;
        bad.as_mut_bytes()[at] = to;
        assert_eq!(bad.decode(), Err(WireError { kind, field }), "byte {at}");
    }
}

/// The layout itself, so that it does not change without notice: another island may run an older image.
#[test]
fn the_bytes_of_a_core() {
    let origin = Origin { island: IslandId(0x0102), epoch: Epoch(0x0304_0506), source: Source::Measured };
    let fact = Core { local: 0x0708, hw: HwId(0x1112_1314_1516_1718), enabled: true, node: 9 }.into();
    let wire = WireRecord::encode(&Record { fact, origin });
    let mut bytes = [0; 64];
    bytes[..16].copy_from_slice(&[1, 0, 1, 2, 2, 1, 0, 0, 6, 5, 4, 3, 0, 0, 0, 0]);
    bytes[16..31].copy_from_slice(&[8, 7, 0x18, 0x17, 0x16, 0x15, 0x14, 0x13, 0x12, 0x11, 1, 9, 0, 0, 0]);
    assert_eq!(wire.as_bytes(), bytes);
}
